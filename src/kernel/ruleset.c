/* ruleset.c - what main sees of the table: orders go to a thread, answers come as
 * letters.
 * Thread: main; the thread is ruleset_thread.c. */
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/thread.h"
#include "kernel/ruleset_thread.h"

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

static enum err
adopt_table(struct ruleset *r, struct why *why)
{
	enum err e = ruleset_table_look(r->nft, &r->plan, &r->is_adopted, why);

	if (e == OK)
		e = ruleset_counters_number(r->nft, &r->plan, r->is_adopted, why);
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

/* By a rule that asks for the socket of a packet, in a table that goes with the transaction that makes it. */
static bool
knows_sockets(struct nft *nft)
{
	int id = (int)getpid();
	struct why ignored;
	char *text = must_printf("create table inet teal_probe_%d\nadd chain inet teal_probe_%d probe\n"
				 "add rule inet teal_probe_%d probe socket wildcard 0\ndelete table inet teal_probe_%d\n",
				 id, id, id, id);
	bool knows = nft_run(nft, text, &ignored) == OK;

	free(text);
	return knows;
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
	if ((e = nft_open(&r->nft, why)) == OK)
		r->plan.sockets = config->n_services > 0 && knows_sockets(r->nft);
	if (e != OK || (e = adopt_table(r, why)) != OK ||
	    (e = nft_watch_open(&r->watch, loop, r->plan.table, nft_port(r->nft), ruleset_on_gone, r, why)) !=
		    OK) {
		free_ruleset(r);
		return e;
	}
	r->table = ruleset_table_new(&r->plan, r->nft);
	mailbox_init(&r->box, loop, r);
	CHECK(thread_start(&r->thread, "ruleset", ruleset_thread, r) == 0);
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
	struct ruleset_reading *reading = must_alloc(sizeof(*reading));

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
