/* floor_common.h - what floor.c and floor_http.c have in common: the listener, the
 * bytes that wait for a slow reader, and a few pipes that are kept.  Shares no code
 * with Teal, so that a mistake of ours cannot be in both. */
#ifndef BENCH_FLOOR_COMMON_H
#define BENCH_FLOOR_COMMON_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#define BUFFER (64 * 1024)
#define PIPE_SIZE (256 * 1024)
#define PIPES_KEPT 64

/* What one side has said and the other has not taken yet. */
struct backlog {
	char *held;	/* copied; NULL mostly */
	uint32_t held_at, held_end;
	uint32_t in_pipe;
	int pipe[2];	/* pipe[0] < 0: none */
};

static int epoll_fd, listen_fd;
static struct sockaddr_in target;
static char buffer[BUFFER];
static int pipes[PIPES_KEPT][2];
static unsigned pipes_kept;

static _Noreturn inline void
fail(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
	exit(1);
}

static inline void
pipe_put(struct backlog *b)
{
	if (b->pipe[0] < 0)
		return;
	if (b->in_pipe == 0 && pipes_kept < PIPES_KEPT) {
		memcpy(pipes[pipes_kept++], b->pipe, sizeof(b->pipe));
	} else {
		close(b->pipe[0]);
		close(b->pipe[1]);
	}
	b->pipe[0] = -1;
	b->in_pipe = 0;
}

static inline bool
pipe_get(struct backlog *b)
{
	if (pipes_kept > 0) {
		memcpy(b->pipe, pipes[--pipes_kept], sizeof(b->pipe));
		return true;
	}
	if (pipe2(b->pipe, O_NONBLOCK | O_CLOEXEC) < 0) {
		b->pipe[0] = -1;
		return false;
	}
	fcntl(b->pipe[0], F_SETPIPE_SZ, PIPE_SIZE);
	return true;
}

static inline bool
again(ssize_t n)
{
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static inline bool
has_backlog(const struct backlog *b)
{
	return b->held != NULL || b->in_pipe > 0;
}

/* Keeps all of v but its first `sent` bytes; false: no memory. */
static inline bool
backlog_keep(struct backlog *b, const struct iovec *v, int n, size_t size, size_t sent)
{
	size_t at = 0;

	if ((b->held = malloc(size)) == NULL)
		return false;
	for (int i = 0; i < n; at += v[i++].iov_len)
		memcpy(b->held + at, v[i].iov_base, v[i].iov_len);
	b->held_at = (uint32_t)sent;
	b->held_end = (uint32_t)size;
	return true;
}

/* Passes on what waits; false: broken. */
static inline bool
backlog_flush(struct backlog *b, int to)
{
	ssize_t n;

	if (b->held != NULL) {
		n = send(to, b->held + b->held_at, b->held_end - b->held_at, MSG_NOSIGNAL);
		if (n < 0)
			return again(n);
		if ((b->held_at += (uint32_t)n) < b->held_end)
			return true;
		free(b->held);
		b->held = NULL;
	}
	while (b->in_pipe > 0) {
		n = splice(b->pipe[0], NULL, to, NULL, b->in_pipe, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		if (n < 0)
			return again(n);
		b->in_pipe -= (uint32_t)n;
	}
	return true;
}

/* A socket on its way to the target; negative: none. */
static inline int
target_connect(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1, off = 0;

	if (fd < 0)
		return -1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	/* The ACK of the handshake rides on the first data. */
	setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof(off));
	if (connect(fd, (struct sockaddr *)&target, sizeof(target)) < 0 && errno != EINPROGRESS) {
		close(fd);
		return -1;
	}
	return fd;
}

static inline struct sockaddr_in
parse_address(char *text)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	char *colon = strrchr(text, ':');

	if (colon != NULL) {
		*colon = '\0';
		in.sin_port = htons((uint16_t)atoi(colon + 1));
	}
	if (colon == NULL || in.sin_port == 0 || inet_pton(AF_INET, text, &in.sin_addr) != 1) {
		fprintf(stderr, "%s: ADDRESS:PORT expected\n", program_invocation_short_name);
		exit(2);
	}
	return in;
}

static inline void
open_listener(struct sockaddr_in in)
{
	struct epoll_event e = { .events = EPOLLIN };
	int one = 1, off = 0;

	if ((epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0)
		fail("epoll_create1");
	if ((listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) < 0)
		fail("socket");
	setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(listen_fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (bind(listen_fd, (struct sockaddr *)&in, sizeof(in)) < 0 || listen(listen_fd, 4096) < 0)
		fail("bind");
	/* Inherited too: the ACK of the request rides on the answer.  Only now,
	 * for listen() resets it. */
	setsockopt(listen_fd, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof(off));
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &e) < 0)
		fail("epoll_ctl");
}

/* LISTEN TARGET; as many descriptors as there may be. */
static inline void
floor_open(int argc, char **argv)
{
	struct sockaddr_in in;
	struct rlimit files;

	if (argc != 3) {
		fprintf(stderr, "usage: %s LISTEN TARGET\n", program_invocation_short_name);
		exit(2);
	}
	in = parse_address(argv[1]);
	target = parse_address(argv[2]);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	open_listener(in);
}

#endif
