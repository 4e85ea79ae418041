/* observe.c - the observe listener, and who makes way for whom.
 * Thread: main. */
#include <fcntl.h>
#include <stdlib.h>

#include "base/clock.h"
#include "app/observe_client.h"
#include "app/observe_stream.h"
#include "net/sock.h"

#define BACKLOG 128
#define ACCEPTS_A_TURN 16
/* Until accepting is tried again when descriptors or memory are out. */
#define PAUSE_SECONDS 0.1
/* and said again in the log. */
#define COMPLAIN_SECONDS 10.0

static const char busy_reply[] = "HTTP/1.1 503 Service Unavailable\r\n"
				 "Content-Type: text/plain; charset=utf-8\r\n"
				 "Content-Length: 21\r\n"
				 "Retry-After: 1\r\n"
				 "Connection: close\r\n\r\n"
				 "too many connections\n";

struct observe *
observe_bind(const struct config *config, struct why *why)
{
	struct observe *o = must_alloc(sizeof(*o));
	struct why reason;
	int fd = -1;

	o->config = config;
	list_init(&o->visitors);
	list_init(&o->dead);
	if (config->observe.on && (sock_bind(&config->observe.listen, &fd, 1, &reason) != OK || sock_listen(fd, BACKLOG, &reason) != OK)) {
		(void)why_set(why, E_USAGE, "observe: %.900s", reason.text);
		free(o);
		return NULL;
	}
	io_init(&o->listener, fd, NULL);
	if (fd >= 0 && addr_family(&config->observe.listen) == AF_UNIX &&
	    lstat(config->observe.listen.u.un.sun_path, &o->file) != 0)
		o->file.st_ino = 0;
	return o;
}

/* A Unix listener's file, while it is still ours: our open socket pins the
 * inode, so its number cannot have been given to another. */
static void
remove_file(const struct observe *o)
{
	const struct addr *a = &o->config->observe.listen;
	struct stat st;

	if (!io_is_open(&o->listener) || addr_family(a) != AF_UNIX || lstat(a->u.un.sun_path, &st) != 0)
		return;
	if (st.st_dev == o->file.st_dev && st.st_ino == o->file.st_ino)
		unlink(a->u.un.sun_path);
}

/* The longest idle makes way.  False when all are busy. */
static bool
make_room(struct observe *o)
{
	LIST_EACH(link, &o->visitors) {
		struct visitor *v = list_entry(link, struct visitor, link);

		if (v->state == VISITOR_IDLE || v->state == VISITOR_LINGERING) {
			visitor_close(v);
			return true;
		}
	}
	return false;
}

static void
admit(struct observe *o, int fd)
{
	if (o->n < OBSERVE_CLIENTS_MAX || make_room(o)) {
		visitor_new(o, fd);
		return;
	}
	/* One try: whoever is refused does not get a place to wait. */
	if (send(fd, busy_reply, sizeof(busy_reply) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
		shutdown(fd, SHUT_WR);
	close(fd);
}

static void
observe_on_accept(struct ev_loop *loop, ev_io *w, int revents)
{
	struct observe *o = container_of(w, struct observe, listener.watcher);
	int fd;

	(void)revents;
	for (int i = 0; i < ACCEPTS_A_TURN; i++) {
		fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			admit(o, fd);
			continue;
		}
		if (io_would_block())
			return;
		switch (errno) {
		case EMFILE:
		case ENFILE:
		case ENOBUFS:
		case ENOMEM:
			break;
		default:
			continue;	/* that one is gone; accept(2) wants the next to be tried */
		}
		if (clock_now() - o->complained > COMPLAIN_SECONDS) {
			o->complained = clock_now();
			LOG_WARN("observe.accept_paused", LS("why", strerror(errno)), LF("seconds", PAUSE_SECONDS));
		}
		make_room(o);
		io_want(loop, &o->listener, 0);
		ev_timer_set(&o->pause, PAUSE_SECONDS, 0.0);
		ev_timer_start(loop, &o->pause);
		return;
	}
}

static void
pause_on_over(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct observe *o = container_of(t, struct observe, pause);

	(void)revents;
	io_want(loop, &o->listener, EV_READ);
}

static void
bury(struct observe *o)
{
	LIST_EACH(link, &o->dead) {
		struct visitor *v = list_entry(link, struct visitor, link);

		list_remove(link);
		buf_free(&v->in);
		buf_free(&v->out);
		v->magic = 0;
		free(v);
	}
}

/* Before the loop sleeps: no callback is on the stack that could hold one. */
static void
reap_on_turn(struct ev_loop *loop, ev_prepare *p, int revents)
{
	struct observe *o = container_of(p, struct observe, reap);

	(void)revents;
	bury(o);
	ev_prepare_stop(loop, p);
}

void
observe_start(struct observe *o, struct control *c)
{
	char text[ADDR_TEXT];

	o->control = c;
	o->loop = c->loop;
	ev_timer_init(&o->pause, pause_on_over, 0.0, 0.0);
	ev_prepare_init(&o->reap, reap_on_turn);
	if (!io_is_open(&o->listener))
		return;
	stream_open(o);
	io_init(&o->listener, io_fd(&o->listener), observe_on_accept);
	io_want(o->loop, &o->listener, EV_READ);
	LOG_INFO("observe.listening", LS("listen", addr_format(&o->config->observe.listen, text)));
}

struct observe *
observe_open(struct control *c, struct why *why)
{
	struct observe *o = observe_bind(c->config, why);

	if (o != NULL)
		observe_start(o, c);
	return o;
}

unsigned
observe_port(const struct observe *o)
{
	struct addr a = { .len = sizeof(a.u) };

	if (!io_is_open(&o->listener) || getsockname(io_fd(&o->listener), &a.u.sa, &a.len) != 0)
		return 0;
	return addr_port(&a);
}

void
observe_close(struct observe **op)
{
	struct observe *o = *op;
	struct link *link;

	*op = NULL;
	if (o == NULL)
		return;
	remove_file(o);
	if (o->control != NULL) {
		while ((link = list_first(&o->visitors)) != NULL)
			visitor_close(list_entry(link, struct visitor, link));
		stream_close(o);
		ev_timer_stop(o->loop, &o->pause);
		ev_prepare_stop(o->loop, &o->reap);
		bury(o);
		io_close(o->loop, &o->listener);
	} else if (io_is_open(&o->listener)) {
		close(io_fd(&o->listener));
	}
	free(o);
}
