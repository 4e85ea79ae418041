/* floor_http.c - the least an HTTP/1.1 proxy with pooled backend connections
 * can cost: one thread, epoll, one shared buffer, splice(2) for long bodies.
 * Of a message it finds the end of the head, Content-Length and, in requests,
 * "Connection: close"; nothing is checked, edited, logged or timed, and there
 * is no choice of backend.  Not a product: a ruler for bench/run.
 *
 *	floor-http 127.0.0.1:LISTEN 127.0.0.1:TARGET
 *
 * Built by bench/run on its own.  What a bench never sends (pipelining, chunked
 * bodies, heads in pieces) ends the connection. */
#include <strings.h>

#include "floor_common.h"

/* From here on a body is spliced instead of copied. */
#define SPLICE_FROM (128 * 1024)

/* A client or a backend connection; `other` while they share a request. */
struct side {
	struct side *other;
	struct side *next;	/* in the pool, or among the dead */
	struct backlog out;	/* what this side said and the other would not take yet */
	uint64_t left;	/* bytes of the body it still sends */
	int fd;
	uint16_t interest;
	bool backend, connecting, pooled, dead;
	bool asked;	/* client: a request is under way */
	bool answering;	/* backend: the answer's head is behind us */
	bool last;	/* client: asked for an end after this one */
};

static struct side *dead, *pool;
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
	pipe_put(&s->out);
	free(s->out.held);
	close(s->fd);
	s->dead = true;
	s->next = dead;	/* later events of this turn may still name it */
	dead = s;
	if (s->other != NULL)
		side_end(s->other);
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
		e.events = (has_backlog(&s->out) || (s->other != NULL && s->other->connecting) ? 0 : EPOLLIN) |
			   (s->other != NULL && has_backlog(&s->other->out) ? EPOLLOUT : 0);
	if (e.events == s->interest)
		return;
	s->interest = (uint16_t)e.events;
	epoll_ctl(epoll_fd, EPOLL_CTL_MOD, s->fd, &e);
}

/* Passes on what s said, all of it or the rest later; false: broken.  end:
 * the other side is closed next, so that the end may ride on the last bytes. */
static bool
pass(struct side *s, struct iovec *v, int n, bool end)
{
	struct msghdr m = { .msg_iov = v, .msg_iovlen = (size_t)n };
	size_t size = 0;
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
	return backlog_keep(&s->out, v, n, size, (size_t)sent);
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
	s->out.pipe[0] = -1;
	s->interest = (uint16_t)events;
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
	return s;
}

static struct side *
backend_get(void)
{
	struct side *s = pool;
	int fd;

	if (s != NULL) {	/* the one used last: its caches are warm */
		pool = s->next;
		s->pooled = false;
		return s;
	}
	if ((fd = target_connect()) < 0)
		return NULL;
	s = side_new(fd, true, EPOLLOUT);
	s->connecting = true;
	return s;
}

/* The exchange is over: both sides are free for the next. */
static void
answered(struct side *backend)
{
	struct side *client = backend->other;

	pipe_put(&backend->out);
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
	ssize_t n = splice(s->fd, NULL, s->out.pipe[1], NULL, most, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (n <= 0)
		return again(n);
	s->out.in_pipe += (uint32_t)n;
	s->left -= (uint64_t)n;
	return backlog_flush(&s->out, s->other->fd);
}

static bool
backend_read(struct side *s)
{
	size_t head = 0, close_at, close_n;
	struct iovec v = { buffer, 0 };
	ssize_t n;

	if (s->out.pipe[0] >= 0)
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
		pipe_get(&s->out);
	return true;
}

static bool
backend_connected(struct side *s)
{
	int error = 0;

	getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){ sizeof(error) });
	s->connecting = false;
	return error == 0 && backlog_flush(&s->other->out, s->fd);
}

static bool
side_step(struct side *s, uint32_t events)
{
	if (s->connecting)
		return backend_connected(s);
	if (events & EPOLLERR)
		return false;
	if ((events & EPOLLOUT) && s->other != NULL && has_backlog(&s->other->out) && !backlog_flush(&s->other->out, s->fd))
		return false;
	if (!(events & (EPOLLIN | EPOLLHUP)) || has_backlog(&s->out))
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
	if (backend != NULL && backend->answering && backend->left == 0 && !has_backlog(&backend->out)) {
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

int
main(int argc, char **argv)
{
	struct epoll_event events[128];
	struct side *s;
	int n;

	floor_open(argc, argv);
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
