/* probe_grpc.c - one call of a health check, frame by frame.  Thread: main. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/version.h"
#include "control/probe_grpc.h"
#include "proto/grpc.h"
#include "proto/hpack_decoder.h"
#include "proto/hpack_encoder.h"
#include "proto/http2_frame.h"

/* The call's. */
#define CALL 1
/* Bytes that are asked for at once. */
#define PIECE 4096
/* Of all that comes, within the window that needs no update; an answer has a tenth of the frames. */
#define HEARD_MAX 65535
#define FRAMES_MAX 256
#define BLOCK_MAX 32768
#define MESSAGE_MAX 4096
#define FIELDS_MAX 128
#define FIELDS_SIZE_MAX 16384
/* What is shown fits a backend's error (model/backend.h). */
#define REASON 96
#define SHOWN 40

struct probe_grpc {
	struct hpack_decoder decoder;
	struct http2_settings settings;	/* the server's; kept to judge the next ones */
	struct buf in, out, block, message;
	size_t heard;
	unsigned frames;
	bool greeted;	/* its first SETTINGS have come */
	bool in_block;	/* CONTINUATION is to follow */
	bool last;	/* the block ends the stream */
	bool headed;	/* the head of the answer has come */
	char error[REASON];
};

/* -- asking --------------------------------------------------------------------------- */

static char *
put_call_field(char *p, struct hpack_encoder *e, const char *name, const char *value)
{
	return hpack_encode(e, p, str_from(name), str_from(value), HPACK_LITERAL);
}

void
probe_grpc_ask(struct buf *say, const struct grpc_call *call)
{
	struct http2_settings ours = HTTP2_SETTINGS_INITIAL;
	struct hpack_encoder e;
	char settings[HTTP2_SETTINGS_BYTES], head[HTTP2_FRAME_HEAD], message[GRPC_HEALTH_ASK_MAX], agent[64], deadline[16];
	size_t n = grpc_health_ask(str_from(call->service), message);
	size_t room = HTTP2_FRAME_HEAD + 1024 + strlen(call->authority);
	char *block = must_alloc(room), *p = block + HTTP2_FRAME_HEAD;

	ours.push = false;
	ours.streams = 0;
	ours.fields = FIELDS_SIZE_MAX;
	snprintf(agent, sizeof(agent), "teald/%s", teal_version());
	snprintf(deadline, sizeof(deadline), "%.0fm", call->timeout * 1000 < 1 ? 1 : call->timeout * 1000);
	hpack_encoder_init(&e, 0);
	p = hpack_encode_begin(&e, p);
	p = put_call_field(p, &e, ":method", "POST");
	p = put_call_field(p, &e, ":scheme", call->tls ? "https" : "http");
	p = put_call_field(p, &e, ":path", GRPC_HEALTH_PATH);
	p = put_call_field(p, &e, ":authority", call->authority);
	p = put_call_field(p, &e, "te", "trailers");
	p = put_call_field(p, &e, "grpc-timeout", deadline);
	p = put_call_field(p, &e, "content-type", "application/grpc");
	p = put_call_field(p, &e, "user-agent", agent);
	hpack_encoder_free(&e);

	buf_append(say, HTTP2_PREFACE, HTTP2_PREFACE_BYTES);
	buf_append(say, settings, (size_t)(http2_put_settings(settings, &ours) - settings));
	http2_put_head(block, (uint32_t)(p - block - HTTP2_FRAME_HEAD), HTTP2_HEADERS, HTTP2_F_END_HEADERS, CALL);
	buf_append(say, block, (size_t)(p - block));
	http2_put_head(head, (uint32_t)n, HTTP2_DATA, HTTP2_F_END_STREAM, CALL);
	buf_append(say, head, sizeof(head));
	buf_append(say, message, n);
	free(block);
}

void
probe_grpc_goodbye(char out[PROBE_GRPC_GOODBYE])
{
	CHECK(http2_put_goaway(out, 0, HTTP2_NO_ERROR, STR("")) == out + PROBE_GRPC_GOODBYE);
}

/* -- life ------------------------------------------------------------------------------- */

struct probe_grpc *
probe_grpc_new(void)
{
	struct probe_grpc *g = must_alloc(sizeof(*g));

	hpack_decoder_init(&g->decoder, HPACK_TABLE_DEFAULT);
	g->settings = HTTP2_SETTINGS_INITIAL;
	buf_init(&g->in, HEARD_MAX + PIECE);
	buf_init(&g->out, (size_t)FRAMES_MAX * HTTP2_PING_BYTES);
	buf_init(&g->block, BLOCK_MAX);
	buf_init(&g->message, MESSAGE_MAX);
	return g;
}

