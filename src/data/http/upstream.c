/* upstream.c - connections to backends, kept for the next request.
 * Thread: owning worker. */
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "data/http/exchange.h"
#include "data/proxy.h"
#include "data/http/upstream.h"
#include "net/sock.h"

/* A poll that is so many seconds old may not know the last events. */
#define POLL_AGE 0.001

/* Servers go on with what an answer has left to do, for some seconds at times, and
 * do not read the next request on its connection before that is done (nginx's
 * proxy_cache_background_update is such a thing).  One that has rested for so long
 * is not busy any more. */
#define RESTED 2.0

/* The idle connections to one backend, the last used first: the others grow
 * old and go. */
struct pool {
	struct backend *backend;	/* one reference */
	struct link idle;	/* for any client */
	struct link bound;	/* their owners' */
	unsigned n;	/* idle ones */
	struct link link;	/* in the lane's bucket */
};

/* -- pools by backend ---------------------------------------------------- */

static struct link *
bucket_of(struct lane *l, const struct backend *b)
{
	return &l->http->pools[((uintptr_t)b >> 6) % HTTP_POOLS];
}

static struct pool *
pool_find(struct lane *l, const struct backend *b)
{
	LIST_EACH(it, bucket_of(l, b)) {
		struct pool *p = list_entry(it, struct pool, link);

		if (p->backend == b)
			return p;
	}
	return NULL;
}

static struct pool *
pool_make(struct lane *l, struct backend *b)
{
	struct pool *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->backend = backend_ref(b);
	list_init(&p->idle);
	list_init(&p->bound);
	list_append(bucket_of(l, b), &p->link);
	return p;
}

static void
pool_drop(struct pool *p)
{
	LIST_EACH(it, &p->idle)
		upstream_close(list_entry(it, struct upstream, link));
	LIST_EACH(it, &p->bound)
		upstream_close(list_entry(it, struct upstream, link));
}

static void
pool_free(struct pool *p)
{
	pool_drop(p);
	list_remove(&p->link);
	backend_unref(&p->backend);
	free(p);
}

/* -- one connection ------------------------------------------------------- */

static void
leave_pool(struct upstream *u)
{
	u->pool->n -= !u->bound;
	u->pool = NULL;
	list_remove(&u->link);
	deadline_disarm(&u->deadline);
	u->lane->http->idle_upstreams--;
	atomic_fetch_sub_explicit(&u->lane->worker->proxy->idle_upstreams, 1, memory_order_relaxed);
	admission_leave(&u->lane->worker->proxy->descriptors, 1);
}

void
upstream_own(struct upstream *u, struct http_stream *s)
{
	struct upstream *before = s->own;

	if (before == u)
		return;
	if (u->owner != NULL)
		u->owner->own = NULL;
	u->owner = s;
	s->own = u;
	if (before == NULL)
		return;
	before->owner = NULL;
	/* No other client may have it. */
	if (before->bound && before->state == UPSTREAM_IDLE)
		upstream_close(before);
}

void
upstream_disown(struct http_stream *s)
{
	struct upstream *u = s->own;

	if (u == NULL)
		return;
	s->own = NULL;
	u->owner = NULL;
	if (u->bound && u->state == UPSTREAM_IDLE)
		upstream_close(u);
}

void
upstream_close(struct upstream *u)
{
	struct worker *w = u->lane->worker;

	ON_WORKER(w);
	CHECK(u->magic == UPSTREAM_MAGIC && u->state != UPSTREAM_ENDED);
	if (u->state == UPSTREAM_IDLE)
		leave_pool(u);
	u->state = UPSTREAM_ENDED;
	u->exchange = NULL;
	if (u->owner != NULL)
		u->owner->own = NULL;
	u->owner = NULL;
	io_close(w->loop, &u->io);
	backend_unref(&u->backend);
	list_append(&w->ended_upstreams, &u->link);
	if (w->starved)
		worker_kick(w);
}

/* While it is idle there is nothing to say: whatever comes, the end most
 * likely, makes it useless.  Only TLS has words of its own, such as tickets. */
static void
upstream_on_event(struct ev_loop *loop, ev_io *w, int revents)
{
	struct upstream *u = container_of(w, struct upstream, io.watcher);

	(void)loop;
	CHECK(u->magic == UPSTREAM_MAGIC);
	switch ((enum upstream_state)u->state) {
	case UPSTREAM_CONNECTING:
	case UPSTREAM_BUSY:
		u->lane->http->on_upstream(u->exchange, revents);
		break;
	case UPSTREAM_IDLE:
		if (!io_is_tls(&u->io) || !io_is_quiet(&u->io))
			upstream_close(u);
		break;
	case UPSTREAM_FROZEN:
	case UPSTREAM_ENDED:
		break;
	}
}

struct upstream *
upstream_new(struct lane *l, struct backend *b)
{
	struct upstream *u = calloc(1, sizeof(*u));

	if (u == NULL)
		return NULL;
	u->magic = UPSTREAM_MAGIC;
	u->state = UPSTREAM_CONNECTING;
	u->lane = l;
	u->backend = backend_ref(b);
	u->grpc_status = -1;
	u->since = l->worker->now;
	u->tls_turn = l->tls_turn;
	io_init(&u->io, -1, upstream_on_event);
	list_init(&u->link);
	deadline_init(&u->deadline);
	return u;
}

