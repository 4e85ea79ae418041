/* http2_call.c - an HTTP/1.1 request into frames, and the frames of its answer into HTTP/1.1.  Thread: owning worker. */
#include <stdlib.h>
#include <string.h>

#include "data/http/exchange.h"
#include "data/http2/http2_call.h"
#include "data/http2/http2_conn.h"
#include "data/proxy.h"
#include "proto/grpc.h"
#include "proto/http2_response.h"

/* So much room takes the line of a chunk and what follows its data. */
#define CHUNK_EXTRA (HTTP1_CHUNK_LINE + 2)
/* Bytes of a chunk where the reader has less room than that. */
#define SMALL_CHUNK 16

static struct http2_call *
call_of(const struct io_channel *ch)
{
	struct http2_call *c = container_of(ch, struct http2_call, channel);

	CHECK(c->magic == HTTP2_CALL_MAGIC);
	return c;
}

static struct worker *
call_worker(const struct http2_call *c)
{
	return c->conn->lane->worker;
}

static bool
is_open(const struct http2_call *c)
{
	return c->conn->state == HTTP2_UP_OPEN;
}

/* -- what may be done now -------------------------------------------------------------- */

static size_t
room_of_call(const struct http2_call *c)
{
	int32_t window = c->send_window < c->conn->send_window ? c->send_window : c->conn->send_window;
	size_t room = http2_upstream_room(c->conn);

	if (window <= 0)
		return 0;
	return (size_t)window < room ? (size_t)window : room;
}

static bool
is_writable(const struct http2_call *c)
{
	if (c->error != 0 || c->stopped)
		return true;
	if (!is_open(c))
		return false;
	if (c->id == 0)
		return c->conn->leaving || http2_upstream_room(c->conn) > 0;
	return c->local_done || room_of_call(c) > 0;
}

static bool
is_readable(const struct http2_call *c)
{
	return buf_len(&c->text) > 0 || buf_len(&c->data) > 0 || c->remote_done || c->error != 0;
}

static int
events_of(const struct http2_call *c)
{
	return ((c->wants & EV_READ) && is_readable(c) ? EV_READ : 0) |
	       ((c->wants & EV_WRITE) && is_writable(c) ? EV_WRITE : 0);
}

void
http2_call_wake(struct http2_call *c)
{
	if (c->u == NULL && c->remote_done) {
		http2_call_forget(c);
		return;
	}
	if (events_of(c) == 0 || !list_empty(&c->ready))
		return;
	list_append(&c->conn->ready, &c->ready);
	http2_upstream_due(c->conn);
}

void
http2_call_run(struct http2_call *c)
{
	int events = events_of(c);

	list_remove(&c->ready);
	if (events != 0)
		io_channel_tell(call_worker(c)->loop, &c->channel, events);
}

static void
want_call(struct io_channel *ch, int events)
{
	struct http2_call *c = call_of(ch);

	c->wants = events;
	http2_call_wake(c);
}

static int
call_is_connected(const struct io_channel *ch)
{
	const struct http2_call *c = call_of(ch);

	if (c->error != 0) {
		errno = c->error;
		return -1;
	}
	return is_open(c);
}

void
http2_call_fail(struct http2_call *c, int error, bool unseen, const char *words)
{
	if (c->error != 0)
		return;
	c->error = error;
	c->reset = true;
	if (c->u == NULL) {
		http2_call_forget(c);
		return;
	}
	c->u->unseen = unseen && !c->seen;
	if (c->u->fault == NULL)
		c->u->fault = words;
	http2_call_wake(c);
}

void
http2_call_fault(struct http2_call *c, enum http2_reason reason)
{
	http2_upstream_put_reset(c->conn, c->id, http2_reason_code(reason));
	http2_call_fail(c, EPROTO, false, http2_reason_words(reason));
}

/* Ids are odd. */
static struct link *
bucket_of_call(const struct http2_upstream *h, uint32_t id)
{
	return (struct link *)(uintptr_t)&h->by_id[id / 2 % HTTP2_CALL_BUCKETS];
}

