/* fuzz_http2_request.c - a client's bytes as frames, field blocks, requests and trailers: whatever comes, what is taken is one
 * head of HTTP/1.1, in the framing that was told.
 * The first byte of the input chooses the limits; frames follow. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "proto/http1_body.h"
#include "proto/http1_host.h"
#include "proto/http2_frame.h"
#include "proto/http2_request.h"
#include "proto/http2_response.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FIELDS_MAX 32
#define TEXT_MAX 4096
#define BLOCK_MAX 8192

struct client {
	struct hpack_decoder decoder;
	struct hpack_encoder echo;	/* what it said, said again, */
	struct hpack_decoder peer;	/* and read */
	struct http2_settings settings;
	struct hpack_field fields[FIELDS_MAX];
	char text[HPACK_TEXT_ROOM(TEXT_MAX)];
	char block[BLOCK_MAX];	/* of a HEADERS frame and its CONTINUATIONs */
	size_t block_n;
	bool open;	/* a block has begun and not ended */
	bool end_stream;
	bool limited;
};

/* One head, and nothing behind it; or refused. */
static void
judge_head(const struct http2_request *r, const char *head)
{
	static struct http1_head h;
	struct http1_host host;
	struct http1_body body;

	http1_head_init(&h, 1 << 20);
	http1_head_parse(&h, head, r->n);
	CHECK(h.verdict != HTTP1_NEED_MORE);
	if (h.verdict != HTTP1_DONE)
		return;
	CHECK(h.length == r->n && !(h.repeated & HTTP1_BIT(HTTP1_HOST)) && http1_head_has(&h, HTTP1_HOST));
	CHECK(http1_head_upgrades(&h) == r->websocket);
	http1_host_of(&h, &host);
	CHECK(http1_body_of_request(&body, &h) == HTTP1_DONE);
	CHECK((body.framing == HTTP1_BODY_CHUNKED) == r->chunked);
	CHECK(!r->has_length || body.left == r->length);
}

/* Fields that were read are written as they were, and read again as the same. */
static void
say_again(struct client *c, const struct hpack_fields *f)
{
	static struct hpack_field room[FIELDS_MAX];
	static char text[HPACK_TEXT_ROOM(TEXT_MAX)], block[2 * TEXT_MAX + 12 * FIELDS_MAX];
	struct hpack_fields again = {
		.fields = room, .text = text, .max_fields = FIELDS_MAX, .max_size = TEXT_MAX
	};
	char *p;

	for (uint32_t i = 0; i < f->count; i++) {
		enum http2_field_kind kind = http2_name_kind(hpack_name(f, &f->fields[i]));

		/* They would go on in lower case. */
		if (kind == HTTP2_FIELD_NAME_UPPER || kind == HTTP2_FIELD_NAME_BAD ||
		    kind == HTTP2_FIELD_PSEUDO)
			return;
	}
	p = hpack_encode_begin(&c->echo, block);
	for (uint32_t i = 0; i < f->count; i++)
		p = hpack_encode(&c->echo, p, hpack_name(f, &f->fields[i]), hpack_value(f, &f->fields[i]),
				 HPACK_USUAL);
	CHECK(hpack_decode(&c->peer, (struct str){ block, (size_t)(p - block) }, &again) == HTTP2_FINE);
	CHECK(again.count == f->count && again.used == f->used && memcmp(again.text, f->text, f->used) == 0);
}

static bool
take_block(struct client *c)
{
	struct hpack_fields f = {
		.fields = c->fields,
		.text = c->text,
		.max_fields = c->limited ? 4 : FIELDS_MAX,
		.max_size = c->limited ? 200 : TEXT_MAX,
	};
	struct http2_request r = {
		.end_stream = c->end_stream,
		.connect_protocol = true,
		.websocket_key = "AAAAAAAAAAAAAAAAAAAAAA==",
	};
	char *block = malloc(c->block_n + 1), *head;
	enum http2_reason reason;
	size_t n;

	CHECK(block != NULL);
	memcpy(block, c->block, c->block_n);
	reason = hpack_decode(&c->decoder, (struct str){ block, c->block_n }, &f);
	free(block);
	if (reason != HTTP2_FINE)
		return false;
	CHECK(c->decoder.table.size <= c->decoder.table.most && c->decoder.table.most <= c->decoder.limit);
	if (f.over != HTTP2_FINE)
		return true;
	CHECK(f.count <= f.max_fields && f.size <= f.max_size && f.used <= f.size);
	head = malloc(f.used + HTTP2_REQUEST_EXTRA);
	CHECK(head != NULL);
	if (http2_request_write(&f, &r, head, f.used + HTTP2_REQUEST_EXTRA) == HTTP2_FINE) {
		CHECK(r.n <= f.used + HTTP2_REQUEST_EXTRA);
		judge_head(&r, head);
	}
	if (http2_trailers_write(&f, c->end_stream, head, f.used, &n) == HTTP2_FINE)
		CHECK(n == f.used && memchr(head, '\0', n) == NULL);
	say_again(c, &f);
	free(head);
	return true;
}

