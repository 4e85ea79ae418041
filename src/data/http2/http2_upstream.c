/* http2_upstream.c - shared connections to backends that speak HTTP/2: their life, their queues, and which one a call gets.
 * Thread: owning worker. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "data/access.h"
#include "data/http2/http2_call.h"
#include "data/http2/http2_conn.h"
#include "data/proxy.h"
#include "net/sock.h"
#include "net/tls_client.h"

/* Beyond its limit the queue may still take what no call waits for: answers to PING and the like, heads. */
#define QUEUE_EXTRA (256 * 1024)
/* The socket takes less than comes: another connection is made, up to so many. */
#define QUEUE_SLOW (128 * 1024)
#define SLOW_MOST 4
/* Calls that wait for one that is being made, which may take fewer. */
#define WAITING_MOST 100
/* So many at once, whatever the backend takes. */
#define CALLS_MOST 1000
/* What all calls together let come before it is read. */
#define WINDOW (1024 * 1024)
/* Seconds that one is kept that has no call; pool_idle, where that is more. */
#define REST 60.0
/* Seconds of silence, while calls wait, after which it is asked whether it is there: less often than servers of gRPC take for a
 * flood, which is once in five minutes; and seconds that it has to answer. */
#define SILENCE 310.0
#define PATIENCE 10.0
/* A call that was given up makes it doubtful when nothing was heard for so many seconds. */
#define DOUBT 5.0
/* In one turn of the loop so many rounds: others are to get theirs. */
#define ROUNDS 4

static const char are_you_there[8] = "teal-you";

static void begin_shared(struct http2_upstream *h);

/* -- the lane's -------------------------------------------------------------------------- */

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
	return h->state != HTTP2_UP_ENDED && !h->leaving && !h->doubtful &&
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

/* -- the queue ---------------------------------------------------------------------------- */

void
http2_upstream_due(struct http2_upstream *h)
{
	if (list_empty(&h->due))
		list_append(&h->lane->worker->http2->upstreams_due, &h->due);
}

char *
http2_upstream_reserve(struct http2_upstream *h, size_t n)
{
	char *p;

	if (h->state < HTTP2_UP_SETTLING || h->state == HTTP2_UP_ENDED)
		return NULL;
	h->out.max = HTTP2_UPSTREAM_QUEUE + QUEUE_EXTRA;
	p = buf_reserve(&h->out, n);
	http2_upstream_due(h);
	if (p == NULL)
		http2_upstream_end(h, ECONNRESET, "it takes nothing of what is sent");
	return p;
}

void
http2_upstream_wrote(struct http2_upstream *h, size_t n)
{
	buf_commit(&h->out, n);
}

size_t
http2_upstream_room(const struct http2_upstream *h)
{
	size_t used = buf_len(&h->out);

	return used < HTTP2_UPSTREAM_QUEUE ? HTTP2_UPSTREAM_QUEUE - used : 0;
}

void
http2_upstream_put_reset(struct http2_upstream *h, uint32_t id, enum http2_code code)
{
	char *p = id != 0 ? http2_upstream_reserve(h, HTTP2_RST_STREAM_BYTES) : NULL;

	if (p == NULL)
		return;
	http2_put_rst_stream(p, id, code);
	http2_upstream_wrote(h, HTTP2_RST_STREAM_BYTES);
}

static void
credit_connection(struct http2_upstream *h)
{
	char *p;

	if (h->recv_owed < WINDOW / 2 || (p = http2_upstream_reserve(h, HTTP2_WINDOW_UPDATE_BYTES)) == NULL)
		return;
	http2_put_window_update(p, 0, h->recv_owed);
	http2_upstream_wrote(h, HTTP2_WINDOW_UPDATE_BYTES);
	h->recv_window += (int32_t)h->recv_owed;
	h->recv_owed = 0;
}

static bool
send_frames(struct http2_upstream *h)
{
	bool was_full = http2_upstream_room(h) == 0, sent = false;

	while (buf_len(&h->out) > 0) {
		struct str all = buf_str(&h->out);
		ssize_t n = io_write(&h->io, all.p, all.n, false);

		if (n < 0 && io_would_block())
			break;
		if (n < 0) {
			http2_upstream_end(h, ECONNRESET, NULL);
			return false;
		}
		buf_consume(&h->out, (size_t)n);
		sent = true;
	}
	if (sent && was_full)
		LIST_EACH(it, &h->calls)
			http2_call_wake(list_entry(it, struct http2_call, link));
	return true;
}

static void
run_calls(struct http2_upstream *h)
{
	uint32_t n = h->n_calls;
	struct link *first;

	while (n-- > 0 && (first = list_first(&h->ready)) != NULL)
		http2_call_run(list_entry(first, struct http2_call, ready));
}

