/* http2_frame.c - what a frame may look like, and the small ones written.  Pure; any thread. */
#include "base/check.h"
#include "proto/http2_frame.h"

/* Whose a frame of a type is. */
enum owner {
	ANY,	/* of the connection or of a stream */
	STREAM,
	CONNECTION,
};

/* length: of the payload exactly, or, with at_least, no less. */
static const struct {
	uint8_t length, at_least, owner;
	enum http2_reason wrong;	/* when the length is not that */
	const char *word;
} types[] = {
	[HTTP2_DATA] = { 0, 1, STREAM, HTTP2_FRAME_SIZE, "DATA" },
	[HTTP2_HEADERS] = { 0, 1, STREAM, HTTP2_FRAME_SIZE, "HEADERS" },
	[HTTP2_PRIORITY] = { 5, 0, STREAM, HTTP2_PRIORITY_SIZE, "PRIORITY" },
	[HTTP2_RST_STREAM] = { 4, 0, STREAM, HTTP2_FRAME_SIZE, "RST_STREAM" },
	[HTTP2_SETTINGS] = { 0, 1, CONNECTION, HTTP2_FRAME_SIZE, "SETTINGS" },
	[HTTP2_PUSH] = { 4, 1, STREAM, HTTP2_FRAME_SIZE, "PUSH_PROMISE" },
	[HTTP2_PING] = { 8, 0, CONNECTION, HTTP2_FRAME_SIZE, "PING" },
	[HTTP2_GOAWAY] = { 8, 1, CONNECTION, HTTP2_FRAME_SIZE, "GOAWAY" },
	[HTTP2_WINDOW_UPDATE] = { 4, 0, ANY, HTTP2_FRAME_SIZE, "WINDOW_UPDATE" },
	[HTTP2_CONTINUATION] = { 0, 1, STREAM, HTTP2_FRAME_SIZE, "CONTINUATION" },
};

_Static_assert(ARRAY_LEN(types) == HTTP2_TYPES, "a row for each type");

const char *
http2_type_word(uint8_t type)
{
	return type < HTTP2_TYPES ? types[type].word : "UNKNOWN";
}

/* The bytes of the payload before the fragment or the data, and behind which none are missing. */
static uint32_t
fixed_part(const struct http2_frame *f)
{
	return (uint32_t)((f->flags & HTTP2_F_PADDED) ? 1 : 0) +
	       (uint32_t)(f->type == HTTP2_HEADERS && (f->flags & HTTP2_F_PRIORITY) ? 5 : 0);
}

enum http2_reason
http2_frame_check(const struct http2_frame *f, uint32_t most)
{
	if (f->length > most)
		return HTTP2_FRAME_LONG;
	if (f->type >= HTTP2_TYPES)
		return HTTP2_FINE;
	if (types[f->type].owner == STREAM && f->stream == 0)
		return HTTP2_STREAM_ZERO;
	if (types[f->type].owner == CONNECTION && f->stream != 0)
		return HTTP2_STREAM_NOT_ZERO;
	if (types[f->type].at_least ? f->length < types[f->type].length : f->length != types[f->type].length)
		return types[f->type].wrong;
	switch ((enum http2_type)f->type) {
	case HTTP2_DATA:
	case HTTP2_HEADERS:
		return f->length < fixed_part(f) ? HTTP2_FRAME_SIZE : HTTP2_FINE;
	case HTTP2_SETTINGS:
		return f->length % 6 != 0 || ((f->flags & HTTP2_F_ACK) && f->length > 0) ? HTTP2_FRAME_SIZE :
											   HTTP2_FINE;
	case HTTP2_PRIORITY:
	case HTTP2_RST_STREAM:
	case HTTP2_PUSH:
	case HTTP2_PING:
	case HTTP2_GOAWAY:
	case HTTP2_WINDOW_UPDATE:
	case HTTP2_CONTINUATION:
	case HTTP2_TYPES:
		break;
	}
	return HTTP2_FINE;
}

enum http2_reason
http2_frame_padding(const struct http2_frame *f, uint8_t padding, uint32_t *content)
{
	*content = f->length;
	if (!(f->flags & HTTP2_F_PADDED))
		return HTTP2_FINE;
	if (f->length < fixed_part(f) + padding)
		return HTTP2_PADDING_LONG;
	*content = f->length - 1 - padding;
	return HTTP2_FINE;
}

