/* http2_stream.c - what an exchange asks of a stream of HTTP/2, and what becomes of it in frames.
 * Thread: owning worker. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/http/exchange.h"
#include "data/http/http_answer.h"
#include "data/http/http_buffers.h"
#include "data/http2/http2_private.h"
#include "data/http2/http2_tunnel.h"
#include "data/proxy.h"
#include "net/sock.h"

/* Of an answer that has not begun so much is read at least: its head has to be seen. */
#define HEAD_LEAST 4096
/* But where much is held already the heads come in pieces: then all streams that there may be have theirs read. */
#define HEAD_PIECE 256
/* Streams that have ended are remembered, so many at first. */
#define GONE_FIRST 32

/* -- the request ------------------------------------------------------------------- */

/* The frames behind a request are other streams'. */
static enum pump_result
read_http2_ahead(struct http_stream *s)
{
	(void)s;
	return PUMP_OK;
}

static bool
is_last_of_http2(const struct http_stream *s)
{
	(void)s;
	return true;
}

static bool
http2_client_is_gone(struct http_stream *s, bool whole)
{
	(void)whole;
	return sock_error(io_fd(&http2_stream_of(s)->conn->c->io)) != 0;
}

/* The connection is read always, but with a full queue; and room is told by http2_wake(). */
static void
want_of_http2(struct http_stream *s, bool body, bool ahead, bool room)
{
	(void)s;
	(void)body;
	(void)ahead;
	(void)room;
}

static void
begin_http2(struct http_stream *s)
{
	(void)s;
}

/* A RST_STREAM that came with its head costs no connect then, nor does a fault in what follows. */
static void
dial_http2_later(struct http_stream *s)
{
	struct http2_stream *st = http2_stream_of(s);

	st->undialed = true;
	http2_stream_ready(st, false, false);
}

/* -- the answer --------------------------------------------------------------------- */

static size_t
room_of_http2(struct http_stream *s)
{
	struct http2_stream *st = http2_stream_of(s);
	struct http2_conn *h = st->conn;
	bool answering = s->exchange != NULL && s->exchange->answering;
	size_t most = http2_window_of(st), room = http2_queue_room(st), held_most = http2_answers_most(h);

	if (answering && most == 0)
		http2_note_held(st);
	/* The part that its window does not let through will be held. */
	if (!answering && most < HEAD_LEAST) {
		if (h->held >= held_most)
			most = 0;
		else
			most = h->held < held_most / 2 ? HEAD_LEAST : most < HEAD_PIECE ? HEAD_PIECE : most;
	}
	if (most > room)
		most = room;
	if (buf_len(&st->held) > 0)
		most = 0;
	http2_set_starved(st, most == 0);
	return most;
}

/* The pump has all of the body, and its trailers. */
static bool
take_end(struct http2_stream *st, const struct body_pump *down)
{
	struct str lines = pump_trailers(down);

	st->trailers.max = lines.n;
	return lines.n == 0 || buf_append(&st->trailers, lines.p, lines.n);
}

/* The backend has said it, and the chunked form in which its answer comes here has no place for it.  False: no room. */
static bool
say_length(const struct upstream *u, struct http_buffers *b, size_t *head)
{
	char line[48];
	int n;

	if (u == NULL || !u->has_length)
		return true;
	n = snprintf(line, sizeof(line), "content-length: %" PRIu64 "\r\n\r\n", u->length);
	if (*head - 2 + (size_t)n > b->size)
		return false;
	memcpy(b->out + *head - 2, line, (size_t)n);
	*head += (size_t)n - 2;
	return true;
}

static enum pump_result
write_http2_head(struct http_stream *s, const struct http1_head *h, const struct http1_edit_response *e,
		 struct body_pump *down, struct str body, bool last, size_t *bytes)
{
	struct http2_stream *st = http2_stream_of(s);
	struct http_buffers *b = http2_worker(st->conn)->http;
	size_t head = http1_edit_response(h, e, b->out, b->size);
	bool final = h->status >= 200, done = final && down->body.done, bare;

	(void)last;
	*bytes = 0;
	if (head == 0 || (final && !say_length(s->exchange->upstream, b, &head)))
		return PUMP_BAD;
	if (done && !take_end(st, down))
		return PUMP_NO_MEMORY;
	bare = buf_len(&st->trailers) == 0;
	*bytes = http2_send_block(st, (struct str){ b->out, head }, false, done && bare && body.n == 0);
	if (*bytes == 0)
		return PUMP_NO_MEMORY;
	st->headed |= final;
	if (!final)
		return PUMP_OK;
	if (!http2_send_or_hold(st, body, done && bare) || (done && !http2_send_end(st)))
		return PUMP_NO_MEMORY;
	st->begun = true;
	return PUMP_OK;
}

