/* probe.c - one connection attempt: begun, watched, closed.
 * Thread: main.  Born in probe_start(), dies just before done is called, or in
 * probe_cancel().  Owns its socket. */
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "control/probe.h"

#define PROBE_MAGIC 0x70726f62u
/* Even with no timeout a probe ends some day. */
#define PROBE_LONGEST 60.0

struct probe {
	uint32_t magic;
	struct ev_loop *loop;
	ev_io io;
	ev_timer timer;
	int fd;
	int failed;	/* errno of a connect() that was refused at once, 0: it goes on */
	double timeout, started;
	probe_done_fn *done;
	void *arg;
};

/* "connection refused": the system's words, fit for the middle of a sentence. */
static const char *
reason_of(int error, char text[64])
{
	/* EAGAIN is a Unix socket's way to say so. */
	const char *words = error == EAGAIN ? "its queue of connections is full" : strerrordesc_np(error);

	snprintf(text, 64, "%s", words != NULL ? words : "unknown error");
	if (text[1] != '\0' && islower((unsigned char)text[1]))
		text[0] = (char)tolower((unsigned char)text[0]);
	return text;
}

static void
release(struct probe *p)
{
	CHECK(p->magic == PROBE_MAGIC);
	ev_io_stop(p->loop, &p->io);
	ev_timer_stop(p->loop, &p->timer);
	close(p->fd);
	p->magic = 0;
	free(p);
}

static void
finish(struct probe *p, const char *error)
{
	probe_done_fn *done = p->done;
	void *arg = p->arg;
	double seconds = clock_now() - p->started;

	release(p);
	done(arg, error, seconds);
}

/* The attempt is over, one way or the other: which? */
static void
conclude(struct probe *p)
{
	int error = p->failed;
	socklen_t len = sizeof(error);
	char text[64];

	if (error == 0 && getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
		error = errno;
	finish(p, error == 0 ? NULL : reason_of(error, text));
}

static void
probe_on_writable(struct ev_loop *loop, ev_io *w, int revents)
{
	struct probe *p = container_of(w, struct probe, io);

	(void)loop;
	(void)revents;
	CHECK(p->magic == PROBE_MAGIC);
	conclude(p);
}

static void
probe_on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct probe *p = container_of(w, struct probe, timer);
	struct pollfd now = { .fd = p->fd, .events = POLLOUT };
	char text[64];

	(void)loop;
	(void)revents;
	CHECK(p->magic == PROBE_MAGIC);
	/* Had this thread been held up, the answer may be waiting: a stall of
	 * ours is no fault of the backend's. */
	if (p->failed != 0 || poll(&now, 1, 0) > 0) {
		conclude(p);
		return;
	}
	snprintf(text, sizeof(text), "timed out after %g s", p->timeout);
	finish(p, text);
}

/* errno, or 0 when it is under way or done. */
static int
begin(int fd, const struct addr *to, const struct addr *source)
{
	int on = 1;

	if (source != NULL && source->len > 0 && addr_family(source) == addr_family(to)) {
		/* The port is chosen at connect(), so that it need only be
		 * unique for this destination. */
		if (addr_family(to) != AF_UNIX)
			(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
		if (bind(fd, &source->u.sa, source->len) != 0)
			return errno;
	}
	if (connect(fd, &to->u.sa, to->len) == 0 || errno == EINPROGRESS || errno == EINTR)
		return 0;
	return errno;
}

struct probe *
probe_start(struct ev_loop *loop, const struct addr *to, const struct addr *source, double timeout,
	    probe_done_fn *done, void *arg, const char **error)
{
	static char text[64];	/* main's, until its next probe */
	int fd = socket(addr_family(to), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct probe *p;

	if (fd < 0) {
		*error = reason_of(errno, text);
		return NULL;
	}
	p = must_alloc(sizeof(*p));
	p->magic = PROBE_MAGIC;
	p->loop = loop;
	p->fd = fd;
	p->timeout = timeout > 0 && timeout < PROBE_LONGEST ? timeout : PROBE_LONGEST;
	p->started = clock_now();
	p->done = done;
	p->arg = arg;
	p->failed = begin(fd, to, source);
	ev_io_init(&p->io, probe_on_writable, fd, EV_WRITE);
	/* The loop's clock stands still within a turn: count from now, not from
	 * when the turn began.  What failed already is told next turn. */
	ev_now_update(loop);
	ev_timer_init(&p->timer, probe_on_timer, p->failed != 0 ? 0 : p->timeout, 0);
	ev_timer_start(loop, &p->timer);
	if (p->failed == 0)
		ev_io_start(loop, &p->io);
	*error = NULL;
	return p;
}

void
probe_cancel(struct probe **pp)
{
	if (*pp != NULL)
		release(*pp);
	*pp = NULL;
}
