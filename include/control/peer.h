/* peer.h - the other generation of teald during an upgrade, seen as one more
 * engine of every service that both have: what it is told it obeys, what it holds
 * is counted, and nothing is said to be applied or drained before it is so there,
 * too.
 *
 * In the successor that engine is called "predecessor", in the predecessor
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

/* Sends the row as one message, now or later: it never fails.  What cannot be sent
 * any more is dropped, and peer_gone() follows, not from inside. */
typedef void peer_send_fn(void *arg, enum peer_type type, const struct buf *row);

/* Control is open, or prepared; one peer at a time.  Aborts when memory is out. */
struct peer *peer_new(struct control *c, enum peer_role other, peer_send_fn *send, void *arg);
/* It leaves all services, as by peer_gone(); *pp is NULL on return.  Before
 * control_close().  After a successor that died another peer is made for the next. */
void peer_free(struct peer **pp);

/* A message of the types of peer_wire.h.  Any others, and what makes no sense, are
 * ignored: it may come from another version. */
void peer_on_message(struct peer *p, unsigned type, struct str row);
/* The line has ended: the other one holds nothing any more. */
void peer_gone(struct peer *p);

/* -- in the predecessor ------------------------------------------------------- */

/* Nothing is between a write and its application: no flip, change of nodes or reload
 * is under way.  Otherwise *why is a short sentence. */
bool peer_is_settled(const struct control *c, const char **why);
/* Sends what this teald knows; the caller sends its "yours" behind it.  Before: workers
 * have stopped to accept, the store is closed, and control_change_store() has put
 * store_successor_new() in its place, where it stays.  From now on the successor decides: its
 * records are obeyed as the store's were, no drain begins by itself, and what is
 * told of services is told by the successor alone. */
void peer_yield(struct peer *p);
/* Last counters, before the exit. */
void peer_say_goodbye(struct peer *p);
/* Client connections that are still here. */
uint64_t peer_left(const struct peer *p);

/* -- in the successor --------------------------------------------------------- */

/* The predecessor has yielded: services take what was said of them and are published,
 * the engine joins.  control_begin() follows, which opens the store. */
void peer_begin(struct peer *p);

/* -- of both ----------------------------------------------------------------------- */

/* An engine is about to end, before control does: what it has counted as a whole stays. */
void peer_keep_engine(struct control *c, const struct engine *e);

/* -- upcalls of control ------------------------------------------------------------ */

/* The service's `acked` has grown; p may be NULL. */
void peer_on_acked(struct peer *p, struct service_ctl *ctl);
/* What was said of a pool's nodes has changed; p may be NULL. */
void peer_on_nodes(struct peer *p, const char *pool, const struct overlay *now);

#endif
