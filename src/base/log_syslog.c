/* log_syslog.c - connects to a receiver of syslog messages, and again, and sends.
 * Thread: the log thread, but for syslog_status().
 *
 * Over TCP a receiver that is away loses what the kernel had taken and not delivered; of what is here
 * nothing is lost: a message that was cut by the end of a connection is sent anew by
 * the next one.  Over UDP what is lost is known only where the other side says so. */
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log_ring.h"
#include "base/log_syslog.h"

/* Frames that TCP has taken no part of yet, or half of one. */
#define HELD_MAX (64 * 1024)
/* Seconds: of a connect, and between two of them, doubled from the first to the longest. */
#define CONNECT_TIMEOUT 5.0
#define PAUSE_FIRST 0.1
#define PAUSE_LONGEST 5.0
/* Datagrams are made no shorter than what every receiver takes (RFC 5426 section 3.2). */
#define DATAGRAM_LEAST 480
/* Milliseconds after which a peer that acknowledges nothing is gone. */
#define PEER_GONE 30000

static struct {
	struct log_syslog *to;	/* NULL: none */
	struct syslog_self self;
	char where[300];
	int fd;	/* -1: not connected */
	double pause, next;	/* until the next connect; clock_now() of it */
	double up_since;	/* clock_now() of when it last came up */
	unsigned limit;	/* of a datagram: max_message, or what the way there takes */
	bool told_up, told_down;	/* since it changed */
	int news;
	/* TCP: frames, from `frame` on: the first that is not wholly sent. */
	char held[HELD_MAX + SYSLOG_MESSAGE_MAX];
	size_t frame, sent, end;
} way = { .fd = -1 };

/* What other threads may ask. */
static atomic_bool is_on, is_up;
static _Atomic(const char *) problem;
static _Atomic uint64_t cut_total;

static bool
is_stream(void)
{
	return way.to->transport == LOG_SYSLOG_TCP;
}

static void
count_lost(uint64_t n)
{
	atomic_fetch_add_explicit(&log_shared.lost, n, memory_order_relaxed);
}

static void
became_up(void)
{
	if (way.told_up)
		return;
	way.up_since = clock_now();
	way.told_up = true;
	way.told_down = false;
	way.news = 1;
	atomic_store(&problem, NULL);
	atomic_store(&is_up, true);
}

static void
became_down(const char *why)
{
	atomic_store(&problem, why != NULL ? why : "unknown error");
	atomic_store(&is_up, false);
	if (way.told_down)
		return;
	way.told_down = true;
	way.told_up = false;
	way.news = -1;
}

static void
disconnect(const char *why)
{
	if (way.fd >= 0)
		close(way.fd);
	way.fd = -1;
	/* The frame that was cut is sent anew. */
	way.sent = way.frame;
	/* One that accepts and closes at once is not asked ten times a second. */
	if (way.told_up && clock_now() - way.up_since >= PAUSE_LONGEST)
		way.pause = PAUSE_FIRST;
	way.next = clock_now() + way.pause;
	way.pause = way.pause * 2 < PAUSE_LONGEST ? way.pause * 2 : PAUSE_LONGEST;
	became_down(why);
}

/* -- connecting -------------------------------------------------------------------------- */

/* A stop or another receiver ends the wait; so does the time. */
static bool
wait_until(int fd, double end, syslog_wait *wait, bool *ready)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	*ready = false;
	for (;;) {
		double left = end - clock_now();

		if (fd >= 0 && poll(&p, 1, 0) > 0) {
			*ready = true;
			return true;
		}
		if (left <= 0)
			return true;
		if (!wait(fd, (int)(left * 1000) + 1))
			return false;
	}
}

