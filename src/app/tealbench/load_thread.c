/* load_thread.c - one thread of the load: warming, pacing, time-outs, the end.
 * Request k of the whole load is due at k / rate; thread i of n sends those
 * with k mod n = i.  A request that finds no connection free is sent late,
 * but its latency counts from when it was due: a stalled target delays and
 * so lengthens every request it should have taken meanwhile. */
#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "app/tealbench/load_flow.h"

#define SECOND 1000000000u
#define TICK_SECONDS 0.01
/* Connects under way at once while warming: a backlog must take them. */
#define RAMP 128

uint64_t
load_thread_due(const struct load_thread *t)
{
	const struct load_config *config = t->config;
	uint64_t k = t->issued * config->threads + t->index;

	/* In two steps: k * 10^9 would overflow within hours. */
	return t->began + k / config->rate * SECOND + k % config->rate * SECOND / config->rate;
}

void
load_thread_arm(struct load_thread *t)
{
	uint64_t due = load_thread_due(t);
	struct itimerspec when = { .it_value = { (time_t)(due / SECOND), (long)(due % SECOND) } };

	if (t->armed == due)
		return;
	t->armed = due;
	CHECK(timerfd_settime(t->pace.fd, TFD_TIMER_ABSTIME, &when, NULL) == 0);
}

static void
on_pace(struct ev_loop *loop, ev_io *w, int revents)
{
	struct load_thread *t = container_of(w, struct load_thread, pace);
	struct link *l;
	uint64_t fired, now;

	(void)loop, (void)revents;
	if (read(w->fd, &fired, sizeof(fired)) < 0)
		return;
	t->armed = 0;
	if (t->phase != LOAD_RUNNING)
		return;
	now = load_now();
	while (t->issued < t->quota && load_thread_due(t) <= now && (l = list_first(&t->ready)) != NULL) {
		list_remove(l);
		flow_begin(list_entry(l, struct flow, link), load_thread_due(t));
	}
	/* None free: the first that is done sees that one is due. */
	if (t->issued < t->quota && !list_empty(&t->ready))
		load_thread_arm(t);
}

static void
thread_finish(struct load_thread *t)
{
	if (t->ended == 0 || t->config->mode->bulk)
		t->ended = load_now();
	ev_break(t->loop, EVBREAK_ALL);
}

void
load_thread_check(struct load_thread *t)
{
	if (t->phase == LOAD_WARMING || t->config->mode->hold)
		return;
	if (t->busy == 0 && (t->phase == LOAD_CLOSING || t->issued >= t->quota))
		thread_finish(t);
}

static void
thread_go(struct load_thread *t)
{
	t->phase = LOAD_RUNNING;
	if (t->config->mode->hold)
		return;
	t->began = load_now();
	for (unsigned i = 0; i < t->flow_count; i++)
		if (list_empty(&t->flows[i].link))	/* not a failed one */
			flow_next(&t->flows[i]);
}

/* Begins as many as may be under way at once. */
static void
thread_ramp(struct load_thread *t)
{
	struct flow *f;

	if (t->ramping)
		return;	/* one of those begun below failed at once */
	t->ramping = true;
	while (t->warmed < t->flow_count && t->warming < RAMP) {
		f = &t->flows[t->warmed++];
		t->warming++;
		f->warming = true;
		if (t->config->mode->hold)
			flow_begin(f, load_now());
		else
			flow_connect(f);
	}
	t->ramping = false;
	if (t->warming == 0 && t->phase == LOAD_WARMING)
		thread_go(t);
}

void
load_thread_warmed(struct flow *f)
{
	if (!f->warming)
		return;
	f->warming = false;
	f->thread->warming--;
	load_count(&f->thread->tally.settled, 1);
	thread_ramp(f->thread);
}

