/* bake_hold_back.c - the share that the old color keeps during a bake, as its control, and its end.  Thread: main. */
#include <stdio.h>
#include <unistd.h>

#include "control/bake_private.h"
#include "control/claim.h"
#include "control/services.h"

void
bake_find_control(struct bake *b)
{
	const struct service_ctl *ctl = b->ctl;
	const struct record *r = &ctl->service->record;

	b->hold_back = r->epoch == b->epoch && r->color == b->to ? r->share.idle : 0;
	b->facts.control = b->hold_back > 0 ? JUDGE_CONCURRENT : JUDGE_BEFORE;
	b->facts.share = 1 - b->hold_back / (double)SHARE_WHOLE;
	if (b->hold_back > 0)
		b->facts.old = (struct judge_counts){ .exposures = 0 };
	bake_totals(ctl->service, color_other(b->to), &b->base_old);
	if (ctl->past.epoch == b->epoch)
		b->base_old = ctl->past.old_at_flip;
}

static void
on_promotion_step(struct flip_watcher *w, const struct flip_event *e)
{
	(void)w;
	(void)e;
}

/* True: it is known what became of the share, and the bake is over. */
static bool
hold_back_is_over(struct bake *b)
{
	const struct record *r = &b->ctl->service->record;
	char text[sizeof(b->text) + 64];

	if (r->epoch == b->epoch)
		return false;
	if (r->color == b->to && r->share.idle == 0) {
		snprintf(text, sizeof(text), "%.*s; %s keeps no clients any more", (int)sizeof(b->text) - 1, b->text,
			 color_word(color_other(b->to)));
		bake_end(b, b->coming, text);
	} else {
		bake_end(b, BAKE_SUPERSEDED, "another change came before the end of the hold-back");
	}
	return true;
}

static void
bake_on_promotion(struct flip_watcher *w, const struct flip_outcome *o)
{
	struct bake *b = container_of(w, struct bake, reverting);
	struct service_ctl *ctl = b->ctl;

	b->trying = false;
	if (b->state != BAKE_PROMOTING || hold_back_is_over(b))
		return;
	if (b->failed++ == 0 || o->error != b->failure)
		BUS_EMIT(&ctl->control->bus, LOG_WARN_LEVEL, "bake.promotion_failed", ctl->service, LS("to", color_word(b->to)),
			 LS("error", err_word(o->error)), LS("message", o->message != NULL ? o->message : ""));
	b->failure = o->error;
	bake_look_again(b, BAKE_AGAIN);
}

void
bake_take_rest(struct bake *b)
{
	struct service_ctl *ctl = b->ctl;
	const struct record *r = &ctl->service->record;
	struct flip_request q = { .kind = CHANGE_FLIP, .to = b->to, .has_at_epoch = true, .at_epoch = b->epoch };

	if (hold_back_is_over(b))
		return;
	if (claim_holds(ctl))
		memcpy(q.token, r->claim.token, sizeof(q.token));
	/* One that the flip's own job has kept is no bake's to end. */
	q.keep_claim = q.token[0] != '\0' && !bake_claims(ctl);
	str_copy(q.by.user, sizeof(q.by.user), STR("teal"));
	q.unnoted = b->failed > 0;
	q.by.uid = geteuid();
	q.by.pid = getpid();
	snprintf(q.reason, sizeof(q.reason), "end of the bake, %s: %s", bake_verdict_word(b->coming), b->text);
	b->reverting.progress = on_promotion_step;
	b->reverting.done = bake_on_promotion;
	b->trying = true;
	flip_start(ctl, &q, &b->reverting);
}

void
bake_finish(struct bake *b, enum bake_verdict verdict, const char *message)
{
	const struct record *r = &b->ctl->service->record;

	if (r->epoch != b->epoch || r->share.idle == 0) {
		bake_end(b, verdict, message);
		return;
	}
	b->state = BAKE_PROMOTING;
	b->coming = verdict;
	b->failed = 0;
	str_copy(b->text, sizeof(b->text), str_from(message));
	bake_take_rest(b);
}
