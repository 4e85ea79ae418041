/* http2_read.c - what becomes of each frame of a client's.  Thread: owning worker. */
#include <string.h>
#include <sys/random.h>

#include "data/http/http_answer.h"
#include "data/http/http_request.h"
#include "data/http2/http2_tunnel.h"
#include "data/proxy.h"
#include "proto/http2_request.h"
#include "data/http2/http2_stream.h"

/* Of a field block in several frames, encoded: Huffman never takes a quarter more than the text. */
#define BLOCK_MOST(max_header_size) ((max_header_size) + (max_header_size) / 4 + HTTP2_FRAME_DEFAULT)

static enum http2_reason
fault(struct http2_conn *h, enum http2_reason reason)
{
	if (reason != HTTP2_FINE)
		http2_conn_fault(h, reason);
	return reason;
}

/* Nothing more of the client is to be looked at. */
static bool
nothing_follows(const struct http2_conn *h)
{
	return h->broken || h->closing || h->c->state != HTTP_CONN_VERSED;
}

/* A stream that has ended.  reset: by us, so that its frames were on the way. */
static bool
is_gone(const struct http2_conn *h, uint32_t id, bool *reset)
{
	for (uint32_t i = 0; i < h->gone_room; i++)
		if (h->gone[i] >> 1 == id && id != 0) {
			*reset = !(h->gone[i] & 1);
			return true;
		}
	return false;
}

/* A fault in a stream that may not be there any more, or not yet. */
static void
fault_in(struct http2_conn *h, uint32_t id, enum http2_reason reason)
{
	struct http2_stream *st = http2_stream_find(h, id);

	if (st != NULL) {
		http2_stream_fault(st, reason);
		return;
	}
	http2_count(h, reason);
	http2_put_reset(h, id, http2_reason_code(reason));
	(void)http2_rate(h, HTTP2_RATE_FAULTS);
}

static bool
is_idle_stream(const struct http2_conn *h, uint32_t id)
{
	return id > h->last_id || id % 2 == 0;
}

/* -- requests ------------------------------------------------------------------------ */

/* Its head is malformed, or too large. */
static void
refuse_stream(struct http2_conn *h, struct http2_stream *st, enum http2_reason reason, size_t bytes)
{
	unsigned status = http2_reason_status(reason);
	const struct http_answer a = {
		.status = status != 0 ? status : 400,
		.ending = END_BAD_REQUEST,
		.reason = http2_reason_words(reason),
		.bytes_in = bytes,
	};

	http2_count(h, reason);
	if (status == 0)
		st->refused = http2_reason_code(reason);
	http_conn_answer(h->c, &st->stream, h->c->lane, NULL, &a);
	(void)http2_rate(h, HTTP2_RATE_FAULTS);
}

/* What a WebSocket's request to the backend has, should the next one ask for that; NULL: there is no randomness. */
static const char *
ws_key(struct http2_buffers *b)
{
	unsigned char nonce[WS_NONCE];

	if (!b->keyed) {
		if (getrandom(nonce, sizeof(nonce), 0) != (ssize_t)sizeof(nonce))
			return NULL;
		ws_key_write(nonce, b->ws_key);
		b->keyed = true;
	}
	return b->ws_key;
}

/* The block that begins a stream, and what it comes to. */
struct opening {
	struct str block;
	struct http2_cache_terms terms;
	struct http2_request request;
	const struct http1_head *known;	/* the cache's; NULL: its fields are those that were read */
};

/* Of fields that were read: the text of their head in HTTP/1.1. */
static enum http2_reason
write_request(struct http2_buffers *b, struct opening *o)
{
	o->request = (struct http2_request){ .end_stream = o->terms.end_stream, .connect_protocol = true, .websocket_key = ws_key(b) };
	return b->fields.over != HTTP2_FINE ? b->fields.over : http2_request_write(&b->fields, &o->request, b->text, b->room);
}

static const struct http1_head *
read_request(struct http2_conn *h, const struct opening *o)
{
	struct http2_buffers *b = http2_worker(h)->http2;
	struct http1_head *head = http_conn_begin_head(h->c);

	if (http1_head_parse(head, b->text, o->request.n) == HTTP1_DONE && !o->request.websocket &&
	    h->decoder.table.changes == o->terms.changes)
		http2_cache_keep_request(b->cache, &o->terms, o->block, &o->request, head);
	return head;
}

