/* endpoint.c - the sockets both ends of a test open.  Any thread. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "app/tealbench/endpoint.h"

static int
set_congestion(int fd, const char *congestion)
{
	return setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, congestion, (socklen_t)strlen(congestion));
}

enum err
endpoint_check_congestion(const char *congestion, struct why *why)
{
	int fd, failed;

	if (congestion == NULL)
		return OK;
	if ((fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0)
		return why_set(why, E_INTERNAL, "socket: %s", strerror(errno));
	failed = set_congestion(fd, congestion) < 0 ? errno : 0;
	close(fd);
	if (failed != 0)
		return why_set(
			why, E_USAGE,
			"--congestion=%s: %s; net.ipv4.tcp_available_congestion_control lists what is there",
			congestion, strerror(failed));
	return OK;
}

/* A Unix path whose owner is gone may be taken. */
static void
reclaim_path(const struct addr *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, &addr->u.sa, addr->len) < 0 && errno == ECONNREFUSED)
		unlink(addr->u.un.sun_path);
	if (fd >= 0)
		close(fd);
}

static int
open_listener(struct addr *addr, bool datagram, const char *congestion, bool first)
{
	int fd, failed, one = 1, family = addr_family(addr);

	if ((fd = socket(family, (datagram ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) <
	    0)
		return -1;
	if (family == AF_UNIX) {
		reclaim_path(addr);
	} else if (datagram) {
		/* Where each was sent to: answers leave from there. */
		if (family == AF_INET)
			setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one));
		else
			setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one));
	} else {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		/* Inherited by what is accepted. */
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (congestion != NULL)
			set_congestion(fd, congestion);
	}
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (!first)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	if (bind(fd, &addr->u.sa, addr->len) < 0)
		goto fail;
	if (first && family != AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	if (!datagram && listen(fd, 4096) < 0)
		goto fail;
	if (first && getsockname(fd, &addr->u.sa, &(socklen_t){ sizeof(addr->u) }) < 0)
		goto fail;
	return fd;
fail:
	failed = errno;
	close(fd);
	errno = failed;
	return -1;
}

enum err
endpoint_listen(struct addr *addr, bool datagram, const char *congestion, int *fds, unsigned n,
		struct why *why)
{
	char text[ADDR_TEXT];
	int failed;

	if (datagram && addr_family(addr) == AF_UNIX)
		return why_set(why, E_USAGE, "cannot listen on %s: datagrams need an address and a port",
			       addr_format(addr, text));
	for (unsigned i = 0; i < n; i++) {
		if (i > 0 && addr_family(addr) == AF_UNIX)
			fds[i] = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
		else
			fds[i] = open_listener(addr, datagram, congestion, i == 0);
		if (fds[i] >= 0)
			continue;
		failed = errno;
		while (i > 0)
			close(fds[--i]);
		if (failed == EADDRINUSE)
			return why_set(why, E_USAGE,
				       "%s is busy: another program listens there; stop it or choose another "
				       "address (\"ss -l%cnp\" names it)",
				       addr_format(addr, text), datagram ? 'u' : 't');
		return why_set(why, E_USAGE, "cannot listen on %s: %s", addr_format(addr, text),
			       strerror(failed));
	}
	return OK;
}

int
endpoint_connect(const struct addr *to, bool datagram, const struct addr *from, const char *congestion)
{
	int fd, failed, one = 1, type = datagram ? SOCK_DGRAM : SOCK_STREAM;

	if ((fd = socket(addr_family(to), type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) < 0)
		return -1;
	if (addr_family(to) != AF_UNIX && !datagram) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (congestion != NULL)
			set_congestion(fd, congestion);
	}
	if (from != NULL) {
		/* The port is chosen by connect(), per destination: 28,000
		 * for each source address instead of for the machine. */
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
		if (bind(fd, &from->u.sa, from->len) < 0)
			goto fail;
	}
	if (connect(fd, &to->u.sa, to->len) < 0 && errno != EINPROGRESS)
		goto fail;
	return fd;
fail:
	failed = errno;
	close(fd);
	errno = failed;
	return -1;
}

enum err
endpoint_need_files(uint64_t n, struct why *why)
{
	struct rlimit limit, wish;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return why_set(why, E_INTERNAL, "getrlimit: %s", strerror(errno));
	if (limit.rlim_cur >= n)
		return OK;
	wish = (struct rlimit){ n, limit.rlim_max > n ? limit.rlim_max : n };
	if (setrlimit(RLIMIT_NOFILE, &wish) == 0)
		return OK;
	return why_set(why, E_USAGE,
		       "%" PRIu64 " open files are needed and at most %" PRIu64
		       " allowed: ask for fewer connections or raise the limit (ulimit -n)",
		       n, (uint64_t)limit.rlim_max);
}

bool
endpoint_is_loopback(const struct addr *addr)
{
	uint32_t ip;

	if (addr_family(addr) == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(&addr->u.in6.sin6_addr);
	if (addr_family(addr) != AF_INET)
		return false;
	ip = ntohl(addr->u.in.sin_addr.s_addr);
	return ip >> 24 == 127;
}

static bool
is_private4(uint32_t ip)
{
	return ip >> 24 == 127 || ip >> 24 == 10 || ip >> 20 == 0xac1 /* 172.16/12 */ ||
	       ip >> 16 == 0xc0a8 /* 192.168/16 */ || ip >> 16 == 0xa9fe /* 169.254/16 */ ||
	       ip >> 22 == 0x191 /* 100.64/10 */ || ip >> 17 == 0x6309 /* 198.18/15 */ || ip == 0;
}

bool
endpoint_is_private(const struct addr *addr)
{
	const struct in6_addr *six = &addr->u.in6.sin6_addr;
	uint32_t mapped;

	switch (addr_family(addr)) {
	case AF_UNIX:
		return true;
	case AF_INET:
		return is_private4(ntohl(addr->u.in.sin_addr.s_addr));
	case AF_INET6:
		memcpy(&mapped, six->s6_addr + 12, sizeof(mapped));
		if (IN6_IS_ADDR_V4MAPPED(six))
			return is_private4(ntohl(mapped));
		return IN6_IS_ADDR_LOOPBACK(six) || IN6_IS_ADDR_UNSPECIFIED(six) ||
		       IN6_IS_ADDR_LINKLOCAL(six) || (six->s6_addr[0] & 0xfe) == 0xfc;
	}
	return false;
}
