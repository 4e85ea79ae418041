/* http_lane.c - a lane's clients and exchanges.  Thread: owning worker. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/http/exchange.h"
#include "data/http/http_buffers.h"
#include "data/http/http_conn.h"
#include "data/http/http_lane.h"
#include "data/http/upstream.h"
#include "data/http2/http2_upstream.h"
#include "data/proxy.h"
#include "data/tcp/tcp_lane.h"

static void
set_http_terms(struct lane *l)
{
	const struct service_config *s = l->config;
	const struct http_config *h = &s->http;
	struct http_lane *hl = l->http;
	double pace = h->body_min_rate == 0 ? 0 : h->body_grace > 1 ? h->body_grace : 1;
	double idle = tcp_idle_timeout(s, s->server_timeout);
	struct worker *w = l->worker;

	/* A backend that works on its answer says nothing, for as long as it may. */
	if (idle > 0 && h->response_timeout <= 0)
		idle = 0;
	else if (idle > 0 && idle < h->response_timeout)
		idle = h->response_timeout;
	l->user_timeout = tcp_user_timeout(idle);
	worker_set_clock(w, &hl->request_clock, h->header_timeout, http_conn_expired);
	worker_set_clock(w, &hl->keepalive_clock, h->keepalive_timeout, http_conn_expired);
	worker_set_clock(w, &hl->linger_clock, HTTP_LINGER, http_conn_expired);
	worker_set_clock(w, &hl->client_queue_clock, s->limits.queue_timeout, http_conn_expired);
	worker_set_clock(w, &hl->response_clock, h->response_timeout, exchange_expired);
	worker_set_clock(w, &hl->idle_clock, s->idle_timeout, exchange_expired);
	worker_set_clock(w, &hl->pace_clock, pace, exchange_pace_expired);
	worker_set_clock(w, &hl->stall_clock, h->http2.stall_timeout / 4, w->proxy->version->stalled);
	worker_set_clock(w, &hl->rest_clock, HTTP_LINGER, w->proxy->version->rest_expired);
	worker_set_clock(w, &hl->trim_clock, HTTP_TRIM, w->proxy->version->trim);
	worker_set_clock(w, &hl->look_clock, HTTP2_UPSTREAM_LOOK, http2_upstream_look);
	worker_set_clock(w, &hl->pool_clock, h->pool_idle, upstream_expired);
}

static const struct http_calls http_calls = {
	.has = http2_upstream_has,
	.call = http2_upstream_call,
	.adopt = http2_upstream_adopt,
};

static void
http_lane_init(struct lane *l)
{
	struct http_lane *hl = must_alloc(sizeof(*hl));

	tcp_lane_init(l);
	l->http = hl;
	l->dial_ops[WAITER_REQUEST] = &exchange_dial_ops;
	l->waiter_ops[WAITER_CLIENT] = &http_conn_waiting_ops;
	hl->calls = &http_calls;
	hl->on_upstream = exchange_on_upstream;
	hl->fresh_left = HTTP_FRESH;
	for (int e = 0; e < ENTRANCES; e++)
		list_init(&hl->clients[e]);
	for (int i = 0; i < HTTP_POOLS; i++) {
		list_init(&hl->pools[i]);
		list_init(&hl->shared[i]);
	}
}

/* Kept connections, and those that calls share: these close when they have none. */
static void
drop_all_upstreams(struct lane *l)
{
	upstream_drop_all(l);
	http2_upstream_leave_all(l);
}

static void
drop_upstreams_of_color(struct lane *l, enum color color)
{
	upstream_drop_color(l, color);
	http2_upstream_leave_color(l, color);
}

static void
drop_unused_upstreams(struct lane *l)
{
	upstream_drop_unused(l);
	http2_upstream_leave_unused(l);
}

static bool
drop_one_upstream(struct lane *l)
{
	return upstream_drop_one(l) || http2_upstream_drop_one(l);
}

/* Connections that are kept were made by other terms, or would be kept by them. */
static bool
pools_differ(const struct service_config *a, const struct service_config *b)
{
	return a->http.backend_protocol != b->http.backend_protocol || a->http.pool_idle != b->http.pool_idle || a->http.pool_size > b->http.pool_size ||
	       a->proxy_protocol.send != b->proxy_protocol.send ||
	       a->source_address.len != b->source_address.len ||
	       memcmp(&a->source_address.u, &b->source_address.u, a->source_address.len) != 0;
}

