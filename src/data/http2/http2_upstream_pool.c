/* http2_upstream_pool.c - a lane's shared connections to backends: which one a call gets, how one is opened, and when they go.
 * Thread: owning worker. */
#include <stdlib.h>
#include <string.h>

#include "data/http2/http2_call.h"
#include "data/http2/http2_conn.h"
#include "data/proxy.h"
#include "net/sock.h"
#include "net/tls_client.h"

/* The socket takes less than comes: another connection is made, up to so many. */
#define QUEUE_SLOW (128 * 1024)
#define SLOW_MOST 4
/* Calls that wait for one that is being made, which may take fewer. */
#define WAITING_MOST 100
/* So many at once, whatever the backend takes. */
#define CALLS_MOST 1000

/* -- which one -------------------------------------------------------------------------- */

static struct link *
shared_bucket(const struct lane *l, const struct backend *b)
{
	return &l->http->shared[((uintptr_t)b >> 6) % HTTP_POOLS];
}

static uint32_t
calls_of(const struct http2_upstream *h)
{
	if (h->state != HTTP2_UP_OPEN)
		return WAITING_MOST;
	return h->peer.streams < CALLS_MOST ? h->peer.streams : CALLS_MOST;
}

static bool
takes_calls(const struct http2_upstream *h)
{
	return h->state != HTTP2_UP_ENDED && !h->leaving && !h->doubtful && !http2_upstream_is_late(h) &&
	       h->tls_turn == h->lane->tls_turn && h->n_calls < calls_of(h);
}

/* The one with the most calls: the others grow old and go.  One that is slow only where there are many. */
static struct http2_upstream *
choose_shared(const struct lane *l, const struct backend *b)
{
	struct http2_upstream *best = NULL, *slow = NULL;
	unsigned n = 0;

	LIST_EACH(it, shared_bucket(l, b)) {
		struct http2_upstream *h = list_entry(it, struct http2_upstream, link);

		if (h->backend != b)
			continue;
		n++;
		if (!takes_calls(h))
			continue;
		if (buf_len(&h->out) >= QUEUE_SLOW)
			slow = h;
		else if (best == NULL || (h->state == HTTP2_UP_OPEN) > (best->state == HTTP2_UP_OPEN) ||
			 (h->state == best->state && h->n_calls > best->n_calls))
			best = h;
	}
	return best != NULL || n < SLOW_MOST ? best : slow;
}

bool
http2_upstream_has(const struct lane *l, const struct backend *b)
{
	return choose_shared(l, b) != NULL;
}

/* -- it opens -------------------------------------------------------------------------------- */

static void begin_shared(struct http2_upstream *h);

static void
shake_hands_for_all(struct http2_upstream *h)
{
	switch (io_handshake(&h->io)) {
	case 0:
		io_want(h->lane->worker->loop, &h->io, EV_READ);
		return;
	case 1:
		if (tls_speaks(h->io.tls, "h2"))
			begin_shared(h);
		else
			http2_upstream_end(h, EPROTO, "it does not speak HTTP/2: ALPN did not agree on h2");
		return;
	}
	http2_upstream_end(h, errno == ENOMEM ? ENOMEM : ECONNABORTED, io_error(&h->io));
}

static void
greet_shared(struct http2_upstream *h)
{
	struct lane *l = h->lane;
	struct backend *b = h->backend;
	int error = sock_error(io_fd(&h->io));
	struct tls *t;

	if (error != 0 || (b->server_name != NULL && l->backend_tls == NULL)) {
		http2_upstream_end(h, error != 0 ? error : ECONNRESET, NULL);
		return;
	}
	if (b->server_name == NULL) {
		begin_shared(h);
		return;
	}
	t = tls_connect(l->backend_tls, io_fd(&h->io), b->server_name, &b->memories[l->worker->index]);
	if (t == NULL || !tls_offer(t, "h2")) {
		tls_free(&t);
		http2_upstream_end(h, ENOMEM, NULL);
		return;
	}
	io_start_tls(&h->io, &t);
	h->state = HTTP2_UP_SHAKING;
	shake_hands_for_all(h);
}

