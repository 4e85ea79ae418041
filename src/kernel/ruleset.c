/* ruleset.c - what main sees of the table: orders go to a thread, answers come as
 * letters.
 * Thread: main, and below "the thread" the ruleset's own; what both touch is under the
 * lock. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/slice.h"
#include "base/thread.h"
#include "kernel/nft_watch.h"
#include "kernel/ruleset_private.h"
#include "net/mailbox.h"

/* How often what failed is tried again, and what is waste looked at; seconds. */
#define AGAIN 1

struct reading {
	struct reading *next;
	ruleset_counts_fn *done;
	void *arg;
};

struct ruleset {
	struct ruleset_plan plan;
	struct ruleset_calls calls;
	bool is_adopted;
	struct mailbox box;
	struct nft_watch *watch;
	pthread_t thread;

	/* The thread's, but while it does not run. */
	struct nft *nft;
	struct ruleset_table *table;
	bool is_behind;	/* something failed, and is tried again */
	uint64_t *acked;	/* the generation that waits to be acknowledged, by service */

	pthread_mutex_t lock;	/* over what follows */
	pthread_cond_t wake;
	struct snapshot **orders;	/* newest of each service; NULL: none */
	size_t *ordered, n_ordered;	/* which have one, in order */
	struct reading *readings, **last_reading;
	bool begin, renew, end;
	bool doubt;	/* a table of that name was taken away, or something in it */
	bool remove;	/* the table, at the end: how that went is here once the thread has ended */
	enum err removed;
	struct why not_removed;
};

enum ending
ruleset_refusal_ending(enum ruleset_refusal r)
{
	switch (r) {
#define X(name, ending) \
	case name: \
		return ending;
		RULESET_REFUSAL_TABLE(X)
#undef X
	}
	return END_INTERNAL;
}

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
	struct reading *reading;
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

/* -- counters --------------------------------------------------------------------- */

/* "n12/shop/denied": the number, and what is behind it; 0: it is none of ours. */
static unsigned
parse_counter(const char *name, struct str *service, const char **word)
{
	const char *first = strchr(name, '/'), *last = strrchr(name, '/');
	uint64_t number;

	if (name[0] != 'n' || first == NULL || last == first ||
	    !str_to_u64((struct str){ name + 1, (size_t)(first - name) - 1 }, MARK_SERVICES, &number))
		return 0;
	*service = (struct str){ first + 1, (size_t)(last - first) - 1 };
	*word = last + 1;
	return (unsigned)number;
}

struct counting {
	const struct ruleset_plan *plan;
	struct ruleset_counts *counts;
	size_t service_of[MARK_SERVICES + 1];	/* index + 1; 0: no service's */
};

static void
on_counter(void *arg, const char *name, uint64_t packets)
{
	struct counting *c = arg;
	struct str service;
	const char *word;
	unsigned number = parse_counter(name, &service, &word);
	struct ruleset_counts *counts;

	if (number == 0 || c->service_of[number] == 0)
		return;
	counts = &c->counts[c->service_of[number] - 1];
	if (strcmp(word, "stray") == 0)
		counts->strays = packets;
	for (unsigned i = 0; i < RULESET_REFUSALS; i++)
		if (strcmp(word, ending_word(ruleset_refusal_ending((enum ruleset_refusal)i))) == 0)
			counts->refused[i] = packets;
}

