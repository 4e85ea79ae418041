/* client.h - one HTTP/1 client connection: reads requests, has an exchange for
 * each, one after the other.  It has no color; its exchanges do.
 * Born in client_new(), ends once in client_end(), freed at the end of the
 * loop turn.  While it waits for a request it holds no buffer.
 * Thread: the owning worker. */
#ifndef DATA_CLIENT_H
#define DATA_CLIENT_H

#include "base/buf.h"
#include "data/admit.h"
#include "data/queue.h"
#include "data/session.h"
#include "proto/http1_head.h"

#define CLIENT_MAGIC 0x636c6965u

struct exchange;
struct http_answer;
struct listener;
struct upstream;

/* WAITING: for a place in the service.  READING: for a request, or for the rest of its head.  BUSY: an exchange is under
 * way.  LINGERING: it was told goodbye; what it still sends is thrown away, or
 * the kernel's reset would overtake our last answer (RFC 9112 section 9.6). */
enum client_state { CLIENT_WAITING, CLIENT_READING, CLIENT_BUSY, CLIENT_LINGERING, CLIENT_ENDED };

struct client {
	uint32_t magic;
	uint8_t state;	/* enum client_state */
	uint8_t entrance;
	bool keep;	/* may bring another request */
	bool close_requested;	/* it asked for nothing to follow, and sent all of its request */
	bool eof;	/* it will say no more */
	bool running;	/* run() or read_request() is on the stack */
	bool tls;	/* it came by TLS */
	bool shutdown_pending;	/* LINGERING: TLS's close_notify waits for room */
	bool timed;	/* the deadline is that of a head that began */
	bool blank;	/* what came last was nothing but empty lines */
	char ip[INET6_ADDRSTRLEN];	/* its address as text, without port */
	uint32_t requests;	/* begun so far */
	struct io io;
	union {
		struct permit permit;
		struct {	/* its first members */
			struct lane *lane;	/* of its last request; the listener's before the first */
			struct endpoint peer;	/* the client, or whom a PROXY header named */
		};
	};
	struct listener *listener;
	struct lane *shown;	/* whose certificate it was shown; NULL: it came without TLS */
	struct exchange *exchange;	/* while BUSY */
	struct upstream *own;	/* the connection to a backend that served it last, or NULL */
	union {
		struct link link;	/* the lane's clients, or the worker's ended */
		struct waiter waiter;	/* WAITING, in the same place */
	};
	struct deadline deadline;	/* of the head, of keep-alive, of lingering */
	struct buf in;	/* read, but not of the exchange: the next requests */
	struct http1_head *head;	/* owned: of a request whose head is not whole */
	double born, begun;	/* worker->now: accepted; first byte of the request, or since when it lingers */
	struct endpoint destination;	/* which that header named; family 0: here */
};
_Static_assert(offsetof(struct client, peer) == offsetof(struct client, permit.client), "one and the same");

struct handshake_facts;

/* Takes over io and the permit, whatever happens; *io is closed on return.  The
 * service is asked here. */
void client_new(struct listener *li, struct io *io, struct handshake_facts *facts);
/* Once, by the one reason it has; an exchange that is under way ends with it. */
void client_end(struct client *c, enum ending ending);
/* Its exchange is over and the answer sent: the next request, or goodbye. */
void client_next(struct client *c);
/* Nothing follows: says so and waits a moment for the client to read it. */
void client_linger(struct client *c);
/* Teal's own answer to a request that gets no exchange, or to one whose head is not whole (h NULL).  The
 * client reads on then, or lingers, or has ended. */
void client_answer(struct client *c, struct lane *l, const struct http1_head *h, const struct http_answer *a);

/* Asks that service, unless it has admitted the client already; false with
 * *why when it may not come in. */
MUST_USE bool client_enter(struct client *c, struct lane *l, enum ending *why);
/* What took over the address that it came to is its listener from now on, where it may be:
 * then its next request goes by the names there.  False: this request is its last. */
bool client_follow(struct client *c);
/* Of one between two requests: the same, and it leaves its lane, where it then can.  False:
 * it stays. */
bool client_move_on(struct client *c);
/* Its exchange is over, but the socket goes on as something else, and the permit
 * with it. */
void client_release(struct client *c);
/* Bytes behind the request under way: kept for the next one.  False:
 * too many, or memory is out. */
MUST_USE bool client_stash(struct client *c, const char *p, size_t n);
/* Bytes of the next request that were read together with the end of this one's
 * body, at most a relay's buffer full: whatever becomes of this one they come
 * first.  False: memory is out, and the client may bring no other request. */
MUST_USE bool client_put_back(struct client *c, const char *p, size_t n);
/* Sets what is waited for, while BUSY. */
void client_want(struct client *c, bool read, bool write);
/* It has said all that it will, and nothing of that is left. */
static inline bool
client_is_last(const struct client *c)
{
	return c->eof && buf_len(&c->in) == 0;
}
void client_expired(struct deadline *d);
/* Seconds since it began to wait for a request; 0: it does not. */
double client_idle(const struct client *c, double now);

#endif
