/* mailbox.h - letters between threads.
 * Many senders, one receiver; sending never blocks and never fails.  Letters
 * from one sender arrive in the order sent.  The receiver's loop is woken
 * through libev's async watcher. */
#ifndef NET_MAILBOX_H
#define NET_MAILBOX_H

#include <ev.h>
#include <stdatomic.h>

struct mailbox;

/* The head of every letter; embed it first or use container_of(). */
struct mail {
	struct mail *next;
	/* Called on the receiver's thread; owns the letter from then on. */
	void (*deliver)(struct mail *m, void *receiver);
};

struct mailbox {
	_Atomic(struct mail *) newest;	/* a stack; reversed when taken */
	ev_async wake;
	struct ev_loop *loop;
	void *receiver;
};

/* On the receiver's thread (or before it runs).  receiver is handed to each
 * letter's deliver(). */
void mailbox_init(struct mailbox *box, struct ev_loop *loop, void *receiver);
/* Delivers at once what is inside; the receiver's thread only.  For a receiver that
 * waits without running the loop. */
void mailbox_empty(struct mailbox *box);
/* Stops listening; letters still inside are delivered first, those that they
 * bring about as well.  No other thread may send any more. */
void mailbox_close(struct mailbox *box);
/* Any thread; consumes the letter. */
void mailbox_send(struct mailbox *box, struct mail *m);

#endif
