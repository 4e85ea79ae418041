/* floor.c - the least a TCP proxy can cost: one thread, epoll, one shared
 * buffer, splice(2) for bulk; no timers, no logs, no checks, no choice of
 * backend.  Not a product: a ruler for bench/run.
 *
 *	floor 127.0.0.1:LISTEN 127.0.0.1:TARGET
 *
 * Built by bench/run on its own; shares no code with Teal, so that a mistake
 * of ours cannot be in both. */
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
#include <unistd.h>

#define BUFFER (64 * 1024)
#define PIPE_SIZE (256 * 1024)
#define PIPES_KEPT 64
/* So many full reads in a row make bulk; so many short ones end it. */
#define BULK_AFTER 3
#define QUIET_AFTER 8

/* One direction, named after the socket it reads from. */
struct side {
	struct conn *conn;
	char *held;	/* what the other side would not take; NULL mostly */
	uint32_t held_at, held_end;
	uint32_t in_pipe;
	int fd, pipe[2];	/* pipe[0] < 0: none, bytes are copied */
	uint16_t interest;
	uint8_t full, quiet;
	bool eof, shut;	/* read to the end; and passed on */
};

struct conn {
	struct side side[2];	/* client, backend */
	struct conn *next_dead;
	bool connecting, dead;
};

static int epoll_fd, listen_fd;
static struct sockaddr_in target;
static char buffer[BUFFER];
static struct conn *dead;
static int pipes[PIPES_KEPT][2];
static unsigned pipes_kept;

