/* http2_stream.h - one stream of a connection of HTTP/2: a request and its answer, which an exchange carries
 * as one of HTTP/1.
 * Born when the head of its request is whole; ends once in http2_stream_close(), freed when the loop turn is over.  It may
 * outlive its exchange, while windows hold back what is left of the answer.
 * Thread: the owning worker. */
#ifndef DATA_HTTP2_STREAM_H
#define DATA_HTTP2_STREAM_H

#include "data/http2/http2_conn.h"

#define HTTP2_STREAM_MAGIC 0x68327374u
/* Before the data of a chunk: room for its line. */
#define HTTP2_CHUNK_GAP HTTP1_CHUNK_LINE

struct http2_tunnel;

struct http2_stream {
	uint32_t magic;
	uint32_t id;
	struct http2_conn *conn;
	struct http_stream stream;
	struct link link;	/* the connection's streams, or the worker's ended */
	struct link ready;	/* the connection's */
	int32_t send_window, recv_window;
	uint32_t recv_owed;	/* taken, not told yet */
	uint32_t recv_size;	/* its window, when all is taken and told */
	struct http2_pace recv_pace;
	uint32_t unread;	/* counted against the connection's window, and not credited there yet */
	uint32_t heads;	/* counted in conn->heads */
	uint64_t left;	/* of a body with Content-Length: what is to come */
	bool has_length, chunked;
	bool recv_done;	/* the client has ended its half */
	bool headed;	/* the answer's head was sent */
	bool begun;	/* and what came with it: what follows waits for the lower mark of the queue */
	bool ending;	/* what is held, or trailers, are the last */
	bool ended;	/* our half is */
	bool peer_reset;	/* the client has reset it, or knows that we did */
	bool by_client;	/* the client did */
	enum http2_code refused;	/* its head is malformed: it is reset so, instead of an answer */
	bool starved;	/* waits for room (counted in conn->starved) */
	bool closed;
	bool undialed;	/* its exchange has not begun to dial */
	bool readable, writable;	/* why it is ready */
	double answered;	/* worker->now: its answer was whole, and its request is not yet; 0: otherwise */
	struct deadline rest;	/* then */
	double held_since;	/* worker->now: windows let nothing through since then; 0: they do */
	struct buf in;	/* of the request's body, not passed on yet; chunked: behind a HTTP2_CHUNK_GAP */
	struct buf in_trailers;	/* lines */
	struct buf held;	/* of the answer's body */
	struct buf trailers;	/* of the answer: lines */
	struct http2_tunnel *tunnel;	/* owned: it asked for a WebSocket (data/http2/http2_tunnel.h); NULL: it did not */
};

extern const struct http_stream_ops http2_stream_ops;

/* A new one of that connection; NULL without memory. */
struct http2_stream *http2_stream_new(struct http2_conn *h, uint32_t id);
struct http2_stream *http2_stream_find(struct http2_conn *h, uint32_t id);
/* Its frames end here; it has no exchange.  reset: by us, with that code, where the client does not know it. */
void http2_stream_close(struct http2_stream *st);
/* So many bytes of its head, or trailers, are kept for it. */
void http2_stream_count_head(struct http2_stream *st, size_t n);
/* One that is over: frames of it may still come.  reset: by us, so that they are no fault. */
void http2_stream_remember(struct http2_conn *h, uint32_t id, bool reset);
void http2_stream_reset(struct http2_stream *st, enum http2_code code);
/* A fault of the client's in it: it is reset, and what it has is over. */
void http2_stream_fault(struct http2_stream *st, enum http2_reason reason);
/* What has it, an exchange or a session, ends for that reason, and it is closed. */
void http2_stream_end(struct http2_stream *st, enum ending ending);
/* The client has reset it, or is gone. */
void http2_stream_abort(struct http2_stream *st, enum ending ending);
/* Its answer is whole, and the rest of its request has not come for a while. */
void http2_rest_expired(struct deadline *d);
/* Goes on with it by what has come. */
void http2_stream_run(struct http2_stream *st);
/* Windows let something of its answer through, or it has not begun. */
bool http2_stream_may_write(const struct http2_stream *st);
void http2_stream_ready(struct http2_stream *st, bool readable, bool writable);
/* Bytes of its request's body.  False: memory is out. */
MUST_USE bool http2_stream_take(struct http2_stream *st, const char *p, size_t n);
/* WINDOW_UPDATE, or a change of SETTINGS_INITIAL_WINDOW_SIZE; false: above 2^31-1. */
static inline bool
http2_window_add(int32_t *window, int64_t n)
{
	int64_t sum = *window + n;

	if (sum > HTTP2_WINDOW_MOST || sum < INT32_MIN)
		return false;
	*window = (int32_t)sum;
	return true;
}
void http2_put_reset(struct http2_conn *h, uint32_t id, enum http2_code code);

#endif
