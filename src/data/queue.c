/* queue.c - clients that wait because the service is at max_connections.
 * Each worker has a queue, first come first served; a place that comes free
 * goes to the workers in turn, as a letter when it is another's.  Whoever
 * carries a letter holds the place, so nobody can overtake.
 * Thread: owning worker; a letter's journey ends on its receiver's. */
#include <stdlib.h>

#include "data/door.h"
#include "data/proxy.h"
#include "net/sock.h"

/* Clients asked in one tick whether they are still there, from the front. */
#define ASKED_MAX 512

void
queue_leave(struct session *s)
{
	struct lane *l = s->lane;

	CHECK(s->state == SESSION_WAITING);
	list_remove(&s->link);
	deadline_disarm(&s->deadline);
	admission_leave(&l->service->queue, 1);
	atomic_fetch_sub_explicit(&l->service->waiting[l->worker->index], 1, memory_order_relaxed);
	/* Whatever comes next, it is judged by what is true now. */
	s->color = (uint8_t)l->snapshot->active;
	s->epoch = l->snapshot->epoch;
}

/* Gives a place to the first that is still there; false when there is none. */
static bool
serve_first(struct lane *l)
{
	struct link *first;

	while ((first = list_first(&l->waiting)) != NULL) {
		struct session *s = list_entry(first, struct session, link);

		if (l->snapshot->refuse) {
			session_end(s, END_STALE);
			continue;
		}
		if (sock_error(io_fd(&s->client)) != 0) {
			session_end(s, END_CLIENT_GONE);
			continue;
		}
		queue_leave(s);
		s->has_place = 1;
		session_begin(s);
		return true;
	}
	return false;
}

struct place_letter {
	struct mail mail;
	unsigned lane;
};

static void
place_open(struct mail *m, void *receiver)
{
	struct place_letter *p = container_of(m, struct place_letter, mail);
	struct worker *w = receiver;

	queue_give(&w->lanes[p->lane]);
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

static void
give_one(struct lane *l)
{
	struct service *s = l->service;
	unsigned worker;

	while (find_waiting(l, &worker)) {
		if (worker != l->worker->index ? send_place(l, worker) : serve_first(l))
			return;
		if (worker != l->worker->index)
			break;
	}
	admission_leave(&s->admission, 1);
}

void
queue_give(struct lane *l)
{
	/* Who is served may end at once and give the place back: that is done
	 * here, one after the other, instead of ever deeper. */
	l->places++;
	if (l->giving)
		return;
	l->giving = true;
	while (l->places > 0) {
		l->places--;
		give_one(l);
	}
	l->giving = false;
}

/* A place that came free between somebody's look at it and his queueing. */
static void
take_unnoticed(struct lane *l)
{
	while (!list_empty(&l->waiting) && admission_enter(&l->service->admission, 1))
		queue_give(l);
}

void
queue_join(struct session *s)
{
	struct lane *l = s->lane;

	s->state = SESSION_WAITING;
	list_append(&l->waiting, &s->link);
	deadline_arm(l->queue_clock, &s->deadline, l->worker->now);
	atomic_fetch_add_explicit(&l->service->waiting[l->worker->index], 1, memory_order_relaxed);
	take_unnoticed(l);
}

void
queue_tick(struct lane *l)
{
	unsigned asked = 0;

	LIST_EACH(it, &l->waiting) {
		struct session *s = list_entry(it, struct session, link);

		if (asked++ == ASKED_MAX)
			break;
		if (sock_error(io_fd(&s->client)) != 0)
			session_end(s, END_CLIENT_GONE);
	}
	take_unnoticed(l);
}