/* The time is up. */
static void
thread_close(struct load_thread *t, uint64_t now)
{
	const struct load_config *config = t->config;

	if (config->mode->hold || config->mode->bulk) {
		thread_finish(t);
		return;
	}
	if (config->rate > 0) {
		/* All that was due is sent, if late; what cannot be is counted. */
		if (t->issued < t->quota && now < t->began + load_ns(config->duration + config->timeout))
			return;
		load_count(&t->tally.errors[LOAD_UNSENT], t->quota - t->issued);
		t->issued = t->quota;
	}
	t->phase = LOAD_CLOSING;
	load_thread_check(t);
}

static void
load_on_tick(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct load_thread *t = container_of(w, struct load_thread, tick);
	uint64_t now = load_now(), timeout = load_ns(t->config->timeout);
	struct link *l, again;
	struct flow *f;

	(void)loop, (void)revents;
	while ((l = list_first(&t->deadlines)) != NULL) {
		f = list_entry(l, struct flow, deadline);
		if (f->touched + timeout > now)
			break;
		flow_fail(f, LOAD_TIMEOUT);
	}
	if (t->phase == LOAD_RUNNING && now >= t->began + load_ns(t->config->duration))
		thread_close(t, now);
	if (t->phase == LOAD_WARMING)
		return;
	list_init(&again);
	list_splice(&again, &t->paused);
	while ((l = list_first(&again)) != NULL) {
		list_remove(l);
		flow_next(list_entry(l, struct flow, link));
	}
	load_thread_check(t);
}

static void
on_finish(struct ev_loop *loop, ev_async *w, int revents)
{
	struct load_thread *t = container_of(w, struct load_thread, finish);

	(void)loop, (void)revents;
	t->phase = LOAD_CLOSING;
	load_thread_check(t);
}

static void
load_on_stop(struct ev_loop *loop, ev_async *w, int revents)
{
	struct load_thread *t = container_of(w, struct load_thread, stop);

	(void)loop, (void)revents;
	thread_finish(t);
}

void *
load_thread_run(void *thread)
{
	struct load_thread *t = thread;

	t->born = t->began = load_now();
	if (t->config->mode->fresh)
		thread_go(t);
	else
		thread_ramp(t);
	ev_run(t->loop, 0);
	atomic_store(&t->finished, true);
	return NULL;
}

void
load_thread_init(struct load_thread *t, const struct load_config *config, unsigned index)
{
	unsigned n = (unsigned)config->threads;
	uint64_t planned = config->requests > 0 ? config->requests : UINT64_MAX;

	t->config = config;
	t->index = index;
	t->flow_count = (unsigned)(config->connections / n + (index < config->connections % n));
	if (config->rate > 0 && (double)config->rate * config->duration < (double)planned)
		planned = (uint64_t)((double)config->rate * config->duration);
	if (config->mode->hold)
		planned = config->connections;
	t->quota = planned == UINT64_MAX ? planned : planned / n + (index < planned % n);
	t->flows = must_array(t->flow_count, sizeof(*t->flows));
	t->scratch = must_alloc(LOAD_SCRATCH);
	list_init(&t->ready);
	list_init(&t->paused);
	list_init(&t->deadlines);
	histogram_init(&t->latency);
	histogram_init(&t->connect);
	histogram_init(&t->handshake);
	t->loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
	CHECK(t->loop != NULL);
	for (unsigned i = 0; i < t->flow_count; i++)
		flow_init(&t->flows[i], t, i * n + index);
	ev_io_init(&t->pace, on_pace, timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), EV_READ);
	CHECK(t->pace.fd >= 0);
	ev_io_start(t->loop, &t->pace);
	ev_timer_init(&t->tick, load_on_tick, TICK_SECONDS, TICK_SECONDS);
	ev_timer_start(t->loop, &t->tick);
	ev_async_init(&t->stop, load_on_stop);
	ev_async_start(t->loop, &t->stop);
	ev_async_init(&t->finish, on_finish);
	ev_async_start(t->loop, &t->finish);
}

void
load_thread_free(struct load_thread *t)
{
	for (unsigned i = 0; i < t->flow_count; i++)
		flow_free(&t->flows[i]);
	free(t->flows);
	free(t->scratch);
	close(t->pace.fd);
	ev_loop_destroy(t->loop);
}
