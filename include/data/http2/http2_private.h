/* http2_private.h - what the files of a stream of HTTP/2 share; no other file includes it: http2_stream.c (what an exchange asks
 * of it, its life), http2_body.c (its two directions), http2_tunnel.c (a WebSocket on it).
 * Thread: the owning worker. */
#ifndef DATA_HTTP2_PRIVATE_H
#define DATA_HTTP2_PRIVATE_H

#include <sys/types.h>

#include "data/http2/http2_stream.h"

static inline struct http2_stream *
http2_stream_of(const struct http_stream *s)
{
	struct http2_stream *st = container_of(s, struct http2_stream, stream);

	CHECK(st->magic == HTTP2_STREAM_MAGIC);
	return st;
}

static inline double
http2_now_of(const struct http2_stream *st)
{
	return http2_worker(st->conn)->now;
}

/* -- http2_body.c: the answer ------------------------------------------------------- */

/* A head as HTTP/1 has it, or with trailers the lines of those; returns the bytes of its frames, 0: it cannot be
 * sent. */
size_t http2_send_block(struct http2_stream *st, struct str text, bool trailers, bool end);
/* Bytes of DATA that the windows let through. */
size_t http2_window_of(const struct http2_stream *st);
/* Bytes that the connection's queue takes for the stream. */
size_t http2_queue_room(const struct http2_stream *st);
/* The answer's next bytes; what does not go now is held.  False: memory is out. */
MUST_USE bool http2_send_or_hold(struct http2_stream *st, struct str data, bool last);
/* What windows and the queue let through, and what is left is the caller's, to be sent when the stream is ready for writing: how
 * much went, -1: the connection is over. */
ssize_t http2_send_some(struct http2_stream *st, const char *p, size_t n);
/* It is to be made ready for writing when there is room, or not. */
void http2_set_starved(struct http2_stream *st, bool starved);
/* All of the answer has come: its end follows what is held.  False: memory is out. */
bool http2_send_end(struct http2_stream *st);
/* Windows let nothing of it through: watched for from now on. */
void http2_note_held(struct http2_stream *st);
/* The windows have opened, perhaps: what is held goes on, and after it the end. */
void http2_push_held(struct http2_stream *st);

/* -- and the request ----------------------------------------------------------------- */

/* The stream's read_body. */
enum pump_result http2_read_body(struct http_stream *s, struct body_pump *up, struct io *backend);
/* What has come of the body is taken: the client may send as much again. */
void http2_credit_body(struct http2_stream *st);

/* -- http2_stream.c ------------------------------------------------------------------ */

/* Its answer has gone out, all of it: it is closed, at the latest when its client has had time to end its half. */
void http2_finish_stream(struct http2_stream *st);

#endif
