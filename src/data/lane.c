/* lane.c - one worker's part of one service.  Thread: owning worker. */
#include <stdlib.h>

#include "base/log.h"
#include "data/http/exchange.h"
#include "data/handshake.h"
#include "data/http/lane_http.h"
#include "data/queue.h"
#include "data/tcp/session_private.h"
#include "data/http/upstream.h"
#include "net/tls_client.h"

/* Sessions looked at in one round of a drain, so that a round stays well
 * below a millisecond or two whatever the number of connections. */
#define DRAIN_BATCH 2048
/* Linger after a failed handshake or a refused request, in seconds. */
#define LINGER 1.0
/* A ClientHello in pieces is looked at again so often where the kernel does not
 * say when. */
#define AGAIN 0.05

/* Seconds; about. */
#define SYSTEMS_TIMEOUT 900.0

#define PAUSES_MAX 255

static double
or_idle(const struct service_config *c, double timeout)
{
	return timeout >= 0 ? timeout : c->idle_timeout;
}

/* What a backend leaves unacknowledged is given up when a connection on which
 * nothing moves would be: then the kernel notices, too, where a client that goes
 * on talking keeps that clock from running out.  Longer than the system's own
 * limit (tcp(7), tcp_retries2) it never lasts. */
static double
user_timeout(const struct service_config *c)
{
	double t = or_idle(c, c->server_timeout);

	if (c->mode == MODE_HTTP && t > 0 && c->http.response_timeout <= 0)
		return 0;
	if (c->mode == MODE_HTTP && t > 0 && t < c->http.response_timeout)
		t = c->http.response_timeout;
	return t < SYSTEMS_TIMEOUT ? t : 0;
}

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
	worker_set_clock(w, &l->idle_clock[0], or_idle(c, c->client_timeout), session_idled);
	worker_set_clock(w, &l->idle_clock[1], or_idle(c, c->server_timeout), session_idled);
	worker_set_clock(w, &l->retry_clock, c->retry_pause, dial_expired);
	l->turns = c->client_timeout >= 0 || c->server_timeout >= 0;
	l->user_timeout = user_timeout(c);
	l->pauses = pauses(c);
	l->queues |= queue_is_on(l);
}

struct lane *
lane_new(struct worker *w, struct service *s, const struct service_config *config)
{
	struct lane *l = must_alloc(sizeof(*l));

	l->worker = w;
	l->service = s;
	l->config = config;
	l->tally = &s->tallies[w->index];
	queue_init(l);
	list_init(&l->handshaking);
	l->waiter_ops[WAITER_SESSION] = l->waiter_ops[WAITER_REQUEST] = &dial_waiting_ops;
	l->waiter_ops[WAITER_CLIENT] = &http_conn_waiting_ops;
	l->dial_ops[WAITER_SESSION] = &session_dial_ops;
	l->dial_ops[WAITER_REQUEST] = &exchange_dial_ops;
	l->on_upstream = exchange_on_upstream;
	list_init(&l->dialing);
	list_init(&l->previews);
	for (int c = 0; c < COLORS; c++)
		list_init(&l->live[c]);
	set_lane_terms(l);
	lane_http_init(l);
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
	lane_http_obey(l, old, changed);
	/* There may be more places now. */
	if (changed && l->snapshot != NULL)
		queue_look(l);
}

bool
lane_is_empty(struct lane *l)
{
	bool empty = list_empty(&l->handshaking) && list_empty(&l->dialing) && list_empty(&l->previews) &&
		     queue_is_empty(l) && !ev_is_active(&l->hand_on) && lane_http_is_empty(l);
	struct listener *li;

	for (int c = 0; c < COLORS; c++)
		empty &= list_empty(&l->live[c]);
	for (unsigned i = 0; empty && (li = worker_next_listener(l->worker, &i)) != NULL;)
		empty = !binding_is_for(li->binding, l->service->index);
	return empty;
}

static void
end_all(struct link *list, enum ending ending)
{
	LIST_EACH(it, list)
		session_end(list_entry(it, struct session, dial.link), ending);
}