static void
shared_on_event(struct ev_loop *loop, ev_io *w, int revents)
{
	struct http2_upstream *h = container_of(w, struct http2_upstream, io.watcher);

	(void)loop;
	CHECK(h->magic == HTTP2_UPSTREAM_MAGIC);
	switch ((enum http2_upstream_state)h->state) {
	case HTTP2_UP_CONNECTING:
		greet_shared(h);
		break;
	case HTTP2_UP_SHAKING:
		shake_hands_for_all(h);
		break;
	case HTTP2_UP_SETTLING:
	case HTTP2_UP_OPEN:
		if (io_events(&h->io, revents) & EV_READ)
			http2_upstream_read(h);
		http2_upstream_due(h);
		break;
	case HTTP2_UP_ENDED:
		break;
	}
}

/* -- a new one, and calls ---------------------------------------------------------------------- */

static struct http2_upstream *
new_shared(struct lane *l, struct backend *b)
{
	struct http2_upstream *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	h->magic = HTTP2_UPSTREAM_MAGIC;
	h->lane = l;
	h->backend = backend_ref(b);
	h->tls_turn = l->tls_turn;
	h->since = h->heard = h->counting = l->worker->now;
	h->next_id = 1;
	h->peer = HTTP2_SETTINGS_INITIAL;
	h->send_window = h->recv_window = HTTP2_WINDOW_DEFAULT;
	list_init(&h->due);
	list_init(&h->calls);
	for (unsigned i = 0; i < HTTP2_CALL_BUCKETS; i++)
		list_init(&h->by_id[i]);
	list_init(&h->ready);
	deadline_init(&h->look);
	io_init(&h->io, -1, shared_on_event);
	hpack_decoder_init(&h->decoder, HPACK_TABLE_DEFAULT);
	hpack_encoder_init(&h->encoder, HPACK_TABLE_DEFAULT);
	return h;
}

/* Its descriptor is the lane's from now on. */
static void
join_lane(struct http2_upstream *h)
{
	struct lane *l = h->lane;

	list_append(shared_bucket(l, h->backend), &h->link);
	deadline_arm(l->http->look_clock, &h->look, l->worker->now);
	tally_add(&l->worker->http2_upstreams, 1);
}

static void
begin_shared(struct http2_upstream *h)
{
	struct http2_settings ours = HTTP2_SETTINGS_INITIAL;
	char *p;

	h->state = HTTP2_UP_SETTLING;
	ours.push = false;
	p = http2_upstream_reserve(h, HTTP2_PREFACE_BYTES + HTTP2_SETTINGS_BYTES + HTTP2_WINDOW_UPDATE_BYTES);
	if (p == NULL)
		return;
	memcpy(p, HTTP2_PREFACE, HTTP2_PREFACE_BYTES);
	h->recv_window = HTTP2_UPSTREAM_WINDOW;
	http2_upstream_wrote(
		h, (size_t)(http2_put_window_update(http2_put_settings(p + HTTP2_PREFACE_BYTES, &ours), 0,
						    HTTP2_UPSTREAM_WINDOW - HTTP2_WINDOW_DEFAULT) -
			    p));
}

static struct http2_upstream *
dial_shared(struct lane *l, struct backend *b)
{
	struct http2_upstream *h;
	bool pending;
	int fd;

	if (!admission_enter(&l->worker->proxy->descriptors, 1)) {
		errno = EMFILE;
		return NULL;
	}
	h = new_shared(l, b);
	fd = h != NULL ? lane_connect(l, b, &pending) : -1;
	if (fd < 0) {
		int saved = h != NULL ? errno : ENOMEM;

		if (h != NULL)
			http2_upstream_free(h);
		admission_leave(&l->worker->proxy->descriptors, 1);
		errno = saved;
		return NULL;
	}
	io_init(&h->io, fd, shared_on_event);
	join_lane(h);
	io_want(l->worker->loop, &h->io, EV_WRITE);
	return h;
}

