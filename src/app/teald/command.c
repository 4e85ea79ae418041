/* command.c - the life of one admin command: read, allowed or denied, run,
 * answered, audited.
 * Thread: main.  Born in command_run(), dies in command_end(). */
#include <stdlib.h>

#include "app/teald/admin_user.h"
#include "app/teald/command.h"
#include "app/teald/rights.h"
#include "control/claim.h"
#include "control/node_drain.h"
#include "control/services.h"

static void
command_free(struct command *cmd)
{
	if (cmd->orphan && cmd->admin != NULL) {
		cmd->admin->n_orphans--;
		admin_user_of(cmd->admin, cmd->rights)->n_orphans--;
	}
	list_remove(&cmd->link);
	rights_unref(&cmd->rights);
	ctl_unref(&cmd->ctl);
	free(cmd);
}

/* The one end of every command. */
static void
command_end(struct command *cmd, const struct outcome *o, struct buf *text)
{
	struct admin_conn *c = cmd->client;

	if (cmd->audited)
		audit_log(cmd, o);
	if (c != NULL)
		c->command = NULL;
	command_free(cmd);
	if (c != NULL) {
		admin_conn_send_buf(c, text);
		admin_conn_resume(c);
	} else {
		buf_free(text);
	}
}

void
command_ok(struct json *j, struct buf *text)
{
	buf_init(text, CLIENT_REPLY_MAX);
	json_init(j, text);
	json_object(j, NULL);
	json_bool(j, "ok", true);
}

void
command_done(struct command *cmd, struct json *j)
{
	json_object_end(j);
	json_line_end(j);
	command_reply(cmd, j->out);
}

void
command_result(struct json *j, struct buf *text, enum err e, const char *message)
{
	buf_init(text, CLIENT_REPLY_MAX);
	json_init(j, text);
	json_object(j, NULL);
	json_bool(j, "ok", e == OK);
	if (e != OK) {
		json_cstr(j, "error", err_word(e));
		json_cstr(j, "message", message);
	}
}

void
command_result_done(struct command *cmd, struct json *j, const struct outcome *o)
{
	json_object_end(j);
	json_line_end(j);
	command_end(cmd, o, j->out);
}

void
command_reply(struct command *cmd, struct buf *text)
{
	struct why why;

	if (text->failed) {
		buf_free(text);
		command_fail(cmd, why_set(&why, E_INTERNAL, "the reply is too large; ask for one service, or with --summary"),
			     &why);
		return;
	}
	command_end(cmd, &(struct outcome){ .result = err_word(OK) }, text);
}

void
command_fail(struct command *cmd, enum err e, const struct why *why)
{
	struct outcome o = { .result = err_word(e), .message = why->text };
	struct buf text;
	struct json j;

	buf_init(&text, CLIENT_REPLY_MAX);
	json_init(&j, &text);
	json_object(&j, NULL);
	json_bool(&j, "ok", false);
	json_cstr(&j, "error", err_word(e));
	json_cstr(&j, "message", why->text);
	if (e == E_DENIED) {
		json_cstr(&j, "user", cmd->by.user);
		if (cmd->rights->caller == NULL)
			json_u64(&j, "uid", cmd->by.uid);
		json_cstr(&j, "right", admin_right_word(cmd->request.right));
		json_cstr(&j, "on", *cmd->missing != '\0' ? cmd->missing : NULL);
	}
	if (cmd->info != NULL && cmd->info->changes) {
		json_bool(&j, "changed", false);
		o.changed = CHANGED_NO;
	}
	json_object_end(&j);
	json_line_end(&j);
	command_end(cmd, &o, &text);
}

void
command_relay(struct command *cmd, const struct outcome *o, struct str line)
{
	struct buf text;

	buf_init(&text, CLIENT_REPLY_MAX);
	buf_append(&text, line.p, line.n);
	command_end(cmd, o, &text);
}

void
command_progress(struct command *cmd, struct str line)
{
	if (cmd->client != NULL)
		admin_conn_send(cmd->client, line);
}

static void
deny_command(struct command *cmd)
{
	const char *missing = NULL;
	struct why why;
	enum err e;

	e = rights_check(cmd->rights, &cmd->request, cmd->by.user, &missing, &why);
	CHECK(e == E_DENIED);
	cmd->missing = missing;
	audit_note_denied(cmd);
	command_fail(cmd, e, &why);
}

