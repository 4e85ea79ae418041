/* ring.h - would a backend at an address lead back to its service?  Where the configuration says so it is refused
 * (model/config_ring.c); what names turn out to be, and nodes that are added, are known later.
 * Thread: main. */
#ifndef CONTROL_RING_H
#define CONTROL_RING_H

#include "control/control.h"

/* True: whatever s sends to `a` comes back to it.  *by is the service that listens there: s itself, or the first on the
 * way back.  An address that several services share leads to none of them for certain. */
bool ring_leads_back(const struct control *c, const struct service *s, const struct addr *a, const struct service **by);

#endif
