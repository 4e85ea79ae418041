/* sock.c - opening sockets.  Any thread. */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/sock.h"

static void
set_int(int fd, int level, int option, int value)
{
	/* A hint the kernel does not know is not worth failing for. */
	(void)setsockopt(fd, level, option, &value, sizeof(value));
}

static void
close_all(int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
}

static int
unix_answers(const struct addr *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), rc;

	if (fd < 0)
		return -1;
	rc = connect(fd, &a->u.sa, a->len);
	/* A full queue (EAGAIN) means that a process listens. */
	rc = rc == 0 || errno == EAGAIN || errno == EINPROGRESS ? 1 : errno == ECONNREFUSED ? 0 : -1;
	close(fd);
	return rc;
}

/* To connect() a socket that is bound and not listening yet looks abandoned: a
 * teald that waits for its store, say.  The kernel's table tells them from a
 * file that was left behind; connections accepted by a listener that is gone
 * carry its name as well, but are connected (state 03). */
static bool
unix_is_bound(const struct addr *a)
{
	FILE *f = fopen("/proc/net/unix", "re");
	char *line = NULL;
	size_t room = 0;
	unsigned state;
	bool found = false;
	int at;

	if (f == NULL)
		return false;
	while (!found && getline(&line, &room, f) > 0) {
		line[strcspn(line, "\n")] = '\0';
		at = 0;
		/* Num RefCount Protocol Flags Type St Inode Path */
		if (sscanf(line, "%*s %*s %*s %*s %*s %x %*s %n", &state, &at) == 1 && at > 0)
			found = state == 1 && strcmp(line + at, a->u.un.sun_path) == 0;
	}
	free(line);
	fclose(f);
	return found;
}

enum err
sock_claim_unix(const struct addr *a, struct why *why)
{
	const char *path = a->u.un.sun_path;
	struct stat st;

	if (lstat(path, &st) != 0) {
		if (errno == ENOENT)
			return OK;
		return why_set(why, E_USAGE, "%s: %s", path, strerror(errno));
	}
	if (!S_ISSOCK(st.st_mode))
		return why_set(why, E_USAGE, "%s exists and is not a socket; choose another path or remove it", path);
	switch (unix_answers(a)) {
	case 1:
		return why_set(why, E_USAGE, "another process already answers on %s; stop it or choose another path",
			       path);
	case 0:
		if (unix_is_bound(a))
			return why_set(why, E_USAGE,
				       "another process is about to listen on %s; stop it or choose another path", path);
		if (unlink(path) != 0)
			return why_set(why, E_USAGE, "cannot remove the stale socket %s: %s", path, strerror(errno));
		return OK;
	default:
		return why_set(why, E_USAGE, "cannot tell whether a process listens on %s: %s", path, strerror(errno));
	}
}

static enum err
bind_error(const struct addr *a, struct why *why)
{
	char text[ADDR_TEXT];
	int e = errno;

	addr_format(a, text);
	if (e == EADDRINUSE)
		return why_set(why, E_USAGE, "cannot listen on %s: another process already does (see: ss -ltnp)", text);
	if (e == EACCES)
		return why_set(why, E_USAGE,
			       "cannot listen on %s: permission denied (start as root, or grant CAP_NET_BIND_SERVICE)", text);
	if (e == EADDRNOTAVAIL)
		return why_set(why, E_USAGE,
			       "cannot listen on %s: this machine has no such address now; one that comes later (of "
			       "keepalived, say) is allowed by freebind = true or sysctl net.ipv%d.ip_nonlocal_bind=1; an IPv6 address may "
			       "still be tentative",
			       text, addr_family(a) == AF_INET6 ? 6 : 4);
	return why_set(why, E_USAGE, "cannot listen on %s: %s", text, strerror(e));
}

