/* tcp_lane.c - a lane's sessions.  Thread: owning worker. */
#include <stdlib.h>

#include "data/tcp/session_private.h"
#include "data/tcp/tcp_lane.h"

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

bool
tcp_lane_drain_step(struct lane *l, enum color color, double now, bool over)
{
	return dial_drain_step(l, WAITER_SESSION, color, now, over);
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