static enum pump_result
write_http2_body(struct http_stream *s, struct body_pump *down, struct io *from, struct str *surplus)
{
	struct http2_stream *st = http2_stream_of(s);
	struct relay_buffers *buffers = &http2_worker(st->conn)->buffers;
	struct str data = { buffers->buffer, 1 };

	if (from == NULL)
		return PUMP_OK;
	*surplus = (struct str){ NULL, 0 };
	while (data.n > 0 && !st->ending) {
		uint64_t before = down->relay.bytes;
		size_t most = room_of_http2(s);
		enum pump_result result;
		bool bare;

		if (most == 0)
			return PUMP_OK;
		if (most > buffers->size)
			most = buffers->size;
		result = pump_read(down, from, buffers->buffer, most, &data, surplus);
		if (result != PUMP_OK)
			return result;
		if (down->body.done && !take_end(st, down))
			return PUMP_NO_MEMORY;
		bare = buf_len(&st->trailers) == 0;
		if (!http2_send_or_hold(st, data, down->body.done && bare) || (down->body.done && !http2_send_end(st)))
			return PUMP_NO_MEMORY;
		/* So much was there. */
		if (down->relay.bytes - before + surplus->n < most && !io_pending(from))
			break;
	}
	return PUMP_OK;
}

static bool
answer_http2(struct http_stream *s, const struct http_answer *a, const struct http_asker *asker, size_t *bytes)
{
	struct http2_stream *st = http2_stream_of(s);
	struct http_buffers *b = http2_worker(st->conn)->http;
	const char *end;
	struct str body;
	size_t n, head;

	if (st->refused != HTTP2_NO_ERROR) {
		*bytes = HTTP2_RST_STREAM_BYTES;
		http2_put_reset(st->conn, st->id, st->refused);
		st->peer_reset = true;
		return true;
	}
	n = http_answer_write(b, a, asker);
	end = memmem(b->out, n, "\r\n\r\n", 4);
	CHECK(end != NULL);
	head = (size_t)(end + 4 - b->out);
	body = (struct str){ b->out + head, n - head };
	*bytes = n;
	st->headed = true;
	return http2_send_block(st, (struct str){ b->out, head }, false, body.n == 0) > 0 && http2_send_or_hold(st, body, true) &&
	       http2_send_end(st);
}

static uint64_t
untaken_by_http2(const struct http_stream *s)
{
	const struct http2_stream *st = http2_stream_of(s);

	/* The queue is all streams': what of this one is in it counts as taken, and is little. */
	return buf_len(&st->held);
}

/* -- the end -------------------------------------------------------------------------- */

/* The answer is whole.  There are clients that read none before they have sent all, and that forget the one they have
 * when they are reset: what is left of the request is taken and dropped for a while, as it is of HTTP/1. */
void
http2_finish_stream(struct http2_stream *st)
{
	const struct lane *l = st->conn->c->lane;
	double now = http2_now_of(st);

	if (st->recv_done || st->peer_reset) {
		http2_stream_close(st);
		return;
	}
	if (st->answered == 0) {
		st->answered = now;
		/* It may stop sooner than it said. */
		st->has_length = false;
		buf_free(&st->in);
		deadline_arm(l->http->rest_clock, &st->rest, now);
	} else if (now - st->answered >= HTTP_LINGER_MAX || l->stopping) {
		http2_stream_reset(st, HTTP2_NO_ERROR);
		return;
	} else {
		deadline_touch(l->http->rest_clock, &st->rest, now);
	}
	http2_credit_body(st);
}

void
http2_rest_expired(struct deadline *d)
{
	struct http2_stream *st = container_of(d, struct http2_stream, rest);

	CHECK(st->magic == HTTP2_STREAM_MAGIC);
	/* RFC 9113, 8.1: what is left of the request is not wanted. */
	http2_stream_reset(st, HTTP2_NO_ERROR);
}

static void
done_with_http2(struct http_stream *s)
{
	struct http2_stream *st = http2_stream_of(s);

	upstream_disown(s);
	/* An event stream that is to come again (data/http/http_answer.h). */
	if (!st->headed && !st->peer_reset)
		http2_stream_reset(st, HTTP2_INTERNAL_ERROR);
	else if (st->ended || st->peer_reset)
		http2_finish_stream(st);
}

