/* serve_http.c - the HTTP/1.1 of `tealbench serve`: who am I, N bytes, a
 * delay, a status, a slow stream, an echo.  Keep-alive and pipelining work;
 * bodies of any size stream.  Thread: the peer's. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "app/tealbench/pattern.h"
#include "app/tealbench/serve.h"

#define HEAD_MAX (64 * 1024)
/* Producing pauses above this, with room left for one more piece. */
#define OUT_HIGH (64 * 1024)
/* A body up to this long goes out with its head. */
#define TOGETHER (8 * 1024)
#define LINGER_SECONDS 2.
/* --break=late */
#define LATE_MS 2000
/* /slow takes its share so often. */
#define SLOW_SECONDS 0.05

enum step { STEP_ON, STEP_BLOCKED, STEP_OVER };

static bool
put_chunk(struct peer *p, const char *data, size_t n)
{
	if (!p->http.chunked_out)
		return buf_append(&p->out, data, n);
	return buf_printf(&p->out, "%zx\r\n", n) && buf_append(&p->out, data, n) &&
	       buf_append(&p->out, "\r\n", 2);
}

static void
sleep_for(struct peer *p, double seconds)
{
	ev_timer_set(&p->timer, seconds, 0.);
	ev_now_update(p->thread->loop);
	ev_timer_start(p->thread->loop, &p->timer);
}

/* The answer to a request that is in, body and all. */
static bool
answer_request(struct peer *p)
{
	struct http_exchange *x = &p->http;
	bool ok;

	if (x->phase != HTTP_DELAY && x->delay_ms > 0) {
		x->phase = HTTP_DELAY;
		sleep_for(p, (double)x->delay_ms / 1e3);
		return true;
	}
	if (x->broken == BREAK_SHORT && x->route != ROUTE_ECHO)
		return answer_short(p);
	switch (x->route) {
	case ROUTE_WHO:
	case ROUTE_SLOW:
		return answer_who(p, 200);
	case ROUTE_STATS:
		return answer_stats(p);
	case ROUTE_DIE:
		x->phase = HTTP_BYTES;
		return answer_head(p, 200, "application/octet-stream", (int64_t)x->number + 1);
	case ROUTE_STATUS:
		return answer_who(p, (unsigned)x->number);
	case ROUTE_BYTES:
		x->phase = x->head_only ? HTTP_FLUSH : HTTP_BYTES;
		return answer_head(p, 200, "application/octet-stream", (int64_t)x->number);
	case ROUTE_STREAM:
		x->phase = x->head_only ? HTTP_FLUSH : HTTP_CHUNKS;
		return answer_head(p, 200, "text/plain", -1);
	case ROUTE_HEADERS:
		ok = answer_text(p, 200, "text/plain", buf_str(&x->shown));
		buf_clear(&x->shown);
		return ok;
	case ROUTE_WS:
		return ws_answer(p, str_from(x->ws_key));
	case ROUTE_ECHO:
		x->phase = HTTP_FLUSH;
		return !x->chunked_out || x->head_only || buf_printf(&p->out, "0\r\n\r\n");
	case ROUTE_ERROR:
		return answer_error(p, x->status,
				    x->status == 405 ? "this path does not take that method" :
						       "no such path");
	}
	return false;
}

/* Whatever was wrong, this connection serves no further request. */
static bool
refuse_request(struct peer *p, unsigned status, const char *words)
{
	p->http.keep = false;
	return answer_error(p, status, words);
}

/* What the head says about the body; false when that is ambiguous. */
static bool
answer_framing(struct http_exchange *x, const struct http1_head *h)
{
	struct str coding, length;
	unsigned codings = http1_head_find(h, "transfer-encoding", &coding);
	unsigned lengths = http1_head_find(h, "content-length", &length);

	x->chunked_in = codings > 0;
	x->body_left = 0;
	chunked_init(&x->chunked);
	if (codings > 0)
		return codings == 1 && lengths == 0 && h->minor == 1 && str_case_eq(coding, "chunked");
	return lengths == 0 || (lengths == 1 && str_to_u64(length, INT64_MAX, &x->body_left));
}

