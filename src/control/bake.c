/* bake.c - a flip under judgement.  Thread: main. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "control/bake_private.h"
#include "control/claim.h"
#include "control/services.h"

struct bake_waiter {
	struct link link;
	struct flip_watcher *watcher;	/* NULL: left */
};

static const char *const verdict_words[BAKE_VERDICTS] = {
#define X(name, word) [name] = word,
	BAKE_VERDICT_TABLE(X)
#undef X
};

const char *
bake_verdict_word(enum bake_verdict v)
{
	_Static_assert(BAKE_VERDICTS <= (int)BAKE_VERDICTS_MAX, "bakes_total has no place for a verdict");
	CHECK((unsigned)v < BAKE_VERDICTS);
	return verdict_words[v];
}

enum err
bake_error(enum bake_verdict v)
{
	switch (v) {
	case BAKE_UNDECIDED:
	case BAKE_BAKED:
	case BAKE_PROMOTED: return OK;
	case BAKE_ROLLED_BACK: return E_ROLLED_BACK;
	case BAKE_WORSE: return E_WORSE;
	case BAKE_LOST:
	case BAKE_INCONCLUSIVE: return E_INCONCLUSIVE;
	case BAKE_SUPERSEDED: return E_CONFLICT;
	}
	return E_INTERNAL;
}

/* -- the end ------------------------------------------------------------------------ */

static void
waiter_free(struct bake_waiter *w)
{
	list_remove(&w->link);
	flip_let_go(&w->watcher);
	free(w);
}

static void
bake_tell_all(struct bake *b)
{
	LIST_EACH(it, &b->waiters) {
		struct bake_waiter *w = list_entry(it, struct bake_waiter, link);

		if (w->watcher == NULL)
			waiter_free(w);
		else
			flip_tell(w->watcher, &(struct flip_event){ .kind = FLIP_EVENT_BAKING, .epoch = b->epoch, .bake = b });
	}
}

static void
bake_answer_all(struct bake *b, enum err e, const char *message)
{
	struct flip_outcome o = { .error = e, .message = message, .service = b->ctl->service, .changed = CHANGED_YES, .bake = b };
	struct link *it;

	while ((it = list_first(&b->waiters)) != NULL) {
		struct bake_waiter *w = list_entry(it, struct bake_waiter, link);

		list_remove(&w->link);
		flip_end(&w->watcher, &o);
		free(w);
	}
}

void
bake_end(struct bake *b, enum bake_verdict verdict, const char *message)
{
	struct service_ctl *ctl = ctl_ref(b->ctl);
	enum err e = bake_error(verdict);

	ev_timer_stop(ctl->control->loop, &b->look);
	b->state = BAKE_OVER;
	b->verdict = verdict;
	str_copy(b->text, sizeof(b->text), str_from(message));
	ctl->bakes_total[b->to][verdict]++;
	BUS_EMIT(&ctl->control->bus, e == OK ? LOG_INFO_LEVEL : LOG_WARN_LEVEL, "bake.ended", ctl->service,
		 LS("to", color_word(b->to)), LU("epoch", b->epoch), LS("result", bake_verdict_word(verdict)),
		 LS("message", message), LS("by", b->by));
	if (verdict != BAKE_ROLLED_BACK && verdict != BAKE_SUPERSEDED && ctl->service->record.epoch == b->epoch)
		bake_release(b, "end of the bake");
	bake_restart(ctl, clock_now());
	bake_answer_all(b, e, e == OK ? NULL : message);
	ctl_unref(&ctl);
}

void
bake_look_again(struct bake *b, double seconds)
{
	struct ev_loop *loop = b->ctl->control->loop;

	ev_timer_stop(loop, &b->look);
	ev_timer_set(&b->look, seconds, 0.0);
	ev_timer_start(loop, &b->look);
}

static void
on_worse(struct bake *b)
{
	struct service_ctl *ctl = b->ctl;
	char text[sizeof(b->text)];

	if (!b->worse_told)
		BUS_EMIT(&ctl->control->bus, LOG_ERROR_LEVEL, "bake.worse", ctl->service, LS("to", color_word(b->to)),
			 LU("epoch", b->epoch), LS("message", b->text), LS("signal", judge_signal_word(b->evidence.signal)));
	b->worse_told = true;
	switch (b->on_regression) {
	case ON_REGRESSION_ROLLBACK:
		bake_revert(b);
		break;
	case ON_REGRESSION_STOP:
		memcpy(text, b->text, sizeof(text));
		bake_finish(b, BAKE_WORSE, text);
		break;
	case ON_REGRESSION_TELL:
		break;
	}
}

