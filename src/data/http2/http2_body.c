/* http2_body.c - the two directions of a stream: its request's body on its way to the backend, as HTTP/1 frames it, and the
 * frames of its answer, as far as windows and the queue let them through; the rest is held.
 * Thread: owning worker. */
#include <string.h>

#include "data/http2/http2_private.h"
#include "proto/http2_response.h"

/* -- the answer ---------------------------------------------------------------------- */

void
http2_put_reset(struct http2_conn *h, uint32_t id, enum http2_code code)
{
	char *p = http2_reserve(h, HTTP2_RST_STREAM_BYTES);

	if (p == NULL)
		return;
	http2_put_rst_stream(p, id, code);
	http2_wrote(h, HTTP2_RST_STREAM_BYTES);
}

/* A head as HTTP/1 has it, or with trailers the lines of those; returns the bytes of its frames, 0: it cannot be
 * sent. */
size_t
http2_send_block(struct http2_stream *st, struct str text, bool trailers, bool end)
{
	struct http2_conn *h = st->conn;
	size_t most = HTTP2_RESPONSE_ROOM(text.n), n;
	char *p = http2_reserve(h, HTTP2_HEADERS_BYTES(most, h->peer.frame));

	if (p == NULL)
		return 0;
	n = trailers ? http2_trailers_encode(text, &h->encoder, p + HTTP2_FRAME_HEAD) :
		       http2_cache_write_response(http2_worker(h)->http2->cache, h->number, text, &h->encoder, p + HTTP2_FRAME_HEAD);
	if (n == 0 && !trailers)
		return 0;
	n = http2_frame_block(p, n, st->id, end, h->peer.frame);
	http2_wrote(h, n);
	st->ended |= end;
	return n;
}

size_t
http2_window_of(const struct http2_stream *st)
{
	int32_t w = st->send_window < st->conn->send_window ? st->send_window : st->conn->send_window;

	return w > 0 ? (size_t)w : 0;
}

/* Bytes that the queue takes for a stream.  An answer's head and what came with it have half as much more: a body that
 * fills the queue as often as it is empty keeps none of them out. */
size_t
http2_queue_room(const struct http2_stream *st)
{
	size_t most = http2_answers_most(st->conn), used = buf_len(&st->conn->out);

	if (!st->begun)
		most += most / 2;
	return used < most ? most - used : 0;
}

/* Sends what the windows and the queue let through; returns how much, -1: the connection is over. */
static ssize_t
put_data(struct http2_stream *st, const char *p, size_t n, bool last)
{
	struct http2_conn *h = st->conn;
	size_t sent = 0;

	while (sent < n) {
		size_t most = http2_window_of(st), frame = n - sent;
		bool end;
		char *q;

		if (most == 0 || http2_queue_room(st) == 0)
			break;
		if (frame > most)
			frame = most;
		if (frame > HTTP2_FRAME_DEFAULT)
			frame = HTTP2_FRAME_DEFAULT;
		if ((q = http2_reserve(h, HTTP2_FRAME_HEAD + frame)) == NULL)
			return -1;
		end = last && sent + frame == n;
		q = http2_put_head(q, (uint32_t)frame, HTTP2_DATA, end ? HTTP2_F_END_STREAM : 0, st->id);
		memcpy(q, p + sent, frame);
		http2_wrote(h, HTTP2_FRAME_HEAD + frame);
		st->send_window -= (int32_t)frame;
		h->send_window -= (int32_t)frame;
		/* Each may be answered by WINDOW_UPDATE of the stream, and of the connection. */
		h->frames_sent += 2;
		st->ended |= end;
		sent += frame;
	}
	if (sent > 0) {
		st->held_since = 0;
		/* The others that wait for room have theirs first. */
		list_remove(&st->link);
		list_append(&h->streams, &st->link);
	}
	return (ssize_t)sent;
}

void
http2_note_held(struct http2_stream *st)
{
	if (st->held_since == 0)
		st->held_since = http2_now_of(st);
	http2_stall_watch(st->conn);
}

void
http2_set_starved(struct http2_stream *st, bool starved)
{
	if (st->starved == starved)
		return;
	st->starved = starved;
	st->conn->starved += starved ? 1u : (unsigned)-1;
}

ssize_t
http2_send_some(struct http2_stream *st, const char *p, size_t n)
{
	ssize_t sent = put_data(st, p, n, false);

	if (sent < 0)
		return sent;
	http2_set_starved(st, (size_t)sent < n);
	if (st->starved && http2_window_of(st) == 0)
		http2_note_held(st);
	return sent;
}

/* The answer's next bytes; what does not go now is held. */
bool
http2_send_or_hold(struct http2_stream *st, struct str data, bool last)
{
	ssize_t sent = buf_len(&st->held) > 0 ? 0 : put_data(st, data.p, data.n, last);

	if (sent < 0)
		return false;
	if ((size_t)sent == data.n)
		return true;
	st->held.max = buf_len(&st->held) + data.n - (size_t)sent;
	if (!buf_append(&st->held, data.p + sent, data.n - (size_t)sent))
		return false;
	st->conn->held += data.n - (size_t)sent;
	http2_note_held(st);
	return true;
}

