/* peer.h - the other generation of teald during an upgrade, seen as one more
 * engine of every service that both have: what it is told it obeys, what it holds
 * is counted, and nothing is said to be applied or drained before it is so there,
 * too.
 *
 * In the successor the engine is called "predecessor", in the predecessor
 * "successor".  Who owns the line (app/teald/succession) passes messages on as they
 * come and sends those that are given to it, in their order.
 * Thread: main. */
#ifndef CONTROL_PEER_H
#define CONTROL_PEER_H

#include "base/buf.h"
#include "control/control.h"
#include "control/peer_wire.h"

struct peer;

/* What the other one is. */
enum peer_role { PEER_IS_PREDECESSOR, PEER_IS_SUCCESSOR };

/* Sends fields as one message, and keeps them while the line is full: it never
 * fails; what cannot be sent any more is dropped, and peer_gone() follows, not from
 * inside.  The bytes are the caller's. */
typedef void peer_send_fn(void *arg, enum peer_type type, const struct buf *fields);

/* Aborts when memory is out.  Control has been opened (of a successor: control_prepare()). */
struct peer *peer_new(struct control *c, enum peer_role other, peer_send_fn *send, void *arg);
/* Leaves all services; *pp is NULL on return.  Before control_close(). */
void peer_free(struct peer **pp);

/* A message of a type from PEER_STATE_PROCESS on; others are ignored, as is what
 * makes no sense: it may come from another version. */
void peer_on_message(struct peer *p, enum peer_type type, struct str row);
/* The line has ended: the other one holds nothing any more. */
void peer_gone(struct peer *p);

/* -- in the predecessor ------------------------------------------------------- */

/* Flips, commands that write and look-ups of a gate are over: there is nothing
 * between a write and its application.  Otherwise *why is a short sentence. */
bool peer_is_settled(const struct control *c, const char **why);
/* Sends what this teald knows; PEER_YOURS is the caller's to send after it.  The
 * store is closed, no worker accepts.  From now on the successor decides: its
 * records are obeyed as the store's were, no drain begins by itself, and the
 * log leaves to it what is said of services.  Again after a successor died: the
 * next one gets it anew. */
void peer_yield(struct peer *p);
/* A store that is fed by the successor and refuses writes: the owner puts it in
 * c->store's place before peer_yield(), and closes it as any store. */
struct store *peer_store(struct peer *p);
/* Commands that are not answered yet, as the owner counts them: the successor's
 * status tells. */
void peer_set_commands(struct peer *p, unsigned n);
/* Last counters, before the exit. */
void peer_say_goodbye(struct peer *p);
/* The engine that stands for the successor: what is left here is the sum over the others. */
struct engine *peer_engine(struct peer *p);
/* Client connections and commands that are still here. */
uint64_t peer_left(const struct peer *p);

/* -- in the successor --------------------------------------------------------- */

/* PEER_YOURS has come: services take what was said of them, the engine joins.
 * Then control_begin() opens the store. */
void peer_begin(struct peer *p);

/* What the other one still holds, as it last said. */
struct peer_holds {
	uint64_t clients;	/* connections of any kind */
	uint64_t commands;	/* admin commands under way */
};
struct peer_holds peer_holds(const struct peer *p);

#endif
