/* nodes_private.h - what nodes.c, nodes_change.c and nodes_look.c share.  Thread: main. */
#ifndef CONTROL_NODES_PRIVATE_H
#define CONTROL_NODES_PRIVATE_H

#include "control/nodes.h"

/* Snapshots that every thread has to obey before something is true everywhere here. */
struct node_acks {
	struct {
		const struct service_ctl *ctl;
		uint64_t generation;
	} *want;
	size_t n;
};
/* All that is published, or due, by now. */
void node_acks_begin(struct node_acks *a, const struct control *c);
bool node_acks_are_in(const struct node_acks *a);
void node_acks_free(struct node_acks *a);

struct node_pool {
	const struct pool_config *config;	/* NULL: no configuration has it any more */
	unsigned held;	/* changes under way that name it */
	struct overlay overlay;
	struct node_acks acks;	/* of the overlay */
	uint64_t applied;	/* the last version whose acks are in */
	struct node_view *views;	/* as last looked at */
	size_t n_views;
};

struct nodes {
	struct control *control;
	struct node_pool **pools;
	size_t n;
	struct link changes;
	struct link drains;	/* control/node_drain.h: that are waited for */
	bool describing;	/* for a heartbeat: there is nothing to announce */
	ev_timer look;	/* the health of a backend on a node has changed */
};

/* NULL when there is none. */
struct node_pool *nodes_find_pool(const struct nodes *n, const char *name);
/* Frees one that is of no configuration and in no change any more. */
void nodes_pool_unhold(struct node_pool *p);
/* The configuration lists it. */
bool nodes_configured(const struct node_pool *p, const char *host);
/* REMOVED also for what never was a node. */
enum node_wish nodes_wish(const struct node_pool *p, const char *host);
/* Would each active color of the pool's services keep a usable backend?  Else *why names one. */
bool nodes_may_obey(const struct control *c, const char *pool, const struct overlay *next, struct why *why);
/* Are the connections of that node ended? */
bool node_view_ends(const struct node_view *v);
/* What is left on the node at that place of the views. */
void nodes_describe_node(const struct control *c, const struct node_pool *p, size_t place, struct fleet_node *out);
/* When nodes.look is due. */
void nodes_on_look(struct ev_loop *loop, ev_timer *t, int revents);
/* All that are under way are answered E_UNKNOWN. */
void nodes_changes_end(struct nodes *n);
/* Likewise the drains; after the changes, which some wait for, and when no reading is under way. */
void node_drains_end(struct nodes *n);

#endif
