/* control_private.h - what the files of control share with each other alone: control.c (its life, health), control_store.c (the
 * store and the fleet), control_engines.c.
 * Thread: main. */
#ifndef CONTROL_CONTROL_PRIVATE_H
#define CONTROL_CONTROL_PRIVATE_H

#include "control/control.h"

/* Publishes a first time what may be: its color is known, and its checks have said enough. */
void control_begin_serving(struct service_ctl *ctl);
void control_begin_serving_all(struct control *c);

/* The store's calls come to this control from now on. */
void control_hear_store(struct control *c, struct store *store);
/* The callback of c->stale_timer. */
void control_on_stale_timer(struct ev_loop *loop, ev_timer *t, int revents);

#endif
