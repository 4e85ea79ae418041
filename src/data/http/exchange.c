/* exchange.c - one HTTP request and its answer: its life, and the request's
 * way.  Thread: owning worker. */
#include <stdlib.h>
#include <string.h>

#include "data/http/exchange.h"
#include "data/http/http_answer.h"
#include "data/http/http_log.h"
#include "data/proxy.h"
#include "proto/http1_error.h"

/* Bytes of a body that passed, which are kept until there is an answer. */
#define KEPT_MOST (64 * 1024)

static const struct http_config *
exchange_config_of(const struct exchange *x)
{
	return &x->dial.lane->config->http;
}

/* -- the end ------------------------------------------------------------------ */

static void
account(struct exchange *x, enum ending ending, const char *reason)
{
	struct http_record r = {
		.lane = x->dial.lane,
		.backend = x->dial.backend,
		.tried = x->dial.tried,
		.client = x->dial.peer,
		.tls = x->stream->ops->io(x->stream)->tls,
		.entrance = (enum entrance)x->dial.entrance,
		.color = (enum color)x->dial.color,
		.epoch = x->dial.epoch,
		.method = exchange_text(x, x->method),
		.host = exchange_text(x, x->host),
		.path = exchange_text(x, x->path),
		.http2 = x->stream->ops->framed,
		.protocol = http_stream_protocol(x->stream, x->minor0),
		.agent = exchange_text(x, x->agent),
		.id = exchange_text(x, x->id),
		.trace = exchange_text(x, x->trace),
		.status = x->status != 0 ? x->status : 499,
		.grpc_status = x->status == 200 ? x->grpc_status : -1,
		.bytes_in = x->bytes_in + x->up.relay.bytes,
		.bytes_out = exchange_bytes_out(x),
		.seconds = x->dial.lane->worker->now - x->dial.born,
		.connect_seconds = (double)x->dial.connect_seconds,
		.first_byte_seconds = x->first_byte,
		.backend_seconds = x->first_byte >= 0 ? x->first_byte - x->asked : -1,
		.retries = x->dial.retries,
		.ending = ending,
		.reason = reason,
	};

	http_stream_tell_waits(x->stream, (double)x->dial.queued, &r);
	http_log(&r);
}

void
exchange_forget_part(struct exchange *x)
{
	if (x->part == NULL)
		return;
	buf_free(&x->part->bytes);
	free(x->part);
	x->part = NULL;
}

void
exchange_end(struct exchange *x, enum ending ending, const char *reason)
{
	struct lane *l = x->dial.lane;
	struct worker *w = l->worker;

	ON_WORKER(w);
	CHECK(x->magic == EXCHANGE_MAGIC && x->dial.state != DIAL_ENDED);
	dial_leave_queue(&x->dial);
	account(x, ending, reason);
	for (unsigned i = 0, odd = x->odd | x->down.body.odd; odd != 0 && i < HTTP1_ODDS; i++)
		if (odd & HTTP1_ODD_BIT(i))
			tally_add(&dial_tally(&x->dial)->http->odd_answers[i], 1);
	deadline_disarm(&x->pace);
	exchange_drop_upstream(x);
	x->stream->backend_reset = x->backend_reset;
	pump_end(&x->up, &w->buffers);
	pump_end(&x->down, &w->buffers);
	exchange_forget_part(x);
	exchange_drop_text(x);
	dial_end(&x->dial);
	x->stream->exchange = NULL;
	/* Its place on the backend is free. */
	queue_wake(l);
}

void
exchange_abort(struct exchange *x, enum ending ending)
{
	struct http_stream *s = x->stream;
	/* Half of an answer that ends with its connection would look whole. */
	bool hard = x->answering;

	exchange_end(x, ending, NULL);
	s->ops->reset(s, ending, hard);
}

void
exchange_cut(struct exchange *x, enum ending ending, const char *reason)
{
	struct http_stream *s = x->stream;

	exchange_end(x, ending, reason != NULL ? reason : http_answer_words(ending));
	s->ops->reset(s, ending, true);
}

