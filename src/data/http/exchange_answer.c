/* exchange_answer.c - the answer's way from the backend to the client.
 * Thread: owning worker. */
#include <stdlib.h>
#include <string.h>

#include "data/http/exchange.h"
#include "data/http/http_buffers.h"
#include "data/tcp/session.h"
#include "data/proxy.h"
#include "proto/http1_edit.h"

/* Bytes of a response head that are asked for at once when it comes in pieces. */
#define PIECE 4096
/* What is asked for at first where large bodies went through a pipe lately: what
 * follows may not have to be copied here. */
#define FIRST (16 * 1024)

static const struct http_config *
answer_config_of(const struct exchange *x)
{
	return &x->dial.lane->config->http;
}

/* The head of its answer has come. */
static void
note_first_byte(struct exchange *x)
{
	x->first_byte = x->dial.lane->worker->now - x->dial.born;
}

/* How the backend does, seen from its answer.  It was reached, whatever it says. */
static void
judge_backend(struct exchange *x, bool bad)
{
	backend_connected(x->dial.backend);
	backend_answered(x->dial.backend, bad);
	x->dial.lane->refused |= bad && x->dial.lane->config->passive.answers > 0;
}

static bool
bad(struct exchange *x, const char *why)
{
	judge_backend(x, true);
	exchange_lost(x, END_BAD_RESPONSE, why);
	return false;
}

/* What its client asked for in that way cannot be answered by what the backend says: no fault of its, and nothing that clients
 * could have it ejected for. */
static bool
unfit(struct exchange *x, const char *why)
{
	judge_backend(x, false);
	exchange_fail(x, END_BAD_REQUEST, why);
	return false;
}

/* io_read() returned n: the backend said goodbye, or memory was out for its words, which
 * is no fault of its. */
static bool
upstream_lost(struct exchange *x, ssize_t n)
{
	if (n < 0 && errno == EPROTO && x->upstream->fault != NULL)
		return bad(x, x->upstream->fault);
	exchange_lost(x, n < 0 && errno == ENOMEM ? END_MEMORY : END_BACKEND_RESET, NULL);
	return false;
}

/* -- the body ------------------------------------------------------------------- */

static bool
move_down(struct exchange *x)
{
	struct str surplus;

	x->upstream->emptied = 0;
	switch (x->stream->ops->write_body(x->stream, &x->down, &x->upstream->io, &surplus)) {
	case PUMP_OK:
		if (surplus.n > 0)
			x->kept = false;
		return true;
	case PUMP_SOURCE_FAILED:
		if (errno == EPROTO && x->upstream->fault != NULL) {
			exchange_cut(x, END_BAD_RESPONSE, x->upstream->fault);
			return false;
		}
		/* fall through */
	case PUMP_SOURCE_ENDED:
		exchange_cut(x, x->fin_forwarded ? END_CLIENT_GONE : END_BACKEND_RESET,
			     "the backend closed in the middle of its answer");
		return false;
	case PUMP_BAD:
		exchange_cut(x, END_BAD_RESPONSE, http1_reason_words((enum http1_reason)x->down.body.reason));
		return false;
	case PUMP_DESTINATION_FAILED:
		exchange_abort(x, END_CLIENT_RESET);
		return false;
	case PUMP_NO_MEMORY:
		break;
	}
	exchange_cut(x, END_MEMORY, NULL);
	return false;
}

bool
exchange_push_answer(struct exchange *x)
{
	if (x->answering)
		return move_down(x);
	/* An interim answer that the client did not take at once. */
	if (x->stream->ops->write_body(x->stream, &x->down, NULL, NULL) == PUMP_OK)
		return true;
	exchange_abort(x, END_CLIENT_RESET);
	return false;
}

/* Of its first words. */
static bool
has_said(struct exchange *x, enum pump_result result)
{
	if (result == PUMP_OK)
		return true;
	if (result == PUMP_BAD)
		return bad(x, http1_reason_words(HTTP1_HEAD_LONG));
	exchange_abort(x, result == PUMP_NO_MEMORY ? END_MEMORY : END_CLIENT_RESET);
	return false;
}

/* -- heads -------------------------------------------------------------------------- */