static enum http2_reason
read_priority(uint32_t stream, const char *p)
{
	return (http2_u32(p) & HTTP2_STREAM_MOST) == stream ? HTTP2_PRIORITY_SELF : HTTP2_FINE;
}

enum http2_reason
http2_headers_read(const struct http2_frame *f, struct str payload, struct str *fragment)
{
	bool padded = (f->flags & HTTP2_F_PADDED) != 0;
	enum http2_reason reason;
	uint32_t n;

	CHECK(payload.n == f->length && f->length >= fixed_part(f));
	reason = http2_frame_padding(f, padded ? (uint8_t)payload.p[0] : 0, &n);
	if (reason != HTTP2_FINE)
		return reason;
	*fragment = (struct str){ payload.p + padded, n };
	if (!(f->flags & HTTP2_F_PRIORITY))
		return HTTP2_FINE;
	reason = read_priority(f->stream, fragment->p);
	*fragment = (struct str){ fragment->p + 5, n - 5 };
	return reason;
}

enum http2_reason
http2_priority_read(const struct http2_frame *f, const char *payload)
{
	return read_priority(f->stream, payload);
}

enum http2_reason
http2_window_read(const struct http2_frame *f, const char *payload, uint32_t *increment)
{
	*increment = http2_u32(payload) & HTTP2_WINDOW_MOST;
	if (*increment > 0)
		return HTTP2_FINE;
	return f->stream == 0 ? HTTP2_WINDOW_ZERO_ALL : HTTP2_WINDOW_ZERO;
}

void
http2_goaway_read(struct str payload, struct http2_goaway *g)
{
	CHECK(payload.n >= 8);
	g->last = http2_u32(payload.p) & HTTP2_STREAM_MOST;
	g->code = http2_u32(payload.p + 4);
	g->debug = (struct str){ payload.p + 8, payload.n - 8 };
}

static enum http2_reason
take_setting(struct http2_settings *s, bool from_server, uint16_t id, uint32_t value)
{
	switch (id) {
	case HTTP2_S_HEADER_TABLE_SIZE:
		s->table = value;
		if (value < s->table_least)
			s->table_least = value;
		break;
	case HTTP2_S_ENABLE_PUSH:
		if (value > (from_server ? 0 : 1))
			return HTTP2_SETTINGS_VALUE;
		s->push = value == 1;
		break;
	case HTTP2_S_MAX_CONCURRENT_STREAMS:
		s->streams = value;
		break;
	case HTTP2_S_INITIAL_WINDOW_SIZE:
		if (value > HTTP2_WINDOW_MOST)
			return HTTP2_SETTINGS_WINDOW;
		s->window = value;
		break;
	case HTTP2_S_MAX_FRAME_SIZE:
		if (value < HTTP2_FRAME_DEFAULT || value > HTTP2_FRAME_MOST)
			return HTTP2_SETTINGS_VALUE;
		s->frame = value;
		break;
	case HTTP2_S_MAX_HEADER_LIST_SIZE:
		s->fields = value;
		break;
	case HTTP2_S_ENABLE_CONNECT_PROTOCOL:
		if (value > 1 || (s->connect && value == 0))
			return HTTP2_SETTINGS_VALUE;
		s->connect = value == 1;
		break;
	case HTTP2_S_NO_RFC7540_PRIORITIES:
		if (value > 1)
			return HTTP2_SETTINGS_VALUE;
		break;
	default:
		break;
	}
	return HTTP2_FINE;
}

enum http2_reason
http2_settings_read(struct http2_settings *s, bool from_server, struct str payload)
{
	enum http2_reason reason = HTTP2_FINE;

	CHECK(payload.n % 6 == 0);
	s->table_least = UINT32_MAX;
	for (size_t at = 0; at < payload.n && reason == HTTP2_FINE; at += 6) {
		const unsigned char *p = (const unsigned char *)payload.p + at;

		reason = take_setting(s, from_server, (uint16_t)(p[0] << 8 | p[1]),
				      http2_u32(payload.p + at + 2));
	}
	if (s->table_least > s->table)
		s->table_least = s->table;
	return reason;
}