static _Noreturn void
fail(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void
pipe_put(struct side *s)
{
	if (s->pipe[0] < 0)
		return;
	if (s->in_pipe == 0 && pipes_kept < PIPES_KEPT) {
		memcpy(pipes[pipes_kept++], s->pipe, sizeof(s->pipe));
	} else {
		close(s->pipe[0]);
		close(s->pipe[1]);
	}
	s->pipe[0] = -1;
	s->in_pipe = 0;
}

static bool
pipe_get(struct side *s)
{
	if (pipes_kept > 0) {
		memcpy(s->pipe, pipes[--pipes_kept], sizeof(s->pipe));
		return true;
	}
	if (pipe2(s->pipe, O_NONBLOCK | O_CLOEXEC) < 0) {
		s->pipe[0] = -1;
		return false;
	}
	fcntl(s->pipe[0], F_SETPIPE_SZ, PIPE_SIZE);
	return true;
}

static void
conn_end(struct conn *c)
{
	if (c->dead)
		return;
	for (int i = 0; i < 2; i++) {
		pipe_put(&c->side[i]);
		free(c->side[i].held);
		close(c->side[i].fd);
	}
	c->dead = true;
	c->next_dead = dead;	/* later events of this turn may still name it */
	dead = c;
}

static struct side *
other(struct side *s)
{
	return s == &s->conn->side[0] ? &s->conn->side[1] : &s->conn->side[0];
}

static bool
has_held(const struct side *s)
{
	return s->held_end > s->held_at || s->in_pipe > 0;
}

/* Interest follows from state; in the steady state it never changes. */
static void
side_settle(struct side *s)
{
	struct epoll_event e = { .data.ptr = s };

	if (s->conn->connecting)
		e.events = s == &s->conn->side[1] ? EPOLLOUT : 0;
	else
		e.events = (!s->eof && !has_held(s) ? EPOLLIN | EPOLLRDHUP : 0) | (has_held(other(s)) ? EPOLLOUT : 0);
	if (e.events == s->interest)
		return;
	s->interest = (uint16_t)e.events;
	epoll_ctl(epoll_fd, EPOLL_CTL_MOD, s->fd, &e);
}

static bool
again(ssize_t n)
{
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* Passes on what is held; false: broken. */
static bool
flush(struct side *s)
{
	int to = other(s)->fd;
	ssize_t n;

	if (s->held != NULL) {
		n = send(to, s->held + s->held_at, s->held_end - s->held_at, MSG_NOSIGNAL);
		if (n < 0)
			return again(n);
		s->held_at += (uint32_t)n;
		if (s->held_at < s->held_end)
			return true;
		free(s->held);
		s->held = NULL;
		s->held_at = s->held_end = 0;
	}
	while (s->in_pipe > 0) {
		n = splice(s->pipe[0], NULL, to, NULL, s->in_pipe, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		if (n < 0)
			return again(n);
		s->in_pipe -= (uint32_t)n;
	}
	return true;
}

/* ended: the sender has ended its side; what a short read brings is the last
 * of it, and goes out in one packet with the end. */
static bool
read_copying(struct side *s, bool ended)
{
	ssize_t n = recv(s->fd, buffer, BUFFER, 0), sent;

	if (n <= 0) {
		s->eof = n == 0;
		return n == 0 || again(n);
	}
	s->eof = ended && n < BUFFER;
	sent = send(other(s)->fd, buffer, (size_t)n, MSG_NOSIGNAL | (s->eof ? MSG_MORE : 0));
	if (sent < 0 && !again(sent))
		return false;
	if (sent < 0)
		sent = 0;
	if (sent < n) {
		if ((s->held = malloc((size_t)(n - sent))) == NULL)
			return false;
		memcpy(s->held, buffer + sent, (size_t)(n - sent));
		s->held_at = 0;
		s->held_end = (uint32_t)(n - sent);
	}
	s->full = n == BUFFER ? (uint8_t)(s->full + 1) : 0;
	if (s->full >= BULK_AFTER && pipe_get(s))
		s->full = s->quiet = 0;
	return true;
}

static bool
read_splicing(struct side *s)
{
	ssize_t n = splice(s->fd, NULL, s->pipe[1], NULL, PIPE_SIZE, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (n <= 0) {
		s->eof = n == 0;
		return n == 0 || again(n);
	}
	s->in_pipe += (uint32_t)n;
	s->quiet = n < BUFFER / 4 ? (uint8_t)(s->quiet + 1) : 0;
	return flush(s);
}

static bool
side_read(struct side *s, bool ended)
{
	if (s->pipe[0] >= 0 && s->quiet >= QUIET_AFTER && s->in_pipe == 0)
		pipe_put(s);
	return s->pipe[0] >= 0 ? read_splicing(s) : read_copying(s, ended);
}

static void
conn_step(struct conn *c)
{
	struct side *a = &c->side[0], *b = &c->side[1];

	if (a->eof && !has_held(a) && b->eof && !has_held(b)) {
		conn_end(c);	/* no shutdown before a close */
		return;
	}
	for (int i = 0; i < 2; i++) {
		struct side *s = &c->side[i];

		if (s->eof && !s->shut && !has_held(s)) {
			s->shut = true;
			shutdown(other(s)->fd, SHUT_WR);
		}
	}
	side_settle(a);
	side_settle(b);
}

static void
on_event(struct side *s, uint32_t events)
{
	struct conn *c = s->conn;
	int error = 0;

	if (c->dead)
		return;
	if (c->connecting) {
		if (s == &c->side[0]) {	/* the client went away meanwhile */
			conn_end(c);
			return;
		}
		getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){ sizeof(error) });
		if (error != 0) {
			conn_end(c);
			return;
		}
		c->connecting = false;
		conn_step(c);
		return;
	}
	/* Errors are reported whatever the interest: waiting on would spin. */
	if ((events & EPOLLERR) || ((events & EPOLLOUT) && has_held(other(s)) && !flush(other(s)))) {
		conn_end(c);
		return;
	}
	if ((events & (EPOLLIN | EPOLLHUP)) && !s->eof && !has_held(s) &&
	    !side_read(s, events & EPOLLRDHUP)) {
		conn_end(c);
		return;
	}
	conn_step(c);
}

static void
on_accept(void)
{
	int client = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), backend, one = 1, off = 0;
	struct epoll_event e;
	struct conn *c;

	if (client < 0)
		return;
	backend = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	c = calloc(1, sizeof(*c));
	if (backend < 0 || c == NULL)
		goto fail;
	setsockopt(backend, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	/* The ACK of the handshake rides on the first data. */
	setsockopt(backend, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof(off));
	if (connect(backend, (struct sockaddr *)&target, sizeof(target)) < 0 && errno != EINPROGRESS)
		goto fail;
	c->connecting = true;
	for (int i = 0; i < 2; i++) {
		struct side *s = &c->side[i];

		s->conn = c;
		s->fd = i == 0 ? client : backend;
		s->pipe[0] = -1;
		e.data.ptr = s;
		e.events = s->interest = i == 0 ? 0 : EPOLLOUT;
		epoll_ctl(epoll_fd, EPOLL_CTL_ADD, s->fd, &e);
	}
	return;
fail:
	close(client);
	if (backend >= 0)
		close(backend);
	free(c);
}

static struct sockaddr_in
parse(char *text)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	char *colon = strrchr(text, ':');

	if (colon != NULL) {
		*colon = '\0';
		in.sin_port = htons((uint16_t)atoi(colon + 1));
	}
	if (colon == NULL || in.sin_port == 0 || inet_pton(AF_INET, text, &in.sin_addr) != 1) {
		fprintf(stderr, "floor: ADDRESS:PORT expected\n");
		exit(2);
	}
	return in;
}

int
main(int argc, char **argv)
{
	struct epoll_event events[128], e = { .events = EPOLLIN };
	struct rlimit files;
	struct sockaddr_in in;
	struct conn *c;
	int n, one = 1, off = 0;

	if (argc != 3) {
		fprintf(stderr, "usage: floor LISTEN TARGET\n");
		return 2;
	}
	in = parse(argv[1]);
	target = parse(argv[2]);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
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
	e.data.ptr = NULL;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &e) < 0)
		fail("epoll_ctl");
	for (;;) {
		if ((n = epoll_wait(epoll_fd, events, 128, -1)) < 0 && errno != EINTR)
			fail("epoll_wait");
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr == NULL)
				on_accept();
			else
				on_event(events[i].data.ptr, events[i].events);
		}
		while ((c = dead) != NULL) {
			dead = c->next_dead;
			free(c);
		}
	}
}
