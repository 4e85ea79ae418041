/* handover_private.h - what handover*.c share: a worker's channels, and what is on its way.
 * Thread: the owning worker. */
#ifndef DATA_HANDOVER_PRIVATE_H
#define DATA_HANDOVER_PRIVATE_H

#include "data/handover.h"

/* Of one service, at the moment when main let its workers take. */
struct book_service {
	const struct service *service;
	struct backend **backends;	/* references */
	size_t n;
};

/* The backends that are in no snapshot, too (a drained node's): what is handed over may be on
 * one.  Immutable, shared by the workers. */
struct handover_book {
	_Atomic uint32_t refs;
	size_t n;
	struct book_service services[];	/* [slot]; service NULL: none */
};

void handover_book_unref(struct handover_book **bp);

/* One that is on its way: in the old process it is offered, in the new one it is made, and not
 * answered for. */
struct offer {
	struct link link;	/* the channel's, oldest first: answers come in that order */
	uint64_t id;
	const struct handover_kind *kind;
	struct link *object;	/* new: NULL: it is refused, and was never made */
	enum handover_no no;	/* of one that is refused */
};

struct channel {
	struct link link;	/* the worker's */
	struct worker *worker;
	const struct handover_kind *const *kinds;	/* handover_kinds */
	ev_io watcher;
	bool gives;	/* else it takes */
	/* A message in pieces: as far as it has come, or it and how much of it is sent. */
	struct buf fields;
	/* The old process'. */
	struct link offers;
	unsigned n_offers;
	uint64_t last_id;
	struct offer *sending;	/* the last of them, some pieces of which are not sent; NULL: none */
	size_t sent;	/* of fields */
	struct handover_fds fds;	/* of sending; they stay the object's */
	bool more;	/* there is more to offer in the next turn */
	bool stuck;	/* for want of memory or of descriptors on their way: at the next tick again */
	double not_before;	/* worker->now; something was refused for want of means */
	struct mail *told;	/* for main, when all was looked at; NULL: it is sent */
	/* The new one's. */
	struct offer owed;	/* an answer for which there was no room */
	bool owes;
};

struct handover {
	struct link channels;
	struct handover_book *book;	/* NULL: none */
	/* Of backends that are none of their service's any more: one object for each. */
	struct stranger {
		const struct service *service;
		struct backend *backend;
	} *strangers;
	size_t n_strangers;
	unsigned last_slot;	/* of the lane that was found last */
};

/* Main, which has the memory: consumes fd, and told, which is for main and NULL where the worker takes. */
struct channel *channel_new(int fd, struct mail *told, const struct handover_kind *const *kinds);
/* A worker's from now on, which has a w->handover. */
void handover_open(struct worker *w, struct channel *ch);
/* Consumes the caller's reference. */
void handover_obey_book(struct worker *w, struct handover_book *book);
/* Its book, and those that are in none. */
void handover_forget_known(struct handover *h);

#endif
