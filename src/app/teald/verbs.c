/* verbs.c - what the admin commands do, but for those that change a service.
 * Thread: main. */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/teald/command.h"
#include "app/teald/rights.h"
#include "app/teald/status.h"
#include "base/clock.h"
#include "base/version.h"
#include "control/drain.h"
#include "control/engines.h"

/* Connections `drain` lists at most. */
#define DRAIN_LIST_MAX 1000
/* Entries of `history` without --last. */
#define HISTORY_LAST 20

static void
run_status(struct command *cmd)
{
	const struct admin_request *r = &cmd->request;
	const struct status_wish wish = {
		.form = r->summary ? STATUS_SUMMARY : r->brief ? STATUS_BRIEF : STATUS_FULL,
		.troubled = r->trouble,
	};
	struct buf text;
	struct json j;

	command_ok(&j, &text);
	status_json(&j, cmd->admin->control, cmd->ctl, cmd->rights, &wish);
	command_done(cmd, &j);
}

/* active and idle */
static void
run_color(struct command *cmd, bool active)
{
	const struct service *s = cmd->ctl->service;
	struct buf text;
	struct json j;
	struct why why;

	if (!s->known) {
		command_fail(cmd,
			     why_set(&why, E_STORE, "%s: the store has not said yet which color is active",
				     s->config->name),
			     &why);
		return;
	}
	command_ok(&j, &text);
	json_cstr(&j, "service", s->config->name);
	json_cstr(&j, "color", color_word(active ? s->record.color : color_other(s->record.color)));
	json_u64(&j, "epoch", s->record.epoch);
	command_done(cmd, &j);
}

static void
holder_json(struct json *j, const struct holder *h)
{
	char text[ADDR_TEXT];

	json_object(j, NULL);
	json_cstr(j, "client", addr_format(&h->client, text));
	json_cstr(j, "backend", h->backend);
	json_double(j, "age", round(h->age * 1000) / 1000);
	json_double(j, "idle", round(h->idle * 1000) / 1000);
	json_u64(j, "bytes_in", h->bytes_in);
	json_u64(j, "bytes_out", h->bytes_out);
	if (h->state != NULL)
		json_cstr(j, "state", h->state);
	json_object_end(j);
}

static void
drain_reply(struct command *cmd, const struct holders *holders)
{
	const struct service_ctl *ctl = cmd->ctl;
	bool draining = ctl->drain != NULL;
	struct buf text;
	struct json j;

	command_ok(&j, &text);
	json_cstr(&j, "service", ctl->service->config->name);
	json_bool(&j, "draining", draining);
	json_cstr(&j, "color", draining ? color_word(ctl->drain->color) : NULL);
	json_u64(&j, "remaining", draining ? engines_count(ctl, ctl->drain->color) : 0);
	status_deadline_json(&j, "deadline_in", ctl);
	json_array(&j, "connections");
	for (size_t i = 0; draining && i < holders->n; i++)
		holder_json(&j, &holders->list[i]);
	json_array_end(&j);
	json_bool(&j, "truncated", draining && holders->truncated);
	command_done(cmd, &j);
}

static void
holders_on_collected(void *arg, const struct holders *holders)
{
	struct command *cmd = arg;

	if (!command_came_too_late(cmd))
		drain_reply(cmd, holders);
}

static void
run_drain(struct command *cmd)
{
	if (cmd->ctl->drain == NULL) {
		drain_reply(cmd, &(struct holders){ NULL, 0, false });
		return;
	}
	cmd->held = true;
	engines_holders(cmd->ctl, cmd->ctl->drain->color, DRAIN_LIST_MAX, holders_on_collected, cmd);
}

