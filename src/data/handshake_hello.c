/* handshake_hello.c - the ClientHello of a new connection, looked at
 * where it lies: in the kernel.
 * Thread: owning worker. */
#include <poll.h>
#include <sys/socket.h>

#include "data/handshake_private.h"
#include "proto/http1_error.h"

static bool
is_unix(const struct handshake *hs)
{
	return addr_family(&hs->listener->binding->addr) == AF_UNIX;
}

static void
set_low_water(struct handshake *hs, size_t bytes)
{
	int n = (int)bytes;

	(void)setsockopt(io_fd(&hs->io), SOL_SOCKET, SO_RCVLOWAT, &n, sizeof(n));
}

/* The kernel is told how much is worth waking us for, so that a hello in a
 * thousand pieces costs us nothing; but of Unix sockets it does not listen. */
static void
wait_for(struct handshake *hs, size_t wanted)
{
	struct lane *l = hs->facts.permit.lane;

	hs->slow = true;
	if (is_unix(hs)) {
		io_want(l->worker->loop, &hs->io, 0);
		deadline_arm(l->again_clock, &hs->again, l->worker->now);
		return;
	}
	set_low_water(hs, wanted);
	io_want(l->worker->loop, &hs->io, EV_READ);
}

/* Behind what can be looked at an end is not seen. */
static bool
has_ended(const struct handshake *hs)
{
	struct pollfd p = { .fd = io_fd(&hs->io), .events = POLLRDHUP };

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

static void
send_plainly(struct handshake *hs, const char *p, size_t n)
{
	(void)send(io_fd(&hs->io), p, n, MSG_NOSIGNAL);
}

void
handshake_alert(struct handshake *hs, enum tls_alert alert)
{
	char text[TLS_ALERT_SIZE];

	tls_alert_write(alert, text);
	send_plainly(hs, text, sizeof(text));
}

/* A client that speaks plain HTTP is answered in HTTP, where the service speaks it. */
static void
answer_stranger(struct handshake *hs, enum tls_hello_reason reason)
{
	const struct http1_error e = {
		.status = 400, .detail = "This port speaks TLS: use https://", .close = true
	};
	char text[HTTP1_ERROR_MAX + 256];

	if (reason == TLS_HELLO_HTTP && hs->facts.permit.lane->config->mode == MODE_HTTP)
		send_plainly(hs, text, http1_error_write(&e, text, sizeof(text)));
	else
		handshake_alert(hs, tls_hello_alert(reason));
}

enum handshake_step
handshake_read_hello(struct handshake *hs, struct tls_hello *hello, enum ending *ending, const char **words)
{
	struct relay_buffers *buffers = &hs->facts.permit.lane->worker->buffers;
	enum tls_hello_reason reason;
	ssize_t n;

	n = recv(io_fd(&hs->io), buffers->buffer, WORKER_BUFFER, MSG_PEEK);
	if (n < 0 && io_would_block()) {
		io_want(hs->facts.permit.lane->worker->loop, &hs->io, EV_READ);
		return HANDSHAKE_WAIT;
	}
	*ending = END_CLIENT_GONE;
	*words = "";
	if (n <= 0)
		return HANDSHAKE_BROKEN;
	switch (tls_hello_parse(buffers->buffer, (size_t)n, hello, &reason)) {
	case TLS_HELLO_DONE:
		if (hs->slow && !is_unix(hs))
			set_low_water(hs, 1);
		return HANDSHAKE_DONE;
	case TLS_HELLO_NEED_MORE:
		/* Told that it was enough, and it was not: no more will come, or
		 * so many tiny segments are queued that the kernel wants them read
		 * (tcp_rmem_pressure).  It merges them as more come in; meanwhile its
		 * events mean nothing. */
		if (hs->slow && hs->wanted == hello->wanted && !is_unix(hs)) {
			if (has_ended(hs))
				return HANDSHAKE_BROKEN;
			io_want(hs->facts.permit.lane->worker->loop, &hs->io, 0);
			deadline_arm(hs->facts.permit.lane->again_clock, &hs->again, hs->facts.permit.lane->worker->now);
			return HANDSHAKE_WAIT;
		}
		hs->wanted = hello->wanted;
		wait_for(hs, hello->wanted);
		return HANDSHAKE_WAIT;
	case TLS_HELLO_BAD:
		break;
	}
	*ending = reason == TLS_HELLO_HTTP ? END_TLS_HTTP : END_TLS_HELLO;
	*words = tls_hello_reason_words(reason);
	answer_stranger(hs, reason);
	return HANDSHAKE_BROKEN;
}

/* Its own service first; else any whose certificate fits, for a mode in which
 * what is asked for later decides. */
struct lane *
handshake_lane(const struct listener *li, const char *name)
{
	struct lane *l = listener_lane(li, str_from(name));

	if (l != NULL || !li->lane->mode->by_request)
		return l;
	for (size_t i = 0; i < li->binding->n_services; i++) {
		l = li->worker->lanes[li->binding->services[i]];
		if (l->site != NULL && tls_site_has(l->site, name))
			return l;
	}
	return li->lane;
}
