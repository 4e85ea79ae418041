/* audit.c - who did, or tried, what, and how it ended: the audit line of the
 * log, and the history of a service that refused a command.
 * Thread: main.  What changed a service is in its history already: control
 * writes that together with the change. */
#include <stdio.h>

#include "app/teald/admin_user.h"
#include "app/teald/command.h"
#include "base/clock.h"

/* Refusals that a history takes at once, and the seconds until one more. */
#define DENIED_BURST 10.0
#define DENIED_EVERY 60.0

static const char *
expect_text(const struct admin_request *r, char text[32])
{
	if (r->has_expect_epoch)
		snprintf(text, 32, "%s@%llu", r->expect_color.p, (unsigned long long)r->expect_epoch);
	else if (r->has_at_epoch)
		snprintf(text, 32, "@%llu", (unsigned long long)r->at_epoch);
	else
		snprintf(text, 32, "%s", r->expect_color.p);
	return text;
}

static struct log_field
changed_field(enum changed changed)
{
	return changed == CHANGED_UNKNOWN ? LR("changed", STR("null")) :
					    LB("changed", changed == CHANGED_YES);
}

/* It left everything as it was, so that further ones like it may be counted. */
static bool
is_refused(const struct outcome *o)
{
	switch (o->changed) {
	case CHANGED_NO:
		return true;
	case CHANGED_UNSAID:
		return strcmp(o->result, err_word(OK)) != 0;
	case CHANGED_YES:
	case CHANGED_UNKNOWN:
		break;
	}
	return false;
}

/* A user who may do little must not push the lines about others out of the log,
 * nor fill it: beyond some a second its refused commands are told together. */
static bool
is_told_later(const struct command *cmd, const struct outcome *o)
{
	struct admin_user *u = admin_user_of(cmd->admin, cmd->rights);

	if (u->trusted || !is_refused(o) || admin_user_may_tell(u))
		return false;
	u->untold++;
	memcpy(u->name, cmd->by.user, sizeof(u->name));
	u->command = cmd->info->word;
	snprintf(u->result, sizeof(u->result), "%s", o->result);
	u->pid = cmd->by.pid;
	rights_unref(&u->last);
	u->last = rights_ref(cmd->rights);
	admin_watch_busy(cmd->admin);
	return true;
}

static enum log_share
share_of(const struct admin_user *u)
{
	return u->trusted ? LOG_SHARE_AUDIT_FIRST : LOG_SHARE_AUDIT;
}

/* Who, in up to four fields; returns how many. */
static size_t
put_auditee(struct log_field *fields, const struct rights *r, const char *user, pid_t pid)
{
	size_t n = 0;

	if (r->caller == NULL)
		fields[n++] = LU("uid", r->uid);
	fields[n++] = LS("user", user);
	if (r->caller == NULL) {
		fields[n++] = LI("pid", pid);
		return n;
	}
	fields[n++] = LS("peer", r->caller->peer);
	if (r->caller->subject[0] != '\0')
		fields[n++] = LS("subject", r->caller->subject);
	return n;
}

void
audit_log_untold(const struct admin *a, const struct admin_user *u)
{
	struct log_field fields[16];
	size_t n = put_auditee(fields, u->last, u->name, u->pid);

	fields[n++] = LS("host", a->host);
	fields[n++] = LS("command", u->command);
	fields[n++] = LS("result", u->result);
	fields[n++] = LU("count", u->untold);
	fields[n++] = LS("message",
			 "commands of this user that were refused or changed nothing, told together; the last of them");
	fields[n] = LOG_FIELDS_END;
	CHECK(n < ARRAY_LEN(fields));
	/* Not by LOG_INFO(): no log.level silences the audit. */
	log_write_share(share_of(u), LOG_INFO_LEVEL, "audit", fields);
}

/* "web=blue api=blue@41" */
static struct str
targets_text(const struct admin_request *r, struct buf *out)
{
	for (size_t i = 0; i < r->n_targets; i++) {
		const struct admin_target *t = &r->targets[i];

		buf_printf(out, "%s%s", i > 0 ? " " : "", t->name);
		if (t->color.n > 0)
			buf_printf(out, "=%s", t->color.p);
		if (t->has_at_epoch)
			buf_printf(out, "@%llu", (unsigned long long)t->at_epoch);
	}
	return buf_str(out);
}

