/* ruleset_thread.c - takes orders, writes them into the table, and answers in letters.
 * Thread: the ruleset's; letters are delivered on main. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/slice.h"
#include "kernel/ruleset_thread.h"

/* How often what failed is tried again, and what is waste looked at; seconds. */
#define AGAIN 1

/* -- letters to main -------------------------------------------------------------- */

struct acked_letter {
	struct mail mail;
	size_t n;
	struct acked {
		size_t service;
		uint64_t generation;
	} list[];
};

static void
on_acked(struct mail *m, void *receiver)
{
	struct acked_letter *l = container_of(m, struct acked_letter, mail);
	struct ruleset *r = receiver;

	for (size_t i = 0; i < l->n; i++)
		r->calls.on_acked(r->calls.arg, l->list[i].service, l->list[i].generation);
	free(l);
}

struct trouble_letter {
	struct mail mail;
	bool is_over;
	struct why why;
};

static void
on_trouble(struct mail *m, void *receiver)
{
	struct trouble_letter *l = container_of(m, struct trouble_letter, mail);
	struct ruleset *r = receiver;

	r->calls.on_trouble(r->calls.arg, l->is_over ? NULL : l->why.text);
	free(l);
}

struct counts_letter {
	struct mail mail;
	struct ruleset_reading *reading;
	struct ruleset_counts *counts;	/* NULL: they could not be read */
};

static void
on_counts(struct mail *m, void *receiver)
{
	struct counts_letter *l = container_of(m, struct counts_letter, mail);

	(void)receiver;
	l->reading->done(l->reading->arg, l->counts);
	free(l->reading);
	free(l->counts);
	free(l);
}

/* -- the thread ------------------------------------------------------------------- */

static void
post_acked(struct ruleset *r)
{
	struct acked_letter *l;
	size_t n = 0;

	for (size_t i = 0; i < r->plan.n; i++)
		n += r->acked[i] != 0;
	if (n == 0)
		return;
	l = must_alloc(sizeof(*l) + n * sizeof(l->list[0]));
	l->mail.deliver = on_acked;
	for (size_t i = 0; i < r->plan.n; i++) {
		if (r->acked[i] == 0)
			continue;
		l->list[l->n++] = (struct acked){ i, r->acked[i] };
		r->acked[i] = 0;
	}
	mailbox_send(&r->box, &l->mail);
}

static void
post_trouble(struct ruleset *r, const struct why *why)
{
	struct trouble_letter *l = must_alloc(sizeof(*l));

	l->mail.deliver = on_trouble;
	l->is_over = why == NULL;
	if (why != NULL)
		l->why = *why;
	mailbox_send(&r->box, &l->mail);
}

static void
post_counts(struct ruleset *r, struct ruleset_reading *reading)
{
	struct counts_letter *l = must_alloc(sizeof(*l));

	l->mail.deliver = on_counts;
	l->reading = reading;
	l->counts = ruleset_counters_read(r->nft, &r->plan);
	mailbox_send(&r->box, &l->mail);
}

/* What the thread took at once. */
struct work {
	bool write, renew, doubt, end;
	struct ruleset_reading *readings;
};

/* Under the lock: is there anything to do? */
static bool
take_orders(struct ruleset *r, struct work *w)
{
	*w = (struct work){ .end = r->end };
	if (r->begin) {
		for (size_t i = 0; i < r->n_ordered; i++) {
			size_t service = r->ordered[i];

			ruleset_table_want(r->table, service, r->orders[service]);
			r->acked[service] = r->orders[service]->generation;
			snapshot_unref(&r->orders[service]);
		}
		w->write = r->n_ordered > 0;
		r->n_ordered = 0;
		w->renew = r->renew;
		r->renew = false;
		w->doubt = r->doubt;
		r->doubt = false;
	}
	w->readings = r->readings;
	r->readings = NULL;
	r->last_reading = &r->readings;
	return w->write || w->renew || w->doubt || w->readings != NULL || w->end;
}

/* Waits for orders; or a second, while something has to be tried again or swept. */
static void
await_orders(struct ruleset *r, struct work *w)
{
	struct timespec until;
	int result = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += AGAIN;
	pthread_mutex_lock(&r->lock);
	while (!take_orders(r, w) && result != ETIMEDOUT) {
		if (r->is_behind || ruleset_table_has_waste(r->table))
			result = pthread_cond_timedwait(&r->wake, &r->lock, &until);
		else
			result = pthread_cond_wait(&r->wake, &r->lock);
	}
	pthread_mutex_unlock(&r->lock);
	w->write |= r->is_behind;
}

/* Our own transactions take it away as well, where they put another in its place. */
static void
note_loss(struct ruleset *r)
{
	struct why why;
	bool exists;
	enum err e = ruleset_table_look(r->nft, &r->plan, &exists, &why);

	ruleset_table_doubt(r->table);
	/* Something in it may be gone: that is looked at. */
	if (e == OK && exists)
		return;
	/* A foreign table in its place is reported by the next write. */
	if (e != OK)
		return;
	why_set(&why, E_CONFLICT, "the table inet %s was deleted; it is made again", r->plan.table);
	if (!r->is_behind)
		post_trouble(r, &why);
	r->is_behind = true;
}

/* The service was hurt for a moment, which may have gone unnoticed. */
static void
tell_mended(struct ruleset *r)
{
	struct why why;

	if (!ruleset_table_was_hurt(r->table) || r->is_behind)
		return;
	why_set(&why, E_CONFLICT, "rules of the table inet %s were deleted; they are made again",
		r->plan.table);
	post_trouble(r, &why);
	post_trouble(r, NULL);
}

static void
do_work(struct ruleset *r, struct work *w)
{
	struct why why = { "" };
	enum err e = OK;

	if (w->doubt)
		note_loss(r);
	w->write |= w->doubt;
	if (w->write)
		e = ruleset_table_write(r->table, &why);
	if (w->renew && e == OK)
		e = ruleset_table_renew(r->table, &why);
	if (!w->write && !w->renew)
		return;
	if (e == OK) {
		post_acked(r);
		tell_mended(r);
	}
	if ((e != OK) != r->is_behind)
		post_trouble(r, e != OK ? &why : NULL);
	r->is_behind = e != OK;
}

void *
ruleset_thread(void *arg)
{
	struct ruleset *r = arg;
	struct work w;

	slice_shorten();
	do {
		struct ruleset_reading *reading, *next;

		await_orders(r, &w);
		do_work(r, &w);
		for (reading = w.readings; reading != NULL; reading = next) {
			next = reading->next;
			post_counts(r, reading);
		}
		if (ruleset_table_has_waste(r->table))
			ruleset_table_sweep(r->table, clock_now());
	} while (!w.end);
	/* Here, for main has given up the right to. */
	if (r->remove)
		r->removed = ruleset_table_remove(r->table, &r->not_removed);
	return NULL;
}
