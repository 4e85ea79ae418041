/* observe_history.h - what the status page shows of the last minutes: five minutes of
 * connections, rates and latency of each service, and the last flips of all of them.
 * One sample a second of counters that are there anyway; kept in memory, and given to the
 * teald that comes after an upgrade (observe_inherit.c).
 * Thread: main. */
#ifndef APP_TEALD_OBSERVE_HISTORY_H
#define APP_TEALD_OBSERVE_HISTORY_H

#include "base/buf.h"
#include "control/control.h"
#include "control/quality.h"

#define HISTORY_POINTS 300
#define HISTORY_STEP 1.0
#define HISTORY_FLIPS 40
/* Latency is of what was observed over so many samples: of a second alone it says little. */
#define HISTORY_LATENCY_SAMPLES 10
/* Services that are sampled in one turn of the loop. */
#define HISTORY_SLICE 64

struct history_point {
	uint32_t connections[COLORS];	/* open at that moment */
	uint32_t rate[COLORS];	/* begun in the second before, in tenths per second */
	uint32_t bad[COLORS];	/* gone wrong in it (service_totals), in tenths per second */
};

/* In microseconds, 0: nothing was observed.  Of HTTP from a request to the first byte of its answer, else
 * of connects to backends. */
struct history_latency_point {
	uint32_t p50[COLORS], p99[COLORS];
};

/* What is drawn, of each color. */
enum history_line { HISTORY_CONNECTIONS, HISTORY_RATE, HISTORY_BAD, HISTORY_P50, HISTORY_P99 };

/* Observations, by bucket, modulo 2^32. */
struct history_observed {
	uint32_t count[COLORS][TALLY_BUCKETS + 1];
};

struct history_latency {
	struct history_latency_point points[HISTORY_POINTS];	/* a ring, as history_service.points */
	struct history_observed samples[HISTORY_LATENCY_SAMPLES];	/* a ring of totals */
	size_t newest;	/* of the samples */
};

/* Per second, between the last two samples. */
struct history_rates {
	double begun[COLORS], in[COLORS], out[COLORS], bad[COLORS];
	double failed, errors;
};

struct history_service {
	uint64_t serial;	/* of the service_ctl */
	struct history_point points[HISTORY_POINTS];	/* a ring: see history_point() */
	struct history_latency *latency;	/* NULL: nothing was observed so far */
	struct service_totals totals;	/* as last sampled */
	struct history_observed observed;	/* likewise */
	struct history_rates rates;
	/* The next points, before all services have theirs. */
	struct history_point next;
	struct history_latency_point next_latency;
};

struct history_flip {
	uint64_t id;	/* one more for each; 0: none */
	uint64_t changed;	/* history.changes when it last did */
	char service[RECORD_NAME];
	int64_t at_us;	/* wall clock */
	enum change kind;	/* flip or rollback */
	enum color to;
	uint64_t epoch;	/* 0: it was refused */
	char by[RECORD_NAME];
	char reason[RECORD_REASON];
	/* "applying" "applied" "draining" "drained" "kept" (flipped back while it
	 * drained), "superseded" by the next before it was applied; or of one that
	 * was refused the error's word. */
	const char *result;
	bool refused;
	uint64_t times;	/* of one that was refused: so often in a row, for the same reason and by the same user */
	char message[512];	/* of one that was refused, or not applied everywhere */
	double drain_seconds;	/* of a drained one */
	uint64_t cut;
};

struct history {
	struct control *control;
	struct history_service **services;	/* as control's were, for `n` of them */
	size_t n;
	uint64_t list_changes;	/* control's, as of then */
	size_t newest;	/* index of the last points */
	size_t n_points;	/* how many there are, at most HISTORY_POINTS */
	size_t own_points;	/* of them those of this process */
	double sampled;	/* clock_now() of them */
	int64_t sampled_us;	/* and the wall's */
	ev_timer timer;
	/* A sample that is under way, service by service: */
	unsigned next_points;	/* that it stands for; 0: there is none */
	uint64_t next_serial;	/* of the service that comes next */
	double next_sampled;	/* clock_now() as it began */
	ev_timer step;	/* goes on with it in the next turn, */
	size_t slice;	/* with so many services */
	struct history_flip flips[HISTORY_FLIPS];	/* a ring by id */
	uint64_t n_flips;	/* since the start: the last id */
	uint64_t changes;
	struct bus_listener listener;
	/* Something that people want to see at once; s may be NULL.  And: a sample
	 * was taken, worth so many points.  Set by the owner; may be NULL. */
	void (*on_news)(void *arg);
	void (*on_sample)(void *arg, unsigned points);
	void *arg;
};

/* Begins to watch; control outlives it. */
void history_open(struct history *p, struct control *c);
void history_close(struct history *p);

/* Services have come or gone: the samples are those of the present ones, and of a new
 * one there are only zeros.  Before anything is asked by the place of a service. */
void history_follow(struct history *p);
/* Sampled now, all in this turn, as if it were `now` on clock_now(). */
void history_sample(struct history *p, double now);
/* The point `ago` samples before the newest one; ago < n_points. */
const struct history_point *history_point(const struct history *p, size_t service, size_t ago);
/* Likewise; all zero where nothing was observed. */
struct history_latency_point history_latency(const struct history *p, size_t service, size_t ago);
/* One value of them. */
uint32_t history_value(const struct history *p, size_t service, size_t ago, enum history_line line, enum color c);
/* Where that is stored; to be written to only by history_take(). */
uint32_t *history_place(struct history *p, size_t service, size_t ago, enum history_line line, enum color c);
/* By id; NULL when it is not remembered (any more). */
const struct history_flip *history_flip(const struct history *p, uint64_t id);
/* The oldest id that is remembered; n_flips + 1 when there is none. */
uint64_t history_oldest_flip(const struct history *p);
/* The word of what has become of one that was not refused, as history_flip.result; NULL: it is none. */
const char *history_result(const char *word);
/* Flips of before this process, oldest first: remembered as if they had been seen here, where they are newer than the
 * HISTORY_FLIPS last ones.  All get other ids. */
void history_put_before(struct history *p, const struct history_flip *flips, size_t n);

/* -- observe_inherit.c -- */

/* A row for history_take() of another process; it is borrowed. */
typedef void history_give_fn(void *arg, const struct buf *row);
void history_give(struct history *p, history_give_fn *give, void *arg);
/* What another process remembers, behind what this one does.  Whatever makes no sense is skipped. */
void history_take(struct history *p, struct str row);

#endif
