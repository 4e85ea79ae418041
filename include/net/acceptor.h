/* acceptor.h - accepts connections from one listening socket in bounded
 * batches, and pauses where there is nothing to accept them with.
 * Owned by a listener, which embeds it.  Thread: the loop's. */
#ifndef NET_ACCEPTOR_H
#define NET_ACCEPTOR_H

#include <ev.h>
#include <stdbool.h>

#include "net/addr.h"

struct acceptor;

/* What the owner says and gets. */
struct acceptor_calls {
	unsigned batch_least, batch_max;	/* connections in one turn of the loop */
	/* There is a place for one more, which is taken by this; false: this turn is
	 * over, and the owner has paused where the next would find none either. */
	bool (*has_place)(struct acceptor *a);
	/* fd is the owner's now. */
	void (*take)(struct acceptor *a, int fd, const struct addr *peer);
	/* The place was not used: e is 0 when no connection was queued, else why it
	 * could not be accepted (EMFILE, ENOMEM …), and then the owner pauses, or has
	 * given up what was missing and returns true: try again. */
	bool (*none)(struct acceptor *a, int e);
};

struct acceptor {
	ev_io watcher;	/* fd -1: closed */
	ev_timer pause;	/* until accepting is tried again */
	struct ev_loop *loop;
	const struct acceptor_calls *calls;
	unsigned batch;	/* how many to accept before asking the loop again */
	unsigned full_turn;	/* the last turn of the loop that filled it */
};

/* Nothing is accepted before acceptor_resume().  fd is consumed; -1: one that
 * is closed.  calls must outlive it. */
void acceptor_init(struct acceptor *a, struct ev_loop *loop, int fd, const struct acceptor_calls *calls);
static inline bool
acceptor_is_open(const struct acceptor *a)
{
	return a->watcher.fd >= 0;
}
/* Clients wait in the kernel's queue: until acceptor_resume(), or, seconds > 0,
 * so long. */
void acceptor_pause(struct acceptor *a, double seconds);
/* Harmless when nothing is paused, or closed. */
void acceptor_resume(struct acceptor *a);
/* Takes up to n of those that are queued, which have been promised a
 * connection; further ones have not. */
void acceptor_take_queued(struct acceptor *a, unsigned n);
/* Harmless when closed. */
void acceptor_close(struct acceptor *a);

#endif
