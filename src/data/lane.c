/* lane.c - one worker's part of one service.  Thread: owning worker. */
#include <stdlib.h>

#include "data/dial.h"
#include "data/handshake.h"
#include "data/lane.h"
#include "data/proxy.h"
#include "net/tls_client.h"

/* Linger after a failed handshake or a refused request, in seconds. */
#define LINGER 1.0
/* A ClientHello in pieces is looked at again so often where the kernel does not
 * say when. */
#define AGAIN 0.05

#define PAUSES_MAX 255

/* A backend that refuses is given as long as one that does not answer. */
static unsigned
pauses(const struct service_config *c)
{
	double n = c->retry_pause > 0 ? c->connect_timeout * c->retries / c->retry_pause : 0;

	return n < PAUSES_MAX ? (unsigned)n : PAUSES_MAX;
}

/* Durations, and what else is made of the configuration. */
static void
set_lane_terms(struct lane *l)
{
	const struct service_config *c = l->config;
	struct worker *w = l->worker;

	worker_set_clock(w, &l->connect_clock, c->connect_timeout, dial_expired);
	worker_set_clock(w, &l->header_clock, c->proxy_protocol.header_timeout, handshake_on_deadline);
	worker_set_clock(w, &l->handshake_clock, c->tls.handshake_timeout, handshake_on_deadline);
	worker_set_clock(w, &l->goodbye_clock, LINGER, handshake_on_deadline);
	worker_set_clock(w, &l->again_clock, AGAIN, handshake_on_again);
	worker_set_clock(w, &l->queue_clock, c->limits.queue_timeout, dial_expired);
	worker_set_clock(w, &l->retry_clock, c->retry_pause, dial_expired);
	l->pauses = pauses(c);
	l->queues |= queue_is_on(l);
}

struct lane *
lane_new(struct worker *w, struct service *s, const struct service_config *config)
{
	struct lane *l = must_alloc(sizeof(*l));

	l->worker = w;
	l->service = s;
	l->mode = w->proxy->modes[config->mode];
	l->config = config;
	l->tally = &s->tallies[w->index];
	queue_init(l);
	list_init(&l->handshaking);
	list_init(&l->dialing);
	for (int k = 0; k < DIAL_KINDS; k++) {
		l->waiter_ops[k] = &dial_waiting_ops;
		list_init(&l->previews[k]);
		for (int c = 0; c < COLORS; c++)
			list_init(&l->live[k][c]);
	}
	set_lane_terms(l);
	l->mode->init(l);
	l->mode->obey(l, config, true);
	/* Workers begin their turns at different backends. */
	for (int c = 0; c < COLORS; c++)
		balance_round_init(&l->rounds[c], w->index);
	return l;
}

void
lane_obey(struct lane *l, const struct service_config *config, bool changed)
{
	const struct service_config *old = l->config;

	ON_WORKER(l->worker);
	CHECK(config->mode == old->mode);
	l->config = config;
	if (changed)
		set_lane_terms(l);
	l->mode->obey(l, old, changed);
}

bool
lane_is_empty(struct lane *l)
{
	bool empty = list_empty(&l->handshaking) && list_empty(&l->dialing) && queue_is_empty(l) &&
		     l->handed == 0 && !ev_is_active(&l->hand_on) && (l->mode->is_empty == NULL || l->mode->is_empty(l));
	struct listener *li;

	for (int k = 0; k < DIAL_KINDS; k++) {
		empty &= list_empty(&l->previews[k]);
		for (int c = 0; c < COLORS; c++)
			empty &= list_empty(&l->live[k][c]);
	}
	for (unsigned i = 0; empty && (li = worker_next_listener(l->worker, &i)) != NULL;)
		empty = !binding_is_for(li->binding, l->service->index);
	return empty;
}

void
lane_end(struct lane *l)
{
	/* Those who wait first, or they would get the places of the others. */
	queue_end(l, END_STOP);
	handshake_end_all(l, END_STOP);
	if (l->mode->end != NULL)
		l->mode->end(l);
	dial_end_all(&l->dialing, END_STOP);
	for (int k = 0; k < DIAL_KINDS; k++) {
		dial_end_all(&l->previews[k], END_STOP);
		for (int c = 0; c < COLORS; c++)
			dial_end_all(&l->live[k][c], END_STOP);
	}
	for (int c = 0; c < COLORS; c++)
		balance_round_free(&l->rounds[c]);
	queue_free(l);
	snapshot_unref(&l->snapshot);
}

