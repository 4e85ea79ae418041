/* load_http2.c - requests by HTTP/2 (RFC 9113), one after the other on streams of a connection that lasts: by prior
 * knowledge, or as agreed by ALPN.  Its fields are literals, so that all requests are the same bytes.
 * Thread: the flow's. */
#include <stdlib.h>

#include "app/tealbench/load_flow.h"
#include "app/tealbench/load_http.h"
#include "app/tealbench/load_http2.h"
#include "proto/hpack_decoder.h"
#include "proto/hpack_encoder.h"
#include "proto/http2_frame.h"

#define FIELDS_MAX 128
#define FIELDS_SIZE 65536
#define BLOCK_MAX 65536
/* Of the connection's window so much is read before it is given back; a stream's never shuts. */
#define CREDIT (1u << 20)
#define GREETING_MAX (HTTP2_PREFACE_BYTES + HTTP2_SETTINGS_BYTES + HTTP2_WINDOW_UPDATE_BYTES)

struct load_http2 {
	struct hpack_decoder decoder;
	struct buf out;	/* what is being sent */
	struct buf owed;	/* acknowledgements, to be sent with what is next */
	struct buf block;
	uint32_t stream;	/* of the request; 0: none yet on this connection */
	uint32_t unread;	/* bytes of DATA since the last credit */
	bool last;	/* the block ends the stream */
	bool over;	/* the answer is whole, as verdict says */
	enum flow_verdict verdict;
};

bool
load_http2_request(struct buf *b, const char *path, const char *host, bool tls, const struct option_list *headers)
{
	size_t room = 512 + strlen(path) + strlen(host);
	struct hpack_encoder e;
	char *block, *p;
	bool good;

	for (unsigned i = 0; i < headers->n; i++)
		room += HPACK_FIELD_MOST(strlen(headers->item[i]), 0);
	block = must_alloc(room);
	hpack_encoder_init(&e, 0);
	p = hpack_encode_begin(&e, block);
	p = hpack_encode(&e, p, STR(":method"), STR("GET"), HPACK_LITERAL);
	p = hpack_encode(&e, p, STR(":scheme"), tls ? STR("https") : STR("http"), HPACK_LITERAL);
	p = hpack_encode(&e, p, STR(":path"), str_from(path), HPACK_LITERAL);
	p = hpack_encode(&e, p, STR(":authority"), str_from(host), HPACK_LITERAL);
	p = hpack_encode(&e, p, STR("user-agent"), STR("tealbench"), HPACK_LITERAL);
	for (unsigned i = 0; i < headers->n; i++) {
		const char *text = headers->item[i], *colon = strchr(text, ':'), *value = colon + 1 + strspn(colon + 1, " \t");

		p = hpack_encode(&e, p, (struct str){ text, (size_t)(colon - text) }, str_from(value), HPACK_LITERAL);
	}
	hpack_encoder_free(&e);
	/* In one frame, as all servers take it. */
	good = p - block <= HTTP2_FRAME_DEFAULT && buf_append(b, block, (size_t)(p - block));
	free(block);
	return good;
}

void
load_http2_free(struct flow *f)
{
	struct load_http2 *h = f->http2;

	f->http2 = NULL;
	if (h == NULL)
		return;
	hpack_decoder_free(&h->decoder);
	buf_free(&h->out);
	buf_free(&h->owed);
	buf_free(&h->block);
	free(h);
}

/* On a new connection: preface, settings, and a window that is never the limit. */
static void
greet_server(struct flow *f)
{
	struct http2_settings ours = HTTP2_SETTINGS_INITIAL;
	char greeting[GREETING_MAX], *p = greeting;
	struct load_http2 *h;

	h = f->http2 = must_alloc(sizeof(*h));
	h->over = f->keep = true;
	hpack_decoder_init(&h->decoder, HPACK_TABLE_DEFAULT);
	buf_init(&h->out, BLOCK_MAX);
	buf_init(&h->owed, BLOCK_MAX);
	buf_init(&h->block, BLOCK_MAX);
	ours.push = false;
	ours.window = HTTP2_WINDOW_MOST;
	memcpy(p, HTTP2_PREFACE, HTTP2_PREFACE_BYTES);
	p = http2_put_settings(p + HTTP2_PREFACE_BYTES, &ours);
	p = http2_put_window_update(p, 0, HTTP2_WINDOW_MOST - HTTP2_WINDOW_DEFAULT);
	buf_append(&h->owed, greeting, (size_t)(p - greeting));
}

