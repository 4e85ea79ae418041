/* observe.c - the observe listener, and who makes way for whom.
 * Thread: main. */
#include <stdlib.h>

#include "base/clock.h"
#include "app/teald/observe_client.h"
#include "app/teald/observe_page.h"
#include "app/teald/observe_stream.h"

#define BACKLOG 511
#define ACCEPTS_A_TURN 16
/* Until accepting is tried again when descriptors or memory are out. */
#define PAUSE_SECONDS 0.1
#define LEAST_PAUSE 0.001
#define SPARES 2
/* and said again in the log. */
#define COMPLAIN_SECONDS 10.0
/* Of a visitor of a process that accepts no more, seconds. */
#define FIRST_REQUEST 5.0

struct observe *
observe_bind(const struct config *config, struct why *why)
{
	struct observe *o = must_alloc(sizeof(*o));
	const struct listening_terms terms = {
		.freebind = config->observe.freebind,
		.backlog = BACKLOG,
		.mode = 0666,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
	};
	struct why reason;

	o->config = config;
	(void)observe_access_set(&o->access, config);
	for (int i = 0; i < OBSERVE_PLACES; i++)
		list_init(&o->places[i].list);
	list_init(&o->dead);
	if (config->observe.on &&
	    listening_open(&o->listening, &config->observe.listen, &terms, 1, &reason) != OK) {
		(void)why_set(why, E_USAGE, "observe: %.900s", reason.text);
		free(o);
		return NULL;
	}
	return o;
}

static bool
is_listening(const struct observe *o)
{
	return o->listening.n > 0;
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

void
observe_resume(struct observe *o)
{
	if (!o->full)
		return;
	o->full = false;
	acceptor_resume(&o->acceptor);
}

/* No place is free, and each of those that have one came a moment ago: the next
 * waits in the kernel until the first of them has had its time. */
static void
wait_for_place(struct observe *o)
{
	const struct visitor *v = list_entry(list_first(&o->places[OBSERVE_WAITING].list), struct visitor, link);
	double rest = v->touched + OBSERVE_GRACE - clock_now();

	o->full = true;
	acceptor_pause(&o->acceptor, rest > LEAST_PAUSE ? rest : LEAST_PAUSE);
}

static void
complain_of_clients(struct observe *o, const char *why)
{
	if (clock_now() - o->complained < COMPLAIN_SECONDS)
		return;
	o->complained = clock_now();
	LOG_WARN("observe.accept_paused", LS("why", why), LF("seconds", PAUSE_SECONDS));
}

static bool
observe_has_place(struct acceptor *acceptor)
{
	struct observe *o = container_of(acceptor, struct observe, acceptor);

	o->full = false;
	if (o->places[OBSERVE_WAITING].n < OBSERVE_WAITING_MAX || may_make_way(o, OBSERVE_WAITING) != NULL)
		return true;
	complain_of_clients(o, "all places are taken by requests that are not whole");
	wait_for_place(o);
	return false;
}

static void
observe_take(struct acceptor *acceptor, int fd, const struct addr *peer)
{
	struct observe *o = container_of(acceptor, struct observe, acceptor);

	if (o->places[OBSERVE_WAITING].n >= OBSERVE_WAITING_MAX)
		observe_make_room(o, OBSERVE_WAITING);
	visitor_new(o, fd, peer);
}

static bool
observe_none(struct acceptor *acceptor, int e)
{
	struct observe *o = container_of(acceptor, struct observe, acceptor);

	if (e == 0)
		return false;
	if ((e == EMFILE || e == ENFILE) && spare_give(&o->spare))
		return true;
	complain_of_clients(o, strerror(e));
	if (!observe_make_room(o, OBSERVE_WAITING))
		observe_make_room(o, OBSERVE_REPLY);
	acceptor_pause(&o->acceptor, PAUSE_SECONDS);
	return false;
}

static const struct acceptor_calls calls = { ACCEPTS_A_TURN, ACCEPTS_A_TURN, observe_has_place, observe_take, observe_none };

static void
bury_client(struct observe *o)
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
observe_reap_on_turn(struct ev_loop *loop, ev_prepare *p, int revents)
{
	struct observe *o = container_of(p, struct observe, reap);

	(void)revents;
	bury_client(o);
	ev_prepare_stop(loop, p);
}

void
observe_start(struct observe *o, struct control *c)
{
	char text[ADDR_TEXT];

	o->control = c;
	o->loop = c->loop;
	ev_prepare_init(&o->reap, observe_reap_on_turn);
	if (!is_listening(o))
		return;
	spare_init(&o->spare, SPARES);
	stream_open(o);
	acceptor_init(&o->acceptor, o->loop, o->listening.fds[0], &calls);
	acceptor_resume(&o->acceptor);
	LOG_INFO("observe.listening", LS("listen", addr_format(&o->config->observe.listen, text)));
}

void
observe_reconfigure(struct observe *o, const struct config *config)
{
	if (o->page != NULL)
		page_reconfigure(o->page, config);
	if (!observe_access_set(&o->access, config))
		return;
	/* Those who may go on come again by themselves. */
	LIST_EACH(l, &o->places[OBSERVE_VIEWER].list)
		visitor_close(list_entry(l, struct visitor, link));
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

	if (!is_listening(o) || getsockname(o->listening.fds[0], &a.u.sa, &a.len) != 0)
		return 0;
	return addr_port(&a);
}

/* A visitor that waits for no answer of ours leaves.  One that was accepted here and has not asked yet
 * stays: its first request may be on its way, and no other process could answer it. */
static void
yield_visitor(struct visitor *v)
{
	if (v->state != VISITOR_IDLE && v->state != VISITOR_VIEWING)
		return;
	if (v->state == VISITOR_VIEWING || v->began > 0) {
		visitor_close(v);
		return;
	}
	ev_timer_stop(v->observe->loop, &v->deadline);
	ev_timer_set(&v->deadline, FIRST_REQUEST, 0.0);
	ev_timer_start(v->observe->loop, &v->deadline);
}

void
observe_yield(struct observe *o)
{
	o->yielded = true;
	if (is_listening(o))
		acceptor_close(&o->acceptor);
	for (int i = 0; i < OBSERVE_PLACES; i++)
		LIST_EACH(l, &o->places[i].list)
			yield_visitor(list_entry(l, struct visitor, link));
}

void
observe_give_history(struct observe *o, void (*give)(void *arg, const struct buf *row), void *arg)
{
	if (o->history.control != NULL)
		history_give(&o->history, give, arg);
}

void
observe_take_history(struct observe *o, struct str row)
{
	if (o->history.control == NULL)
		return;
	history_take(&o->history, row);
	feed_renew(&o->feed);
}

unsigned
observe_visitors(const struct observe *o)
{
	unsigned n = 0;

	for (int i = 0; i < OBSERVE_PLACES; i++)
		n += o->places[i].n;
	return n;
}

void
observe_close(struct observe **op)
{
	struct observe *o = *op;
	struct link *link;

	*op = NULL;
	if (o == NULL)
		return;
	if (o->control != NULL) {
		for (int i = 0; i < OBSERVE_PLACES; i++)
			while ((link = list_first(&o->places[i].list)) != NULL)
				visitor_close(list_entry(link, struct visitor, link));
		stream_close(o);
		ev_prepare_stop(o->loop, &o->reap);
		bury_client(o);
		spare_close(&o->spare);
		if (is_listening(o))
			acceptor_close(&o->acceptor);
	} else if (is_listening(o)) {
		close(o->listening.fds[0]);
	}
	listening_close(&o->listening);
	observe_access_clear(&o->access);
	free(o);
}