static bool
command_is_allowed(const struct command *cmd)
{
	/* The sentence comes later, when there is a name for it. */
	return rights_check(cmd->rights, &cmd->request, "", NULL, NULL) == OK;
}

bool
command_may_read(const struct command *cmd, const struct service *s)
{
	return rights_have(cmd->rights, ADMIN_RIGHT_READ, s->config->name);
}

static void
unknown_service(struct command *cmd, struct str name)
{
	const char *guess = verb_did_you_mean(cmd, name);
	struct why why;

	if (guess != NULL)
		(void)why_set(&why, E_UNKNOWN_SERVICE, "there is no service \"%.64s\"; did you mean %s?",
			      name.p, guess);
	else
		(void)why_set(&why, E_UNKNOWN_SERVICE, "there is no service \"%.64s\"; status lists them",
			      name.p);
	command_fail(cmd, E_UNKNOWN_SERVICE, &why);
}

/* Rights to flip are rights about colors. */
static bool
is_about_colors(const struct admin_request *r)
{
	return r->right == ADMIN_RIGHT_FLIP || r->command == ADMIN_ACTIVE || r->command == ADMIN_IDLE ||
	       r->command == ADMIN_CHECK;
}

static void
refuse_colorless(struct command *cmd, const struct service_ctl *ctl)
{
	const struct service_config *sc = ctl->service->config;
	struct why why;

	command_fail(cmd,
		     why_set(&why, E_UNSUPPORTED, "%s has no colors, so there is nothing to flip: %s; tealctl status %s shows %s",
			     sc->name,
			     sc->backendless ? "it answers every request itself, and has no backends" :
					       "its backends are listed in the service itself, without green and blue",
			     sc->name, sc->backendless ? "it" : "them"),
		     &why);
}

/* Which program runs on this machine, and which file it reads, is for who may put them there. */
static bool
is_for_here(const struct command *cmd)
{
	return cmd->rights->caller != NULL && cmd->request.command == ADMIN_UPGRADE &&
	       (cmd->request.binary.n > 0 || cmd->request.config.n > 0);
}

static void
refuse_from_afar(struct command *cmd)
{
	struct why why;

	command_fail(cmd,
		     why_set(&why, E_UNSUPPORTED,
			     "upgrade --binary and --config are for the admin socket alone (on the machine itself, or by ssh): by the "
			     "admin listener teald upgrades to the program that is installed, with its own file"),
		     &why);
}

/* False when the command was refused, and is gone. */
static bool
targets_are_well(struct command *cmd)
{
	const struct admin_request *r = &cmd->request;

	for (size_t i = 0; i < r->n_targets; i++) {
		const struct service_ctl *ctl = control_find(cmd->admin->control, str_from(r->targets[i].name));

		if (ctl != NULL && !ctl->service->colorless)
			continue;
		if (ctl == NULL)
			unknown_service(cmd, str_from(r->targets[i].name));
		else
			refuse_colorless(cmd, ctl);
		return false;
	}
	return true;
}

/* The user's name is known, if it is needed. */
static void
command_go(struct command *cmd)
{
	const struct admin_request *r = &cmd->request;

	if (!command_is_allowed(cmd)) {
		deny_command(cmd);
		return;
	}
	/* While the name of its user was looked up the service may have gone. */
	if (cmd->ctl != NULL && cmd->ctl->removed)
		ctl_unref(&cmd->ctl);
	if (r->service.n > 0 && !r->all_services && cmd->ctl == NULL)
		unknown_service(cmd, r->service);
	else if (is_for_here(cmd))
		refuse_from_afar(cmd);
	else if (cmd->ctl != NULL && cmd->ctl->service->colorless && is_about_colors(r))
		refuse_colorless(cmd, cmd->ctl);
	else if (targets_are_well(cmd))
		verb_run(cmd);
}

static void
name_on_known(struct user_name_wait *w, const char *name)
{
	struct command *cmd = container_of(w, struct command, name);

	str_copy(cmd->by.user, sizeof(cmd->by.user), str_from(name));
	command_go(cmd);
}

static enum err
parse_command(struct command *cmd, struct str line, struct why *why)
{
	enum err e = admin_line_parse(line, &cmd->line, why);

	if (e == OK)
		e = admin_command_parse(&cmd->line, &cmd->request, why);
	if (e == OK)
		cmd->info = admin_command_info(cmd->request.command);
	return e;
}

