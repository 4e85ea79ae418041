/* node_drain.h - a node is drained, and it is waited for until the whole fleet has nothing on it: no new
 * connection is made to it by any thread (acknowledged), and those that were there have ended, by themselves or by
 * the terms of the drain.  The drain is what the store says of the node, so it goes on whatever becomes of the wait.
 * Thread: main. */
#ifndef CONTROL_NODE_DRAIN_H
#define CONTROL_NODE_DRAIN_H

#include "control/nodes.h"

/* How it is with one teald of the fleet.  LATE: it has not said yet that it obeys.  REFUSES: it would lose the last
 * usable backend of an active color.  MISSING: it has said nothing for too long.  MUTE: its version tells no nodes, or
 * more nodes are drained there than it tells. */
enum node_drain_state { NODE_DRAIN_OBEYS, NODE_DRAIN_LATE, NODE_DRAIN_REFUSES, NODE_DRAIN_MISSING, NODE_DRAIN_MUTE };
const char *node_drain_state_word(enum node_drain_state s);

struct node_drain_member {
	const char *machine;	/* borrowed, until the callback returns */
	int32_t pid;
	bool self;
	enum node_drain_state state;
	struct fleet_node left;	/* of one that obeys */
};

/* What is known, as of now. */
struct node_drain_report {
	const struct node_drain_member *members;	/* those that have the pool, this one first */
	size_t n;
	uint64_t connections, cut;	/* of those that obey: the sums */
	size_t unsure;	/* members that do not obey, or of which it is not known */
	bool fleet;	/* there may be others */
	double seconds;	/* since it began */
};

struct node_drain_request {
	const struct pool_config *pool;
	const char *host;
	bool force;	/* as of nodes_change() */
	double timeout;	/* seconds within which connections are ended */
	double spread;	/* seconds; < 0: as each service says */
	bool no_cut;	/* connections that the deadline ended are E_TIMEOUT */
};

/* progress: whenever the numbers have changed, once a second at most.  done: once, perhaps from inside; after it nothing
 * follows.  OK: there is nothing left on the node.  E_TIMEOUT: something is, after the deadline.  E_PARTIAL_FLEET: of some
 * members it is not known, or they do not obey.  E_UNKNOWN: of all others, for the store does not answer.  E_CONFLICT:
 * something else was said of the node meanwhile.  Others as of nodes_change(), report is NULL then.  changed: also
 * after an error it drains. */
typedef void node_drain_progress_fn(void *arg, const struct node_drain_report *report);
typedef void node_drain_done_fn(void *arg, enum err e, bool changed, const struct node_drain_report *report,
				const struct why *why);
void node_drain_start(struct control *c, const struct node_drain_request *request, node_drain_progress_fn *progress,
		      node_drain_done_fn *done, void *arg);

/* It is waited for no more, by the one of that arg; done is not called.  False: it is not written yet, and done
 * will be called.  The drain goes on. */
bool node_drain_call_off(struct control *c, const void *arg);

/* Is it written, and waited for by the one of that arg? */
bool node_drain_waits(const struct control *c, const void *arg);

/* The longest drain.timeout of the services that use the pool, seconds. */
double node_drain_default(const struct control *c, const struct pool_config *pool);

#endif
