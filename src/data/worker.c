/* worker.c - one thread's loop.  Thread: its own, but for init, start and
 * join, which are main's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/thread.h"
#include "data/dial.h"
#include "data/handover.h"
#include "data/http/http_version.h"
#include "data/handshake.h"
#include "data/lane.h"
#include "data/proxy.h"
#include "data/queue.h"
#include "net/epoll_forget.h"
#include "net/sock.h"

_Static_assert(RELAY_READ_MAX <= WORKER_BUFFER, "what relays read fits");
#define TICK 0.1
#define DRAIN_TICK 0.02
/* Seconds: a tick so late means that the whole thread stood still; and the longest
 * pause of accepting after that. */
#define STALL 1.0
#define HOLD_MAX 0.5
/* Seconds between two turns, which the tick keeps apart by TICK at most, from which
 * on the thread stood still: a stopped process's poll is broken off when it goes on
 * (signal(7)), and reports nothing. */
#define LATE (2 * TICK)
/* After so many polls that may have left events out each has been reported: those
 * that were go behind the others, and the next poll asks for twice as many. */
#define PARTIAL_MAX 16

/* The list whose members expire after so many seconds, by this function, which
 * may arm them again; made on first use. */
static struct worker_clock *
clock_for(struct worker *w, double after, deadline_fn *expired)
{
	struct worker_clock *clock;

	for (unsigned i = 0; i < w->n_clocks; i++)
		if (w->clocks[i]->list.after == after && w->clocks[i]->list.expired == expired)
			return w->clocks[i];
	clock = must_alloc(sizeof(*clock));
	deadline_list_init(&clock->list, after);
	clock->list.expired = expired;
	w->clocks = must_grow(w->clocks, w->n_clocks + 1, sizeof(struct worker_clock *));
	w->clocks[w->n_clocks++] = clock;
	return clock;
}

void
worker_set_clock(struct worker *w, struct deadline_list **at, double after, deadline_fn *expired)
{
	struct deadline_list *old = *at;

	*at = NULL;
	if (expired != NULL) {
		struct worker_clock *clock = clock_for(w, after, expired);

		clock->users++;
		*at = &clock->list;
	}
	if (old != NULL)
		w->idle_clocks += --container_of(old, struct worker_clock, list)->users == 0;
}

/* Those that nothing is armed by any more, after a change of durations. */
static void
free_clocks(struct worker *w)
{
	unsigned kept = 0;

	w->idle_clocks = 0;
	for (unsigned i = 0; i < w->n_clocks; i++) {
		struct worker_clock *c = w->clocks[i];

		if (c->users == 0 && list_empty(&c->list.nodes) && list_empty(&c->list.since)) {
			free(c);
			continue;
		}
		w->idle_clocks += c->users == 0;
		w->clocks[kept++] = c;
	}
	w->n_clocks = kept;
}

void
worker_resume(struct worker *w)
{
	struct listener *l;

	for (unsigned i = 0; (l = worker_next_listener(w, &i)) != NULL;)
		listener_resume(l);
}

struct listener *
worker_add_listener(struct worker *w, struct binding *b, struct admit *admit, int fd)
{
	unsigned slot = w->free_slots > 0 ? 0 : w->n_listeners;

	while (slot < w->n_listeners && w->listeners[slot] != NULL)
		slot++;
	w->free_slots -= slot < w->n_listeners;
	CHECK(slot < PERMIT_LISTENERS);
	if (slot == w->n_listeners && (slot & (slot - 1)) == 0)
		w->listeners = must_grow(w->listeners, slot == 0 ? 1 : 2 * (size_t)slot, sizeof(struct listener *));
	w->n_listeners += slot == w->n_listeners;
	w->listeners[slot] = listener_new(w, slot, b, admit, fd);
	return w->listeners[slot];
}

void
worker_close_listeners(struct worker *w)
{
	struct listener *l;

	for (unsigned i = 0; (l = worker_next_listener(w, &i)) != NULL;)
		listener_close(l);
}

/* Those that were taken already, and wait for a descriptor for their backend,
 * come before those in the queue. */
static void
after_starving(struct worker *w)
{
	struct lane *l;

	w->starved = false;
	for (unsigned i = 0; !w->starved && (l = worker_next_lane(w, &i)) != NULL;)
		dial_resume(l);
	for (unsigned i = 0; !w->starved && (l = worker_next_lane(w, &i)) != NULL;)
		handshake_serve_ready(l);
	if (!w->starved)
		worker_resume(w);
}

static void
expire(struct worker *w)
{
	double now = w->now;
	struct deadline *d;

	for (unsigned i = 0; i < w->n_clocks; i++) {
		struct deadline_list *list = &w->clocks[i]->list;

		if (!list_empty(&list->since))
			deadline_sort(list);
		while ((d = deadline_expired(list, now)) != NULL)
			list->expired(d);
	}
	if (w->idle_clocks > 0)
		free_clocks(w);
}