static enum err
add_target(struct admin_request *r, const char *name, const struct admin_target *like, struct why *why)
{
	struct admin_target *t = &r->targets[r->n_targets];

	if (r->n_targets == ADMIN_TARGETS_MAX)
		return why_set(why, E_USAGE, "more than %d services at a time", ADMIN_TARGETS_MAX);
	*t = *like;
	str_copy(t->name, sizeof(t->name), str_from(name));
	r->n_targets++;
	return OK;
}

/* Groups among them become their services. */
static enum err
expand_targets(struct command *cmd, struct why *why)
{
	const struct config *config = cmd->admin->control->config;
	struct admin_request *r = &cmd->request;
	struct admin_target as_told[ADMIN_TARGETS_MAX];
	size_t n = r->n_targets;
	enum err e;

	if (r->command != ADMIN_FLIP && r->command != ADMIN_ROLLBACK && r->command != ADMIN_CHECK)
		return OK;
	if (n == 0 && (r->service.n == 0 || config_find_group(config, r->service.p) == NULL))
		return OK;
	memcpy(as_told, r->targets, sizeof(as_told));
	if (n == 0) {
		as_told[n++] = (struct admin_target){ .color = r->color, .has_at_epoch = r->has_at_epoch, .at_epoch = r->at_epoch };
		str_copy(as_told[0].name, sizeof(as_told[0].name), r->service);
		r->service = STR("");
		r->color = STR("");
		r->has_at_epoch = false;
	}
	r->n_targets = 0;
	for (size_t i = 0; i < n; i++) {
		const struct group_config *g = config_find_group(config, as_told[i].name);

		if (g != NULL && as_told[i].has_at_epoch)
			return why_set(why, E_USAGE, "an epoch is of one service, and %s is a group of %zu: %s=%s@%llu", g->name,
				       g->n, g->services[0], as_told[i].color.p, (unsigned long long)as_told[i].at_epoch);
		for (size_t k = 0; g != NULL && k < g->n; k++)
			if ((e = add_target(r, g->services[k], &as_told[i], why)) != OK)
				return e;
		if (g == NULL && (e = add_target(r, as_told[i].name, &as_told[i], why)) != OK)
			return e;
	}
	return admin_command_check_targets(r, why);
}

bool
command_is_quick(struct str line)
{
	struct admin_request request;
	struct admin_line words;
	struct why why;

	if (admin_line_parse(line, &words, &why) != OK || admin_command_parse(&words, &request, &why) != OK)
		return true;
	switch (request.command) {
	case ADMIN_STATUS:
	case ADMIN_ACTIVE:
	case ADMIN_IDLE:
	case ADMIN_CONFIG:
	case ADMIN_HELP:
	case ADMIN_VERSION:
	case ADMIN_STOP:
	case ADMIN_UPGRADE:	/* is refused */
		return true;
	default:
		return false;
	}
}

void
command_run(struct admin_conn *c, struct str line)
{
	struct command *cmd = must_alloc(sizeof(*cmd));
	struct admin *a = c->admin;
	struct service_ctl *ctl;
	struct why why;
	enum err e;

	list_init(&cmd->link);
	list_append(&a->commands, &cmd->link);
	list_init(&cmd->listening);
	cmd->admin = a;
	cmd->client = c;
	cmd->rights = rights_ref(c->rights);
	cmd->by.uid = c->rights->uid;
	cmd->by.pid = c->pid;
	if (c->rights->caller != NULL)
		memcpy(cmd->by.user, c->rights->caller->name, sizeof(cmd->by.user));
	c->command = cmd;
	if ((e = parse_command(cmd, line, &why)) != OK) {
		command_fail(cmd, e, &why);
		return;
	}
	if ((e = expand_targets(cmd, &why)) != OK) {
		command_fail(cmd, e, &why);
		return;
	}
	if (cmd->info->changes && admin_user_of(a, cmd->rights)->n_orphans >= ADMIN_ORPHANS_EACH) {
		command_fail(cmd,
			     why_set(&why, E_INTERNAL,
				     "%u commands whose clients have left are still under way "
				     "for this user; try again when they are over",
				     ADMIN_ORPHANS_EACH),
			     &why);
		return;
	}
	if ((ctl = control_find(a->control, cmd->request.service)) != NULL)
		cmd->ctl = ctl_ref(ctl);
	/* Some that change things also only show them. */
	cmd->audited = (cmd->info->changes && cmd->request.right != ADMIN_RIGHT_READ) || !command_is_allowed(cmd);
	if ((!cmd->audited && cmd->request.command != ADMIN_WHOAMI) || cmd->rights->caller != NULL)
		command_go(cmd);
	else if (user_names_get(a->names, cmd->by.uid, cmd->by.user))
		command_go(cmd);
	else
		user_names_wait(a->names, cmd->by.uid, &cmd->name, name_on_known);
}

