/* health.h - which backends may be used, by asking them again and again.
 * Thread: main. */
#ifndef CONTROL_HEALTH_H
#define CONTROL_HEALTH_H

#include <ev.h>

#include "control/targets.h"
#include "model/service.h"

struct health;

struct health_events {
	/* b->state, since_us and error are set already.  Called on each change
	 * of state, including the first verdict. */
	void (*changed)(void *arg, struct service *s, struct backend *b, enum backend_state was);
	/* What b's checks say of its weight has changed (backend_weight()). */
	void (*weighed)(void *arg, struct service *s, struct backend *b);
	/* Its agent has drained it or not any more, or says that it is down, or up; state follows. */
	void (*agent)(void *arg, struct service *s, struct backend *b);
	void *arg;
};

/* Begins to check every backend of every service; with health type none each
 * is up at once (changed() is called from inside health_new).  The first
 * checks start immediately, later ones every interval +- 10 % jitter, a
 * quarter of it (at least 50 ms) while a verdict is changing; of backends that
 * share a target (control/targets.h) the shortest of these counts.  A backend
 * leaves BACKEND_CHECKING with its first passed check (up) or after `fall`
 * failed ones (down).  An answer by which it wants nothing new (type kube-proxy) is
 * a failed one, and leads to BACKEND_DRAINING instead.  One without an address stays there, and is not asked. */
struct health *health_new(struct ev_loop *loop, struct service **services, size_t n,
			  const struct health_events *events);
void health_free(struct health **hp);
/* One more service, as health_new() takes it; its index is no other one's here. */
void health_add_service(struct health *h, struct service *s);
/* Its backends are asked no more.  Not from inside changed(). */
void health_remove_service(struct health *h, struct service *s);
/* The service's config has other terms of checking: its backends are asked by
 * them, at once.  Verdicts stay until the new answers speak, but the answers so
 * far do not count any more; with health type none all are up (changed() is called from inside). */
void health_reconfigure(struct health *h, struct service *s);
/* One more backend of the service from now on (with health type none it is up
 * at once: changed() is called from inside). */
void health_add(struct health *h, struct service *s, struct backend *b);
/* It is asked no more.  Not from inside changed(). */
void health_remove(struct health *h, struct service *s, struct backend *b);
/* Its address is unknown, so it cannot be checked: it is down, and why. */
void health_give_up(struct health *h, struct service *s, struct backend *b, const char *why);
/* Checks this service's backends again now rather than when due (a worker
 * was refused by one, or a flip waits for it). */
void health_kick(struct health *h, struct service *s);
/* The verdict of another teald that checks the backend in the same way: our answers go on
 * from there.  No event is told. */
void health_adopt(struct health *h, const struct service *s, struct backend *b, enum backend_state state);
/* True once each backend of the service has passed or failed at least once, or
 * was given up. */
bool health_first_round(const struct health *h, const struct service *s);
/* How many backends, itself included, are judged by the answers of the same target; 0: it
 * is not asked.  It must be the service's. */
size_t health_sharers(const struct health *h, const struct service *s, const struct backend *b);
struct targets_totals health_totals(const struct health *h);
/* The name of the counter of probes that failed [0] and passed [1], among those that go to the next teald. */
extern const char *const health_counters[2];

#endif
