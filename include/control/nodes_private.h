/* nodes_private.h - what nodes.c and nodes_change.c share.  Thread: main. */
#ifndef CONTROL_NODES_PRIVATE_H
#define CONTROL_NODES_PRIVATE_H

#include "control/nodes.h"

struct node_pool {
	const struct pool_config *config;
	struct overlay overlay;
};

/* A name somebody added, and what it was found to mean. */
struct node_name {
	struct link link;
	struct nodes *nodes;
	char host[NODE_HOST];
	struct addr addr;	/* len 0: not known yet */
	char problem[200];
	bool asking;
	double failed_at;	/* clock_now() */
	/* On the helper. */
	struct job job;
	struct addr found;
	enum err result;
	struct why why;
};

struct nodes {
	struct control *control;
	struct node_pool *pools;
	size_t n;
	struct jobs *jobs;	/* for names: a slow answer must not delay a flip's fsync */
	struct link names, changes;
	ev_timer again;
	bool closing;
};

/* NULL when there is none. */
struct node_pool *nodes_find_pool(const struct nodes *n, const char *name);
/* The configuration lists it. */
bool nodes_configured(const struct node_pool *p, const char *host);
/* REMOVED also for what never was a node. */
enum node_wish nodes_wish(const struct node_pool *p, const char *host);
/* The name, which is known or being asked for from now on; at once, even if it
 * was not found a moment ago, when now is set. */
struct node_name *nodes_look_up(struct nodes *n, const char *host, bool now);

/* A name that changes may wait for was found, or not. */
void nodes_change_go_on(struct nodes *n, const struct node_name *name);
/* All that are under way are answered E_UNKNOWN. */
void nodes_changes_end(struct nodes *n);

#endif
