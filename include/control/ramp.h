/* ramp.h - a share that grows by itself, step by step, until the color is active.
 *
 * The steps, and when the next one is due, are in the record (model/share.h), so that they outlive a process and a teald:
 * of a fleet the one that took the last step takes the next, and any other one when that has gone.  Each step is a shift
 * as a client would ask for it, with the gate; one that is refused is tried again, and the share stays meanwhile.  Any
 * other change of color or share ends the ramp.  Thread: main. */
#ifndef CONTROL_RAMP_H
#define CONTROL_RAMP_H

#include "control/flip.h"

/* How often it is looked whether the next step is due, at least, seconds. */
#define RAMP_LOOK 1.0
/* A step that was refused is tried again so soon, seconds. */
#define RAMP_AGAIN 5.0

struct ramp_run {
	struct service_ctl *ctl;	/* which owns it */
	bool on;
	enum color to;
	uint64_t epoch;	/* of the step that holds */
	double due;	/* clock_now(): the next one */
	bool trying;	/* it is under way ... */
	uint64_t from;	/* ... from that epoch */
	bool held;	/* it was refused, for that reason: */
	char text[512];
	struct flip_watcher stepping;
	struct link waiters;	/* clients that wait for the end */
	ev_timer timer;
};

/* Whether one is under way: the record says so. */
static inline bool
ramp_is_on(const struct record *r)
{
	return r->share.idle > 0 && r->share.ramp.on;
}

/* What is to be in the record with its first step, of the steps and the pause; the rest of *r is the caller's. */
void ramp_sign(const struct service_ctl *ctl, struct ramp *r);
/* The watcher is told of the steps, and of the end as who waited for that flip: request.ramp_wait says how long it waits.  False: none
 * is under way. */
bool ramp_watch(struct service_ctl *ctl, const struct flip_request *request, struct flip_watcher **place);

/* -- hooks of control --------------------------------------------------------------- */

/* The record has changed; known: it was known before. */
void ramp_on_record(struct service_ctl *ctl, bool known);
/* The process or the service ends, or another process goes on with it: who waits is told so. */
void ramp_end_all(struct service_ctl *ctl, enum err e, const char *message);
void ramp_free(struct service_ctl *ctl);

#endif
