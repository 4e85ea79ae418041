/* verbs_bake.c - the admin commands about a bake: bake, signal, wait.  Thread: main. */
#include "app/teald/bake_json.h"
#include "app/teald/command.h"
#include "control/ramp.h"

static void
refuse_without_bake(struct command *cmd)
{
	const char *name = cmd->ctl->service->config->name;
	struct why why;

	if (bake_is_on(cmd->ctl))
		command_fail(cmd, why_set(&why, E_CONFLICT, "%s: its bake is being rolled back; see: tealctl bake %s", name, name), &why);
	else if (bake_claims(cmd->ctl))
		command_fail(cmd, why_set(&why, E_CONFLICT, "%s: its bake is judged by another teald: %s; ask that one, or, if it is "
					  "gone for good, end the claim: tealctl release %s --force", name,
					  cmd->ctl->service->record.claim.reason, name), &why);
	else
		command_fail(cmd, why_set(&why, E_CONFLICT, "%s: no bake is under way", name), &why);
}

static void
show_bake(struct command *cmd)
{
	struct buf text;
	struct json j;

	command_ok(&j, &text);
	json_cstr(&j, "service", cmd->ctl->service->config->name);
	json_cstr(&j, "active", color_word(cmd->ctl->service->record.color));
	json_u64(&j, "epoch", cmd->ctl->service->record.epoch);
	bake_json(&j, cmd->ctl);
	command_done(cmd, &j);
}

void
verb_bake(struct command *cmd)
{
	struct flip_request f = { .kind = CHANGE_ROLLBACK, .by = cmd->by };

	switch (cmd->request.bake_verb) {
	case ADMIN_BAKE_SHOW:
		show_bake(cmd);
		return;
	case ADMIN_BAKE_ABORT:
		if (!bake_is_on(cmd->ctl) && !bake_claims(cmd->ctl)) {
			refuse_without_bake(cmd);
			return;
		}
		str_copy(f.reason, sizeof(f.reason), cmd->request.reason.n > 0 ? cmd->request.reason : STR("the bake was aborted"));
		verb_flip_watch(cmd);
		flip_start(cmd->ctl, &f, &cmd->watcher);
		return;
	case ADMIN_BAKE_PROMOTE:
		if (bake_promote(cmd->ctl, cmd->by.user))
			show_bake(cmd);
		else
			refuse_without_bake(cmd);
		return;
	}
}

void
verb_signal(struct command *cmd)
{
	const struct admin_request *r = &cmd->request;
	enum color color;
	struct buf text;
	struct json j;

	CHECK(color_from_word(r->color, &color));
	if (!bake_signal(cmd->ctl, color, r->good, r->count)) {
		refuse_without_bake(cmd);
		return;
	}
	command_ok(&j, &text);
	json_cstr(&j, "service", cmd->ctl->service->config->name);
	json_cstr(&j, "color", color_word(color));
	json_cstr(&j, "kind", r->good ? "good" : "bad");
	json_u64(&j, "count", r->count);
	command_done(cmd, &j);
}

/* One that is over is answered as it ended. */
static void
wait_for_bake(struct command *cmd)
{
	struct flip_watcher *watcher = &cmd->watcher;

	if (cmd->ctl->bake == NULL) {
		refuse_without_bake(cmd);
		return;
	}
	verb_flip_watch(cmd);
	CHECK(bake_answer(cmd->ctl, cmd->ctl->bake->epoch, &watcher));
}

static void
wait_for_ramp(struct command *cmd)
{
	const struct flip_request q = { .ramp_wait = FLIP_WAIT_APPLIED, .by = cmd->by };
	struct flip_watcher *watcher = &cmd->watcher;
	const char *name = cmd->ctl->service->config->name;
	struct why why;

	verb_flip_watch(cmd);
	if (!ramp_watch(cmd->ctl, &q, &watcher))
		command_fail(cmd, why_set(&why, E_CONFLICT, "%s: no ramp is under way", name), &why);
}

void
verb_wait(struct command *cmd)
{
	/* What is so already, a share included: it changes nothing. */
	struct flip_request f = { .kind = CHANGE_FLIP, .share = cmd->ctl->service->record.share.idle,
				  .to = cmd->ctl->service->record.color,
				  .by = cmd->by,
				  .only_waits = true,
				  .wait = cmd->request.wait == ADMIN_WAIT_DRAINED ? FLIP_WAIT_DRAINED : FLIP_WAIT_APPLIED };

	if (cmd->request.wait_ramped) {
		wait_for_ramp(cmd);
		return;
	}
	if (cmd->request.wait_baked) {
		wait_for_bake(cmd);
		return;
	}
	f.has_at_epoch = true;
	f.at_epoch = cmd->ctl->service->record.epoch;
	verb_flip_watch(cmd);
	flip_start(cmd->ctl, &f, &cmd->watcher);
}