struct upstream *
upstream_dial(struct lane *l, struct backend *b, bool *pending)
{
	struct upstream *u = upstream_new(l, b);
	int fd = u != NULL ? lane_connect(l, b, pending) : -1;

	if (fd < 0) {
		int saved = u != NULL ? errno : ENOMEM;

		if (u != NULL)
			backend_unref(&u->backend);
		free(u);
		errno = saved;
		return NULL;
	}
	io_init(&u->io, fd, upstream_on_event);
	return u;
}

/* Has something come on an idle connection?  The event loop knows without a
 * system call: each idle connection is watched, and a poll reports all that is
 * there, so that no event is pending where nothing has come.  That is good for
 * connections that were idle when this turn's poll was made, if it reported all
 * (WORKER_EVENTS) and was not long ago: between the poll
 * and now something may have come.  It is as good for those whose last read, as short a time ago, has
 * taken all that was there: what of it lay behind the answer's end has kept the connection out of the pool.
 * Otherwise the socket is asked. */
static bool
has_spoken(struct upstream *u, bool ask)
{
	const struct worker *w = u->lane->worker;
	double known = u->emptied;

	if (ev_is_pending(&u->io.watcher))
		return true;
	if (u->turn != ev_iteration(w->loop) && w->events < WORKER_EVENTS)
		known = w->now;
	if (!ask && clock_now() - known < POLL_AGE)
		return false;
	return !io_is_quiet(&u->io);
}

struct upstream *
upstream_bound_to(const struct lane *l, const struct http_stream *s, enum color color)
{
	struct upstream *u = s->own;

	return u != NULL && u->bound && u->state == UPSTREAM_IDLE && u->lane == l && u->backend->color == color &&
			       snapshot_uses(l->snapshot, u->backend) ?
		       u :
		       NULL;
}

static double
rest_of(const struct upstream *u)
{
	return u->lane->worker->now - u->since;
}

/* Which of the pool's is the client's to try?  Its own, which no other request
 * keeps busy.  Its first request should not wait for what a stranger's left to
 * do: a connection that has rested for long, or else a new one, as long as there
 * are not too many of these; a site whose clients all come for one request lives
 * on connections that are warm.  Of those the last used one: the others grow old
 * and go. */
static struct upstream *
choose_kept(struct lane *l, struct pool *p, const struct http_stream *s, double age)
{
	struct upstream *own = s->own, *first, *last;

	if (own != NULL && own->state == UPSTREAM_IDLE && own->pool == p && (own->bound || rest_of(own) <= age))
		return own;
	if (list_empty(&p->idle))
		return NULL;
	first = list_entry(list_first(&p->idle), struct upstream, link);
	if (s->requests <= 1 && l->config->http.pool_reuse == POOL_SAFE) {
		last = list_entry(p->idle.prev, struct upstream, link);
		if (rest_of(last) >= RESTED && rest_of(last) <= age)
			return last;
		if (l->http->fresh_left > 0) {
			l->http->fresh_left--;
			return NULL;
		}
	}
	return rest_of(first) <= age ? first : NULL;
}

struct upstream *
upstream_take(struct lane *l, struct backend *b, struct http_stream *s, double age)
{
	struct pool *p = pool_find(l, b);
	struct upstream *u;

	while (p != NULL && (u = choose_kept(l, p, s, age)) != NULL) {
		/* It spoke unasked, or ended.  What must not be sent twice is worth a
		 * system call in any case. */
		if (has_spoken(u, age < HUGE_VAL)) {
			upstream_close(u);
			continue;
		}
		leave_pool(u);
		u->state = UPSTREAM_BUSY;
		u->reused = true;
		upstream_own(u, s);
		return u;
	}
	return NULL;
}

/* Where a connection to that backend may wait for another request; NULL: it may
 * not. */
static struct pool *
upstream_home_of(struct lane *l, struct backend *b, bool bound)
{
	const struct http_config *c = &l->config->http;
	struct pool *p;

	if (l->stopping || l->config->proxy_protocol.send != SEND_NONE ||
	    (l->drain[b->color].on && l->snapshot->active != b->color))
		return NULL;
	p = pool_find(l, b);
	/* Those that are there are to backends in use: see upstream_drop_unused(). */
	if (p == NULL && snapshot_uses(l->snapshot, b))
		p = pool_make(l, b);
	return p != NULL && (bound || p->n < c->pool_size) ? p : NULL;
}

