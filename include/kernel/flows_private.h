/* flows_private.h - the inside of flows, for src/kernel/flows*.c.
 * Thread: the flows thread, unless said otherwise. */
#ifndef KERNEL_FLOWS_PRIVATE_H
#define KERNEL_FLOWS_PRIVATE_H

#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>

#include "kernel/flows.h"
#include "kernel/flows_table.h"
#include "kernel/mark.h"
#include "kernel/shortcut.h"
#include "model/access.h"
#include "net/mailbox.h"

struct flows_drain_state {
	bool on;
	struct drain_orders orders;
	double started;	/* clock_now() */
};

/* A service as the thread knows it. */
struct watch {
	struct service *service;	/* config, tallies[0] and nothing else */
	uint64_t epoch;
	struct flows_drain_state drains[COLORS];
};

/* Seconds after which the kernel forgets a silent flow, by what it is in. */
struct flow_patience {
	uint32_t tcp[16];	/* by TCP_CONNTRACK_… */
	uint32_t unacknowledged, retransmitting;
	uint32_t udp, udp_stream;
};

/* A flow of the kernel's table that is to be taken out of it, or asked about. */
struct victim {
	uint64_t key;
	uint32_t id;
	struct flow_tuple tuple;
	double due;	/* clock_now(): of those that wait for it */
};

struct victims {
	struct victim *list;
	size_t first, n, room;	/* n in use from first, around the end */
};

struct flows {
	/* Main's. */
	struct mailbox answers;	/* towards main */
	pthread_t thread;
	bool closed;	/* the thread has ended: letters are thrown away */

	/* Any thread. */
	struct mailbox requests;	/* towards the thread */
	atomic_bool stop;
	_Atomic uint32_t (*counts)[ENTRANCES][COLORS];	/* by service id: what holds each color */
	_Atomic uint64_t entries, max, tracked, dumps, overruns, unseen, dump_us, clashed, dropped, shortcuts;

	/* The thread's. */
	struct ev_loop *loop;
	ev_io news;
	ev_timer pause;	/* news come in batches, not one by one */
	double pause_length;	/* seconds: of the next one */
	ev_timer tick;
	struct shortcut *shortcut;	/* or NULL */
	ev_io asks, links;	/* of it */
	ev_timer ask_pause;	/* they come in batches, too */
	double next_sweep;
	int news_fd, ask_fd, dump_fd;
	unsigned tag;
	double correct_every, linger, crowded;
	struct access access;
	struct flow_table table;
	struct flow_table graves;	/* keys of what ended while a dump is read */
	bool listing;	/* one is */
	struct place_table places;
	size_t places_wanted;	/* so many are worth looking for some to forget */
	uint64_t cuts;	/* flows that ended by us */
	struct watch *watched[MARK_SERVICES + 1];
	struct flow_patience patience;
	struct victims closing;	/* to be asked what they came to, in order */
	struct victims early;	/* that began before the rules, to be taken out of the kernel's table */
	bool adopted;	/* the first count is over */
	uint64_t held;	/* flows that hold a color: the sum of counts */
	uint8_t round;	/* of counting */
	double now;	/* clock_now() when the thread woke */
	int64_t wall_us;	/* the wall's then */
	double next_count, next_drain, next_ask, next_usage, next_relief;
	double napping;	/* the second in which naps are counted */
	unsigned naps;	/* for the log to catch up */
	bool lost;	/* news, since the last look at all */
	double lost_told;	/* clock_now() of the last line about lost news */
	uint64_t random;
};

/* flows_track.c: one flow's life. */

/* Whatever was said of a flow, with what went by the shortcut, into the table, the counts and the
 * lines; the flow, or NULL when it is no more (or not ours). */
struct flow *flows_track(struct flows *f, struct flow_fact *fact);
/* It is no more, and nothing was said of it. */
void flows_vanished(struct flows *f, struct flow *flow);
/* Reads the news that wait, all of them; how many. */
unsigned flows_read_news(struct flows *f);
/* Seconds without a packet, rather too few than too many. */
double flows_idle(const struct flows *f, const struct flow *flow, const struct flow_fact *fact);
double flows_age(const struct flows *f, const struct flow *flow);
/* The thread's clock; to be asked again after what takes long. */
void flows_look_at_clock(struct flows *f);
/* The service's tally and backends belong to it from now on; takes the list's
 * references. */
void flows_take_watch(struct flows *f, unsigned id, struct service *s, uint64_t epoch,
		      struct backend **backends, size_t n);
const char *flow_state_word(const struct flow *flow, unsigned protocol);

/* flows_drain.c: where in the spread of a drain its turn is, in [0, 1). */
double flows_place(const struct flow *flow);

/* flows_tell.c: the line of an ended flow. */

/* Why it ended, by the last that was said of it. */
enum ending flow_ending(const struct flow *flow, const struct flow_fact *fact);
/* Is its end worth a line?  To be asked once, when it has closed. */
enum flow_line flows_line(struct flows *f, const struct flow *flow);
void flows_tell(struct flows *f, const struct flow *flow, const struct flow_fact *fact);

/* flows_round.c: counting and cutting. */

/* What is to become of a flow that a dump shows: a true cuts it, for
 * flow->ending, which the judge sets.  *enough ends the dump. */
typedef bool flows_judge(void *arg, const struct flow *flow, const struct flow_fact *fact,
			 enum ending *ending, bool *enough);
/* Looks at every flow whose mark is `mark` in the bits of mask, corrects what is
 * known of them and cuts those that judge (may be NULL) picks; how many.  The
 * counts are right when it returns. */
uint64_t flows_round(struct flows *f, uint32_t mark, uint32_t mask, flows_judge *judge, void *arg);
/* Takes those out that have been closed for some time. */
uint64_t flows_relieve(struct flows *f);
/* All of ours, with what the drains want. */
void flows_count_all(struct flows *f);
void flows_patience_read(struct flow_patience *p);
void victims_push(struct victims *v, const struct victim *victim);
void victims_free(struct victims *v);

/* flows_drain.c */
void flows_drain_begin(struct flows *f, unsigned id, enum color color, const struct drain_orders *orders);
bool flows_drain_judge(void *arg, const struct flow *flow, const struct flow_fact *fact, enum ending *ending,
		       bool *enough);
/* Does what is due; returns when to come again, clock_now(). */
double flows_drain_step(struct flows *f);

/* flows_shortcut.c: what the shortcut asks for, and what went by it; nothing where there is none. */

void flows_shortcut_init(struct flows *f);
/* The service's addresses and backends. */
void flows_shortcut_watch(struct flows *f, const struct service_config *s, struct backend *const *backends, size_t n);
/* The timeouts that it is to set: those of f->patience. */
void flows_shortcut_patience(struct flows *f);
/* Forgets what is over, now and then: once events were lost nobody else does. */
void flows_shortcut_sweep(struct flows *f);
/* Adds what went by it to what conntrack has counted. */
void flows_shortcut_add(struct flows *f, struct flow_fact *fact);

/* flows_thread.c */
void flows_thread_init(struct flows *f);
void *flows_thread(void *arg);
/* Counts; the first time it also begins to listen. */
void flows_recount_now(struct flows *f);
/* Something has become due earlier. */
void flows_kick(struct flows *f);

#endif