/* -- the request ------------------------------------------------------------------------- */

/* Bytes of p[0..n) that were its head; 0: it cannot be sent now. */
static size_t
write_call_head(struct http2_call *c, const char *p, size_t n)
{
	struct http2_upstream *h = c->conn;
	const char *end = memmem(p, n, "\r\n\r\n", 4);
	struct http2_asked asked;
	struct str head;
	size_t most;
	char *q;

	CHECK(end != NULL);
	if (http2_upstream_room(h) == 0)
		return 0;
	head = (struct str){ p, (size_t)(end - p) + 4 };
	most = HTTP2_RESPONSE_ROOM(head.n);
	if ((q = http2_upstream_reserve(h, HTTP2_HEADERS_BYTES(most, h->peer.frame))) == NULL)
		return 0;
	http2_request_encode(head, io_is_tls(&h->io), &h->encoder, q + HTTP2_FRAME_HEAD, &asked);
	c->id = h->next_id;
	list_append(bucket_of_call(h, c->id), &c->same);
	h->next_id += 2;
	if (h->next_id > HTTP2_STREAM_MOST)
		h->leaving = true;
	c->send_window = (int32_t)h->peer.window;
	c->head_request = asked.head;
	c->local_done = !asked.chunked && asked.length == 0;
	c->body = (struct http1_body){ .framing = asked.chunked ? HTTP1_BODY_CHUNKED : HTTP1_BODY_LENGTH,
				       .left = asked.length };
	c->asked = call_worker(c)->now;
	http2_upstream_wrote(h, http2_frame_block(q, asked.n, c->id, c->local_done, h->peer.frame));
	return head.n;
}

/* In frames; what the caller has made sure that windows and queue let through. */
static bool
put_body(struct http2_call *c, const char *p, size_t n, bool end)
{
	struct http2_upstream *h = c->conn;
	size_t sent = 0;

	do {
		size_t frame = n - sent < HTTP2_FRAME_DEFAULT ? n - sent : HTTP2_FRAME_DEFAULT;
		bool last = end && sent + frame == n;
		char *q = http2_upstream_reserve(h, HTTP2_FRAME_HEAD + frame);

		if (q == NULL)
			return false;
		q = http2_put_head(q, (uint32_t)frame, HTTP2_DATA, last ? HTTP2_F_END_STREAM : 0, c->id);
		if (frame > 0)
			memcpy(q, p + sent, frame);
		http2_upstream_wrote(h, HTTP2_FRAME_HEAD + frame);
		sent += frame;
	} while (sent < n);
	c->send_window -= (int32_t)n;
	h->send_window -= (int32_t)n;
	c->local_done |= end;
	return true;
}

static bool
put_last_lines(struct http2_call *c)
{
	struct http2_upstream *h = c->conn;
	struct str lines = buf_str(&c->lines);
	char *q = http2_upstream_reserve(h, HTTP2_HEADERS_BYTES(HTTP2_RESPONSE_ROOM(lines.n), h->peer.frame));
	size_t n;

	if (q == NULL)
		return false;
	n = http2_trailers_encode(lines, &h->encoder, q + HTTP2_FRAME_HEAD);
	http2_upstream_wrote(h, http2_frame_block(q, n, c->id, true, h->peer.frame));
	c->local_done = true;
	buf_free(&c->lines);
	return true;
}

