/* upstream.h - a connection to a backend that serves one exchange after the
 * other, and the pool of those that serve none just now.
 * It is its last client's (`owner`) as long as no other one needs it; and for
 * good, once a login was offered or used that belongs to the connection (NTLM,
 * Negotiate): who came by it then would be taken for that client.
 * A pool belongs to a lane: no other worker, and no other service, uses its
 * connections.  Each holds one reference of its backend; places on the backend
 * (model/backend.h) are the exchanges', not the connections'; so is the descriptor,
 * which only while idle is the pool's.
 * Thread: the owning worker. */
#ifndef DATA_UPSTREAM_H
#define DATA_UPSTREAM_H

#include "data/http/http_lane.h"
#include "net/io.h"

#define UPSTREAM_MAGIC 0x75707374u

struct http_stream;
struct exchange;
struct pool;

/* FROZEN: it is on its way to another process, or from there (data/handover.h). */
enum upstream_state { UPSTREAM_CONNECTING, UPSTREAM_BUSY, UPSTREAM_IDLE, UPSTREAM_FROZEN, UPSTREAM_ENDED };

struct upstream {
	uint32_t magic;
	uint8_t state;	/* enum upstream_state */
	bool reused;	/* it has served before: the backend may close it any moment */
	bool bound;	/* a login belongs to it: it is its owner's alone */
	bool unseen;	/* by HTTP/2, and lost: the backend has not looked at what was asked */
	uint8_t reset;	/* by HTTP/2: the code by which the backend has ended it, of those that its client may be told; 0: it has not */
	int16_t grpc_status;	/* by HTTP/2: of the answer; < 0: it has not said one */
	bool has_length;	/* by HTTP/2: the answer's length is known, and is not in its head, because trailers may follow ... */
	uint64_t length;	/* ... it */
	const char *fault;	/* by HTTP/2: what was wrong with what the backend said; NULL: nothing */
	struct io io;
	struct lane *lane;
	struct backend *backend;	/* one reference */
	struct exchange *exchange;	/* NULL while idle */
	struct http_stream *owner;	/* whose `own` it is, or NULL */
	struct pool *pool;	/* while idle */
	struct link link;	/* idle: in its pool, among the shared or the bound; or the worker's ended */
	struct deadline deadline;	/* idle */
	unsigned tls_turn;	/* the lane's, as it was dialed */
	double since;	/* worker->now: idle, or dialed */
	double emptied;	/* worker->now: the last read took all that was in the socket; 0: it may not have */
	unsigned turn;	/* idle: of the loop, when it became so */
};

/* An idle connection to b that has been so for at most `age` seconds (HUGE_VAL:
 * however long) and on which nothing has come meanwhile: what lies in its socket
 * would be taken for the answer to the next request.  the client's own one, or one that it
 * may have by pool_reuse.  Made busy, and its own; NULL: dial. */
struct upstream *upstream_take(struct lane *l, struct backend *b, struct http_stream *s, double age);
/* The client's bound connection, if it is idle in this lane, to a backend of that color that
 * is still used; NULL: there is none. */
struct upstream *upstream_bound_to(const struct lane *l, const struct http_stream *s, enum color color);
/* It serves that client now. */
void upstream_own(struct upstream *u, struct http_stream *s);
/* The client ends, and what is bound to it. */
void upstream_disown(struct http_stream *s);
/* One without a connection, CONNECTING; NULL without memory. */
struct upstream *upstream_new(struct lane *l, struct backend *b);
/* Begins to connect.  NULL with errno when it failed at once; *pending: it is writable
 * when it has.  Its state is CONNECTING until the caller says otherwise. */
struct upstream *upstream_dial(struct lane *l, struct backend *b, bool *pending);
/* The exchange is over and left the connection clean: keeps it for the next,
 * or closes it when the pool is full or its time is over. */
void upstream_give(struct upstream *u);
/* Closes; freed when the loop turn is over. */
void upstream_close(struct upstream *u);
/* An idle one's time is over. */
void upstream_expired(struct deadline *d);

/* Closes idle connections: of a color that lost its traffic, ... */
void upstream_drop_color(struct lane *l, enum color color);
/* ... to backends that the snapshot does not use any more, ... */
void upstream_drop_unused(struct lane *l);
/* ... one, because descriptors are out; false: there is none, ... */
bool upstream_drop_one(struct lane *l);
/* ... all. */
void upstream_drop_all(struct lane *l);
void upstream_pools_free(struct lane *l);

/* -- on the way from one process to another (data/http/upstream_handover.c) -- */

/* The idle ones of the lane's i-th pool that any client may have; NULL: there are no more pools. */
struct link *upstream_idle_list(struct lane *l, unsigned i);
/* An idle one leaves its pool, and is FROZEN. */
void upstream_freeze(struct upstream *u);
/* FROZEN: one that was idle since then in another process, connected to the backend of that address, which is
 * spoken to plainly.  NULL: it could not wait here, or memory is out, and fd stays the caller's. */
struct upstream *upstream_adopt(struct lane *l, enum color color, struct str address, int fd, double since);
/* FROZEN: waits in a pool as before, or is closed. */
void upstream_thaw(struct upstream *u);

#endif
