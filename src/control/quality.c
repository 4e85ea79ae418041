/* quality.c - status classes, errors and latency of the last minute.  Thread: main. */
#include "base/clock.h"
#include "control/bake.h"
#include "control/control.h"
#include "control/quality.h"

/* A timer's turn may come a little before its time on clock_now(). */
#define SLACK 0.1

/* -- sums ------------------------------------------------------------------------- */

static void
add_buckets(struct quality_sum *sum, const struct tally_histogram *h)
{
	for (unsigned i = 0; i <= TALLY_BUCKETS; i++)
		sum->buckets[i] += (uint32_t)tally_read(&h->count[i]);
}

static void
add_http(struct quality_sum *sum, const struct tally_http *t)
{
	for (unsigned i = 0; i < TALLY_CODES; i++) {
		uint32_t n = (uint32_t)tally_read(&t->requests[i]);
		unsigned class = (unsigned)(tally_code_word(i)[0] - '1');

		sum->count += n;
		if (class < QUALITY_CLASSES)
			sum->classes[class] += n;
	}
	add_buckets(sum, &t->request_seconds);
}

static void
add_sessions(struct quality_sum *sum, const struct tally_color *t)
{
	for (enum ending e = 0; (int)e < ENDINGS; e++) {
		uint32_t n = ending_is_of_color(e) ? (uint32_t)tally_read(&t->ended[e]) : 0;

		sum->count += n;
		if (ending_is_error(e) && e != END_DRAINED && e != END_STOP)
			sum->errors += n;
	}
	add_buckets(sum, &t->connect_seconds);
}

static void
sum_of_color(const struct service *s, enum color color, struct quality_sum *sum)
{
	const struct tally_color *t;

	*sum = (struct quality_sum){ .count = 0 };
	for (unsigned i = 0; (t = service_tally(s, ENTRANCE_MAIN, color, i)) != NULL; i++) {
		if (t->http != NULL)
			add_http(sum, t->http);
		else
			add_sessions(sum, t);
	}
	if (s->config->mode == MODE_HTTP)
		sum->errors = sum->classes[QUALITY_CLASSES - 1];
}

struct quality_figures
quality_difference(const struct quality_point *now, const struct quality_point *before, enum color color)
{
	const struct quality_sum *sum = &now->colors[color], *then = &before->colors[color];
	struct quality_figures f = { .seconds = now->at > before->at ? now->at - before->at : 0 };

	f.sum.count = quality_growth(sum->count, then->count);
	f.sum.errors = quality_growth(sum->errors, then->errors);
	for (unsigned i = 0; i < QUALITY_CLASSES; i++)
		f.sum.classes[i] = quality_growth(sum->classes[i], then->classes[i]);
	for (unsigned i = 0; i <= TALLY_BUCKETS; i++)
		f.sum.buckets[i] = quality_growth(sum->buckets[i], then->buckets[i]);
	return f;
}

void
quality_take_back(struct quality_sum *sum, const struct quality_sum *since)
{
	sum->count -= since->count;
	sum->errors -= since->errors;
	for (unsigned i = 0; i < QUALITY_CLASSES; i++)
		sum->classes[i] -= since->classes[i];
	for (unsigned i = 0; i <= TALLY_BUCKETS; i++)
		sum->buckets[i] -= since->buckets[i];
}

/* -- points ------------------------------------------------------------------------- */

void
quality_take_point(const struct service *s, double now, struct quality_point *out)
{
	out->at = now;
	for (int c = 0; c < COLORS; c++)
		sum_of_color(s, (enum color)c, &out->colors[c]);
}

void
quality_put_point(struct quality *q, const struct quality_point *p)
{
	q->newest = (q->newest + 1) % QUALITY_POINTS;
	q->n += q->n < QUALITY_POINTS;
	q->points[q->newest] = *p;
}

const struct quality_point *
quality_point(const struct quality *q, unsigned ago)
{
	CHECK(ago < q->n);
	return &q->points[(q->newest + QUALITY_POINTS - ago) % QUALITY_POINTS];
}

void
quality_sample(struct quality *q, const struct service *s, double now)
{
	struct quality_point p;

	quality_take_point(s, now, &p);
	quality_put_point(q, &p);
}

void
quality_restart(struct quality *q, const struct service *s, double now)
{
	q->n = 0;
	quality_sample(q, s, now);
}

struct quality *
quality_new(const struct service *s)
{
	struct quality *q = must_alloc(sizeof(*q));

	quality_restart(q, s, clock_now());
	return q;
}

/* The newest that is as old as the window, else the oldest of all. */
static const struct quality_point *
window_begin(const struct quality *q, double now)
{
	unsigned ago = 0;

	while (ago + 1 < q->n && now - quality_point(q, ago)->at < QUALITY_WINDOW - SLACK)
		ago++;
	return quality_point(q, ago);
}

struct quality_figures
quality_recent(const struct quality *q, const struct service *s, enum color color, double now)
{
	struct quality_point p;

	p.at = now;
	sum_of_color(s, color, &p.colors[color]);
	return quality_difference(&p, window_begin(q, now), color);
}

/* -- flips -------------------------------------------------------------------------- */

void
quality_on_flip(struct quality *q, const struct service *s, enum color from, double now)
{
	struct quality_flip *f = &q->flip;

	f->epoch = s->record.epoch;
	f->at_us = s->record.at_us;
	f->from = from;
	f->to = s->record.color;
	quality_take_point(s, now, &f->mark);
	f->before = quality_difference(&f->mark, window_begin(q, now), from);
}

struct quality_figures
quality_after(const struct quality *q, const struct service *s, double now)
{
	const struct quality_point *begin = window_begin(q, now);
	enum color color = q->flip.to;
	struct quality_point p;

	if (begin->at < q->flip.mark.at)
		begin = &q->flip.mark;
	p.at = now;
	sum_of_color(s, color, &p.colors[color]);
	return quality_difference(&p, begin, color);
}

/* -- quantiles ---------------------------------------------------------------------- */

bool
quality_quantile(const struct quality_figures *f, bool http, double p, double *seconds)
{
	const double *bounds = http ? tally_request_bounds : tally_bounds;
	double rank, below = 0, lower = 0;
	uint64_t all = 0;

	for (unsigned i = 0; i <= TALLY_BUCKETS; i++)
		all += f->sum.buckets[i];
	if (all == 0)
		return false;
	rank = p * (double)all;
	for (unsigned i = 0; i < TALLY_BUCKETS; i++) {
		double in = f->sum.buckets[i];

		if (in > 0 && below + in >= rank) {
			*seconds = lower + (bounds[i] - lower) * (rank - below) / in;
			return true;
		}
		below += in;
		lower = bounds[i];
	}
	*seconds = lower;
	return true;
}

/* -- every few seconds -------------------------------------------------------------- */

static void
control_on_quality(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct control *c = container_of(t, struct control, quality_timer);
	double now = clock_now();

	(void)loop;
	(void)revents;
	for (size_t i = 0; i < c->n; i++) {
		quality_sample(c->services[i]->quality, c->services[i]->service, now);
		bake_on_step(c->services[i], now);
	}
}

void
quality_open(struct control *c)
{
	ev_timer_init(&c->quality_timer, control_on_quality, QUALITY_STEP, QUALITY_STEP);
	ev_timer_start(c->loop, &c->quality_timer);
}

void
quality_close(struct control *c)
{
	ev_timer_stop(c->loop, &c->quality_timer);
}