struct upstream *
http2_upstream_call(struct lane *l, struct backend *b, bool *pending)
{
	struct http2_upstream *h = choose_shared(l, b);
	struct upstream *u;

	if (h == NULL && (h = dial_shared(l, b)) == NULL)
		return NULL;
	*pending = h->state != HTTP2_UP_OPEN;
	u = upstream_new(l, b);
	if (u != NULL && http2_call_new(h, u)) {
		u->state = *pending ? UPSTREAM_CONNECTING : UPSTREAM_BUSY;
		u->reused = !*pending;
		return u;
	}
	if (u != NULL)
		upstream_close(u);
	http2_upstream_settle(h);
	errno = ENOMEM;
	return NULL;
}

bool
http2_upstream_adopt(struct upstream *u)
{
	struct lane *l = u->lane;
	struct http2_upstream *h;

	if (!admission_enter(&l->worker->proxy->descriptors, 1))
		return false;
	if ((h = new_shared(l, u->backend)) == NULL) {
		admission_leave(&l->worker->proxy->descriptors, 1);
		return false;
	}
	io_move(l->worker->loop, &u->io, &h->io, shared_on_event);
	join_lane(h);
	begin_shared(h);
	if (http2_call_new(h, u))
		return true;
	http2_upstream_end(h, ENOMEM, NULL);
	return false;
}

/* It takes fewer than wait for it: those that came last go to another one. */
static void
seat_elsewhere(struct http2_call *c)
{
	struct http2_upstream *h = c->conn, *other = choose_shared(h->lane, h->backend);

	if (other == NULL && (other = dial_shared(h->lane, h->backend)) == NULL) {
		http2_call_fail(c, errno, true, NULL);
		return;
	}
	list_remove(&c->link);
	list_remove(&c->ready);
	h->n_calls--;
	c->conn = other;
	list_append(&other->calls, &c->link);
	other->n_calls++;
	http2_call_wake(c);
}

void
http2_upstream_opened(struct http2_upstream *h)
{
	uint32_t n = 0, most;

	if (h->peer.streams == 0) {
		http2_upstream_end(h, EPROTO, "it takes no streams: SETTINGS_MAX_CONCURRENT_STREAMS is 0");
		return;
	}
	h->state = HTTP2_UP_OPEN;
	most = calls_of(h);
	LIST_EACH(it, &h->calls) {
		struct http2_call *c = list_entry(it, struct http2_call, link);

		if (n++ < most)
			http2_call_wake(c);
		else
			seat_elsewhere(c);
	}
	if (h->n_calls == 0)
		http2_upstream_settle(h);
}

/* -- many at once ---------------------------------------------------------------------------------- */

/* color: COLORS for any.  unused: only those to backends that are not used any more. */
static void
leave_those(struct lane *l, enum color color, bool unused)
{
	for (unsigned i = 0; i < HTTP_POOLS; i++)
		LIST_EACH(it, &l->http->shared[i]) {
			struct http2_upstream *h = list_entry(it, struct http2_upstream, link);

			if ((color == COLORS || h->backend->color == color) &&
			    (!unused || !snapshot_uses(l->snapshot, h->backend)))
				http2_upstream_leave(h);
		}
}

void
http2_upstream_leave_color(struct lane *l, enum color color)
{
	leave_those(l, color, false);
}

void
http2_upstream_leave_unused(struct lane *l)
{
	leave_those(l, COLORS, true);
}

void
http2_upstream_leave_all(struct lane *l)
{
	leave_those(l, COLORS, false);
}

void
http2_upstream_end_all(struct lane *l)
{
	for (unsigned i = 0; i < HTTP_POOLS; i++)
		LIST_EACH(it, &l->http->shared[i]) {
			struct http2_upstream *h = list_entry(it, struct http2_upstream, link);

			http2_upstream_leave(h);
			http2_upstream_end(h, ECONNRESET, NULL);
		}
}

bool
http2_upstream_drop_one(struct lane *l)
{
	for (unsigned i = 0; i < HTTP_POOLS; i++)
		LIST_EACH(it, &l->http->shared[i]) {
			struct http2_upstream *h = list_entry(it, struct http2_upstream, link);

			if (h->n_calls > 0 || h->state == HTTP2_UP_ENDED)
				continue;
			http2_upstream_leave(h);
			/* One that was leaving before has a queue that the backend does not take. */
			http2_upstream_end(h, ECONNRESET, NULL);
			return true;
		}
	return false;
}
