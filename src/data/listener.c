/* listener.c - a worker's connections on one address, and whose they are.
 * Thread: owning worker. */
#include <stdlib.h>

#include "base/log.h"
#include "data/admit.h"
#include "data/handshake.h"
#include "data/lane.h"
#include "data/proxy.h"
#include "net/epoll_forget.h"

#define BATCH_MAX 32

/* Its services know where to send clients.  One whose color is unknown (its
 * record in the store makes no sense, say) does not hold up the others. */
static bool
has_colors(const struct listener *l)
{
	const struct binding *b = l->binding;
	bool any = false;

	for (size_t i = 0; i < b->n_services; i++) {
		const struct lane *lane = l->worker->lanes[b->services[i]];

		if (lane->snapshot != NULL)
			any = true;
		else if (atomic_load_explicit(&lane->service->open, memory_order_acquire))
			return false;
	}
	return any;
}

/* Where datagrams come; NULL: connections do. */
static const struct mode_datagrams *
datagrams_of(const struct listener *l)
{
	return l->udp != NULL ? l->lane->mode->datagrams : NULL;
}

void
listener_resume(struct listener *l)
{
	/* Those that have their flow go on whatever is used up. */
	if (datagrams_of(l) != NULL) {
		if (has_colors(l) && !l->worker->held)
			datagrams_of(l)->resume(l);
		return;
	}
	if (has_colors(l) && !l->worker->starved && !l->worker->held)
		acceptor_resume(&l->acceptor);
}

void
listener_pause(struct listener *l)
{
	if (datagrams_of(l) == NULL)
		acceptor_pause(&l->acceptor, 0);
	else if (l->worker->held)
		datagrams_of(l)->pause(l);
}

static bool
listener_has_place(struct acceptor *a)
{
	struct worker *w = container_of(a, struct listener, acceptor)->worker;

	return !w->starved && worker_take_client(w);
}

static void
listener_take(struct acceptor *a, int fd, const struct addr *client)
{
	struct listener *l = container_of(a, struct listener, acceptor);

	CHECK(l->magic == LISTENER_MAGIC);
	(l->handshakes ? handshake_new : handshake_skip)(l, fd, client);
}

static bool
listener_none(struct acceptor *a, int e)
{
	struct worker *w = container_of(a, struct listener, acceptor)->worker;

	worker_give_client(w);
	if (e != 0)
		worker_starve(w, strerror(e));
	return false;
}

static const struct acceptor_calls calls = { 1, BATCH_MAX, listener_has_place, listener_take, listener_none };

void
listener_obey(struct listener *l)
{
	l->handshakes = handshake_is_needed(l);
	l->selective = admit_is_selective(l);
}

struct listener *
listener_new(struct worker *w, unsigned slot, struct binding *b, struct admit *admit, int fd)
{
	struct listener *l = must_alloc(sizeof(*l));

	*l = (struct listener){
		.magic = LISTENER_MAGIC,
		.worker = w,
		.lane = w->lanes[b->owner],
		.binding = binding_ref(b),
		.admit = admit != NULL ? admit_ref(admit) : NULL,
		.slot = slot,
		.route = b->route,
		.entrance = b->entrance,
		.tls = b->tls,
	};
	listener_obey(l);
	acceptor_init(&l->acceptor, w->loop, b->datagram ? -1 : fd, &calls);
	if (b->datagram && fd >= 0)
		listener_open_datagrams(l, fd, false);
	return l;
}

void
listener_open_datagrams(struct listener *l, int fd, bool awaits)
{
	l->lane->mode->datagrams->open(l, fd, awaits);
}

void
listener_free(struct listener **lp)
{
	struct listener *l = *lp;

	*lp = NULL;
	CHECK(l->magic == LISTENER_MAGIC && l->users == 0 && !acceptor_is_open(&l->acceptor) && l->udp == NULL);
	if (l->next != NULL)
		l->next->users--;
	binding_unref(&l->binding);
	admit_unref(&l->admit);
	l->magic = 0;
	free(l);
}

void
listener_take_over(struct listener *l, struct listener *old)
{
	int fd = old->acceptor.watcher.fd;

	if (datagrams_of(old) != NULL) {
		datagrams_of(old)->move(l, old);
	} else {
		acceptor_pause(&old->acceptor, 0);
		acceptor_init(&old->acceptor, old->worker->loop, -1, &calls);
		acceptor_init(&l->acceptor, l->worker->loop, fd, &calls);
	}
	old->next = l;
	old->retired = true;
	l->users++;
}

void
listener_yield(struct listener *l)
{
	if (datagrams_of(l) != NULL)
		datagrams_of(l)->yield(l);
	if (!acceptor_is_open(&l->acceptor))
		return;
	acceptor_pause(&l->acceptor, 0);
	epoll_forget(l->worker->epoll, l->acceptor.watcher.fd);
	acceptor_close(&l->acceptor);
}

void
listener_close(struct listener *l)
{
	if (datagrams_of(l) != NULL)
		datagrams_of(l)->close(l);
	if (!acceptor_is_open(&l->acceptor))
		return;
	/* The kernel queues one more than it was told.  Those who come while these
	 * are taken are not waited for, or it would never end under load: the kernel
	 * resets one whose handshake ends between the last accept() and close(). */
	if (has_colors(l))
		acceptor_take_queued(&l->acceptor, (unsigned)l->lane->config->tcp.backlog + 1);
	acceptor_close(&l->acceptor);
}
