/* http2_conn.h - a client's connection that speaks HTTP/2 (RFC 9113): frames, settings, windows, GOAWAY.
 * It belongs to a struct http_conn, which has the socket, the place and the lane; its requests are streams
 * (data/http2/http2_stream.h), each with a color of its own.  A flip does nothing to it.
 * Reads into the worker's buffer; what it writes gathers in one queue, which is flushed when the loop turn is over.
 * Its memory: bodies in the queue and what windows hold back, a quarter of http2.max_memory each, beyond which backends
 * are not read (heads of answers, and what no stream waits for, have more of the queue); and the request bodies that
 * its windows let come, the other half.  Where those move and no answer waits the window of the connection grows to three quarters,
 * at the cost of the other two, and the window of each stream whose client fills it to all but what is left for others.  Heads and trailers of requests under way may be http2.max_memory again.  Idle it holds
 * none of that.
 * Thread: the owning worker. */
#ifndef DATA_HTTP2_CONN_H
#define DATA_HTTP2_CONN_H

#include "base/buf.h"
#include "base/free_list.h"
#include "data/http/http_conn.h"
#include "proto/hpack_decoder.h"
#include "proto/hpack_encoder.h"
#include "proto/http2_cache.h"
#include "proto/http2_frame.h"
#include "net/ws_key.h"

#define HTTP2_CONN_MAGIC 0x68326332u
/* Streams that have ended and are remembered, for their frames may still come: as many as may be reset in one go, those under
 * way and those that are refused, or the client would be at fault for what it could not know.  At most so many
 * besides those under way. */
#define HTTP2_GONE_RESETS 1024

struct http2_stream;

/* What a client may do so often in a second, or in one go and then so often (data/http2/http2_read.c). */
enum http2_rate {
	HTTP2_RATE_RESETS,	/* streams reset by the client */
	HTTP2_RATE_FAULTS,	/* streams that we had to reset */
	HTTP2_RATE_PING,
	HTTP2_RATE_SETTINGS,
	HTTP2_RATE_WINDOW,
	HTTP2_RATE_PRIORITY,
	HTTP2_RATE_EMPTY,	/* DATA without data, frames of types that mean nothing */
	HTTP2_RATES
};

struct http2_rates {
	double since;	/* worker->now: the tokens that are used since then */
	uint16_t used[HTTP2_RATES];
};

/* How fast a window is used up. */
struct http2_pace {
	uint32_t bytes;	/* were taken ... */
	double since;	/* ... since then: worker->now */
};

struct http2_conn {
	uint32_t magic;
	uint64_t number;	/* of the worker's: the cache knows it by that */
	bool settled;	/* preface and first SETTINGS have come */
	bool leaving;	/* a first GOAWAY was sent, or the last */
	bool left;	/* the last one was: no stream above last_id */
	bool broken;	/* by a fault of the client's: what it sends is not looked at */
	bool closing;	/* nothing follows what is in the queue */
	bool prefaced;	/* the client's preface has come */
	bool pending;	/* what was read before it spoke HTTP/2 is not looked at yet */
	bool doomed;	/* it cannot go on, and is closed when the turn is over */
	struct http_conn *c;
	struct link streams;	/* http2_stream.link; who has sent data last is behind the others */
	struct link ready;	/* http2_stream.ready: to be gone on with, first come first */
	struct link due;	/* in the worker's list: there is something to be flushed */
	uint32_t n_streams;	/* under way */
	uint32_t starved;	/* of them, those whose answer waits for room */
	uint32_t last_id;	/* the highest that was used */
	int32_t send_window;
	int32_t recv_window;	/* what may still come */
	uint32_t recv_owed;	/* was taken, and is not told yet */
	uint32_t recv_size;	/* its window: recv_window, recv_owed and what is not taken yet */
	struct http2_pace recv_pace;
	uint32_t frames_sent;	/* WINDOW_UPDATE frames that may answer our DATA */
	struct http2_settings peer;
	struct hpack_decoder decoder;
	struct hpack_encoder encoder;
	struct buf out;	/* frames that the socket has not taken */
	struct buf block;	/* of HEADERS whose block goes on */
	uint32_t block_id;	/* its stream; 0: none */
	uint8_t block_flags, continuations;
	size_t held;	/* bytes of answers that windows hold back, of all streams */
	struct deadline stall;	/* while there is something to send */
	struct deadline trim;	/* while there are no streams */
	double progress;	/* worker->now: its socket took something last, or it had nothing to take */
	struct http2_rates rates;
	uint32_t *gone;	/* owned, from the first stream on: ids, doubled; the lowest bit: not reset by us */
	uint32_t gone_room, next_gone;
	size_t heads;	/* bytes of heads and trailers of all requests under way */
};

