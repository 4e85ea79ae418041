/* http_conn.c - one HTTP client connection: reads, waits, says goodbye.
 * Thread: owning worker. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "data/http/exchange.h"
#include "data/handover.h"
#include "data/handshake.h"
#include "data/http/http_answer.h"
#include "data/http/http_buffers.h"
#include "data/http/http_conn.h"
#include "data/http/http_request.h"
#include "data/proxy.h"
#include "net/sock.h"

const struct http_version *
http_conn_version(const struct http_conn *c)
{
	return c->lane->worker->proxy->version;
}

bool
http_conn_enter(struct http_conn *c, struct lane *l, enum ending *why)
{
	enum ending ignored;
	bool in;

	if (l == c->lane && c->permit.admitted)
		return true;
	list_remove(&c->link);
	in = permit_turn(&c->permit, l, why);
	list_append(&l->http->clients[c->stream.entrance], &c->link);
	/* Somewhere it is counted, as long as it is here. */
	if (!in && !permit_enter(&c->permit, &ignored))
		c->stream.keep = false;
	return in;
}

bool
http_conn_follow(struct http_conn *c)
{
	struct listener *old = c->listener, *now = listener_last(old);

	if (old == now)
		return !old->retired;
	/* It spoke by other terms, or was shown the certificate of a service that goes. */
	if (now->retired || now->tls != c->stream.tls || now->entrance != old->entrance ||
	    now->lane->mode != c->lane->mode || (c->shown != NULL && c->shown->leaving))
		return false;
	if (!permit_follow(&c->permit, now))
		return false;
	old->users--;
	now->users++;
	c->listener = now;
	return true;
}

bool
http_conn_move_on(struct http_conn *c)
{
	enum ending ignored;

	if (c->state != HTTP_CONN_READING || c->shown != NULL || !http_conn_follow(c) || c->listener->lane == c->lane)
		return false;
	list_remove(&c->link);
	permit_part(&c->permit, c->listener->lane);
	list_append(&c->lane->http->clients[c->stream.entrance], &c->link);
	if (!permit_enter(&c->permit, &ignored))
		http_conn_end(c, ignored);
	return true;
}

/* -- the end ------------------------------------------------------------------ */

static void
forget_input(struct http_conn *c)
{
	buf_free(&c->in);
	free(c->head);
	c->head = NULL;
}

static void
finish_conn(struct http_conn *c)
{
	struct worker *w = c->lane->worker;

	c->state = HTTP_CONN_ENDED;
	upstream_disown(&c->stream);
	deadline_disarm(&c->deadline);
	forget_input(c);
	list_remove(&c->link);
	list_append(&w->ended[WAITER_CLIENT], &c->link);
	permit_release(&c->permit);
	c->listener->users--;
}

/* Its deadline was armed as it got in line. */
static void
leave_client_queue(struct http_conn *c)
{
	double waited = c->lane->worker->now - c->deadline.touched;

	queue_leave(c->lane, &c->waiter);
	tally_queued(c->lane->tally, waited);
	c->stream.queued = (float)waited;
}

void
http_conn_end(struct http_conn *c, enum ending ending)
{
	struct worker *w = c->lane->worker;

	ON_WORKER(w);
	CHECK(c->magic == HTTP_CONN_MAGIC && c->state != HTTP_CONN_ENDED);
	if (c->stream.exchange != NULL) {
		exchange_abort(c->stream.exchange, ending);
		return;
	}
	if (c->state == HTTP_CONN_WAITING)
		leave_client_queue(c);
	if (c->versed != NULL)
		http_conn_version(c)->end(c, ending);
	io_close(w->loop, &c->io);
	finish_conn(c);
}

void
http_conn_release(struct http_conn *c)
{
	CHECK(c->magic == HTTP_CONN_MAGIC && c->stream.exchange == NULL && !io_is_open(&c->io));
	finish_conn(c);
}

/* With TLS that takes room, which a slow reader has to make first, and has as
 * long for as others have for nothing. */
static void
say_goodbye(struct http_conn *c)
{
	struct lane *l = c->lane;
	int said = io_shutdown(&c->io);

	if (said < 0 || (c->stream.eof && said == 1)) {
		http_conn_end(c, said < 0 ? END_CLIENT_RESET : END_DONE);
		return;
	}
	c->shutdown_pending = said == 0;
	deadline_arm(c->shutdown_pending && l->http->keepalive_clock->after > 0 ? l->http->keepalive_clock : l->http->linger_clock,
		     &c->deadline, l->worker->now);
	http_conn_want(c, !c->stream.eof, c->shutdown_pending);
}

void
http_conn_linger(struct http_conn *c)
{
	CHECK(c->stream.exchange == NULL);
	forget_input(c);
	c->state = HTTP_CONN_LINGERING;
	c->stream.begun = c->lane->worker->now;
	say_goodbye(c);
}