static void
http_lane_obey(struct lane *l, const struct service_config *old, bool changed)
{
	tcp_lane_obey(l, old, changed);
	/* These point into the configuration. */
	http_own_of_requests(&l->http->own_requests, l->config);
	http_own_of_answers(&l->http->own_answers, l->config);
	if (!changed)
		return;
	set_http_terms(l);
	if (pools_differ(old, l->config))
		drop_all_upstreams(l);
}

static bool
http_lane_is_empty(struct lane *l)
{
	drop_all_upstreams(l);
	for (int i = 0; i < HTTP_POOLS; i++)
		if (!list_empty(&l->http->shared[i]))
			return false;
	return list_empty(&l->http->clients[ENTRANCE_MAIN]) &&
	       list_empty(&l->http->clients[ENTRANCE_PREVIEW]) && l->http->idle_upstreams == 0;
}

static void
end_clients(struct lane *l, enum ending ending)
{
	struct link *first;

	for (int e = 0; e < ENTRANCES; e++)
		while ((first = list_first(&l->http->clients[e])) != NULL)
			http_conn_end(list_entry(first, struct http_conn, link), ending);
}

static void
http_lane_end(struct lane *l)
{
	l->stopping = true;
	end_clients(l, END_STOP);
	http2_upstream_end_all(l);
	upstream_pools_free(l);
}

static void
http_lane_free(struct lane *l)
{
	for (int i = 0; i < HTTP_CLOCKS; i++)
		worker_set_clock(l->worker, &l->http->clocks[i], 0, NULL);
	http_own_free(&l->http->own_requests);
	http_own_free(&l->http->own_answers);
	free(l->http);
}

/* This process ends: clients of other versions than HTTP/1 that have had nothing under way for a while are told so without
 * having asked.  Not between two requests that follow each other, if such a pause comes soon: there are clients that take any
 * GOAWAY for the end of what they have just sent. */
static void
tell_idle(struct lane *l)
{
	double now = l->worker->now;
	bool all;

	if (l->http->leaving_since == 0)
		l->http->leaving_since = now;
	all = now - l->http->leaving_since >= HTTP_PAUSE_WAIT;
	for (int e = 0; e < ENTRANCES; e++)
		LIST_EACH(it, &l->http->clients[e]) {
			struct http_conn *c = list_entry(it, struct http_conn, link);

			if (c->state == HTTP_CONN_VERSED && (all || http_conn_idle(c, now) >= HTTP_IDLE_BRIEF))
				l->worker->proxy->version->leave(c);
		}
}

static void
http_lane_tick(struct lane *l)
{
	l->http->fresh_left = HTTP_FRESH;
	if (l->worker->leaving || l->worker->yielded)
		tell_idle(l);
	else
		l->http->leaving_since = 0;
}

/* Previews that are open would show the color that is active now. */
static void
end_previews(struct lane *l)
{
	LIST_EACH(it, &l->previews[WAITER_REQUEST]) {
		struct exchange *x = list_entry(it, struct exchange, dial.link);

		if (x->stream->entrance == ENTRANCE_PREVIEW)
			exchange_fail(x, END_PREVIEW, NULL);
	}
	LIST_EACH(it, &l->http->clients[ENTRANCE_PREVIEW]) {
		struct http_conn *c = list_entry(it, struct http_conn, link);

		if (c->state == HTTP_CONN_READING)
			http_conn_end(c, END_PREVIEW);
		else if (c->state == HTTP_CONN_VERSED)
			l->worker->proxy->version->leave(c);
	}
}

static void
http_lane_take_snapshot(struct lane *l, bool flipped)
{
	tcp_lane_take_snapshot(l, flipped);
	if (flipped && !l->snapshot->shared)
		drop_upstreams_of_color(l, color_other(l->snapshot->active));
	if (flipped)
		end_previews(l);
	drop_unused_upstreams(l);
}

