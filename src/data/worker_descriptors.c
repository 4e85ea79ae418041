/* worker_descriptors.c - what the process has for connections, descriptors and its max_connections, and
 * what happens without them.
 * Thread: owning worker. */
#include "base/log.h"
#include "data/lane.h"
#include "data/proxy.h"

/* Until the same trouble is told again. */
#define COMPLAIN_SECONDS 10.0

void
worker_pause(struct worker *w)
{
	struct listener *l;

	for (unsigned i = 0; (l = worker_next_listener(w, &i)) != NULL;)
		listener_pause(l);
}

void
worker_starve(struct worker *w, const char *reason)
{
	if (w->starved)
		return;
	w->starved = true;
	atomic_fetch_add_explicit(&w->proxy->pauses, 1, memory_order_relaxed);
	worker_pause(w);
	if (w->complained > 0 && w->now - w->complained < COMPLAIN_SECONDS)
		return;
	w->complained = w->now;
	LOG_WARN("accept.paused", LU("worker", w->index), LS("reason", reason),
		 LU("connections", atomic_load_explicit(&w->proxy->clients.held, memory_order_relaxed)),
		 LS("hint", admission_is_full(&w->proxy->clients) ?
				    "clients wait to be accepted until others leave; raise max_connections outside of services" :
				    "raise LimitNOFILE, or lower max_connections"));
}

bool
worker_take_descriptors(struct worker *w, unsigned n)
{
	/* Connections to backends that are merely kept are worth less than a client. */
	while (!admission_enter(&w->proxy->descriptors, n)) {
		unsigned i = 0;
		struct lane *l;

		while ((l = worker_next_lane(w, &i)) != NULL && (l->mode->drop_one == NULL || !l->mode->drop_one(l)))
			;
		if (l == NULL) {
			worker_starve(w, "the descriptors set aside for connections are in use");
			return false;
		}
	}
	return true;
}

bool
worker_take_client(struct worker *w)
{
	if (!admission_enter(&w->proxy->clients, 1)) {
		worker_starve(w, "teald is at its max_connections");
		return false;
	}
	if (worker_take_descriptors(w, 2))
		return true;
	admission_leave(&w->proxy->clients, 1);
	return false;
}

void
worker_give_client(struct worker *w)
{
	admission_leave(&w->proxy->clients, 1);
	admission_leave(&w->proxy->descriptors, 2);
}

bool
worker_take_flow(struct worker *w)
{
	struct proxy *p = w->proxy;

	if (!admission_enter(&p->flows, 1))
		return false;
	if (admission_enter(&p->clients, 1)) {
		if (admission_enter(&p->descriptors, 1))
			return true;
		admission_leave(&p->clients, 1);
	}
	admission_leave(&p->flows, 1);
	return false;
}

void
worker_kick(struct worker *w)
{
	ev_feed_event(w->loop, &w->tick, EV_TIMER);
}
