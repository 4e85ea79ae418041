/* bake.h - the time after a flip in which the new color is judged (model/judge.h), and rolled back when it is worse.
 *
 *	JUDGING -> (REVERTING | PROMOTING ->) OVER
 *
 * With a hold-back the old color keeps a share of the clients (model/share.h): the concurrent control.  PROMOTING gives it to the new one,
 * whatever the verdict, unless that is a rollback.
 *
 * While it lasts the service is claimed by it, in the whole fleet: a rollback ends it, other flips are refused.
 * It is judged by the traffic of the teald that was asked for the flip, and goes on without the client that asked;
 * an upgrade hands it to the next process.  Where that teald is gone from a fleet another one goes on with it, by its own
 * traffic since the flip; one that has none to compare with, and the next start of the same one, tell it as lost.
 * Thread: main. */
#ifndef CONTROL_BAKE_H
#define CONTROL_BAKE_H

#include "control/flip.h"
#include "model/judge.h"

/* How often it is judged, seconds. */
#define BAKE_LOOK 1.0
/* Clients that met trouble count anew after so long; the control is one or two such windows.  Seconds. */
#define BAKE_WINDOW 600.0
/* A rollback that could not be made is tried again so soon, seconds. */
#define BAKE_AGAIN 5.0
/* Of those tries that are refused for the same reason one in so many is told. */
#define BAKE_TELL_EACH 12
/* A teald of the fleet that has been silent for so long judges no more, seconds. */
#define BAKE_ORPHAN 10.0
/* No bake is longer, seconds. */
#define BAKE_MAX 86400.0

enum bake_state { BAKE_JUDGING, BAKE_REVERTING, BAKE_PROMOTING, BAKE_OVER };

/*	enum               word */
#define BAKE_VERDICT_TABLE(X) \
	X(BAKE_UNDECIDED,    "undecided") \
	X(BAKE_BAKED,        "baked") \
	X(BAKE_ROLLED_BACK,  "rolled_back") \
	X(BAKE_WORSE,        "worse") \
	X(BAKE_INCONCLUSIVE, "inconclusive") \
	X(BAKE_PROMOTED,     "promoted") \
	X(BAKE_SUPERSEDED,   "superseded") \
	X(BAKE_LOST,         "lost")

enum bake_verdict {
#define X(name, word) name,
	BAKE_VERDICT_TABLE(X)
#undef X
};
#define X(name, word) + 1
enum { BAKE_VERDICTS = 0 BAKE_VERDICT_TABLE(X) };
#undef X

struct bake {
	struct service_ctl *ctl;	/* which owns it */
	enum bake_state state;
	enum bake_verdict verdict;	/* once it is over */
	enum color to;	/* the color that is judged */
	uint64_t epoch;	/* of the flip to it */
	double started, until;	/* clock_now() */
	int64_t until_us;	/* wall clock, for people */
	enum on_regression on_regression;
	struct judge_counts base;	/* of the color, when it became active */
	uint32_t hold_back;	/* what the old color keeps, of SHARE_WHOLE ... */
	struct judge_counts base_old;	/* ... and its counts then */
	enum bake_verdict coming;	/* PROMOTING: which it will be */
	struct judge_case facts;	/* as last looked at */
	struct judge_evidence evidence;
	bool worse_told;
	char by[RECORD_NAME];
	char text[512];	/* what it has come to, in a sentence */
	unsigned failed;	/* rollbacks, or promotions, that could not be made ... */
	enum err failure;	/* ... the last of them for that */
	bool trying;	/* one is under way */
	struct flip_watcher reverting;	/* of the rollback */
	struct link waiters;	/* clients that wait for its end */
	ev_timer look;
};

/* The flip to `to` has been stored.  Takes the place of the last one, which is over. */
void bake_begin(struct service_ctl *ctl, const struct flip_request *q, enum color to, uint64_t epoch);
/* The watcher is told how it goes and how it ends; false: none is under way. */
bool bake_watch(struct service_ctl *ctl, struct flip_watcher *watcher);
/* The same of the bake of that flip, whose watcher is forgotten in *place; told at once when it is over. */
bool bake_answer(struct service_ctl *ctl, uint64_t epoch, struct flip_watcher **place);
/* Is one under way, here? */
bool bake_is_on(const struct service_ctl *ctl);
/* Is the service claimed by a bake, of any teald of the fleet? */
bool bake_claims(const struct service_ctl *ctl);
/* Is it over, here, and only the release of its claim not written yet? */
bool bake_is_leaving(const struct service_ctl *ctl);
/* Ends it: the color stays.  False: none is under way here, or its rollback is being made. */
bool bake_promote(struct service_ctl *ctl, const char *by);
/* A team's own counter.  False: none is under way here. */
bool bake_signal(struct service_ctl *ctl, enum color color, bool good, uint64_t n);

const char *bake_verdict_word(enum bake_verdict v);
/* The error with which a client that waited is told of it. */
enum err bake_error(enum bake_verdict v);
/* The counters of a color's clients, over workers and predecessors. */
void bake_totals(const struct service *s, enum color color, struct judge_counts *out);

/* -- hooks of control --------------------------------------------------------------- */

/* Every QUALITY_STEP seconds: slices and windows. */
void bake_on_step(struct service_ctl *ctl, double now);
/* The windows begin now: the counters have jumped. */
void bake_restart(struct service_ctl *ctl, double now);
/* The record has another color. */
void bake_on_flip(struct service_ctl *ctl, enum color from, double now);
/* The record has changed. */
void bake_on_record(struct service_ctl *ctl);
/* The record is known, for the first time: was a bake of this machine under way? */
void bake_on_known(struct service_ctl *ctl);
/* The process or the service ends, or another process goes on with it: who waits is told so. */
void bake_end_all(struct service_ctl *ctl, enum err e, const char *message);
void bake_free(struct service_ctl *ctl);
/* One of another process goes on here, or was the last one that is over; takes what is filled of *from. */
void bake_resume(struct service_ctl *ctl, const struct bake *from);

#endif