/* What --break asks for, as far as it shows before the answer; false: the
 * connection is over. */
static bool
go_wrong(struct peer *p)
{
	struct http_exchange *x = &p->http;

	switch (x->broken) {
	case BREAK_RESET:
		peer_will_reset(p);
		return false;
	case BREAK_CLOSE:
		return false;
	case BREAK_5XX:
		x->route = ROUTE_STATUS;
		x->number = 503;
		break;
	case BREAK_LATE:
		x->delay_ms += LATE_MS;
		break;
	case BREAK_NOT:
	case BREAK_SHORT:
	case BREAK_BODY:
	case BREAK_LIE:
	case SERVE_BREAKS:
		break;
	}
	return true;
}

static bool
begin_answer(struct peer *p, const struct http1_head *h)
{
	struct http_exchange *x = &p->http;
	struct serve_totals *totals = p->thread->config->totals;
	struct str path = http1_text(h, h->target), type = STR("application/octet-stream"), label;
	char type_text[128];

	p->requests++;
	x->broken = serve_turn(p->thread->config);
	if (http1_head_find(h, "x-teal-color", &label) > 0)
		serve_count_label(totals, &totals->colors, label);
	if (http1_head_find(h, "x-teal-epoch", &label) > 0)
		serve_count_label(totals, &totals->epochs, label);
	x->keep = http1_head_keep_alive(h);
	x->chunked_out = h->minor == 1;
	x->offset = 0;
	answer_route(x, http1_text(h, h->method), path);
	if (!answer_framing(x, h))
		return refuse_request(p, 400, "ambiguous or malformed body framing");
	if (x->route == ROUTE_WS) {
		if (!ws_wanted(h, &label))
			return refuse_request(p, 400, "a WebSocket handshake is expected there");
		str_copy(x->ws_key, sizeof(x->ws_key), label);
	}
	if (!go_wrong(p))
		return false;
	if (x->route == ROUTE_STREAM && !x->chunked_out)
		x->keep = false;
	if (x->route == ROUTE_HEADERS && !buf_append(&x->shown, h->base, h->length))
		return false;
	x->phase = HTTP_BODY;
	if (http1_head_has_token(h, "expect", "100-continue") && (x->chunked_in || x->body_left > 0) &&
	    !buf_printf(&p->out, "HTTP/1.1 100 Continue\r\n\r\n"))
		return false;
	if (x->route != ROUTE_ECHO)
		return true;
	http1_head_find(h, "content-type", &type);
	str_copy(type_text, sizeof(type_text), type);
	if (!x->chunked_in)
		x->chunked_out = false;
	return answer_head(p, 200, type_text, x->chunked_in ? -1 : (int64_t)x->body_left);
}

static enum step
step_head(struct peer *p)
{
	struct http1_head *h = &p->thread->head;
	struct str in = buf_str(&p->in);
	enum http1_verdict verdict;
	bool ok;

	if (in.n == 0)
		return STEP_BLOCKED;
	http1_head_init(h, HEAD_MAX);
	verdict = http1_head_parse(h, in.p, in.n);
	if (verdict == HTTP1_NEED_MORE)
		return STEP_BLOCKED;
	p->http.head_only = false;
	if (verdict == HTTP1_BAD)
		return refuse_request(p, http1_reason_status(h->reason), http1_reason_words(h->reason)) ?
			       STEP_ON :
			       STEP_OVER;
	ok = begin_answer(p, h);
	buf_consume(&p->in, h->length);
	return ok ? STEP_ON : STEP_OVER;
}

/* A slow reader takes its share, then rests; false: it is resting. */
static bool
slow_take(struct peer *p, struct str *in)
{
	struct http_exchange *x = &p->http;

	if (ev_is_active(&p->timer))
		return false;
	if (x->budget == 0) {
		x->budget = (uint64_t)((double)x->number * SLOW_SECONDS) + 1;
		sleep_for(p, SLOW_SECONDS);
		return false;
	}
	if (in->n > x->budget)
		in->n = (size_t)x->budget;
	x->budget -= in->n;
	return true;
}