static void
on_time_over(struct bake *b)
{
	const struct judge_evidence *e = &b->evidence;
	char text[sizeof(b->text) + 256];

	if (b->worse_told)
		snprintf(text, sizeof(text), "%s", b->text);
	else if (e->enough)
		snprintf(text, sizeof(text), "%s; at most %.3g %% of clients meet trouble", b->text, 100 * e->could_be);
	else if (b->facts.old.exposures == 0)
		snprintf(text, sizeof(text), "%s; there is nothing to compare it with: %s has served no client lately", b->text,
			 color_word(color_other(b->to)));
	else
		snprintf(text, sizeof(text), "%s; too little traffic: up to %.3g %% of clients could meet trouble and it "
			 "would not show", b->text, 100 * e->could_be);
	bake_finish(b, b->worse_told ? BAKE_WORSE : e->enough ? BAKE_BAKED : BAKE_INCONCLUSIVE, text);
}

static void
bake_on_look(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct bake *b = container_of(t, struct bake, look);
	double now = clock_now();

	(void)loop;
	(void)revents;
	/* Another process judges on. */
	if (b->ctl->control->yielded || b->ctl->removed) {
		bake_end_all(b->ctl, E_UNKNOWN, "another process of teald goes on with the bake; to wait for it: tealctl "
						"wait SERVICE --for=baked");
		return;
	}
	/* The process before this one has told more than the store yet. */
	if (!b->ctl->service->known) {
		bake_look_again(b, BAKE_LOOK);
		return;
	}
	if (b->state == BAKE_REVERTING) {
		if (!b->trying)
			bake_revert(b);
		return;
	}
	if (b->state == BAKE_PROMOTING) {
		if (!b->trying)
			bake_take_rest(b);
		return;
	}
	bake_on_record(b->ctl);
	if (b->state != BAKE_JUDGING)
		return;
	bake_judge(b);
	bake_tell_all(b);
	/* What was found stays found: the process before this one may not have come to its rollback. */
	if (b->evidence.worse || (b->worse_told && b->on_regression == ON_REGRESSION_ROLLBACK)) {
		on_worse(b);
		if (b->state != BAKE_JUDGING)
			return;
	}
	if (now >= b->until)
		on_time_over(b);
	else
		bake_look_again(b, fmin(BAKE_LOOK, b->until - now));
}

/* -- its life ------------------------------------------------------------------------ */

static struct bake *
bake_of(struct service_ctl *ctl)
{
	struct bake *b = ctl->bake;

	if (b == NULL) {
		b = ctl->bake = must_alloc(sizeof(*b));
		list_init(&b->waiters);
		ev_timer_init(&b->look, bake_on_look, 0.0, 0.0);
	}
	b->ctl = ctl;
	return b;
}

bool
bake_is_on(const struct service_ctl *ctl)
{
	return ctl->bake != NULL && ctl->bake->state != BAKE_OVER;
}

static void
begin_looking(struct bake *b)
{
	b->state = BAKE_JUDGING;
	b->verdict = BAKE_UNDECIDED;
	bake_judge(b);
	bake_look_again(b, fmin(BAKE_LOOK, b->until - b->started));
}

void
bake_begin(struct service_ctl *ctl, const struct flip_request *q, enum color to, uint64_t epoch)
{
	struct bake *b;

	if (bake_is_on(ctl))
		bake_end(ctl->bake, BAKE_SUPERSEDED, "another flip with a bake has begun");
	b = bake_of(ctl);
	/* A rollback of the last one may wait for its turn yet. */
	flip_unwatch(&b->reverting);
	b->trying = false;
	b->to = to;
	b->epoch = epoch;
	b->started = clock_now();
	b->until = b->started + q->bake;
	b->until_us = clock_wall_us() + (int64_t)(q->bake * 1e6);
	b->on_regression = q->on_regression;
	b->facts = (struct judge_case){ .control = JUDGE_BEFORE };
	if (ctl->past.epoch == epoch)
		b->facts.old = ctl->past.control;
	bake_totals(ctl->service, to, &b->base);
	if (ctl->past.epoch == epoch)
		b->base = ctl->past.now;
	bake_find_control(b);
	b->worse_told = false;
	b->failed = 0;
	memcpy(b->by, q->by.user, sizeof(b->by));
	begin_looking(b);
	BUS_EMIT(&ctl->control->bus, LOG_INFO_LEVEL, "bake.begun", ctl->service, LS("to", color_word(to)), LU("epoch", epoch),
		 LF("seconds", q->bake), LS("kind", on_regression_word(q->on_regression)),
		 LU("clients", b->facts.old.exposures), LS("by", b->by));
	if (!claim_holds(ctl))
		bake_claim(b);
}