static void
take_request(struct http2_conn *h, struct http2_stream *st, struct opening *o)
{
	struct http2_buffers *b = http2_worker(h)->http2;
	enum http2_reason reason = o->known != NULL ? HTTP2_FINE : write_request(b, o);
	const struct http2_request *r = &o->request;
	const struct http1_head *head = o->known;

	if (reason != HTTP2_FINE) {
		refuse_stream(h, st, reason, o->block.n);
		return;
	}
	st->has_length = r->has_length;
	st->left = r->length;
	st->chunked = r->chunked;
	if (r->websocket) {
		b->keyed = false;
		if (!http2_tunnel_new(st, r->websocket_key)) {
			http2_stream_reset(st, HTTP2_REFUSED_STREAM);
			return;
		}
	}
	http2_stream_count_head(st, r->n);
	if (head == NULL)
		head = read_request(h, o);
	if (head->verdict == HTTP1_DONE)
		(void)http_request_take(h->c, &st->stream, head, (char *)(uintptr_t)head->base, head->length);
	else
		http_request_bad(h->c, &st->stream, head, o->block.n);
}

/* A new one, of which nothing is looked at; what follows of it is on its way. */
static void
refuse_new(struct http2_conn *h, uint32_t id)
{
	http2_put_reset(h, id, HTTP2_REFUSED_STREAM);
	http2_stream_remember(h, id, true);
}

static void
begin_stream(struct http2_conn *h, uint32_t id, struct opening *o)
{
	const struct http2_config *hc = http2_config_of(h);
	const struct http_config *config = &h->c->lane->config->http;
	struct http_conn *c = h->c;
	struct http2_stream *st;

	/* They were told that it would not be looked at, and may try it anywhere. */
	if (h->left) {
		refuse_new(h, id);
		return;
	}
	if (h->n_streams >= hc->max_streams) {
		http2_count(h, HTTP2_STREAMS_MANY);
		refuse_new(h, id);
		(void)http2_rate(h, HTTP2_RATE_FAULTS);
		return;
	}
	/* What waits for backends is bounded, too. */
	if (h->heads >= hc->max_memory) {
		http2_count(h, HTTP2_MEMORY);
		refuse_new(h, id);
		(void)http2_rate(h, HTTP2_RATE_FAULTS);
		return;
	}
	c->stream.requests++;
	if ((st = http2_stream_new(h, id)) == NULL) {
		refuse_new(h, id);
		return;
	}
	/* The goodbye's runs on: a client that does not answer it may not put it off by one request more. */
	if (!h->leaving)
		deadline_disarm(&c->deadline);
	st->recv_done = o->terms.end_stream;
	/* Its listener has gone, or it has had its share: what is under way is served. */
	if (!http_conn_follow(c) || (config->max_requests > 0 && c->stream.requests >= config->max_requests))
		c->stream.keep = false;
	take_request(h, st, o);
	if (!c->stream.keep && c->state == HTTP_CONN_VERSED)
		http2_version.leave(c);
}

static void
end_request(struct http2_stream *st)
{
	st->recv_done = true;
	http2_stream_ready(st, true, false);
}

static void
take_trailers(struct http2_conn *h, struct http2_stream *st, uint8_t flags)
{
	struct http2_buffers *b = http2_worker(h)->http2;
	enum http2_reason reason = b->fields.over;
	size_t n = 0;

	if (st->recv_done)
		reason = HTTP2_STREAM_ENDED;
	else if (st->tunnel != NULL)
		reason = HTTP2_CONNECT_FIELDS;
	if (reason == HTTP2_FINE)
		reason = http2_trailers_write(&b->fields, flags & HTTP2_F_END_STREAM, b->text, b->room, &n);
	if (reason == HTTP2_FINE && st->has_length && st->left > 0)
		reason = HTTP2_LENGTH_DIFFERS;
	if (reason == HTTP2_FINE && h->heads + n > http2_config_of(h)->max_memory)
		reason = HTTP2_FIELDS_MEMORY;
	if (reason != HTTP2_FINE) {
		http2_stream_fault(st, reason);
		return;
	}
	st->in_trailers.max = n;
	http2_stream_count_head(st, n);
	if (n > 0 && st->chunked && !buf_append(&st->in_trailers, b->text, n))
		http2_stream_reset(st, HTTP2_INTERNAL_ERROR);
	else
		end_request(st);
}

