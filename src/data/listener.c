/* listener.c - accepts connections in bounded batches.
 * Thread: owning worker. */
#include <errno.h>

#include "base/log.h"
#include "data/arrival.h"
#include "data/lane.h"
#include "data/proxy.h"

#define BATCH_MAX 32

void
listener_pause(struct listener *l)
{
	ev_io_stop(l->lane->worker->loop, &l->watcher);
}

void
listener_resume(struct listener *l)
{
	if (l->watcher.fd >= 0 && l->lane->snapshot != NULL && !l->lane->worker->starved &&
	    !l->lane->worker->held)
		ev_io_start(l->lane->worker->loop, &l->watcher);
}

enum accepted { ACCEPTED, ACCEPT_EMPTY, ACCEPT_STARVED };

static enum accepted
accept_one(struct listener *l)
{
	struct worker *w = l->lane->worker;
	struct addr client;
	int fd;

	if (!admission_enter(&w->proxy->descriptors, 2)) {
		worker_starve(w, "the descriptors set aside for connections are in use");
		return ACCEPT_STARVED;
	}
	do {
		client.len = sizeof(client.u);
		fd = accept4(l->watcher.fd, &client.u.sa, &client.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		/* The client left while it was queued: the next one, please. */
	} while (fd < 0 && (errno == ECONNABORTED || errno == EINTR));
	if (fd >= 0) {
		(l->arrives ? arrival_new : arrival_skip)(l, fd, &client);
		return ACCEPTED;
	}
	admission_leave(&w->proxy->descriptors, 2);
	if (io_would_block())
		return ACCEPT_EMPTY;
	worker_starve(w, strerror(errno));
	return ACCEPT_STARVED;
}

/* An accept that finds nothing costs as much as a good one, so the batch
 * follows the load: it grows only while the queue is full in one loop turn
 * after the other, and shrinks to what was there when it was not. */
void
listener_on_accept(struct ev_loop *loop, ev_io *watcher, int revents)
{
	struct listener *l = container_of(watcher, struct listener, watcher);
	unsigned turn = ev_iteration(loop);

	(void)revents;
	CHECK(l->magic == LISTENER_MAGIC);
	for (unsigned i = 0; i < l->batch; i++) {
		enum accepted a = accept_one(l);

		if (a == ACCEPTED && !l->lane->worker->starved)
			continue;
		if (a == ACCEPTED)
			return;
		if (a == ACCEPT_EMPTY)
			l->batch = i > 0 ? i : 1;
		return;
	}
	if (turn == l->full_turn + 1 && l->batch < BATCH_MAX)
		l->batch++;
	l->full_turn = turn;
}

void
listener_close(struct listener *l)
{
	/* The kernel queues one more than it was told. */
	int64_t queued = (int64_t)l->lane->service->config->tcp.backlog + 1;

	if (l->watcher.fd < 0)
		return;
	/* Clients that are queued have been promised a connection; those who come
	 * while these are taken have not, or it would never end under load. */
	if (l->lane->snapshot != NULL)
		while (queued-- > 0 && accept_one(l) == ACCEPTED)
			;
	ev_io_stop(l->lane->worker->loop, &l->watcher);
	close(l->watcher.fd);
	l->watcher.fd = -1;
}
