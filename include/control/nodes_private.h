/* nodes_private.h - what nodes.c, nodes_change.c and nodes_look.c share.  Thread: main. */
#ifndef CONTROL_NODES_PRIVATE_H
#define CONTROL_NODES_PRIVATE_H

#include "control/kube_watch.h"
#include "control/nodes.h"
#include "control/nodes_lease.h"

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

/* Of a pool whose nodes a Kubernetes API tells; all zero of another. */
struct pool_watch {
	struct kube_watch *thread;	/* NULL: nothing follows the API now */
	struct watched_set set;	/* by host, as last told; wish REMOVED: deleted, and no connection was left on it */
	bool begun;	/* what it tells from now on is news */
	bool listed;	/* since this process began */
	double seen_at;	/* clock_now() of the API's last word, also to a process before this one; 0: none is known */
	char problem[256];	/* why it has none now; "": it has, or was not asked yet */
	char server[HTTP_URL_ORIGIN];	/* that was asked last; "": none */
	bool waiting;	/* a drain or a removal would have taken the last backend that is up of a color */
	bool wait_told;	/* the log has it */
};

struct node_pool {
	struct nodes *nodes;
	const struct pool_config *config;	/* NULL: no configuration has it any more */
	unsigned held;	/* changes under way that name it */
	struct overlay overlay;
	bool obeying;	/* services are still to get and lose backends, in steps, from: */
	uint64_t next_serial;
	bool overlay_due;	/* some of them do not know the overlay yet: its acks cannot be asked for */
	struct node_acks acks;	/* of the overlay */
	uint64_t applied;	/* the last version whose acks are in */
	struct pool_watch watch;
	struct pool_lease lease;
	struct node_view *views;	/* as last looked at */
	size_t n_views, views_room;
	struct node_view *spare;	/* as looked at before that: of no use but its room */
	size_t spare_room;
};

struct nodes {
	struct control *control;
	struct node_pool **pools;
	size_t n;
	struct link changes;
	struct link drains;	/* control/node_drain.h: that are waited for */
	bool describing;	/* for a heartbeat: there is nothing to announce */
	ev_timer look;	/* the health of a backend on a node has changed */
	ev_timer step;	/* the next services of a pool that is obeyed in steps */
	ev_timer fade;	/* nodes that the API has no more */
	bool watching;	/* this teald decides: threads follow the APIs */
};

/* NULL when there is none. */
struct node_pool *nodes_find_pool(const struct nodes *n, const char *name);
/* Frees one that is of no configuration and in no change any more. */
void nodes_pool_unhold(struct node_pool *p);
/* The configuration lists it, or the API has it. */
bool nodes_configured(const struct node_pool *p, const char *host);
/* REMOVED also for what never was a node. */
enum node_wish nodes_wish(const struct node_pool *p, const char *host);
/* The same with another overlay: what was said wins, else what the API tells, else what is configured. */
enum node_wish nodes_wish_by(const struct node_pool *p, const struct overlay *said, const char *host);
/* What was said of the node, else what the API tells, made of *room; NULL: neither says anything. */
const struct node *nodes_said(const struct node_pool *p, const char *host, struct node *room);
/* What the API tells of it, made of *room. */
const struct node *node_as_watched(const struct node_pool *p, const struct watched *w, const char *host, struct node *room);
/* Of both colors, in part: works until about clock_now() `until`.  True: the service's backends are what its pool is,
 * and it is published if that was new. */
bool nodes_obey_until(struct service_ctl *ctl, double until);
/* All services of the pool get and lose backends from here on, in steps. */
void nodes_obey_soon(struct node_pool *p);
/* They have: the threads' acknowledgements of the overlay, if that was due, and of the changes that made it are waited for. */
void nodes_on_obeyed(struct node_pool *p);
/* NULL: it was not a node when last looked at.  As the set of the pool spells it. */
const struct node_view *nodes_find_view(const struct node_pool *p, const char *host);

/* Pools that are watched (nodes_watch.c).  Loads what state_dir has of one that is new at a start. */
void nodes_watch_init(struct nodes *n);
void nodes_watch_load(struct node_pool *p);
/* Its configuration is another one than before (NULL: it is new): true if its nodes may be others because of that. */
bool nodes_watch_configure(struct node_pool *p, const struct pool_config *before);
void nodes_watch_close(struct nodes *n);
/* This teald follows the API of the pool, and no more. */
void nodes_watch_start(struct node_pool *p);
void nodes_watch_stop(struct node_pool *p);
/* Another one has told the set, which is taken; the API has spoken last at clock_now() seen_at. */
void nodes_watch_take(struct node_pool *p, struct watched_set *by_host, double seen_at);
/* What is wrong with what another one tells, in two parts; text "": nothing. */
void nodes_watch_trouble(struct node_pool *p, const char *where, const char *what, const char *text);
/* The host would be the last one that is up of a color: in a moment the pool is looked at again. */
void nodes_watch_wait(struct node_pool *p, const char *host);
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
