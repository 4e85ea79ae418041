/* http2_upstream_read.c - what becomes of each frame of a backend's.  Thread: owning worker. */
#include <stdio.h>
#include <string.h>

#include "data/http2/http2_call.h"
#include "data/http2/http2_conn.h"
#include "data/http2/http2_stream.h"
#include "data/proxy.h"

/* Of a field block in several frames, encoded. */
#define SHARED_BLOCK_MOST(max_header_size) (2 * (max_header_size) + HTTP2_FRAME_DEFAULT)

static const struct http_config *
config_of_upstream(const struct http2_upstream *h)
{
	return &h->lane->config->http;
}

/* Of the whole connection: the caller stops. */
static bool
wrong(struct http2_upstream *h, enum http2_reason reason)
{
	if (reason == HTTP2_FINE)
		return false;
	http2_upstream_fault(h, reason);
	return true;
}

/* A frame that costs us something and says nothing of an answer. */
static void
count_control(struct http2_upstream *h, enum http2_reason reason)
{
	unsigned most = config_of_upstream(h)->http2.max_control;
	double now = h->lane->worker->now;

	if (now - h->counting >= 1) {
		h->counting = now;
		h->control = 0;
	}
	if (++h->control > most && most > 0)
		http2_upstream_fault(h, reason);
}

/* One that was never opened by us. */
static bool
is_idle_id(const struct http2_upstream *h, uint32_t id)
{
	return id % 2 == 0 || id >= h->next_id;
}

/* -- answers ----------------------------------------------------------------------------- */

static void
take_answer_block(struct http2_upstream *h, uint32_t id, uint8_t flags, struct str block)
{
	struct http2_buffers *b = h->lane->worker->http2;
	struct http2_call *c = http2_call_find(h, id);
	enum http2_reason reason;

	b->fields.max_fields = b->fields_room;
	b->fields.max_size =
		(uint32_t)config_of_upstream(h)->max_header_size + HPACK_ENTRY * HTTP1_HEADERS_MAX;
	if (wrong(h, hpack_decode(&h->decoder, block, &b->fields)) || c == NULL || c->error != 0)
		return;
	reason = http2_call_take_head(c, &b->fields, flags & HTTP2_F_END_STREAM);
	if (reason != HTTP2_FINE)
		http2_call_fault(c, reason);
	else
		http2_call_wake(c);
}

static void
take_answer_headers(struct http2_upstream *h, const struct http2_frame *f, struct str payload)
{
	struct str fragment;
	enum http2_reason reason = http2_headers_read(f, payload, &fragment);

	if (is_idle_id(h, f->stream))
		reason = HTTP2_STREAM_IDLE;
	if (reason != HTTP2_PRIORITY_SELF && wrong(h, reason))
		return;
	if (f->flags & HTTP2_F_END_HEADERS) {
		take_answer_block(h, f->stream, f->flags, fragment);
		return;
	}
	h->block_id = f->stream;
	h->block_flags = f->flags;
	h->continuations = 0;
	h->block.max = SHARED_BLOCK_MOST(config_of_upstream(h)->max_header_size);
	if (!buf_append(&h->block, fragment.p, fragment.n))
		http2_upstream_fault(h, HTTP2_FIELDS_LARGE);
}

static void
continue_answer_headers(struct http2_upstream *h, const struct http2_frame *f, struct str payload)
{
	if (h->block_id == 0) {
		http2_upstream_fault(h, HTTP2_CONTINUATION_ALONE);
		return;
	}
	if (++h->continuations > config_of_upstream(h)->http2.max_continuations ||
	    !buf_append(&h->block, payload.p, payload.n)) {
		http2_upstream_fault(h, HTTP2_CONTINUATIONS_MANY);
		return;
	}
	if (!(f->flags & HTTP2_F_END_HEADERS))
		return;
	h->block_id = 0;
	take_answer_block(h, f->stream, h->block_flags, buf_str(&h->block));
	buf_free(&h->block);
}

static void
take_answer_data(struct http2_upstream *h, const struct http2_frame *f, struct str payload)
{
	uint8_t padding = payload.n > 0 ? (uint8_t)payload.p[0] : 0;
	struct http2_call *c = http2_call_find(h, f->stream);
	bool end = f->flags & HTTP2_F_END_STREAM;
	uint32_t content;
	enum http2_reason reason = http2_frame_padding(f, padding, &content);

	if (reason == HTTP2_FINE && is_idle_id(h, f->stream))
		reason = HTTP2_STREAM_IDLE;
	if (reason == HTTP2_FINE && (int32_t)f->length > h->recv_window)
		reason = HTTP2_FLOW_ALL;
	if (wrong(h, reason))
		return;
	/* Credited as it comes: what its reader does not take is bounded by the stream's window. */
	h->recv_window -= (int32_t)f->length;
	h->recv_owed += f->length;
	if (content == 0 && !end)
		count_control(h, HTTP2_EMPTY_MANY);
	if (c == NULL || c->error != 0 || h->state == HTTP2_UP_ENDED)
		return;
	payload = (struct str){ payload.p + (f->flags & HTTP2_F_PADDED ? 1 : 0), content };
	reason = http2_call_take_data(c, payload, f->length, end);
	if (reason != HTTP2_FINE)
		http2_call_fault(c, reason);
	else
		http2_call_wake(c);
}

