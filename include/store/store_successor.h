/* store_successor.h - the store of a teald that another one has taken over from: the
 * real one is the successor's, who says what is in it (control/peer.h).
 * Thread: main. */
#ifndef STORE_STORE_SUCCESSOR_H
#define STORE_STORE_SUCCESSOR_H

#include "store/store.h"

/* type: of the store that it replaces, "file" or "redis"; fleet: that one is a fleet's.
 * It tells nothing by itself: on_record() and on_nodes() are called by who hears from the
 * successor.  Writes are refused with E_STORE. */
struct store *store_successor_new(struct ev_loop *loop, const char *type, bool fleet);
/* The function by which refresh() asks the successor to read its store; NULL: it cannot be
 * asked, and a refresh() that waits ends with E_STORE. */
void store_successor_hear(struct store *s, void (*ask)(void *arg), void *arg);
/* It has read (OK), and the fleet is this one, or it could not.  Consumes what *f owns. */
void store_successor_read(struct store *s, enum err e, struct fleet *f);

#endif
