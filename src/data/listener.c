/* listener.c - accepts connections in bounded batches.
 * Thread: owning worker. */
#include <errno.h>

#include "base/log.h"
#include "data/handshake.h"
#include "data/lane.h"
#include "data/proxy.h"
#include "data/upstream.h"

#define BATCH_MAX 32
#define HTTPS_PORT 443

struct lane *
listener_lane(const struct listener *l, struct str name)
{
	int found;

	if (l->route == NULL)
		return l->lane;
	found = route_find(l->route, name);
	return found >= 0 ? l->worker->lanes[found] : NULL;
}

bool
listener_redirects(const struct listener *l, const struct lane *to)
{
	const struct service_config *s = to->config;

	return !l->tls && s->listen_tls && s->plain == PLAIN_REDIRECT;
}

unsigned
listener_tls_port(const struct lane *to, const struct addr *reached)
{
	const struct service_config *s = to->config;
	unsigned best = HTTPS_PORT;
	int rank = 0;

	for (size_t i = 0; i < s->n_listen; i++) {
		const struct addr *at = &s->listen[i];
		unsigned port = addr_port(at);
		struct addr there = *reached;
		int r;

		if (port == 0)	/* a Unix socket */
			continue;
		addr_set_port(&there, port);
		r = addr_equal(at, &there)						? 6 :
		    addr_is_any(at) && addr_family(at) == addr_family(reached) ? 4 :
										  2;
		/* Of several in one place the usual one, else the first. */
		r += port == HTTPS_PORT;
		if (r > rank) {
			rank = r;
			best = port;
		}
	}
	return best;
}

/* Its services know where to send clients.  One whose color nobody knows (its
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

void
listener_pause(struct listener *l)
{
	ev_io_stop(l->worker->loop, &l->watcher);
}

void
listener_resume(struct listener *l)
{
	if (l->watcher.fd >= 0 && has_colors(l) && !l->worker->starved && !l->worker->held)
		ev_io_start(l->worker->loop, &l->watcher);
}

enum accepted { ACCEPTED, ACCEPT_EMPTY, ACCEPT_STARVED };

static enum accepted
accept_one(struct listener *l)
{
	struct worker *w = l->worker;
	struct addr client;
	int fd;

	if (!worker_take_descriptors(w, 2)) {
		return ACCEPT_STARVED;
	}
	do {
		client.len = sizeof(client.u);
		fd = accept4(l->watcher.fd, &client.u.sa, &client.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		/* The client left while it was queued: the next one, please. */
	} while (fd < 0 && (errno == ECONNABORTED || errno == EINTR));
	if (fd >= 0) {
		(l->handshakes ? handshake_new : handshake_skip)(l, fd, &client);
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
static void
listener_on_accept(struct ev_loop *loop, ev_io *watcher, int revents)
{
	struct listener *l = container_of(watcher, struct listener, watcher);
	unsigned turn = ev_iteration(loop);

	(void)revents;
	CHECK(l->magic == LISTENER_MAGIC);
	for (unsigned i = 0; i < l->batch; i++) {
		enum accepted a = accept_one(l);

		if (a == ACCEPTED && !l->worker->starved)
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
listener_init(struct listener *l, struct worker *w, const struct binding *b, int fd)
{
	*l = (struct listener){
		.magic = LISTENER_MAGIC,
		.worker = w,
		.lane = w->lanes[b->owner],
		.binding = b,
		.route = b->route,
		.entrance = b->entrance,
		.tls = b->tls,
		.batch = 1,
	};
	l->handshakes = handshake_is_needed(l);
	turn_io_init(&l->watcher, listener_on_accept, fd, EV_READ);
}

void
listener_close(struct listener *l)
{
	/* The kernel queues one more than it was told. */
	int64_t queued = (int64_t)l->lane->config->tcp.backlog + 1;

	if (l->watcher.fd < 0)
		return;
	/* Clients that are queued have been promised a connection; those who come
	 * while these are taken have not, or it would never end under load. */
	if (has_colors(l))
		while (queued-- > 0 && accept_one(l) == ACCEPTED)
			;
	ev_io_stop(l->worker->loop, &l->watcher);
	close(l->watcher.fd);
	l->watcher.fd = -1;
}
