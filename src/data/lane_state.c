/* lane_state.c - what a lane's state and terms say to its connections.  Thread: owning worker. */
#include "base/log.h"
#include "data/lane.h"
#include "net/sock.h"

/* Until the same trouble is told again. */
#define COMPLAIN_SECONDS 10.0

int
lane_connect(const struct lane *l, const struct backend *b, bool *pending)
{
	const struct service_config *sc = l->config;
	const struct sock_connect options = {
		.source = &sc->source_address,
		.congestion = sc->tcp.congestion,
		.user_timeout = sc->tcp.user_timeout >= 0 ? sc->tcp.user_timeout : l->user_timeout,
		.keepalive = sc->tcp.keepalive,
	};

	return sock_connect(&b->address, &options, pending);
}

void
lane_has_no_port(struct lane *l, enum entrance entrance, const struct backend *b)
{
	struct worker *w = l->worker;

	tally_add(&l->tally->colors[entrance][b->color].no_port, 1);
	if (w->no_port_told > 0 && w->now - w->no_port_told < COMPLAIN_SECONDS)
		return;
	w->no_port_told = w->now;
	LOG_WARN("backend.no_port", LS("service", l->config->name),
		 LR(NULL, str_from(l->config->labels_json)), LS("backend", b->text),
		 LS("hint", "widen net.ipv4.ip_local_port_range, or have more backends or addresses; "
			    "source_address must be one of this machine's"));
}

enum color
lane_color(const struct lane *l, enum entrance entrance)
{
	const struct snapshot unknown = { .active = l->config->initial };

	return snapshot_color(l->snapshot != NULL ? l->snapshot : &unknown, entrance);
}

bool
lane_drain_is_over(const struct lane_drain *d, double now)
{
	return d->orders.timeout >= 0 && now - d->started >= d->orders.timeout;
}

bool
lane_must_end(const struct lane *l, enum ending *ending)
{
	for (int c = 0; c < COLORS; c++)
		if (l->stopping && l->drain[c].on && lane_drain_is_over(&l->drain[c], l->worker->now)) {
			*ending = l->drain[c].orders.ending;
			return true;
		}
	return false;
}
