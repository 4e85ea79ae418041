/* deadline.h - timeouts without a heap: one list for each duration, in order
 * of expiry, so that arming and touching are O(1).
 * Coarse: a touch moves the link only when the last move is older than the
 * list's grain.  Times are seconds of the owner's clock, which must
 * not jump. */
#ifndef NET_DEADLINE_H
#define NET_DEADLINE_H

#include "base/list.h"

struct deadline {
	struct link link;
	double touched;	/* as of the last move */
};

typedef void deadline_fn(struct deadline *d);

struct deadline_list {
	struct link nodes;	/* least recently touched first */
	struct link since;	/* deadline_go_on()'s, in no order yet */
	double after;	/* seconds; 0: never expires */
	double grain;
	deadline_fn *expired;	/* for owners with several lists; else NULL */
};

static inline void
deadline_list_init(struct deadline_list *l, double after)
{
	list_init(&l->nodes);
	list_init(&l->since);
	l->after = after;
	l->expired = NULL;
	l->grain = after / 16;
	if (l->grain > 0.25 || after <= 0)
		l->grain = 0.25;
}

static inline void
deadline_init(struct deadline *d)
{
	list_init(&d->link);
}

/* Starts (or starts over) the clock. */
static inline void
deadline_arm(struct deadline_list *l, struct deadline *d, double now)
{
	list_remove(&d->link);
	d->touched = now;
	list_append(&l->nodes, &d->link);
}

/* One that was disarmed, here or in another process, goes on: its time runs since it was
 * touched.  It expires once deadline_sort() has found its place. */
static inline void
deadline_go_on(struct deadline_list *l, struct deadline *d)
{
	list_remove(&d->link);
	list_append(&l->since, &d->link);
}

/* Those that went on since the last call get their places, all in one go.  Without memory some
 * wait for the next call.  Before deadline_expired(). */
void deadline_sort(struct deadline_list *l);

static inline void
deadline_touch(struct deadline_list *l, struct deadline *d, double now)
{
	if (now - d->touched >= l->grain)
		deadline_arm(l, d, now);
}

static inline void
deadline_disarm(struct deadline *d)
{
	list_remove(&d->link);
}

/* The next one whose time is over, or NULL.  It is disarmed: whatever its owner does with it, none comes twice, which would be
 * a loop without an end. */
static inline struct deadline *
deadline_expired(struct deadline_list *l, double now)
{
	struct link *first = l->after > 0 ? list_first(&l->nodes) : NULL;
	struct deadline *d;

	if (first == NULL)
		return NULL;
	d = list_entry(first, struct deadline, link);
	if (now - d->touched < l->after)
		return NULL;
	deadline_disarm(d);
	return d;
}

#endif