static void
http2_load_begin(struct flow *f)
{
	struct str request = buf_str(&f->thread->config->request);
	char head[HTTP2_FRAME_HEAD];
	struct load_http2 *h;

	if (f->http2 == NULL)
		greet_server(f);
	h = f->http2;
	h->stream = h->stream == 0 ? 1 : h->stream + 2;
	h->over = false;
	buf_clear(&h->out);
	buf_append(&h->out, buf_str(&h->owed).p, buf_len(&h->owed));
	buf_clear(&h->owed);
	http2_put_head(head, (uint32_t)request.n, HTTP2_HEADERS, HTTP2_F_END_HEADERS | HTTP2_F_END_STREAM, h->stream);
	buf_append(&h->out, head, sizeof(head));
	buf_append(&h->out, request.p, request.n);
	f->to_send = buf_len(&h->out);
	f->head_done = false;
	f->status = 0;
	f->name = LOAD_NAME_UNSAID;
	f->taken = 0;
}

static const char *
http2_load_next(const struct flow *f, uint64_t *n)
{
	*n = f->to_send - f->sent;
	return buf_str(&f->http2->out).p + f->sent;
}

/* Now, where nothing is half sent; else with the next request. */
static bool
owe(struct flow *f, const char *p, size_t n)
{
	ssize_t sent = -1;

	if (buf_len(&f->http2->owed) == 0 && (f->state != FLOW_BUSY || f->sent == f->to_send))
		sent = f->ssl != NULL ? secure_write(f->ssl, p, n) : send(f->fd, p, n, MSG_NOSIGNAL);
	if (sent == (ssize_t)n)
		return true;
	/* Half a frame: nothing can follow it but its rest. */
	return sent <= 0 && buf_append(&f->http2->owed, p, n);
}

static bool
end_http2_answer(struct flow *f, enum flow_verdict verdict)
{
	if (!f->http2->over)
		f->http2->verdict = verdict;
	f->http2->over = true;
	return true;
}

static bool
take_answer_head(struct flow *f)
{
	static _Thread_local struct hpack_field places[FIELDS_MAX];
	static _Thread_local char text[HPACK_TEXT_ROOM(FIELDS_SIZE)];
	struct load_http2 *h = f->http2;
	struct hpack_fields fields = { .fields = places, .text = text, .max_fields = FIELDS_MAX, .max_size = FIELDS_SIZE };
	uint64_t status;

	if (hpack_decode(&h->decoder, buf_str(&h->block), &fields) != HTTP2_FINE || fields.over != HTTP2_FINE)
		return false;
	buf_clear(&h->block);
	for (uint32_t i = 0; i < fields.count && !f->head_done; i++) {
		struct str name = hpack_name(&fields, &places[i]), value = hpack_value(&fields, &places[i]);

		if (str_eq(name, ":status")) {
			if (value.n != 3 || !str_to_u64(value, 599, &status))
				return false;
			f->status = (unsigned)status;
		} else if (str_case_eq(name, f->thread->config->name_header)) {
			f->name = load_names_find(&f->thread->names, value);
		}
	}
	if (f->status < 100)
		return false;
	f->head_done = f->status >= 200;
	return !h->last || (f->head_done && end_http2_answer(f, load_http_judge(f)));
}

static bool
take_body_piece(struct flow *f, const struct http2_frame *frame, struct str payload)
{
	struct load_http2 *h = f->http2;
	char credit[HTTP2_WINDOW_UPDATE_BYTES];
	bool padded = (frame->flags & HTTP2_F_PADDED) != 0;
	uint32_t n;

	if (http2_frame_padding(frame, padded ? (uint8_t)payload.p[0] : 0, &n) != HTTP2_FINE)
		return false;
	h->unread += frame->length;
	if (h->unread >= CREDIT) {
		http2_put_window_update(credit, 0, h->unread);
		h->unread = 0;
		if (!owe(f, credit, sizeof(credit)))
			return false;
	}
	/* Of a stream that was given up. */
	if (frame->stream != h->stream || h->over)
		return true;
	if (!f->head_done)
		return false;
	if (!load_http_body_fits(f, payload.p + padded, n))
		return end_http2_answer(f, FLOW_FAILED);
	return !(frame->flags & HTTP2_F_END_STREAM) || end_http2_answer(f, load_http_judge(f));
}