void
lane_end(struct lane *l)
{
	/* Those who wait first, or they would get the places of the others. */
	queue_end(l, END_STOP);
	handshake_end_all(l, END_STOP);
	lane_http_free(l);
	dial_end_all(l, END_STOP);
	end_all(&l->previews, END_STOP);
	for (int c = 0; c < COLORS; c++) {
		end_all(&l->live[c], END_STOP);
		balance_round_free(&l->rounds[c]);
	}
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
	free(l);
}

static void
reset_those_of_down(struct lane *l, struct link *list)
{
	LIST_EACH(it, list) {
		struct session *s = list_entry(it, struct session, dial.link);

		if (snapshot_resets(l->snapshot, s->dial.backend))
			session_end(s, END_BACKEND_DOWN);
	}
}

/* on_down = "reset": a server that was demoted answers on, but must not be
 * spoken to; one that has gone keeps its clients waiting in vain. */
static void
leave_down(struct lane *l)
{
	bool any = false;

	for (int c = 0; c < COLORS; c++)
		for (unsigned i = 0; i < l->snapshot->colors[c].n_down; i++)
			any |= atomic_load_explicit(&l->snapshot->colors[c].down[i]->connections,
						    memory_order_relaxed) > 0;
	if (!any)
		return;
	dial_leave_down(l);
	for (int c = 0; c < COLORS; c++)
		reset_those_of_down(l, &l->live[c]);
	reset_those_of_down(l, &l->previews);
	lane_http_leave_down(l);
}

void
lane_take_snapshot(struct lane *l, struct snapshot **snapshot)
{
	struct snapshot *old = l->snapshot;
	enum color active = (*snapshot)->active;
	bool first = old == NULL, flipped = old != NULL && old->active != active;

	ON_WORKER(l->worker);
	l->snapshot = *snapshot;
	*snapshot = NULL;
	for (int c = 0; c < COLORS; c++)
		balance_round_move(&l->rounds[c], old != NULL ? &old->colors[c] : NULL, &l->snapshot->colors[c]);
	if (!l->stopping)
		l->drain[active].on = false;
	if (flipped) {
		end_all(&l->previews, END_PREVIEW);
		/* A connect that is still under way to the wrong color would break the
		 * promise of "applied". */
		dial_all_anew(l);
		handshake_recolor_all(l);
	}
	lane_http_take_snapshot(l, flipped);
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
		upstream_drop_all(l);
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
	d->on = true;
	d->orders = *orders;
	d->started = orders->at;
	lane_http_drain(l, color);
	worker_drain_begin(l->worker);
}

static bool
must_go(const struct session *s, const struct lane_drain *d, double now)
{
	if (d->orders.idle <= 0 || session_idle(s, now) < d->orders.idle)
		return false;
	return now - d->started >= session_place(s) * d->orders.spread;
}

/* Walks a list by rotation: safe when sessions leave, fair when the batch is
 * smaller than the list. */
static unsigned
sweep(struct link *list, const struct lane_drain *d, double now, unsigned batch)
{
	bool over = lane_drain_is_over(d, now);
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

static bool
has_unborn(const struct lane *l)
{
	return !list_empty(&l->dialing) || !queue_is_empty(l) || !list_empty(&l->handshaking) ||
	       !list_empty(&l->previews);
}

bool
lane_drain_step(struct lane *l, double now)
{
	unsigned batch = DRAIN_BATCH;
	bool busy = false;

	for (int c = 0; c < COLORS; c++) {
		struct lane_drain *d = &l->drain[c];
		bool over = lane_drain_is_over(d, now), http;

		if (!d->on)
			continue;
		/* When all of a service ends, what has no backend yet ends with it; first
		 * of all those who wait, or they would get the places of the others. */
		if (over && d->orders.all) {
			queue_end(l, d->orders.ending);
			handshake_end_all(l, d->orders.ending);
			dial_end_all(l, d->orders.ending);
		}
		http = lane_http_drain_step(l, (enum color)c, now, over);
		batch = sweep(&l->live[c], d, now, batch);
		if (d->orders.all)
			batch = sweep(&l->previews, d, now, batch);
		/* A connection may still come by a listener that has just closed. */
		d->on = http || !list_empty(&l->live[c]) || (d->orders.all && (l->leaving || has_unborn(l)));
		busy |= d->on;
	}
	return busy;
}
