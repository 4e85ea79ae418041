/* lane_http.c - a lane's clients and exchanges.  Thread: owning worker. */
#include <string.h>

#include "data/http/exchange.h"
#include "data/http/http_conn.h"
#include "data/http/lane_http.h"
#include "data/http/upstream.h"

static void
set_http_terms(struct lane *l)
{
	const struct service_config *s = l->config;
	const struct http_config *h = &s->http;
	double pace = h->body_min_rate == 0 ? 0 : h->body_grace > 1 ? h->body_grace : 1;
	struct worker *w = l->worker;

	worker_set_clock(w, &l->request_clock, h->header_timeout, http_conn_expired);
	worker_set_clock(w, &l->keepalive_clock, h->keepalive_timeout, http_conn_expired);
	worker_set_clock(w, &l->linger_clock, LANE_LINGER, http_conn_expired);
	worker_set_clock(w, &l->client_queue_clock, s->limits.queue_timeout, http_conn_expired);
	worker_set_clock(w, &l->response_clock, h->response_timeout, exchange_expired);
	worker_set_clock(w, &l->x_idle_clock, s->idle_timeout, exchange_expired);
	worker_set_clock(w, &l->pace_clock, pace, exchange_pace_expired);
	worker_set_clock(w, &l->pool_clock, h->pool_idle, upstream_expired);
}

void
lane_http_init(struct lane *l)
{
	for (int e = 0; e < ENTRANCES; e++)
		list_init(&l->clients[e]);
	list_init(&l->x_previews);
	for (int c = 0; c < COLORS; c++)
		list_init(&l->x_live[c]);
	if (l->config->mode != MODE_HTTP)
		return;
	http_own_of_requests(&l->own_requests, l->config);
	http_own_of_answers(&l->own_answers, l->config);
	l->fresh_left = LANE_FRESH;
	l->pools = must_array(LANE_POOLS, sizeof(struct link));
	for (int i = 0; i < LANE_POOLS; i++)
		list_init(&l->pools[i]);
	set_http_terms(l);
}

/* Connections that are kept were made by other terms, or would be kept by them. */
static bool
pools_differ(const struct service_config *a, const struct service_config *b)
{
	return a->http.pool_idle != b->http.pool_idle || a->http.pool_size > b->http.pool_size ||
	       a->proxy_protocol.send != b->proxy_protocol.send ||
	       a->source_address.len != b->source_address.len ||
	       memcmp(&a->source_address.u, &b->source_address.u, a->source_address.len) != 0;
}

void
lane_http_obey(struct lane *l, const struct service_config *old, bool changed)
{
	if (l->pools == NULL)
		return;
	/* These point into the configuration. */
	http_own_of_requests(&l->own_requests, l->config);
	http_own_of_answers(&l->own_answers, l->config);
	if (!changed)
		return;
	set_http_terms(l);
	if (pools_differ(old, l->config))
		upstream_drop_all(l);
}

bool
lane_http_is_empty(struct lane *l)
{
	bool empty = list_empty(&l->x_previews);

	if (l->pools != NULL)
		upstream_drop_all(l);
	for (int e = 0; e < ENTRANCES; e++)
		empty &= list_empty(&l->clients[e]);
	for (int c = 0; c < COLORS; c++)
		empty &= list_empty(&l->x_live[c]);
	return empty && l->idle_upstreams == 0;
}

static void
fail_all(struct link *list, enum ending ending)
{
	LIST_EACH(it, list)
		exchange_fail(list_entry(it, struct exchange, dial.link), ending, NULL);
}

static void
end_clients(struct lane *l, enum ending ending)
{
	struct link *first;

	for (int e = 0; e < ENTRANCES; e++)
		while ((first = list_first(&l->clients[e])) != NULL)
			http_conn_end(list_entry(first, struct http_conn, link), ending);
}

void
lane_http_free(struct lane *l)
{
	if (l->pools == NULL)
		return;
	l->stopping = true;
	end_clients(l, END_STOP);
	upstream_pools_free(l);
}

/* Previews that are open would show the color that is active now. */
static void
flip(struct lane *l)
{
	LIST_EACH(it, &l->x_previews) {
		struct exchange *x = list_entry(it, struct exchange, dial.link);

		if (x->client->entrance == ENTRANCE_PREVIEW)
			exchange_fail(x, END_PREVIEW, NULL);
	}
	LIST_EACH(it, &l->clients[ENTRANCE_PREVIEW]) {
		struct http_conn *c = list_entry(it, struct http_conn, link);

		if (c->state == HTTP_CONN_READING)
			http_conn_end(c, END_PREVIEW);
	}
}

void
lane_http_take_snapshot(struct lane *l, bool flipped)
{
	if (l->pools == NULL)
		return;
	if (flipped) {
		upstream_drop_color(l, color_other(l->snapshot->active));
		flip(l);
	}
	upstream_drop_unused(l);
}

static void
fail_those_of_down(struct lane *l, struct link *list)
{
	LIST_EACH(it, list) {
		struct exchange *x = list_entry(it, struct exchange, dial.link);

		if (x->dial.backend != NULL && snapshot_resets(l->snapshot, x->dial.backend))
			exchange_fail(x, END_BACKEND_DOWN, NULL);
	}
}

void
lane_http_leave_down(struct lane *l)
{
	if (l->pools == NULL)
		return;
	for (int c = 0; c < COLORS; c++)
		fail_those_of_down(l, &l->x_live[c]);
	fail_those_of_down(l, &l->x_previews);
}

void
lane_http_drain(struct lane *l, enum color color)
{
	if (l->pools != NULL)
		upstream_drop_color(l, color);
}

/* When all of a service ends: who waits for nothing goes when it has been idle
 * for as long as the orders say, and may bring one more request until then. */
static void
end_idle_clients(struct lane *l, const struct lane_drain *d, double now)
{
	for (int e = 0; e < ENTRANCES; e++)
		LIST_EACH(it, &l->clients[e]) {
			struct http_conn *c = list_entry(it, struct http_conn, link);

			/* Its listener serves others, also those whom it may ask next. */
			if (l->leaving && http_conn_move_on(c))
				continue;
			if (c->state == HTTP_CONN_READING && d->orders.idle > 0 &&
			    http_conn_idle(c, now) >= d->orders.idle)
				http_conn_end(c, END_DRAIN_IDLE);
		}
}

bool
lane_http_drain_step(struct lane *l, enum color color, double now, bool over)
{
	const struct lane_drain *d = &l->drain[color];

	if (l->pools == NULL)
		return false;
	if (!d->orders.all) {
		if (over)
			fail_all(&l->x_live[color], d->orders.ending);
		return !list_empty(&l->x_live[color]);
	}
	if (over) {
		fail_all(&l->x_live[color], d->orders.ending);
		fail_all(&l->x_previews, d->orders.ending);
		end_clients(l, d->orders.ending);
	} else {
		end_idle_clients(l, d, now);
	}
	for (int e = 0; e < ENTRANCES; e++)
		if (!list_empty(&l->clients[e]))
			return true;
	return false;
}
