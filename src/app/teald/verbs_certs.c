/* verbs_certs.c - the admin command certs: what clients are shown, and reading
 * it again.
 * Thread: main. */
#include <stdlib.h>

#include "app/command.h"
#include "control/certs.h"

static bool
is_wanted(const void *arg, const struct service *s)
{
	const struct command *cmd = arg;

	return (cmd->entry == NULL || cmd->entry->service == s) && command_may_read(cmd, s);
}

static void
run_list(struct command *cmd)
{
	struct buf text;
	struct json j;

	command_ok(&j, &text);
	certs_json(cmd->admin->control->certs, &j, is_wanted, cmd);
	command_done(cmd, &j);
}

struct waiter_for_certs {
	struct certs_wait wait;
	struct command *cmd;
};

static void
certs_on_reloaded(struct certs_wait *w, const struct certs_result *r)
{
	struct waiter_for_certs *waiter = container_of(w, struct waiter_for_certs, wait);
	struct outcome o = { .result = err_word(r->refused == 0 ? OK : E_USAGE) };
	struct command *cmd = waiter->cmd;
	struct buf text;
	struct json j;

	free(waiter);
	if (command_came_too_late(cmd))
		return;
	o.message = r->refused == 0 ? NULL : r->problem;
	o.changed = r->changed > 0 ? CHANGED_YES : CHANGED_NO;
	buf_init(&text, CLIENT_REPLY_MAX);
	json_init(&j, &text);
	json_object(&j, NULL);
	json_bool(&j, "ok", r->refused == 0);
	if (r->refused > 0) {
		json_cstr(&j, "error", o.result);
		json_cstr(&j, "message", r->problem);
	}
	json_bool(&j, "changed", r->changed > 0);
	json_u64(&j, "services_changed", r->changed);
	json_u64(&j, "services_refused", r->refused);
	json_object_end(&j);
	json_line_end(&j);
	command_relay(cmd, &o, buf_str(&text));
	buf_free(&text);
}

void
verb_certs(struct command *cmd)
{
	struct waiter_for_certs *w;

	if (!cmd->request.reload) {
		run_list(cmd);
		return;
	}
	w = must_alloc(sizeof(*w));
	w->wait.done = certs_on_reloaded;
	w->cmd = cmd;
	cmd->held = true;
	certs_reload(cmd->admin->control->certs, &w->wait);
}