/* A field block is whole. */
static enum http2_reason
take_block(struct http2_conn *h, uint32_t id, uint8_t flags, struct str block)
{
	struct hpack_fields *fields = &http2_worker(h)->http2->fields;
	const struct http2_config *hc = http2_config_of(h);
	struct http2_stream *st = http2_stream_find(h, id);
	struct opening o = { .block = block };
	enum http2_reason reason;
	bool reset = false;

	fields->max_fields = hc->max_fields;
	fields->max_size = (uint32_t)hc->max_header_size;
	if (st == NULL && id > h->last_id) {
		o.terms = (struct http2_cache_terms){
			.connection = h->number,
			.changes = h->decoder.table.changes,
			.end_stream = flags & HTTP2_F_END_STREAM,
			.max_fields = fields->max_fields,
			.max_size = fields->max_size,
			.limits = http_conn_head_limits(h->c),
		};
		o.known = http2_cache_find_request(http2_worker(h)->http2->cache, &o.terms, block, &o.request);
	}
	if (o.known != NULL) {
		h->last_id = id;
		begin_stream(h, id, &o);
		return HTTP2_FINE;
	}
	reason = hpack_decode(&h->decoder, block, fields);
	if (reason != HTTP2_FINE)
		return fault(h, reason);
	if (st != NULL) {
		take_trailers(h, st, flags);
		return HTTP2_FINE;
	}
	if (id <= h->last_id) {
		bool known = is_gone(h, id, &reset);

		return reset ? HTTP2_FINE : fault(h, known ? HTTP2_STREAM_GONE : HTTP2_STREAM_OLD);
	}
	h->last_id = id;
	begin_stream(h, id, &o);
	return HTTP2_FINE;
}

static enum http2_reason
take_headers(struct http2_conn *h, const struct http2_frame *f, struct str payload)
{
	struct str fragment;
	enum http2_reason reason = http2_headers_read(f, payload, &fragment);

	if (f->stream % 2 == 0)
		return fault(h, HTTP2_STREAM_EVEN);
	if (reason != HTTP2_FINE && http2_reason_scope(reason) == HTTP2_OF_CONNECTION)
		return fault(h, reason);
	if (f->flags & HTTP2_F_END_HEADERS) {
		enum http2_reason taken = take_block(h, f->stream, f->flags, fragment);

		if (taken == HTTP2_FINE && reason != HTTP2_FINE && !nothing_follows(h))
			fault_in(h, f->stream, reason);
		return taken;
	}
	h->block_id = f->stream;
	h->block_flags = f->flags;
	h->continuations = 0;
	h->block.max = BLOCK_MOST(http2_config_of(h)->max_header_size);
	if (h->n_streams == 0 && !h->leaving)
		deadline_arm(h->c->lane->http->request_clock, &h->c->deadline, http2_worker(h)->now);
	return buf_append(&h->block, fragment.p, fragment.n) ? HTTP2_FINE : fault(h, HTTP2_FIELDS_LARGE);
}

static enum http2_reason
take_continuation(struct http2_conn *h, const struct http2_frame *f, struct str payload)
{
	enum http2_reason reason;

	if (h->block_id == 0)
		return fault(h, HTTP2_CONTINUATION_ALONE);
	if (++h->continuations > http2_config_of(h)->max_continuations ||
	    !buf_append(&h->block, payload.p, payload.n))
		return fault(h, HTTP2_CONTINUATIONS_MANY);
	if (!(f->flags & HTTP2_F_END_HEADERS))
		return HTTP2_FINE;
	h->block_id = 0;
	reason = take_block(h, f->stream, h->block_flags, buf_str(&h->block));
	if (h->c->state == HTTP_CONN_VERSED)
		buf_free(&h->block);
	return reason;
}

