/* exchange_dial.c - what is an exchange's own on its way to a backend, and another one
 * for a request that was lost there.
 * Thread: owning worker. */
#include <math.h>

#include "data/http/exchange.h"
#include "data/http2/http2_upstream.h"

/* What changes something must not be sent into a connection that the backend
 * may be closing: it would be unknown whether it was executed.  Servers close
 * idle ones after some seconds, not within this one. */
#define CHANGE_AGE 1.0

static struct exchange *
exchange_of(const struct dial *d)
{
	struct exchange *x = container_of(d, struct exchange, dial);

	CHECK(x->magic == EXCHANGE_MAGIC);
	return x;
}

static struct dial_client
exchange_client_of(struct dial *d)
{
	const struct http_stream *s = exchange_of(d)->stream;

	return (struct dial_client){ s->ops->io(s), &s->destination };
}

/* The end of one whose request is whole is told by an event. */
static bool
exchange_client_is_gone(struct dial *d)
{
	struct exchange *x = exchange_of(d);

	return x->stream->ops->is_gone(x->stream, pump_has_all(&x->up));
}

/* Where it has logged in, it goes on. */
static struct backend *
first_choice(struct dial *d)
{
	struct upstream *bound = upstream_bound_to(d->lane, exchange_of(d)->stream, (enum color)d->color);

	return bound != NULL && backend_enter(bound->backend, d->lane->config->backend_max_connections) ?
		       bound->backend :
		       NULL;
}

/* Is b spoken to by a shared connection?  What may become another protocol has one of HTTP/1.1 where it can. */
static bool
shares_connection(const struct exchange *x, const struct backend *b)
{
	const struct lane *l = x->dial.lane;

	switch (l->config->http.backend_protocol) {
	case BACKEND_HTTP1:
		break;
	case BACKEND_HTTP2:
		return true;
	case BACKEND_AUTO:
		return !x->upgrade && l->http->calls->has(l, b);
	}
	return false;
}

static struct io *
open_call(struct exchange *x, struct backend *b, enum dial_how *how)
{
	bool pending;
	struct upstream *u = x->dial.lane->http->calls->call(x->dial.lane, b, &pending);

	if (u == NULL)
		return NULL;
	*how = pending ? DIAL_PENDING : DIAL_REUSED;
	x->upstream = u;
	u->exchange = x;
	return &u->io;
}

static bool
may_be_http2(const struct dial *d)
{
	const struct exchange *x = container_of(d, struct exchange, dial);

	return d->lane->config->http.backend_protocol == BACKEND_AUTO && !x->upgrade;
}

static struct io *
open_upstream(struct dial *d, struct backend *b, enum dial_how *how)
{
	struct exchange *x = exchange_of(d);
	double age = x->idempotent && pump_has_all(&x->up) ? HUGE_VAL : CHANGE_AGE;
	struct upstream *u;
	bool pending;

	if (shares_connection(x, b))
		return open_call(x, b, how);
	u = x->fresh ? NULL : upstream_take(d->lane, b, x->stream, age);
	*how = DIAL_REUSED;
	if (u == NULL) {
		u = upstream_dial(d->lane, b, &pending);
		*how = pending ? DIAL_PENDING : DIAL_CONNECTED;
	}
	if (u == NULL)
		return NULL;
	x->upstream = u;
	u->exchange = x;
	u->bound |= x->binds;
	upstream_own(u, x->stream);
	return &u->io;
}

static struct io *
upstream_of(struct dial *d)
{
	struct upstream *u = exchange_of(d)->upstream;

	return u != NULL ? &u->io : NULL;
}

void
exchange_drop_upstream(struct exchange *x)
{
	if (x->upstream != NULL) {
		x->grpc_status = x->upstream->grpc_status;
		x->backend_reset = x->upstream->reset;
		upstream_close(x->upstream);
	}
	x->upstream = NULL;
}

static void
close_upstream(struct dial *d)
{
	exchange_drop_upstream(exchange_of(d));
}