/* What the HTTP/2 connections of one worker share. */
struct http2_buffers {
	struct link due;	/* http2_conn.due */
	struct link ended;	/* http2_stream.link */
	struct free_list spare_streams;
	struct link upstreams_due;	/* http2_upstream.due */
	struct link upstreams_ended;	/* http2_upstream.link */
	struct link calls_ended;	/* http2_call.link */
	struct http2_cache *cache;
	uint64_t numbers;	/* http2_conn.number, the last one's */
	struct hpack_fields fields;	/* of the block that is being read */
	uint32_t fields_room;	/* of them */
	char *text;	/* the head of its request, or trailers */
	size_t room;
	bool keyed;	/* ws_key was not used yet */
	char ws_key[WS_KEY];	/* for the next WebSocket */
};

/* A window that is used up faster than this, in seconds, is too small for how far away the client may be, ... */
#define HTTP2_WINDOW_FAST 0.2
/* ... and one that takes longer than this may be the usual one. */
#define HTTP2_WINDOW_SLOW 2.0
/* Bytes of a window that are told by one WINDOW_UPDATE at least. */
#define HTTP2_OWED_LEAST (HTTP2_WINDOW_DEFAULT / 2)

/* NULL: it speaks HTTP/1. */
static inline struct http2_conn *
http2_of(const struct http_conn *c)
{
	return c->versed;
}

static inline struct worker *
http2_worker(const struct http2_conn *h)
{
	return h->c->lane->worker;
}

static inline const struct http2_config *
http2_config_of(const struct http2_conn *h)
{
	return &h->c->lane->config->http.http2;
}

/* Bytes of answers that may be in the queue, and so many that windows may hold back: what the connection's own window leaves. */
static inline size_t
http2_answers_most(const struct http2_conn *h)
{
	size_t all = http2_config_of(h)->max_memory, least = all / 8, left = all > h->recv_size ? (all - h->recv_size) / 2 : 0;

	return left > least ? left : least;
}

/* -- http2_conn.c -- */

/* So many bytes more of that window were taken.  1: it was used up fast.  -1: slowly.  0: neither, or not yet. */
int http2_pace_count(struct http2_pace *p, uint32_t n, uint32_t window, double now);

/* Room for n more bytes of the queue, which is flushed when the turn is over; NULL: it is too long, or memory is out, and
 * the connection ends then.  http2_wrote() follows. */
char *http2_reserve(struct http2_conn *h, size_t n);
void http2_wrote(struct http2_conn *h, size_t n);
/* It is looked at when the turn is over: what is in the queue, and streams that are ready. */
void http2_make_due(struct http2_conn *h);
/* It is told by GOAWAY and closed. */
void http2_conn_fault(struct http2_conn *h, enum http2_reason reason);
/* A stream less: what follows of that for the connection. */
void http2_conn_settle(struct http2_conn *h);
/* The second GOAWAY: streams that come now are refused. */
void http2_conn_say_last(struct http2_conn *h);
/* An answer to PING: of those behind our first GOAWAY, what the client had sent before it knew has come. */
void http2_conn_on_pong(struct http2_conn *h, const char *payload);
/* More may be sent: streams that wait for that go on. */
void http2_wake(struct http2_conn *h);
/* The client's bytes were taken: it may send so many more. */
void http2_credit(struct http2_conn *h, uint32_t n);
void http2_stall_watch(struct http2_conn *h);
void http2_stalled(struct deadline *d);
/* It has been without streams for a while: what it can do without is freed. */
void http2_trim(struct deadline *d);

/* -- http2_read.c -- */

/* Takes the frames at p[0..n) that are whole; returns how many bytes they were. */
size_t http2_take_frames(struct http2_conn *h, const char *p, size_t n);

/* -- http2_read.c: limits -- */

/* One of these more: false when it was one too many, and the connection is at fault. */
bool http2_rate(struct http2_conn *h, enum http2_rate rate);
/* For teal_http2_refused_total and the log. */
void http2_count(struct http2_conn *h, enum http2_reason reason);

#endif