void
bake_resume(struct service_ctl *ctl, const struct bake *from)
{
	struct bake *b = bake_of(ctl);

	b->to = from->to;
	b->epoch = from->epoch;
	b->started = from->started;
	b->until = from->until;
	b->until_us = from->until_us;
	b->on_regression = from->on_regression;
	b->base = from->base;
	b->facts = from->facts;
	b->hold_back = from->hold_back;
	b->base_old = from->base_old;
	b->worse_told = from->worse_told;
	b->failed = from->failed;
	memcpy(b->by, from->by, sizeof(b->by));
	b->state = from->state;
	b->verdict = from->verdict;
	b->coming = from->coming;
	judge_decide(&b->facts, JUDGE_ALPHA, &b->evidence);
	memcpy(b->text, from->text, sizeof(b->text));
	if (b->state != BAKE_OVER)
		bake_look_again(b, BAKE_LOOK);
}

bool
bake_watch(struct service_ctl *ctl, struct flip_watcher *watcher)
{
	struct bake_waiter *w;

	if (!bake_is_on(ctl))
		return false;
	w = must_alloc(sizeof(*w));
	flip_watch(&w->watcher, watcher);
	list_append(&ctl->bake->waiters, &w->link);
	return true;
}

bool
bake_answer(struct service_ctl *ctl, uint64_t epoch, struct flip_watcher **place)
{
	struct bake *b = ctl->bake;
	enum err e;

	if (b == NULL || b->epoch != epoch)
		return false;
	if (bake_is_on(ctl)) {
		(void)bake_watch(ctl, flip_let_go(place));
		return true;
	}
	e = bake_error(b->verdict);
	flip_end(place, &(struct flip_outcome){ .error = e,
						.message = e != OK ? b->text : NULL,
						.service = ctl->service,
						.changed = CHANGED_YES,
						.bake = b });
	return true;
}

bool
bake_promote(struct service_ctl *ctl, const char *by)
{
	char text[RECORD_NAME + 64];

	if (!bake_is_on(ctl) || ctl->bake->trying || ctl->bake->state == BAKE_PROMOTING)
		return false;
	snprintf(text, sizeof(text), "promoted by %s, before its time was over", by);
	bake_finish(ctl->bake, BAKE_PROMOTED, text);
	return true;
}

bool
bake_signal(struct service_ctl *ctl, enum color color, bool good, uint64_t n)
{
	struct bake *b = ctl->bake;
	struct judge_counts *c;

	if (!bake_is_on(ctl))
		return false;
	c = color == b->to ? &b->facts.fresh : &b->facts.old;
	c->told += n;
	c->told_bad += good ? 0 : n;
	return true;
}

void
bake_on_record(struct service_ctl *ctl)
{
	const struct record *r = &ctl->service->record;
	char text[RECORD_NAME + 128];

	if (!bake_is_on(ctl) || ctl->bake->state != BAKE_JUDGING)
		return;
	if (bake_is_judged_elsewhere(ctl->bake)) {
		bake_end(ctl->bake, BAKE_SUPERSEDED, "another teald of the fleet goes on with the bake, for this one was silent");
		return;
	}
	if (r->epoch == ctl->bake->epoch)
		return;
	snprintf(text, sizeof(text), "ended by a %s of %s: %s is active at epoch %llu", change_word(r->change), r->by,
		 color_word(r->color), (unsigned long long)r->epoch);
	bake_end(ctl->bake, BAKE_SUPERSEDED, text);
}

void
bake_end_all(struct service_ctl *ctl, enum err e, const char *message)
{
	struct bake *b = ctl->bake;

	if (b == NULL)
		return;
	ev_timer_stop(ctl->control->loop, &b->look);
	if (b->state != BAKE_OVER)
		b->verdict = BAKE_SUPERSEDED;
	b->state = BAKE_OVER;
	bake_answer_all(b, e, message);
}

void
bake_free(struct service_ctl *ctl)
{
	struct bake *b = ctl->bake;

	if (b == NULL)
		return;
	ev_timer_stop(ctl->control->loop, &b->look);
	flip_unwatch(&b->reverting);
	LIST_EACH(it, &b->waiters)
		waiter_free(list_entry(it, struct bake_waiter, link));
	free(b);
	ctl->bake = NULL;
}