/* Of p[0..n), which begins with bytes of the body as HTTP/1 frames it: takes some, which are returned; 0: none now. */
static size_t
write_call_body(struct http2_call *c, const char *p, size_t n)
{
	static const char end[] = "\r\n" HTTP1_CHUNKS_END;
	uint64_t ahead = http1_body_skippable(&c->body);
	size_t most = room_of_call(c), taken;
	enum http1_verdict verdict;
	enum http1_piece kind;

	if (ahead > 0) {
		bool last;

		if (most > n)
			most = n;
		if (most > ahead)
			most = (size_t)ahead;
		if (most == 0)
			return 0;
		last = most == ahead &&
		       (c->body.framing == HTTP1_BODY_LENGTH ||
			(n - most == sizeof(end) - 1 && memcmp(p + most, end, sizeof(end) - 1) == 0));
		(void)http1_body_skip(&c->body, most);
		if (!put_body(c, p, most, last))
			return 0;
		return last && c->body.framing == HTTP1_BODY_CHUNKED ? n : most;
	}
	taken = http1_body_piece(&c->body, p, n, &kind, &verdict);
	/* It was checked on its way here (data/http/body_pump.h). */
	CHECK(verdict != HTTP1_BAD && kind != HTTP1_PIECE_DATA);
	if (kind == HTTP1_PIECE_TRAILER) {
		c->lines.max = HTTP1_TRAILERS_MAX;
		if (!buf_append(&c->lines, p, taken))
			return 0;
	}
	if (c->body.done && !(buf_len(&c->lines) > 0 ? put_last_lines(c) : put_body(c, NULL, 0, true)))
		return 0;
	return taken;
}

static ssize_t
write_call(struct io_channel *ch, const void *bytes, size_t n)
{
	struct http2_call *c = call_of(ch);
	const char *p = bytes;
	size_t used = 0, some;

	if (is_open(c) && c->id == 0 && c->conn->leaving)
		http2_call_fail(c, ECONNRESET, true, NULL);
	/* Why, it says when it is read. */
	if (c->error != 0 || c->stopped) {
		errno = EPIPE;
		return -1;
	}
	if (is_open(c) && c->id == 0)
		used = write_call_head(c, p, n);
	if (c->id != 0)
		while (used < n && !c->local_done && (some = write_call_body(c, p + used, n - used)) > 0)
			used += some;
	if (used > 0)
		return (ssize_t)used;
	errno = EAGAIN;
	return -1;
}

/* -- the answer ---------------------------------------------------------------------------- */

static struct http2_buffers *
shared_of(const struct http2_call *c)
{
	return call_worker(c)->http2;
}

/* Of trailers, or of an answer that has nothing else. */
static void
note_grpc_status(struct http2_call *c, const struct hpack_fields *fields)
{
	for (uint32_t i = 0; c->u != NULL && i < fields->count; i++) {
		const struct hpack_field *field = &fields->fields[i];
		unsigned status;

		if (str_eq(hpack_name(fields, field), "grpc-status") &&
		    grpc_status_read(hpack_value(fields, field), &status))
			c->u->grpc_status = (int16_t)status;
	}
}

/* Behind a body of known length HTTP/1.1 has none. */
static bool
client_takes_trailers(const struct http2_call *c)
{
	return c->u != NULL && c->u->exchange != NULL && c->u->exchange->stream->ops->framed;
}

enum http2_reason
http2_call_take_head(struct http2_call *c, const struct hpack_fields *fields, bool end)
{
	struct http2_buffers *b = shared_of(c);
	struct http2_answer a = { .head_request = c->head_request, .end_stream = end, .trailers = client_takes_trailers(c) };
	enum http2_reason reason = fields->over;
	size_t n;

	if (c->remote_done)
		return HTTP2_STREAM_ENDED;
	if (reason == HTTP2_FINE && c->answered) {
		reason = http2_answer_trailers(fields, end, b->text, b->room, &n);
		if (reason == HTTP2_FINE && c->has_length && c->left > 0)
			reason = HTTP2_LENGTH_DIFFERS;
		c->trailers.max = n;
		if (reason == HTTP2_FINE && c->chunked && n > 0 && !buf_append(&c->trailers, b->text, n))
			reason = HTTP2_MEMORY;
		c->remote_done = reason == HTTP2_FINE;
		if (c->remote_done)
			note_grpc_status(c, fields);
		return reason;
	}
	if (reason == HTTP2_FINE)
		reason = http2_answer_write(fields, &a, b->text, b->room);
	if (reason != HTTP2_FINE)
		return reason;
	/* Interim answers that its client does not take are not endless. */
	c->text.max = buf_len(&c->text) + a.n;
	if (buf_len(&c->text) > b->room)
		return HTTP2_FIELDS_LARGE;
	if (!buf_append(&c->text, b->text, a.n))
		return HTTP2_MEMORY;
	c->seen = true;
	if (a.status < 200)
		return HTTP2_FINE;
	c->answered = true;
	c->bodyless = a.bodyless;
	c->chunked = a.chunked;
	c->has_length = a.has_length && !a.bodyless;
	c->left = a.length;
	if (c->u != NULL && a.chunked && a.has_length) {
		c->u->has_length = true;
		c->u->length = a.length;
	}
	c->remote_done = end;
	if (end)
		note_grpc_status(c, fields);
	return HTTP2_FINE;
}

