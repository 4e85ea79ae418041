/* bake_count.c - what a bake counts of the clients of both colors, and what the judge says of it.  Thread: main. */
#include <stdio.h>

#include "base/clock.h"
#include "control/bake_private.h"
#include "control/services.h"

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
	bake_look_for_orphan(ctl, now);
	/* In a bake the clients of its control are not counted again; nor in that of another teald, with which this one may
	 * have to go on. */
	if (bake_is_on(ctl) || bake_claims(ctl) || now - p->now_at < BAKE_WINDOW)
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
	p->old_at_flip = at_end;
	p->epoch = ctl->service->record.epoch;
	bake_restart(ctl, now);
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

	snprintf(text, 512, "%s: %llu in trouble of %llu clients (%.3g %%); %s %s: %llu of %llu (%.3g %%); %s: E = "
		 "10^%.1f, to be reached 10^%.1f",
		 color_word(b->to), (unsigned long long)troubles(&f->fresh), (unsigned long long)f->fresh.exposures,
		 100 * e->new_rate, color_word(color_other(b->to)), f->control == JUDGE_BEFORE ? "before" : "beside it", (unsigned long long)troubles(&f->old),
		 (unsigned long long)f->old.exposures, 100 * e->old_rate, judge_signal_word(e->signal),
		 e->log10_e[e->signal], e->log10_needed[e->signal]);
}

void
bake_judge(struct bake *b)
{
	struct judge_counts now;

	bake_totals(b->ctl->service, b->to, &now);
	count_since(&b->facts.fresh, &now, &b->base);
	if (b->facts.control == JUDGE_CONCURRENT) {
		bake_totals(b->ctl->service, color_other(b->to), &now);
		count_since(&b->facts.old, &now, &b->base_old);
	}
	judge_decide(&b->facts, JUDGE_ALPHA, &b->evidence);
	put_evidence(b, b->text);
}