/* With an answer of our own, unless one was begun. */
static void
fail_with(struct exchange *x, unsigned status, enum ending ending, const char *reason)
{
	struct http_stream *s = x->stream;
	const struct http_asker asker = {
		.id = exchange_text(x, x->id),
		.head_request = x->head_request,
		.minor0 = x->minor0,
		.json = x->json,
	};
	struct http_answer a = {
		.status = status,
		.ending = ending,
		.reason = reason,
		.page = reply_page(&exchange_config_of(x)->reply, status, x->json),
		/* What may have been executed is not to be asked for again by who obeys that. */
		.retry_after = x->sent == 0 || x->idempotent ?
				       http_answer_retry_after(x->dial.lane->config, ending) :
				       0,
	};
	bool closed = http_answer_is_closed(x->dial.lane->config, status, x->events);
	size_t bytes = 0;

	/* What is left of the request would be taken for the next one. */
	if (!pump_has_all(&x->up))
		s->close_requested = false;
	if (!pump_has_all(&x->up) || exchange_client_is_done(x) || closed || http_stream_must_leave(s, x->dial.lane->worker))
		s->keep = false;
	a.close = !s->keep;
	if (x->answering || pump_is_blocked(&x->down)) {
		exchange_cut(x, ending, reason);
		return;
	}
	/* Its library knows by the code what became of the call, and whether it may ask again; a page would hide that. */
	if (x->grpc && ending == END_BACKEND_RESET && (x->upstream != NULL ? x->upstream->reset : x->backend_reset) != 0) {
		x->status = status;
		exchange_cut(x, ending, reason);
		return;
	}
	if (!closed && !s->ops->answer(s, &a, &asker, &bytes)) {
		exchange_abort(x, END_CLIENT_RESET);
		return;
	}
	x->status = status;
	x->bytes_out += bytes;
	exchange_end(x, ending, reason);
	s->ops->done(s);
}

void
exchange_fail(struct exchange *x, enum ending ending, const char *reason)
{
	fail_with(x, http_answer_status(ending), ending, reason != NULL ? reason : http_answer_words(ending));
}

/* The answer is whole; and if the request is as well, the next may follow, on
 * both sides. */
static void
finish_exchange(struct exchange *x)
{
	struct http_stream *s = x->stream;
	struct upstream *u = x->upstream;
	bool whole = pump_has_all(&x->up);

	x->grpc_status = u->grpc_status;
	x->upstream = NULL;
	/* A server that writes that may also miscount. */
	if (x->kept && x->odd == 0 && x->down.body.odd == 0 && !x->upstream_write_closed &&
	    !x->fin_forwarded && whole && x->sent == x->n_text && !pump_is_blocked(&x->up))
		upstream_give(u);
	else
		upstream_close(u);
	if (!whole)
		s->keep = s->close_requested = false;
	exchange_end(x, END_DONE, NULL);
	s->ops->done(s);
}

/* -- what to wait for ------------------------------------------------------------ */

static bool
is_sent(const struct exchange *x)
{
	return x->sent == x->n_text;
}

/* The client sends no body before it is asked to. */
static bool
waits_to_be_asked(const struct exchange *x)
{
	return x->expects && !x->informational_sent && x->up.relay.bytes == 0;
}

/* The client takes nothing of the answer now. */
static bool
client_blocks(const struct exchange *x)
{
	return pump_is_blocked(&x->down) || (x->answering && http_stream_room(x->stream) == 0);
}

/* Which clock runs, and whether the pace is looked at.  response_timeout is for
 * all that the backend has to do: answer, ask for the body, or take it. */
static void
set_clocks(struct exchange *x)
{
	struct lane *l = x->dial.lane;
	double now = l->worker->now;
	bool asked = is_sent(x) && (pump_is_done(&x->up) || x->upstream_write_closed);
	bool full = !x->upstream_write_closed && (!is_sent(x) || pump_is_blocked(&x->up));

	if (!x->answering && (asked || full || waits_to_be_asked(x))) {
		if (!x->responding)
			deadline_arm(l->http->response_clock, &x->dial.deadline, now);
		else if (full)	/* it has taken some */
			deadline_touch(l->http->response_clock, &x->dial.deadline, now);
		x->responding = true;
	} else if (x->responding || list_empty(&x->dial.deadline.link)) {
		deadline_arm(l->http->idle_clock, &x->dial.deadline, now);
		x->responding = false;
	} else {
		deadline_touch(l->http->idle_clock, &x->dial.deadline, now);
	}
	if (list_empty(&x->pace.link) && (!asked || x->answering)) {
		x->marked_up = x->up.relay.bytes;
		x->marked_down = x->down.passed;
		deadline_arm(l->http->pace_clock, &x->pace, now);
	}
}