/* 100, 103 and whatever else comes before the answer itself (RFC 9110 section
 * 15.2); HTTP/1.0 does not know them. */
static bool
interim(struct exchange *x, const struct http1_head *h)
{
	struct http1_line lines[HTTP_OWN_MAX];
	const struct http1_edit_response e = {
		.coding = HTTP1_CODING_PASS,
		.lines = lines,
		.n_lines = x->dial.lane->http->own_answers.n,
	};
	enum pump_result result;
	size_t n;

	http_own_names(&x->dial.lane->http->own_answers, lines);

	/* Each costs the client something, and the backend nothing: all of them may be
	 * as long as a head. */
	x->interim += h->length;
	if (x->interim > answer_config_of(x)->max_header_size)
		return bad(x, http1_reason_words(HTTP1_INTERIM_LONG));
	if (x->minor0)
		return true;
	result = x->stream->ops->write_head(x->stream, h, &e, &x->down, STR(""), false, &n);
	if (result != PUMP_BAD) {
		x->informational_sent = true;
		x->odd |= h->odd;
		x->bytes_out += n;
	}
	return has_said(x, result);
}

/* 501 and 505 tell of the request. */
static void
judge_answer(struct exchange *x)
{
	judge_backend(x, x->status >= 500 && x->status <= 599 && x->status != 501 && x->status != 505);
}

/* What becomes of its head on the way to the client; lines are filled in, too. */
static struct http1_edit_response
edit_of_answer(const struct exchange *x, const struct http1_head *h, struct http1_line lines[HTTP_OWN_MAX])
{
	const struct http_own *own = &x->dial.lane->http->own_answers;
	const struct http_config *hc = answer_config_of(x);

	http_own_copy(own, lines);
	if (hc->color_header)
		lines[HTTP_OWN_COLOR].value = str_from(color_word((enum color)x->dial.color));
	return (struct http1_edit_response){
		.coding = x->minor0 ? HTTP1_CODING_REMOVE : HTTP1_CODING_PASS,
		.close = !x->stream->keep && h->status != 101,
		.keep_alive = x->minor0 && x->stream->keep,
		.upgrade = h->status == 101,
		.bodyless = x->down.body.framing == HTTP1_BODY_NONE,
		.via = hc->via ? STR("teal") : STR(""),
		.request_id = hc->request_id ? exchange_text(x, x->id) : STR(""),
		.lines = lines,
		.n_lines = own->n,
	};
}

/* From here on it is a stream in both directions, which drains as TCP does. */
static bool
switch_protocols(struct exchange *x, const struct http1_head *h, const char *rest, size_t n)
{
	struct http_stream *client = x->stream;
	struct http1_edit_response e;
	struct http1_line lines[HTTP_OWN_MAX];
	struct session_legs legs;
	struct session *s;
	const char *why;
	size_t head;

	if (!x->upgrade || x->minor0)
		return bad(x, "101 without having been asked");
	/* RFC 9110 section 15.2.2: it has to name the protocol that follows, and that
	 * has to be one that the client understands. */
	if (h->minor == 0 || !http1_head_has(h, HTTP1_UPGRADE))
		return bad(x, "101 that does not say to what");
	/* Nor can what the request still has to say be told from what follows it. */
	if (!pump_has_all(&x->up))
		return unfit(x, "101 before the client had sent its request");
	if (x->sent < x->n_text || !pump_is_done(&x->up))
		return bad(x, "101 before it had read the request");
	if (!http1_head_switches_to(h, exchange_text(x, x->protocols)))
		return bad(x, "101 to a protocol that the client did not ask for");
	x->status = 101;
	note_first_byte(x);
	judge_answer(x);
	legs = (struct session_legs){
		.entrance = (enum entrance)x->dial.entrance,
		.color = (enum color)x->dial.color,
		.epoch = x->dial.epoch,
		.backend = x->dial.backend,
		.server = &x->upstream->io,
		.before = &x->down.relay,
		.bytes_out = n,
		.websocket = http1_head_has_token(h, "upgrade", "websocket"),
	};
	e = edit_of_answer(x, h, lines);
	if ((why = client->ops->upgrade(client, h, &e, (struct str){ rest, n }, &legs, &head)) != NULL)
		return bad(x, why);
	s = session_adopt(&legs);
	if (s == NULL) {
		exchange_cut(x, END_MEMORY, NULL);
		return false;
	}
	x->bytes_out += head;
	upstream_close(x->upstream);
	x->upstream = NULL;
	exchange_end(x, END_DONE, NULL);
	client->ops->release(client);
	session_start(s);
	return false;
}