static void
answered_http2(struct http_stream *s, bool taken, bool close)
{
	(void)close;
	if (taken)
		done_with_http2(s);
	else
		http2_stream_reset(http2_stream_of(s), HTTP2_INTERNAL_ERROR);
}

static enum http2_code
code_of(const struct http_stream *s, enum ending e, bool hard)
{
	switch (e) {
	case END_BACKEND_RESET:
		return s->backend_reset != 0 ? (enum http2_code)s->backend_reset : HTTP2_INTERNAL_ERROR;
	case END_DRAINED:
	case END_STOP:
	case END_PREVIEW:
	case END_BACKEND_DOWN:
	case END_CLIENT_SLOW:
	case END_CLIENT_GONE:
	case END_CLIENT_RESET:
		return HTTP2_CANCEL;
	case END_MEMORY:
		return hard ? HTTP2_INTERNAL_ERROR : HTTP2_REFUSED_STREAM;
	default:
		return HTTP2_INTERNAL_ERROR;
	}
}

static void
reset_http2(struct http_stream *s, enum ending ending, bool hard)
{
	http2_stream_reset(http2_stream_of(s), code_of(s, ending, hard));
}

static const struct io *
io_of_http2(const struct http_stream *s)
{
	return &http2_stream_of(s)->conn->c->io;
}

const struct http_stream_ops http2_stream_ops = {
	.framed = true,
	.protocol = "HTTP/2",
	.begins = begin_http2,
	.dials_later = dial_http2_later,
	.read_body = http2_read_body,
	.read_ahead = read_http2_ahead,
	.is_last = is_last_of_http2,
	.is_gone = http2_client_is_gone,
	.want = want_of_http2,
	.write_head = write_http2_head,
	.write_body = write_http2_body,
	.answer = answer_http2,
	.room = room_of_http2,
	.untaken = untaken_by_http2,
	.answered = answered_http2,
	.done = done_with_http2,
	.reset = reset_http2,
	.io = io_of_http2,
	.upgrade = http2_tunnel_upgrade,
	.release = http2_tunnel_release,
};

/* -- its life ------------------------------------------------------------------------- */

/* Room for more of those that have ended; false: there are as many as may be, or memory is out. */
static bool
make_room_for_gone(struct http2_conn *h)
{
	const struct http2_config *hc = http2_config_of(h);
	uint32_t resets = hc->max_resets > 0 && hc->max_resets < HTTP2_GONE_RESETS ? hc->max_resets : HTTP2_GONE_RESETS;
	uint32_t most = hc->max_streams + resets, room = h->gone_room > 0 ? 2 * h->gone_room : GONE_FIRST, *gone;

	if (room > most)
		room = most;
	if (room <= h->gone_room || (gone = calloc(room, sizeof(*gone))) == NULL)
		return false;
	/* The oldest is the next to be forgotten. */
	for (uint32_t i = 0; i < h->gone_room; i++)
		gone[i] = h->gone[(h->next_gone + i) % h->gone_room];
	free(h->gone);
	h->gone = gone;
	h->next_gone = h->gone_room;
	h->gone_room = room;
	return true;
}

struct http2_stream *
http2_stream_new(struct http2_conn *h, uint32_t id)
{
	struct http2_stream *st = h->gone_room > 0 || make_room_for_gone(h) ? free_list_take(&http2_worker(h)->http2->spare_streams, sizeof(*st)) : NULL;
	struct http_stream *own = &h->c->stream;

	if (st == NULL) {
		http2_count(h, HTTP2_MEMORY);
		return NULL;
	}
	memset(st, 0, sizeof(*st));
	st->magic = HTTP2_STREAM_MAGIC;
	st->id = id;
	st->conn = h;
	st->stream = *own;
	st->stream.ops = &http2_stream_ops;
	st->stream.exchange = NULL;
	st->stream.own = NULL;
	st->stream.begun = http2_worker(h)->now;
	st->stream.keep = true;
	st->stream.close_requested = st->stream.eof = false;
	/* Told with the first. */
	own->queued = own->tls_seconds = -1;
	st->send_window = (int32_t)h->peer.window;
	st->recv_window = HTTP2_WINDOW_DEFAULT;
	st->recv_size = HTTP2_WINDOW_DEFAULT;
	st->recv_pace.since = http2_worker(h)->now;
	list_init(&st->ready);
	deadline_init(&st->rest);
	list_append(&h->streams, &st->link);
	deadline_disarm(&h->trim);
	h->n_streams++;
	tally_add(&http2_worker(h)->http2_streams, 1);
	return st;
}

