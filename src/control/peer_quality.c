/* peer_quality.c - the last minute of a service, on its way to the next teald: as what was counted since each
 * point, for the totals themselves go by peer_tally.c.  Thread: main. */
#include "base/clock.h"
#include "control/peer_private.h"
#include "control/quality.h"

/* A point, or figures, in a message takes at most so much. */
#define FIGURES_ROOM 4096
/* No window of a predecessor is older, seconds. */
#define OLDEST 3600.0

static const char *const class_words[QUALITY_CLASSES] = { "1xx", "2xx", "3xx", "4xx", "5xx" };

static const double *
bounds_of(const struct service *s)
{
	return s->config->mode == MODE_HTTP ? tally_request_bounds : tally_bounds;
}

/* -- the old process ------------------------------------------------------------------ */

static void
put_figures(struct buf *b, const struct service *s, enum color color, const struct quality_figures *f)
{
	size_t row = tlv_open(b, PEER_T_FIGURES), class;
	struct tally_histogram h = { .sum_us = 0 };

	peer_put_str(b, PEER_T_COLOR, color_word(color));
	tlv_double(b, PEER_T_AGE, f->seconds);
	tlv_u64(b, PEER_T_COUNT, f->sum.count);
	tlv_u64(b, PEER_T_ERRORS, f->sum.errors);
	for (unsigned i = 0; i < QUALITY_CLASSES; i++)
		if (f->sum.classes[i] > 0) {
			class = tlv_open(b, PEER_T_REQUESTS);
			peer_put_str(b, PEER_T_WORD, class_words[i]);
			tlv_u64(b, PEER_T_COUNT, f->sum.classes[i]);
			tlv_close(b, class);
		}
	for (unsigned i = 0; i <= TALLY_BUCKETS; i++)
		h.count[i] = f->sum.buckets[i];
	peer_put_histogram(b, PEER_T_REQUEST_SECONDS, &h, bounds_of(s));
	tlv_close(b, row);
}

static void
put_point(struct buf *b, enum peer_tag tag, const struct service *s, const struct quality_point *now,
	  const struct quality_point *then)
{
	size_t row = tlv_open(b, tag);

	tlv_double(b, PEER_T_STARTED, then->at);
	for (enum color c = GREEN; c <= BLUE; c++) {
		const struct quality_figures f = quality_difference(now, then, c);

		if (f.sum.count > 0)
			put_figures(b, s, c, &f);
	}
	tlv_close(b, row);
}

static void
put_flip_mark(struct buf *b, const struct service *s, const struct quality_point *now, const struct quality_flip *f)
{
	size_t row = tlv_open(b, PEER_T_FLIP);

	tlv_u64(b, PEER_T_EPOCH, f->epoch);
	tlv_u64(b, PEER_T_AT_US, (uint64_t)f->at_us);
	peer_put_str(b, PEER_T_COLOR, color_word(f->to));
	put_figures(b, s, f->from, &f->before);
	put_point(b, PEER_T_POINT, s, now, &f->mark);
	tlv_close(b, row);
}

void
peer_put_quality(struct buf *b, const struct service_ctl *ctl)
{
	const struct quality *q = ctl->quality;
	struct quality_point now;

	quality_take_point(ctl->service, clock_now(), &now);
	if (q->flip.epoch > 0)
		put_flip_mark(b, ctl->service, &now, &q->flip);
	/* From the oldest on. */
	for (unsigned ago = q->n; ago-- > 0;)
		if (buf_len(b) + FIGURES_ROOM < PEER_MESSAGE_MAX)
			put_point(b, PEER_T_POINT, ctl->service, &now, quality_point(q, ago));
}

/* -- the new one ------------------------------------------------------------------------ */

static void
take_figures(struct str row, const struct service *s, struct quality_figures *f)
{
	struct tally_histogram h = { .sum_us = 0 };
	struct str rest = row, one;

	*f = (struct quality_figures){ .seconds = peer_double(row, PEER_T_AGE) };
	f->sum.count = (uint32_t)peer_u64(row, PEER_T_COUNT);
	f->sum.errors = (uint32_t)peer_u64(row, PEER_T_ERRORS);
	while (peer_each(&rest, PEER_T_REQUESTS, &one))
		for (unsigned i = 0; i < QUALITY_CLASSES; i++)
			if (str_eq(peer_str(one, PEER_T_WORD), class_words[i]))
				f->sum.classes[i] = (uint32_t)peer_u64(one, PEER_T_COUNT);
	peer_take_histogram(peer_str(row, PEER_T_REQUEST_SECONDS), &h, bounds_of(s));
	for (unsigned i = 0; i <= TALLY_BUCKETS; i++)
		f->sum.buckets[i] = (uint32_t)h.count[i];
}

/* What the counters were then.  False: it is no point. */
static bool
take_point_back(struct str row, const struct service *s, const struct quality_point *now, struct quality_point *then)
{
	double at = peer_double(row, PEER_T_STARTED);
	struct quality_figures since;
	enum color color;
	struct str one;

	if (at > now->at || at < now->at - OLDEST)
		return false;
	*then = *now;
	then->at = at;
	while (peer_each(&row, PEER_T_FIGURES, &one)) {
		if (!peer_color(one, &color))
			continue;
		take_figures(one, s, &since);
		quality_take_back(&then->colors[color], &since.sum);
	}
	return true;
}

static void
take_flip_mark(struct str row, const struct service *s, const struct quality_point *now, struct quality_flip *f)
{
	struct str before = peer_str(row, PEER_T_FIGURES), mark = peer_str(row, PEER_T_POINT);

	if (!peer_color(row, &f->to) || !peer_color(before, &f->from) || f->to == f->from)
		return;
	f->epoch = peer_u64(row, PEER_T_EPOCH);
	f->at_us = (int64_t)peer_u64(row, PEER_T_AT_US);
	take_figures(before, s, &f->before);
	/* Longer ago than any window: where it was does not matter. */
	if (!take_point_back(mark, s, now, &f->mark))
		f->mark = (struct quality_point){ .at = now->at - OLDEST };
}

void
peer_take_quality(struct service_ctl *ctl, struct str row)
{
	struct quality *q = ctl->quality;
	struct quality_point now, then;
	struct str rest = row, one;

	quality_take_point(ctl->service, clock_now(), &now);
	if (peer_has(row, PEER_T_FLIP))
		take_flip_mark(peer_str(row, PEER_T_FLIP), ctl->service, &now, &q->flip);
	/* Older than the one that is there, which goes behind them. */
	q->n = 0;
	while (peer_each(&rest, PEER_T_POINT, &one))
		if (take_point_back(one, ctl->service, &now, &then))
			quality_put_point(q, &then);
	quality_put_point(q, &now);
}