void
http_conn_answer(struct http_conn *c, struct http_stream *s, struct lane *l, const struct http1_head *h,
		 const struct http_answer *a)
{
	bool taken = http_answer_give(c, s, l, h, a);

	s->ops->answered(s, taken, a->close);
}

void
http_conn_answered(struct http_conn *c, bool taken, bool close)
{
	deadline_disarm(&c->deadline);
	if (!taken)
		http_conn_end(c, END_CLIENT_RESET);
	else if (close || !c->stream.keep)
		http_conn_linger(c);
}

void
http_conn_want(struct http_conn *c, bool read, bool write)
{
	io_want(c->lane->worker->loop, &c->io, (read ? EV_READ : 0) | (write ? EV_WRITE : 0));
}

/* It was told that nothing follows. */
static void
read_rest(struct http_conn *c)
{
	struct worker *w = c->lane->worker;
	ssize_t n = io_read(&c->io, w->buffers.buffer, w->buffers.size);

	if (n < 0 && io_would_block())
		return;
	if (n <= 0)
		http_conn_end(c, END_DONE);
	else if (!c->shutdown_pending && w->now - c->stream.begun < HTTP_LINGER_MAX && !c->lane->stopping)
		deadline_touch(c->lane->http->linger_clock, &c->deadline, w->now);
}

static void
http_conn_on_event(struct ev_loop *loop, ev_io *w, int revents)
{
	struct http_conn *c = container_of(w, struct http_conn, io.watcher);

	(void)loop;
	CHECK(c->magic == HTTP_CONN_MAGIC);
	switch ((enum http_conn_state)c->state) {
	case HTTP_CONN_READING:
		http_conn_read(c);
		return;
	case HTTP_CONN_BUSY:
		exchange_on_client(c->stream.exchange, io_events(&c->io, revents));
		return;
	case HTTP_CONN_VERSED:
		http_conn_version(c)->on_event(c, io_events(&c->io, revents));
		return;
	case HTTP_CONN_LINGERING:
		if (io_events(&c->io, revents) & EV_WRITE)
			say_goodbye(c);
		if (c->state == HTTP_CONN_LINGERING && !c->stream.eof)
			read_rest(c);
		return;
	case HTTP_CONN_WAITING:
	case HTTP_CONN_FROZEN:
	case HTTP_CONN_ENDED:
		return;
	}
}

void
http_conn_next(struct http_conn *c)
{
	CHECK(c->magic == HTTP_CONN_MAGIC && c->stream.exchange == NULL && c->state == HTTP_CONN_BUSY);
	/* A client that announced its last request sends nothing that a reset could
	 * be the answer to: it need not be waited for. */
	if (c->stream.close_requested && buf_len(&c->in) == 0 && (!c->stream.tls || io_shutdown(&c->io) == 1)) {
		http_conn_end(c, END_DONE);
		return;
	}
	/* One that was told it may stay, before the end was announced, brings one
	 * more request: what it has sent already would be lost. */
	if (!c->stream.keep) {
		http_conn_linger(c);
		return;
	}
	c->state = HTTP_CONN_READING;
	http_conn_run(c);
}

/* -- deadlines -------------------------------------------------------------------- */

double
http_conn_idle(const struct http_conn *c, double now)
{
	bool idle = c->state == HTTP_CONN_VERSED ? http_conn_version(c)->is_idle(c) : c->state == HTTP_CONN_READING && c->head == NULL;

	return idle ? now - c->deadline.touched : 0;
}

/* What one that waits for a place has asked meanwhile, so that its answer fits; NULL: that has not come. */
static const struct http1_head *
look_at_request(struct http_conn *c)
{
	struct relay_buffers *buffers = &c->lane->worker->buffers;
	ssize_t n = io_read(&c->io, buffers->buffer, buffers->size);
	struct http1_head *h = http_conn_begin_head(c);

	c->stream.begun = c->born;
	return n > 0 && http1_head_parse(h, buffers->buffer, (size_t)n) == HTTP1_DONE ? h : NULL;
}

void
http_conn_expired(struct deadline *d)
{
	struct http_conn *c = container_of(d, struct http_conn, deadline);
	struct http_answer a;

	if (c->state == HTTP_CONN_VERSED) {
		http_conn_version(c)->expired(c);
	} else if (c->state == HTTP_CONN_WAITING) {
		leave_client_queue(c);
		permit_leave_queue(&c->permit);
		list_append(&c->lane->http->clients[c->stream.entrance], &c->link);
		c->state = HTTP_CONN_READING;
		a = http_answer_of(c->lane->config, END_QUEUE_TIMEOUT, true);
		http_conn_answer(c, &c->stream, c->lane, look_at_request(c), &a);
	} else if (c->state == HTTP_CONN_READING && c->head != NULL) {
		a = http_answer_of(c->lane->config, END_HEADER_TIMEOUT, true);
		http_conn_answer(c, &c->stream, c->lane, NULL, &a);
	} else if (c->state == HTTP_CONN_READING && c->stream.requests == 0) {
		/* Who has said nothing is not told anything: browsers open
		 * connections for later. */
		http_conn_end(c, END_HEADER_TIMEOUT);
	} else {
		http_conn_end(c, END_IDLE);
	}
}

