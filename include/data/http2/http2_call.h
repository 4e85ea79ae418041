/* http2_call.h - one request to a backend on a shared connection of HTTP/2.  To its exchange it is an upstream like any other: the text of
 * an HTTP/1.1 request is written to its io, and that of the answer read from it; what travels are frames.
 * Born with its upstream, dies when that is closed, which resets the stream unless both halves are over; freed when the loop turn
 * is over.  Of an answer that is whole, by its length or as it has no body, the END_STREAM may come later: the call stays without its
 * upstream until then, for some seconds at most, because a reset would tell the backend that nothing came of what it still does.
 * Thread: the owning worker. */
#ifndef DATA_HTTP2_CALL_H
#define DATA_HTTP2_CALL_H

#include "data/http2/http2_upstream.h"
#include "proto/http1_body.h"
#include "proto/http2_client.h"

#define HTTP2_CALL_MAGIC 0x68326361u

struct http2_call {
	uint32_t magic;
	uint32_t id;	/* 0: its HEADERS are not sent */
	struct io_channel channel;
	struct http2_upstream *conn;
	struct upstream *u;	/* NULL: it is closed, and the end of the stream is awaited */
	struct link link;	/* the connection's calls, or the worker's ended */
	struct link same;	/* the connection's by_id */
	struct link ready;	/* the connection's */
	int wants;	/* EV_READ, EV_WRITE */
	int error;	/* errno; 0: none */
	int32_t send_window, recv_window;
	uint32_t recv_owed;	/* was taken, and is not told yet */
	bool local_done;	/* our half has ended */
	bool remote_done;	/* the backend's has */
	bool stopped;	/* it takes no more of the request */
	bool reset;	/* the backend has reset it, or knows that we did */
	bool head_request;
	bool seen;	/* a head has come, be it an interim one */
	bool answered;	/* the answer's own */
	bool bodyless, chunked, has_length;	/* of the answer */
	bool ended;	/* what ends a chunked answer is in `text`, or was */
	uint64_t left;	/* with has_length: what is to come */
	struct http1_body body;	/* of the request */
	double asked;	/* worker->now: its HEADERS were written */
	double finished;	/* the same: `u` was closed */
	struct buf lines;	/* trailers of the request */
	struct buf text;	/* of the answer: heads, and the end of chunks */
	struct buf data;	/* of its body */
	struct buf trailers;	/* of it: lines */
};

/* A new one on h for u; false without memory. */
MUST_USE bool http2_call_new(struct http2_upstream *h, struct upstream *u);
struct http2_call *http2_call_find(const struct http2_upstream *h, uint32_t id);
/* Something has changed: its exchange is told, if it waits for that; without one it ends with its stream. */
void http2_call_wake(struct http2_call *c);
/* Tells its exchange what it waits for. */
void http2_call_run(struct http2_call *c);
/* It is over, by that error; unseen: the backend has not looked at it.  words: what was wrong, or NULL. */
void http2_call_fail(struct http2_call *c, int error, bool unseen, const char *words);
/* One without upstream is reset, unless that is over. */
void http2_call_forget(struct http2_call *c);
/* A fault of the backend's in it. */
void http2_call_fault(struct http2_call *c, enum http2_reason reason);

/* Of the answer; what is wrong with it, or HTTP2_FINE. */
enum http2_reason http2_call_take_head(struct http2_call *c, const struct hpack_fields *fields, bool end);
enum http2_reason http2_call_take_data(struct http2_call *c, struct str data, uint32_t length, bool end);

#endif