void
audit_log(const struct command *cmd, const struct outcome *o)
{
	const struct admin_request *r = &cmd->request;
	struct log_field fields[24];
	char expect[32];
	struct buf services;
	size_t n;

	CHECK(cmd->info != NULL);
	if (is_told_later(cmd, o))
		return;
	n = put_auditee(fields, cmd->rights, cmd->by.user, cmd->by.pid);
	/* Logs of a fleet are read in one place. */
	fields[n++] = LS("host", cmd->admin->host);
	fields[n++] = LS("command", cmd->info->word);
	if (r->service.n > 0)
		fields[n++] = LT("service", r->service);
	buf_init(&services, 4096);
	if (r->n_targets > 0)
		fields[n++] = LT("targets", targets_text(r, &services));
	if (cmd->ctl != NULL)
		fields[n++] = LR(NULL, str_from(cmd->ctl->service->config->labels_json));
	if (r->color.n > 0)
		fields[n++] = LT("color", r->color);
	if (r->node_verb.n > 0)
		fields[n++] = LT("verb", r->node_verb);
	if (r->reload)
		fields[n++] = LS("verb", "reload");
	if (r->pool.n > 0)
		fields[n++] = LT("pool", r->pool);
	if (r->host.n > 0)
		fields[n++] = LT("node", r->host);
	if (r->command == ADMIN_MAINTENANCE)
		fields[n++] = LB("on", r->on);
	if (r->command == ADMIN_LOG)
		fields[n++] = LS("to", log_level_word(r->level));
	if (r->has_expect || r->has_at_epoch)
		fields[n++] = LS("expect", expect_text(r, expect));
	if (r->dry_run)
		fields[n++] = LS("verb", "dry-run");
	if (r->force)
		fields[n++] = LB("force", true);
	if (r->ttl > 0)
		fields[n++] = LF("ttl", r->ttl);
	if (r->reason.n > 0)
		fields[n++] = LT("reason", r->reason);
	fields[n++] = LS("result", o->result);
	if (o->changed != CHANGED_UNSAID)
		fields[n++] = changed_field(o->changed);
	if (o->has_epoch)
		fields[n++] = LU("epoch", o->epoch);
	if (o->revision != NULL && o->revision[0] != '\0')
		fields[n++] = LS("revision", o->revision);
	if (o->message != NULL && o->message[0] != '\0')
		fields[n++] = LS("message", o->message);
	fields[n] = LOG_FIELDS_END;
	CHECK(n < ARRAY_LEN(fields));
	/* Not by LOG_INFO(), as above. */
	log_write_share(share_of(admin_user_of(cmd->admin, cmd->rights)), LOG_INFO_LEVEL, "audit", fields);
	buf_free(&services);
}

/* What a history can tell of. */
static bool
change_of(const struct command *cmd, struct audit_entry *a)
{
	const struct record *r = &cmd->ctl->service->record;

	a->from = a->to = r->color;
	switch (cmd->request.command) {
	case ADMIN_FLIP:
		a->change = CHANGE_FLIP;
		return color_from_word(cmd->request.color, &a->to);
	case ADMIN_SHIFT:
		a->change = CHANGE_SHIFT;
		a->share = cmd->request.share;
		return color_from_word(cmd->request.color, &a->to);
	case ADMIN_ROLLBACK:
		a->change = CHANGE_ROLLBACK;
		a->to = color_other(r->color);
		return true;
	case ADMIN_LOCK:
		a->change = CHANGE_LOCK;
		return true;
	case ADMIN_UNLOCK:
		a->change = CHANGE_UNLOCK;
		return true;
	case ADMIN_CLAIM:
		a->change = CHANGE_CLAIM;
		return true;
	case ADMIN_RELEASE:
		a->change = CHANGE_RELEASE;
		return true;
	case ADMIN_BAKE:
		a->change = CHANGE_ROLLBACK;
		a->to = color_other(r->color);
		return cmd->request.bake_verb == ADMIN_BAKE_ABORT;
	case ADMIN_SIGNAL:
	case ADMIN_WAIT:
	case ADMIN_STATUS:
	case ADMIN_ACTIVE:
	case ADMIN_IDLE:
	case ADMIN_CHECK:
	case ADMIN_DRAIN:
	case ADMIN_HISTORY:
	case ADMIN_NODE:
	case ADMIN_FLEET:
	case ADMIN_CERTS:
	case ADMIN_EVENTS:
	case ADMIN_LOG:
	case ADMIN_MAINTENANCE:
	case ADMIN_RELOAD:
	case ADMIN_UPGRADE:
	case ADMIN_CONFIG:
	case ADMIN_STOP:
	case ADMIN_WHOAMI:
	case ADMIN_HELP:
	case ADMIN_VERSION:
		break;
	}
	return false;
}

/* The history is finite: a user without rights must not push out of it what
 * happened. */
static bool
may_note(struct admin *a)
{
	double now = clock_now(), credit;

	credit = a->denied_at > 0 ? a->denied_credit + (now - a->denied_at) / DENIED_EVERY : DENIED_BURST;
	a->denied_at = now;
	a->denied_credit = credit < DENIED_BURST ? credit : DENIED_BURST;
	if (a->denied_credit < 1)
		return false;
	a->denied_credit -= 1;
	return true;
}

void
audit_note_denied(const struct command *cmd)
{
	struct store *store = cmd->admin->control->store;
	const struct admin_request *r = &cmd->request;
	struct audit_entry a = { .uid = cmd->by.uid, .pid = cmd->by.pid };

	if (cmd->ctl == NULL || !cmd->ctl->service->known || !change_of(cmd, &a) || !may_note(cmd->admin))
		return;
	str_copy(a.service, sizeof(a.service), str_from(cmd->ctl->service->config->name));
	a.at_us = clock_wall_us();
	a.epoch = cmd->ctl->service->record.epoch;
	memcpy(a.by, cmd->by.user, sizeof(a.by));
	/* Cut where the history's room ends: it was never carried out. */
	str_copy(a.reason, sizeof(a.reason), r->reason);
	if (r->has_expect || r->has_at_epoch)
		expect_text(r, a.expect);
	audit_set_host(&a);
	str_copy(a.result, sizeof(a.result), str_from(err_word(E_DENIED)));
	store->note(store, &a);
}