static bool
body_piece(struct peer *p, struct str data)
{
	return p->http.route != ROUTE_ECHO || data.n == 0 || put_chunk(p, data.p, data.n);
}

static enum step
step_body(struct peer *p)
{
	struct http_exchange *x = &p->http;
	struct str in = buf_str(&p->in), data;
	enum chunked_verdict verdict;
	size_t used;
	bool ok;

	/* An echo must fit into what may be held. */
	if (in.n > OUT_HIGH)
		in.n = OUT_HIGH;
	if (x->route == ROUTE_SLOW && in.n > 0 && !slow_take(p, &in))
		return STEP_BLOCKED;
	if (!x->chunked_in) {
		data = (struct str){ in.p, in.n < x->body_left ? in.n : (size_t)x->body_left };
		ok = body_piece(p, data);
		x->body_left -= data.n;
		buf_consume(&p->in, data.n);
		if (!ok)
			return STEP_OVER;
		if (x->body_left > 0)
			return buf_len(&p->in) > 0 ? STEP_ON : STEP_BLOCKED;
		return answer_request(p) ? STEP_ON : STEP_OVER;
	}
	verdict = chunked_read(&x->chunked, in.p, in.n, &used, &data);
	ok = verdict != CHUNKED_DATA || body_piece(p, data);
	buf_consume(&p->in, used);
	if (!ok)
		return STEP_OVER;
	switch (verdict) {
	case CHUNKED_DATA:
		return STEP_ON;
	case CHUNKED_MORE:
		return buf_len(&p->in) > 0 ? STEP_ON : STEP_BLOCKED;
	case CHUNKED_DONE:
		return answer_request(p) ? STEP_ON : STEP_OVER;
	case CHUNKED_BAD:
		break;
	}
	/* An echo's head is already out: then the cut itself is the answer. */
	if (x->route == ROUTE_ECHO)
		return STEP_OVER;
	return refuse_request(p, 400, "malformed chunk") ? STEP_ON : STEP_OVER;
}

static enum step
step_bytes(struct peer *p)
{
	struct http_exchange *x = &p->http;
	uint64_t left = x->number - x->offset;
	int64_t n;

	/* A short body leaves with its head, as any server has it: by itself it
	 * would cost the receiver another acknowledgement. */
	if (buf_len(&p->out) > 0 && left <= TOGETHER && (x->broken != BREAK_BODY || x->offset > 0)) {
		if (!buf_append(&p->out, pattern_at(x->offset), (size_t)left))
			return STEP_OVER;
		x->offset = x->number;
	}
	if (!peer_flush(p))
		return STEP_OVER;
	/* One byte from elsewhere in the pattern. */
	if (x->broken == BREAK_BODY && x->offset == 0 && x->number > 0) {
		x->offset = 1;
		return buf_append(&p->out, "!", 1) ? STEP_ON : STEP_OVER;
	}
	if ((n = peer_send_pattern(p, x->offset, x->number - x->offset)) < 0)
		return STEP_OVER;
	x->offset += (uint64_t)n;
	if (x->offset < x->number)
		return STEP_BLOCKED;
	if (x->route == ROUTE_DIE)
		return STEP_OVER;
	x->phase = HTTP_FLUSH;
	return STEP_ON;
}

static enum step
step_chunks(struct peer *p)
{
	struct http_exchange *x = &p->http;
	char line[64];
	int n;

	if (ev_is_active(&p->timer))
		return STEP_BLOCKED;
	if (x->offset == x->number) {
		x->phase = HTTP_FLUSH;
		return !x->chunked_out || buf_append(&p->out, "0\r\n\r\n", 5) ? STEP_ON : STEP_OVER;
	}
	n = snprintf(line, sizeof(line), "chunk %" PRIu64 "\n", ++x->offset);
	if (!put_chunk(p, line, (size_t)n))
		return STEP_OVER;
	if (x->offset < x->number && x->every_ms > 0)
		sleep_for(p, (double)x->every_ms / 1e3);
	return STEP_ON;
}

