/* notify.h - events of the bus, to receivers outside: webhooks, Grafana.
 * Nothing waits for a receiver: an event that it may have is put into its queue, and
 * sent from the loop and its helpers (control/notify_receiver.h).  An event is delivered
 * at least once, or counted as lost; a stop waits a moment for what is under way, and what
 * is left then is lost, for queues are in memory alone.
 *
 * In a fleet with receivers of NOTIFY_ONCE: what is said of a flip comes from the teald
 * that was asked for it; what a teald sees for itself (backends, itself) comes from each.
 * Thread: main. */
#ifndef CONTROL_NOTIFY_H
#define CONTROL_NOTIFY_H

#include "control/bus.h"
#include "control/notify_receiver.h"

struct control;

struct notify {
	struct control *control;
	struct bus_listener listener;
	struct jobs *jobs;	/* reads certificates; NULL before the first */
	struct link receivers;	/* struct receiver, in the file's order */
	char host[RECORD_NAME];
	bool held;	/* another process has the queue, or is about to */
};

/* Listens to the bus of control, whose loop, hosts and configuration are there. */
struct notify *notify_new(struct control *c);
/* False: a helper hangs, and is left behind with what it owns. */
void notify_free(struct notify **np);
/* Another tree is obeyed.  Receivers of the same name keep their queue. */
void notify_reconfigure(struct notify *n, const struct config *config);
/* A look-up is over. */
void notify_on_name(struct notify *n, const struct hostname *name);
/* An attempt is under way: worth a moment, at the end of teald. */
bool notify_is_busy(const struct notify *n);

/* Nothing is heard or sent from here on, because another generation of teald does: one that served
 * before, or one that goes on with the queues, which stay as they are here, for it may
 * die, and be followed by another. */
void notify_hold(struct notify *n);
void notify_resume(struct notify *n);
/* NULL: there is none of that name. */
struct receiver *notify_find(const struct notify *n, struct str name);

#endif