struct http2_stream *
http2_stream_find(struct http2_conn *h, uint32_t id)
{
	if (id > h->last_id)
		return NULL;
	LIST_EACH(it, &h->streams) {
		struct http2_stream *st = list_entry(it, struct http2_stream, link);

		if (st->id == id)
			return st;
	}
	return NULL;
}

void
http2_stream_remember(struct http2_conn *h, uint32_t id, bool reset)
{
	/* Of those that we have reset frames may come as long as the client does not know it: they are forgotten last. */
	if (h->gone_room == 0 || (h->gone[h->next_gone] != 0 && !(h->gone[h->next_gone] & 1)))
		(void)make_room_for_gone(h);
	if (h->gone_room == 0)
		return;
	h->gone[h->next_gone] = id << 1 | !reset;
	h->next_gone = (h->next_gone + 1) % h->gone_room;
}

void
http2_stream_count_head(struct http2_stream *st, size_t n)
{
	st->heads += (uint32_t)n;
	st->conn->heads += n;
}

void
http2_stream_close(struct http2_stream *st)
{
	struct http2_conn *h = st->conn;

	CHECK(st->magic == HTTP2_STREAM_MAGIC && st->stream.exchange == NULL && !st->closed);
	st->closed = true;
	deadline_disarm(&st->rest);
	upstream_disown(&st->stream);
	if (st->starved)
		h->starved--;
	h->held -= buf_len(&st->held);
	h->heads -= st->heads;
	http2_stream_remember(h, st->id, !st->by_client && !(st->ended && st->recv_done));
	http2_credit(h, st->unread);
	buf_free(&st->in);
	buf_free(&st->in_trailers);
	buf_free(&st->held);
	buf_free(&st->trailers);
	free(st->tunnel);
	st->tunnel = NULL;
	list_remove(&st->ready);
	list_remove(&st->link);
	list_append(&http2_worker(h)->http2->ended, &st->link);
	h->n_streams--;
	tally_add(&http2_worker(h)->http2_streams, (uint64_t)-1);
	http2_conn_settle(h);
}

void
http2_stream_reset(struct http2_stream *st, enum http2_code code)
{
	if (!st->peer_reset)
		http2_put_reset(st->conn, st->id, code);
	http2_stream_close(st);
}

void
http2_stream_end(struct http2_stream *st, enum ending ending)
{
	if (st->stream.exchange != NULL)
		exchange_abort(st->stream.exchange, ending);
	else if (http2_tunnel_is_open(st))
		http2_tunnel_end(st, ending);
	else
		http2_stream_close(st);
}

void
http2_stream_abort(struct http2_stream *st, enum ending ending)
{
	st->peer_reset = true;
	http2_stream_end(st, ending);
}

void
http2_stream_fault(struct http2_stream *st, enum http2_reason reason)
{
	struct http2_conn *h = st->conn;

	http2_count(h, reason);
	http2_put_reset(h, st->id, http2_reason_code(reason));
	st->peer_reset = true;
	if (st->stream.exchange != NULL)
		exchange_cut(st->stream.exchange, END_BAD_REQUEST, http2_reason_words(reason));
	else
		http2_stream_end(st, END_CLIENT_RESET);
	(void)http2_rate(h, HTTP2_RATE_FAULTS);
}

bool
http2_stream_may_write(const struct http2_stream *st)
{
	return http2_window_of(st) > 0 || (st->stream.exchange != NULL && !st->stream.exchange->answering);
}

void
http2_stream_ready(struct http2_stream *st, bool readable, bool writable)
{
	st->readable |= readable;
	st->writable |= writable;
	if (list_empty(&st->ready))
		list_append(&st->conn->ready, &st->ready);
}

void
http2_stream_run(struct http2_stream *st)
{
	bool readable = st->readable, writable = st->writable;

	st->readable = st->writable = false;
	list_remove(&st->ready);
	if (st->undialed && st->stream.exchange != NULL) {
		st->undialed = false;
		exchange_dial(st->stream.exchange);
	}
	if (st->closed)
		return;
	if (buf_len(&st->held) > 0)
		http2_push_held(st);
	if (st->stream.exchange != NULL)
		exchange_on_client(st->stream.exchange, (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));
	else if (http2_tunnel_is_open(st))
		http2_tunnel_run(st, readable, writable);
	else if (st->ended)
		http2_finish_stream(st);
}