/* -- bodies ------------------------------------------------------------------------------ */

static enum http2_reason
take_data(struct http2_conn *h, const struct http2_frame *f, struct str payload)
{
	uint8_t padding = payload.n > 0 ? (uint8_t)payload.p[0] : 0;
	struct http2_stream *st = http2_stream_find(h, f->stream);
	bool end = f->flags & HTTP2_F_END_STREAM, reset = false;
	uint32_t content;
	enum http2_reason reason = http2_frame_padding(f, padding, &content);

	if (reason != HTTP2_FINE)
		return fault(h, reason);
	if (is_idle_stream(h, f->stream))
		return fault(h, HTTP2_STREAM_IDLE);
	if ((int32_t)f->length > h->recv_window)
		return fault(h, HTTP2_FLOW_ALL);
	h->recv_window -= (int32_t)f->length;
	if (content == 0 && !end && !http2_rate(h, HTTP2_RATE_EMPTY))
		return HTTP2_EMPTY_MANY;
	if (st == NULL) {
		http2_credit(h, f->length);
		if (!is_gone(h, f->stream, &reset) || !reset)
			fault_in(h, f->stream, HTTP2_STREAM_ENDED);
		return HTTP2_FINE;
	}
	if (st->recv_done || (int32_t)f->length > st->recv_window) {
		http2_credit(h, f->length);
		http2_stream_fault(st, st->recv_done ? HTTP2_STREAM_ENDED : HTTP2_FLOW);
		return HTTP2_FINE;
	}
	st->recv_window -= (int32_t)f->length;
	st->unread += f->length;
	if (st->has_length && (content > st->left || (end && content != st->left))) {
		http2_stream_fault(st, HTTP2_LENGTH_DIFFERS);
		return HTTP2_FINE;
	}
	st->left -= st->has_length ? content : 0;
	if (content > 0 && st->answered == 0 &&
	    !http2_stream_take(st, payload.p + (f->flags & HTTP2_F_PADDED ? 1 : 0), content)) {
		http2_count(h, HTTP2_MEMORY);
		http2_put_reset(h, st->id, HTTP2_INTERNAL_ERROR);
		http2_stream_abort(st, END_MEMORY);
		return HTTP2_FINE;
	}
	st->recv_done = end;
	http2_stream_ready(st, true, false);
	return HTTP2_FINE;
}

/* -- the rest ---------------------------------------------------------------------------- */

static enum http2_reason
take_reset(struct http2_conn *h, const struct http2_frame *f)
{
	struct http2_stream *st = http2_stream_find(h, f->stream);

	if (is_idle_stream(h, f->stream))
		return fault(h, HTTP2_STREAM_IDLE);
	/* One that has all of its answer costs nothing more. */
	if ((st == NULL || st->answered == 0) && !http2_rate(h, HTTP2_RATE_RESETS))
		return HTTP2_RESETS_MANY;
	if (st != NULL) {
		st->by_client = true;
		http2_stream_abort(st, END_CLIENT_RESET);
	}
	return HTTP2_FINE;
}

static enum http2_reason
take_settings(struct http2_conn *h, const struct http2_frame *f, struct str payload)
{
	uint32_t before = h->peer.window;
	enum http2_reason reason;
	char *p;

	if (f->flags & HTTP2_F_ACK)
		return HTTP2_FINE;
	if (!http2_rate(h, HTTP2_RATE_SETTINGS))
		return HTTP2_SETTINGS_MANY;
	reason = http2_settings_read(&h->peer, false, payload);
	if (reason != HTTP2_FINE)
		return fault(h, reason);
	LIST_EACH(it, &h->streams)
		if (!http2_window_add(&list_entry(it, struct http2_stream, link)->send_window,
				      (int64_t)h->peer.window - (int64_t)before))
			return fault(h, HTTP2_SETTINGS_WINDOW);
	hpack_encoder_limit(&h->encoder, h->peer.table_least);
	hpack_encoder_limit(&h->encoder, h->peer.table);
	if ((p = http2_reserve(h, HTTP2_SETTINGS_ACK_BYTES)) == NULL)
		return HTTP2_OUT_QUEUE;
	http2_put_settings_ack(p);
	http2_wrote(h, HTTP2_SETTINGS_ACK_BYTES);
	if (h->peer.window > before)
		http2_wake(h);
	return HTTP2_FINE;
}