/* A client that has closed its half sends no more, or is gone altogether, which
 * cannot be told apart.  The backend's half is closed too, as it would be without a
 * proxy, so that it need not go on with what no client waits for. */
static void
pass_on_the_end(struct exchange *x)
{
	if (x->fin_forwarded || x->upstream_write_closed || !exchange_client_is_done(x) || !is_sent(x) || !pump_is_done(&x->up))
		return;
	x->fin_forwarded = true;
	(void)io_shutdown(&x->upstream->io);
}

/* After every event: over, or wait for what each side's state asks for. */
static void
settle_exchange(struct exchange *x)
{
	struct http_stream *s = x->stream;
	bool whole = pump_has_all(&x->up);
	int upstream = 0;

	if (x->answering && pump_is_done(&x->down)) {
		finish_exchange(x);
		return;
	}
	pass_on_the_end(x);
	/* With the request in hand its socket is read for its end only, and stays
	 * as it is: no system call for that. */
	s->ops->want(s, !whole && is_sent(x) && !pump_is_blocked(&x->up) && !x->upstream_write_closed, whole,
		     pump_is_blocked(&x->down));
	/* Interim answers have to wait for a slow client as bodies do. */
	if (!pump_is_blocked(&x->down) && (!x->answering || !pump_has_all(&x->down)) && http_stream_room(s) > 0)
		upstream |= EV_READ;
	if (!x->upstream_write_closed && (!is_sent(x) || pump_is_blocked(&x->up)))
		upstream |= EV_WRITE;
	io_want(x->dial.lane->worker->loop, &x->upstream->io, upstream);
	set_clocks(x);
}

/* -- the request's way -------------------------------------------------------------- */

/* The backend closed while it was spoken to.  Often it said why before
 * ("too large", "not allowed"): that is the answer then, and is read when the
 * socket says so, for now the buffer may hold what the client asks for next. */
static void
close_upstream_write(struct exchange *x)
{
	x->upstream_write_closed = true;
	relay_source_failed(&x->down.relay);
	/* Trailers that have come stay: it may be sent again. */
	relay_end(&x->up.relay, &x->dial.lane->worker->buffers);
}

/* The body is none, or too large: nothing of what is wrong was sent on, and the
 * message has no end. */
static void
fail_of_body(struct exchange *x)
{
	enum http1_reason reason = (enum http1_reason)x->up.body.reason;

	if (reason == HTTP1_BODY_LARGE)
		exchange_fail(x, END_TOO_LARGE, NULL);
	else
		fail_with(x, http1_reason_status(reason), END_BAD_REQUEST, http1_reason_words(reason));
}

/* False when that ended the exchange. */
static bool
move_up(struct exchange *x)
{
	uint64_t before = x->up.relay.bytes;
	enum pump_result moved;

	/* A backend of HTTP/2 may say that it has not looked at it. */
	if (io_is_channel(&x->upstream->io) && !x->streamed && !x->answering && x->up.again == NULL)
		pump_keep(&x->up, KEPT_MOST);
	moved = x->stream->ops->read_body(x->stream, &x->up, &x->upstream->io);
	x->streamed |= x->up.relay.bytes > before;
	switch (moved) {
	case PUMP_OK:
		break;
	case PUMP_SOURCE_FAILED:
		exchange_abort(x, END_CLIENT_RESET);
		return false;
	case PUMP_SOURCE_ENDED:
		exchange_abort(x, END_CLIENT_GONE);
		return false;
	case PUMP_DESTINATION_FAILED:
		close_upstream_write(x);
		return true;
	case PUMP_BAD:
		fail_of_body(x);
		return false;
	case PUMP_NO_MEMORY:
		exchange_fail(x, END_MEMORY, NULL);
		return false;
	}
	return true;
}