/* What the client says meanwhile is looked at later, but that it leaves. */
static void
hold_client(struct dial *d)
{
	struct exchange *x = exchange_of(d);

	x->stream->ops->want(x->stream, false, pump_has_all(&x->up), false);
}

static void
ask_upstream(struct dial *d, bool reused)
{
	struct exchange *x = exchange_of(d);

	if (!reused)
		x->upstream->state = UPSTREAM_BUSY;
	if (!reused && may_be_http2(d) && io_is_tls(&x->upstream->io) && tls_speaks(x->upstream->io.tls, "h2") &&
	    !x->dial.lane->http->calls->adopt(x->upstream)) {
		exchange_fail(x, END_MEMORY, NULL);
		return;
	}
	exchange_ask(x);
}

static void
exchange_dial_end(struct dial *d, enum ending ending)
{
	struct exchange *x = exchange_of(d);

	if (ending == END_CLIENT_GONE)
		exchange_abort(x, ending);
	else if (ending == END_BACKEND_DOWN && d->state == DIAL_REACHED && !x->answering)
		exchange_lost(x, ending, NULL);
	else
		exchange_fail(x, ending, NULL);
}

static void
exchange_bytes(const struct dial *d, uint64_t *in, uint64_t *out)
{
	const struct exchange *x = container_of(d, struct exchange, dial);

	*in = x->bytes_in + x->up.relay.bytes;
	*out = exchange_bytes_out(x);
}

const struct dial_ops exchange_dial_ops = {
	.client = exchange_client_of,
	.gone = exchange_client_is_gone,
	.first = first_choice,
	.open = open_upstream,
	.offers_both = may_be_http2,
	.io = upstream_of,
	.close = close_upstream,
	.hold = hold_client,
	.reached = ask_upstream,
	.end = exchange_dial_end,
	.bytes = exchange_bytes,
};

/* While others wait for a backend, on whatever worker, a new request gets in line
 * behind them. */
void
exchange_dial(struct exchange *x)
{
	if (!queue_has(x->dial.lane, LINE_BACKENDS) || !dial_wait(&x->dial, QUEUE_BACK))
		dial_next(&x->dial);
}

/* Before there was an answer the backend said goodbye, or something useless, or its checks say that it is
 * down (on_down = "reset").  It may be asked again, or another, where nothing was executed, or where that
 * does no harm. */
void
exchange_lost(struct exchange *x, enum ending ending, const char *reason)
{
	/* Once: a connection of HTTP/2 is shared however fresh it is.  And what resets one call on it is no end of the connection. */
	bool stale = x->upstream != NULL && x->upstream->reused && x->upstream->reset == 0 && !x->fresh && ending == END_BACKEND_RESET;
	bool harmless = (!x->streamed || x->up.again != NULL) && (x->sent == 0 || x->idempotent || (x->upstream != NULL && x->upstream->unseen));

	/* It took the client's end for that of its wish to know. */
	if (ending == END_BACKEND_RESET && x->fin_forwarded) {
		exchange_abort(x, END_CLIENT_GONE);
		return;
	}
	if ((ending != END_BACKEND_RESET && ending != END_BACKEND_DOWN) || x->informational_sent || !harmless) {
		exchange_fail(x, ending, reason);
		return;
	}
	if (x->streamed && !exchange_compose_again(x)) {
		exchange_fail(x, END_MEMORY, NULL);
		return;
	}
	/* A kept connection that was closed meanwhile says nothing about its
	 * backend: a new one, to the backend whose turn it is, does not count as a try. */
	if (stale) {
		x->fresh = true;
		/* Behind another try the next is counted as it begins. */
		if (--x->dial.tries == 0)
			dial_count_retry(&x->dial, x->dial.backend);
	} else if (ending == END_BACKEND_RESET) {
		dial_blame(&x->dial);
	}
	exchange_drop_upstream(x);
	x->sent = 0;
	x->upstream_write_closed = x->responding = x->down.relay.reset = false;
	x->interim = 0;
	x->odd = 0;
	exchange_forget_part(x);
	deadline_disarm(&x->pace);
	dial_lost(&x->dial, ending);
}
