/* queue.c - clients that wait because the service is at max_connections, or
 * all backends of the active color are at backend_max_connections.
 * Each worker has a queue in the order of tickets, and shows the lowest of it; a
 * place that comes free goes to the worker that shows the lowest of all, as a
 * letter when that is another.  Whoever carries a letter holds the place, so
 * nobody can overtake.  Places on backends need no letters: while anybody waits
 * no newcomer dials, and who is first in line and finds none stays there.
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

static const struct waiter_ops *
ops_of(const struct waiter *w)
{
	switch ((enum waiter_kind)w->kind) {
	case WAITER_SESSION:
		return &session_waiting_ops;
	case WAITER_CLIENT:
		return &client_waiting_ops;
	case WAITER_REQUEST:
		return &exchange_waiting_ops;
	}
	CHECK(!"somebody waits");
	return NULL;
}

/* What other workers see of this one's queue. */
static void
show_first(struct lane *l)
{
	struct link *first = list_first(&l->waiting);
	uint64_t ticket = first != NULL ? list_entry(first, struct waiter, link)->ticket : 0;

	atomic_store_explicit(&l->service->first[l->worker->index], ticket, memory_order_relaxed);
}

void
queue_leave(struct lane *l, struct waiter *w)
{
	list_remove(&w->link);
	show_first(l);
	admission_leave(&l->service->queue, 1);
	atomic_fetch_sub_explicit(&l->service->waiting[l->worker->index], 1, memory_order_relaxed);
	if (w->kind == WAITER_REQUEST)
		atomic_fetch_sub_explicit(&l->service->waiting_requests, 1, memory_order_relaxed);
}

static bool
is_gone(const struct waiter *w)
{
	return sock_error(ops_of(w)->client(w)) != 0;
}

/* -- places that travel ---------------------------------------------------- */

/* SENT: on its way to another worker.  KEPT: nobody can make use of it now. */
enum handed { HANDED_OVER, HANDED_SENT, HANDED_KEPT };

static enum handed hand_over_all(struct lane *l, bool look);

struct place_letter {
	struct mail mail;
	unsigned lane;
	bool look;	/* there may be more places than this one */
};

static void
place_open(struct mail *m, void *receiver)
{
	struct place_letter *p = container_of(m, struct place_letter, mail);
	struct worker *w = receiver;
	struct lane *l = &w->lanes[p->lane];

	l->places++;
	(void)hand_over_all(l, p->look);
	if (p->look)
		queue_look(l);
	free(p);
}

/* False without memory: then the place is only given back, and noticed at the
 * next tick. */
static bool
send_place(struct lane *l, unsigned worker, bool look)
{
	struct place_letter *p = malloc(sizeof(*p));

	if (p == NULL)
		return false;
	p->mail.open = place_open;
	p->lane = l->service->index;
	p->look = look;
	mailbox_send(&l->worker->proxy->workers[worker].mailbox, &p->mail);
	return true;
}

/* The worker on which the one waits whose turn it is; false: nobody does. */
static bool
find_first(const struct lane *l, unsigned *worker)
{
	const struct service *s = l->service;
	uint64_t lowest = UINT64_MAX;

	for (unsigned i = 0; i < s->n_tallies; i++) {
		uint64_t ticket = atomic_load_explicit(&s->first[i], memory_order_relaxed);

		if (ticket != 0 && ticket < lowest) {
			lowest = ticket;
			*worker = i;
		}
	}
	return lowest != UINT64_MAX;
}

static bool
is_ours(const struct lane *l)
{
	unsigned worker;

	return find_first(l, &worker) && worker == l->worker->index;
}

static enum handed
hand_over(struct lane *l, bool look)
{
	unsigned worker;

	while (find_first(l, &worker)) {
		struct waiter *w;

		if (worker != l->worker->index)
			return send_place(l, worker, look) ? HANDED_SENT : HANDED_KEPT;
		w = list_entry(list_first(&l->waiting), struct waiter, link);
		if (l->snapshot->refuse)
			ops_of(w)->end(w, END_STALE);
		else if (is_gone(w))
			ops_of(w)->end(w, END_CLIENT_GONE);
		else	/* whoever else waits would find no backend either */
			return ops_of(w)->begin(w) ? HANDED_OVER : HANDED_KEPT;
	}
	return HANDED_KEPT;
}

/* Who is served may end at once and give the place back.  What became of the
 * last. */
static enum handed
hand_over_all(struct lane *l, bool look)
{
	enum handed handed = HANDED_KEPT;

	while (l->places > 0) {
		l->places--;
		handed = hand_over(l, look);
		if (handed == HANDED_KEPT)
			admission_leave(&l->service->admission, 1);
	}
	return handed;
}

static void
hand_on_in_turn(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct lane *l = container_of(t, struct lane, hand_on);

	(void)loop;
	(void)revents;
	(void)hand_over_all(l, false);
	/* What came free between a newcomer's look and its getting in line. */
	if (is_ours(l))
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
	enum handed handed = HANDED_OVER;

	/* Who comes before ours, on another worker, is told to look as well; when
	 * it is served, our turn comes by the same way. */
	while (handed == HANDED_OVER && !list_empty(&l->waiting) && admission_enter(&l->service->admission, 1)) {
		l->places++;
		handed = hand_over_all(l, true);
	}
}

void
queue_join(struct lane *l, struct waiter *w, enum queue_end end)
{
	struct service *s = l->service;

	/* Those at the front have none before them, whatever their number. */
	w->ticket =
		end == QUEUE_FRONT ?
			1 :
			2 + (atomic_fetch_add_explicit(&s->ticket, 1, memory_order_relaxed) & INT64_MAX >> 2);
	list_append(end == QUEUE_FRONT ? l->waiting.next : &l->waiting, &w->link);
	show_first(l);
	atomic_fetch_add_explicit(&s->waiting[l->worker->index], 1, memory_order_relaxed);
	if (w->kind == WAITER_REQUEST)
		atomic_fetch_add_explicit(&s->waiting_requests, 1, memory_order_relaxed);
	hand_on_soon(l);
}

void
queue_end(struct lane *l, enum ending ending)
{
	LIST_EACH(it, &l->waiting) {
		struct waiter *w = list_entry(it, struct waiter, link);

		ops_of(w)->end(w, ending);
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
			ops_of(w)->end(w, END_CLIENT_GONE);
	}
	queue_look(l);
}
