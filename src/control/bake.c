/* bake.c - a flip under judgement.  Thread: main. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "control/bake.h"
#include "control/claim.h"
#include "control/services.h"

/* The claim lasts so much longer than the bake: its rollback may have to be tried again. */
#define CLAIM_EXTRA 60.0

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
	case BAKE_INCONCLUSIVE: return E_INCONCLUSIVE;
	case BAKE_SUPERSEDED: return E_CONFLICT;
	}
	return E_INTERNAL;
}

/* -- what is counted ---------------------------------------------------------------- */

void
bake_totals(const struct service *s, enum color color, struct judge_counts *out)
{
	const struct tally_color *t;

	*out = (struct judge_counts){ .exposures = 0 };
	for (unsigned i = 0; (t = service_tally(s, ENTRANCE_MAIN, color, i)) != NULL; i++) {
		out->exposures += tally_read(&t->exposures);
		for (int k = 0; k < JUDGE_SEEN_SIGNALS; k++)
			out->errors[k] += tally_read(&t->troubles[k]);
	}
}

static uint64_t
growth(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

/* What was counted since; a team's counters stay. */
static void
count_since(struct judge_counts *out, const struct judge_counts *now, const struct judge_counts *then)
{
	out->exposures = growth(now->exposures, then->exposures);
	for (int k = 0; k < JUDGE_SEEN_SIGNALS; k++)
		out->errors[k] = growth(now->errors[k], then->errors[k]);
}

static struct judged *
judged_clients(struct service *s)
{
	return atomic_load_explicit(&s->judged, memory_order_acquire);
}

void
bake_restart(struct service_ctl *ctl, double now)
{
	struct bake_past *p = &ctl->past;

	bake_totals(ctl->service, ctl->service->record.color, &p->now);
	p->before = p->now;
	p->now_at = now;
}

void
bake_on_step(struct service_ctl *ctl, double now)
{
	struct bake_past *p = &ctl->past;
	struct judged *j = judged_clients(ctl->service);

	judged_begin_slice(j);
	/* In a bake the clients of its control are not counted again. */
	if (bake_is_on(ctl) || now - p->now_at < BAKE_WINDOW)
		return;
	p->before = p->now;
	bake_totals(ctl->service, ctl->service->record.color, &p->now);
	p->now_at = now;
	judged_begin_window(j);
}

void
bake_on_flip(struct service_ctl *ctl, enum color from, double now)
{
	struct bake_past *p = &ctl->past;
	struct judge_counts at_end;

	bake_totals(ctl->service, from, &at_end);
	count_since(&p->control, &at_end, &p->before);
	p->epoch = ctl->service->record.epoch;
	bake_restart(ctl, now);
}

/* -- the claim ---------------------------------------------------------------------- */

/* Every teald can tell it; no user can, since it is no row of hexadecimal digits. */
static void
bake_token(const char *service, uint64_t epoch, char token[CLAIM_TOKEN])
{
	char text[RECORD_NAME + 32], hash[CLAIM_HASH];

	snprintf(text, sizeof(text), "%s@%llu", service, (unsigned long long)epoch);
	claim_hash(str_from(text), hash);
	snprintf(token, CLAIM_TOKEN, "bake%.28s", hash);
}

static bool
claim_is_a_bakes(const struct service_ctl *ctl)
{
	const struct record *r = &ctl->service->record;
	char token[CLAIM_TOKEN], hash[CLAIM_HASH];

	if (!claim_holds(ctl))
		return false;
	bake_token(ctl->service->config->name, r->epoch, token);
	claim_hash(str_from(token), hash);
	return strcmp(hash, r->claim.token) == 0;
}

bool
bake_claims(const struct service_ctl *ctl)
{
	return claim_is_a_bakes(ctl);
}

/* Of a bake that is judged here. */
static void
bake_reason(const char *what, enum color to, char reason[RECORD_REASON])
{
	struct audit_entry here;

	audit_set_host(&here);
	snprintf(reason, RECORD_REASON, "%s of %s, judged by teald on %s", what, color_word(to), here.host);
}

static void
claim_for(const struct bake *b, bool release)
{
	/* The claim bars others from flips: its release waits for a store that is away. */
	struct claim_request q = { .release = release,
				   .ttl = b->until - b->started + CLAIM_EXTRA,
				   .wait = release ? BAKE_MAX : 0,
				   .at_epoch = b->epoch };
	const struct service *s = b->ctl->service;
	char token[CLAIM_TOKEN];

	bake_token(s->config->name, b->epoch, token);
	memcpy(release ? q.token : q.name, token, sizeof(token));
	memcpy(q.by.user, b->by, sizeof(q.by.user));
	q.by.uid = geteuid();
	q.by.pid = getpid();
	bake_reason(release ? "end of the bake" : "bake", b->to, q.reason);
	claim_start(b->ctl, &q, NULL);
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

static void
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
	if (verdict != BAKE_ROLLED_BACK && verdict != BAKE_SUPERSEDED)
		claim_for(b, true);
	bake_restart(ctl, clock_now());
	bake_answer_all(b, e, e == OK ? NULL : message);
	ctl_unref(&ctl);
}

/* -- the judgement ------------------------------------------------------------------- */

static uint64_t
troubles(const struct judge_counts *c)
{
	uint64_t sum = 0;

	for (int k = 0; k < JUDGE_SEEN_SIGNALS; k++)
		sum += c->errors[k];
	return sum;
}

/* "blue: 23 clients in trouble, of 310 (7.42 %); green before: 2 of 4012 (0.05 %); answer: E = 10^7.2, needed 10^3.9" */
static void
put_evidence(const struct bake *b, char text[512])
{
	const struct judge_case *f = &b->facts;
	const struct judge_evidence *e = &b->evidence;

	snprintf(text, 512, "%s: %llu in trouble of %llu clients (%.3g %%); %s before: %llu of %llu (%.3g %%); %s: E = "
		 "10^%.1f, to be reached 10^%.1f",
		 color_word(b->to), (unsigned long long)troubles(&f->fresh), (unsigned long long)f->fresh.exposures,
		 100 * e->new_rate, color_word(color_other(b->to)), (unsigned long long)troubles(&f->old),
		 (unsigned long long)f->old.exposures, 100 * e->old_rate, judge_signal_word(e->signal),
		 e->log10_e[e->signal], e->log10_needed[e->signal]);
}

static void
bake_judge(struct bake *b)
{
	struct judge_counts now;

	bake_totals(b->ctl->service, b->to, &now);
	count_since(&b->facts.fresh, &now, &b->base);
	judge_decide(&b->facts, JUDGE_ALPHA, &b->evidence);
	put_evidence(b, b->text);
}

static void
look_again(struct bake *b, double seconds)
{
	struct ev_loop *loop = b->ctl->control->loop;

	ev_timer_stop(loop, &b->look);
	ev_timer_set(&b->look, seconds, 0.0);
	ev_timer_start(loop, &b->look);
}

/* -- the rollback -------------------------------------------------------------------- */

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
	b->failed++;
	ctl->bake_rollbacks_failed++;
	BUS_EMIT(&ctl->control->bus, LOG_ERROR_LEVEL, "bake.rollback_failed", ctl->service, LS("to", color_word(color_other(b->to))),
		 LS("error", err_word(o->error)), LS("message", o->message != NULL ? o->message : ""), LU("count", b->failed));
	look_again(b, BAKE_AGAIN);
}

