/* verbs_upgrade.c - the admin command upgrade: another process takes over.
 * Thread: main. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/teald/command.h"
#include "app/teald/upgrade.h"
#include "base/clock.h"
#include "base/version.h"

struct waiter_for_upgrade {
	struct upgrade_wait wait;
	struct command *cmd;
};

static void
generation_members(struct json *j, const char *key, pid_t pid, const char *version)
{
	json_object(j, key);
	json_i64(j, "pid", pid);
	json_cstr(j, "version", version);
	json_object_end(j);
}

static void
upgrade_on_answer(struct upgrade_wait *w, const struct upgrade_result *r)
{
	struct waiter_for_upgrade *waiter = container_of(w, struct waiter_for_upgrade, wait);
	struct command *cmd = waiter->cmd;
	const struct other_generation *o = r->successor;
	struct outcome outcome = {
		.result = err_word(r->e),
		.message = r->message,
		.changed = r->e == E_UNKNOWN ? CHANGED_UNKNOWN :
			   r->changed        ? CHANGED_YES :
					       CHANGED_NO,
	};
	char versions[160];
	struct buf text;
	struct json j;

	free(waiter);
	if (command_came_too_late(cmd))
		return;
	if (r->e == OK) {
		snprintf(versions, sizeof(versions), "from version %s (pid %d) to version %s (pid %d)",
			 teal_version(), (int)getpid(), o->version, (int)o->pid);
		outcome.message = versions;
	}
	command_result(&j, &text, r->e, r->message);
	if (r->e == E_UNKNOWN)
		json_null(&j, "changed");
	else
		json_bool(&j, "changed", r->changed);
	generation_members(&j, "from", getpid(), teal_version());
	if (o != NULL)
		generation_members(&j, "to", o->pid, o->version);
	json_double(&j, "seconds", r->seconds);
	command_result_done(cmd, &j, &outcome);
}

void
verb_upgrade(struct command *cmd)
{
	struct waiter_for_upgrade *w = must_alloc(sizeof(*w));

	*w = (struct waiter_for_upgrade){
		.wait = { .binary = cmd->request.binary,
			  .config = cmd->request.config,
			  .done = upgrade_on_answer },
		.cmd = cmd,
	};
	str_copy(w->wait.by, sizeof(w->wait.by), str_from(cmd->by.user));
	cmd->held = true;
	upgrade_ask(cmd->admin->upgrade, &w->wait);
}
