/* publish.h - from what main knows to what the engine obeys.
 * Thread: main. */
#ifndef CONTROL_PUBLISH_H
#define CONTROL_PUBLISH_H

#include "control/control.h"

/* A snapshot of the service as it is now: backends that are up or, when none
 * is, what when_all_down says.  One reference, the caller's. */
struct snapshot *publish_build(struct service *s);

/* Hands one to the engine at once; while control commits a reload, with that commit. */
void publish_now(struct service_ctl *ctl);
/* For the commit: the one that is due, for the caller; NULL: none is. */
struct snapshot *publish_take(struct service_ctl *ctl);
/* The same before the loop sleeps again: many changes, one snapshot. */
void publish_soon(struct service_ctl *ctl);

#endif