void
probe_grpc_free(struct probe_grpc **gp)
{
	struct probe_grpc *g = *gp;

	*gp = NULL;
	if (g == NULL)
		return;
	hpack_decoder_free(&g->decoder);
	buf_free(&g->in);
	buf_free(&g->out);
	buf_free(&g->block);
	buf_free(&g->message);
	free(g);
}

char *
probe_grpc_room(struct probe_grpc *g, size_t *n)
{
	*n = PIECE;
	return buf_reserve(&g->in, PIECE);
}

struct str
probe_grpc_reply(const struct probe_grpc *g)
{
	return buf_str(&g->out);
}

void
probe_grpc_said(struct probe_grpc *g, size_t n)
{
	buf_consume(&g->out, n);
}

/* -- verdicts --------------------------------------------------------------------------- */

/* Settled: true, for the callers to hand on. */
static bool PRINTF_LIKE(2, 3)
refuse_it(struct probe_grpc *g, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(g->error, sizeof(g->error), format, ap);
	va_end(ap);
	return true;
}

static bool
refuse_reason(struct probe_grpc *g, enum http2_reason reason)
{
	return refuse_it(g, "HTTP/2: %s", http2_reason_words(reason));
}

/* As far as it can be shown, up to the end of its line. */
static const char *
printable(struct str text, char out[SHOWN + 1])
{
	size_t n = 0;

	while (n < text.n && n < SHOWN && text.p[n] != '\r' && text.p[n] != '\n') {
		out[n] = isprint((unsigned char)text.p[n]) && text.p[n] != '"' ? text.p[n] : '.';
		n++;
	}
	out[n] = '\0';
	return out;
}

/* What came first is no SETTINGS frame. */
static bool
refuse_protocol(struct probe_grpc *g)
{
	struct str all = buf_str(&g->in);
	char text[SHOWN + 1];

	if (all.n >= 7 && memcmp(all.p, "HTTP/1.", 7) == 0)
		return refuse_it(g, "answers in HTTP/1, not HTTP/2: \"%s\"", printable(all, text));
	return refuse_it(g, "did not answer in HTTP/2: \"%s\"", printable(all, text));
}

static const struct hpack_field *
find_field(const struct hpack_fields *fields, const char *name)
{
	for (uint32_t i = 0; i < fields->count; i++)
		if (str_eq(hpack_name(fields, &fields->fields[i]), name))
			return &fields->fields[i];
	return NULL;
}

static const char *
meaning_of(unsigned status)
{
	return status == GRPC_UNIMPLEMENTED ? "it has no grpc.health.v1.Health" :
	       status == GRPC_NOT_FOUND	    ? "it does not know health.service" :
					      "";
}

/* The stream has ended with these. */
static bool
judge_status(struct probe_grpc *g, const struct hpack_fields *fields)
{
	const struct hpack_field *f = find_field(fields, "grpc-status"), *words = find_field(fields, "grpc-message");
	char text[SHOWN + 1] = "";
	unsigned status, serving;
	const char *wrong;

	if (f == NULL)
		return refuse_it(g, "ended its answer without a grpc-status");
	if (!grpc_status_read(hpack_value(fields, f), &status))
		return refuse_it(g, "grpc-status \"%s\" is none", printable(hpack_value(fields, f), text));
	if (status != GRPC_OK) {
		if (words != NULL)
			grpc_message_text(hpack_value(fields, words), text, sizeof(text));
		wrong = text[0] != '\0' ? text : meaning_of(status);
		return refuse_it(g, "grpc-status %u %s%s%s", status, grpc_status_word(status), wrong[0] != '\0' ? ": " : "", wrong);
	}
	if ((wrong = grpc_health_read(buf_str(&g->message), &serving)) != NULL)
		return refuse_it(g, "%s", wrong);
	if (serving == GRPC_SERVING)
		return true;
	return refuse_it(g, "answers %s", grpc_health_word(serving));
}