static enum step
step_flush(struct peer *p)
{
	struct http_exchange *x = &p->http;

	if (x->keep) {
		x->phase = HTTP_HEAD;
		return STEP_ON;
	}
	if (!peer_flush(p))
		return STEP_OVER;
	if (buf_len(&p->out) > 0)
		return STEP_BLOCKED;
	/* Closing on bytes not read would reset the answer away. */
	if (p->eof || !peer_end_sending(p))
		return STEP_OVER;
	x->phase = HTTP_LINGER;
	ev_timer_set(&p->timer, LINGER_SECONDS, 0.);
	ev_timer_start(p->thread->loop, &p->timer);
	return STEP_BLOCKED;
}

static enum step
step_ws(struct peer *p)
{
	switch (ws_step(p)) {
	case WS_ON:
		return STEP_ON;
	case WS_MORE:
		return STEP_BLOCKED;
	case WS_BAD:	/* 1002, protocol error (RFC 6455 section 7.4.1) */
		if (!buf_append(&p->out, "\x88\x02\x03\xea", 4))
			return STEP_OVER;
		break;
	case WS_OVER:
		break;
	}
	p->http.keep = false;
	p->http.phase = HTTP_FLUSH;
	return STEP_ON;
}

static enum step
answer_step(struct peer *p)
{
	switch (p->http.phase) {
	case HTTP_HEAD:
		return step_head(p);
	case HTTP_BODY:
		return step_body(p);
	case HTTP_BYTES:
		return step_bytes(p);
	case HTTP_CHUNKS:
		return step_chunks(p);
	case HTTP_FLUSH:
		return step_flush(p);
	case HTTP_DELAY:
		return STEP_BLOCKED;
	case HTTP_WS:
		return step_ws(p);
	case HTTP_LINGER:
		buf_clear(&p->in);
		return STEP_BLOCKED;
	}
	return STEP_OVER;
}

/* Goes on until there is nothing to do without more bytes, more room or time. */
static bool
run_peer(struct peer *p)
{
	enum step s;

	if (!peer_flush(p))
		return false;
	do {
		s = STEP_ON;
		while (s == STEP_ON && buf_len(&p->out) < OUT_HIGH)
			s = answer_step(p);
		if (s == STEP_OVER || !peer_flush(p))
			return false;
	} while (s == STEP_ON && buf_len(&p->out) == 0);
	/* No request can be finished any more. */
	if (!p->eof || buf_len(&p->out) > 0)
		return true;
	/* /slow still reads what it has. */
	if (p->http.phase == HTTP_BODY)
		return ev_is_active(&p->timer);
	return p->http.phase != HTTP_HEAD && p->http.phase != HTTP_WS && p->http.phase != HTTP_LINGER;
}

static bool
http_start(struct peer *p)
{
	p->http.phase = HTTP_HEAD;
	return true;
}

static bool
http_ready(struct peer *p, int revents)
{
	int64_t n;

	if (revents & EV_READ && !p->eof) {
		if ((n = peer_read(p)) == -2)
			return false;
		if (n > 0 && !buf_append(&p->in, p->thread->scratch, (size_t)n))
			return false;
	}
	return run_peer(p);
}

static bool
http_timer(struct peer *p)
{
	if (p->http.phase == HTTP_LINGER)
		return false;
	if (p->http.phase == HTTP_DELAY && !answer_request(p))
		return false;
	return run_peer(p);
}

static int
http_wants(const struct peer *p)
{
	int wants = 0;

	if (buf_len(&p->out) > 0 || p->http.phase == HTTP_BYTES)
		wants |= EV_WRITE;
	/* A peer that sends more while we answer may wait in its kernel. */
	if (!p->eof && buf_len(&p->out) < OUT_HIGH && buf_room(&p->in) >= SERVE_SCRATCH)
		wants |= EV_READ;
	return wants;
}

const struct serve_mode serve_mode_http = { "http", http_start, http_ready, http_timer, http_wants, NULL };