/* -- writing ------------------------------------------------------------------------ */

char *
http2_put_rst_stream(char *out, uint32_t stream, uint32_t code)
{
	return http2_put_u32(http2_put_head(out, 4, HTTP2_RST_STREAM, 0, stream), code);
}

char *
http2_put_window_update(char *out, uint32_t stream, uint32_t increment)
{
	return http2_put_u32(http2_put_head(out, 4, HTTP2_WINDOW_UPDATE, 0, stream), increment);
}

char *
http2_put_ping(char *out, const char data[8], bool ack)
{
	out = http2_put_head(out, 8, HTTP2_PING, ack ? HTTP2_F_ACK : 0, 0);
	memcpy(out, data, 8);
	return out + 8;
}

char *
http2_put_settings_ack(char *out)
{
	return http2_put_head(out, 0, HTTP2_SETTINGS, HTTP2_F_ACK, 0);
}

static char *
put_setting(char *out, enum http2_setting id, uint32_t value, uint32_t initial)
{
	if (value == initial)
		return out;
	out[0] = 0;
	out[1] = (char)id;
	return http2_put_u32(out + 2, value);
}

char *
http2_put_settings(char *out, const struct http2_settings *ours)
{
	const struct http2_settings initial = HTTP2_SETTINGS_INITIAL;
	char *p = out + HTTP2_FRAME_HEAD;

	p = put_setting(p, HTTP2_S_HEADER_TABLE_SIZE, ours->table, initial.table);
	p = put_setting(p, HTTP2_S_ENABLE_PUSH, ours->push, initial.push);
	p = put_setting(p, HTTP2_S_MAX_CONCURRENT_STREAMS, ours->streams, initial.streams);
	p = put_setting(p, HTTP2_S_INITIAL_WINDOW_SIZE, ours->window, initial.window);
	p = put_setting(p, HTTP2_S_MAX_FRAME_SIZE, ours->frame, initial.frame);
	p = put_setting(p, HTTP2_S_MAX_HEADER_LIST_SIZE, ours->fields, initial.fields);
	p = put_setting(p, HTTP2_S_ENABLE_CONNECT_PROTOCOL, ours->connect, initial.connect);
	p = put_setting(p, HTTP2_S_NO_RFC7540_PRIORITIES, 1, 0);
	http2_put_head(out, (uint32_t)(p - out - HTTP2_FRAME_HEAD), HTTP2_SETTINGS, 0, 0);
	return p;
}

char *
http2_put_goaway(char *out, uint32_t last, uint32_t code, struct str debug)
{
	CHECK(debug.n <= HTTP2_FRAME_DEFAULT - 8);
	out = http2_put_head(out, (uint32_t)(8 + debug.n), HTTP2_GOAWAY, 0, 0);
	out = http2_put_u32(http2_put_u32(out, last), code);
	if (debug.n > 0)
		memcpy(out, debug.p, debug.n);
	return out + debug.n;
}

size_t
http2_frame_block(char *out, size_t n, uint32_t stream, bool end_stream, uint32_t most)
{
	uint8_t end = end_stream ? HTTP2_F_END_STREAM : 0;
	size_t pieces = n <= most ? 1 : (n + most - 1) / most;

	if (pieces == 1) {
		http2_put_head(out, (uint32_t)n, HTTP2_HEADERS, HTTP2_F_END_HEADERS | end, stream);
		return HTTP2_FRAME_HEAD + n;
	}
	/* From the last, which moves furthest. */
	for (size_t i = pieces - 1; i > 0; i--) {
		size_t from = i * most, length = i + 1 == pieces ? n - from : most;
		char *to = out + from + i * HTTP2_FRAME_HEAD;

		memmove(to + HTTP2_FRAME_HEAD, out + HTTP2_FRAME_HEAD + from, length);
		http2_put_head(to, (uint32_t)length, HTTP2_CONTINUATION,
			       i + 1 == pieces ? HTTP2_F_END_HEADERS : 0, stream);
	}
	http2_put_head(out, most, HTTP2_HEADERS, end, stream);
	return n + pieces * HTTP2_FRAME_HEAD;
}
