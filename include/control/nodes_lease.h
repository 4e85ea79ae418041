/* nodes_lease.h - which teald of a fleet watches the nodes of a pool: one that has the lease (store/watch_lease.h) follows the
 * API and writes what it says, the others take that.
 * A teald that hears nothing of the store for a while watches for itself, as all do with the embedded store.
 * Thread: main. */
#ifndef CONTROL_NODES_LEASE_H
#define CONTROL_NODES_LEASE_H

#include <ev.h>

#include "base/buf.h"
#include "control/nodes.h"
#include "store/watch_lease.h"

struct node_pool;
struct kube_news;

/* Of one pool; all zero: there is no fleet. */
struct pool_lease {
	bool on;
	enum watch_role role;
	ev_timer ask;
	bool asking, ask_again;	/* an exchange is under way; another one is due */
	bool parsing;	/* a set of the store's is with a helper */
	char *key;	/* POOL:DIGEST */
	uint64_t token;	/* 0: the lease is not ours */
	double asked_at;	/* clock_now() */
	double until;	/* clock_now(): it is ours at least until then */
	unsigned life, asked_life;	/* counts configurations; of which the exchange under way is */
	double heard_at;	/* clock_now(): when the store last said who watches, and there was nothing wrong with what that wrote */
	double patience;	/* seconds after that until this one watches for itself */
	double failing_since;	/* clock_now(): the API answers nothing; 0: it does */
	double unfit_until;	/* clock_now(): until then the lease is left to others; 0: it is not */
	double kept_at;	/* clock_now(): when what another one wrote was last put into state_dir */
	struct buf text;	/* the set, to be written; empty: nothing is new */
	uint64_t text_number;	/* counts such sets */
	uint64_t sent_number;	/* of the one that is being written */
	char stamp[WATCH_STAMP];	/* of the set of the store that is known here */
	char refused[WATCH_STAMP];	/* of one that made no sense */
	char holder[WATCH_HOST];	/* the host of the teald that has the lease; "": none is known */
	int64_t since_us;	/* since when, by the store's clock */
	uint64_t random;
};

/* The store is asked about the pool from now on, if it is a fleet's: true.  Else this teald watches for itself. */
bool nodes_lease_begin(struct node_pool *p);
/* And no more: a lease that is held is given back, if the store is still there; else it ends by its time. */
void nodes_lease_end(struct node_pool *p, bool give_back);
/* What the thread tells; takes the text. */
void nodes_lease_on_news(struct node_pool *p, struct kube_news *news);
/* The configuration says something else now: another lease, if other nodes may come of that. */
void nodes_lease_configure(struct node_pool *p);

#endif
