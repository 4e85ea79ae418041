/* acceptor.c - accepts connections in bounded batches.  Thread: the loop's. */
#include <errno.h>
#include <unistd.h>

#include "base/check.h"
#include "net/acceptor.h"
#include "net/turn.h"

/* So many connections that are gone before they could be accepted are one. */
#define GONE_MAX 64

/* Descriptors or memory are out, or the socket is of no use.  All else is about
 * the one connection that is gone, and accept(2) wants the next to be tried. */
static bool
is_lasting(int e)
{
	switch (e) {
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
	case EBADF:
	case EINVAL:
	case ENOTSOCK:
		return true;
	default:
		return false;
	}
}

enum accepted { ACCEPTED, ACCEPT_EMPTY, ACCEPT_STOP };

static enum accepted
accept_one(struct acceptor *a)
{
	struct addr peer;
	unsigned gone = 0;
	int fd, e;

	if (!a->calls->has_place(a))
		return ACCEPT_STOP;
	do {
		peer.len = sizeof(peer.u);
		fd = accept4(a->watcher.fd, &peer.u.sa, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	} while (fd < 0 && errno != EAGAIN && !is_lasting(errno) && gone++ < GONE_MAX);
	if (fd >= 0) {
		a->calls->take(a, fd, &peer);
		return ACCEPTED;
	}
	e = errno == EAGAIN ? 0 : errno;
	if (a->calls->none(a, e) && e != 0)
		return accept_one(a);
	return e == 0 ? ACCEPT_EMPTY : ACCEPT_STOP;
}

/* An accept that finds nothing costs as much as a good one, so the batch
 * follows the load: it grows only while the queue is full in one loop turn
 * after the other, and shrinks to what was there when it was not. */
static void
acceptor_on_ready(struct ev_loop *loop, ev_io *watcher, int revents)
{
	struct acceptor *a = container_of(watcher, struct acceptor, watcher);
	unsigned turn = ev_iteration(loop);

	(void)revents;
	for (unsigned i = 0; i < a->batch; i++) {
		enum accepted got = accept_one(a);

		if (got == ACCEPTED)
			continue;
		if (got == ACCEPT_EMPTY)
			a->batch = i > a->calls->batch_least ? i : a->calls->batch_least;
		return;
	}
	if (turn == a->full_turn + 1 && a->batch < a->calls->batch_max)
		a->batch++;
	a->full_turn = turn;
}

static void
acceptor_on_pause_over(struct ev_loop *loop, ev_timer *t, int revents)
{
	(void)loop;
	(void)revents;
	acceptor_resume(container_of(t, struct acceptor, pause));
}

void
acceptor_init(struct acceptor *a, struct ev_loop *loop, int fd, const struct acceptor_calls *calls)
{
	*a = (struct acceptor){ .loop = loop, .calls = calls, .batch = calls->batch_least };
	turn_io_init(&a->watcher, acceptor_on_ready, fd, EV_READ);
	ev_timer_init(&a->pause, acceptor_on_pause_over, 0.0, 0.0);
	ev_set_priority(&a->pause, TURN_FIRST);
}

void
acceptor_pause(struct acceptor *a, double seconds)
{
	ev_io_stop(a->loop, &a->watcher);
	ev_timer_stop(a->loop, &a->pause);
	if (seconds <= 0 || !acceptor_is_open(a))
		return;
	ev_timer_set(&a->pause, seconds, 0.0);
	ev_timer_start(a->loop, &a->pause);
}

void
acceptor_resume(struct acceptor *a)
{
	ev_timer_stop(a->loop, &a->pause);
	if (acceptor_is_open(a))
		ev_io_start(a->loop, &a->watcher);
}

void
acceptor_take_queued(struct acceptor *a, unsigned n)
{
	while (n > 0 && accept_one(a) == ACCEPTED)
		n--;
}

void
acceptor_close(struct acceptor *a)
{
	if (!acceptor_is_open(a))
		return;
	acceptor_pause(a, 0);
	close(a->watcher.fd);
	a->watcher.fd = -1;
}
