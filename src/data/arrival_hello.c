/* arrival_hello.c - the ClientHello of a connection that arrives, looked at
 * where it lies: in the kernel.
 * Thread: owning worker. */
#include <poll.h>
#include <sys/socket.h>

#include "data/arrival_private.h"
#include "proto/http1_error.h"

static bool
is_unix(const struct arrival *a)
{
	return addr_family(&a->listener->binding->addr) == AF_UNIX;
}

static void
set_low_water(struct arrival *a, size_t bytes)
{
	int n = (int)bytes;

	(void)setsockopt(io_fd(&a->io), SOL_SOCKET, SO_RCVLOWAT, &n, sizeof(n));
}

/* The kernel is told how much is worth waking us for, so that a hello in a
 * thousand pieces costs us nothing; but of Unix sockets it does not listen. */
static void
wait_for(struct arrival *a, size_t wanted)
{
	struct lane *l = a->facts.lane;

	a->slow = true;
	if (is_unix(a)) {
		io_want(l->worker->loop, &a->io, 0);
		deadline_arm(l->again_clock, &a->again, l->worker->now);
		return;
	}
	set_low_water(a, wanted);
	io_want(l->worker->loop, &a->io, EV_READ);
}

/* Behind what can be looked at an end is not seen. */
static bool
has_ended(const struct arrival *a)
{
	struct pollfd p = { .fd = io_fd(&a->io), .events = POLLRDHUP };

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

static void
say(struct arrival *a, const char *p, size_t n)
{
	(void)send(io_fd(&a->io), p, n, MSG_NOSIGNAL);
}

void
arrival_alert(struct arrival *a, enum tls_alert alert)
{
	char text[TLS_ALERT_SIZE];

	tls_alert_write(alert, text);
	say(a, text, sizeof(text));
}

/* Whoever speaks HTTP is answered in HTTP, where that is what we speak. */
static void
answer_stranger(struct arrival *a, enum tls_hello_reason reason)
{
	const struct http1_error e = {
		.status = 400, .detail = "This port speaks TLS: use https://", .close = true
	};
	char text[HTTP1_ERROR_MAX + 256];

	if (reason == TLS_HELLO_HTTP && a->facts.lane->service->config->mode == MODE_HTTP)
		say(a, text, http1_error_write(&e, text, sizeof(text)));
	else
		arrival_alert(a, tls_hello_alert(reason));
}

enum arrival_step
arrival_read_hello(struct arrival *a, struct tls_hello *hello, enum ending *ending, const char **words)
{
	struct relay_room *room = &a->facts.lane->worker->room;
	enum tls_hello_reason reason;
	ssize_t n;

	n = recv(io_fd(&a->io), room->buffer, WORKER_ROOM, MSG_PEEK);
	if (n < 0 && io_would_block()) {
		io_want(a->facts.lane->worker->loop, &a->io, EV_READ);
		return ARRIVAL_WAIT;
	}
	*ending = END_CLIENT_GONE;
	*words = "";
	if (n <= 0)
		return ARRIVAL_BROKEN;
	switch (tls_hello_parse(room->buffer, (size_t)n, hello, &reason)) {
	case TLS_HELLO_DONE:
		if (a->slow && !is_unix(a))
			set_low_water(a, 1);
		return ARRIVAL_DONE;
	case TLS_HELLO_NEED_MORE:
		/* Told that it was enough, and it was not: no more will come, or
		 * so many tiny segments are queued that the kernel wants them read
		 * (tcp_rmem_pressure).  It merges them as more come in; meanwhile its
		 * events mean nothing. */
		if (a->slow && a->wanted == hello->wanted && !is_unix(a)) {
			if (has_ended(a))
				return ARRIVAL_BROKEN;
			io_want(a->facts.lane->worker->loop, &a->io, 0);
			deadline_arm(a->facts.lane->again_clock, &a->again, a->facts.lane->worker->now);
			return ARRIVAL_WAIT;
		}
		a->wanted = hello->wanted;
		wait_for(a, hello->wanted);
		return ARRIVAL_WAIT;
	case TLS_HELLO_BAD:
		break;
	}
	*ending = reason == TLS_HELLO_HTTP ? END_TLS_HTTP : END_TLS_HELLO;
	*words = tls_hello_reason_words(reason);
	answer_stranger(a, reason);
	return ARRIVAL_BROKEN;
}

/* Its own service first; else any whose certificate fits, for a mode in which
 * what is asked for later decides. */
struct lane *
arrival_lane(const struct listener *li, const char *name)
{
	struct lane *l = listener_lane(li, str_from(name));

	if (l != NULL || li->lane->service->config->mode != MODE_HTTP)
		return l;
	for (size_t i = 0; i < li->binding->n_services; i++) {
		l = &li->worker->lanes[li->binding->services[i]];
		if (l->site != NULL && tls_site_has(l->site, name))
			return l;
	}
	return li->lane;
}
