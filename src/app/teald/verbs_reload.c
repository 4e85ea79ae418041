/* verbs_reload.c - the admin commands reload and config: another configuration for
 * the running teald, and what it obeys now.
 * Thread: main. */
#include <stdlib.h>

#include "app/teald/command.h"
#include "control/reload.h"

/* Errors of a file that one reply names. */
#define ERRORS_MAX 1000

struct waiter_for_reload {
	struct reload_wait wait;
	struct command *cmd;
};

/* "teal.conf:12: service …" in its parts. */
static void
complaint_json(struct json *j, const char *line)
{
	const char *colon = strchr(line, ':');
	size_t digits = 0;
	uint64_t n = 0;

	/* A file's name may have colons: the number is the first that stands between two. */
	for (; colon != NULL; colon = strchr(colon + 1, ':')) {
		digits = strspn(colon + 1, "0123456789");
		if (digits > 0 && colon[1 + digits] == ':' && str_to_u64((struct str){ colon + 1, digits }, INT32_MAX, &n))
			break;
	}
	json_object(j, NULL);
	if (colon != NULL) {
		json_str(j, "file", (struct str){ line, (size_t)(colon - line) });
		json_u64(j, "line", n);
		json_cstr(j, "message", colon + digits + 2 + (colon[digits + 2] == ' '));
	} else {
		json_null(j, "line");
		json_cstr(j, "message", line);
	}
	json_object_end(j);
}

static void
complaints_json(struct json *j, const char *key, const struct complaints *c)
{
	json_array(j, key);
	for (size_t i = 0; i < c->n && i < ERRORS_MAX; i++)
		complaint_json(j, c->lines[i]);
	json_array_end(j);
}

/* In words too, for the reader of the log. */
static void
put_plan_lines(struct json *j, const struct config_plan *plan)
{
	struct buf text;
	struct str rest;

	buf_init(&text, CLIENT_REPLY_MAX / 4);
	config_plan_text(plan, &text);
	json_array(j, "lines");
	for (rest = buf_str(&text); rest.n > 0;) {
		const char *end = memchr(rest.p, '\n', rest.n);
		size_t n = end != NULL ? (size_t)(end - rest.p) : rest.n;

		json_str(j, NULL, (struct str){ rest.p, n });
		rest.p += n + (end != NULL);
		rest.n -= n + (end != NULL);
	}
	json_array_end(j);
	buf_free(&text);
}

static void
reload_on_planned(struct reload_wait *w, const struct config_plan *plan)
{
	struct command *cmd = container_of(w, struct waiter_for_reload, wait)->cmd;
	struct buf text;
	struct json j;

	if (cmd->admin == NULL)
		return;
	buf_init(&text, CLIENT_REPLY_MAX);
	json_init(&j, &text);
	json_object(&j, NULL);
	json_cstr(&j, "event", "planned");
	config_plan_json(plan, &j);
	put_plan_lines(&j, plan);
	json_object_end(&j);
	json_line_end(&j);
	if (!text.failed)
		command_progress(cmd, buf_str(&text));
	buf_free(&text);
}

static void
reload_on_done(struct reload_wait *w, const struct reload_result *r)
{
	struct waiter_for_reload *waiter = container_of(w, struct waiter_for_reload, wait);
	struct outcome o = { .result = err_word(r->e),
			     .message = r->message,
			     .changed = r->changed ? CHANGED_YES : CHANGED_NO };
	struct command *cmd = waiter->cmd;
	struct buf text;
	struct json j;

	free(waiter);
	cmd->reload = NULL;
	if (command_came_too_late(cmd))
		return;
	command_result(&j, &text, r->e, r->message);
	if (r->e != OK)
		complaints_json(&j, "errors", r->errors);
	json_bool(&j, "changed", r->changed);
	json_bool(&j, "dry_run", cmd->request.dry_run);
	json_u64(&j, "generation", r->generation);
	complaints_json(&j, "warnings", r->warnings);
	command_result_done(cmd, &j, &o);
}

void
verb_reload(struct command *cmd)
{
	struct waiter_for_reload *w = must_alloc(sizeof(*w));

	w->wait = (struct reload_wait){ .dry_run = cmd->request.dry_run,
					.planned = reload_on_planned,
					.done = reload_on_done };
	str_copy(w->wait.by, sizeof(w->wait.by), str_from(cmd->by.user));
	w->cmd = cmd;
	cmd->held = true;
	cmd->reload = w;
	reload_ask(cmd->admin->control->reloads, &w->wait);
}

bool
verb_reload_take_back(struct command *cmd)
{
	if (cmd->reload == NULL || !reload_take_back(cmd->admin->control->reloads, &cmd->reload->wait))
		return false;
	free(cmd->reload);
	cmd->reload = NULL;
	cmd->held = false;
	return true;
}

static void
section_json(struct json *j, const struct config_section *s)
{
	const char *key, *value;
	size_t at = 0;

	json_array(j, "keys");
	while (config_section_next(s, &at, &key, &value)) {
		json_object(j, NULL);
		json_cstr(j, "key", key);
		json_cstr(j, "value", value);
		json_object_end(j);
	}
	json_array_end(j);
}

void
verb_config(struct command *cmd)
{
	const struct control *c = cmd->admin->control;
	const struct reload_status status = reload_status(c->reloads);
	struct config_keys *k = config_keys_new(c->config);
	struct buf text;
	struct json j;

	command_ok(&j, &text);
	json_cstr(&j, "path", c->config->path);
	json_u64(&j, "generation", status.generation);
	json_cstr(&j, "checksum", status.checksum);
	if (cmd->ctl == NULL)
		section_json(&j, &k->settings);
	json_array(&j, "services");
	for (size_t i = 0; i < k->n; i++) {
		if (cmd->ctl != NULL && strcmp(k->services[i].name, cmd->ctl->service->config->name) != 0)
			continue;
		json_object(&j, NULL);
		json_cstr(&j, "service", k->services[i].name);
		section_json(&j, &k->services[i]);
		json_object_end(&j);
	}
	json_array_end(&j);
	config_keys_free(&k);
	command_done(cmd, &j);
}
