/* queue.c - clients that wait because the service is at max_connections, or
 * all backends of the active color are at backend_max_connections.
 * Each worker has a queue, first come first served; a place that comes free
 * goes to the workers in turn, as a letter when it is another's.  Whoever
 * carries a letter holds the place, so nobody can overtake.  Places on backends
 * need no letters: while anybody waits no newcomer dials, and who is first in
 * line and finds none stays there.
 * Who is served runs at once, and uses the worker's room: so nobody is served
 * while somebody else of this worker is in the middle of something, but at the
 * loop's next turn.
 * Thread: owning worker; a letter's journey ends on its receiver's. */
#include <stdlib.h>

#include "data/proxy.h"
#include "data/queue.h"
#include "data/lane.h"
#include "net/sock.h"

/* Clients asked in one tick whether they are still there, from the front. */
#define ASKED_MAX 512

bool
queue_is_on(const struct lane *l)
{
	return l->service->config->limits.queue_timeout > 0;
}

void
queue_leave(struct lane *l, struct waiter *w)
{
	list_remove(&w->link);
	admission_leave(&l->service->queue, 1);
	atomic_fetch_sub_explicit(&l->service->waiting[l->worker->index], 1, memory_order_relaxed);
}

static bool
is_gone(const struct waiter *w)
{
	return sock_error(w->ops->client(w)) != 0;
}

/* Gives a place to the first that is still there; false when there is none, or
 * it finds no backend. */
static bool
serve_first(struct lane *l)
{
	struct link *first;

	while ((first = list_first(&l->waiting)) != NULL) {
		struct waiter *w = list_entry(first, struct waiter, link);

		if (l->snapshot->refuse)
			w->ops->end(w, END_STALE);
		else if (is_gone(w))
			w->ops->end(w, END_CLIENT_GONE);
		else
			return w->ops->begin(w);
	}
	return false;
}

static void hand_over_all(struct lane *l);

struct place_letter {
	struct mail mail;
	unsigned lane;
};

static void
place_open(struct mail *m, void *receiver)
{
	struct place_letter *p = container_of(m, struct place_letter, mail);
	struct worker *w = receiver;

	w->lanes[p->lane].places++;
	hand_over_all(&w->lanes[p->lane]);
	free(p);
}

/* False without memory: then the place is only given back, and noticed at the
 * next tick. */
static bool
send_place(struct lane *l, unsigned worker)
{
	struct place_letter *p = malloc(sizeof(*p));

	if (p == NULL)
		return false;
	p->mail.open = place_open;
	p->lane = l->service->index;
	mailbox_send(&l->worker->proxy->workers[worker].mailbox, &p->mail);
	return true;
}

/* The next worker, in turn, on which somebody waits; false: nobody does. */
static bool
find_waiting(struct lane *l, unsigned *worker)
{
	struct service *s = l->service;
	unsigned n = s->n_tallies, turn;

	if (service_waiting(s) == 0)
		return false;
	turn = atomic_fetch_add_explicit(&s->turn, 1, memory_order_relaxed);
	for (unsigned i = 0; i < n; i++) {
		*worker = (turn + i) % n;
		if (atomic_load_explicit(&s->waiting[*worker], memory_order_relaxed) > 0)
			return true;
	}
	return false;
}

/* False: nobody can make use of it now. */
static bool
hand_over(struct lane *l)
{
	unsigned worker;

	while (find_waiting(l, &worker)) {
		if (worker != l->worker->index)
			return send_place(l, worker);
		if (serve_first(l))
			return true;
		/* Those who are left found no backend; so would the others. */
		if (!list_empty(&l->waiting))
			return false;
	}
	return false;
}

/* Who is served may end at once and give the place back. */
static void
hand_over_all(struct lane *l)
{
	while (l->places > 0) {
		l->places--;
		if (!hand_over(l))
			admission_leave(&l->service->admission, 1);
	}
}

static void
hand_on_in_turn(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct lane *l = container_of(t, struct lane, hand_on);

	(void)loop;
	(void)revents;
	hand_over_all(l);
	queue_look(l);
}

static void
hand_on_soon(struct lane *l)
{
	if (!ev_is_active(&l->hand_on))
		ev_timer_start(l->worker->loop, &l->hand_on);
}

void
queue_init(struct lane *l)
{
	list_init(&l->waiting);
	ev_timer_init(&l->hand_on, hand_on_in_turn, 0.0, 0.0);
}

void
queue_free(struct lane *l)
{
	ev_timer_stop(l->worker->loop, &l->hand_on);
	admission_leave(&l->service->admission, l->places);
	l->places = 0;
}

void
queue_give(struct lane *l)
{
	if (service_waiting(l->service) == 0) {
		admission_leave(&l->service->admission, 1);
		return;
	}
	l->places++;
	hand_on_soon(l);
}

void
queue_wake(struct lane *l)
{
	if (service_waiting(l->service) > 0 && admission_enter(&l->service->admission, 1))
		queue_give(l);
}

void
queue_look(struct lane *l)
{
	bool served = true;

	while (served && !list_empty(&l->waiting) && admission_enter(&l->service->admission, 1)) {
		served = serve_first(l);
		if (!served)
			admission_leave(&l->service->admission, 1);
		hand_over_all(l);
	}
}

void
queue_join(struct lane *l, struct waiter *w, enum queue_end end)
{
	list_append(end == QUEUE_FRONT ? l->waiting.next : &l->waiting, &w->link);
	atomic_fetch_add_explicit(&l->service->waiting[l->worker->index], 1, memory_order_relaxed);
	/* What came free between its look and this. */
	hand_on_soon(l);
}

void
queue_end(struct lane *l, enum ending ending)
{
	LIST_EACH(it, &l->waiting) {
		struct waiter *w = list_entry(it, struct waiter, link);

		w->ops->end(w, ending);
	}
}

void
queue_tick(struct lane *l)
{
	unsigned asked = 0;

	LIST_EACH(it, &l->waiting) {
		struct waiter *w = list_entry(it, struct waiter, link);

		if (asked++ == ASKED_MAX)
			break;
		if (is_gone(w))
			w->ops->end(w, END_CLIENT_GONE);
	}
	queue_look(l);
}