/* -1: it failed at once. */
static int
open_to(const struct sockaddr *address, socklen_t n, int type)
{
	int fd = socket(address->sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, gone = PEER_GONE;

	if (fd >= 0 && type == SOCK_STREAM) {
		(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
		(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &gone, sizeof(gone));
	}
	if (fd >= 0 && connect(fd, address, n) != 0 && errno != EINPROGRESS) {
		int e = errno;

		close(fd);
		errno = e;
		return -1;
	}
	return fd;
}

static int
open_local(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	memcpy(un.sun_path, way.to->path, sizeof(un.sun_path));
	return open_to((const struct sockaddr *)&un, sizeof(un), SOCK_DGRAM);
}

/* Blocks as name servers do, this thread alone.  -1 with *why. */
static int
open_host(const char **why)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC,
					.ai_socktype = is_stream() ? SOCK_STREAM : SOCK_DGRAM };
	struct addrinfo *list = NULL;
	char port[8];
	int fd = -1, rc;

	snprintf(port, sizeof(port), "%u", way.to->port);
	if ((rc = getaddrinfo(way.to->host, port, &hints, &list)) != 0) {
		*why = gai_strerror(rc);
		return -1;
	}
	for (const struct addrinfo *a = list; a != NULL && fd < 0; a = a->ai_next)
		fd = open_to(a->ai_addr, a->ai_addrlen, a->ai_socktype);
	*why = fd < 0 ? strerrordesc_np(errno) : NULL;
	freeaddrinfo(list);
	return fd;
}

