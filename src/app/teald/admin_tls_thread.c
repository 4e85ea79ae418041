/* admin_tls_thread.c - the thread of the admin listener: whom it accepts, and how many.
 * Thread: its own, but for what main calls to start it, to send it letters and to end it. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/teald/admin_tls_thread.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"

#define ACCEPTS_A_TURN 8
/* Until accepting is tried again when descriptors or memory are out. */
#define PAUSE_SECONDS 0.1
#define SWEEP_SECONDS 0.25
/* One line in the log stands for all refusals of a kind within so many seconds. */
#define TELL_SECONDS 10.0
/* A place is not taken from who came within so many seconds: a handshake takes no longer. */
#define GRACE 1.0
/* How long the end waits for replies that are on their way to clients. */
#define GOODBYE 0.5
#define SPARES 2

/* -- refusals ------------------------------------------------------------------------------ */

static void
tell_refusals(struct admin_tls_thread *t, enum admin_tls_result result)
{
	struct admin_tls_untold *u = &t->untold[result];

	LOG_WARN("admin.refused", LS("why", u->why), LS("result", admin_tls_word(result)), LS("peer", u->peer), LU("count", u->n));
	u->told = clock_now();
	u->n = 0;
}

static void
watch_thread(struct admin_tls_thread *t)
{
	if (ev_is_active(&t->sweep))
		return;
	ev_timer_set(&t->sweep, SWEEP_SECONDS, SWEEP_SECONDS);
	ev_timer_start(t->loop, &t->sweep);
}

void
admin_tls_refused(struct admin_tls_thread *t, enum admin_tls_result result, const char *peer, const char *why)
{
	struct admin_tls_untold *u = &t->untold[result];

	admin_tls_count(result);
	snprintf(u->why, sizeof(u->why), "%s", why);
	snprintf(u->peer, sizeof(u->peer), "%s", peer);
	u->n++;
	if (u->told <= 0 || clock_now() - u->told >= TELL_SECONDS)
		tell_refusals(t, result);
	watch_thread(t);
}

/* True while something is left to be told. */
static bool
tell_due(struct admin_tls_thread *t, bool all)
{
	bool left = false;

	for (int i = 0; i < ADMIN_TLS_RESULTS; i++) {
		struct admin_tls_untold *u = &t->untold[i];

		if (u->n > 0 && (all || clock_now() - u->told >= TELL_SECONDS))
			tell_refusals(t, (enum admin_tls_result)i);
		left = left || u->n > 0;
	}
	return left;
}

/* -- who may come --------------------------------------------------------------------------- */

/* IPv6 hands out networks of 64 bits, not addresses. */
static bool
same_source(const struct addr *a, const struct addr *b)
{
	if (addr_family(a) != addr_family(b))
		return false;
	if (addr_family(a) == AF_INET)
		return a->u.in.sin_addr.s_addr == b->u.in.sin_addr.s_addr;
	return memcmp(&a->u.in6.sin6_addr, &b->u.in6.sin6_addr, 8) == 0;
}

static unsigned
count_source(const struct admin_tls_thread *t, const struct addr *peer)
{
	unsigned n = 0;

	LIST_EACH(l, &t->conns)
		n += same_source(&list_entry(l, struct admin_tls_conn, link)->peer, peer);
	return n;
}

/* Of those that have not shown who they are the oldest makes way. */
static bool
make_place(struct admin_tls_thread *t)
{
	double now = clock_now();

	LIST_EACH(l, &t->conns) {
		struct admin_tls_conn *c = list_entry(l, struct admin_tls_conn, link);

		if ((c->state != ADMIN_TLS_SHAKES && c->state != ADMIN_TLS_ASKED) || now - c->since < GRACE)
			continue;
		admin_tls_refused(t, ADMIN_TLS_LIMIT, c->peer_text, "others wait, and it has not shown who it is");
		admin_tls_conn_end(c);
		return true;
	}
	return false;
}

static bool
is_let_in(struct admin_tls_thread *t, const struct addr *peer)
{
	const struct cidr_set *allow = &t->config->admin.net.allow;
	enum admin_tls_result result = ADMIN_TLS_LIMIT;
	const char *why = NULL;
	char text[ADDR_TEXT];

	if (!cidr_set_is_empty(allow) && !cidr_set_match(allow, peer)) {
		result = ADMIN_TLS_NETWORK;
		why = "admin.allow does not have its address";
	} else if (count_source(t, peer) >= ADMIN_TLS_EACH) {
		why = "too many connections of its address";
	} else if ((t->pending >= ADMIN_TLS_PENDING_MAX || t->n >= ADMIN_TLS_MAX) && !make_place(t)) {
		why = "too many connections";
	}
	if (why != NULL)
		admin_tls_refused(t, result, addr_format(peer, text), why);
	return why == NULL;
}

