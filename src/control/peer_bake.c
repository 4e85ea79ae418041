/* peer_bake.c - a bake on its way to the next teald, which goes on with it: what was counted goes by the totals
 * (peer_tally.c), here is where they stood.  Thread: main. */
#include "control/bake.h"
#include "control/peer_private.h"

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

void
peer_put_bake(struct buf *b, const struct service_ctl *ctl)
{
	const struct bake *bake = ctl->bake;
	size_t row;

	if (!bake_is_on(ctl))
		return;
	row = tlv_open(b, PEER_T_BAKE);
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
	put_counts(b, PEER_T_BAKE_NEW, &bake->facts.fresh);
	tlv_close(b, row);
}

void
peer_take_bake(struct service_ctl *ctl, struct str row)
{
	struct bake from = { .epoch = peer_u64(row, PEER_T_EPOCH),
			     .started = peer_double(row, PEER_T_STARTED),
			     .until = peer_double(row, PEER_T_TIMEOUT),
			     .until_us = (int64_t)peer_u64(row, PEER_T_UNTIL_US),
			     .worse_told = peer_u64(row, PEER_T_BAKE_WORSE) != 0,
			     .failed = (unsigned)peer_u64(row, PEER_T_BAKE_FAILED),
			     .facts = { .control = JUDGE_BEFORE } };

	if (!peer_color(row, &from.to) || !(from.until >= from.started) || from.until - from.started > BAKE_MAX)
		return;
	for (int i = 0; on_regression_words[i] != NULL; i++)
		if (str_eq(peer_str(row, PEER_T_WORD), on_regression_words[i]))
			from.on_regression = (enum on_regression)i;
	(void)str_copy(from.by, sizeof(from.by), peer_str(row, PEER_T_BY));
	take_counts(peer_str(row, PEER_T_BAKE_BASE), &from.base);
	take_counts(peer_str(row, PEER_T_BAKE_OLD), &from.facts.old);
	take_counts(peer_str(row, PEER_T_BAKE_NEW), &from.facts.fresh);
	bake_resume(ctl, &from);
}
