/* backends.h - backends that a service gets and loses while it serves: by what is said of nodes, by
 * names that mean another address, by another configuration.  The checks follow.
 * Thread: main. */
#ifndef CONTROL_BACKENDS_H
#define CONTROL_BACKENDS_H

#include "control/control.h"

/* One more, behind `after` (NULL: the last).  Takes the caller's reference. */
void backends_add(struct service_ctl *ctl, struct backend *b, const struct backend *after);
/* The service's reference is dropped; connections keep theirs.  Not from inside the checks. */
void backends_drop(struct service_ctl *ctl, struct backend *b);

/* The service's config has other backends, ports, weights or terms of TLS to them: gives and takes what
 * differs, and publishes.  A backend that is the same in both stays the very same; one that
 * is merely spoken to by other terms of TLS is another, and begins with the verdict of the
 * one before it.  The pools are those of the new configuration already. */
void backends_reconfigure(struct service_ctl *ctl);

#endif
