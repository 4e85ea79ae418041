/* floor_http.c - the least an HTTP/1.1 proxy with pooled backend connections
 * can cost: one thread, epoll, one shared buffer, splice(2) for long bodies.
 * Of a message it finds the end of the head, Content-Length and, in requests,
 * "Connection: close"; nothing is checked, edited, logged or timed, and there
 * is no choice of backend.  Not a product: a ruler for bench/run.
 *
 *	floor-http 127.0.0.1:LISTEN 127.0.0.1:TARGET
 *
 * Built by bench/run on its own; shares no code with Teal, so that a mistake
 * of ours cannot be in both.  What a bench never sends (pipelining, chunked
 * bodies, heads in pieces) ends the connection. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#define BUFFER (64 * 1024)
#define PIPE_SIZE (256 * 1024)
#define PIPES_KEPT 64
/* From here on a body is spliced instead of copied. */
#define SPLICE_FROM (128 * 1024)

/* A client or a backend connection; `other` while they share a request. */
struct side {
	struct side *other;
	struct side *next;	/* in the pool, or among the dead */
	char *held;	/* what this side said and the other would not take yet */
	uint64_t left;	/* bytes of the body it still sends */
	uint32_t held_at, held_end, in_pipe;
	int fd, pipe[2];	/* pipe[0] < 0: none */
	uint16_t interest;
	bool backend, connecting, pooled, dead;
	bool asked;	/* client: a request is under way */
	bool answering;	/* backend: the answer's head is behind us */
	bool last;	/* client: asked for an end after this one */
};

static int epoll_fd, listen_fd;
static struct sockaddr_in target;
static char buffer[BUFFER];
static struct side *dead, *pool;
static int pipes[PIPES_KEPT][2];
static unsigned pipes_kept;

