/* flows_thread.c - the thread that listens to conntrack: its loop and its
 * clock.  Thread: the flows thread. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "kernel/flows_private.h"

/* News are read at once when they come alone, and this often when there are many. */
#define NEWS_EVERY 0.005
#define REAP_EVERY 0.1
#define REAP_MOST 8192
#define USAGE_EVERY 1.0

/* -- news ---------------------------------------------------------------- */

static void
on_news(struct ev_loop *loop, ev_io *w, int revents)
{
	struct flows *f = container_of(w, struct flows, news);

	(void)revents;
	flows_read_news(f);
	ev_io_stop(loop, &f->news);
	ev_timer_set(&f->pause, NEWS_EVERY, 0.0);
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

/* Closed flows leave the kernel's table, and their removal tells what they
 * came to. */
static void
reap(struct flows *f)
{
	struct victims *v = &f->closing;
	struct flow_deletes batch = { 0 };

	for (unsigned n = 0; n < REAP_MOST && v->n > 0 && v->list[v->first].due <= f->now; n++) {
		const struct victim *head = &v->list[v->first];

		if (flow_find(&f->table, head->key) != NULL)
			flows_wire_add(&batch, &head->tuple, head->id);
		v->first = (v->first + 1) % v->room;
		v->n--;
		if (batch.n == FLOWS_WIRE_BATCH) {
			(void)flows_wire_delete(f->ask_fd, &batch);
			flows_read_news(f);
		}
	}
	if (batch.n > 0) {
		(void)flows_wire_delete(f->ask_fd, &batch);
		flows_read_news(f);
	}
	f->next_reap = f->now + 3600.0;
	if (v->n > 0) {
		f->next_reap = v->list[v->first].due;
		if (f->next_reap < f->now + REAP_EVERY)
			f->next_reap = f->now + REAP_EVERY;
	}
}

static void
measure(struct flows *f)
{
	uint64_t entries, max;

	if (flows_wire_usage(f->ask_fd, &entries, &max, NULL) == OK) {
		atomic_store_explicit(&f->entries, entries, memory_order_relaxed);
		atomic_store_explicit(&f->max, max, memory_order_relaxed);
	}
	f->next_usage = clock_now() + USAGE_EVERY;
}

static void
on_tick(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct flows *f = container_of(w, struct flows, tick);

	(void)loop;
	(void)revents;
	flows_look_at_clock(f);
	if (f->adopted && f->now >= f->next_drain)
		f->next_drain = flows_drain_step(f);
	if (f->adopted && f->now >= f->next_count)
		flows_count_all(f);
	if (f->now >= f->next_reap)
		reap(f);
	if (f->now >= f->next_usage)
		measure(f);
	flows_hurry(f);
}

void
flows_hurry(struct flows *f)
{
	double next = f->next_usage, now = clock_now();

	if (f->next_reap < next)
		next = f->next_reap;
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
	flows_hurry(f);
}

void
flows_thread_init(struct flows *f)
{
	flow_table_init(&f->table);
	place_table_init(&f->places);
	flows_patience_read(&f->patience);
	flows_look_at_clock(f);
	f->zero = f->now;
	f->random = (uint64_t)f->wall_us;
	f->next_reap = f->now + 3600.0;
	ev_io_init(&f->news, on_news, f->news_fd, EV_READ);
	ev_init(&f->pause, on_pause);
	ev_init(&f->tick, on_tick);
	measure(f);
	flows_hurry(f);
}

void *
flows_thread(void *arg)
{
	struct flows *f = arg;

	log_attach();
	ev_run(f->loop, 0);
	return NULL;
}