/* Sends what is in hand, then what comes. */
static bool
send_request(struct exchange *x)
{
	struct upstream *u = x->upstream;

	while (!is_sent(x)) {
		ssize_t n = io_write(&u->io, x->text + x->sent, x->n_text - x->sent, false);

		if (n < 0 && io_would_block())
			return true;
		if (n < 0) {
			close_upstream_write(x);
			return true;
		}
		x->sent += (size_t)n;
	}
	return pump_is_done(&x->up) || move_up(x);
}

void
exchange_ask(struct exchange *x)
{
	x->sent = 0;
	x->asked = x->dial.lane->worker->now - x->dial.born;
	if (send_request(x))
		settle_exchange(x);
}

/* Whatever it says now is for later, but that it leaves is for now. */
static bool
look_at_client(struct exchange *x)
{
	enum pump_result read = x->stream->ops->read_ahead(x->stream);

	if (read != PUMP_OK)
		exchange_abort(x, read == PUMP_NO_MEMORY ? END_MEMORY : END_CLIENT_RESET);
	return read == PUMP_OK;
}

void
exchange_on_client(struct exchange *x, int revents)
{
	CHECK(x->magic == EXCHANGE_MAGIC);
	if ((revents & EV_READ) && pump_has_all(&x->up) && !look_at_client(x))
		return;
	/* In line it would only keep others from their turn. */
	if (x->dial.state == DIAL_WAITING && exchange_client_is_done(x)) {
		exchange_abort(x, END_CLIENT_GONE);
		return;
	}
	if (x->dial.state != DIAL_REACHED) {
		dial_ops(&x->dial)->hold(&x->dial);
		return;
	}
	if ((revents & EV_READ) && !pump_has_all(&x->up) && is_sent(x) && !x->upstream_write_closed && !move_up(x))
		return;
	if ((revents & EV_WRITE) && (pump_is_blocked(&x->down) || (x->answering && x->stream->ops->framed)) && !exchange_push_answer(x))
		return;
	settle_exchange(x);
}

void
exchange_on_upstream(struct exchange *x, int revents)
{
	CHECK(x->magic == EXCHANGE_MAGIC && x->upstream != NULL);
	if (x->dial.state == DIAL_DIALING) {
		dial_on_event(&x->dial);
		return;
	}
	revents = io_events(&x->upstream->io, revents);
	if ((revents & EV_WRITE) && !x->upstream_write_closed && (!is_sent(x) || !pump_is_done(&x->up)) && !send_request(x))
		return;
	if ((revents & EV_READ) && !exchange_read_answer(x))
		return;
	settle_exchange(x);
}

/* -- deadlines ------------------------------------------------------------------------ */

void
exchange_expired(struct deadline *d)
{
	struct exchange *x = container_of(d, struct exchange, dial.deadline);

	CHECK(x->magic == EXCHANGE_MAGIC && x->dial.state == DIAL_REACHED);
	if (x->responding)
		exchange_fail(x, END_RESPONSE_TIMEOUT, NULL);
	else
		exchange_fail(x, END_IDLE, "nothing moved for idle_timeout");
}

/* Bytes of the answer that the client's machine has taken. */
static uint64_t
taken(const struct exchange *x)
{
	uint64_t waiting = relay_waiting(&x->down.relay) + x->stream->ops->untaken(x->stream);

	return x->down.passed > waiting ? x->down.passed - waiting : 0;
}

/* A client that sends or reads a body very slowly holds a place of the backend: that
 * is how slow-body and slow-read attacks work. */