static int
open_bound(const struct addr *a, bool freebind, bool first)
{
	int family = addr_family(a), fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), saved;

	if (fd < 0)
		return -1;
	if (family != AF_UNIX) {
		set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
		set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
		if (family == AF_INET6)
			set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
		if (freebind)	/* of IPv6 sockets, too */
			set_int(fd, IPPROTO_IP, IP_FREEBIND, 1);
		if (!first)
			set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	}
	if (bind(fd, &a->u.sa, a->len) != 0)
		goto fail;
	/* Like a port, a service is open to all who can reach its folder. */
	if (family == AF_UNIX && chmod(a->u.un.sun_path, 0666) != 0)
		goto fail;
	return fd;
fail:
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

enum err
sock_bind(const struct addr *a, bool freebind, int *fds, unsigned n, struct why *why)
{
	bool local = addr_family(a) == AF_UNIX;
	struct addr bound = *a;
	enum err e;

	if (local && (e = sock_claim_unix(a, why)) != OK)
		return e;
	for (unsigned i = 0; i < n; i++) {
		fds[i] = local && i > 0 ? dup(fds[0]) : open_bound(&bound, freebind, i == 0);
		if (fds[i] < 0) {
			e = bind_error(a, why);
			close_all(fds, i);
			return e;
		}
		/* Port 0 asked the kernel for a free one: the siblings share it. */
		if (i == 0 && !local && addr_port(a) == 0)
			getsockname(fds[0], &bound.u.sa, &bound.len);
	}
	return OK;
}

enum err
sock_listen(int fd, int backlog, struct why *why)
{
	struct addr a = { .len = sizeof(a.u) };

	/* The first one has no SO_REUSEPORT, so that this fails if a stranger
	 * listens by now: bound sockets do not exclude each other, those that
	 * listen do.  From here on its siblings may join, who have it already. */
	if (listen(fd, backlog) == 0) {
		set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
		return OK;
	}
	getsockname(fd, &a.u.sa, &a.len);
	return bind_error(&a, why);
}

static void
set_user_timeout(int fd, double seconds)
{
	if (seconds > 0)
		set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, seconds < 0.001 ? 1 : (int)(seconds * 1000));
}

/* The kernel's timer begins with the connection, so that one that is quiet from
 * its start has it as well. */
static void
set_keepalive(int fd, const struct sock_keepalive *k)
{
	if (!k->on)
		return;
	if (k->idle > 0)
		set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)k->idle);
	if (k->interval > 0)
		set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, (int)k->interval);
	if (k->count > 0)
		set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, (int)k->count);
	set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

void
sock_listener_options(int fd, const struct sock_keepalive *keepalive, double user_timeout, int fastopen)
{
	/* Accepted sockets inherit all of it. */
	set_keepalive(fd, keepalive);
	set_user_timeout(fd, user_timeout);
	if (fastopen > 0)
		set_int(fd, IPPROTO_TCP, TCP_FASTOPEN, fastopen);
}

int
sock_connect(const struct addr *to, const struct sock_connect *options, bool *pending)
{
	int family = addr_family(to), fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), saved;

	if (fd < 0)
		return -1;
	if (family != AF_UNIX) {
		set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
		/* The handshake's last ACK rides on the first data instead of
		 * being a packet of its own (tcp(7), TCP_QUICKACK). */
		set_int(fd, IPPROTO_TCP, TCP_QUICKACK, 0);
		set_keepalive(fd, &options->keepalive);
		set_user_timeout(fd, options->user_timeout);
		if (options->congestion != NULL)
			(void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, options->congestion,
					 (socklen_t)strlen(options->congestion));
		if (options->source != NULL && options->source->len > 0 && addr_family(options->source) == family) {
			/* Ports are chosen at connect(), by the whole four-tuple. */
			set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
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
	set_int(fd, IPPROTO_TCP, TCP_QUICKACK, 1);
}

void
sock_push(int fd)
{
	/* It is set already; setting it again pushes (tcp(7), TCP_NODELAY). */
	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

void
sock_reset_on_close(int fd)
{
	struct linger linger = { .l_onoff = 1, .l_linger = 0 };

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}