static void
flush_shared(struct http2_upstream *h)
{
	list_remove(&h->due);
	run_calls(h);
	if (!list_empty(&h->ready))
		http2_upstream_due(h);
	if (h->state < HTTP2_UP_SETTLING || h->state == HTTP2_UP_ENDED)
		return;
	credit_connection(h);
	if (!send_frames(h))
		return;
	if (buf_len(&h->out) == 0 && h->n_calls == 0)
		buf_free(&h->out);
	io_want(h->lane->worker->loop, &h->io, EV_READ | (buf_len(&h->out) > 0 ? EV_WRITE : 0));
	if (h->n_calls == 0 && h->leaving && buf_len(&h->out) == 0)
		http2_upstream_end(h, ECONNRESET, NULL);
}

bool
http2_upstream_flush(struct worker *w)
{
	struct link *due = &w->http2->upstreams_due, *first;
	unsigned n = 0;

	LIST_EACH(it, due)
		n++;
	while (n-- > 0 && (first = list_first(due)) != NULL)
		flush_shared(list_entry(first, struct http2_upstream, due));
	return list_empty(due);
}

/* -- the end ---------------------------------------------------------------------------------- */

void
http2_upstream_tell(const struct http2_upstream *h, const char *words)
{
	struct lane *l = h->lane;

	if (access_may_tell(l))
		LOG_WARN("backend.http2", LS("service", l->config->name),
			 LR(NULL, str_from(l->config->labels_json)), LS("backend", h->backend->text),
			 LS("error", words));
}

/* No call knows it any more. */
static void
bury(struct http2_upstream *h)
{
	list_remove(&h->due);
	list_remove(&h->link);
	list_append(&h->lane->worker->http2->upstreams_ended, &h->link);
}

void
http2_upstream_end(struct http2_upstream *h, int error, const char *words)
{
	struct worker *w = h->lane->worker;
	bool open = h->state == HTTP2_UP_OPEN;

	if (h->state == HTTP2_UP_ENDED)
		return;
	if (words != NULL)
		http2_upstream_tell(h, words);
	/* What is left of the queue, a GOAWAY most likely. */
	if (h->state >= HTTP2_UP_SETTLING && buf_len(&h->out) > 0)
		(void)io_write(&h->io, buf_str(&h->out).p, buf_len(&h->out), false);
	h->state = HTTP2_UP_ENDED;
	io_close(w->loop, &h->io);
	deadline_disarm(&h->look);
	buf_free(&h->in);
	buf_free(&h->out);
	buf_free(&h->block);
	admission_leave(&w->proxy->descriptors, 1);
	tally_add(&w->http2_upstreams, (uint64_t)-1);
	LIST_EACH(it, &h->calls) {
		struct http2_call *c = list_entry(it, struct http2_call, link);

		http2_call_fail(c, error, open && c->id == 0, words);
	}
	if (h->n_calls == 0)
		bury(h);
	if (w->starved)
		worker_kick(w);
}

static void
tell_goaway(struct http2_upstream *h, enum http2_code code, struct str why)
{
	char *p = http2_upstream_reserve(h, HTTP2_GOAWAY_BYTES(why));

	if (p == NULL)
		return;
	http2_put_goaway(p, 0, code, why);
	http2_upstream_wrote(h, HTTP2_GOAWAY_BYTES(why));
}

void
http2_upstream_fault(struct http2_upstream *h, enum http2_reason reason)
{
	const char *words = http2_reason_words(reason);

	tell_goaway(h, http2_reason_code(reason), str_from(words));
	http2_upstream_end(h, EPROTO, words);
}

/* It may wait for another call. */
static bool
may_rest(const struct http2_upstream *h)
{
	const struct lane *l = h->lane;
	enum color color = h->backend->color;

	return !h->leaving && !l->stopping && h->tls_turn == l->tls_turn &&
	       snapshot_uses(l->snapshot, h->backend) &&
	       !(l->drain[color].on && l->snapshot->active != color) && l->config->http.pool_size > 0;
}

static void
leave_shared(struct http2_upstream *h)
{
	if (h->leaving || h->state == HTTP2_UP_ENDED)
		return;
	h->leaving = true;
	if (h->n_calls == 0) {
		tell_goaway(h, HTTP2_NO_ERROR, STR(""));
		http2_upstream_end(h, ECONNRESET, NULL);
	}
}

void
http2_upstream_settle(struct http2_upstream *h)
{
	h->since = h->lane->worker->now;
	if (h->n_calls > 0)
		return;
	if (h->state == HTTP2_UP_ENDED)
		bury(h);
	else if (h->state != HTTP2_UP_OPEN)
		http2_upstream_end(h, ECONNRESET, NULL);
	else if (h->leaving)	/* once the queue is empty, where the end of a stream may be */
		http2_upstream_due(h);
	else if (!may_rest(h))
		leave_shared(h);
}

