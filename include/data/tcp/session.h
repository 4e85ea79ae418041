/* session.h - one TCP client and the backend it was given.
 * Born in session_new(), ends once in session_end(), freed at the end of the
 * loop turn.  Owns both sockets, holds one backend reference and a permit.
 * Thread: the owning worker. */
#ifndef DATA_SESSION_H
#define DATA_SESSION_H

#include "data/dial.h"

#define SESSION_MAGIC 0x73657373u

struct ws_frames;

struct session {
	uint32_t magic;
	uint32_t backends_turn : 1;	/* reached: the backend is to say or take something */
	uint32_t named : 1;	/* behind that, what its ClientHello asked for */
	uint32_t kept : 1;	/* by this process: another one would not take it */
	uint32_t proxy_protocol : 1;	/* a struct proxy_protocol_facts follows */
	uint32_t told : 1;	/* its WebSocket got a Close frame of ours */
	struct dial dial;	/* lane, permit, color, backend; its deadline is that of idling once it is reached */
	struct io client, server;
	struct relay up, down;	/* to the backend, to the client */
	float tls_seconds;	/* of the client's handshake, if it speaks TLS */
	double first_byte;	/* seconds from birth until the backend said something; < 0: it has not */
	struct ws_frames *frames;	/* owned: of `down`, where that is a WebSocket's; NULL: it is not, or not known */
};

/* Stands behind a session of a service with accept_from; others do without. */
struct proxy_protocol_facts {
	struct endpoint peer;	/* who connected to us; the session's own is the client */
	struct endpoint destination;	/* where the client had connected to; family 0: here */
};

/* NULL: there was no header to come. */
static inline struct proxy_protocol_facts *
proxy_protocol_of(struct session *s)
{
	return s->proxy_protocol ? (struct proxy_protocol_facts *)(void *)(s + 1) : NULL;
}

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
	struct io channel;	/* client, where that has no descriptor */
	struct str to_client, to_server;	/* what is on the way */
	struct relay *before;	/* what is held for the client before that: taken over */
	uint64_t bytes_out;	/* of to_client those that are the stream's: the last of them */
	bool websocket;
};
/* NULL without memory, and nothing is taken over.  session_start() follows. */
struct session *session_adopt(const struct session_legs *legs);
void session_start(struct session *s);

/* Takes over io and the permit, whatever happens; *io is closed on return. */
void session_new(struct listener *li, struct io *io, struct handshake_facts *facts);
/* Once, for every session, by the one reason it has. */
void session_end(struct session *s, enum ending ending);
/* Nothing moved for as long as lane->idle_clock says. */
void session_idled(struct deadline *d);
/* Seconds since bytes last moved, to the grain of its deadline list. */
double session_idle(const struct session *s, double now);
/* Of one that is named. */
const char *session_server_name(const struct session *s);
#endif