static bool
admin_tls_has_place(struct acceptor *acceptor)
{
	(void)acceptor;
	return true;
}

static void
admin_tls_take(struct acceptor *acceptor, int fd, const struct addr *peer)
{
	struct admin_tls_thread *t = container_of(acceptor, struct admin_tls_door, acceptor)->thread;

	if (!is_let_in(t, peer)) {
		close(fd);
		return;
	}
	admin_tls_conn_new(t, fd, peer);
	watch_thread(t);
}

static bool
admin_tls_none(struct acceptor *acceptor, int e)
{
	struct admin_tls_thread *t = container_of(acceptor, struct admin_tls_door, acceptor)->thread;

	if (e == 0)
		return false;
	if ((e == EMFILE || e == ENFILE) && spare_give(&t->spare))
		return true;
	admin_tls_refused(t, ADMIN_TLS_LIMIT, "", strerror(e));
	(void)make_place(t);
	acceptor_pause(acceptor, PAUSE_SECONDS);
	return false;
}

static const struct acceptor_calls calls = { ACCEPTS_A_TURN, ACCEPTS_A_TURN, admin_tls_has_place, admin_tls_take,
					     admin_tls_none };

/* -- the loop --------------------------------------------------------------------------------- */

static void
thread_sweep_on_time(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct admin_tls_thread *t = container_of(w, struct admin_tls_thread, sweep);
	double now = clock_now();
	bool left;

	(void)revents;
	LIST_EACH(l, &t->conns)
		admin_tls_conn_sweep(list_entry(l, struct admin_tls_conn, link), now);
	left = tell_due(t, false);
	if (t->ending && (t->n == 0 || now >= t->end_at))
		ev_break(loop, EVBREAK_ALL);
	else if (!left && t->n == 0 && !t->ending)
		ev_timer_stop(loop, w);
}

static void
free_ended(struct admin_tls_thread *t)
{
	LIST_EACH(l, &t->ended) {
		list_remove(l);
		free(list_entry(l, struct admin_tls_conn, link));
	}
}

/* Before the loop sleeps: no callback is on the stack that could hold one. */
static void
thread_reap_on_turn(struct ev_loop *loop, ev_prepare *p, int revents)
{
	struct admin_tls_thread *t = container_of(p, struct admin_tls_thread, reap);

	(void)revents;
	free_ended(t);
	spare_keep(&t->spare);
	ev_prepare_stop(loop, p);
}

static void *
thread_main(void *arg)
{
	struct admin_tls_thread *t = arg;

	log_attach();
	ev_now_update(t->loop);
	/* Letters alone do not keep a loop running. */
	ev_ref(t->loop);
	ev_run(t->loop, 0);
	ev_unref(t->loop);
	while (!list_empty(&t->conns))
		admin_tls_conn_end(list_entry(list_first(&t->conns), struct admin_tls_conn, link));
	free_ended(t);
	(void)tell_due(t, true);
	return NULL;
}

/* -- letters ----------------------------------------------------------------------------------- */

struct terms_letter {
	struct mail mail;
	const struct config *config;
	struct tls_site *site;
};

static void
terms_letter_open(struct mail *m, void *receiver)
{
	struct terms_letter *letter = container_of(m, struct terms_letter, mail);
	struct admin_tls_thread *t = receiver;

	config_unref(&t->config);
	t->config = letter->config;
	if (letter->site != NULL) {
		tls_site_unref(&t->site);
		t->site = letter->site;
		t->terms++;
		LIST_EACH(l, &t->conns)
			admin_tls_conn_judge(list_entry(l, struct admin_tls_conn, link));
		LIST_EACH(l, &t->doors)
			acceptor_resume(&list_entry(l, struct admin_tls_door, open)->acceptor);
	}
	free(letter);
}

void
admin_tls_thread_terms(struct admin_tls_thread *t, const struct config *config, struct tls_site *site)
{
	struct terms_letter *letter = must_alloc(sizeof(*letter));

	*letter = (struct terms_letter){ .mail = { .deliver = terms_letter_open }, .config = config_ref(config), .site = site };
	mailbox_send(&t->mailbox, &letter->mail);
}