/* There is more of it, but not so much that a pipe would be worth it: reads on
 * behind p[0..*n) in the relay's buffer, so that one write does for all. */
static bool
read_on_upstream(struct exchange *x, const char *p, size_t *n)
{
	struct relay_buffers *buffers = &x->dial.lane->worker->buffers;
	size_t used = (size_t)(p + *n - buffers->buffer);
	ssize_t got;

	if (used == buffers->size)
		return true;
	got = io_read(&x->upstream->io, buffers->buffer + used, buffers->size - used);

	if (got > 0)
		*n += (size_t)got;
	if (got >= 0 || io_would_block())
		return true;	/* an end is met again by who reads next */
	return upstream_lost(x, got);
}

/* Nothing of the answer was sent. */
static void
take_answer_back(struct exchange *x)
{
	x->status = 0;
	x->first_byte = -1;
	x->answering = x->down.relay.splicing = false;
	x->down.relay.bytes = x->down.body.total = x->down.passed = 0;
}

/* The final answer: its head goes out together with what came of its body.
 * full: as much came as was asked for, into the relay's buffer. */
static bool
answer_client(struct exchange *x, const struct http1_head *h, char *rest, size_t n, bool full)
{
	struct http_stream *s = x->stream;
	struct http1_edit_response e;
	struct http1_line lines[HTTP_OWN_MAX];
	enum pump_result result;
	size_t head, came = n;
	bool bulk, last;

	/* To who asked for a WebSocket by CONNECT it would mean that there is one. */
	if (x->upgrade && s->ops->framed && h->status < 300)
		return unfit(x, "no WebSocket, but an answer as if there were one");
	if (http1_body_of_response(&x->down.body, h, x->head_request) == HTTP1_BAD)
		return bad(x, http1_reason_words((enum http1_reason)x->down.body.reason));
	/* An answer that comes before its request has gone leaves it in doubt what the
	 * rest is taken for. */
	x->odd |= h->odd;
	x->kept = http1_head_keep_alive(h) && x->down.body.framing != HTTP1_BODY_CLOSE &&
		  x->sent == x->n_text && pump_is_done(&x->up);
	x->down.unchunk = (x->minor0 || s->ops->framed) && x->down.body.framing == HTTP1_BODY_CHUNKED;
	x->down.apart = s->ops->framed;
	bulk = (full || x->down.body.framing == HTTP1_BODY_LENGTH) &&
	       pump_is_bulk(&x->down, n, &x->upstream->io, s->ops->splices && !s->tls);
	if (bulk) {
		x->dial.lane->http->bulky = true;
	} else if (full && http1_body_skippable(&x->down.body) != n) {
		x->dial.lane->http->bulky = false;
		if (!read_on_upstream(x, rest, &n))
			return false;
		came = n;
	}
	/* Where the body ends with the connection, or the request is still coming
	 * while its answer goes out, nothing can follow. */
	if (x->down.body.framing == HTTP1_BODY_CLOSE || x->down.unchunk || !pump_has_all(&x->up) ||
	    exchange_client_is_done(x) || http_stream_must_leave(s, x->dial.lane->worker))
		s->keep = false;
	x->upstream->bound |= http1_head_binds(h);
	pump_forget(&x->up);
	x->status = h->status;
	note_first_byte(x);
	judge_answer(x);
	/* Bytes without a request: they may be for another client. */
	if (pump_take(&x->down, rest, &n, &result) < came)
		x->kept = false;
	if (result != PUMP_OK) {
		take_answer_back(x);
		if (result == PUMP_BAD)
			return bad(x, http1_reason_words((enum http1_reason)x->down.body.reason));
		exchange_fail(x, END_MEMORY, NULL);
		return false;
	}
	x->down.relay.splicing = bulk;
	x->answering = true;
	/* The last bytes of a connection travel with its end. */
	last = s->close_requested && x->down.body.done && pump_has_all(&x->up);
	e = edit_of_answer(x, h, lines);
	result = s->ops->write_head(s, h, &e, &x->down, (struct str){ rest, n }, last, &head);
	x->bytes_out += head;
	if (result == PUMP_BAD)
		take_answer_back(x);
	return has_said(x, result);
}

