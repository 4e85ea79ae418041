/* tcp_lane.c - a lane's sessions.  Thread: owning worker. */
#include <stdlib.h>

#include "data/tcp/session_private.h"
#include "data/tcp/tcp_lane.h"

/* Sessions looked at in one round of a drain, so that a round stays well
 * below a millisecond or two whatever the number of connections. */
#define DRAIN_BATCH 2048
/* The system's own limit (tcp(7), tcp_retries2): seconds, about. */
#define SYSTEMS_TIMEOUT 900.0

void
tcp_lane_init(struct lane *l)
{
	l->dial_ops[WAITER_SESSION] = &session_dial_ops;
}

double
tcp_idle_timeout(const struct service_config *c, double timeout)
{
	return timeout >= 0 ? timeout : c->idle_timeout;
}

double
tcp_user_timeout(double idle)
{
	return idle < SYSTEMS_TIMEOUT ? idle : 0;
}

void
tcp_lane_obey(struct lane *l, const struct service_config *old, bool changed)
{
	const struct service_config *c = l->config;

	(void)old;
	if (!changed)
		return;
	worker_set_clock(l->worker, &l->idle_clock[0], tcp_idle_timeout(c, c->client_timeout), session_idled);
	worker_set_clock(l->worker, &l->idle_clock[1], tcp_idle_timeout(c, c->server_timeout), session_idled);
	l->turns = c->client_timeout >= 0 || c->server_timeout >= 0;
	l->user_timeout = tcp_user_timeout(tcp_idle_timeout(c, c->server_timeout));
}

void
tcp_lane_take_snapshot(struct lane *l, bool flipped)
{
	if (flipped)
		dial_end_all(&l->previews[WAITER_SESSION], END_PREVIEW);
}

static bool
must_go(const struct session *s, const struct lane_drain *d, double now)
{
	if (d->orders.idle <= 0 || session_idle(s, now) < d->orders.idle)
		return false;
	return now - d->started >= dial_place(&s->dial) * d->orders.spread;
}

/* Walks a list by rotation: safe when sessions leave, fair when the batch is
 * smaller than the list. */
static unsigned
sweep(struct link *list, const struct lane_drain *d, double now, bool over, unsigned batch)
{
	struct link *first = NULL, *it;

	while (batch > 0 && (it = list_first(list)) != NULL && it != first) {
		struct session *s = list_entry(it, struct session, dial.link);

		batch--;
		if (over) {
			session_end(s, d->orders.ending);
		} else if (must_go(s, d, now)) {
			session_end(s, END_DRAIN_IDLE);
		} else {
			list_remove(it);
			list_append(list, it);
			if (first == NULL)
				first = it;
		}
	}
	return batch;
}

bool
tcp_lane_drain_step(struct lane *l, enum color color, double now, bool over)
{
	const struct lane_drain *d = &l->drain[color];
	struct link *live = &l->live[WAITER_SESSION][color], *previews = &l->previews[WAITER_SESSION];
	unsigned batch = sweep(live, d, now, over, DRAIN_BATCH);

	if (!d->orders.all)
		return !list_empty(live);
	(void)sweep(previews, d, now, over, batch);
	return !list_empty(live) || !list_empty(previews);
}

static void
reap_sessions(struct worker *w)
{
	LIST_EACH(it, &w->ended[WAITER_SESSION]) {
		struct session *s = list_entry(it, struct session, dial.link);

		CHECK(permit_is_empty(&s->dial.permit));
		list_remove(it);
		s->magic = 0;
		free(s);
	}
}

const struct mode tcp_mode = {
	.serve = session_new,
	.init = tcp_lane_init,
	.obey = tcp_lane_obey,
	.take_snapshot = tcp_lane_take_snapshot,
	.drain_step = tcp_lane_drain_step,
	.reap = reap_sessions,
};
