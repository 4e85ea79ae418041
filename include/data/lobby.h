/* lobby.h - connections of which nobody knows yet for which service they are:
 * of a listener that several share, or whose clients first have to shake hands.
 * No service's limits count them, so they are counted here: by the largest
 * limits of those that share the listener.
 * One for each listener, for all workers.  Any worker's thread. */
#ifndef DATA_LOBBY_H
#define DATA_LOBBY_H

#include "model/ending.h"
#include "model/route.h"

struct lobby;

/* NULL where there is nothing to limit: a preview, or a listener whose clients
 * meet a service's own limits at once.  Both arguments outlive it.  Aborts when
 * memory is out. */
struct lobby *lobby_new(const struct config *config, const struct binding *b);
void lobby_free(struct lobby **lp);
/* False with *why when none of the services would have that client, or too many
 * are here already, of it or of all. */
MUST_USE bool lobby_enter(struct lobby *l, const struct addr *client, enum ending *why);
/* The same address: somebody's limits count it now, or it is gone. */
void lobby_leave(struct lobby *l, const struct addr *client);

#endif
