/* drain.h - watches the old color run empty.  A service has at most one: only
 * its idle color can drain.
 * Thread: main. */
#ifndef CONTROL_DRAIN_H
#define CONTROL_DRAIN_H

#include "control/control.h"

struct drain {
	struct service_ctl *ctl;
	enum color color;
	uint64_t epoch;	/* of the flip that began it */
	double started, deadline;	/* clock_now(); deadline: when the rest is cut */
	double due;	/* the first deadline; it does not move when that was missed */
	struct drain_orders orders;
	unsigned late_polls;	/* looks since the deadline at which connections were left */
	uint64_t at_start;	/* connections when it began */
	uint64_t last_told;	/* remaining, as last reported */
	double told_at;
	uint64_t cut_before;	/* ended so on this color until it began */
	ev_timer poll;
};

/* Begins to drain color; timeout < 0: the service's own drain.timeout.
 * Replaces a running one. */
void drain_start(struct service_ctl *ctl, enum color color, double timeout);
/* A drain that another teald began, as far as it has come. */
struct drain_legacy {
	enum color color;
	uint64_t epoch;	/* of the flip that began it */
	struct drain_orders orders;
	uint64_t at_start, cut_before;	/* as in struct drain */
};
/* Goes on with it. */
void drain_resume(struct service_ctl *ctl, const struct drain_legacy *legacy);
/* The color became active again: its connections stay. */
void drain_cancel(struct service_ctl *ctl);

#endif