/* What a code that ends a call says to its client.  The others are about this connection, and NO_ERROR is none before an answer is
 * whole; REFUSED_STREAM lets a client ask again, which is wrong once something was said. */
static enum http2_code
reset_for_client(const struct http2_call *c, uint32_t code)
{
	if (code == HTTP2_CANCEL || (code == HTTP2_REFUSED_STREAM && !c->seen))
		return (enum http2_code)code;
	return HTTP2_INTERNAL_ERROR;
}

static void
take_answer_reset(struct http2_upstream *h, const struct http2_frame *f, struct str payload)
{
	struct http2_call *c = http2_call_find(h, f->stream);
	uint32_t code = http2_u32(payload.p);

	if (is_idle_id(h, f->stream)) {
		http2_upstream_fault(h, HTTP2_STREAM_IDLE);
		return;
	}
	if (c == NULL)
		return;
	c->reset = true;
	if (c->remote_done) {
		/* Its answer is whole; what is left of the request it does not want (RFC 9113 section 8.1). */
		c->stopped = true;
		http2_call_wake(c);
		return;
	}
	if (c->error == 0 && c->u != NULL)
		c->u->reset = (uint8_t)reset_for_client(c, code);
	http2_call_fail(c, ECONNRESET, code == HTTP2_REFUSED_STREAM, NULL);
}

/* -- the rest -------------------------------------------------------------------------------- */

static void
take_backend_settings(struct http2_upstream *h, const struct http2_frame *f, struct str payload)
{
	uint32_t before = h->peer.window;
	char *p;

	count_control(h, HTTP2_SETTINGS_MANY);
	if (h->state == HTTP2_UP_ENDED || (f->flags & HTTP2_F_ACK) ||
	    wrong(h, http2_settings_read(&h->peer, true, payload)))
		return;
	LIST_EACH(it, &h->calls) {
		struct http2_call *c = list_entry(it, struct http2_call, link);

		if (c->id != 0 &&
		    !http2_window_add(&c->send_window, (int64_t)h->peer.window - (int64_t)before)) {
			http2_upstream_fault(h, HTTP2_SETTINGS_WINDOW);
			return;
		}
	}
	hpack_encoder_limit(&h->encoder, h->peer.table_least);
	hpack_encoder_limit(&h->encoder, h->peer.table);
	if ((p = http2_upstream_reserve(h, HTTP2_SETTINGS_ACK_BYTES)) == NULL)
		return;
	http2_put_settings_ack(p);
	http2_upstream_wrote(h, HTTP2_SETTINGS_ACK_BYTES);
	if (!h->settled) {
		h->settled = true;
		http2_upstream_opened(h);
	} else if (h->peer.window > before) {
		LIST_EACH(it, &h->calls)
			http2_call_wake(list_entry(it, struct http2_call, link));
	}
}

static void
take_backend_ping(struct http2_upstream *h, const struct http2_frame *f, struct str payload)
{
	char *p;

	count_control(h, HTTP2_PINGS_MANY);
	if (h->state == HTTP2_UP_ENDED || (f->flags & HTTP2_F_ACK) ||
	    (p = http2_upstream_reserve(h, HTTP2_PING_BYTES)) == NULL)
		return;
	http2_put_ping(p, payload.p, true);
	http2_upstream_wrote(h, HTTP2_PING_BYTES);
}

/* What it says that it has not looked at is asked again elsewhere. */
static void
take_goaway(struct http2_upstream *h, struct str payload)
{
	struct http2_goaway g;

	http2_goaway_read(payload, &g);
	if (g.code != HTTP2_NO_ERROR) {
		char words[160];

		snprintf(words, sizeof(words), "GOAWAY %s", http2_code_word(g.code));
		http2_upstream_tell(h, words);
	}
	h->leaving = true;
	LIST_EACH(it, &h->calls) {
		struct http2_call *c = list_entry(it, struct http2_call, link);

		if (c->id == 0 || c->id > g.last)
			http2_call_fail(c, ECONNRESET, true, NULL);
	}
	if (h->n_calls == 0)
		http2_upstream_end(h, ECONNRESET, NULL);
}