enum http2_reason
http2_call_take_data(struct http2_call *c, struct str data, uint32_t length, bool end)
{
	if (c->remote_done)
		return HTTP2_STREAM_ENDED;
	if (!c->answered)
		return HTTP2_STATUS_BAD;
	if ((int32_t)length > c->recv_window)
		return HTTP2_FLOW;
	c->recv_window -= (int32_t)length;
	c->recv_owed += length - (uint32_t)data.n;
	if ((c->bodyless && data.n > 0) ||
	    (c->has_length && (data.n > c->left || (end && data.n != c->left))))
		return HTTP2_LENGTH_DIFFERS;
	c->left -= c->has_length ? data.n : 0;
	c->data.max = HTTP2_WINDOW_DEFAULT;
	if (data.n > 0 && !buf_append(&c->data, data.p, data.n))
		return HTTP2_MEMORY;
	c->remote_done = end;
	return HTTP2_FINE;
}

/* Its reader has them: more may come. */
static void
credit_call(struct http2_call *c, size_t n)
{
	char *q;

	c->recv_owed += (uint32_t)n;
	if (c->recv_owed < HTTP2_WINDOW_DEFAULT / 2 || c->remote_done || c->error != 0 ||
	    (q = http2_upstream_reserve(c->conn, HTTP2_WINDOW_UPDATE_BYTES)) == NULL)
		return;
	http2_put_window_update(q, c->id, c->recv_owed);
	http2_upstream_wrote(c->conn, HTTP2_WINDOW_UPDATE_BYTES);
	c->recv_window += (int32_t)c->recv_owed;
	c->recv_owed = 0;
}

static size_t
take_from(struct buf *from, char *p, size_t n)
{
	struct str all = buf_str(from);

	if (n > all.n)
		n = all.n;
	if (n == 0)
		return 0;
	memcpy(p, all.p, n);
	if (n == all.n)
		buf_free(from);
	else
		buf_consume(from, n);
	return n;
}

/* One chunk of what has come, into p[0..n) or, where that has no room for it, into `text`; returns the bytes of p. */
static size_t
read_chunk(struct http2_call *c, char *p, size_t n)
{
	char small[CHUNK_EXTRA + SMALL_CHUNK], *to = n > CHUNK_EXTRA ? p : small;
	size_t most = n > CHUNK_EXTRA ? n - CHUNK_EXTRA : SMALL_CHUNK, size = buf_len(&c->data), at;

	if (size > most)
		size = most;
	at = http1_chunk_line(size, to);
	take_from(&c->data, to + at, size);
	memcpy(to + at + size, "\r\n", 2);
	at += size + 2;
	credit_call(c, size);
	if (to == p)
		return at;
	c->text.max = at;
	if (!buf_append(&c->text, small, at))
		http2_call_fail(c, ENOMEM, false, NULL);
	return 0;
}

/* All of a chunked body has been read: its end. */
static void
read_end(struct http2_call *c)
{
	struct str lines = buf_str(&c->trailers);

	c->ended = true;
	c->text.max = lines.n + 8;
	if (!buf_append(&c->text, "0\r\n", 3) || !buf_append(&c->text, lines.p, lines.n) ||
	    !buf_append(&c->text, "\r\n", 2))
		http2_call_fail(c, ENOMEM, false, NULL);
	buf_free(&c->trailers);
}

