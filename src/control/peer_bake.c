/* peer_bake.c - a bake on its way to the next teald, which goes on with it: what was counted goes by the totals
 * (peer_tally.c), here is where they stood; with the clients that have met trouble, and how earlier bakes ended.  Thread: main. */
#include "control/bake.h"
#include "control/peer_private.h"
#include "model/judged.h"

static void
put_counts(struct buf *b, enum peer_tag tag, const struct judge_counts *c)
{
	size_t row = tlv_open(b, tag);

	tlv_u64(b, PEER_T_EXPOSURES, c->exposures);
	for (unsigned i = 0; i < JUDGE_SEEN_SIGNALS; i++)
		peer_put_word(b, PEER_T_TROUBLES, judge_signal_word((enum judge_signal)i), c->errors[i]);
	tlv_u64(b, PEER_T_COUNT, c->told);
	tlv_u64(b, PEER_T_ERRORS, c->told_bad);
	tlv_close(b, row);
}

static void
take_counts(struct str row, struct judge_counts *c)
{
	struct str rest = row, one;

	c->exposures = peer_u64(row, PEER_T_EXPOSURES);
	while (peer_each(&rest, PEER_T_TROUBLES, &one))
		for (unsigned i = 0; i < JUDGE_SEEN_SIGNALS; i++)
			if (str_eq(peer_str(one, PEER_T_WORD), judge_signal_word((enum judge_signal)i)))
				c->errors[i] = peer_u64(one, PEER_T_COUNT);
	c->told = peer_u64(row, PEER_T_COUNT);
	c->told_bad = peer_u64(row, PEER_T_ERRORS);
}

static void
put_verdicts(struct buf *b, const struct service_ctl *ctl)
{
	for (int c = 0; c < COLORS; c++)
		for (int v = 0; v < BAKE_VERDICTS; v++) {
			size_t row;

			if (ctl->bakes_total[c][v] == 0)
				continue;
			row = tlv_open(b, PEER_T_BAKE_VERDICTS);
			peer_put_str(b, PEER_T_COLOR, color_word((enum color)c));
			peer_put_str(b, PEER_T_VERDICT, bake_verdict_word((enum bake_verdict)v));
			tlv_u64(b, PEER_T_COUNT, ctl->bakes_total[c][v]);
			tlv_close(b, row);
		}
	tlv_u64(b, PEER_T_BAKE_FAILURES, ctl->bake_rollbacks_failed);
}

static enum bake_verdict
verdict_of(struct str word)
{
	for (int v = 0; v < BAKE_VERDICTS; v++)
		if (str_eq(word, bake_verdict_word((enum bake_verdict)v)))
			return (enum bake_verdict)v;
	return BAKE_UNDECIDED;
}

static void
take_verdicts(struct service_ctl *ctl, struct str row)
{
	struct str rest = row, one;
	enum color color;

	while (peer_each(&rest, PEER_T_BAKE_VERDICTS, &one))
		if (peer_color(one, &color))
			ctl->bakes_total[color][verdict_of(peer_str(one, PEER_T_VERDICT))] += peer_u64(one, PEER_T_COUNT);
	ctl->bake_rollbacks_failed += peer_u64(row, PEER_T_BAKE_FAILURES);
}

static void
put_past(struct buf *b, const struct bake_past *p)
{
	size_t row = tlv_open(b, PEER_T_BAKE_PAST);

	tlv_u64(b, PEER_T_EPOCH, p->epoch);
	tlv_double(b, PEER_T_STARTED, p->now_at);
	put_counts(b, PEER_T_BAKE_BASE, &p->before);
	put_counts(b, PEER_T_BAKE_NEW, &p->now);
	put_counts(b, PEER_T_BAKE_OLD, &p->control);
	put_counts(b, PEER_T_BAKE_HELD, &p->old_at_flip);
	tlv_close(b, row);
}

static void
take_past(struct bake_past *p, struct str row)
{
	p->epoch = peer_u64(row, PEER_T_EPOCH);
	p->now_at = peer_double(row, PEER_T_STARTED);
	take_counts(peer_str(row, PEER_T_BAKE_BASE), &p->before);
	take_counts(peer_str(row, PEER_T_BAKE_NEW), &p->now);
	take_counts(peer_str(row, PEER_T_BAKE_OLD), &p->control);
	take_counts(peer_str(row, PEER_T_BAKE_HELD), &p->old_at_flip);
}

