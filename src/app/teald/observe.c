/* observe.c - the observe listener, and who makes way for whom.
 * Thread: main. */
#include <stdlib.h>

#include "base/clock.h"
#include "app/observe_client.h"
#include "app/observe_stream.h"
#include "net/sock.h"

#define BACKLOG 511
#define ACCEPTS_A_TURN 16
/* Until accepting is tried again when descriptors or memory are out. */
#define PAUSE_SECONDS 0.1
#define SPARES 2
/* and said again in the log. */
#define COMPLAIN_SECONDS 10.0

struct observe *
observe_bind(const struct config *config, struct why *why)
{
	struct observe *o = must_alloc(sizeof(*o));
	struct why reason;
	int fd = -1;

	o->config = config;
	for (int i = 0; i < OBSERVE_PLACES; i++)
		list_init(&o->places[i].list);
	list_init(&o->dead);
	if (config->observe.on && (sock_bind(&config->observe.listen, config->observe.freebind, &fd, 1, &reason) != OK || sock_listen(fd, BACKLOG, &reason) != OK)) {
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

static struct visitor *
may_make_way(const struct observe *o, enum observe_place place)
{
	struct link *first = list_first(&o->places[place].list);
	struct visitor *v = first != NULL ? list_entry(first, struct visitor, link) : NULL;

	return v != NULL && clock_now() - v->touched >= OBSERVE_GRACE ? v : NULL;
}

bool
observe_make_room(struct observe *o, enum observe_place place)
{
	struct visitor *v = may_make_way(o, place);

	if (v != NULL)
		visitor_close(v);
	return v != NULL;
}

static void
pause_accepting(struct observe *o, double seconds)
{
	io_want(o->loop, &o->listener, 0);
	ev_timer_stop(o->loop, &o->pause);
	ev_timer_set(&o->pause, seconds, 0.0);
	ev_timer_start(o->loop, &o->pause);
}

void
observe_resume(struct observe *o)
{
	if (!o->full)
		return;
	o->full = false;
	ev_timer_stop(o->loop, &o->pause);
	io_want(o->loop, &o->listener, EV_READ);
}

/* No place is free, and each of those that have one came a moment ago: the next
 * waits in the kernel until the first of them has had its time. */
static void
wait_for_place(struct observe *o)
{
	const struct visitor *v = list_entry(list_first(&o->places[OBSERVE_WAITING].list), struct visitor, link);
	double rest = v->touched + OBSERVE_GRACE - clock_now();

	o->full = true;
	pause_accepting(o, rest > 0 ? rest : 0);
}

static void
complain(struct observe *o, const char *why)
{
	if (clock_now() - o->complained < COMPLAIN_SECONDS)
		return;
	o->complained = clock_now();
	LOG_WARN("observe.accept_paused", LS("why", why), LF("seconds", PAUSE_SECONDS));
}

static void
observe_on_accept(struct ev_loop *loop, ev_io *w, int revents)
{
	struct observe *o = container_of(w, struct observe, listener.watcher);
	int fd;

	(void)loop;
	(void)revents;
	for (int i = 0; i < ACCEPTS_A_TURN; i++) {
		bool full = o->places[OBSERVE_WAITING].n >= OBSERVE_WAITING_MAX;

		if (full && may_make_way(o, OBSERVE_WAITING) == NULL) {
			complain(o, "all places are taken by requests that are not whole");
			wait_for_place(o);
			return;
		}
		fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			if (full)
				observe_make_room(o, OBSERVE_WAITING);
			visitor_new(o, fd);
			continue;
		}
		if (io_would_block())
			return;
		switch (errno) {
		case EMFILE:
		case ENFILE:
			if (spare_give(&o->spare))
				continue;
			break;
		case ENOBUFS:
		case ENOMEM:
			break;
		default:
			continue;	/* that one is gone; accept(2) wants the next to be tried */
		}
		complain(o, strerror(errno));
		if (!observe_make_room(o, OBSERVE_WAITING))
			observe_make_room(o, OBSERVE_REPLY);
		pause_accepting(o, PAUSE_SECONDS);
		return;
	}
}

static void
pause_on_over(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct observe *o = container_of(t, struct observe, pause);

	(void)revents;
	o->full = false;
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
	spare_keep(&o->spare);
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
	spare_init(&o->spare, SPARES);
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
		for (int i = 0; i < OBSERVE_PLACES; i++)
			while ((link = list_first(&o->places[i].list)) != NULL)
				visitor_close(list_entry(link, struct visitor, link));
		stream_close(o);
		ev_timer_stop(o->loop, &o->pause);
		ev_prepare_stop(o->loop, &o->reap);
		bury(o);
		spare_close(&o->spare);
		io_close(o->loop, &o->listener);
	} else if (io_is_open(&o->listener)) {
		close(io_fd(&o->listener));
	}
	free(o);
}