void
exchange_pace_expired(struct deadline *d)
{
	struct exchange *x = container_of(d, struct exchange, pace);
	struct lane *l = x->dial.lane;
	/* It may have been armed by an earlier configuration, for less. */
	double waited = l->worker->now - d->touched, due = l->http->pace_clock->after;
	uint64_t least = (uint64_t)((double)exchange_config_of(x)->body_min_rate * (waited < due ? waited : due));

	if (!pump_has_all(&x->up) && !pump_is_blocked(&x->up) && !x->upstream_write_closed && !waits_to_be_asked(x) && !x->grpc &&
	    x->up.relay.bytes - x->marked_up < least) {
		exchange_fail(x, END_BODY_TIMEOUT, NULL);
		return;
	}
	if (client_blocks(x)) {
		uint64_t now = taken(x);

		if (x->marked_down < now ? now - x->marked_down < least : x->was_blocked) {
			exchange_cut(x, END_CLIENT_SLOW,
				     "the client took the answer slower than body_min_rate");
			return;
		}
		x->marked_down = now;
	}
	x->was_blocked = client_blocks(x);
	x->marked_up = x->up.relay.bytes;
	deadline_arm(l->http->pace_clock, &x->pace, l->worker->now);
}

/* -- birth ------------------------------------------------------------------------------ */

/* RFC 9110 section 7.8; but h2c ends what a proxy can see of its requests. */
static bool
upgrades(const struct http1_head *h)
{
	return http1_head_upgrades(h) && !http1_head_has_token(h, "upgrade", "h2c");
}

static bool
is_grpc(struct str type)
{
	static const char prefix[] = "application/grpc";

	return type.n >= sizeof(prefix) - 1 && memcmp(type.p, prefix, sizeof(prefix) - 1) == 0;
}

static void
begin_exchange(struct exchange *x, struct http_stream *s, const struct endpoint *peer, struct lane *l,
	       const struct http1_head *h, enum entrance entrance)
{
	memset(x, 0, offsetof(struct exchange, room));
	x->magic = EXCHANGE_MAGIC;
	x->dial.lane = l;
	x->dial.peer = *peer;
	dial_init(&x->dial, entrance, WAITER_REQUEST);
	x->stream = s;
	x->dial.born = s->begun;
	x->head_request = h->verb == HTTP1_HEAD;
	x->idempotent = http1_head_idempotent(h);
	x->minor0 = h->minor == 0;
	x->upgrade = upgrades(h);
	x->binds = http1_head_binds(h);
	x->expects = http1_head_expect(h) == HTTP1_EXPECT_CONTINUE;
	if (http1_head_has(h, HTTP1_ACCEPT))
		x->json = http1_accepts_json(h);
	x->events = http1_wants_events(h);
	/* Only HTTP/2 carries one; idle_timeout ends it when nothing moves. */
	x->grpc = s->ops->framed && l->config->http.backend_protocol != BACKEND_HTTP1 &&
		  is_grpc(http1_head_get(h, HTTP1_CONTENT_TYPE));
	x->grpc_status = -1;
	x->bytes_in = h->length;
	x->first_byte = -1;
	deadline_init(&x->pace);
	dial_begin(&x->dial);
	s->exchange = x;
}

size_t
exchange_begin(struct http_stream *s, const struct endpoint *peer, struct lane *l, const struct http1_head *h, const struct http1_host *host,
	       const struct http1_body *body, enum entrance entrance, char *p, size_t n)
{
	struct exchange *x = free_list_take(&l->worker->spare_exchanges, sizeof(*x));
	size_t length = h->length, in_hand = n - length, taken = 0;
	enum pump_result result = PUMP_OK;

	if (x == NULL) {
		s->ops->reset(s, END_MEMORY, false);
		return n;
	}
	begin_exchange(x, s, peer, l, h, entrance);
	x->up.body = *body;
	x->up.body.most = exchange_config_of(x)->max_body;
	x->up.own = &l->http->own_requests;
	x->down.own = &l->http->own_answers;
	if (body->done)
		in_hand = 0;
	else
		taken = pump_take(&x->up, p + length, &in_hand, &result);
	if (!exchange_compose(x, h, host, p + length, in_hand) || result == PUMP_NO_MEMORY) {
		exchange_fail(x, END_MEMORY, NULL);
	} else if (result == PUMP_BAD) {
		fail_of_body(x);
	} else if (x->upgrade && s->ops->framed && l->config->http.backend_protocol == BACKEND_HTTP2) {
		fail_with(x, 501, END_BAD_REQUEST, "no WebSocket here: its service's backends are spoken to by HTTP/2");
	} else if (s->ops->dials_later != NULL) {
		s->ops->dials_later(s);
	} else {
		exchange_dial(x);
	}
	return length + taken;
}