/* False: no HTTP/2. */
static bool
take_http2_frame(struct flow *f, const struct http2_frame *frame, struct str payload)
{
	struct load_http2 *h = f->http2;
	struct http2_goaway away;
	char ack[HTTP2_PING_BYTES];
	struct str fragment = payload;

	switch (frame->type) {
	case HTTP2_SETTINGS:
		http2_put_settings_ack(ack);
		return (frame->flags & HTTP2_F_ACK) || owe(f, ack, HTTP2_SETTINGS_ACK_BYTES);
	case HTTP2_PING:
		http2_put_ping(ack, payload.p, true);
		return (frame->flags & HTTP2_F_ACK) || owe(f, ack, HTTP2_PING_BYTES);
	case HTTP2_HEADERS:
		if (frame->stream != h->stream || h->over || http2_headers_read(frame, payload, &fragment) != HTTP2_FINE)
			return false;
		h->last = (frame->flags & HTTP2_F_END_STREAM) != 0;
		/* fall through */
	case HTTP2_CONTINUATION:
		if (frame->stream != h->stream || !buf_append(&h->block, fragment.p, fragment.n))
			return false;
		return !(frame->flags & HTTP2_F_END_HEADERS) || take_answer_head(f);
	case HTTP2_DATA:
		return take_body_piece(f, frame, payload);
	case HTTP2_RST_STREAM:
		if (frame->stream != h->stream || h->over)
			return true;
		f->error = LOAD_RESET;
		return end_http2_answer(f, FLOW_FAILED);
	case HTTP2_GOAWAY:
		/* What is under way goes on; nothing new comes to this connection. */
		http2_goaway_read(payload, &away);
		f->keep = false;
		if (h->over || away.last >= h->stream)
			return true;
		f->error = LOAD_RESET;
		return end_http2_answer(f, FLOW_FAILED);
	case HTTP2_PUSH:
		return false;
	}
	return true;
}

/* Bytes that the frame at the beginning lacks still, at least; 0: it is whole, and *frame its head.  False: no HTTP/2. */
static bool
frame_lacks(struct str have, struct http2_frame *frame, size_t *missing)
{
	*missing = HTTP2_FRAME_HEAD - have.n;
	if (have.n < HTTP2_FRAME_HEAD)
		return true;
	*frame = http2_frame_read(have.p);
	*missing = have.n < HTTP2_FRAME_HEAD + frame->length ? HTTP2_FRAME_HEAD + frame->length - have.n : 0;
	return http2_frame_check(frame, HTTP2_FRAME_DEFAULT) == HTTP2_FINE;
}

/* All of p; false: no HTTP/2.  Nearly always frames come whole, and nothing is copied. */
static bool
take_http2_frames(struct flow *f, const char *p, size_t n)
{
	while (n > 0 || buf_len(&f->in) >= HTTP2_FRAME_HEAD) {
		bool kept = buf_len(&f->in) > 0;
		struct str have = kept ? buf_str(&f->in) : (struct str){ p, n };
		struct http2_frame frame;
		size_t missing, more;

		if (!frame_lacks(have, &frame, &missing))
			return false;
		if (missing == 0) {
			if (!take_http2_frame(f, &frame, (struct str){ have.p + HTTP2_FRAME_HEAD, frame.length }))
				return false;
			more = kept ? 0 : HTTP2_FRAME_HEAD + frame.length;
			buf_clear(&f->in);
		} else if (n == 0) {
			return true;
		} else {
			more = kept && missing < n ? missing : n;
			if (!buf_append(&f->in, p, more))
				return false;
		}
		p += more;
		n -= more;
	}
	return true;
}

static enum flow_verdict
http2_load_take(struct flow *f, const char *p, size_t n)
{
	f->error = LOAD_SHORT;
	if (n == 0)
		return FLOW_FAILED;
	f->error = LOAD_PROTOCOL;
	if (!take_http2_frames(f, p, n))
		return FLOW_FAILED;
	if (!f->http2->over)
		return FLOW_MORE;
	return f->http2->verdict == FLOW_DONE && !f->keep ? FLOW_DONE_LAST : f->http2->verdict;
}

/* Between requests, and before the first: acknowledgements, a GOAWAY. */
static bool
http2_load_unasked(struct flow *f, const char *p, size_t n)
{
	if (f->http2 == NULL)
		greet_server(f);
	return take_http2_frames(f, p, n) && f->keep;
}

const struct load_mode load_mode_http2 = { .word = "http2",
					   .http = true,
					   .alpn = "h2",
					   .begin = http2_load_begin,
					   .next = http2_load_next,
					   .take = http2_load_take,
					   .unasked = http2_load_unasked };
