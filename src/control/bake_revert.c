/* bake_revert.c - the rollback of a color that a bake has found worse.  Thread: main. */
#include <stdio.h>
#include <unistd.h>

#include "control/bake_private.h"
#include "control/claim.h"
#include "control/services.h"

static void
bake_on_rollback_step(struct flip_watcher *w, const struct flip_event *e)
{
	(void)w;
	(void)e;
}

/* It is told, and tried again: the color is worse, whatever the store or the old backends say. */
static void
bake_on_rollback(struct flip_watcher *w, const struct flip_outcome *o)
{
	struct bake *b = container_of(w, struct bake, reverting);
	struct service_ctl *ctl = b->ctl;
	char text[sizeof(b->text)];

	b->trying = false;
	if (b->state != BAKE_REVERTING)
		return;
	if (ctl->service->record.color != b->to) {
		memcpy(text, b->text, sizeof(text));
		bake_end(b, BAKE_ROLLED_BACK, text);
		return;
	}
	if (ctl->service->record.epoch != b->epoch) {
		bake_end(b, BAKE_SUPERSEDED, "another flip came before the rollback");
		return;
	}
	ctl->bake_rollbacks_failed++;
	if (b->failed++ == 0 || o->error != b->failure || b->failed % BAKE_TELL_EACH == 0)
		BUS_EMIT(&ctl->control->bus, LOG_ERROR_LEVEL, "bake.rollback_failed", ctl->service, LS("to", color_word(color_other(b->to))),
		 LS("error", err_word(o->error)), LS("message", o->message != NULL ? o->message : ""), LU("count", b->failed));
	b->failure = o->error;
	bake_look_again(b, BAKE_AGAIN);
}

void
bake_revert(struct bake *b)
{
	struct service_ctl *ctl = b->ctl;
	const struct record *r = &ctl->service->record;
	struct flip_request q = { .kind = CHANGE_ROLLBACK, .has_at_epoch = true, .at_epoch = b->epoch };

	b->state = BAKE_REVERTING;
	/* A claim that the flip's own job has kept is no bar either. */
	if (claim_holds(ctl))
		memcpy(q.token, r->claim.token, sizeof(q.token));
	str_copy(q.by.user, sizeof(q.by.user), STR("teal"));
	/* The first refusal says it; one for another reason is in bake.rollback_failed. */
	q.unnoted = b->failed > 0;
	q.by.uid = geteuid();
	q.by.pid = getpid();
	snprintf(q.reason, sizeof(q.reason), "bake: %s", b->text);
	b->reverting.progress = bake_on_rollback_step;
	b->reverting.done = bake_on_rollback;
	b->trying = true;
	flip_start(ctl, &q, &b->reverting);
}
