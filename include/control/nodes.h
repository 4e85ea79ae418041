/* nodes.h - the nodes of the pools at runtime: what the configuration lists,
 * and over it what was said since, by whichever teald of the fleet.  Gives and
 * takes the services' backends accordingly.
 * Thread: main. */
#ifndef CONTROL_NODES_H
#define CONTROL_NODES_H

#include "control/control.h"
#include "model/node.h"
#include "model/watched.h"

struct nodes;

enum node_verb { NODE_ADD, NODE_REMOVE, NODE_DRAIN_IT, NODE_READY_IT, NODE_RESET };

/* Of the health of a node nothing is known but that of the backends on it.  UP: one of them passes
 * its checks.  DOWN: each fails them.  UNKNOWN: there is no verdict yet, or no backend. */
enum node_does { NODE_UNKNOWN, NODE_UP, NODE_DOWN };
const char *node_does_word(enum node_does d);	/* "unknown" "up" "down" */

/* What the backends on a node come to: those of both colors, of every service that uses the pool. */
struct node_sum {
	unsigned total;
	unsigned up, checking, draining, down;	/* by the checks; together the total */
	unsigned ejected;	/* of those that are up */
	uint64_t connections;	/* open now, of this teald; those too that are on backends that were dropped since */
	uint64_t cut;	/* connections that the deadline of the node's present drain ended */
	int64_t up_since_us, down_since_us;	/* wall clock: of the first that is up, of the last that went down; 0: none */
};

/* A node of a pool, as last looked at. */
struct node_view {
	char host[NODE_HOST];
	bool configured;	/* the pool lists it, or its API has it; else it was added */
	const struct watched *watched;	/* what the API tells of it; NULL: nothing.  Borrowed until the loop's next turn */
	bool said;	/* something was said that reset would take back */
	enum node_wish wish;
	struct node_terms terms;
	char problem[200];	/* it has no address; "" when it has */
	int64_t emptied_us;	/* terms.since_us of the drain of which it was told that nothing is left; 0: of none */
	enum node_does does;
	struct node_sum sum;
	char reason[96];	/* why a check of it failed; "": none is failing, or it was not said */
};
/* Wall clock: since when it is up, which one of its backends has been since, or down; 0: it is neither. */
int64_t node_since_us(const struct node_view *v);

/* Hooks itself into the store's on_nodes; before the store is opened. */
struct nodes *nodes_new(struct control *c);
/* Into another store's, too. */
void nodes_hear(struct store *store);
/* What was said of each pool's nodes. */
void nodes_each_pool(const struct nodes *n, void (*each)(void *arg, const char *pool, const struct overlay *said), void *arg);
/* A change of nodes is under way. */
bool nodes_are_changing(const struct nodes *n);
/* Waiting commands are answered E_UNKNOWN.  No write may be under way. */
void nodes_free(struct nodes **np);

/* From now on the APIs of pools that are watched are followed; and no more, which waits for their threads if the process
 * is stopping. */
void nodes_watch_begin(struct nodes *n);
void nodes_watch_end(struct nodes *n, bool stopping);
/* Leases by which this teald watches for its fleet are given back, while the store is still there; what it watches it goes on
 * with for itself. */
void nodes_watch_leave(struct nodes *n);
/* Of none of its pool's nodes anything is known yet, or not all have got their backends. */
bool nodes_are_awaited(const struct control *c, const struct service *s);
/* Who watches a pool, of a fleet (control/nodes_lease.h). */
enum watch_role {
	WATCH_WAITS,	/* the store has not said yet who watches */
	WATCH_ALONE,	/* for itself */
	WATCH_LEADS,	/* for the fleet */
	WATCH_FOLLOWS	/* another one does */
};
/* "waits" "alone" "leads" "follows". */
const char *watch_role_word(enum watch_role r);
/* How the watch of a pool does that has one; the texts are borrowed until the loop's next turn. */
struct nodes_watch_view {
	bool shared;	/* one teald of the fleet watches; false: each for itself, and the next three say nothing */
	enum watch_role role;	/* this one's */
	const char *holder;	/* the host of the teald that watches for the fleet; "": none is known */
	int64_t since_us;	/* since when, by the store's clock; 0 with holder "" */
	bool up;	/* it was listed, and follows what changes */
	double age;	/* seconds since the API's last word; < 0: there was none */
	const char *problem, *server;	/* "" where there is none */
};
void nodes_watch_look(const struct control *c, const struct pool_config *pool, struct nodes_watch_view *out);

/* The pools are those of `to` from now on: what was said of their nodes stays, and services of a pool with
 * other hosts get and lose backends.  The services' config is of `to` already.  A change under way in a
 * pool that is gone is refused, if it is not written yet. */
void nodes_reconfigure(struct nodes *n, const struct config *to);
/* Makes the color's backends what its pool is now; true if any changed. */
bool nodes_obey(struct service_ctl *ctl, enum color color);
/* A node of the pool, configured or added, and not removed. */
bool nodes_has(const struct control *c, const char *pool, const char *host);

/* What each thread here obeys of what was said of the pool's nodes: the version. */
uint64_t nodes_applied(const struct control *c, const char *pool);
/* For the heartbeat: the pools, and what is left on nodes whose connections are ended. */
void nodes_describe(struct control *c, struct fleet_member *self);

/* NULL when there is no such pool. */
const struct pool_config *nodes_pool(const struct control *c, struct str name);
/* Looks at all nodes: what nodes_views() says and backend.node_down are of now.  One pass over
 * the backends of all pools; nodes that went down or came up are told. */
void nodes_look(struct control *c);
/* In a moment, for the health of a backend on a node has changed. */
void nodes_look_soon(struct control *c);
/* The pool's nodes as last looked at, those removed included: an array of *n, borrowed until the next look. */
const struct node_view *nodes_views(const struct control *c, const struct pool_config *pool, size_t *n);

/* Adds the service's backends on the node at that place of its pool's views. */
void nodes_add_service(struct node_sum *sum, const struct service *s, size_t place);
/* The same for all of them at once: sums is an array of n, as the views are. */
void nodes_add_to_each(struct node_sum *sums, size_t n, const struct service *s);

/* A change that would take the last usable backend of an active color is E_UNHEALTHY, unless forced.
 * OK: stored, and every worker here obeys it (changed is false when it was so
 * already).  E_USAGE: no such node, a name without address, too many.  Else
 * what the store said.  done is called once, perhaps from inside.
 * terms: of a drain that ends connections, NULL: they stay; when since_us is is written there, and it
 * lasts until done. */
typedef void node_done_fn(void *arg, enum err e, bool changed, const struct why *why);
void nodes_change(struct control *c, const struct pool_config *pool, const char *host, enum node_verb verb,
		  bool force, struct node_terms *terms, node_done_fn *done, void *arg);

/* A service that came gets the backends that its pool has now; of one that goes no
 * change waits any more. */
void nodes_join(struct service_ctl *ctl);
void nodes_leave(struct nodes *nodes, const struct service_ctl *ctl);

/* A look-up is over that a command may wait for. */
struct hostname;
void nodes_on_name(struct nodes *nodes, const struct hostname *name);
/* A snapshot has been acknowledged: a command may wait for that. */
void nodes_on_acked(struct nodes *nodes);

#endif