void
command_forget(struct command *cmd)
{
	CHECK(cmd->unbegun && !cmd->held);
	events_leave(cmd);
	command_free(cmd);
}

/* The client has left, and the command changes nothing. */
static bool
is_pointless(const struct command *cmd)
{
	return !cmd->audited && !cmd->held && cmd->name.names == NULL;
}

void
command_leave(struct command *cmd)
{
	struct admin *a = cmd->admin;

	cmd->client = NULL;
	cmd->orphan = true;
	a->n_orphans++;
	admin_user_of(a, cmd->rights)->n_orphans++;
	events_leave(cmd);
	if (cmd->request.command == ADMIN_CLAIM && claim_call_off(&cmd->watcher)) {
		audit_log(cmd, &(struct outcome){ .result = err_word(E_CLAIMED),
						  .message = "its client left while it waited",
						  .changed = CHANGED_NO });
		command_free(cmd);
	} else if (cmd->request.node_wait && cmd->held && node_drain_call_off(a->control, cmd)) {
		audit_log(cmd, &(struct outcome){ .result = err_word(OK),
						  .message = "its client left before the node was empty; the drain goes on",
						  .changed = CHANGED_YES });
		command_free(cmd);
	} else if (is_pointless(cmd)) {
		verb_flip_abandon(cmd);
		command_free(cmd);
	} else if (a->n_orphans > ADMIN_ORPHANS_MAX && cmd->watcher.held != NULL) {
		flip_unwatch(&cmd->watcher);
		audit_log(cmd, &(struct outcome){ .result = err_word(E_UNKNOWN),
						  .message = "not watched to its end: too many clients left "
							     "theirs",
						  .changed = CHANGED_UNKNOWN });
		command_free(cmd);
	}
}

void
command_abandon(struct command *cmd)
{
	static const struct why cut = { "teald stopped before this was over; read status when it is back" },
				never = { "teald is stopping; this was not begun" };
	struct admin_conn *c = cmd->client;
	/* While the name of its user is looked up it has done nothing. */
	bool begun = cmd->name.names == NULL;
	const struct why *why = begun ? &cut : &never;
	const char *error = err_word(begun ? E_UNKNOWN : E_INTERNAL);
	struct buf text;
	struct json j;

	events_leave(cmd);
	verb_flip_abandon(cmd);
	user_names_cancel(&cmd->name);
	if (cmd->audited)
		audit_log(cmd, &(struct outcome){ .result = error,
						  .message = why->text,
						  .changed = begun ? CHANGED_UNKNOWN : CHANGED_NO });
	buf_init(&text, CLIENT_REPLY_MAX);
	json_init(&j, &text);
	json_object(&j, NULL);
	if (cmd->request.command == ADMIN_EVENTS) {
		json_bool(&j, "ok", true);
		json_bool(&j, "stopping", true);
	} else {
		json_bool(&j, "ok", false);
		json_cstr(&j, "error", error);
		json_cstr(&j, "message", why->text);
		if (cmd->audited && begun)
			json_null(&j, "changed");
		else if (cmd->audited)
			json_bool(&j, "changed", false);
	}
	json_object_end(&j);
	json_line_end(&j);
	if (c != NULL) {
		c->command = NULL;
		/* Not resumed: further lines of this client go unanswered. */
		c->eof = true;
		admin_conn_send_buf(c, &text);
	}
	buf_free(&text);
	if (!cmd->held) {
		command_free(cmd);
		return;
	}
	/* Its callback frees it. */
	list_remove(&cmd->link);
	cmd->client = NULL;
	cmd->orphan = false;
	cmd->admin = NULL;
}

bool
command_came_too_late(struct command *cmd)
{
	cmd->held = false;
	if (cmd->admin != NULL)
		return false;
	command_free(cmd);
	return true;
}
