/* http2_private.h - what the files of a stream of HTTP/2 share; no other file includes it: http2_stream.c (what an exchange asks
 * of it, its life), http2_body.c (its two directions).
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

#endif
