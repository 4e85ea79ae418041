/* floor.c - the least a TCP proxy can cost: one thread, epoll, one shared
 * buffer, splice(2) for bulk; no timers, no logs, no checks, no choice of
 * backend.  Not a product: a ruler for bench/run.
 *
 *	floor 127.0.0.1:LISTEN 127.0.0.1:TARGET
 *
 * Built by bench/run on its own. */
#include "floor_common.h"

/* So many full reads in a row make bulk; so many short ones end it. */
#define BULK_AFTER 3
#define QUIET_AFTER 8

/* One direction, named after the socket it reads from. */
struct side {
	struct conn *conn;
	struct backlog out;	/* what the other side would not take; without a pipe bytes are copied */
	int fd;
	uint16_t interest;
	uint8_t full, quiet;
	bool eof, shut;	/* read to the end; and passed on */
};

struct conn {
	struct side side[2];	/* client, backend */
	struct conn *next_dead;
	bool connecting, dead;
};

static struct conn *dead;

static void
conn_end(struct conn *c)
{
	if (c->dead)
		return;
	for (int i = 0; i < 2; i++) {
		pipe_put(&c->side[i].out);
		free(c->side[i].out.held);
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

/* Interest follows from state; in the steady state it never changes. */
static void
side_settle(struct side *s)
{
	struct epoll_event e = { .data.ptr = s };

	if (s->conn->connecting)
		e.events = s == &s->conn->side[1] ? EPOLLOUT : 0;
	else
		e.events = (!s->eof && !has_backlog(&s->out) ? EPOLLIN | EPOLLRDHUP : 0) | (has_backlog(&other(s)->out) ? EPOLLOUT : 0);
	if (e.events == s->interest)
		return;
	s->interest = (uint16_t)e.events;
	epoll_ctl(epoll_fd, EPOLL_CTL_MOD, s->fd, &e);
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
	if (sent < n && !backlog_keep(&s->out, &(struct iovec){ buffer, (size_t)n }, 1, (size_t)n, (size_t)sent))
		return false;
	s->full = n == BUFFER ? (uint8_t)(s->full + 1) : 0;
	if (s->full >= BULK_AFTER && pipe_get(&s->out))
		s->full = s->quiet = 0;
	return true;
}

static bool
read_splicing(struct side *s)
{
	ssize_t n = splice(s->fd, NULL, s->out.pipe[1], NULL, PIPE_SIZE, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (n <= 0) {
		s->eof = n == 0;
		return n == 0 || again(n);
	}
	s->out.in_pipe += (uint32_t)n;
	s->quiet = n < BUFFER / 4 ? (uint8_t)(s->quiet + 1) : 0;
	return backlog_flush(&s->out, other(s)->fd);
}

static bool
side_read(struct side *s, bool ended)
{
	if (s->out.pipe[0] >= 0 && s->quiet >= QUIET_AFTER && s->out.in_pipe == 0)
		pipe_put(&s->out);
	return s->out.pipe[0] >= 0 ? read_splicing(s) : read_copying(s, ended);
}

static void
conn_step(struct conn *c)
{
	struct side *a = &c->side[0], *b = &c->side[1];

	if (a->eof && !has_backlog(&a->out) && b->eof && !has_backlog(&b->out)) {
		conn_end(c);	/* no shutdown before a close */
		return;
	}
	for (int i = 0; i < 2; i++) {
		struct side *s = &c->side[i];

		if (s->eof && !s->shut && !has_backlog(&s->out)) {
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
	if ((events & EPOLLERR) || ((events & EPOLLOUT) && has_backlog(&other(s)->out) && !backlog_flush(&other(s)->out, s->fd))) {
		conn_end(c);
		return;
	}
	if ((events & (EPOLLIN | EPOLLHUP)) && !s->eof && !has_backlog(&s->out) &&
	    !side_read(s, events & EPOLLRDHUP)) {
		conn_end(c);
		return;
	}
	conn_step(c);
}

static void
on_accept(void)
{
	int client = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), backend;
	struct epoll_event e;
	struct conn *c;

	if (client < 0)
		return;
	backend = target_connect();
	c = calloc(1, sizeof(*c));
	if (backend < 0 || c == NULL)
		goto fail;
	c->connecting = true;
	for (int i = 0; i < 2; i++) {
		struct side *s = &c->side[i];

		s->conn = c;
		s->fd = i == 0 ? client : backend;
		s->out.pipe[0] = -1;
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

int
main(int argc, char **argv)
{
	struct epoll_event events[128];
	struct conn *c;
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
		while ((c = dead) != NULL) {
			dead = c->next_dead;
			free(c);
		}
	}
}