/* All of the answer has come: its end follows what is held. */
bool
http2_send_end(struct http2_stream *st)
{
	struct http2_conn *h = st->conn;
	char *p;

	st->ending = true;
	if (st->ended || buf_len(&st->held) > 0)
		return true;
	if (buf_len(&st->trailers) > 0)
		return http2_send_block(st, buf_str(&st->trailers), true, true) > 0;
	if ((p = http2_reserve(h, HTTP2_FRAME_HEAD)) == NULL)
		return false;
	http2_put_head(p, 0, HTTP2_DATA, HTTP2_F_END_STREAM, st->id);
	http2_wrote(h, HTTP2_FRAME_HEAD);
	st->ended = true;
	return true;
}

/* The windows have opened, perhaps: what is held goes on, and after it the end. */
void
http2_push_held(struct http2_stream *st)
{
	struct str all = buf_str(&st->held);
	ssize_t sent = put_data(st, all.p, all.n, st->ending && buf_len(&st->trailers) == 0);

	if (sent <= 0)
		return;
	st->conn->held -= (size_t)sent;
	buf_consume(&st->held, (size_t)sent);
	if (buf_len(&st->held) > 0) {
		http2_note_held(st);	/* by a window of a few bytes it is no less shut */
		return;
	}
	buf_free(&st->held);
	if (st->ending)
		(void)http2_send_end(st);
}

/* -- the request --------------------------------------------------------------------- */

bool
http2_stream_take(struct http2_stream *st, const char *p, size_t n)
{
	static const char gap[HTTP2_CHUNK_GAP];

	st->in.max = buf_len(&st->in) + n + sizeof(gap);
	if (st->chunked && buf_len(&st->in) == 0 && n > 0 && !buf_append(&st->in, gap, sizeof(gap)))
		return false;
	return buf_append(&st->in, p, n);
}

/* What has come, as HTTP/1 frames it: one chunk, and the end if that has come.  False: memory is out. */
static bool
compose_body(struct http2_stream *st, struct str *text)
{
	struct str trailers = buf_str(&st->in_trailers);
	char line[HTTP1_CHUNK_LINE];
	size_t data = buf_len(&st->in), begin = 0, k;

	*text = buf_str(&st->in);
	if (!st->chunked)
		return true;
	st->in.max = data + trailers.n + 16;
	if (data > 0) {
		data -= HTTP2_CHUNK_GAP;
		k = http1_chunk_line(data, line);
		begin = HTTP2_CHUNK_GAP - k;
		memcpy(st->in.data + st->in.start + begin, line, k);
		if (!buf_append(&st->in, "\r\n", 2))
			return false;
	}
	if (st->recv_done && (!buf_append(&st->in, "0\r\n", 3) || !buf_append(&st->in, trailers.p, trailers.n) ||
			      !buf_append(&st->in, "\r\n", 2)))
		return false;
	*text = buf_str(&st->in);
	text->p += begin;
	text->n -= begin;
	return true;
}

/* The window of a stream that uses it up fast is larger, but for what is left to others; of one that does not it is the usual one
 * again, as when the connection's is. */
static void
fit_stream_window(struct http2_stream *st)
{
	uint32_t all = st->conn->recv_size, most = all > 2 * HTTP2_WINDOW_DEFAULT ? all - HTTP2_WINDOW_DEFAULT : HTTP2_WINDOW_DEFAULT;
	uint32_t size = st->recv_size;
	int pace = http2_pace_count(&st->recv_pace, st->recv_owed, size, http2_now_of(st));

	if (pace > 0)
		size = 2 * size < most ? 2 * size : most;
	else if (pace < 0)
		size = HTTP2_WINDOW_DEFAULT;
	if (size > most)
		size = most;
	if (size < st->recv_size && st->recv_size - size > st->recv_owed)
		size = st->recv_size - st->recv_owed;
	st->recv_owed += size - st->recv_size;
	st->recv_size = size;
}

/* The backend has them. */
void
http2_credit_body(struct http2_stream *st)
{
	struct http2_conn *h = st->conn;
	uint32_t n = st->unread;

	st->unread = 0;
	http2_credit(h, n);
	if (st->recv_done)
		return;
	st->recv_owed += n;
	if (st->recv_owed >= HTTP2_OWED_LEAST) {
		char *p;

		fit_stream_window(st);
		if (st->recv_owed == 0 || (p = http2_reserve(h, HTTP2_WINDOW_UPDATE_BYTES)) == NULL)
			return;
		http2_put_window_update(p, st->id, st->recv_owed);
		http2_wrote(h, HTTP2_WINDOW_UPDATE_BYTES);
		st->recv_window += (int32_t)st->recv_owed;
		st->recv_owed = 0;
	}
}

enum pump_result
http2_read_body(struct http_stream *s, struct body_pump *up, struct io *backend)
{
	struct http2_stream *st = http2_stream_of(s);
	enum pump_result result = PUMP_OK;
	struct str text;
	size_t taken;

	if (relay_flush(&up->relay, backend, &http2_worker(st->conn)->buffers) != RELAY_OK)
		return PUMP_DESTINATION_FAILED;
	if (!pump_is_blocked(up) && !pump_has_all(up) && (buf_len(&st->in) > 0 || st->recv_done)) {
		if (!compose_body(st, &text))
			return PUMP_NO_MEMORY;
		if (text.n > 0)
			result = pump_pass(up, (char *)(uintptr_t)text.p, text.n, backend, &taken);
		buf_free(&st->in);
	}
	if (result == PUMP_OK && !pump_is_blocked(up) && buf_len(&st->in) == 0)
		http2_credit_body(st);
	return result;
}