/* It waits there for the next request.  Until now its descriptor was the client's second one; false: the pool has none. */
static bool
enter_pool(struct upstream *u, struct pool *p)
{
	struct lane *l = u->lane;

	if (!admission_enter(&l->worker->proxy->descriptors, 1))
		return false;
	u->state = UPSTREAM_IDLE;
	u->pool = p;
	u->turn = ev_iteration(l->worker->loop);
	p->n += !u->bound;
	l->http->idle_upstreams++;
	atomic_fetch_add_explicit(&l->worker->proxy->idle_upstreams, 1, memory_order_relaxed);
	list_prepend(u->bound ? &p->bound : &p->idle, &u->link);
	/* A login lasts as long as its client stays. */
	if (!u->bound)
		deadline_arm(l->http->pool_clock, &u->deadline, l->worker->now);
	io_want(l->worker->loop, &u->io, EV_READ);
	return true;
}

void
upstream_give(struct upstream *u)
{
	struct lane *l = u->lane;
	struct pool *p;

	CHECK(u->magic == UPSTREAM_MAGIC && u->state == UPSTREAM_BUSY);
	/* A call of a shared connection, which stays. */
	if (io_is_channel(&u->io)) {
		upstream_close(u);
		return;
	}
	u->exchange = NULL;
	u->since = l->worker->now;
	p = io_pending(&u->io) || u->tls_turn != l->tls_turn || (u->bound && u->owner == NULL) ?
		    NULL :
		    upstream_home_of(l, u->backend, u->bound);
	if (p == NULL || !enter_pool(u, p))
		upstream_close(u);
}

void
upstream_expired(struct deadline *d)
{
	upstream_close(container_of(d, struct upstream, deadline));
}

/* -- many at once ------------------------------------------------------------ */

void
upstream_drop_color(struct lane *l, enum color color)
{
	for (unsigned i = 0; i < HTTP_POOLS && l->http->idle_upstreams > 0; i++)
		LIST_EACH(it, &l->http->pools[i]) {
			struct pool *p = list_entry(it, struct pool, link);

			if (p->backend->color == color)
				pool_drop(p);
		}
}

void
upstream_drop_unused(struct lane *l)
{
	for (unsigned i = 0; i < HTTP_POOLS; i++)
		LIST_EACH(it, &l->http->pools[i]) {
			struct pool *p = list_entry(it, struct pool, link);

			if (!snapshot_uses(l->snapshot, p->backend))
				pool_free(p);
		}
}

bool
upstream_drop_one(struct lane *l)
{
	for (unsigned i = 0; i < HTTP_POOLS && l->http->idle_upstreams > 0; i++)
		LIST_EACH(it, &l->http->pools[i]) {
			struct pool *p = list_entry(it, struct pool, link);

			struct link *all = p->n > 0 ? &p->idle : &p->bound;

			if (list_empty(all))
				continue;
			upstream_close(list_entry(all->prev, struct upstream, link));
			return true;
		}
	return false;
}

void
upstream_drop_all(struct lane *l)
{
	for (unsigned i = 0; i < HTTP_POOLS; i++)
		LIST_EACH(it, &l->http->pools[i])
			pool_drop(list_entry(it, struct pool, link));
}

void
upstream_pools_free(struct lane *l)
{
	for (unsigned i = 0; i < HTTP_POOLS; i++)
		LIST_EACH(it, &l->http->pools[i])
			pool_free(list_entry(it, struct pool, link));
}

/* -- from one process to another ----------------------------------------------- */

struct link *
upstream_idle_list(struct lane *l, unsigned i)
{
	for (unsigned k = 0; l->http != NULL && k < HTTP_POOLS && l->http->idle_upstreams > 0; k++)
		LIST_EACH(it, &l->http->pools[k])
			if (i-- == 0)
				return &list_entry(it, struct pool, link)->idle;
	return NULL;
}

void
upstream_freeze(struct upstream *u)
{
	CHECK(u->magic == UPSTREAM_MAGIC && u->state == UPSTREAM_IDLE);
	leave_pool(u);
	io_want(u->lane->worker->loop, &u->io, 0);
	u->state = UPSTREAM_FROZEN;
}

static struct backend *
plain_backend(const struct lane *l, enum color color, struct str address)
{
	const struct snapshot_color *c = &l->snapshot->colors[color];

	for (unsigned i = 0; i < c->n; i++)
		if (c->usable[i]->server_name == NULL && str_eq(address, c->usable[i]->text))
			return c->usable[i];
	return NULL;
}

struct upstream *
upstream_adopt(struct lane *l, enum color color, struct str address, int fd, double since)
{
	struct backend *b = l->http != NULL && l->snapshot != NULL ? plain_backend(l, color, address) : NULL;
	struct upstream *u = b != NULL ? upstream_new(l, b) : NULL;

	if (u == NULL)
		return NULL;
	io_init(&u->io, fd, upstream_on_event);
	u->state = UPSTREAM_FROZEN;
	u->reused = true;
	u->since = since < l->worker->now ? since : l->worker->now;
	return u;
}

void
upstream_thaw(struct upstream *u)
{
	struct pool *p = upstream_home_of(u->lane, u->backend, u->bound);

	CHECK(u->magic == UPSTREAM_MAGIC && u->state == UPSTREAM_FROZEN);
	if (p == NULL || !enter_pool(u, p)) {
		upstream_close(u);
	} else if (!u->bound) {
		u->deadline.touched = u->since;
		deadline_go_on(u->lane->http->pool_clock, &u->deadline);
	}
}