/* -- reading -------------------------------------------------------------------------- */

/* Bytes that are no whole head, and how far it was read. */
static bool
keep_head_part(struct exchange *x, const struct http1_head *h, const char *p, size_t n)
{
	struct exchange_part *part = x->part;

	if (part != NULL)
		return true;
	part = malloc(sizeof(*part));
	if (part == NULL)
		return false;
	buf_init(&part->bytes, answer_config_of(x)->max_header_size + PIECE);
	memcpy(&part->head, h, sizeof(*h));
	x->part = part;
	return buf_append(&part->bytes, p, n);
}

static void
begin_answer_head(const struct exchange *x, struct http1_head *h)
{
	const struct http_config *hc = answer_config_of(x);
	const struct http1_limits limits = {
		.head = (uint32_t)hc->max_header_size,
		.target = UINT32_MAX,
		.headers = HTTP1_HEADERS_MAX,
	};

	http1_head_init_response(h, limits.head);
	http1_head_limit(h, &limits);
	h->lenient = hc->answers == ANSWERS_LENIENT;
}

/* One head after the other, until the answer's own.  p[0..n) begins with one. */
static bool
take_heads(struct exchange *x, struct http1_head *h, char *p, size_t n, bool full)
{
	for (;;) {
		switch (http1_head_parse(h, p, n)) {
		case HTTP1_NEED_MORE:
			if (keep_head_part(x, h, p, n))
				return true;
			exchange_fail(x, END_MEMORY, NULL);
			return false;
		case HTTP1_BAD:
			return bad(x, http1_reason_words(h->reason));
		case HTTP1_DONE:
			break;
		}
		if (h->status == 101)
			return switch_protocols(x, h, p + h->length, n - h->length);
		if (h->status >= 200)
			return answer_client(x, h, p + h->length, n - h->length, full);
		if (!interim(x, h))
			return false;
		p += h->length;
		n -= h->length;
		if (x->part != NULL)
			buf_consume(&x->part->bytes, h->length);
		if (n == 0) {
			exchange_forget_part(x);
			return true;
		}
		begin_answer_head(x, h);
	}
}

bool
exchange_read_answer(struct exchange *x)
{
	struct relay_buffers *buffers = &x->dial.lane->worker->buffers;
	struct http1_head *h = &x->dial.lane->worker->http->answer;
	struct upstream *u = x->upstream;
	struct str all;
	size_t most = x->dial.lane->http->bulky ? FIRST : buffers->size, room = http_stream_room(x->stream);
	bool full;
	ssize_t n;
	char *p;

	/* The client's connection is full, by what came for its other streams. */
	if (room == 0)
		return true;
	if (x->answering)
		return move_down(x);
	if (room < most)
		most = room;
	if (x->part == NULL) {
		p = buffers->buffer;
	} else {
		p = buf_reserve(&x->part->bytes, PIECE);
		if (p == NULL)
			return bad(x, http1_reason_words(HTTP1_HEAD_LONG));
		most = room < PIECE ? room : PIECE;
	}
	n = io_read(&u->io, p, most);
	if (n < 0 && io_would_block())
		return true;
	if (n <= 0)
		return upstream_lost(x, n);
	u->emptied = (size_t)n < most && io_is_plain(&u->io) ? x->dial.lane->worker->now : 0;
	if (x->part == NULL) {
		begin_answer_head(x, h);
		full = (size_t)n == most && x->stream->ops->room == NULL;
		return take_heads(x, h, buffers->buffer, (size_t)n, full);
	}
	buf_commit(&x->part->bytes, (size_t)n);
	all = buf_str(&x->part->bytes);
	if (!take_heads(x, &x->part->head, (char *)(uintptr_t)all.p, all.n, false))
		return false;
	if (x->answering)
		exchange_forget_part(x);
	return true;
}
