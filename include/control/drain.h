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
/* The color became active again: its connections stay. */
void drain_cancel(struct service_ctl *ctl);

#endif