/* -- waiting for a place ------------------------------------------------------------ */

/* Without a request nothing is to be answered to one that says no more. */
static bool
conn_waiting_gone(const struct waiter *w)
{
	struct http_conn *c = container_of(w, struct http_conn, waiter);

	return sock_error(io_fd(&c->io)) != 0 || io_has_ended(&c->io);
}

static bool
conn_waiting_begin(struct waiter *w)
{
	struct http_conn *c = container_of(w, struct http_conn, waiter);

	CHECK(c->magic == HTTP_CONN_MAGIC && c->state == HTTP_CONN_WAITING);
	leave_client_queue(c);
	deadline_disarm(&c->deadline);
	permit_take_turn(&c->permit);
	c->state = HTTP_CONN_READING;
	list_append(&c->lane->http->clients[c->stream.entrance], &c->link);
	/* It had no time to ask before. */
	deadline_arm(c->lane->http->request_clock, &c->deadline, c->lane->worker->now);
	http_conn_begin_reading(c);
	return true;
}

static void
conn_waiting_end(struct waiter *w, enum ending ending)
{
	struct http_conn *c = container_of(w, struct http_conn, waiter);

	http_conn_end(c, ending);
}

const struct waiter_ops http_conn_waiting_ops = { conn_waiting_gone, conn_waiting_begin, conn_waiting_end };

/* -- birth --------------------------------------------------------------------------- */

struct http_conn *
http_conn_make(struct listener *li, struct io *io, struct permit *p)
{
	struct worker *w = li->worker;
	struct http_conn *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->magic = HTTP_CONN_MAGIC;
	tally_add(&w->http_connections, 1);
	c->state = HTTP_CONN_FROZEN;
	c->stream.ops = &http1_stream_ops;
	permit_move(&c->permit, p);
	c->stream.entrance = (uint8_t)li->entrance;
	c->stream.queued = c->stream.tls_seconds = -1;
	c->listener = li;
	li->users++;
	inet_ntop(c->peer.family, c->peer.ip, c->stream.ip, sizeof(c->stream.ip));
	c->stream.tls = io_is_tls(io);
	c->shown = c->stream.tls ? c->lane : NULL;
	io_move(w->loop, io, &c->io, http_conn_on_event);
	buf_init(&c->in, HTTP_AHEAD_MAX);
	deadline_init(&c->deadline);
	list_init(&c->link);
	c->waiter.kind = WAITER_CLIENT;
	return c;
}

void
http_conn_new(struct listener *li, struct io *io, struct handshake_facts *facts)
{
	struct permit *p = &facts->permit;
	struct lane *l = p->lane;
	struct worker *w = l->worker;
	/* Where several services share the address, each request is asked. */
	bool shared = li->binding->n_services > 1, in;
	enum ending why = END_MEMORY;
	struct http_conn *c = NULL;

	in = shared ? permit_enter(p, &why) : permit_ask(p, &why) != ADMIT_NO;
	if (in && (c = http_conn_make(li, io, p)) == NULL)
		why = END_MEMORY;
	if (c == NULL) {
		io_close(w->loop, io);
		permit_refuse(p, why, facts->accepted, STR(""));
		permit_release(p);
		return;
	}
	c->born = c->stream.begun = facts->accepted;
	if (c->stream.tls)
		c->stream.tls_seconds = facts->tls_seconds;
	if (facts->proxy_header)
		c->stream.destination = facts->destination;
	if (c->permit.queued) {
		c->state = HTTP_CONN_WAITING;
		deadline_arm(l->http->client_queue_clock, &c->deadline, w->now);
		queue_join(l, &c->waiter, QUEUE_BACK);
		return;
	}
	c->state = HTTP_CONN_READING;
	list_append(&l->http->clients[c->stream.entrance], &c->link);
	deadline_arm(l->http->request_clock, &c->deadline, w->now);
	http_conn_begin_reading(c);
}

/* -- from one process to another ------------------------------------------------------ */

bool
http_conn_may_go(const struct http_conn *c)
{
	return (c->state == HTTP_CONN_WAITING || c->state == HTTP_CONN_READING) && !c->stream.eof &&
	       http_stream_may_go(&c->stream);
}