static void
audit_entry_json(struct json *j, const struct audit_entry *a)
{
	json_object(j, NULL);
	status_time_json(j, "at", a->at_us);
	json_u64(j, "epoch", a->epoch);
	json_cstr(j, "from", color_word(a->from));
	json_cstr(j, "to", color_word(a->to));
	json_cstr(j, "kind", change_word(a->change));
	if (a->change == CHANGE_SHIFT)
		json_double(j, "percent", a->share / 100.0);
	json_cstr(j, "by", a->by);
	if (a->uid != ACTOR_NO_UID) {
		json_u64(j, "uid", a->uid);
		json_i64(j, "pid", a->pid);
	}
	json_cstr(j, "reason", a->reason[0] != '\0' ? a->reason : NULL);
	json_cstr(j, "result", a->result);
	json_cstr(j, "expect", a->expect[0] != '\0' ? a->expect : NULL);
	json_cstr(j, "host", a->host[0] != '\0' ? a->host : NULL);
	json_cstr(j, "revision", a->revision[0] != '\0' ? a->revision : NULL);
	json_object_end(j);
}

static void
history_on_read(void *arg, enum err e, const struct audit_entry *entries, size_t n, const struct why *why)
{
	struct command *cmd = arg;
	struct buf text;
	struct json j;

	if (command_came_too_late(cmd))
		return;
	if (e != OK) {
		command_fail(cmd, e, why);
		return;
	}
	command_ok(&j, &text);
	json_cstr(&j, "service", cmd->ctl->service->config->name);
	json_array(&j, "history");
	for (size_t i = 0; i < n; i++)
		audit_entry_json(&j, &entries[i]);
	json_array_end(&j);
	command_done(cmd, &j);
}

static void
run_history(struct command *cmd)
{
	struct store *store = cmd->admin->control->store;
	unsigned last = cmd->request.has_last ? cmd->request.last : HISTORY_LAST;

	cmd->held = true;
	store->history(store, cmd->ctl->service->config->name, last, history_on_read, cmd);
}

static bool
fleet_wants(const void *arg, const char *service)
{
	return rights_have(arg, ADMIN_RIGHT_READ, service);
}

static void
fleet_reply(struct command *cmd, const struct fleet *f)
{
	const struct control *c = cmd->admin->control;
	struct buf text;
	struct json j;

	command_ok(&j, &text);
	json_cstr(&j, "prefix", c->config->store.type == STORE_REDIS ? c->config->store.prefix : NULL);
	fleet_json(f, &j, fleet_wants, cmd->rights);
	status_store_json(&j, c, cmd->rights);
	command_done(cmd, &j);
}

static void
fleet_on_refreshed(void *arg, enum err e, const struct why *why)
{
	struct command *cmd = arg;
	struct store *store;

	(void)why;
	(void)e;	/* then it is the fleet as last seen; "store" says so */
	if (command_came_too_late(cmd))
		return;
	store = cmd->admin->control->store;
	fleet_reply(cmd, store->fleet(store));
}

static void
run_fleet(struct command *cmd)
{
	struct store *store = cmd->admin->control->store;
	struct fleet alone = { 0 };
	struct fleet_member self = { .self = true };

	if (store->fleet != NULL) {
		cmd->held = true;
		store->refresh(store, fleet_on_refreshed, cmd);
		return;
	}
	/* The embedded store: a fleet of one. */
	store->describe(store->arg, &self);
	if (gethostname(self.host, sizeof(self.host) - 1) != 0)
		self.host[0] = '\0';
	str_copy(self.id, sizeof(self.id), STR("embedded"));
	str_copy(self.version, sizeof(self.version), str_from(teal_version()));
	self.pid = getpid();
	self.at_us = alone.now_us = clock_wall_us();
	alone.members = &self;
	alone.n = 1;
	fleet_reply(cmd, &alone);
	fleet_member_free(&self);
}

static void
run_maintenance(struct command *cmd)
{
	bool on = cmd->request.on, changed = control_maintenance(cmd->admin->control, on, &cmd->by);
	struct buf text;
	struct json j;

	command_ok(&j, &text);
	json_bool(&j, "maintenance", on);
	json_bool(&j, "changed", changed);
	command_done(cmd, &j);
}

static void
run_log(struct command *cmd)
{
	enum log_level level = cmd->request.level, was = log_level();
	struct buf text;
	struct json j;

	log_set_level(level);
	command_ok(&j, &text);
	json_cstr(&j, "level", log_level_word(level));
	json_cstr(&j, "was", log_level_word(was));
	json_bool(&j, "changed", level != was);
	command_done(cmd, &j);
}

