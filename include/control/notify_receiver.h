/* notify_receiver.h - one receiver of events: a bounded queue, sent one after the
 * other, each until it is taken, refused or too old.
 * Everything goes through the loop and helpers: none of these calls waits.
 * Thread: main. */
#ifndef CONTROL_NOTIFY_RECEIVER_H
#define CONTROL_NOTIFY_RECEIVER_H

#include <ev.h>

#include "base/list.h"
#include "control/hosts.h"
#include "control/notify_message.h"
#include "control/probe.h"
#include "net/jobs.h"

/* An event that waits. */
struct notify_event {
	struct link link;
	char id[NOTIFY_ID];
	char event[64];
	double born;	/* clock_now() of the event */
	unsigned attempts;	/* that failed */
	struct str body;	/* memory of its own */
};

/* Counted since the start, predecessors of an upgrade included. */
struct notify_counts {
	uint64_t delivered;
	uint64_t refused;	/* an answer that no repetition changes */
	uint64_t expired;	/* no success within retry_for */
	uint64_t dropped;	/* the queue was full */
	uint64_t failed;	/* attempts */
};

enum receiver_state {
	RECEIVER_IDLE,	/* nothing is to be sent */
	RECEIVER_DUE,	/* an attempt begins in the next turn */
	RECEIVER_LOADING,	/* certificates are read */
	RECEIVER_LOOKING,	/* the name is looked up */
	RECEIVER_SENDING,
	RECEIVER_PAUSED	/* between two attempts */
};

struct context_job;

struct receiver {
	struct link link;	/* the owner's */
	const struct notify_config *config;	/* of the tree that the owner holds */
	struct ev_loop *loop;
	struct hosts *hosts;
	struct jobs *jobs;
	enum receiver_state state;
	struct link events;	/* struct notify_event, the oldest first */
	size_t n;
	ev_timer timer;	/* begins an attempt, or ends a look-up */
	struct probe *probe;
	unsigned status;	/* of the answer; 0: there was none */
	const struct hostname *asked;	/* the look-up that is waited for */
	struct context_job *loading;
	struct ssl_ctx_st *context;	/* NULL: not loaded */
	unsigned failures;	/* in a row */
	bool held;
	bool told;	/* that it fails */
	char problem[200];	/* of the last attempt; "": it went well, or there was none */
	int64_t delivered_at_us;	/* wall clock of the last success; 0: none yet */
	uint64_t lost_told;	/* of counts, what the log has said */
	double lost_told_at;
	uint64_t random;
	struct notify_counts counts;
};

/* config, hosts and jobs outlive it, or are replaced in time. */
struct receiver *receiver_new(const struct notify_config *config, struct ev_loop *loop, struct hosts *hosts, struct jobs *jobs);
/* What it holds is gone; *rp is NULL on return. */
void receiver_free(struct receiver **rp);
/* Of the same name in another tree: attempts under way end and begin anew by its terms. */
void receiver_reconfigure(struct receiver *r, const struct notify_config *config);
/* Consumes the event, whose place in the queue is the last; it may be dropped. */
void receiver_add(struct receiver *r, struct notify_event **event);
/* On: nothing is sent any more, the queue stays and may grow; off: it goes on. */
void receiver_hold(struct receiver *r, bool on);
/* A look-up is over. */
void receiver_on_name(struct receiver *r, const struct hostname *name);
/* An attempt is under way or about to be. */
bool receiver_is_busy(const struct receiver *r);
/* Events that it will never have. */
uint64_t receiver_lost(const struct receiver *r);

void notify_event_free(struct notify_event **ep);

#endif
