/* exchange_dial.c - a backend for a request, and another one.
 * Thread: owning worker. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "data/access.h"
#include "data/exchange.h"
#include "data/proxied.h"
#include "data/proxy.h"
#include "net/sock.h"
#include "net/tls_client.h"

/* What changes something must not be sent into a connection that the backend
 * may be closing: nobody could tell whether it was executed.  Servers close
 * idle ones after some seconds, not within this one. */
#define CHANGE_AGE 1.0

static void dial_from(struct exchange *x, struct backend *b, enum ending otherwise);

void
exchange_drop_backend(struct exchange *x)
{
	if (x->backend == NULL)
		return;
	backend_leave(x->backend);
	backend_unref(&x->backend);
}

void
exchange_drop_upstream(struct exchange *x)
{
	if (x->upstream != NULL)
		upstream_close(x->upstream);
	x->upstream = NULL;
}

static void
note_failed(struct exchange *x)
{
	backend_failed(x->backend);
	x->lane->refused = true;
	tried_add(&x->tried, x->backend);
}

/* -- choosing ------------------------------------------------------------------ */

void
exchange_recolor(struct exchange *x)
{
	enum color color = snapshot_color(x->lane->snapshot, (enum entrance)x->entrance);

	x->epoch = x->lane->snapshot->epoch;
	if (x->color == color)
		return;
	tally_add(&exchange_tally(x)->active, (uint64_t)-1);
	x->color = (uint8_t)color;
	tally_add(&exchange_tally(x)->active, 1);
}

static struct backend *
choose(struct exchange *x)
{
	const struct service_config *config = x->lane->config;
	size_t n_source;
	const uint8_t *source = endpoint_source(&x->client->peer, &n_source);
	const struct balance_ask ask = {
		.policy = config->balance,
		.limit = config->backend_max_connections,
		.source = source,
		.source_len = n_source,
		.tried = x->tried != NULL ? x->tried->list : NULL,
		.n_tried = x->tried != NULL ? x->tried->n : 0,
		.random = &x->lane->worker->random,
	};
	struct upstream *bound = upstream_bound_to(x->lane, x->client, (enum color)x->color);

	/* Where it has logged in, it goes on. */
	if (bound != NULL && x->tries == 0 && backend_enter(bound->backend, ask.limit))
		return bound->backend;
	if (x->tries > config->retries)
		return NULL;
	return balance_take(&x->lane->snapshot->colors[x->color], &x->lane->rounds[x->color], &ask);
}

/* -- waiting for a backend -------------------------------------------------------- */

/* The end of one whose request is whole is told by an event. */
static bool
waiting_gone(const struct waiter *w)
{
	struct exchange *x = container_of(w, struct exchange, waiter);
	struct io *io = &x->client->io;

	return sock_error(io_fd(io)) != 0 || (!flow_has_all(&x->up) && io_has_ended(io));
}

void
exchange_leave_queue(struct exchange *x)
{
	struct lane *l = x->lane;

	queue_leave(l, &x->waiter);
	permit_leave_queue(&x->client->permit);
	deadline_disarm(&x->deadline);
	x->state = EXCHANGE_DIALING;
	list_append(&l->x_dialing, &x->link);
	x->color = (uint8_t)l->snapshot->active;
	x->epoch = l->snapshot->epoch;
	tally_add(&exchange_tally(x)->active, 1);
}

static bool
waiting_begin(struct waiter *w)
{
	struct exchange *x = container_of(w, struct exchange, waiter);
	const struct snapshot *now = x->lane->snapshot;
	struct backend *b;

	CHECK(x->magic == EXCHANGE_MAGIC && x->state == EXCHANGE_WAITING);
	x->color = (uint8_t)now->active;
	x->tries = 0;
	tried_free(&x->tried);
	b = choose(x);
	if (b == NULL && now->colors[x->color].n > 0)
		return false;
	exchange_leave_queue(x);
	dial_from(x, b, END_CONNECT);
	return true;
}

static void
waiting_end(struct waiter *w, enum ending ending)
{
	struct exchange *x = container_of(w, struct exchange, waiter);

	exchange_leave_queue(x);
	exchange_fail(x, ending, NULL);
}

const struct waiter_ops exchange_waiting_ops = { waiting_gone, waiting_begin, waiting_end };

static bool
wait_in_queue(struct exchange *x)
{
	struct lane *l = x->lane;
	struct client *c = x->client;

	if (x->entrance != ENTRANCE_MAIN || !permit_queue(&c->permit))
		return false;
	list_remove(&x->link);
	/* It is of no color until its turn has come. */
	tally_add(&exchange_tally(x)->active, (uint64_t)-1);
	x->state = EXCHANGE_WAITING;
	x->waiter.kind = WAITER_REQUEST;
	deadline_arm(l->x_queue_clock, &x->deadline, l->worker->now);
	client_want(c, flow_has_all(&x->up) && !c->eof, false);
	queue_join(l, &x->waiter, QUEUE_BACK);
	return true;
}

