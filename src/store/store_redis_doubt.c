/* store_redis_doubt.c - writes whose answer never came: what a later reading says of them, or that nothing
 * ever will.  Thread: main. */
#include <stdlib.h>

#include "base/clock.h"
#include "store/store_redis.h"

static void
doubt_on_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
	(void)loop;
	(void)revents;
	store_redis_settle_doubts(container_of(t, struct store_redis, doubt_timer));
}

void
store_redis_watch_doubts(struct store_redis *s)
{
	if (ev_is_active(&s->doubt_timer))
		return;
	ev_timer_init(&s->doubt_timer, doubt_on_timer, DOUBT_SECONDS / 4, DOUBT_SECONDS / 4);
	ev_timer_start(s->loop, &s->doubt_timer);
}

bool
store_redis_is_ours(enum store_meaning means, const struct record *is, const struct record *wrote)
{
	if (is->epoch != wrote->epoch)
		return false;
	/* Each may be followed by the other at the same epoch. */
	if (means == STORE_CLAIM)
		return is->claim.on == wrote->claim.on &&
		       (!is->claim.on || (is->claim.at_us == wrote->claim.at_us &&
					  is->claim.until_us == wrote->claim.until_us &&
					  strcmp(is->claim.token, wrote->claim.token) == 0));
	if (means == STORE_HOLD)
		return record_same_hold(is, wrote);
	if (means == STORE_LOCK)
		return is->lock.on == wrote->lock.on &&
		       (!is->lock.on ||
			(is->lock.at_us == wrote->lock.at_us && strcmp(is->lock.by, wrote->lock.by) == 0));
	return is->color == wrote->color && is->share.idle == wrote->share.idle && is->at_us == wrote->at_us &&
	       strcmp(is->by, wrote->by) == 0;
}

/* What a reading says of a write in doubt; false: nothing yet. */
static bool
settle_doubt(const struct store_redis *s, const struct doubt *d, enum err *e, struct why *why)
{
	const struct record *is = &d->service->seen;
	bool read = s->read_at > d->since && d->service->seen_what == SEEN_RECORD && !d->same;

	if (read && store_redis_is_ours(d->means, is, &d->next)) {
		*e = OK;
		return true;
	}
	/* Another write took the place ours needed.  Two or more epochs on, ours
	 * may have been the first of them; a lock may have been there and be gone. */
	if (read && d->means == STORE_COLOR && is->epoch == d->expect_epoch + 1) {
		*e = why_set(why, E_CONFLICT, "it was changed by another command");
		return true;
	}
	/* By the clock of the server that was asked it can no longer be executed,
	 * and it was not.  Another server may merely not have heard of it. */
	if (read && is->epoch == d->expect_epoch && s->time_us > d->deadline_us &&
	    strcmp(d->where, redis_where(s->commands)) == 0) {
		*e = why_set(why, E_STORE, "Redis did not answer in time; nothing was written");
		return true;
	}
	if (clock_now() >= d->give_up) {
		*e = why_set(why, E_UNKNOWN,
			     "Redis did not say whether it wrote; see status when it is back, or repeat "
			     "with --expect=COLOR@EPOCH");
		return true;
	}
	return false;
}

/* What is known of one is known of all of its write. */
static bool
settle_doubts_of(const struct store_redis *s, uint64_t batch, enum err *e, struct why *why)
{
	bool settled = false;

	LIST_EACH(it, &s->doubts) {
		const struct doubt *d = list_entry(it, struct doubt, link);
		struct why what = { "" };
		enum err one;

		if (d->batch != batch || !settle_doubt(s, d, &one, &what))
			continue;
		/* One that is there proves all; and nothing is unknown that another of them tells. */
		if (!settled || one == OK || (*e == E_UNKNOWN && one != E_UNKNOWN)) {
			*e = one;
			*why = what;
		}
		settled = true;
	}
	return settled;
}

static void
answer_doubts(struct store_redis *s, uint64_t batch, enum err e, const struct why *why)
{
	struct link all;

	list_init(&all);
	LIST_EACH(it, &s->doubts) {
		if (list_entry(it, struct doubt, link)->batch != batch)
			continue;
		list_remove(it);
		list_append(&all, it);
	}
	LIST_EACH(it, &all) {
		struct doubt *d = list_entry(it, struct doubt, link);

		list_remove(it);
		d->done(d->arg, e, &d->service->record, why);
		store_redis_unhold(d->service);
		free(d);
	}
}

void
store_redis_settle_doubts(struct store_redis *s)
{
	uint64_t done = 0;

	/* In their order; what an answer leads to may change the list. */
	for (;;) {
		struct doubt *next = NULL;
		struct why why = { "" };
		enum err e;

		LIST_EACH(it, &s->doubts) {
			struct doubt *d = list_entry(it, struct doubt, link);

			if (d->batch > done && (next == NULL || d->batch < next->batch))
				next = d;
		}
		if (next == NULL)
			break;
		done = next->batch;
		if (settle_doubts_of(s, done, &e, &why))
			answer_doubts(s, done, e, &why);
	}
	store_redis_nodes_settle(s);
	if (list_empty(&s->doubts) && list_empty(&s->node_doubts))
		ev_timer_stop(s->loop, &s->doubt_timer);
}
