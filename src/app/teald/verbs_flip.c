/* verbs_flip.c - the admin commands that change a service, or ask whether they
 * could: flip, rollback, check, lock, unlock.
 * Thread: main.  Control does the work and makes the lines; here they are
 * handed on, and read once more for the audit log. */
#include <jansson.h>
#include <stdlib.h>

#include "app/command.h"

struct lock_one {
	struct flip_watcher watcher;
	struct command *command;
	const char *name;
};

/* lock '*': one answer for many. */
struct lock_all {
	size_t n, pending;
	enum err first_error;
	bool changed;
	struct buf messages;	/* of those that failed */
	struct buf names;	/* JSON strings of those that did not */
	struct json names_json;
	struct lock_one each[];
};

/* What a last line says: "ok" or the error's word, and the sentence. */
struct verdict {
	struct outcome outcome;	/* its texts are these */
	char result[24];
	char message[1024];
};

static void
verdict_of(struct str line, struct verdict *v)
{
	json_t *o = json_loadb(line.p, line.n, JSON_DISABLE_EOF_CHECK, NULL);
	const char *error = json_string_value(json_object_get(o, "error"));
	const char *message = json_string_value(json_object_get(o, "message"));
	json_t *changed = json_object_get(o, "changed"), *epoch = json_object_get(o, "epoch");

	*v = (struct verdict){ .outcome = { .result = v->result, .message = v->message } };
	if (changed != NULL)
		v->outcome.changed = json_is_true(changed)  ? CHANGED_YES :
				     json_is_false(changed) ? CHANGED_NO :
							      CHANGED_UNKNOWN;
	v->outcome.has_epoch = json_is_integer(epoch);
	v->outcome.epoch = (uint64_t)json_integer_value(epoch);
	if (json_is_true(json_object_get(o, "ok")))
		error = err_word(OK);
	else if (error == NULL)
		error = err_word(E_INTERNAL);
	str_copy(v->result, sizeof(v->result), str_from(error));
	if (message != NULL)
		str_copy(v->message, sizeof(v->message), str_from(message));
	json_decref(o);
}

static void
flip_on_progress(struct flip_watcher *w, struct str line)
{
	command_progress(container_of(w, struct command, watcher), line);
}

static void
flip_on_done(struct flip_watcher *w, struct str line)
{
	struct command *cmd = container_of(w, struct command, watcher);
	struct verdict v;

	verdict_of(line, &v);
	command_relay(cmd, &v.outcome, line);
}

static void
watch(struct command *cmd)
{
	cmd->watcher.progress = flip_on_progress;
	cmd->watcher.done = flip_on_done;
}

static enum flip_wait
flip_wait_of(enum admin_wait wait)
{
	switch (wait) {
	case ADMIN_WAIT_APPLIED: return FLIP_WAIT_APPLIED;
	case ADMIN_WAIT_DRAINED: return FLIP_WAIT_DRAINED;
	case ADMIN_WAIT_NONE: return FLIP_WAIT_NONE;
	}
	CHECK(!"a wait that a flip does not know");
	return FLIP_WAIT_APPLIED;
}

/* False when the command was refused, and is gone. */
static bool
take_reason(struct command *cmd, char reason[RECORD_REASON])
{
	struct why why;

	/* Cut text would be in the history for ever. */
	if (str_copy(reason, RECORD_REASON, cmd->request.reason))
		return true;
	command_fail(cmd,
		     why_set(&why, E_USAGE, "%s: --reason is longer than %d bytes", cmd->info->word,
			     RECORD_REASON - 1),
		     &why);
	return false;
}

void
verb_flip(struct command *cmd)
{
	const struct admin_request *r = &cmd->request;
	struct flip_request f = { .kind = r->command == ADMIN_FLIP ? CHANGE_FLIP : CHANGE_ROLLBACK };

	/* The parser has let no other color through. */
	if (r->color.n > 0)
		CHECK(color_from_word(r->color, &f.to));
	f.has_expect = r->has_expect;
	if (r->has_expect)
		CHECK(color_from_word(r->expect_color, &f.expect));
	f.expect_has_epoch = r->has_expect_epoch;
	f.expect_epoch = r->expect_epoch;
	f.wait = flip_wait_of(r->wait);
	f.wait_healthy = r->has_wait_healthy ? r->wait_healthy : 0;
	f.has_timeout = r->has_timeout;
	f.timeout = r->timeout;
	f.has_drain = r->has_drain;
	f.drain = r->drain;
	f.force = r->force;
	f.by = cmd->by;
	if (!take_reason(cmd, f.reason))
		return;
	watch(cmd);
	flip_start(cmd->entry, &f, &cmd->watcher);
}