struct door_letter {
	struct mail mail;
	struct admin_tls_door *door;
};

static void
send_door(struct admin_tls_thread *t, struct admin_tls_door *door, void (*deliver)(struct mail *m, void *receiver))
{
	struct door_letter *letter = must_alloc(sizeof(*letter));

	*letter = (struct door_letter){ .mail = { .deliver = deliver }, .door = door };
	mailbox_send(&t->mailbox, &letter->mail);
}

static struct admin_tls_door *
take_door(struct mail *m)
{
	struct door_letter *letter = container_of(m, struct door_letter, mail);
	struct admin_tls_door *door = letter->door;

	free(letter);
	return door;
}

static void
open_letter_open(struct mail *m, void *receiver)
{
	struct admin_tls_door *door = take_door(m);
	struct admin_tls_thread *t = receiver;

	acceptor_init(&door->acceptor, t->loop, door->listening.fds[0], &calls);
	list_append(&t->doors, &door->open);
	if (t->site != NULL)
		acceptor_resume(&door->acceptor);
}

void
admin_tls_thread_open(struct admin_tls_thread *t, struct admin_tls_door *door)
{
	door->thread = t;
	send_door(t, door, open_letter_open);
}

static void
shut_order_open(struct mail *m, void *receiver)
{
	struct admin_tls_door *door = take_door(m);

	(void)receiver;
	acceptor_close(&door->acceptor);
	list_remove(&door->open);
	admin_tls_send_shut(door);
}

void
admin_tls_thread_shut(struct admin_tls_thread *t, struct admin_tls_door *door)
{
	send_door(t, door, shut_order_open);
}

static void
end_order_open(struct mail *m, void *receiver)
{
	struct admin_tls_thread *t = receiver;

	free(m);
	LIST_EACH(l, &t->doors)
		acceptor_close(&list_entry(l, struct admin_tls_door, open)->acceptor);
	LIST_EACH(l, &t->conns) {
		struct admin_tls_conn *c = list_entry(l, struct admin_tls_conn, link);

		if (c->state == ADMIN_TLS_SHAKES || c->state == ADMIN_TLS_ASKED)
			admin_tls_conn_end(c);
	}
	t->ending = true;
	t->end_at = clock_now() + GOODBYE;
	ev_timer_stop(t->loop, &t->sweep);
	ev_timer_set(&t->sweep, 0.0, 0.01);
	ev_timer_start(t->loop, &t->sweep);
}

/* -- life --------------------------------------------------------------------------------------- */

struct admin_tls_thread *
admin_tls_thread_start(struct mailbox *to_main, const struct config *config, struct why *why)
{
	struct admin_tls_thread *t = must_alloc(sizeof(*t));
	int e;

	t->main = to_main;
	t->config = config_ref(config);
	t->loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
	CHECK(t->loop != NULL);
	turn_init(&t->turn, t->loop);
	list_init(&t->doors);
	list_init(&t->conns);
	list_init(&t->ended);
	t->buffers.buffer = must_alloc(65536);
	t->buffers.size = 16384;
	pipes_init(&t->buffers.pipes, 0);
	spare_init(&t->spare, SPARES);
	mailbox_init(&t->mailbox, t->loop, t);
	ev_timer_init(&t->sweep, thread_sweep_on_time, 0.0, 0.0);
	ev_set_priority(&t->sweep, TURN_FIRST);
	ev_prepare_init(&t->reap, thread_reap_on_turn);
	if ((e = thread_start(&t->id, "teal-admin-tls", thread_main, t)) == 0)
		return t;
	(void)why_set(why, E_INTERNAL, "admin.listen: cannot start a thread: %s", strerror(e));
	t->id = 0;
	admin_tls_thread_join(&t);
	return NULL;
}

void
admin_tls_thread_join(struct admin_tls_thread **tp)
{
	struct admin_tls_thread *t = *tp;
	struct mail *letter;

	*tp = NULL;
	if (t == NULL)
		return;
	if (t->id != 0) {
		letter = must_alloc(sizeof(*letter));
		letter->deliver = end_order_open;
		mailbox_send(&t->mailbox, letter);
		pthread_join(t->id, NULL);
	}
	mailbox_close(&t->mailbox);
	pipes_free(&t->buffers.pipes);
	free(t->buffers.buffer);
	spare_close(&t->spare);
	config_unref(&t->config);
	tls_site_unref(&t->site);
	ev_loop_destroy(t->loop);
	turn_free(&t->turn);
	free(t);
}
