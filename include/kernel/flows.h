/* flows.h - the connections that the kernel forwards, by its connection
 * tracking: how many, which, since when, how they ended; and their end before
 * their time.
 *
 * A thread of its own listens for conntrack's events (born, closed, destroyed)
 * of our tag (the upper bits of the mark, kernel/mark.h) and keeps less than a
 * hundred bytes about each flow, so that each is counted once and its end told
 * once.  Dumps every few seconds correct what events missed: flows from before
 * the start, those that began while events were not read, and those whose events
 * were lost because they came faster than they were read.  Main only exchanges
 * letters with it.
 *
 * A flow is active from its first packet until both sides have finished
 * (TIME_WAIT), one has reset (CLOSE), or its time in the kernel's table has run
 * out (UDP knows nothing else).  A handshake that stands still for a few seconds is
 * not active until it goes on.  Closed flows are told at once, with what
 * they came to, and stay in the kernel's table as long as it likes, unless that is
 * nearly full: a full table turns clients away.
 *
 * The thread writes what a worker writes for proxied connections: the service's
 * tally (tallies[0]), `connections` of its backends, and one access line for each
 * flow that ended.  Thread: main, unless said otherwise. */
#ifndef KERNEL_FLOWS_H
#define KERNEL_FLOWS_H

#include <ev.h>

#include "base/err.h"
#include "model/config.h"
#include "model/engine.h"
#include "model/service.h"

struct flows;

struct flows_options {
	unsigned tag;	/* ours, 1..255 */
	const struct config *config;	/* log.access, log.sample; outlives it */
	/* Seconds between two dumps, as a rule; 0: 5.  Up to half a minute where a dump
	 * takes long and no news were lost. */
	double correct_every;
	double crowded;	/* entries, as a share of the most there may be, that are too many; 0: 0.75 */
	double linger;	/* seconds that closed flows stay in the table even then; 0: 5 */
	unsigned buffer;	/* bytes that events may wait in; 0: 64 MB */
	struct shortcut *shortcut;	/* or NULL; outlives it, and is its thread's meanwhile */
};

/* Opens the sockets in the network namespace of the caller and starts the
 * thread, with the caller's capabilities (CAP_NET_ADMIN); letters come back on
 * loop.  E_INTERNAL and the reason when the kernel refuses. */
MUST_USE enum err
flows_open(struct flows **out, struct ev_loop *loop, const struct flows_options *o, struct why *why);
/* Ends the thread; what is under way is given up, and its callbacks are never
 * called.  Flows go on.  *fp is NULL on return. */
void flows_close(struct flows **fp);

/* The service that marks call `id` (1..4095) is s, and its backends are those
 * that it has now: again whenever they change, and when epoch does.  From the
 * first time on s->tallies[0] and `connections` of the backends are the thread's;
 * s must outlive flows_close(), backends get a reference.
 * epoch: of new flows.  Marks carry its lowest 10 bits as their generation, so
 * that a line can tell the epoch of a flow even after a restart. */
void flows_watch(struct flows *f, unsigned id, struct service *s, uint64_t epoch);

/* n: flows that were counted, or cut. */
typedef void flows_fn(void *arg, uint64_t n);

/* Counts by a dump, now; then calls done (may be NULL).  The first is the
 * adoption: before it counts are 0 and nothing is corrected, so watch first. */
void flows_recount(struct flows *f, flows_fn *done, void *arg);
/* Reads what the kernel has said of connections until now, then calls done: all that had
 * begun before this call is counted by then. */
void flows_catch_up(struct flows *f, flows_fn *done, void *arg);

/* Active now; any thread. */
uint64_t flows_count(const struct flows *f, unsigned id, enum entrance entrance, enum color color);

/* Up to max of the active ones of a color of the main entrance, each with its
 * state; done is called once. */
void flows_holders(struct flows *f, unsigned id, enum color color, unsigned max, holders_fn *done, void *arg);

#define FLOWS_ANY (-1)

struct flows_match {
	unsigned service;	/* id */
	int color;	/* or FLOWS_ANY */
	int entrance;	/* or FLOWS_ANY */
	struct addr backend;	/* len 0: any */
	double idle;	/* so many seconds without a packet; 0: any */
	double share;	/* of all flows only those whose place, which they keep, is below it, and that they
			 * were cut is counted at their backend, idle ones apart; 0: all */
};

/* Takes them out of the kernel's table; packets that still come belong to no
 * flow and are answered with a reset by the ruleset.  done (may be NULL) is
 * called when the counts show it. */
void flows_cut(struct flows *f, const struct flows_match *m, enum ending ending, flows_fn *done, void *arg);

/* As engine->drain(): idle ones are cut early, spread as it says, the rest at
 * the deadline.  Replaces the color's running orders; ends by itself when the
 * color has no flow left.  flows_keep() ends it before. */
void flows_drain(struct flows *f, unsigned id, enum color color, const struct drain_orders *orders);
void flows_keep(struct flows *f, unsigned id, enum color color);

/* The kernel's table, with all flows in it, and how the thread does.  Any thread. */
struct flows_usage {
	uint64_t entries, max;	/* conntrack entries now, and how many there may be; max 0: not known */
	uint64_t tracked;	/* of them ours, those that have closed as well */
	uint64_t dumps;	/* since the start */
	uint64_t overruns;	/* times that events were lost */
	uint64_t unseen;	/* ends that no event told: found by a dump */
	uint64_t clashed, dropped;	/* of the host, struct flow_losses */
	uint64_t shortcuts;	/* TCP connections that the shortcut has asked for, since the start */
	double dump_seconds;	/* the last dump took */
};
void flows_usage(const struct flows *f, struct flows_usage *out);

/* Seconds that conntrack keeps an established connection of TCP without a packet, in the caller's namespace. */
unsigned flows_established_timeout(void);

/* What this kernel's settings keep from being told, worst first. */
struct flows_lack {
	const char *setting;	/* "net.netfilter.nf_conntrack_acct" */
	const char *what;	/* "bytes of connections are not counted" */
	const char *mend;	/* "sysctl -w net.netfilter.nf_conntrack_acct=1" */
};
#define FLOWS_LACKS 4
/* Fills up to FLOWS_LACKS of them; how many.  Of the caller's namespace. */
size_t flows_lacks(struct flows_lack list[FLOWS_LACKS]);

#endif
