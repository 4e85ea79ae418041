/* session.h - one TCP client and the backend it was given.
 * Born in session_new(), ends once in session_end(), freed at the end of the
 * loop turn.  Owns both sockets, holds one backend reference and a permit.
 * Thread: the owning worker. */
#ifndef DATA_SESSION_H
#define DATA_SESSION_H

#include "data/admit.h"
#include "data/lane.h"
#include "data/queue.h"
#include "data/tried.h"
#include "net/io.h"

#define SESSION_MAGIC 0x73657373u

/* WAITING: for a place in the service, or for one on a backend; it has no color. */
enum session_state { SESSION_WAITING, SESSION_DIALING, SESSION_LIVE, SESSION_ENDED };

struct session {
	uint32_t magic;
	uint8_t state;	/* enum session_state */
	uint8_t entrance;
	uint8_t color;
	uint8_t tries;	/* connects begun on the present color */
	struct tried *tried;	/* whose connects failed; NULL: nobody's yet */
	struct io client, server;
	struct relay up, down;	/* to the backend, to the client */
	struct deadline deadline;	/* queue while waiting, connect while dialing, then idle */
	union {
		struct link link;	/* dialing, live, previews, or the worker's ended */
		struct waiter waiter;	/* waiting, in the same place */
	};
	struct backend *backend;	/* one reference; NULL before the first try */
	uint64_t epoch;	/* of the snapshot that chose the backend */
	double born, dialed;	/* worker->now of the accept and of the last connect */
	float connect_seconds;	/* from accept to reached backend; < 0: not reached */
	uint32_t retries : 18;	/* all connects but the first */
	uint32_t pauses : 8;	/* of retry_pause so far */
	uint32_t pausing : 1;	/* dialing: every backend refused, and is tried again later */
	uint32_t backends_turn : 1;	/* live: the backend is to say or take something */
	uint32_t named : 1;	/* behind that, what its ClientHello asked for */
	uint32_t proxied : 1;	/* a struct proxied follows */
	union {
		struct permit permit;
		struct {	/* its first members */
			struct lane *lane;
			struct endpoint peer;
		};
	};
};
_Static_assert(offsetof(struct session, peer) == offsetof(struct session, permit.client), "one and the same");

struct handshake_facts;

/* A client and a backend that are connected already: an HTTP exchange became a
 * stream of something else. */
struct session_legs {
	struct permit *permit;	/* taken over */
	enum entrance entrance;
	enum color color;
	uint64_t epoch;
	struct backend *backend;	/* borrowed */
	struct io *client, *server;	/* taken over */
	struct str to_client, to_server;	/* what is on the way */
	struct relay *before;	/* what is held for the client before that: taken over */
	uint64_t bytes_out;	/* of to_client those that are the stream's */
};
/* NULL without memory, and nothing is taken over.  session_start() follows. */
struct session *session_adopt(const struct session_legs *legs);
void session_start(struct session *s);

/* Takes over io and the permit, whatever happens; *io is closed on return. */
void session_new(struct io *io, struct handshake_facts *facts);
/* Begins (again) to reach a backend by the lane's present snapshot. */
void session_dial(struct session *s);
/* Once, for every session, by the one reason it has. */
void session_end(struct session *s, enum ending ending);
/* Its deadline passed. */
void session_on_deadline(struct deadline *d);
/* 0..1: its place in a spread drain. */
double session_place(const struct session *s);
/* Seconds since bytes last moved, to the grain of its deadline list. */
double session_idle(const struct session *s, double now);
/* Of one that is named. */
const char *session_server_name(const struct session *s);
void session_peer(const struct session *s, struct addr *out);
/* No backend is being reached yet, and the active color has changed: counts it
 * for the one it would be given now. */
void session_recolor(struct session *s);

#endif
