/* ruleset_thread.h - what main and the ruleset's thread share, and what the thread is
 * made of.  Owner: ruleset.c. */
#ifndef KERNEL_RULESET_THREAD_H
#define KERNEL_RULESET_THREAD_H

#include <pthread.h>

#include "kernel/nft_watch.h"
#include "kernel/ruleset_private.h"
#include "net/mailbox.h"

struct ruleset_reading {
	struct ruleset_reading *next;
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
	struct ruleset_reading *readings, **last_reading;
	bool begin, renew, end;
	bool doubt;	/* a table of that name was taken away, or something in it */
	bool remove;	/* the table, at the end: how that went is here once the thread has ended */
	enum err removed;
	struct why not_removed;
};

/* The thread: a struct ruleset, until its `end`. */
void *ruleset_thread(void *ruleset);

/* -- counters (ruleset_counters.c) --------------------------------------------------- */

/* Of each service, the caller's to free; NULL: they could not be read. */
struct ruleset_counts *ruleset_counters_read(struct nft *nft, const struct ruleset_plan *plan);
/* Gives each service the number that the table's counters have for it (exists: there is a
 * table), and a free one to those that have none. */
MUST_USE enum err
ruleset_counters_number(struct nft *nft, struct ruleset_plan *plan, bool exists, struct why *why);

#endif
