/* quality.h - how well a service does by color: status classes, errors and latency of the
 * last minute, and those before and after the last change of color.
 * Sampled from the tallies every QUALITY_STEP seconds, asked for or not.
 * Thread: main. */
#ifndef CONTROL_QUALITY_H
#define CONTROL_QUALITY_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "model/service.h"

struct control;
struct service_ctl;

#define QUALITY_WINDOW 60.0	/* seconds that figures are of, or up to a step more */
#define QUALITY_STEP 5.0
#define QUALITY_POINTS 13	/* the oldest is as old as the window, or older */
#define QUALITY_CLASSES 5	/* 1xx to 5xx */

/* Counters of one color's main entrance, modulo 2^32: differences are what is asked for. */
struct quality_sum {
	uint32_t count;	/* requests that ended; of TCP and UDP, sessions */
	uint32_t errors;	/* of them answered with 5xx; sessions that ended badly, but by a drain or the stop */
	uint32_t classes[QUALITY_CLASSES];	/* of HTTP */
	/* Not cumulative: requests by tally_request_bounds; of sessions, connects by tally_bounds. */
	uint32_t buckets[TALLY_BUCKETS + 1];
};

struct quality_point {
	double at;	/* clock_now() */
	struct quality_sum colors[COLORS];
};

/* What happened within so many seconds: sum holds differences. */
struct quality_figures {
	double seconds;
	struct quality_sum sum;
};

/* The last change of color. */
struct quality_flip {
	uint64_t epoch;	/* 0: none was seen */
	int64_t at_us;	/* wall clock */
	enum color from, to;
	struct quality_figures before;	/* the window before it, of `from` */
	struct quality_point mark;	/* the counters then */
};

struct quality {
	struct quality_point points[QUALITY_POINTS];	/* a ring */
	unsigned newest, n;	/* n: how many there are, at least 1 */
	struct quality_flip flip;
};

/* Of a service whose window begins now.  Aborts when memory is out. */
struct quality *quality_new(const struct service *s);

/* The window begins now: the counters have jumped, as when those of another teald come in. */
void quality_restart(struct quality *q, const struct service *s, double now);

/* Samples every service of control from now on, until quality_close(). */
void quality_open(struct control *c);
void quality_close(struct control *c);
void quality_sample(struct quality *q, const struct service *s, double now);
/* The service's record has another color than before. */
void quality_on_flip(struct quality *q, const struct service *s, enum color from, double now);

/* The last window of a color; since the last flip of the color it led to, but no longer ago than the window. */
struct quality_figures quality_recent(const struct quality *q, const struct service *s, enum color color, double now);
struct quality_figures quality_after(const struct quality *q, const struct service *s, double now);
/* The p-th quantile (0..1) in seconds, as Prometheus' histogram_quantile() guesses it from buckets; http: of whose
 * bounds.  False: nothing was observed. */
bool quality_quantile(const struct quality_figures *f, bool http, double p, double *seconds);

/* -- points, for the teald that comes next (control/peer_quality.c) -- */

/* The counters as they are now. */
void quality_take_point(const struct service *s, double now, struct quality_point *out);
/* As the newest one. */
void quality_put_point(struct quality *q, const struct quality_point *p);
/* The one that was put `ago` points before the newest; ago < q->n. */
const struct quality_point *quality_point(const struct quality *q, unsigned ago);
/* What a color has counted from one to the other. */
struct quality_figures quality_difference(const struct quality_point *now, const struct quality_point *before, enum color color);
/* How much a counter modulo 2^32 has grown.  Workers add while main reads: less than nothing is nothing. */
static inline uint32_t
quality_growth(uint32_t now, uint32_t before)
{
	return now - before <= INT32_MAX ? now - before : 0;
}
/* What the sum was before that. */
void quality_take_back(struct quality_sum *sum, const struct quality_sum *since);

#endif
