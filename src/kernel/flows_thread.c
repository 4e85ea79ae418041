/* flows_thread.c - the thread that listens to conntrack: its loop and its
 * clock.  Thread: the flows thread. */
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "kernel/flows_private.h"

/* News are read at once when they come alone.  The more there are, the longer the pause until the next look, in
 * seconds: to wake costs more than a single one does, and who needs exact counts (a flip, a drain, a count) reads them itself. */
#define PAUSE_LEAST 0.02
#define PAUSE_MOST 0.25
/* So many in a look are many, so few are not. */
#define NEWS_MANY 8
#define NEWS_FEW 2
#define ASK_EVERY 0.05
#define ASK_MOST 4096
#define ASK_AT_ONCE 64
#define RELIEF_EVERY 5.0
#define USAGE_EVERY 1.0

/* -- news ---------------------------------------------------------------- */

static void
on_events(struct ev_loop *loop, ev_io *w, int revents)
{
	struct flows *f = container_of(w, struct flows, news);
	unsigned n;

	(void)revents;
	n = flows_read_news(f);
	if (n >= NEWS_MANY)
		f->pause_length = fmin(f->pause_length * 1.5, PAUSE_MOST);
	else if (n <= NEWS_FEW)
		f->pause_length = PAUSE_LEAST;
	ev_io_stop(loop, &f->news);
	ev_timer_set(&f->pause, f->pause_length, 0.0);
	ev_timer_start(loop, &f->pause);
}

static void
on_pause(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct flows *f = container_of(w, struct flows, pause);

	(void)revents;
	ev_io_start(loop, &f->news);
}

/* -- the clock ----------------------------------------------------------- */

static bool
on_dumped_fact(void *arg, struct flow_fact *fact)
{
	(void)flows_track(arg, fact);
	return true;
}

/* What closed flows came to. */
static void
ask_closed(struct flows *f)
{
	struct victims *v = &f->closing;
	struct flow_batch batch = { 0 };

	for (unsigned n = 0; n < ASK_MOST && v->n > 0 && v->list[v->first].due <= f->now; n++) {
		const struct victim *head = &v->list[v->first];
		const struct flow *flow = flow_find(&f->table, head->key);

		if (flow != NULL && !flow->logged)
			flows_wire_add_get(&batch, &head->tuple);
		v->first = (v->first + 1) % v->room;
		v->n--;
		/* The answers have to fit into the socket. */
		if (batch.n == ASK_AT_ONCE)
			flows_wire_get(f->ask_fd, &batch, on_dumped_fact, f);
	}
	if (batch.n > 0)
		flows_wire_get(f->ask_fd, &batch, on_dumped_fact, f);
	f->next_ask = f->now + (v->n > 0 ? ASK_EVERY : 3600.0);
}

/* A full table turns new clients away; those that have closed are the first to
 * go.  Otherwise they stay as long as the kernel wants: their entries keep
 * masquerading from using a port that the backend still remembers. */
static void
relieve(struct flows *f, uint64_t entries, uint64_t max)
{
	double started = clock_now();
	uint64_t n;

	if (!f->adopted || max == 0 || (double)entries < f->crowded * (double)max || started < f->next_relief)
		return;
	n = flows_relieve(f);
	f->next_relief = clock_now() + RELIEF_EVERY + 20 * (clock_now() - started);
	LOG_WARN("kernel.table_crowded", LU("count", entries), LU("total", max), LU("cut", n),
		 LS("hint", "raise net.netfilter.nf_conntrack_max; closed connections were taken out early"));
}

static void
measure_usage(struct flows *f)
{
	struct flow_losses losses;
	uint64_t entries, max;

	if (flows_wire_losses(&f->dump_fd, &losses)) {
		atomic_store_explicit(&f->clashed, losses.clashed, memory_order_relaxed);
		atomic_store_explicit(&f->dropped, losses.dropped, memory_order_relaxed);
	}
	if (flows_wire_usage(f->ask_fd, &entries, &max, NULL) == OK) {
		atomic_store_explicit(&f->entries, entries, memory_order_relaxed);
		atomic_store_explicit(&f->max, max, memory_order_relaxed);
		relieve(f, entries, max);
	}
	f->next_usage = clock_now() + USAGE_EVERY;
}

static void
flows_on_tick(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct flows *f = container_of(w, struct flows, tick);

	(void)loop;
	(void)revents;
	flows_look_at_clock(f);
	if (f->adopted && f->now >= f->next_drain)
		f->next_drain = flows_drain_step(f);
	if (f->adopted && f->now >= f->next_count)
		flows_count_all(f);
	if (f->now >= f->next_ask)
		ask_closed(f);
	if (f->now >= f->next_usage)
		measure_usage(f);
	flows_kick(f);
}

void
flows_kick(struct flows *f)
{
	double next = f->next_usage, now = clock_now();

	if (f->next_ask < next)
		next = f->next_ask;
	if (f->adopted && f->next_count < next)
		next = f->next_count;
	if (f->adopted && f->next_drain < next)
		next = f->next_drain;
	ev_now_update(f->loop);
	ev_timer_stop(f->loop, &f->tick);
	ev_timer_set(&f->tick, next > now ? next - now + 0.0005 : 0.0, 0.0);
	ev_timer_start(f->loop, &f->tick);
}

/* -- the thread ---------------------------------------------------------- */

void
flows_recount_now(struct flows *f)
{
	if (!f->adopted)
		ev_io_start(f->loop, &f->news);
	flows_count_all(f);
	flows_kick(f);
}

void
flows_thread_init(struct flows *f)
{
	flow_table_init(&f->table);
	flow_table_init(&f->graves);
	place_table_init(&f->places);
	flows_patience_read(&f->patience);
	flows_look_at_clock(f);
	f->random = (uint64_t)f->wall_us;
	f->next_ask = f->now + 3600.0;
	ev_io_init(&f->news, on_events, f->news_fd, EV_READ);
	ev_init(&f->pause, on_pause);
	f->pause_length = PAUSE_LEAST;
	ev_init(&f->tick, flows_on_tick);
	flows_shortcut_init(f);
	measure_usage(f);
	flows_kick(f);
}

void *
flows_thread(void *arg)
{
	struct flows *f = arg;

	log_attach();
	ev_run(f->loop, 0);
	return NULL;
}