static enum http2_reason
take_ping(struct http2_conn *h, const struct http2_frame *f, struct str payload)
{
	char *p;

	if (f->flags & HTTP2_F_ACK) {
		http2_conn_on_pong(h, payload.p);
		return HTTP2_FINE;
	}
	if (!http2_rate(h, HTTP2_RATE_PING))
		return HTTP2_PINGS_MANY;
	if ((p = http2_reserve(h, HTTP2_PING_BYTES)) == NULL)
		return HTTP2_OUT_QUEUE;
	http2_put_ping(p, payload.p, true);
	http2_wrote(h, HTTP2_PING_BYTES);
	return HTTP2_FINE;
}

static enum http2_reason
take_window(struct http2_conn *h, const struct http2_frame *f, struct str payload)
{
	struct http2_stream *st = http2_stream_find(h, f->stream);
	uint32_t increment = 0;
	enum http2_reason reason = http2_window_read(f, payload.p, &increment);

	if (h->frames_sent > 0)
		h->frames_sent--;
	else if (!http2_rate(h, HTTP2_RATE_WINDOW))
		return HTTP2_WINDOWS_MANY;
	if (f->stream != 0 && is_idle_stream(h, f->stream))
		return fault(h, HTTP2_STREAM_IDLE);
	if (reason != HTTP2_FINE && http2_reason_scope(reason) == HTTP2_OF_CONNECTION)
		return fault(h, reason);
	if (f->stream == 0) {
		if (!http2_window_add(&h->send_window, increment))
			return fault(h, HTTP2_WINDOW_OVER_ALL);
		http2_wake(h);
		return HTTP2_FINE;
	}
	if (reason == HTTP2_FINE && st != NULL && !http2_window_add(&st->send_window, increment))
		reason = HTTP2_WINDOW_OVER;
	if (reason != HTTP2_FINE)
		fault_in(h, f->stream, reason);
	else if (st != NULL && (st->starved || buf_len(&st->held) > 0))
		http2_stream_ready(st, false, true);
	return HTTP2_FINE;
}

static enum http2_reason
take_priority(struct http2_conn *h, const struct http2_frame *f, struct str payload)
{
	enum http2_reason reason = http2_priority_read(f, payload.p);

	if (!http2_rate(h, HTTP2_RATE_PRIORITY))
		return HTTP2_PRIORITIES_MANY;
	if (reason != HTTP2_FINE)
		fault_in(h, f->stream, reason);
	return HTTP2_FINE;
}

/* wrong: what its head says by itself, of the stream. */
static enum http2_reason
take_one_frame(struct http2_conn *h, const struct http2_frame *f, struct str payload, enum http2_reason wrong)
{
	if (h->block_id != 0 && (f->type != HTTP2_CONTINUATION || f->stream != h->block_id))
		return fault(h, HTTP2_CONTINUATION_MISSING);
	if (!h->settled && (f->type != HTTP2_SETTINGS || (f->flags & HTTP2_F_ACK)))
		return fault(h, HTTP2_SETTINGS_FIRST);
	h->settled = true;
	if (wrong != HTTP2_FINE) {
		fault_in(h, f->stream, wrong);
		return wrong;
	}
	switch (f->type) {
	case HTTP2_DATA:
		return take_data(h, f, payload);
	case HTTP2_HEADERS:
		return take_headers(h, f, payload);
	case HTTP2_PRIORITY:
		return take_priority(h, f, payload);
	case HTTP2_RST_STREAM:
		return take_reset(h, f);
	case HTTP2_SETTINGS:
		return take_settings(h, f, payload);
	case HTTP2_PUSH:
		return fault(h, HTTP2_PUSH_PROMISE);
	case HTTP2_PING:
		return take_ping(h, f, payload);
	case HTTP2_WINDOW_UPDATE:
		return take_window(h, f, payload);
	case HTTP2_CONTINUATION:
		return take_continuation(h, f, payload);
	case HTTP2_GOAWAY:	/* it takes no pushes, of which there are none */
		return HTTP2_FINE;
	}
	return http2_rate(h, HTTP2_RATE_EMPTY) ? HTTP2_FINE : HTTP2_EMPTY_MANY;
}

