/* admit.h - who may come in, and what one connection holds for that: a struct
 * permit from the accept to the end, in whatever serves the connection then.
 * First, where it is not known yet for which service a connection is (of a
 * listener that several share, or before a TLS handshake), the listener's
 * limits count it, a struct admit: the largest of its services.  Then those of
 * the service do: networks, rate, places of one source, a place in the service,
 * or a slot in its queue (data/queue.h).  The preview entrance asks for the
 * networks only.
 * Thread: the owning worker; a struct admit is shared by all of them. */
#ifndef DATA_ADMIT_H
#define DATA_ADMIT_H

#include "data/endpoint.h"
#include "model/ending.h"
#include "model/route.h"

struct admit;
struct lane;
struct listener;

/* NULL where there is nothing to limit: a preview, or a listener whose clients
 * meet a service's own limits at once.  configs: [slot], those of the binding's
 * services; nothing of either is kept.  One reference, the caller's.  Aborts when
 * memory is out. */
struct admit *admit_new(const struct service_config *const *configs, const struct binding *b);
struct admit *admit_ref(struct admit *a);
/* Consumes the caller's reference, or NULL: *ap is NULL on return.  Any thread. */
void admit_unref(struct admit **ap);
/* Those who are counted by a, or NULL, may be counted on so: then admit_set() makes its
 * limits those of the binding. */
bool admit_fits(const struct admit *a, const struct service_config *const *configs, const struct binding *b);
void admit_set(struct admit *a, const struct service_config *const *configs, const struct binding *b);
/* Each of the listener's services keeps some clients out, by what its worker obeys. */
bool admit_is_selective(const struct listener *li);

/* Listeners that a worker may have. */
#define PERMIT_LISTENERS (1 << 17)

/* What a connection holds.  It moves with the connection, from a handshake to
 * a session or client and from a client to a session; the owner releases it before
 * it is freed. */
struct permit {
	struct lane *lane;	/* of the service whose it is, as far as that is known */
	struct endpoint client;	/* the peer, or whom a PROXY header named: before any limit of sources is asked */
	uint32_t listener : 17;	/* where it came in: its slot among the worker's; means nothing once that has no limits to be left */
	uint32_t prefix6 : 7;	/* source: by so many bits, less one, of an IPv6 address */
	uint32_t preview : 1;	/* that is a preview entrance */
	uint32_t admitted : 1;	/* by the service */
	uint32_t descriptors : 2;	/* of those set aside for connections; while it has any it is one of the process' clients */
	uint32_t listed : 1;	/* by the listener's limits: a place, and one of its source */
	uint32_t place : 1;	/* of the service */
	uint32_t source : 1;	/* of its address, in the service */
	uint32_t queued : 1;	/* a slot in the service's queue */
};

enum admitted { ADMIT_IN, ADMIT_WAIT, ADMIT_NO };

/* Of a connection just accepted, for whose two descriptors there was room. */
void permit_init(struct permit *p, const struct listener *li, const struct addr *peer);
/* From now on it has so many descriptors, at most two; with none it is no client of the process' any more.  False when there are no more: the worker
 * starves, and nothing has changed. */
bool permit_hold(struct permit *p, unsigned descriptors);
/* The listener's place, where its limits count: false with *why when there is
 * none, or none of the services would have that client. */
MUST_USE bool permit_enter(struct permit *p, enum ending *why);
/* The service's limits, instead of the listener's.  WAIT: a slot in the queue is
 * held, for a waiter.  NO: *why says so, and nothing of the service is held. */
MUST_USE enum admitted permit_ask(struct permit *p, enum ending *why);
/* For a peer that has yet to say, in a PROXY header, who the client is: a place,
 * if there is one.  False with *why when it would be in vain to wait for the
 * header.  permit_ask() follows. */
MUST_USE bool permit_reserve(struct permit *p, enum ending *why);
/* A client of a shared listener turns to that service: leaves the one before and
 * asks this one, without waiting.  False with *why: it is in none. */
MUST_USE bool permit_turn(struct permit *p, struct lane *l, enum ending *why);

/* It is of that listener from now on, which has the address that it came to: where the one
 * before counts it, that one does.  False: it has no place there, and nothing has changed. */
MUST_USE bool permit_follow(struct permit *p, const struct listener *li);
/* It leaves its service, and turns to another one, which it has yet to ask. */
void permit_part(struct permit *p, struct lane *l);

/* Takes a slot in the queue; false: that is full, or off. */
MUST_USE bool permit_queue(struct permit *p);
/* Gives up its place in the service: of one that waits for a backend. */
void permit_drop_place(struct permit *p);
/* It has left the queue, or its turn has come and with it a place. */
void permit_leave_queue(struct permit *p);
void permit_take_turn(struct permit *p);

/* Of a connection that another process had let in: lane, client, listener and flags say
 * what it held there, which it holds here from now on, whatever the limits; what is not limited
 * here is not held.  False, and nothing is, when there are not so many descriptors. */
MUST_USE bool permit_adopt(struct permit *p, unsigned descriptors);
/* Another process holds all of it now: gives it back here, and no place to those who wait. */
void permit_give_up(struct permit *p);

/* All that *from holds is the other's. */
void permit_move(struct permit *to, struct permit *from);
/* Tells the log and the tally of a client that is not served, accepted then
 * (worker->now); more: further members of the log line.  Gives back all but the descriptors. */
void permit_refuse(struct permit *p, enum ending why, double accepted, struct str more);
/* At each end of a connection: gives back what is still held; the second time, nothing. */
void permit_release(struct permit *p);

static inline bool
permit_is_empty(const struct permit *p)
{
	return p->descriptors == 0 && !p->listed && !p->place && !p->source && !p->queued;
}

#endif
