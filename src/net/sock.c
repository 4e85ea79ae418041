/* sock.c - opening sockets.  Any thread. */
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "net/sock.h"

static void
set_user_timeout(int fd, double seconds)
{
	if (seconds > 0)
		sock_set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, seconds < 0.001 ? 1 : (int)(seconds * 1000));
}

/* The kernel's timer begins with the connection, so that one that is quiet from
 * its start has it as well. */
static void
set_keepalive(int fd, const struct sock_keepalive *k)
{
	if (!k->on)
		return;
	if (k->idle > 0)
		sock_set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)k->idle);
	if (k->interval > 0)
		sock_set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, (int)k->interval);
	if (k->count > 0)
		sock_set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, (int)k->count);
	sock_set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

void
sock_listener_options(int fd, const struct sock_keepalive *keepalive, double user_timeout, int fastopen)
{
	/* Accepted sockets inherit all of it. */
	set_keepalive(fd, keepalive);
	set_user_timeout(fd, user_timeout);
	if (fastopen > 0)
		sock_set_int(fd, IPPROTO_TCP, TCP_FASTOPEN, fastopen);
}

int
sock_connect(const struct addr *to, const struct sock_connect *options, bool *pending)
{
	int family = addr_family(to), fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), saved;

	if (fd < 0)
		return -1;
	if (family != AF_UNIX) {
		sock_set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
		/* The handshake's last ACK rides on the first data instead of
		 * being a packet of its own (tcp(7), TCP_QUICKACK). */
		sock_set_int(fd, IPPROTO_TCP, TCP_QUICKACK, 0);
		set_keepalive(fd, &options->keepalive);
		set_user_timeout(fd, options->user_timeout);
		if (options->congestion != NULL)
			(void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, options->congestion,
					 (socklen_t)strlen(options->congestion));
		if (options->source != NULL && options->source->len > 0 && addr_family(options->source) == family) {
			/* Ports are chosen at connect(), by the whole four-tuple. */
			sock_set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
			if (bind(fd, &options->source->u.sa, options->source->len) != 0)
				goto fail;
		}
	}
	*pending = false;
	if (connect(fd, &to->u.sa, to->len) == 0)
		return fd;
	if (errno == EINPROGRESS) {
		*pending = true;
		return fd;
	}
fail:
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

int
sock_error(int fd)
{
	int e = 0;
	socklen_t len = sizeof(e);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len) != 0)
		return errno;
	return e;
}

bool
sock_is_quiet(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

bool
sock_has_ended(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

void
sock_ack_now(int fd)
{
	sock_set_int(fd, IPPROTO_TCP, TCP_QUICKACK, 1);
}

void
sock_push(int fd)
{
	/* It is set already; setting it again pushes (tcp(7), TCP_NODELAY). */
	sock_set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

void
sock_reset_on_close(int fd)
{
	struct linger linger = { .l_onoff = 1, .l_linger = 0 };

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}
