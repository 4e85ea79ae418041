/* http2_upstream.h - a connection to a backend that speaks HTTP/2 (RFC 9113), shared by the requests of one lane: each is a
 * call (data/http2/http2_call.h), a stream of its own color and client.
 * A lane has as many to a backend as the streams that it takes need, and closes one when the last call of a color without traffic
 * ends, or when it has had none for a while.
 * Until the backend's SETTINGS have come it is not there: what speaks something else is found out before a request is on its way.
 * Its memory: a queue of HTTP2_UPSTREAM_QUEUE and what no call waits for; of each call what its window lets come, 64 KiB, that its
 * client has not taken yet.  The connection's own window is credited as bytes come, so that a slow call stops no other.
 * Thread: the owning worker. */
#ifndef DATA_HTTP2_UPSTREAM_H
#define DATA_HTTP2_UPSTREAM_H

#include "base/buf.h"
#include "data/http/upstream.h"
#include "proto/hpack_decoder.h"
#include "proto/hpack_encoder.h"
#include "proto/http2_frame.h"

#define HTTP2_UPSTREAM_MAGIC 0x68327570u
/* Bytes of bodies that wait for its socket. */
#define HTTP2_UPSTREAM_QUEUE (256 * 1024)
/* What all calls together let come before it is read. */
#define HTTP2_UPSTREAM_WINDOW (1024 * 1024)
/* Of calls by their ids; a power of two. */
#define HTTP2_CALL_BUCKETS 64
/* Seconds between two looks at one. */
#define HTTP2_UPSTREAM_LOOK 5.0

struct http2_call;

/* CONNECTING, SHAKING (TLS), SETTLING: the preface is sent; the backend's SETTINGS are awaited.  OPEN.  ENDED: closed; the calls that
 * were its are told. */
enum http2_upstream_state {
	HTTP2_UP_CONNECTING,
	HTTP2_UP_SHAKING,
	HTTP2_UP_SETTLING,
	HTTP2_UP_OPEN,
	HTTP2_UP_ENDED,
};

struct http2_upstream {
	uint32_t magic;
	uint8_t state;	/* enum http2_upstream_state */
	bool leaving;	/* no further call; closed after the last one */
	bool doubtful;	/* one that was asked has not said a word for a while: no further call until it has */
	bool pinged;	/* an answer to PING is awaited */
	bool settled;	/* its first SETTINGS have come */
	struct io io;
	struct lane *lane;
	struct backend *backend;	/* one reference */
	struct link link;	/* in the lane's bucket, or the worker's ended */
	struct link due;	/* in the worker's list: there is something to be flushed */
	struct link calls;	/* http2_call.link */
	struct link by_id[HTTP2_CALL_BUCKETS];	/* http2_call.same: those that have an id */
	struct link ready;	/* http2_call.ready */
	uint32_t n_calls;
	uint32_t next_id;
	int32_t send_window;
	int32_t recv_window;	/* what may still come */
	uint32_t recv_owed;	/* has come, and is not told yet */
	struct http2_settings peer;
	struct hpack_decoder decoder;
	struct hpack_encoder encoder;
	struct buf in;	/* a frame that has not come whole */
	struct buf out;	/* frames that the socket has not taken */
	struct buf block;	/* of HEADERS whose block goes on */
	uint32_t block_id;	/* its stream; 0: none */
	uint8_t block_flags, continuations;
	unsigned tls_turn;	/* the lane's, as it was dialed */
	struct deadline look;
	double since;	/* worker->now: it was dialed; once it is open: the last call ended */
	double heard;	/* something came last */
	double asked;	/* the PING was sent */
	double counting;	/* control frames are counted since */
	unsigned control;	/* of them */
};

/* -- http2_upstream_pool.c: those of a lane -- */

/* One more call to b on a connection that has room for it, or is being made: *pending, it is there when the upstream's io is
 * writable.  NULL with errno when none could be made. */
struct upstream *http2_upstream_call(struct lane *l, struct backend *b, bool *pending);
/* There is one to b that takes another call now. */
bool http2_upstream_has(const struct lane *l, const struct backend *b);
/* A new connection that has agreed on HTTP/2 by ALPN: it is shared from now on, u is its first call.  False without memory. */
bool http2_upstream_adopt(struct upstream *u);

/* No more calls on connections: of a color that lost its traffic, to backends that the snapshot does not use any more, all. */
void http2_upstream_leave_color(struct lane *l, enum color color);
void http2_upstream_leave_unused(struct lane *l);
void http2_upstream_leave_all(struct lane *l);
/* The lane ends: those with calls, too. */
void http2_upstream_end_all(struct lane *l);
/* Closes one that has no call, because descriptors are out; false: there is none. */
bool http2_upstream_drop_one(struct lane *l);

/* -- http2_upstream.c -- */

/* Of a lane's look_clock. */
void http2_upstream_look(struct deadline *d);

/* -- the worker's turn is over -- */

/* Goes on with those that have something to be flushed; false: some still have. */
bool http2_upstream_flush(struct worker *w);
void http2_upstream_reap(struct worker *w);

/* -- between http2_upstream*.c and http2_call.c -- */

void http2_upstream_due(struct http2_upstream *h);
/* Room for n more bytes of the queue; NULL: it is too long, or memory is out, and the connection ends.  http2_upstream_wrote()
 * follows. */
char *http2_upstream_reserve(struct http2_upstream *h, size_t n);
void http2_upstream_wrote(struct http2_upstream *h, size_t n);
/* Bytes of a call that the queue takes now. */
size_t http2_upstream_room(const struct http2_upstream *h);
void http2_upstream_put_reset(struct http2_upstream *h, uint32_t id, enum http2_code code);
/* A fault of the backend's: it is told by GOAWAY, and the connection ends. */
void http2_upstream_fault(struct http2_upstream *h, enum http2_reason reason);
/* It has ended, by that error, errno. */
void http2_upstream_end(struct http2_upstream *h, int error, const char *words);
/* The backend's first SETTINGS have come. */
void http2_upstream_opened(struct http2_upstream *h);
/* It is being made for longer than connect_timeout: nothing may come of it any more. */
bool http2_upstream_is_late(const struct http2_upstream *h);
/* A call less. */
void http2_upstream_settle(struct http2_upstream *h);
/* A call was given up that had no answer: it may be that nothing comes any more. */
void http2_upstream_doubt(struct http2_upstream *h);
/* For the log: that was wrong with it. */
void http2_upstream_tell(const struct http2_upstream *h, const char *words);
/* No further call; it is closed when it has none. */
void http2_upstream_leave(struct http2_upstream *h);
void http2_upstream_free(struct http2_upstream *h);
/* Takes what its socket has. */
void http2_upstream_read(struct http2_upstream *h);

#endif