/* The reply first: stopping may be quick. */
static void
run_stop(struct command *cmd)
{
	struct control *control = cmd->admin->control;
	struct buf text;
	struct json j;

	command_ok(&j, &text);
	json_bool(&j, "stopping", true);
	command_done(cmd, &j);
	stop_begin(control);
}

static void
run_whoami(struct command *cmd)
{
	struct buf text;
	struct json j;

	command_ok(&j, &text);
	if (cmd->rights->caller == NULL)
		json_u64(&j, "uid", cmd->by.uid);
	json_cstr(&j, "user", cmd->by.user);
	if (cmd->rights->caller == NULL)
		json_i64(&j, "pid", cmd->by.pid);
	rights_json(&j, cmd->rights);
	command_done(cmd, &j);
}

static void
run_help(struct command *cmd)
{
	struct buf text;
	struct json j;

	command_ok(&j, &text);
	admin_command_json(&j, cmd->request.topic);
	command_done(cmd, &j);
}

static void
run_version(struct command *cmd)
{
	const struct control *c = cmd->admin->control;
	struct buf text;
	struct json j;

	command_ok(&j, &text);
	json_cstr(&j, "version", teal_version());
	json_i64(&j, "pid", getpid());
	json_double(&j, "uptime", round((clock_now() - control_counts_since(c)) * 1000) / 1000);
	command_done(cmd, &j);
}

void
verb_run(struct command *cmd)
{
	switch (cmd->request.command) {
	case ADMIN_STATUS: run_status(cmd); return;
	case ADMIN_ACTIVE: run_color(cmd, true); return;
	case ADMIN_IDLE: run_color(cmd, false); return;
	case ADMIN_CHECK: verb_check(cmd); return;
	case ADMIN_FLIP:
	case ADMIN_SHIFT:
	case ADMIN_ROLLBACK: verb_flip(cmd); return;
	case ADMIN_LOCK:
	case ADMIN_UNLOCK: verb_lock(cmd); return;
	case ADMIN_CLAIM:
	case ADMIN_RELEASE: verb_claim(cmd); return;
	case ADMIN_BAKE: verb_bake(cmd); return;
	case ADMIN_SIGNAL: verb_signal(cmd); return;
	case ADMIN_WAIT: verb_wait(cmd); return;
	case ADMIN_DRAIN: run_drain(cmd); return;
	case ADMIN_HISTORY: run_history(cmd); return;
	case ADMIN_FLEET: run_fleet(cmd); return;
	case ADMIN_EVENTS: verb_events(cmd); return;
	case ADMIN_LOG: run_log(cmd); return;
	case ADMIN_MAINTENANCE: run_maintenance(cmd); return;
	case ADMIN_STOP: run_stop(cmd); return;
	case ADMIN_WHOAMI: run_whoami(cmd); return;
	case ADMIN_HELP: run_help(cmd); return;
	case ADMIN_VERSION: run_version(cmd); return;
	case ADMIN_NODE: verb_node(cmd); return;
	case ADMIN_CERTS: verb_certs(cmd); return;
	case ADMIN_RELOAD: verb_reload(cmd); return;
	case ADMIN_UPGRADE: verb_upgrade(cmd); return;
	case ADMIN_CONFIG: verb_config(cmd); return;
	}
	CHECK(!"a command without a verb");
}

const char *
verb_did_you_mean(const struct command *cmd, struct str word)
{
	const struct control *c = cmd->admin->control;
	size_t best = word.n / 3 + 1, d;
	const char *guess = NULL;

	if (word.n > RECORD_NAME)
		return NULL;
	/* More than a third of it wrong is another word. */
	for (size_t i = 0; i < c->n; i++) {
		struct str name = str_from(c->services[i]->service->config->name);

		if (!command_may_read(cmd, c->services[i]->service))
			continue;
		if (name.n > RECORD_NAME || (d = str_distance(word, name, best)) > best || d >= name.n)
			continue;
		if (guess != NULL && d == best)
			continue;
		best = d;
		guess = c->services[i]->service->config->name;
	}
	return guess;
}