/* -- reaching one --------------------------------------------------------------------- */

/* The kernel has connected, or there was a connection. */
static void
connected(struct exchange *x)
{
	struct lane *l = x->lane;

	if (!x->upstream->reused) {
		x->connect_seconds = (float)(l->worker->now - x->born);
		tally_observe(&exchange_tally(x)->connect_seconds, l->worker->now - x->dialed);
	}
	deadline_disarm(&x->deadline);
	list_remove(&x->link);
	list_append(x->entrance == ENTRANCE_MAIN ? &l->x_live[x->color] : &l->x_previews, &x->link);
	exchange_ask(x);
}

/* Who the client is, told to a backend that asks for PROXY headers; such a
 * connection serves nobody else. */
static bool
tell(struct exchange *x)
{
	const struct client *c = x->client;
	struct addr here = { .len = sizeof(here.u) };
	struct endpoint destination = c->destination;
	bool known = destination.family != 0;

	if (x->lane->config->proxy_protocol.send == SEND_NONE)
		return true;
	if (!known && getsockname(io_fd(&c->io), &here.u.sa, &here.len) == 0) {
		endpoint_set(&destination, &here);
		known = true;
	}
	return proxied_tell_as(x->lane, &c->peer, known ? &destination : NULL, &x->upstream->io);
}

enum tried_how { TRIED_WELL, TRIED_FAILED, TRIED_STARVED, TRIED_NO_PORT };

/* Takes over a place on b. */
static enum tried_how
try_backend(struct exchange *x, struct backend *b)
{
	struct lane *l = x->lane;
	struct worker *w = l->worker;
	bool pending = false;
	struct upstream *u;

	exchange_drop_backend(x);
	x->dialed = w->now;
	u = x->fresh ? NULL :
		       upstream_take(l, b, x->client, x->idempotent && flow_has_all(&x->up) ? HUGE_VAL : CHANGE_AGE);
	if (u == NULL)
		u = upstream_dial(l, b, &pending);
	if (u == NULL && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
		backend_leave(b);
		/* Connections that are merely kept are worth less. */
		if (upstream_drop_one(l))
			worker_hurry(w);
		worker_starve(w, strerror(errno));
		return TRIED_STARVED;
	}
	if (x->tries++ > 0 || x->pauses > 0) {
		x->retries++;
		tally_add(&exchange_tally(x)->retries, 1);
	}
	if (u == NULL && errno == EADDRNOTAVAIL) {
		lane_has_no_port(l, x->entrance, b);
		tried_add(&x->tried, b);
		backend_leave(b);
		return TRIED_NO_PORT;
	}
	x->backend = backend_ref(b);
	if (u == NULL) {
		note_failed(x);
		return TRIED_FAILED;
	}
	x->upstream = u;
	u->exchange = x;
	u->bound |= x->binds;
	upstream_own(u, x->client);
	if (pending) {
		deadline_arm(l->x_connect_clock, &x->deadline, w->now);
		/* What the client says meanwhile is looked at later. */
		if (!flow_has_all(&x->up))
			client_want(x->client, false, false);
	} else if (u->reused || tell(x)) {
		connected(x);
	} else {
		note_failed(x);
		exchange_drop_upstream(x);
		return TRIED_FAILED;
	}
	return TRIED_WELL;
}

/* As a session does: every backend that there is refused, and one of them may be
 * back soon. */
static bool
pause_before_retry(struct exchange *x)
{
	struct lane *l = x->lane;

	if (x->tries > l->config->retries || x->pauses >= l->pauses || l->stopping)
		return false;
	x->pauses++;
	x->pausing = true;
	x->tries = 0;
	tried_free(&x->tried);
	exchange_drop_backend(x);
	deadline_arm(l->x_retry_clock, &x->deadline, l->worker->now);
	if (!flow_has_all(&x->up))
		client_want(x->client, false, false);
	return true;
}

/* With a place on b; NULL: nobody is left, or all are full. */
static void
dial_from(struct exchange *x, struct backend *b, enum ending otherwise)
{
	for (; b != NULL; b = choose(x)) {
		switch (try_backend(x, b)) {
		case TRIED_WELL:
			return;
		case TRIED_FAILED:
			otherwise = END_CONNECT;
			break;
		case TRIED_NO_PORT:
			otherwise = END_NO_PORT;
			break;
		case TRIED_STARVED:
			/* It waits, connect_timeout at most, until descriptors are back. */
			if (list_empty(&x->deadline.link))
				deadline_arm(x->lane->x_connect_clock, &x->deadline, x->dialed);
			return;
		}
	}
	if (x->tries > 0 && (otherwise == END_CONNECT || otherwise == END_NO_PORT) && pause_before_retry(x))
		return;
	if (x->tries > 0)
		exchange_fail(x, otherwise, NULL);
	else if (x->lane->snapshot->colors[x->color].n == 0)
		exchange_fail(x, END_NO_BACKEND, NULL);
	else if (!wait_in_queue(x))
		exchange_fail(x, END_BACKEND_LIMIT, NULL);
}

