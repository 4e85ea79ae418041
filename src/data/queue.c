/* queue.c - who waits because the service is at max_connections, or all
 * backends of the active color are at backend_max_connections.
 * Each worker has its part of a line, in the order of tickets, and shows the
 * lowest; what comes free goes to the worker that shows the lowest of all, as a
 * letter when that is another.  The letter holds the place in the service, so no
 * newcomer can overtake.  Places on backends need not be held: while a client waits
 * no newcomer dials, and the first in line stays there if it finds none.
 * A client that is served runs at once and uses the worker's buffers: so it is served
 * at the loop's next turn, not in the middle of another's work.
 * Thread: owning worker; a letter's journey ends on its receiver's. */
#include <stdlib.h>

#include "data/proxy.h"
#include "data/queue.h"
#include "data/lane.h"
#include "net/turn.h"

/* Clients asked in one tick whether they are still there, from the front. */
#define ASKED_MAX 512

bool
queue_is_on(const struct lane *l)
{
	return l->config->limits.queue_timeout > 0;
}

static const struct waiter_ops *
ops_of(const struct lane *l, const struct waiter *w)
{
	return l->waiter_ops[w->kind];
}

static enum line
line_of(const struct waiter *w)
{
	return w->kind == WAITER_REQUEST ? LINE_BACKENDS : LINE_PLACES;
}

/* What other workers see of this one's part. */
static void
show_first(struct lane *l, enum line line)
{
	struct link *first = list_first(&l->waiting[line]);
	uint64_t ticket = first != NULL ? list_entry(first, struct waiter, link)->ticket : 0;

	atomic_store_explicit(&l->service->first[line][l->worker->index], ticket, memory_order_relaxed);
}

void
queue_leave(struct lane *l, struct waiter *w)
{
	list_remove(&w->link);
	show_first(l, line_of(w));
	atomic_fetch_sub_explicit(&l->service->waiting[l->worker->index], 1, memory_order_relaxed);
}

bool
queue_is_empty(const struct lane *l)
{
	return list_empty(&l->waiting[LINE_PLACES]) && list_empty(&l->waiting[LINE_BACKENDS]);
}

static bool
waiter_is_gone(const struct lane *l, const struct waiter *w)
{
	return ops_of(l, w)->gone(w);
}

/* Before a newcomer gets in line, who would be served after those. */
static bool
take_queue_place(struct lane *l, enum line line)
{
	return line == LINE_BACKENDS || admission_enter(&l->service->admission, 1);
}

static void
leave_queue_place(struct lane *l, enum line line, unsigned n)
{
	if (line == LINE_PLACES)
		admission_leave(&l->service->admission, n);
}

/* -- what comes free, on its way ------------------------------------------- */

/* SENT: on its way to another worker.  KEPT: no waiting client can use it now. */
enum handed { HANDED_OVER, HANDED_SENT, HANDED_KEPT };

static enum handed hand_over_all(struct lane *l, enum line line, bool look);
static void look(struct lane *l, enum line line);

struct place_letter {
	struct mail mail;
	unsigned lane;
	uint8_t line;	/* enum line */
	bool look;	/* there may be more than this one */
};

static void
place_open(struct mail *m, void *receiver)
{
	struct place_letter *p = container_of(m, struct place_letter, mail);
	struct worker *w = receiver;
	struct lane *l = w->lanes[p->lane];
	enum line line = (enum line)p->line;

	l->freed[line]++;
	(void)hand_over_all(l, line, p->look);
	if (p->look)
		look(l, line);
	free(p);
}

/* False without memory: then the place is only given back, and noticed at the
 * next tick. */
static bool
send_place(struct lane *l, enum line line, unsigned worker, bool look)
{
	struct place_letter *p = malloc(sizeof(*p));

	if (p == NULL)
		return false;
	p->mail.deliver = place_open;
	p->lane = l->service->index;
	p->line = (uint8_t)line;
	p->look = look;
	mailbox_send(&l->worker->proxy->workers[worker].mailbox, &p->mail);
	return true;
}

/* The worker of the client whose turn it is; false: none waits. */
static bool
find_first(const struct lane *l, enum line line, unsigned *worker)
{
	const struct service *s = l->service;
	uint64_t lowest = UINT64_MAX;

	for (unsigned i = 0; i < s->n_tallies; i++) {
		uint64_t ticket = atomic_load_explicit(&s->first[line][i], memory_order_relaxed);

		if (ticket != 0 && ticket < lowest) {
			lowest = ticket;
			*worker = i;
		}
	}
	return lowest != UINT64_MAX;
}

bool
queue_has(const struct lane *l, enum line line)
{
	unsigned worker;

	return l->queues && find_first(l, line, &worker);
}

static bool
is_ours(const struct lane *l, enum line line)
{
	unsigned worker;

	return find_first(l, line, &worker) && worker == l->worker->index;
}