void
worker_hold(struct worker *w, double stalled)
{
	w->held = true;
	w->held_since = w->now;
	worker_pause(w);
	w->untold_stall = proxy_tell_stalled(w->proxy, w->index, stalled) ? 0 : stalled;
}

void
worker_release(struct worker *w)
{
	if (!w->held)
		return;
	w->held = false;
	worker_resume(w);
}

static void
worker_on_tick(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct worker *w = container_of(t, struct worker, tick);
	struct lane *l;

	(void)loop;
	(void)revents;
	CHECK(w->magic == WORKER_MAGIC);
	if (w->ticked > 0 && w->now - w->ticked > TICK + STALL)
		worker_hold(w, w->now - w->ticked - TICK);
	if (w->ticked > 0)
		tally_lag(&w->lag, w->now - w->ticked, TICK);
	w->ticked = w->now;
	if (w->held && w->untold_stall > 0 && proxy_tell_stalled(w->proxy, w->index, w->untold_stall))
		w->untold_stall = 0;
	if (w->held && w->now - w->held_since >= HOLD_MAX - TICK)
		worker_release(w);
	w->expire_due = true;
	worker_tidy(w);
	handover_tick(w);
	if (w->starved)
		after_starving(w);
	for (unsigned i = 0; (l = worker_next_lane(w, &i)) != NULL;) {
		dial_tick(l);
		if (!queue_is_empty(l))
			queue_tick(l);
		access_tell_untold(l);
		if (l->mode->tick != NULL)
			l->mode->tick(l);
		l->refused = l->refused && !proxy_tell_refused(w->proxy, l->service);
	}
}

static void
worker_on_drain_tick(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct worker *w = container_of(t, struct worker, drain_tick);

	(void)loop;
	(void)revents;
	CHECK(w->magic == WORKER_MAGIC);
	w->drain_due = true;
}

static void
drain_lanes(struct worker *w)
{
	bool busy = false;
	struct lane *l;

	for (unsigned i = 0; (l = worker_next_lane(w, &i)) != NULL;)
		busy |= lane_drain_step(l, w->now);
	if (!busy) {
		w->draining = false;
		ev_timer_stop(w->loop, &w->drain_tick);
	}
}

void
worker_drain_begin(struct worker *w)
{
	if (w->draining)
		return;
	w->draining = true;
	ev_timer_set(&w->drain_tick, 0.0, DRAIN_TICK);
	ev_timer_start(w->loop, &w->drain_tick);
}

static void
worker_on_wake(struct ev_loop *loop, ev_check *c, int revents)
{
	struct worker *w = container_of(c, struct worker, wake);
	double before = w->now;
	bool was_late = w->late;

	(void)revents;
	w->now = clock_now();
	w->events = ev_pending_count(loop);
	w->late = w->now - before > LATE;
	w->whole = (w->events < WORKER_EVENTS && (!w->late || was_late)) || ++w->partial >= PARTIAL_MAX;
	if (w->whole)
		w->partial = 0;
}

static void
worker_on_idle(struct ev_loop *loop, ev_idle *i, int revents)
{
	(void)loop;
	(void)i;
	(void)revents;
}

/* Timeouts and drains.  A worker that stood still finds what came meanwhile
 * together with its timers, and who was in time must not be called late or idle:
 * so they run behind the events of a turn, and only of one that had them all. */
static void
run_due(struct worker *w)
{
	bool expires = w->expire_due, drains = w->drain_due;

	if (!w->whole && (expires || drains)) {
		ev_idle_start(w->loop, &w->look_again);
		return;
	}
	ev_idle_stop(w->loop, &w->look_again);
	w->expire_due = w->drain_due = false;
	if (expires)
		expire(w);
	if (drains)
		drain_lanes(w);
}

/* Before the loop waits again no stack frame knows the sessions that ended in
 * this turn: now they may go. */
static void
reap_ended(struct worker *w)
{
	for (int i = 0; i < MODES; i++)
		w->proxy->modes[i]->reap(w);
}

static void
worker_on_reap(struct ev_loop *loop, ev_prepare *p, int revents)
{
	struct worker *w = container_of(p, struct worker, reap);

	(void)loop;
	(void)revents;
	run_due(w);
	reap_ended(w);
}