static void
put_bake(struct buf *b, const struct bake *bake)
{
	bool over = bake->state == BAKE_OVER;
	size_t row = tlv_open(b, over ? PEER_T_BAKE_OVER : PEER_T_BAKE);

	tlv_u64(b, PEER_T_EPOCH, bake->epoch);
	peer_put_str(b, PEER_T_COLOR, color_word(bake->to));
	tlv_double(b, PEER_T_STARTED, bake->started);
	tlv_double(b, PEER_T_TIMEOUT, bake->until);
	tlv_u64(b, PEER_T_UNTIL_US, (uint64_t)bake->until_us);
	peer_put_str(b, PEER_T_WORD, on_regression_word(bake->on_regression));
	peer_put_str(b, PEER_T_BY, bake->by);
	tlv_u64(b, PEER_T_BAKE_WORSE, bake->worse_told);
	tlv_u64(b, PEER_T_BAKE_FAILED, bake->failed);
	put_counts(b, PEER_T_BAKE_BASE, &bake->base);
	put_counts(b, PEER_T_BAKE_OLD, &bake->facts.old);
	put_counts(b, PEER_T_BAKE_HELD, &bake->base_old);
	tlv_u64(b, PEER_T_HOLD_BACK, bake->hold_back);
	put_counts(b, PEER_T_BAKE_NEW, &bake->facts.fresh);
	if (over || bake->state == BAKE_PROMOTING)
		peer_put_str(b, PEER_T_VERDICT, bake_verdict_word(over ? bake->verdict : bake->coming));
	peer_put_str(b, PEER_T_REASON, bake->text);
	tlv_close(b, row);
}

void
peer_put_bake(struct buf *b, const struct service_ctl *ctl)
{
	const struct service *s = ctl->service;
	struct judged_memory memory;

	if (s->colorless)
		return;
	put_verdicts(b, ctl);
	put_past(b, &ctl->past);
	if (judged_remember(atomic_load_explicit(&s->judged, memory_order_acquire), &memory))
		tlv_str(b, PEER_T_JUDGED, (struct str){ (const char *)&memory, sizeof(memory) });
	if (ctl->bake != NULL)
		put_bake(b, ctl->bake);
}

static void
take_bake_row(struct service_ctl *ctl, struct str row, bool over)
{
	struct bake from = { .state = over ? BAKE_OVER : BAKE_JUDGING,
			     .verdict = verdict_of(peer_str(row, PEER_T_VERDICT)),
			     .epoch = peer_u64(row, PEER_T_EPOCH),
			     .started = peer_double(row, PEER_T_STARTED),
			     .until = peer_double(row, PEER_T_TIMEOUT),
			     .until_us = (int64_t)peer_u64(row, PEER_T_UNTIL_US),
			     .worse_told = peer_u64(row, PEER_T_BAKE_WORSE) != 0,
			     .failed = (unsigned)peer_u64(row, PEER_T_BAKE_FAILED),
			     .facts = { .control = JUDGE_BEFORE } };

	/* Its end is settled, and only the flip that ends the hold-back not made. */
	if (!over && from.verdict != BAKE_UNDECIDED) {
		from.state = BAKE_PROMOTING;
		from.coming = from.verdict;
	}
	if (!peer_color(row, &from.to) || !(from.until >= from.started) || from.until - from.started > BAKE_MAX)
		return;
	for (int i = 0; on_regression_words[i] != NULL; i++)
		if (str_eq(peer_str(row, PEER_T_WORD), on_regression_words[i]))
			from.on_regression = (enum on_regression)i;
	(void)str_copy(from.by, sizeof(from.by), peer_str(row, PEER_T_BY));
	(void)str_copy(from.text, sizeof(from.text), peer_str(row, PEER_T_REASON));
	take_counts(peer_str(row, PEER_T_BAKE_BASE), &from.base);
	take_counts(peer_str(row, PEER_T_BAKE_OLD), &from.facts.old);
	take_counts(peer_str(row, PEER_T_BAKE_HELD), &from.base_old);
	from.hold_back = (uint32_t)(peer_u64(row, PEER_T_HOLD_BACK) % SHARE_WHOLE);
	if (from.hold_back > 0) {
		from.facts.control = JUDGE_CONCURRENT;
		from.facts.share = 1 - from.hold_back / (double)SHARE_WHOLE;
	}
	take_counts(peer_str(row, PEER_T_BAKE_NEW), &from.facts.fresh);
	bake_resume(ctl, &from);
}

void
peer_take_bake(struct service_ctl *ctl, struct str row)
{
	struct judged_memory memory;
	struct str judged = peer_str(row, PEER_T_JUDGED);

	take_verdicts(ctl, row);
	/* Of an older teald: the windows begin now, since the counters have jumped. */
	if (peer_has(row, PEER_T_BAKE_PAST))
		take_past(&ctl->past, peer_str(row, PEER_T_BAKE_PAST));
	if (judged.n == sizeof(memory)) {
		memcpy(&memory, judged.p, sizeof(memory));
		judged_restore(&ctl->service->judged, &memory);
	}
	if (peer_has(row, PEER_T_BAKE))
		take_bake_row(ctl, peer_str(row, PEER_T_BAKE), false);
	else if (peer_has(row, PEER_T_BAKE_OVER))
		take_bake_row(ctl, peer_str(row, PEER_T_BAKE_OVER), true);
}