static ssize_t
read_call(struct io_channel *ch, void *bytes, size_t n)
{
	struct http2_call *c = call_of(ch);
	char *p = bytes;
	size_t got = take_from(&c->text, p, n), some;

	if (buf_len(&c->text) == 0 && c->chunked) {
		while (buf_len(&c->data) > 0 && got < n && (got == 0 || n - got > CHUNK_EXTRA)) {
			got += read_chunk(c, p + got, n - got);
			got += take_from(&c->text, p + got, n - got);
		}
		if (buf_len(&c->data) == 0 && buf_len(&c->text) == 0 && c->remote_done && !c->ended) {
			read_end(c);
			got += take_from(&c->text, p + got, n - got);
		}
	} else if (buf_len(&c->text) == 0) {
		some = take_from(&c->data, p + got, n - got);
		credit_call(c, some);
		got += some;
	}
	if (got > 0)
		return (ssize_t)got;
	if (c->remote_done)
		return 0;
	errno = c->error != 0 ? c->error : EAGAIN;
	return -1;
}

static bool
has_more(const struct io_channel *ch)
{
	const struct http2_call *c = call_of(ch);

	return buf_len(&c->text) > 0 || buf_len(&c->data) > 0 || (c->remote_done && c->chunked && !c->ended);
}

/* -- its life --------------------------------------------------------------------------------- */

/* All of the answer has come but the end of its stream. */
static bool
answer_is_whole(const struct http2_call *c)
{
	return c->local_done && c->answered && !c->remote_done &&
	       (c->bodyless || (c->has_length && c->left == 0)) && buf_len(&c->text) == 0 &&
	       buf_len(&c->data) == 0;
}

void
http2_call_forget(struct http2_call *c)
{
	struct http2_upstream *h = c->conn;
	bool reset = c->id != 0 && is_open(c) && !c->reset && !(c->local_done && c->remote_done);

	/* The reset may end the connection, and that all its calls. */
	c->reset = true;
	c->error = ECONNRESET;
	if (reset) {
		http2_upstream_put_reset(h, c->id, HTTP2_CANCEL);
		if (!c->answered && h->heard < c->asked)
			http2_upstream_doubt(h);
	}
	buf_free(&c->lines);
	buf_free(&c->text);
	buf_free(&c->data);
	buf_free(&c->trailers);
	list_remove(&c->same);
	list_remove(&c->link);
	list_append(&shared_of(c)->calls_ended, &c->link);
	h->n_calls--;
	http2_upstream_settle(h);
}

static void
close_call(struct io_channel *ch)
{
	struct http2_call *c = call_of(ch);

	list_remove(&c->ready);
	c->wants = 0;
	c->u = NULL;
	c->finished = call_worker(c)->now;
	if (!is_open(c) || c->reset || !answer_is_whole(c))
		http2_call_forget(c);
}

/* Its end went with its last bytes; and a stream that is closed early is reset in any case. */
static void
shut_call(struct io_channel *ch)
{
	(void)ch;
}

static const struct io_channel_ops call_ops = {
	.read = read_call,
	.write = write_call,
	.want = want_call,
	.pending = has_more,
	.connected = call_is_connected,
	.shutdown = shut_call,
	.reset_on_close = shut_call,
	.close = close_call,
};

bool
http2_call_new(struct http2_upstream *h, struct upstream *u)
{
	struct http2_call *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return false;
	c->magic = HTTP2_CALL_MAGIC;
	c->channel.ops = &call_ops;
	c->conn = h;
	c->u = u;
	c->recv_window = HTTP2_WINDOW_DEFAULT;
	list_init(&c->ready);
	list_init(&c->same);
	list_append(&h->calls, &c->link);
	h->n_calls++;
	u->io.channel = &c->channel;
	c->channel.io = &u->io;
	return true;
}

struct http2_call *
http2_call_find(const struct http2_upstream *h, uint32_t id)
{
	LIST_EACH(it, bucket_of_call(h, id)) {
		struct http2_call *c = list_entry(it, struct http2_call, same);

		if (c->id == id)
			return c;
	}
	return NULL;
}
