/* http_conn.h - one client connection of HTTP.  Of HTTP/1 it reads requests, and has an exchange for
 * each, one after the other; it may turn out to speak another version (data/http/http_version.h), and
 * have many at once.  It has no color; its exchanges do.
 * Born in http_conn_new(), ends once in http_conn_end(), freed at the end of the
 * loop turn.  While it waits for a request it holds no buffer.
 * Thread: the owning worker. */
#ifndef DATA_HTTP_CONN_H
#define DATA_HTTP_CONN_H

#include "base/buf.h"
#include "data/admit.h"
#include "data/http/http_lane.h"
#include "data/http/http_version.h"
#include "data/http/stream.h"
#include "data/queue.h"
#include "data/tcp/session.h"
#include "proto/http1_head.h"

#define HTTP_CONN_MAGIC 0x636c6965u

struct http2_conn;
struct http_answer;
struct listener;

/* Of its stream. */
extern const struct http_stream_ops http1_stream_ops;

/* WAITING: for a place in the service.  READING: for a request, or for the rest of its head.  BUSY: an exchange is under
 * way.  VERSED: it speaks another version than HTTP/1.  LINGERING: it was told goodbye; what it still sends is thrown away, or
 * the kernel's reset would overtake our last answer (RFC 9112 section 9.6).
 * FROZEN: it is on its way to another process, or from there (data/handover.h), and in no list. */
enum http_conn_state {
	HTTP_CONN_WAITING,
	HTTP_CONN_READING,
	HTTP_CONN_BUSY,
	HTTP_CONN_VERSED,
	HTTP_CONN_LINGERING,
	HTTP_CONN_FROZEN,
	HTTP_CONN_ENDED
};

struct http_conn {
	uint32_t magic;
	uint8_t state;	/* enum http_conn_state */
	bool running;	/* http_conn_run() or http_conn_read() is on the stack */
	bool shutdown_pending;	/* LINGERING: TLS's close_notify waits for room */
	bool timed;	/* the deadline is that of a head that began */
	bool blank;	/* what came last was nothing but empty lines */
	bool offered;	/* to the process that follows this one, which refused it for now: another request comes first */
	struct io io;
	struct http_stream stream;	/* what its exchanges see; while BUSY there is one.  VERSED: what all have in common */
	union {
		struct permit permit;
		struct {	/* its first members */
			struct lane *lane;	/* of its last request; the listener's before the first */
			struct endpoint peer;	/* the client, or whom a PROXY header named */
		};
	};
	struct listener *listener;
	struct lane *shown;	/* whose certificate it was shown; NULL: it came without TLS */
	union {
		struct link link;	/* the lane's clients, or the worker's ended */
		struct waiter waiter;	/* WAITING, in the same place */
	};
	struct deadline deadline;	/* of the head, of keep-alive, of lingering */
	struct buf in;	/* read, but not of the exchange: the next requests */
	struct http1_head *head;	/* owned: of a request whose head is not whole */
	double born;	/* worker->now: accepted */
	struct http2_conn *versed;	/* owned: once it is VERSED; else NULL */
};
_Static_assert(offsetof(struct http_conn, peer) == offsetof(struct http_conn, permit.client), "one and the same");

struct handshake_facts;

/* Takes over io and the permit, whatever happens; *io is closed on return.  The
 * service is asked here. */
void http_conn_new(struct listener *li, struct io *io, struct handshake_facts *facts);
/* Once, by the one reason it has; an exchange that is under way ends with it. */
void http_conn_end(struct http_conn *c, enum ending ending);
/* Its exchange is over and the answer sent: the next request, or goodbye. */
void http_conn_next(struct http_conn *c);
/* Nothing follows: says so and waits a moment for the client to read it. */
void http_conn_linger(struct http_conn *c);
/* Teal's own answer to a request that gets no exchange, or to one whose head is not whole (h NULL): the
 * stream is over then. */
void http_conn_answer(struct http_conn *c, struct http_stream *s, struct lane *l, const struct http1_head *h,
		      const struct http_answer *a);
/* The same, written, of HTTP/1: the client reads on then, or lingers, or has ended. */
void http_conn_answered(struct http_conn *c, bool taken, bool close);

/* Asks that service, unless it has admitted the client already; false with
 * *why when it may not come in. */
MUST_USE bool http_conn_enter(struct http_conn *c, struct lane *l, enum ending *why);
/* What took over the address that it came to is its listener from now on, where it may be:
 * then its next request goes by the names there.  False: this request is its last. */
bool http_conn_follow(struct http_conn *c);
/* Of one between two requests: the same, and it leaves its lane, where it then can.  False:
 * it stays. */
bool http_conn_move_on(struct http_conn *c);
/* Its exchange is over, but the socket goes on as something else or in another process, and the
 * permit with it. */
void http_conn_release(struct http_conn *c);
/* Sets what is waited for, while BUSY. */
void http_conn_want(struct http_conn *c, bool read, bool write);
void http_conn_expired(struct deadline *d);
/* The version beside HTTP/1. */
const struct http_version *http_conn_version(const struct http_conn *c);
/* Seconds since it began to wait for a request; 0: it does not. */
double http_conn_idle(const struct http_conn *c, double now);

/* -- requests as they come (data/http/http1_read.c) -- */

/* Bytes kept of requests that came before their turn; a head that may be longer is kept whole. */
#define HTTP_AHEAD_MAX (64 * 1024)
/* READING for the first time: its first request is often here already. */
void http_conn_begin_reading(struct http_conn *c);
/* READING: the socket has something. */
void http_conn_read(struct http_conn *c);
/* READING: takes what is kept, request by request, as long as each is over at once, and waits for more. */
void http_conn_run(struct http_conn *c);
/* Of a client's requests. */
struct http1_limits http_conn_head_limits(const struct http_conn *c);
/* Ready for the first byte of a request, by the client's limits; in the worker's buffers. */
struct http1_head *http_conn_begin_head(struct http_conn *c);
/* Bytes behind the request under way: kept for the next one.  False:
 * too many, or memory is out. */
MUST_USE bool http_conn_stash(struct http_conn *c, const char *p, size_t n);
/* Bytes of the next request that were read together with the end of this one's
 * body, at most a relay's buffer full: whatever becomes of this one they come
 * first.  False: memory is out, and the client may bring no other request. */
MUST_USE bool http_conn_put_back(struct http_conn *c, const char *p, size_t n);

/* -- on the way from one process to another (data/http/http_conn_handover.c) -- */

/* A client of that listener, FROZEN: takes over io and the permit.  NULL without memory, and nothing is
 * taken over. */
struct http_conn *http_conn_make(struct listener *li, struct io *io, struct permit *p);
/* Between two requests, or with part of a head, or waiting for a place. */
bool http_conn_may_go(const struct http_conn *c);

#endif