static void
dial(struct exchange *x, enum ending otherwise)
{
	CHECK(x->state == EXCHANGE_DIALING && x->upstream == NULL);
	x->pausing = false;
	exchange_recolor(x);
	dial_from(x, choose(x), otherwise);
}

/* Others wait for a backend, on whatever worker: nobody overtakes. */
static bool
is_behind(const struct exchange *x)
{
	return queue_has(x->lane, LINE_BACKENDS);
}

void
exchange_dial(struct exchange *x)
{
	if (!is_behind(x) || !wait_in_queue(x))
		dial(x, END_CONNECT);
}

void
exchange_dial_anew(struct exchange *x)
{
	exchange_drop_upstream(x);
	exchange_drop_backend(x);
	tried_free(&x->tried);
	x->tries = 0;
	x->retries++;
	dial(x, END_CONNECT);
}

static void
connect_failed(struct exchange *x, enum ending ending)
{
	note_failed(x);
	exchange_drop_upstream(x);
	dial(x, ending);
}

static void
shake(struct exchange *x)
{
	struct upstream *u = x->upstream;
	struct lane *l = x->lane;

	switch (io_handshake(&u->io)) {
	case 0:
		io_want(l->worker->loop, &u->io, EV_READ);
		return;
	case 1:
		u->state = UPSTREAM_BUSY;
		connected(x);
		return;
	}
	if (access_may_tell(l))
		LOG_WARN("backend.tls", LS("service", l->config->name),
			 LR(NULL, str_from(l->config->labels_json)), LS("backend", x->backend->text),
			 LS("error", io_error(&u->io)));
	connect_failed(x, END_BACKEND_TLS);
}

static void
begin_tls(struct exchange *x)
{
	struct backend *b = x->backend;
	struct lane *l = x->lane;
	struct tls *t = tls_connect(l->backend_tls, io_fd(&x->upstream->io), b->server_name,
				    &b->memories[l->worker->index]);

	/* That is our trouble: the backend is not blamed, nor another one asked. */
	if (t == NULL) {
		exchange_fail(x, END_MEMORY, NULL);
		return;
	}
	io_start_tls(&x->upstream->io, &t);
	shake(x);
}

void
exchange_on_connect(struct exchange *x)
{
	struct upstream *u = x->upstream;

	CHECK(x->magic == EXCHANGE_MAGIC && x->state == EXCHANGE_DIALING);
	if (io_is_tls(&u->io)) {
		shake(x);
		return;
	}
	if (sock_error(io_fd(&u->io)) != 0 || !tell(x)) {
		connect_failed(x, END_CONNECT);
		return;
	}
	if (x->lane->backend_tls != NULL) {
		begin_tls(x);
		return;
	}
	u->state = UPSTREAM_BUSY;
	connected(x);
}

/* Before there was an answer the backend said goodbye, or something useless.  It
 * may be asked again, or another, where nothing was executed, or where that does
 * no harm. */
void
exchange_lost(struct exchange *x, enum ending ending, const char *reason)
{
	bool stale = x->upstream != NULL && x->upstream->reused && ending == END_BACKEND_RESET;
	bool harmless = !x->streamed && (x->sent == 0 || x->idempotent);

	/* It took the client's end for that of its wish to know. */
	if (ending == END_BACKEND_RESET && x->parted) {
		exchange_abort(x, END_CLIENT_GONE);
		return;
	}
	if (ending != END_BACKEND_RESET || x->told || !harmless) {
		exchange_fail(x, ending, reason);
		return;
	}
	/* A kept connection that was closed meanwhile says nothing about its
	 * backend: a new one to whoever's turn it is does not count as a try. */
	if (stale) {
		x->fresh = true;
		/* Behind another try the next is counted as it begins. */
		if (--x->tries == 0) {
			x->retries++;
			tally_add(&exchange_tally(x)->retries, 1);
		}
	} else {
		note_failed(x);
	}
	exchange_drop_upstream(x);
	exchange_drop_backend(x);
	x->sent = 0;
	x->deaf = x->responding = x->down.relay.reset = false;
	x->interim = 0;
	x->odd = 0;
	if (x->part != NULL)
		buf_free(&x->part->bytes);
	free(x->part);
	x->part = NULL;
	deadline_disarm(&x->deadline);
	deadline_disarm(&x->pace);
	list_remove(&x->link);
	x->state = EXCHANGE_DIALING;
	list_append(&x->lane->x_dialing, &x->link);
	dial(x, ending);
}

void
exchange_dial_expired(struct exchange *x)
{
	if (x->state == EXCHANGE_WAITING)
		waiting_end(&x->waiter, END_QUEUE_TIMEOUT);
	else if (x->pausing)
		exchange_dial(x);
	else if (x->upstream == NULL)
		exchange_fail(x, END_MEMORY, NULL);
	else
		connect_failed(x, END_CONNECT_TIMEOUT);
}