static _Noreturn void
fail(const char *what)
{
	fprintf(stderr, "floor-http: %s: %s\n", what, strerror(errno));
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
side_end(struct side *s)
{
	struct side **p;

	if (s->dead)
		return;
	if (s->pooled) {
		for (p = &pool; *p != s; p = &(*p)->next)
			;
		*p = s->next;
	}
	pipe_put(s);
	free(s->held);
	close(s->fd);
	s->dead = true;
	s->next = dead;	/* later events of this turn may still name it */
	dead = s;
	if (s->other != NULL)
		side_end(s->other);
}

static bool
has_held(const struct side *s)
{
	return s->held != NULL || s->in_pipe > 0;
}

/* Interest follows from state; between small messages it never changes. */
static void
side_settle(struct side *s)
{
	struct epoll_event e = { .data.ptr = s };

	if (s->dead)
		return;
	if (s->connecting)
		e.events = EPOLLOUT;
	else
		e.events = (has_held(s) || (s->other != NULL && s->other->connecting) ? 0 : EPOLLIN) |
			   (s->other != NULL && has_held(s->other) ? EPOLLOUT : 0);
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

/* Passes on what s said, all of it or the rest later; false: broken.  end:
 * the other side is closed next, so that the end may ride on the last bytes. */
static bool
pass(struct side *s, struct iovec *v, int n, bool end)
{
	struct msghdr m = { .msg_iov = v, .msg_iovlen = (size_t)n };
	size_t size = 0, at = 0;
	ssize_t sent = 0;

	for (int i = 0; i < n; i++)
		size += v[i].iov_len;
	if (!s->other->connecting) {
		sent = sendmsg(s->other->fd, &m, MSG_NOSIGNAL | (end ? MSG_MORE : 0));
		if (sent < 0 && !again(sent))
			return false;
		if (sent < 0)
			sent = 0;
	}
	if ((size_t)sent == size)
		return true;
	if ((s->held = malloc(size)) == NULL)
		return false;
	for (int i = 0; i < n; at += v[i++].iov_len)
		memcpy(s->held + at, v[i].iov_base, v[i].iov_len);
	s->held_at = (uint32_t)sent;
	s->held_end = (uint32_t)size;
	return true;
}

static bool
flush(struct side *s)
{
	ssize_t n;

	if (s->held != NULL) {
		n = send(s->other->fd, s->held + s->held_at, s->held_end - s->held_at, MSG_NOSIGNAL);
		if (n < 0)
			return again(n);
		if ((s->held_at += (uint32_t)n) < s->held_end)
			return true;
		free(s->held);
		s->held = NULL;
	}
	while (s->in_pipe > 0) {
		n = splice(s->pipe[0], NULL, s->other->fd, NULL, s->in_pipe,
			   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		if (n < 0)
			return again(n);
		s->in_pipe -= (uint32_t)n;
	}
	return true;
}

static struct side *
side_new(int fd, bool backend, uint32_t events)
{
	struct side *s = calloc(1, sizeof(*s));
	struct epoll_event e = { .data.ptr = s, .events = events };

	if (s == NULL)
		fail("calloc");
	s->fd = fd;
	s->backend = backend;
	s->pipe[0] = -1;
	s->interest = (uint16_t)events;
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
	return s;
}

static struct side *
backend_get(void)
{
	struct side *s = pool;
	int fd, one = 1, off = 0;

	if (s != NULL) {	/* the one used last: its caches are warm */
		pool = s->next;
		s->pooled = false;
		return s;
	}
	if ((fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) < 0)
		return NULL;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof(off));
	if (connect(fd, (struct sockaddr *)&target, sizeof(target)) < 0 && errno != EINPROGRESS) {
		close(fd);
		return NULL;
	}
	s = side_new(fd, true, EPOLLOUT);
	s->connecting = true;
	return s;
}

/* The exchange is over: both sides are free for the next. */
static void
answered(struct side *backend)
{
	struct side *client = backend->other;

	pipe_put(backend);
	backend->other = client->other = NULL;
	backend->answering = client->asked = false;
	backend->pooled = true;
	backend->next = pool;
	pool = backend;
	side_settle(backend);
	if (client->last)
		side_end(client);
	else
		side_settle(client);
}

/* What the head in p[0..n) says about the body; *close_at is where a line
 * "Connection: close" begins, with its length in *close_n. */
static bool
read_head(const char *p, size_t n, size_t *head, uint64_t *length, size_t *close_at, size_t *close_n)
{
	const char *end = memmem(p, n, "\r\n\r\n", 4), *line, *eol;

	if (end == NULL)
		return false;
	*head = (size_t)(end + 4 - p);
	*length = 0;
	*close_n = 0;
	for (line = memchr(p, '\n', *head) + 1; line < end; line = eol + 1) {
		eol = memchr(line, '\n', (size_t)(end + 2 - line));
		if ((*line | 0x20) != 'c')
			continue;
		if (strncasecmp(line, "content-length:", 15) == 0) {
			*length = strtoull(line + 15, NULL, 10);
		} else if (strncasecmp(line, "connection: close", 17) == 0) {
			*close_at = (size_t)(line - p);
			*close_n = (size_t)(eol + 1 - line);
		}
	}
	return true;
}

static bool
client_read(struct side *s)
{
	ssize_t n = recv(s->fd, buffer, BUFFER, 0);
	size_t head, close_at = 0, close_n;
	struct iovec v[2] = { { buffer, (size_t)n }, { NULL, 0 } };

	if (n <= 0)
		return again(n);
	if (s->asked) {	/* more of the body */
		if ((uint64_t)n > s->left)
			return false;
		s->left -= (uint64_t)n;
		return pass(s, v, 1, false);
	}
	if (!read_head(buffer, (size_t)n, &head, &s->left, &close_at, &close_n) ||
	    (size_t)n - head > s->left)
		return false;
	s->left -= (size_t)n - head;
	s->asked = true;
	s->last = close_n > 0;
	if ((s->other = backend_get()) == NULL)
		return false;
	s->other->other = s;
	if (close_n > 0) {	/* is said to us; the backend's connection stays */
		v[0].iov_len = close_at;
		v[1] = (struct iovec){ buffer + close_at + close_n, (size_t)n - close_at - close_n };
	}
	return pass(s, v, close_n > 0 ? 2 : 1, false);
}

static bool
backend_splice(struct side *s)
{
	size_t most = s->left < PIPE_SIZE ? (size_t)s->left : PIPE_SIZE;
	ssize_t n = splice(s->fd, NULL, s->pipe[1], NULL, most, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (n <= 0)
		return again(n);
	s->in_pipe += (uint32_t)n;
	s->left -= (uint64_t)n;
	return flush(s);
}

static bool
backend_read(struct side *s)
{
	size_t head = 0, close_at, close_n;
	struct iovec v = { buffer, 0 };
	ssize_t n;

	if (s->pipe[0] >= 0)
		return backend_splice(s);
	n = recv(s->fd, buffer, BUFFER, 0);
	if (n <= 0 || s->other == NULL)
		return again(n);
	if (!s->answering && !read_head(buffer, (size_t)n, &head, &s->left, &close_at, &close_n))
		return false;
	s->answering = true;
	if ((size_t)n - head > s->left)
		return false;
	s->left -= (size_t)n - head;
	v.iov_len = (size_t)n;
	if (!pass(s, &v, 1, s->left == 0 && s->other->last))
		return false;
	if (s->left >= SPLICE_FROM)
		pipe_get(s);
	return true;
}

static bool
backend_connected(struct side *s)
{
	int error = 0;

	getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){ sizeof(error) });
	s->connecting = false;
	return error == 0 && flush(s->other);
}

static bool
side_step(struct side *s, uint32_t events)
{
	if (s->connecting)
		return backend_connected(s);
	if (events & EPOLLERR)
		return false;
	if ((events & EPOLLOUT) && s->other != NULL && has_held(s->other) && !flush(s->other))
		return false;
	if (!(events & (EPOLLIN | EPOLLHUP)) || has_held(s))
		return true;
	return s->backend ? backend_read(s) : client_read(s);
}

static void
on_event(struct side *s, uint32_t events)
{
	struct side *backend;

	if (s->dead)
		return;
	if (!side_step(s, events)) {
		side_end(s);
		return;
	}
	backend = s->backend ? s : s->other;
	if (backend != NULL && backend->answering && backend->left == 0 && !has_held(backend)) {
		answered(backend);
		return;
	}
	side_settle(s);
	if (s->other != NULL)
		side_settle(s->other);
}

static void
on_accept(void)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0)
		side_new(fd, false, EPOLLIN);
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
		fprintf(stderr, "floor-http: ADDRESS:PORT expected\n");
		exit(2);
	}
	return in;
}

static void
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

int
main(int argc, char **argv)
{
	struct epoll_event events[128];
	struct rlimit files;
	struct sockaddr_in in;
	struct side *s;
	int n;

	if (argc != 3) {
		fprintf(stderr, "usage: floor-http LISTEN TARGET\n");
		return 2;
	}
	in = parse(argv[1]);
	target = parse(argv[2]);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	open_listener(in);
	for (;;) {
		if ((n = epoll_wait(epoll_fd, events, 128, -1)) < 0 && errno != EINTR)
			fail("epoll_wait");
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr == NULL)
				on_accept();
			else
				on_event(events[i].data.ptr, events[i].events);
		}
		while ((s = dead) != NULL) {
			dead = s->next;
			free(s);
		}
	}
}