/* The head of an answer; not settled: what follows decides. */
static bool
judge_head(struct probe_grpc *g, const struct hpack_fields *fields)
{
	const struct hpack_field *status = find_field(fields, ":status"), *type = find_field(fields, "content-type");
	struct str value = status != NULL ? hpack_value(fields, status) : STR("");
	char text[SHOWN + 1];
	uint64_t code;

	if (!str_to_u64(value, 599, &code) || value.n != 3 || code < 100 || code == 101)
		return refuse_reason(g, HTTP2_STATUS_BAD);
	if (code < 200)
		return g->last ? refuse_it(g, "ended its answer without a grpc-status") : false;
	g->headed = true;
	/* Of a proxy before it, perhaps. */
	if (code != 200)
		return refuse_it(g, "HTTP status %u", (unsigned)code);
	value = type != NULL ? hpack_value(fields, type) : STR("");
	if (value.n < 16 || memcmp(value.p, "application/grpc", 16) != 0)
		return refuse_it(g, "no answer of gRPC: its Content-Type is \"%s\"", printable(value, text));
	return g->last ? judge_status(g, fields) : false;
}

/* RFC 9113 section 8.2: such an answer is malformed. */
static bool
has_bad_field(struct probe_grpc *g, const struct hpack_fields *fields)
{
	char text[SHOWN + 1];

	for (uint32_t i = 0; i < fields->count; i++) {
		enum http2_field_kind kind = fields->fields[i].kind;

		if (kind >= HTTP2_FIELD_CONNECTION)
			return refuse_it(g, "HTTP/2: malformed field \"%s\"",
					 printable(hpack_name(fields, &fields->fields[i]), text));
	}
	return false;
}

static bool
call_take_block(struct probe_grpc *g)
{
	/* Main's, for one block after the other. */
	static struct hpack_field places[FIELDS_MAX];
	static char text[HPACK_TEXT_ROOM(FIELDS_SIZE_MAX)];
	struct hpack_fields fields = {
		.fields = places, .text = text, .max_fields = FIELDS_MAX, .max_size = FIELDS_SIZE_MAX
	};
	enum http2_reason reason = hpack_decode(&g->decoder, buf_str(&g->block), &fields);

	buf_clear(&g->block);
	g->in_block = false;
	if (reason == HTTP2_FINE)
		reason = fields.over;
	if (reason != HTTP2_FINE)
		return refuse_reason(g, reason);
	if (has_bad_field(g, &fields))
		return true;
	if (!g->headed)
		return judge_head(g, &fields);
	return g->last ? judge_status(g, &fields) : refuse_reason(g, HTTP2_TRAILER_OPEN);
}

/* -- frames ------------------------------------------------------------------------------- */

static bool
add_to_block(struct probe_grpc *g, const struct http2_frame *f, struct str fragment)
{
	if (!buf_append(&g->block, fragment.p, fragment.n))
		return refuse_reason(g, HTTP2_FIELDS_LARGE);
	g->in_block = true;
	return (f->flags & HTTP2_F_END_HEADERS) ? call_take_block(g) : false;
}

static bool
call_take_headers(struct probe_grpc *g, const struct http2_frame *f, struct str payload)
{
	struct str fragment;
	enum http2_reason reason = http2_headers_read(f, payload, &fragment);

	if (f->stream != CALL)
		return refuse_reason(g, HTTP2_STREAM_IDLE);
	if (reason != HTTP2_FINE)
		return refuse_reason(g, reason);
	g->last = (f->flags & HTTP2_F_END_STREAM) != 0;
	return add_to_block(g, f, fragment);
}

static bool
call_take_data(struct probe_grpc *g, const struct http2_frame *f, struct str payload)
{
	bool padded = (f->flags & HTTP2_F_PADDED) != 0;
	uint32_t n;
	enum http2_reason reason = http2_frame_padding(f, padded ? (uint8_t)payload.p[0] : 0, &n);

	if (f->stream != CALL || !g->headed)
		return refuse_reason(g, HTTP2_STREAM_IDLE);
	if (reason != HTTP2_FINE)
		return refuse_reason(g, reason);
	if (!buf_append(&g->message, payload.p + padded, n))
		return refuse_it(g, "an answer of more than %d bytes", MESSAGE_MAX);
	return (f->flags & HTTP2_F_END_STREAM) ? refuse_it(g, "ended its answer without a grpc-status") : false;
}

static bool
call_take_settings(struct probe_grpc *g, const struct http2_frame *f, struct str payload)
{
	char ack[HTTP2_SETTINGS_ACK_BYTES];
	enum http2_reason reason;

	if (f->flags & HTTP2_F_ACK)
		return false;
	if ((reason = http2_settings_read(&g->settings, true, payload)) != HTTP2_FINE)
		return refuse_reason(g, reason);
	(void)http2_put_settings_ack(ack);
	return buf_append(&g->out, ack, sizeof(ack)) ? false : refuse_it(g, "out of memory");
}