void
lane_free(struct lane **lp)
{
	struct lane *l = *lp;

	*lp = NULL;
	/* The last letters may have brought some. */
	lane_take_tls(l, NULL, NULL);
	snapshot_unref(&l->snapshot);
	for (int i = 0; i < LANE_CLOCKS; i++)
		worker_set_clock(l->worker, &l->clocks[i], 0, NULL);
	if (l->mode->free != NULL)
		l->mode->free(l);
	free(l);
}

/* on_down = "reset": a server that was demoted answers on, but must not be
 * spoken to; one that has gone keeps its clients waiting in vain. */
static void
leave_down(struct lane *l)
{
	bool any = snapshot_has_leaving(l->snapshot);

	if (any)
		worker_drain_begin(l->worker);

	for (int c = 0; c < COLORS; c++)
		for (unsigned i = 0; i < l->snapshot->colors[c].n_down; i++)
			any |= atomic_load_explicit(&l->snapshot->colors[c].down[i]->connections,
						    memory_order_relaxed) > 0;
	if (!any)
		return;
	dial_leave_down(l);
}

void
lane_take_snapshot(struct lane *l, struct snapshot **snapshot)
{
	struct snapshot *old = l->snapshot;
	enum color active = (*snapshot)->active;
	bool first = old == NULL, flipped = old != NULL && old->active != active;
	bool shifted = old != NULL && !flipped && snapshot_shifts(old, *snapshot);

	ON_WORKER(l->worker);
	l->snapshot = *snapshot;
	*snapshot = NULL;
	for (int c = 0; c < COLORS; c++)
		balance_round_move(&l->rounds[c], old != NULL ? &old->colors[c] : NULL, &l->snapshot->colors[c]);
	if (!l->stopping)
		l->drain[active].on = l->drain[active].ordered = false;
	if (!l->stopping && l->snapshot->shared)
		l->drain[color_other(active)].on = l->drain[color_other(active)].ordered = false;
	l->mode->take_snapshot(l, flipped);
	if (flipped) {
		/* A connect that is still under way to the wrong color would break the
		 * promise of "applied". */
		dial_all_anew(l);
		handshake_recolor_all(l);
	} else if (shifted) {
		dial_share_anew(l);
	}
	leave_down(l);
	snapshot_unref(&old);
	/* Backends of the color, or of the other one, with room for who waits. */
	queue_look(l);
	if (first)
		worker_resume(l->worker);
}

void
lane_take_tls(struct lane *l, struct tls_site *site, struct ssl_ctx_st *backend)
{
	tls_site_unref(&l->site);
	/* Connections that are kept were judged by what counted before. */
	if (l->backend_tls != backend) {
		l->tls_turn++;
		if (l->mode->drop_all != NULL)
			l->mode->drop_all(l);
	}
	tls_context_free(&l->backend_tls);
	l->site = site;
	l->backend_tls = backend;
}

void
lane_start_drain(struct lane *l, enum color color, const struct drain_orders *orders)
{
	struct lane_drain *d = &l->drain[color];

	ON_WORKER(l->worker);
	if (l->stopping && !orders->all)
		return;
	l->stopping = orders->all;
	/* What is idle by the new orders was perhaps idle before them: the clock
	 * of idleness runs on, only the deadline begins now. */
	d->on = d->ordered = true;
	d->orders = *orders;
	d->started = orders->at;
	if (l->mode->drop_color != NULL)
		l->mode->drop_color(l, color);
	worker_drain_begin(l->worker);
}

void
lane_drain_late(struct lane *l, enum color color)
{
	if (l->snapshot != NULL && snapshot_has_leaving(l->snapshot))
		worker_drain_begin(l->worker);
	if (!l->drain[color].ordered || l->drain[color].on)
		return;
	l->drain[color].on = true;
	worker_drain_begin(l->worker);
}

static bool
has_unborn(const struct lane *l)
{
	return !list_empty(&l->dialing) || !queue_is_empty(l) || !list_empty(&l->handshaking);
}

bool
lane_drain_step(struct lane *l, double now)
{
	bool busy = dial_leave_nodes(l);

	for (int c = 0; c < COLORS; c++) {
		struct lane_drain *d = &l->drain[c];
		bool over = lane_drain_is_over(d, now);

		if (!d->on)
			continue;
		/* When all of a service ends, what has no backend yet ends with it; first
		 * of all those who wait, or they would get the places of the others. */
		if (over && d->orders.all) {
			queue_end(l, d->orders.ending);
			handshake_end_all(l, d->orders.ending);
			dial_end_all(&l->dialing, d->orders.ending);
		}
		/* A connection may still come by a listener that has just closed. */
		d->on = l->mode->drain_step(l, (enum color)c, now, over) ||
			(d->orders.all && (l->leaving || has_unborn(l)));
		busy |= d->on;
	}
	return busy;
}