static void
take_backend_window(struct http2_upstream *h, const struct http2_frame *f, struct str payload)
{
	struct http2_call *c = f->stream != 0 ? http2_call_find(h, f->stream) : NULL;
	uint32_t increment = 0;
	enum http2_reason reason = http2_window_read(f, payload.p, &increment);

	if (f->stream != 0 && is_idle_id(h, f->stream))
		reason = HTTP2_STREAM_IDLE;
	if (reason == HTTP2_FINE && f->stream == 0 && !http2_window_add(&h->send_window, increment))
		reason = HTTP2_WINDOW_OVER_ALL;
	if (reason == HTTP2_FINE && c != NULL && !http2_window_add(&c->send_window, increment))
		reason = HTTP2_WINDOW_OVER;
	if (reason != HTTP2_FINE && http2_reason_scope(reason) == HTTP2_OF_CONNECTION) {
		http2_upstream_fault(h, reason);
		return;
	}
	if (reason != HTTP2_FINE && c != NULL)
		http2_call_fault(c, reason);
	else if (c != NULL)
		http2_call_wake(c);
	else if (f->stream == 0)
		LIST_EACH(it, &h->calls)
			http2_call_wake(list_entry(it, struct http2_call, link));
}

static void
take_backend_frame(struct http2_upstream *h, const struct http2_frame *f, struct str payload)
{
	if (h->block_id != 0 && (f->type != HTTP2_CONTINUATION || f->stream != h->block_id)) {
		http2_upstream_fault(h, HTTP2_CONTINUATION_MISSING);
		return;
	}
	switch (f->type) {
	case HTTP2_DATA:
		take_answer_data(h, f, payload);
		return;
	case HTTP2_HEADERS:
		take_answer_headers(h, f, payload);
		return;
	case HTTP2_RST_STREAM:
		take_answer_reset(h, f, payload);
		return;
	case HTTP2_SETTINGS:
		take_backend_settings(h, f, payload);
		return;
	case HTTP2_PUSH:
		http2_upstream_fault(h, HTTP2_PUSH_PROMISE);
		return;
	case HTTP2_PING:
		take_backend_ping(h, f, payload);
		return;
	case HTTP2_GOAWAY:
		take_goaway(h, payload);
		return;
	case HTTP2_WINDOW_UPDATE:
		take_backend_window(h, f, payload);
		return;
	case HTTP2_CONTINUATION:
		continue_answer_headers(h, f, payload);
		return;
	case HTTP2_PRIORITY:
		break;
	}
	count_control(h, HTTP2_EMPTY_MANY);
}

/* The first frame is SETTINGS, and what does not begin like one, HTTP/1.1 most likely, is told apart by its first bytes. */
static bool
begins_otherwise(const struct http2_upstream *h, const char *p, size_t n)
{
	static const char settings[] = { HTTP2_SETTINGS, 0 };

	if (h->settled)
		return false;
	return (n >= 5 && memcmp(p + 3, settings, sizeof(settings)) != 0) || (n > 0 && p[0] != 0);
}

/* Takes the frames at p[0..n) that are whole; returns how many bytes they were. */
static size_t
take_frames_of_backend(struct http2_upstream *h, const char *p, size_t n)
{
	size_t at = 0;

	if (begins_otherwise(h, p, n)) {
		http2_upstream_end(h, EPROTO, "it does not speak HTTP/2: its first frame is not SETTINGS");
		return n;
	}
	while (n - at >= HTTP2_FRAME_HEAD && h->state != HTTP2_UP_ENDED) {
		struct http2_frame f = http2_frame_read(p + at);
		enum http2_reason reason = http2_frame_check(&f, HTTP2_FRAME_DEFAULT);
		struct str payload = { p + at + HTTP2_FRAME_HEAD, f.length };

		if (reason != HTTP2_FINE && http2_reason_scope(reason) == HTTP2_OF_CONNECTION) {
			http2_upstream_fault(h, reason);
			break;
		}
		if (n - at - HTTP2_FRAME_HEAD < f.length)
			break;
		if (reason == HTTP2_FINE)
			take_backend_frame(h, &f, payload);
		at += HTTP2_FRAME_HEAD + f.length;
	}
	return h->state == HTTP2_UP_ENDED ? n : at;
}

void
http2_upstream_read(struct http2_upstream *h)
{
	struct relay_buffers *buffers = &h->lane->worker->buffers;
	size_t before = buf_len(&h->in), used;
	ssize_t n;

	memcpy(buffers->buffer, buf_str(&h->in).p, before);
	n = io_read(&h->io, buffers->buffer + before, buffers->size - before);
	if (n < 0 && io_would_block())
		return;
	if (n <= 0) {
		http2_upstream_end(h, h->settled ? ECONNRESET : EPROTO,
				   h->settled ? NULL : "it closed without a word of HTTP/2");
		return;
	}
	h->heard = h->lane->worker->now;
	h->doubtful = h->pinged = false;
	buf_free(&h->in);
	n += (ssize_t)before;
	used = take_frames_of_backend(h, buffers->buffer, (size_t)n);
	if (h->state == HTTP2_UP_ENDED || used == (size_t)n)
		return;
	h->in.max = RELAY_READ_MAX;
	if (!buf_append(&h->in, buffers->buffer + used, (size_t)n - used))
		http2_upstream_end(h, ENOMEM, NULL);
}