static bool
call_take_ping(struct probe_grpc *g, const struct http2_frame *f, struct str payload)
{
	char ack[HTTP2_PING_BYTES];

	if (f->flags & HTTP2_F_ACK)
		return false;
	(void)http2_put_ping(ack, payload.p, true);
	return buf_append(&g->out, ack, sizeof(ack)) ? false : refuse_it(g, "out of memory");
}

/* One that says nothing is wrong lets the call go on. */
static bool
call_take_goaway(struct probe_grpc *g, struct str payload)
{
	struct http2_goaway away;
	char text[SHOWN + 1];

	http2_goaway_read(payload, &away);
	if (away.code == HTTP2_NO_ERROR && away.last >= CALL)
		return false;
	if (away.debug.n == 0)
		return refuse_it(g, "GOAWAY %s", http2_code_word(away.code));
	return refuse_it(g, "GOAWAY %s: \"%s\"", http2_code_word(away.code), printable(away.debug, text));
}

static bool
call_take_frame(struct probe_grpc *g, const struct http2_frame *f, struct str payload)
{
	enum http2_reason reason;
	uint32_t increment;

	if (++g->frames > FRAMES_MAX)
		return refuse_it(g, "more than %d frames and no answer", FRAMES_MAX);
	if (g->in_block && f->type != HTTP2_CONTINUATION)
		return refuse_reason(g, HTTP2_CONTINUATION_MISSING);
	switch (f->type) {
	case HTTP2_DATA:
		return call_take_data(g, f, payload);
	case HTTP2_HEADERS:
		return call_take_headers(g, f, payload);
	case HTTP2_CONTINUATION:
		if (!g->in_block || f->stream != CALL)
			return refuse_reason(g, HTTP2_CONTINUATION_ALONE);
		return add_to_block(g, f, payload);
	case HTTP2_SETTINGS:
		return call_take_settings(g, f, payload);
	case HTTP2_PING:
		return call_take_ping(g, f, payload);
	case HTTP2_GOAWAY:
		return call_take_goaway(g, payload);
	case HTTP2_RST_STREAM:
		return refuse_it(g, "RST_STREAM %s", http2_code_word(http2_u32(payload.p)));
	case HTTP2_PUSH:
		return refuse_reason(g, HTTP2_PUSH_PROMISE);
	case HTTP2_WINDOW_UPDATE:
		reason = http2_window_read(f, payload.p, &increment);
		return reason == HTTP2_FINE ? false : refuse_reason(g, reason);
	}
	return false;
}

static bool
call_take_frames(struct probe_grpc *g)
{
	struct str all;

	while ((all = buf_str(&g->in)).n >= HTTP2_FRAME_HEAD) {
		struct http2_frame f = http2_frame_read(all.p);
		enum http2_reason reason = http2_frame_check(&f, HTTP2_FRAME_DEFAULT);

		if (!g->greeted && (f.type != HTTP2_SETTINGS || (f.flags & HTTP2_F_ACK)))
			return refuse_protocol(g);
		if (reason != HTTP2_FINE)
			return refuse_reason(g, reason);
		if (all.n < HTTP2_FRAME_HEAD + f.length)
			return false;
		g->greeted = true;
		if (call_take_frame(g, &f, (struct str){ all.p + HTTP2_FRAME_HEAD, f.length }))
			return true;
		buf_consume(&g->in, HTTP2_FRAME_HEAD + f.length);
	}
	return false;
}

static bool
call_take_bytes(struct probe_grpc *g, size_t n)
{
	buf_commit(&g->in, n);
	g->heard += n;
	if (n == 0)
		return g->heard == 0 ? refuse_it(g, "closed the connection without an answer") :
		       !g->greeted   ? refuse_protocol(g) :
				       refuse_it(g, "closed the connection before its answer was whole");
	if (call_take_frames(g))
		return true;
	return g->heard > HEARD_MAX ? refuse_it(g, "more than 64 KiB and no answer") : false;
}

bool
probe_grpc_take(struct probe_grpc *g, size_t n, const char **error)
{
	if (!call_take_bytes(g, n))
		return false;
	*error = g->error[0] != '\0' ? g->error : NULL;
	return true;
}
