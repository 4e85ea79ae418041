/* udp_lane.c - a lane's flows.  Thread: owning worker. */
#include <stdlib.h>

#include "data/udp/udp_flow.h"
#include "data/udp/udp_lane.h"

static void
udp_lane_init(struct lane *l)
{
	l->dial_ops[WAITER_FLOW] = &udp_flow_dial_ops;
	l->udp = must_alloc(sizeof(*l->udp));
	list_init(&l->udp->young);
	list_init(&l->udp->farewells);
	list_append(&l->worker->udp->lanes, &l->udp->link);
}

static void
udp_lane_obey(struct lane *l, const struct service_config *old, bool changed)
{
	double idle = l->config->idle_timeout;

	(void)old;
	if (!changed)
		return;
	worker_set_clock(l->worker, &l->idle_clock[0], idle, udp_flow_idled);
	worker_set_clock(l->worker, &l->idle_clock[1],
			 idle > 0 && idle < UDP_YOUNG_IDLE ? idle : UDP_YOUNG_IDLE, udp_flow_idled);
}

static void
udp_lane_take_snapshot(struct lane *l, bool flipped)
{
	if (flipped)
		dial_end_all(&l->previews[WAITER_FLOW], END_PREVIEW);
}

static bool
udp_lane_drain_step(struct lane *l, enum color color, double now, bool over)
{
	return dial_drain_step(l, WAITER_FLOW, color, now, over);
}

static void
udp_lane_tick(struct lane *l)
{
	udp_sockets_tick(l->worker);
}

/* Its sockets wait for no other process any more. */
static void
udp_lane_end(struct lane *l)
{
	LIST_EACH(it, &l->udp->farewells) {
		list_entry(it, struct udp_socket, farewell)->parting = false;
		list_remove(it);
	}
}

static void
udp_lane_free(struct lane *l)
{
	list_remove(&l->udp->link);
	free(l->udp);
	l->udp = NULL;
}

static void
fit_udp(struct worker *w, const struct config *config)
{
	udp_worker_fit(&w->udp, config);
}

static void
reap_flows(struct worker *w)
{
	LIST_EACH(it, &w->ended[WAITER_FLOW]) {
		struct udp_flow *f = list_entry(it, struct udp_flow, dial.link);

		CHECK(permit_is_empty(&f->dial.permit));
		list_remove(it);
		f->magic = 0;
		free(f);
	}
	if (w->udp != NULL && w->udp->closed > 0)
		udp_sockets_reap(w);
}

const struct mode udp_mode = {
	.datagrams = &udp_datagrams,
	.init = udp_lane_init,
	.obey = udp_lane_obey,
	.take_snapshot = udp_lane_take_snapshot,
	.drain_step = udp_lane_drain_step,
	.tick = udp_lane_tick,
	.end = udp_lane_end,
	.free = udp_lane_free,
	.fit = fit_udp,
	.reap = reap_flows,
};