/* -- is it there? ------------------------------------------------------------------------------ */

static void
ask_whether_there(struct http2_upstream *h)
{
	char *p = h->pinged ? NULL : http2_upstream_reserve(h, HTTP2_PING_BYTES);

	if (p == NULL)
		return;
	http2_put_ping(p, are_you_there, false);
	http2_upstream_wrote(h, HTTP2_PING_BYTES);
	h->pinged = true;
	h->asked = h->lane->worker->now;
}

void
http2_upstream_doubt(struct http2_upstream *h)
{
	if (h->lane->worker->now - h->heard < DOUBT)
		return;
	h->doubtful = true;
	ask_whether_there(h);
}

void
http2_upstream_look(struct deadline *d)
{
	struct http2_upstream *h = container_of(d, struct http2_upstream, look);
	struct lane *l = h->lane;
	double now = l->worker->now, rest = l->config->http.pool_idle;

	CHECK(h->magic == HTTP2_UPSTREAM_MAGIC);
	deadline_arm(l->http->look_clock, d, now);
	if (h->state != HTTP2_UP_OPEN) {
		if (l->config->connect_timeout > 0 && now - h->since > l->config->connect_timeout)
			http2_upstream_end(h, ETIMEDOUT, NULL);
	} else if (h->pinged && now - h->asked >= PATIENCE) {
		http2_upstream_end(h, ECONNRESET, "no answer to PING");
	} else if (h->n_calls > 0) {
		if (now - h->heard >= SILENCE)
			ask_whether_there(h);
	} else if (rest > 0 && now - h->since >= (rest > REST ? rest : REST)) {
		leave_shared(h);
	}
}

/* -- events ------------------------------------------------------------------------------------- */

static void
read_shared(struct http2_upstream *h)
{
	struct relay_buffers *buffers = &h->lane->worker->buffers;
	size_t before = buf_len(&h->in), used;
	ssize_t n;

	memcpy(buffers->buffer, buf_str(&h->in).p, before);
	n = io_read(&h->io, buffers->buffer + before, buffers->size - before);
	if (n < 0 && io_would_block())
		return;
	if (n <= 0) {
		http2_upstream_end(h, h->settled ? ECONNRESET : EPROTO,
				   h->settled ? NULL : "it closed without a word of HTTP/2");
		return;
	}
	h->heard = h->lane->worker->now;
	h->doubtful = h->pinged = false;
	buf_free(&h->in);
	n += (ssize_t)before;
	used = http2_upstream_take(h, buffers->buffer, (size_t)n);
	if (h->state == HTTP2_UP_ENDED || used == (size_t)n)
		return;
	h->in.max = RELAY_READ_MAX;
	if (!buf_append(&h->in, buffers->buffer + used, (size_t)n - used))
		http2_upstream_end(h, ENOMEM, NULL);
}

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
			read_shared(h);
		http2_upstream_due(h);
		break;
	case HTTP2_UP_ENDED:
		break;
	}
}

/* -- its life ------------------------------------------------------------------------------------ */

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
	list_init(&h->ready);
	deadline_init(&h->look);
	io_init(&h->io, -1, shared_on_event);
	hpack_decoder_init(&h->decoder, HPACK_TABLE_DEFAULT);
	hpack_encoder_init(&h->encoder, HPACK_TABLE_DEFAULT);
	return h;
}

static void
free_shared(struct http2_upstream *h)
{
	backend_unref(&h->backend);
	hpack_decoder_free(&h->decoder);
	hpack_encoder_free(&h->encoder);
	h->magic = 0;
	free(h);
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
	h->recv_window = WINDOW;
	http2_upstream_wrote(
		h, (size_t)(http2_put_window_update(http2_put_settings(p + HTTP2_PREFACE_BYTES, &ours), 0,
						    WINDOW - HTTP2_WINDOW_DEFAULT) -
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
			free_shared(h);
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
				leave_shared(h);
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

bool
http2_upstream_drop_one(struct lane *l)
{
	for (unsigned i = 0; i < HTTP_POOLS; i++)
		LIST_EACH(it, &l->http->shared[i]) {
			struct http2_upstream *h = list_entry(it, struct http2_upstream, link);

			if (h->n_calls > 0 || h->state == HTTP2_UP_ENDED)
				continue;
			leave_shared(h);
			return true;
		}
	return false;
}

void
http2_upstream_reap(struct worker *w)
{
	LIST_EACH(it, &w->http2->calls_ended) {
		struct http2_call *c = list_entry(it, struct http2_call, link);

		list_remove(it);
		c->magic = 0;
		free(c);
	}
	LIST_EACH(it, &w->http2->upstreams_ended) {
		list_remove(it);
		free_shared(list_entry(it, struct http2_upstream, link));
	}
}