/* One that may have many requests under way is told when it has none, or as late as there is time for what it has:
 * there are clients that take any GOAWAY for the end of all. */
static void
leave_in_time(struct lane *l, struct http_conn *c, const struct lane_drain *d, double now)
{
	const struct http_version *v = l->worker->proxy->version;
	double left = d->orders.timeout < 0 ? HUGE_VAL : d->orders.timeout - (now - d->started);

	if ((d->orders.idle > 0 && http_conn_idle(c, now) >= d->orders.idle) || left < d->orders.timeout / 4)
		v->leave(c);
}

/* When all of a service ends: who waits for nothing goes when it has been idle
 * for as long as the orders say, and may bring one more request until then. */
static void
end_idle_clients(struct lane *l, const struct lane_drain *d, double now)
{
	for (int e = 0; e < ENTRANCES; e++)
		LIST_EACH(it, &l->http->clients[e]) {
			struct http_conn *c = list_entry(it, struct http_conn, link);

			/* Its listener serves others, also those whom it may ask next. */
			if (l->leaving && http_conn_move_on(c))
				continue;
			if (c->state == HTTP_CONN_VERSED)
				leave_in_time(l, c, d, now);
			if (c->state == HTTP_CONN_READING && d->orders.idle > 0 &&
			    http_conn_idle(c, now) >= d->orders.idle)
				http_conn_end(c, END_DRAIN_IDLE);
		}
}

static bool
http_lane_drain_step(struct lane *l, enum color color, double now, bool over)
{
	const struct lane_drain *d = &l->drain[color];
	struct link *live = &l->live[WAITER_REQUEST][color], *clients = l->http->clients;
	bool left;

	if (over)
		dial_end_all(live, d->orders.ending);
	if (over && d->orders.all) {
		dial_end_all(&l->previews[WAITER_REQUEST], d->orders.ending);
		end_clients(l, d->orders.ending);
	} else if (d->orders.all) {
		end_idle_clients(l, d, now);
	}
	left = d->orders.all ?
		       !list_empty(&clients[ENTRANCE_MAIN]) || !list_empty(&clients[ENTRANCE_PREVIEW]) :
		       !list_empty(live);
	return tcp_lane_drain_step(l, color, now, over) || left;
}

static void
fit_buffers(struct worker *w, const struct config *config)
{
	http_buffers_fit(&w->http, config, RELAY_READ_MAX);
	w->proxy->version->fit(w, config);
}

/* Exchanges before their streams, clients and upstreams. */
static void
reap_http(struct worker *w)
{
	const struct http_version *v = w->proxy->version;

	if (w->http2 != NULL)
		v->flush(w);
	LIST_EACH(it, &w->ended[WAITER_REQUEST]) {
		struct exchange *x = list_entry(it, struct exchange, dial.link);

		CHECK(permit_is_empty(&x->dial.permit));
		list_remove(it);
		x->magic = 0;
		free_list_give(&w->spare_exchanges, x);
	}
	if (w->http2 != NULL) {
		v->reap(w);
		http2_upstream_reap(w);
	}
	LIST_EACH(it, &w->ended_upstreams) {
		struct upstream *u = list_entry(it, struct upstream, link);

		list_remove(it);
		u->magic = 0;
		free(u);
	}
	LIST_EACH(it, &w->ended[WAITER_CLIENT]) {
		struct http_conn *c = list_entry(it, struct http_conn, link);

		CHECK(permit_is_empty(&c->permit));
		list_remove(it);
		if (c->versed != NULL)
			v->free(c);
		tally_add(&w->http_connections, (uint64_t)-1);
		c->magic = 0;
		free(c);
	}
}

const struct mode http_mode = {
	.by_request = true,
	.serve = http_conn_new,
	.init = http_lane_init,
	.obey = http_lane_obey,
	.take_snapshot = http_lane_take_snapshot,
	.drain_step = http_lane_drain_step,
	.drop_color = drop_upstreams_of_color,
	.drop_one = drop_one_upstream,
	.drop_all = drop_all_upstreams,
	.tick = http_lane_tick,
	.is_empty = http_lane_is_empty,
	.end = http_lane_end,
	.free = http_lane_free,
	.fit = fit_buffers,
	.reap = reap_http,
};