size_t
http2_take_frames(struct http2_conn *h, const char *p, size_t n)
{
	size_t at = 0;

	if (!h->prefaced) {
		size_t most = n < HTTP2_PREFACE_BYTES ? n : HTTP2_PREFACE_BYTES;

		if (memcmp(p, HTTP2_PREFACE, most) != 0) {
			(void)fault(h, HTTP2_PREFACE_BAD);
			return n;
		}
		if (n < HTTP2_PREFACE_BYTES)
			return 0;
		h->prefaced = true;
		at = HTTP2_PREFACE_BYTES;
	}
	while (n - at >= HTTP2_FRAME_HEAD && !nothing_follows(h)) {
		struct http2_frame f = http2_frame_read(p + at);
		enum http2_reason reason = http2_frame_check(&f, HTTP2_FRAME_DEFAULT);

		if (reason != HTTP2_FINE && http2_reason_scope(reason) == HTTP2_OF_CONNECTION) {
			(void)fault(h, reason);
			break;
		}
		if (n - at - HTTP2_FRAME_HEAD < f.length)
			break;
		(void)take_one_frame(h, &f, (struct str){ p + at + HTTP2_FRAME_HEAD, f.length }, reason);
		at += HTTP2_FRAME_HEAD + f.length;
	}
	return nothing_follows(h) ? n : at;
}

/* -- limits -------------------------------------------------------------------- */

static const struct {
	enum http2_reason reason;
	bool resets;	/* counts against max_resets, else max_control */
} rates[HTTP2_RATES] = {
	[HTTP2_RATE_RESETS] = { HTTP2_RESETS_MANY, true },
	[HTTP2_RATE_FAULTS] = { HTTP2_FAULTS_MANY, true },
	[HTTP2_RATE_PING] = { HTTP2_PINGS_MANY, false },
	[HTTP2_RATE_SETTINGS] = { HTTP2_SETTINGS_MANY, false },
	[HTTP2_RATE_WINDOW] = { HTTP2_WINDOWS_MANY, false },
	[HTTP2_RATE_PRIORITY] = { HTTP2_PRIORITIES_MANY, false },
	[HTTP2_RATE_EMPTY] = { HTTP2_EMPTY_MANY, false },
};

static unsigned
most_of(const struct http2_conn *h, enum http2_rate rate)
{
	const struct http2_config *hc = http2_config_of(h);

	return rates[rate].resets ? hc->max_resets : hc->max_control;
}

/* Each second gives back a part: of control frames all, of resets a quarter. */
static void
give_back(struct http2_conn *h, double now)
{
	double seconds = now - h->rates.since;

	if (seconds < 1)
		return;
	for (int i = 0; i < HTTP2_RATES; i++) {
		double back = seconds * most_of(h, (enum http2_rate)i) / (rates[i].resets ? 4 : 1);

		h->rates.used[i] = back < h->rates.used[i] ? (uint16_t)(h->rates.used[i] - (uint16_t)back) : 0;
	}
	h->rates.since = now;
}

bool
http2_rate(struct http2_conn *h, enum http2_rate rate)
{
	unsigned most = most_of(h, rate), used;

	if (most == 0)
		return true;
	give_back(h, http2_worker(h)->now);
	used = ++h->rates.used[rate];
	if (used > most) {
		http2_conn_fault(h, rates[rate].reason);
		return false;
	}
	/* What it has under way is served; then it may come anew. */
	if (used > most / 4 * 3 && !h->leaving)
		http2_version.leave(h->c);
	return true;
}

void
http2_count(struct http2_conn *h, enum http2_reason reason)
{
	const struct lane *l = h->c->lane;
	enum entrance e = (enum entrance)h->c->stream.entrance;

	tally_add(&l->tally->colors[e][lane_color(l, e)].http->http2_refused[reason], 1);
}