static enum handed
hand_over(struct lane *l, enum line line, bool look)
{
	enum ending ending;
	unsigned worker;

	while (find_first(l, line, &worker)) {
		struct waiter *w;

		if (worker != l->worker->index)
			return send_place(l, line, worker, look) ? HANDED_SENT : HANDED_KEPT;
		w = list_entry(list_first(&l->waiting[line]), struct waiter, link);
		if (l->snapshot->refuse)
			ops_of(l, w)->end(w, END_STALE);
		else if (lane_must_end(l, &ending))	/* the place of one that was cut: this one is cut next */
			ops_of(l, w)->end(w, ending);
		else if (waiter_is_gone(l, w))
			ops_of(l, w)->end(w, END_CLIENT_GONE);
		else	/* the others would find no backend either */
			return ops_of(l, w)->begin(w) ? HANDED_OVER : HANDED_KEPT;
	}
	return HANDED_KEPT;
}

/* Who is served may end at once and give the place back.  What became of the
 * last. */
static enum handed
hand_over_all(struct lane *l, enum line line, bool look)
{
	enum handed handed = HANDED_KEPT;

	while (l->freed[line] > 0) {
		l->freed[line]--;
		handed = hand_over(l, line, look);
		if (handed == HANDED_KEPT)
			leave_queue_place(l, line, 1);
	}
	return handed;
}

/* Who comes before ours, on another worker, is told to look as well; when it is
 * served, our turn comes by the same way. */
static void
look(struct lane *l, enum line line)
{
	enum handed handed = HANDED_OVER;

	while (handed == HANDED_OVER && !list_empty(&l->waiting[line]) && take_queue_place(l, line)) {
		l->freed[line]++;
		handed = hand_over_all(l, line, true);
	}
}

void
queue_look(struct lane *l)
{
	look(l, LINE_BACKENDS);
	/* Places that went to another process are held there. */
	if (!l->worker->yielded)
		look(l, LINE_PLACES);
}

/* -- at the loop's next turn ------------------------------------------------ */

static void
hand_on_in_turn(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct lane *l = container_of(t, struct lane, hand_on);

	(void)loop;
	(void)revents;
	for (int i = LINES - 1; i >= 0; i--) {
		enum line line = (enum line)i;

		(void)hand_over_all(l, line, false);
		/* What came free between a newcomer's look and its getting in line. */
		if (is_ours(l, line))
			look(l, line);
	}
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
	for (int i = 0; i < LINES; i++)
		list_init(&l->waiting[i]);
	ev_timer_init(&l->hand_on, hand_on_in_turn, 0.0, 0.0);
	ev_set_priority(&l->hand_on, TURN_FIRST);
}

void
queue_free(struct lane *l)
{
	ev_timer_stop(l->worker->loop, &l->hand_on);
	for (int i = 0; i < LINES; i++) {
		leave_queue_place(l, (enum line)i, l->freed[i]);
		l->freed[i] = 0;
	}
}

void
queue_give(struct lane *l)
{
	if (admission_is_passed(&l->service->admission) || !queue_has(l, LINE_PLACES)) {
		admission_leave(&l->service->admission, 1);
		return;
	}
	l->freed[LINE_PLACES]++;
	hand_on_soon(l);
}

void
queue_wake(struct lane *l)
{
	if (!queue_has(l, LINE_BACKENDS))
		return;
	l->freed[LINE_BACKENDS]++;
	hand_on_soon(l);
}

void
queue_join(struct lane *l, struct waiter *w, enum queue_end end)
{
	struct service *s = l->service;
	enum line line = line_of(w);
	struct link *at = &l->waiting[line];

	switch (end) {
	case QUEUE_FRONT:	/* none is before them, whatever their number */
		w->ticket = 1;
		at = at->next;
		break;
	case QUEUE_BACK:
		w->ticket = 2 + (atomic_fetch_add_explicit(&s->ticket, 1, memory_order_relaxed) & INT64_MAX >> 2);
		break;
	case QUEUE_AGAIN:
		w->ticket += w->ticket == 0;
		while (at->prev != &l->waiting[line] && list_entry(at->prev, struct waiter, link)->ticket > w->ticket)
			at = at->prev;
		break;
	}
	list_append(at, &w->link);
	show_first(l, line);
	atomic_fetch_add_explicit(&s->waiting[l->worker->index], 1, memory_order_relaxed);
	hand_on_soon(l);
}

void
queue_end(struct lane *l, enum ending ending)
{
	for (int i = 0; i < LINES; i++)
		while (!list_empty(&l->waiting[i])) {
			struct waiter *w = list_entry(list_first(&l->waiting[i]), struct waiter, link);

			ops_of(l, w)->end(w, ending);
		}
}

void
queue_tick(struct lane *l)
{
	unsigned asked = 0;

	for (int i = 0; i < LINES; i++)
		LIST_EACH(it, &l->waiting[i]) {
			struct waiter *w = list_entry(it, struct waiter, link);

			if (asked++ == ASKED_MAX)
				break;
			if (waiter_is_gone(l, w))
				ops_of(l, w)->end(w, END_CLIENT_GONE);
		}
	queue_look(l);
}