static struct ruleset_counts *
read_rule_counts(struct ruleset *r)
{
	struct counting *c = must_alloc(sizeof(*c));
	struct ruleset_counts *counts;

	c->plan = &r->plan;
	c->counts = must_array(r->plan.n + 1, sizeof(*c->counts));
	for (size_t i = 0; i < r->plan.n; i++)
		c->service_of[r->plan.numbers[i]] = i + 1;
	if (nft_names(r->nft, r->plan.table, NFT_KIND_COUNTER, on_counter, c, NULL) != OK) {
		free(c->counts);
		c->counts = NULL;
	}
	counts = c->counts;
	free(c);
	return counts;
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
post_counts(struct ruleset *r, struct reading *reading)
{
	struct counts_letter *l = must_alloc(sizeof(*l));

	l->mail.deliver = on_counts;
	l->reading = reading;
	l->counts = read_rule_counts(r);
	mailbox_send(&r->box, &l->mail);
}

/* What the thread took at once. */
struct work {
	bool write, renew, doubt, end;
	struct reading *readings;
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

static void *
thread_main(void *arg)
{
	struct ruleset *r = arg;
	struct work w;

	slice_shorten();
	do {
		struct reading *reading, *next;

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

/* -- main's ------------------------------------------------------------------------- */

struct numbering {
	struct ruleset_plan *plan;
	bool taken[MARK_SERVICES + 1];
};

static void
on_old_counter(void *arg, const char *name, uint64_t packets)
{
	struct numbering *n = arg;
	struct str service;
	const char *word;
	unsigned number = parse_counter(name, &service, &word);

	(void)packets;
	if (number == 0 || n->taken[number])
		return;
	for (size_t i = 0; i < n->plan->n; i++)
		if (n->plan->numbers[i] == 0 && str_eq(service, n->plan->services[i].name))
			n->plan->numbers[i] = (uint16_t)number;
	/* One that is gone may still have flows: its number rests for the time of a teald. */
	n->taken[number] = true;
}

static enum err
adopt_table(struct ruleset *r, struct why *why)
{
	struct numbering n = { .plan = &r->plan };
	enum err e = ruleset_table_look(r->nft, &r->plan, &r->is_adopted, why);

	if (e == OK && r->is_adopted)
		e = nft_names(r->nft, r->plan.table, NFT_KIND_COUNTER, on_old_counter, &n, why);
	if (e == OK)
		ruleset_plan_number(&r->plan, n.taken);
	if (e == OK && r->plan.claims)
		e = ruleset_tag_claim(r->nft, &r->plan, why);
	return e;
}

static void
free_ruleset(struct ruleset *r)
{
	for (size_t i = 0; i < r->plan.n; i++)
		snapshot_unref(&r->orders[i]);
	ruleset_table_free(&r->table);
	nft_close(&r->nft);
	ruleset_plan_free(&r->plan);
	pthread_cond_destroy(&r->wake);
	pthread_mutex_destroy(&r->lock);
	free(r->orders);
	free(r->ordered);
	free(r->acked);
	free(r);
}

static void
ruleset_on_gone(void *arg)
{
	struct ruleset *r = arg;

	pthread_mutex_lock(&r->lock);
	r->doubt = true;
	pthread_cond_signal(&r->wake);
	pthread_mutex_unlock(&r->lock);
}

enum err
ruleset_open(struct ev_loop *loop, const struct ruleset_config *config, const struct ruleset_calls *calls,
	     struct ruleset **out, struct why *why)
{
	struct ruleset *r = must_alloc(sizeof(*r));
	pthread_condattr_t attr;
	enum err e;

	*out = NULL;
	ruleset_plan_init(&r->plan, config);
	r->calls = *calls;
	r->last_reading = &r->readings;
	r->orders = must_array(r->plan.n + 1, sizeof(struct snapshot *));
	r->ordered = must_array(r->plan.n + 1, sizeof(*r->ordered));
	r->acked = must_array(r->plan.n + 1, sizeof(*r->acked));
	pthread_mutex_init(&r->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&r->wake, &attr);
	pthread_condattr_destroy(&attr);
	if ((e = nft_open(&r->nft, why)) != OK || (e = adopt_table(r, why)) != OK ||
	    (e = nft_watch_open(&r->watch, loop, r->plan.table, nft_port(r->nft), ruleset_on_gone, r, why)) !=
		    OK) {
		free_ruleset(r);
		return e;
	}
	r->table = ruleset_table_new(&r->plan, r->nft);
	mailbox_init(&r->box, loop, r);
	CHECK(thread_start(&r->thread, "ruleset", thread_main, r) == 0);
	*out = r;
	return OK;
}

unsigned
ruleset_number(const struct ruleset *r, size_t service)
{
	CHECK(service < r->plan.n);
	return r->plan.numbers[service];
}

unsigned
ruleset_tag(const struct ruleset *r)
{
	return r->plan.tag;
}

bool
ruleset_is_adopted(const struct ruleset *r)
{
	return r->is_adopted;
}

/* Under the lock. */
static void
order(struct ruleset *r, size_t service, struct snapshot **snapshot)
{
	CHECK(service < r->plan.n);
	if (r->orders[service] == NULL)
		r->ordered[r->n_ordered++] = service;
	else
		snapshot_unref(&r->orders[service]);
	r->orders[service] = *snapshot;
	*snapshot = NULL;
}

void
ruleset_publish(struct ruleset *r, size_t service, struct snapshot **snapshot)
{
	pthread_mutex_lock(&r->lock);
	order(r, service, snapshot);
	pthread_cond_signal(&r->wake);
	pthread_mutex_unlock(&r->lock);
}

void
ruleset_publish_all(struct ruleset *r, struct snapshot **snapshots)
{
	pthread_mutex_lock(&r->lock);
	for (size_t i = 0; i < r->plan.n; i++)
		if (snapshots[i] != NULL)
			order(r, i, &snapshots[i]);
	r->renew = true;
	pthread_cond_signal(&r->wake);
	pthread_mutex_unlock(&r->lock);
}

void
ruleset_begin(struct ruleset *r)
{
	pthread_mutex_lock(&r->lock);
	r->begin = true;
	pthread_cond_signal(&r->wake);
	pthread_mutex_unlock(&r->lock);
}

void
ruleset_renew(struct ruleset *r)
{
	pthread_mutex_lock(&r->lock);
	r->renew = true;
	pthread_cond_signal(&r->wake);
	pthread_mutex_unlock(&r->lock);
}

void
ruleset_read_counts(struct ruleset *r, ruleset_counts_fn *done, void *arg)
{
	struct reading *reading = must_alloc(sizeof(*reading));

	reading->done = done;
	reading->arg = arg;
	pthread_mutex_lock(&r->lock);
	*r->last_reading = reading;
	r->last_reading = &reading->next;
	pthread_cond_signal(&r->wake);
	pthread_mutex_unlock(&r->lock);
}

enum err
ruleset_close(struct ruleset **rp, bool remove, struct why *why)
{
	struct ruleset *r = *rp;
	enum err e = OK;

	*rp = NULL;
	if (r == NULL)
		return OK;
	pthread_mutex_lock(&r->lock);
	r->end = true;
	r->remove = remove;
	pthread_cond_signal(&r->wake);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
	nft_watch_close(&r->watch);
	mailbox_close(&r->box);
	if ((e = r->removed) != OK)
		why_set(why, e, "%s", r->not_removed.text);
	free_ruleset(r);
	return e;
}