/* False: wait() says that no more is to be done. */
static bool
connect_now(syslog_wait *wait)
{
	const char *why = NULL;
	int error = 0;
	socklen_t n = sizeof(error);
	bool ready = true;

	way.fd = way.to->transport == LOG_SYSLOG_UNIX ? open_local() : open_host(&why);
	if (way.fd < 0) {
		disconnect(why != NULL ? why : strerrordesc_np(errno));
		return true;
	}
	way.limit = way.to->max_message;
	if (is_stream() && !wait_until(way.fd, clock_now() + CONNECT_TIMEOUT, wait, &ready))
		return false;
	if (!ready)
		disconnect("no connection within 5 s");
	else if (getsockopt(way.fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0 || error != 0)
		disconnect(strerrordesc_np(error));
	else if (way.to->transport != LOG_SYSLOG_UDP)
		became_up();
	return true;
}

/* Connected, or wait() says that no more is to be done. */
static bool
be_connected(syslog_wait *wait)
{
	bool ready;

	while (way.fd < 0) {
		if (!wait_until(-1, way.next, wait, &ready) || !connect_now(wait))
			return false;
	}
	return true;
}

/* -- TCP: octet counting ------------------------------------------------------------------ */

/* A receiver that has closed would get one more write that is not read. */
static bool
has_closed(void)
{
	char byte;
	ssize_t n = recv(way.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

/* "LEN SP MESSAGE": the bytes of the frame that begins there, all of it. */
static size_t
frame_length(size_t at)
{
	size_t n = 0, digits = 0;

	while (way.held[at + digits] != ' ')
		n = n * 10 + (size_t)(way.held[at + digits++] - '0');
	return digits + 1 + n;
}

static void
forget_sent(void)
{
	while (way.frame < way.end && way.frame + frame_length(way.frame) <= way.sent)
		way.frame += frame_length(way.frame);
	if (way.frame < HELD_MAX / 2 && way.frame < way.end)
		return;
	memmove(way.held, way.held + way.frame, way.end - way.frame);
	way.end -= way.frame;
	way.sent -= way.frame;
	way.frame = 0;
}

static bool
flush_stream(syslog_wait *wait)
{
	while (way.sent < way.end) {
		ssize_t n;

		if (!be_connected(wait))
			return false;
		if (has_closed()) {
			disconnect("the receiver closed the connection");
			continue;
		}
		n = send(way.fd, way.held + way.sent, way.end - way.sent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0) {
			way.sent += (size_t)n;
			forget_sent();
		} else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			if (!wait(way.fd, -1))
				return false;
		} else if (n < 0 && errno != EINTR) {
			disconnect(strerrordesc_np(errno));
		}
	}
	return true;
}

static bool
put_stream(const char *message, size_t n, syslog_wait *wait)
{
	if (way.end + n + 16 > sizeof(way.held) && !flush_stream(wait))
		return false;
	way.end += (size_t)sprintf(way.held + way.end, "%zu ", n);
	memcpy(way.held + way.end, message, n);
	way.end += n;
	return way.end < HELD_MAX || flush_stream(wait);
}

/* -- datagrams ---------------------------------------------------------------------------- */

/* One that a local daemon lost in its restart is sent anew; over UDP what failed is gone. */
static bool
is_over(int error)
{
	return way.to->transport == LOG_SYSLOG_UNIX &&
	       (error == ECONNREFUSED || error == ENOTCONN || error == ECONNRESET || error == EPIPE || error == ENOENT);
}

static bool
put_datagram(struct str line, syslog_wait *wait)
{
	char message[SYSLOG_MESSAGE_MAX];
	struct log_syslog terms = *way.to;
	unsigned refused = 0;
	size_t n, cut;

	for (;;) {
		if (!be_connected(wait))
			return false;
		terms.max_message = way.limit;
		n = syslog_message(&terms, &way.self, line, message, &cut);
		if (send(way.fd, message, n, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)n)
			break;
		switch (errno) {
		case EINTR:
			continue;
		case EAGAIN:
		case ENOBUFS:
			if (!wait(way.fd, -1))
				return false;
			continue;
		case EMSGSIZE:
			if (way.limit > DATAGRAM_LEAST) {
				way.limit = way.limit / 2 > DATAGRAM_LEAST ? way.limit / 2 : DATAGRAM_LEAST;
				continue;
			}
			break;
		case ECONNREFUSED:
			/* Of UDP: said of an earlier one (ICMP), which was lost; this one was not sent. */
			if (way.to->transport == LOG_SYSLOG_UDP && refused++ == 0) {
				count_lost(1);
				became_down("the receiver's port is closed");
				continue;
			}
			break;
		default:
			break;
		}
		if (is_over(errno)) {
			disconnect(strerrordesc_np(errno));
			continue;
		}
		count_lost(1);
		became_down(strerrordesc_np(errno));
		return true;
	}
	if (cut > 0)
		atomic_fetch_add_explicit(&cut_total, 1, memory_order_relaxed);
	if (refused == 0)
		became_up();
	return true;
}

/* -- for the writer ------------------------------------------------------------------------- */

bool
syslog_put(struct str line, syslog_wait *wait)
{
	char message[SYSLOG_MESSAGE_MAX];
	size_t n, cut;

	if (!is_stream())
		return put_datagram(line, wait);
	n = syslog_message(way.to, &way.self, line, message, &cut);
	if (!put_stream(message, n, wait))
		return false;
	if (cut > 0)
		atomic_fetch_add_explicit(&cut_total, 1, memory_order_relaxed);
	return true;
}

bool
syslog_flush(syslog_wait *wait)
{
	return !is_stream() || flush_stream(wait);
}

bool
syslog_is_on(void)
{
	return way.to != NULL;
}

int
syslog_news(void)
{
	int news = way.news;

	way.news = 0;
	return news;
}

const char *
syslog_where(void)
{
	return way.where;
}

static void
say_where(void)
{
	bool brackets = strchr(way.to->host, ':') != NULL;

	if (way.to->transport == LOG_SYSLOG_UNIX)
		snprintf(way.where, sizeof(way.where), "unix:%s", way.to->path);
	else
		snprintf(way.where, sizeof(way.where), "%s://%s%s%s:%u", is_stream() ? "tcp" : "udp",
			 brackets ? "[" : "", way.to->host, brackets ? "]" : "", way.to->port);
}

void
syslog_set(struct log_syslog **to)
{
	for (; way.frame < way.end; way.frame += frame_length(way.frame))
		count_lost(1);
	way.frame = way.sent = way.end = 0;
	if (way.fd >= 0)
		close(way.fd);
	way.fd = -1;
	free(way.to);
	way.to = *to;
	*to = NULL;
	way.pause = PAUSE_FIRST;
	way.next = 0;
	way.told_up = way.told_down = false;
	way.news = 0;
	atomic_store(&problem, NULL);
	atomic_store(&is_up, true);
	atomic_store(&is_on, way.to != NULL);
	if (way.to == NULL)
		return;
	say_where();
	way.self.pid = (int)getpid();
	if (gethostname(way.self.host, sizeof(way.self.host) - 1) != 0)
		way.self.host[0] = '\0';
}

struct log_output
syslog_status(void)
{
	return (struct log_output){ .syslog = atomic_load(&is_on),
				    .up = !atomic_load(&is_on) || atomic_load(&is_up),
				    .problem = atomic_load(&problem),
				    .cut = atomic_load_explicit(&cut_total, memory_order_relaxed) };
}