static bool
add_fragment(struct client *c, struct str fragment, uint8_t flags)
{
	if (fragment.n > BLOCK_MAX - c->block_n)
		return false;
	memcpy(c->block + c->block_n, fragment.p, fragment.n);
	c->block_n += fragment.n;
	c->open = !(flags & HTTP2_F_END_HEADERS);
	return c->open || take_block(c);
}

static bool
take_headers(struct client *c, const struct http2_frame *f, struct str payload)
{
	struct str fragment;
	enum http2_reason reason = http2_headers_read(f, payload, &fragment);

	if (reason != HTTP2_FINE && reason != HTTP2_PRIORITY_SELF)
		return false;
	c->block_n = 0;
	c->end_stream = (f->flags & HTTP2_F_END_STREAM) != 0;
	return add_fragment(c, fragment, f->flags);
}

/* A payload that its head fits. */
static bool
take_frame(struct client *c, const struct http2_frame *f, struct str payload)
{
	struct http2_goaway g;
	uint32_t n;

	switch (f->type) {
	case HTTP2_DATA:
		if (http2_frame_padding(f, payload.n > 0 ? (uint8_t)payload.p[0] : 0, &n) != HTTP2_FINE)
			return false;
		CHECK(n <= payload.n);
		return true;
	case HTTP2_HEADERS:
		return take_headers(c, f, payload);
	case HTTP2_CONTINUATION:
		return c->open && add_fragment(c, payload, f->flags);
	case HTTP2_SETTINGS:
		if (http2_settings_read(&c->settings, false, payload) != HTTP2_FINE)
			return false;
		CHECK(c->settings.table_least <= c->settings.table &&
		      c->settings.window <= HTTP2_WINDOW_MOST);
		/* What it wants of an encoder, a decoder of ours wants here. */
		if (c->settings.table <= HPACK_TABLE_MOST)
			hpack_decoder_limit(&c->decoder, c->settings.table);
		return true;
	case HTTP2_WINDOW_UPDATE:
		return http2_window_read(f, payload.p, &n) == HTTP2_FINE;
	case HTTP2_PRIORITY:
		return http2_priority_read(f, payload.p) == HTTP2_FINE;
	case HTTP2_GOAWAY:
		http2_goaway_read(payload, &g);
		return true;
	default:
		return true;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct client c;
	const char *p = (const char *)data;

	if (size < 1)
		return 0;
	hpack_decoder_init(&c.decoder, data[0] & 1 ? HPACK_TABLE_DEFAULT : 128);
	hpack_encoder_init(&c.echo, data[0] & 2 ? HPACK_ENCODER_MOST : 200);
	hpack_decoder_init(&c.peer, HPACK_TABLE_DEFAULT);
	c.settings = HTTP2_SETTINGS_INITIAL;
	c.limited = data[0] & 4;
	c.open = false;
	for (size_t at = 1; size - at >= HTTP2_FRAME_HEAD;) {
		struct http2_frame f = http2_frame_read(p + at);
		enum http2_reason reason;
		char *payload;
		bool fine;

		at += HTTP2_FRAME_HEAD;
		/* Most that is said of a length is wrong: what is there goes for it. */
		if (f.length > size - at)
			f.length = (uint32_t)(size - at);
		reason = http2_frame_check(&f, HTTP2_FRAME_DEFAULT);
		if (reason != HTTP2_FINE && http2_reason_scope(reason) == HTTP2_OF_CONNECTION)
			break;
		payload = malloc(f.length + 1);
		CHECK(payload != NULL);
		memcpy(payload, p + at, f.length);
		fine = reason != HTTP2_FINE || take_frame(&c, &f, (struct str){ payload, f.length });
		free(payload);
		if (!fine)
			break;
		at += f.length;
	}
	hpack_decoder_free(&c.decoder);
	hpack_encoder_free(&c.echo);
	hpack_decoder_free(&c.peer);
	return 0;
}