void
verb_check(struct command *cmd)
{
	enum color to;

	CHECK(color_from_word(cmd->request.color, &to));
	watch(cmd);
	flip_check(cmd->entry, to, &cmd->watcher);
}

static void
lock_all_free(struct command *cmd)
{
	struct lock_all *all = cmd->all;

	cmd->all = NULL;
	buf_free(&all->messages);
	buf_free(&all->names);
	free(all);
}

static void
lock_all_finish(struct command *cmd)
{
	struct lock_all *all = cmd->all;
	char message[1024];
	enum err e = all->first_error;
	struct outcome o = { .result = err_word(e),
			     .message = message,
			     .changed = all->changed ? CHANGED_YES : CHANGED_NO };
	struct buf text;
	struct json j;

	str_copy(message, sizeof(message), buf_str(&all->messages));
	buf_init(&text, CLIENT_REPLY_MAX);
	json_init(&j, &text);
	json_object(&j, NULL);
	json_bool(&j, "ok", e == OK);
	if (e != OK) {
		json_cstr(&j, "error", err_word(e));
		json_cstr(&j, "message", message);
	}
	json_array(&j, "services");
	buf_append(&text, buf_str(&all->names).p, buf_len(&all->names));
	json_array_end(&j);
	json_bool(&j, "changed", all->changed);
	json_object_end(&j);
	json_line_end(&j);
	lock_all_free(cmd);
	command_relay(cmd, &o, buf_str(&text));
	buf_free(&text);
}

static void
one_on_progress(struct flip_watcher *w, struct str line)
{
	(void)w;
	(void)line;
}

static void
one_on_done(struct flip_watcher *w, struct str line)
{
	struct lock_one *one = container_of(w, struct lock_one, watcher);
	struct lock_all *all = one->command->all;
	struct verdict v;

	verdict_of(line, &v);
	all->changed = all->changed || v.outcome.changed == CHANGED_YES;
	if (strcmp(v.result, err_word(OK)) == 0) {
		json_cstr(&all->names_json, NULL, one->name);
	} else {
		if (all->first_error == OK)
			all->first_error = err_from_word(v.result);
		/* Full: the first ones will do. */
		buf_printf(&all->messages, "%s%s", buf_len(&all->messages) > 0 ? "; " : "", v.message);
	}
	if (--all->pending == 0)
		lock_all_finish(one->command);
}

static void
lock_everything(struct command *cmd, const char *reason)
{
	struct control *c = cmd->admin->control;
	struct lock_all *all = must_alloc(sizeof(*all) + c->n * sizeof(all->each[0]));

	all->n = c->n;
	all->pending = c->n + 1;	/* one more: they may be done from inside */
	buf_init(&all->messages, 1000);
	buf_init(&all->names, CLIENT_REPLY_MAX / 2);
	json_init(&all->names_json, &all->names);
	cmd->all = all;
	for (size_t i = 0; i < c->n; i++) {
		struct lock_one *one = &all->each[i];

		one->watcher.progress = one_on_progress;
		one->watcher.done = one_on_done;
		one->command = cmd;
		one->name = c->entries[i].service->config->name;
		flip_lock(&c->entries[i], reason, &cmd->by, &one->watcher);
	}
	if (--all->pending == 0)
		lock_all_finish(cmd);
}

void
verb_lock(struct command *cmd)
{
	bool lock = cmd->request.command == ADMIN_LOCK;
	char reason[RECORD_REASON];

	if (!take_reason(cmd, reason))
		return;
	if (cmd->request.all_services) {
		lock_everything(cmd, lock ? reason : NULL);
		return;
	}
	watch(cmd);
	flip_lock(cmd->entry, lock ? reason : NULL, &cmd->by, &cmd->watcher);
}

void
verb_flip_abandon(struct command *cmd)
{
	flip_unwatch(&cmd->watcher);
	if (cmd->all == NULL)
		return;
	for (size_t i = 0; i < cmd->all->n; i++)
		flip_unwatch(&cmd->all->each[i].watcher);
	lock_all_free(cmd);
}