void
worker_init(struct worker *w, unsigned index, struct proxy *proxy, struct service **services, unsigned n)
{
	memset(w, 0, sizeof(*w));
	w->magic = WORKER_MAGIC;
	w->index = index;
	w->proxy = proxy;
	w->loop = epoll_loop_new(EVFLAG_NOENV, &w->epoll);
	CHECK(w->loop != NULL);
	turn_init(&w->turn, w->loop);
	access_init(&w->access, proxy->config);
	w->random = (uint64_t)clock_wall_us() + index;
	w->buffers.buffer = must_alloc(WORKER_BUFFER);
	w->buffers.size = RELAY_READ_MAX;
	pipes_init(&w->buffers.pipes, proxy->pipes);
	worker_fit(w, proxy->config);
	list_init(&w->forgetting);
	for (int i = 0; i < WAITER_KINDS; i++)
		list_init(&w->ended[i]);
	list_init(&w->ended_upstreams);
	mailbox_init(&w->mailbox, w->loop, w);
	ev_timer_init(&w->tick, worker_on_tick, TICK, TICK);
	/* After a stall the tick comes before whatever wants to be accepted. */
	ev_set_priority(&w->tick, EV_MAXPRI);
	ev_timer_start(w->loop, &w->tick);
	ev_timer_init(&w->drain_tick, worker_on_drain_tick, 0.0, DRAIN_TICK);
	ev_set_priority(&w->drain_tick, TURN_FIRST);
	ev_idle_init(&w->look_again, worker_on_idle);
	ev_prepare_init(&w->reap, worker_on_reap);
	/* It ends what others may be noted for (net/turn.h). */
	ev_set_priority(&w->reap, EV_MAXPRI);
	ev_prepare_start(w->loop, &w->reap);
	ev_check_init(&w->wake, worker_on_wake);
	ev_set_priority(&w->wake, EV_MAXPRI);
	ev_check_start(w->loop, &w->wake);
	w->now = clock_now();
	w->lanes = must_array(n, sizeof(struct lane *));
	w->n_lanes = n;
	for (unsigned i = 0; i < n; i++)
		if (services[i]->config->engine == ENGINE_PROXY)
			w->lanes[i] = lane_new(w, services[i], services[i]->config);
}

/* Cuts what is left; letters to them may still be on their way. */
static void
end_lanes(struct worker *w)
{
	struct lane *l;

	handover_end(w);
	for (unsigned i = 0; (l = worker_next_lane(w, &i)) != NULL;)
		lane_end(l);
}

static void *
worker_main(void *arg)
{
	struct worker *w = arg;

	w->self = pthread_self();
	log_attach();
	ev_now_update(w->loop);
	w->now = clock_now();
	ev_run(w->loop, 0);
	worker_close_listeners(w);
	end_lanes(w);
	reap_ended(w);
	return NULL;
}

enum err
worker_start(struct worker *w, struct why *why)
{
	char name[16];
	int rc;

	snprintf(name, sizeof(name), "worker-%u", w->index);
	rc = thread_start(&w->thread, name, worker_main, w);
	if (rc != 0)
		return why_set(why, E_INTERNAL, "cannot start worker %u: %s", w->index, strerror(rc));
	return OK;
}

struct end_letter {
	struct mail mail;
};

static void
end_letter_open(struct mail *m, void *receiver)
{
	struct worker *w = receiver;

	free(container_of(m, struct end_letter, mail));
	ev_break(w->loop, EVBREAK_ALL);
}

void
worker_destroy(struct worker *w)
{
	struct lane *l;

	mailbox_close(&w->mailbox);
	for (unsigned i = 0; (l = worker_next_lane(w, &i)) != NULL;)
		lane_free(&l);
	pipes_free(&w->buffers.pipes);
	free(w->buffers.buffer);
	free(w->http);
	free_list_drop(&w->spare_exchanges);
	if (w->proxy->version != NULL)
		w->proxy->version->destroy(w);
	free(w->udp);
	tls_tickets_wipe(&w->tickets);
	for (unsigned i = 0; i < w->n_listeners; i++)
		if (w->listeners[i] != NULL)
			w->listeners[i]->users = 0;
	for (unsigned i = 0; i < w->n_listeners; i++)
		if (w->listeners[i] != NULL) {
			w->listeners[i]->next = NULL;
			listener_free(&w->listeners[i]);
		}
	free(w->listeners);
	free(w->lanes);
	for (unsigned i = 0; i < w->n_clocks; i++)
		free(w->clocks[i]);
	free(w->clocks);
	ev_loop_destroy(w->loop);
	turn_free(&w->turn);
	w->magic = 0;
}

void
worker_join(struct worker *w)
{
	if (w->thread != 0) {
		struct end_letter *letter = must_alloc(sizeof(*letter));

		letter->mail.deliver = end_letter_open;
		mailbox_send(&w->mailbox, &letter->mail);
		pthread_join(w->thread, NULL);
	} else {
		worker_close_listeners(w);
		end_lanes(w);
	}
}