static void
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
	q.by.uid = geteuid();
	q.by.pid = getpid();
	snprintf(q.reason, sizeof(q.reason), "bake: %s", b->text);
	b->reverting.progress = bake_on_rollback_step;
	b->reverting.done = bake_on_rollback;
	b->trying = true;
	flip_start(ctl, &q, &b->reverting);
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
		bake_end(b, BAKE_WORSE, text);
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
	bake_end(b, b->worse_told ? BAKE_WORSE : e->enough ? BAKE_BAKED : BAKE_INCONCLUSIVE, text);
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
	if (b->state == BAKE_REVERTING) {
		if (!b->trying)
			bake_revert(b);
		return;
	}
	/* The process before this one has told more than the store yet. */
	if (!b->ctl->service->known) {
		look_again(b, BAKE_LOOK);
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
		look_again(b, fmin(BAKE_LOOK, b->until - now));
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
	look_again(b, fmin(BAKE_LOOK, b->until - b->started));
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
	b->worse_told = false;
	b->failed = 0;
	memcpy(b->by, q->by.user, sizeof(b->by));
	begin_looking(b);
	BUS_EMIT(&ctl->control->bus, LOG_INFO_LEVEL, "bake.begun", ctl->service, LS("to", color_word(to)), LU("epoch", epoch),
		 LF("seconds", q->bake), LS("kind", on_regression_word(q->on_regression)),
		 LU("clients", b->facts.old.exposures), LS("by", b->by));
	if (!claim_holds(ctl))
		claim_for(b, false);
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
	b->worse_told = from->worse_told;
	b->failed = from->failed;
	memcpy(b->by, from->by, sizeof(b->by));
	b->state = BAKE_JUDGING;
	b->verdict = BAKE_UNDECIDED;
	look_again(b, BAKE_LOOK);
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

	if (!bake_is_on(ctl) || ctl->bake->trying)
		return false;
	snprintf(text, sizeof(text), "promoted by %s, before its time was over", by);
	bake_end(ctl->bake, BAKE_PROMOTED, text);
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

	if (!bake_is_on(ctl) || ctl->bake->state != BAKE_JUDGING || r->epoch == ctl->bake->epoch)
		return;
	snprintf(text, sizeof(text), "ended by a %s of %s: %s is active at epoch %llu", change_word(r->change), r->by,
		 color_word(r->color), (unsigned long long)r->epoch);
	bake_end(ctl->bake, BAKE_SUPERSEDED, text);
}

/* Who judged it is gone, and with it what it had counted. */
void
bake_on_known(struct service_ctl *ctl)
{
	const struct record *r = &ctl->service->record;
	struct bake lost = { .ctl = ctl, .to = r->color, .epoch = r->epoch };
	char until[CLOCK_TEXT], reason[RECORD_REASON];

	if (bake_is_on(ctl) || !claim_is_a_bakes(ctl))
		return;
	bake_reason("bake", r->color, reason);
	/* Another one's goes on there. */
	if (strcmp(r->claim.reason, reason) != 0)
		return;
	clock_format(r->claim.until_us, 3, until);
	BUS_EMIT(&ctl->control->bus, LOG_WARN_LEVEL, "bake.lost", ctl->service, LS("to", color_word(r->color)), LU("epoch", r->epoch),
		 LS("until", until), LS("by", r->claim.by),
		 LS("hint", "the teald that judged it has died; the color stays, and is not judged"));
	memcpy(lost.by, r->claim.by, sizeof(lost.by));
	claim_for(&lost, true);
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
