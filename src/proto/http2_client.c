/* http2_client.c - requests into field blocks, and fields into answers.  Pure but for the encoder; any thread. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "proto/http1_error.h"
#include "proto/http1_lines.h"
#include "proto/http1_name.h"
#include "proto/http2_client.h"

/* -- requests ------------------------------------------------------------------------- */

/* "POST /path HTTP/1.1\r\n"; returns where the first field begins. */
static size_t
read_request_line(struct str head, struct str *method, struct str *path)
{
	const char *end = memchr(head.p, '\r', head.n), *space = memchr(head.p, ' ', head.n), *last;

	CHECK(end != NULL && space != NULL && space < end);
	*method = (struct str){ head.p, (size_t)(space - head.p) };
	last = memchr(space + 1, ' ', (size_t)(end - space) - 1);
	CHECK(last != NULL);
	*path = (struct str){ space + 1, (size_t)(last - space) - 1 };
	return (size_t)(end - head.p) + 2;
}

/* The pseudo-fields come before all others. */
static struct str
find_host(struct str head, size_t at)
{
	struct http1_field_line line;

	while (http1_next_line(head, &at, &line))
		if (line.bit & HTTP1_BIT(HTTP1_HOST))
			return line.value;
	return STR("");
}

void
http2_request_encode(struct str head, bool tls, struct hpack_encoder *encoder, char *out,
		     struct http2_asked *asked)
{
	struct str method, path, host;
	size_t at = read_request_line(head, &method, &path);
	struct http1_field_line line;
	char *p = hpack_encode_begin(encoder, out);

	*asked = (struct http2_asked){ .head = str_eq(method, "HEAD") };
	host = find_host(head, at);
	p = hpack_encode(encoder, p, STR(":method"), method, HPACK_USUAL);
	p = hpack_encode(encoder, p, STR(":scheme"), tls ? STR("https") : STR("http"), HPACK_USUAL);
	if (host.n > 0)
		p = hpack_encode(encoder, p, STR(":authority"), host, HPACK_USUAL);
	p = hpack_encode(encoder, p, STR(":path"), path, HPACK_USUAL);
	while (http1_next_line(head, &at, &line)) {
		if (line.bit & HTTP1_BIT(HTTP1_TRANSFER_ENCODING))
			asked->chunked = true;
		if (http1_line_is_of_connection(&line) || (line.bit & HTTP1_BIT(HTTP1_HOST)))
			continue;
		if ((line.bit & HTTP1_BIT(HTTP1_TE)) && !str_case_eq(line.value, "trailers"))
			continue;
		if (line.bit & HTTP1_BIT(HTTP1_CONTENT_LENGTH))
			CHECK(str_to_u64(line.value, UINT64_MAX, &asked->length));
		p = hpack_encode(encoder, p, line.name, line.value, HPACK_USUAL);
	}
	asked->n = (size_t)(p - out);
}

/* -- answers --------------------------------------------------------------------------- */

/* What its name or value says by itself. */
static enum http2_reason
judge_field(enum http2_field_kind kind)
{
	switch (kind) {
	case HTTP2_FIELD_METHOD:	/* of a request */
	case HTTP2_FIELD_SCHEME:
	case HTTP2_FIELD_AUTHORITY:
	case HTTP2_FIELD_PATH:
	case HTTP2_FIELD_PROTOCOL:
	case HTTP2_FIELD_PSEUDO:
		return HTTP2_PSEUDO_UNKNOWN;
	case HTTP2_FIELD_STATUS:
	case HTTP2_FIELD:
	case HTTP2_FIELD_HOST:
	case HTTP2_FIELD_COOKIE:
	case HTTP2_FIELD_LENGTH:
		return HTTP2_FINE;
	case HTTP2_FIELD_TE:
	case HTTP2_FIELD_CONNECTION:
		return HTTP2_CONNECTION_FIELD;
	case HTTP2_FIELD_NAME_EMPTY:
	case HTTP2_FIELD_NAME_UPPER:
	case HTTP2_FIELD_NAME_BAD:
	case HTTP2_FIELD_VALUE_BAD:
	case HTTP2_FIELD_VALUE_SPACE:
		return http2_field_refusal(kind);
	case HTTP2_FIELD_KINDS:
		break;
	}
	CHECK(!"a kind of field");
	return HTTP2_NAME_BAD;
}

static enum http2_reason
read_status(struct http2_answer *a, struct str value)
{
	uint64_t status;

	if (value.n != 3 || !str_to_u64(value, 599, &status) || status < 100 || status == 101)
		return HTTP2_STATUS_BAD;
	a->status = (unsigned)status;
	return HTTP2_FINE;
}

static enum http2_reason
read_answer(const struct hpack_fields *fields, struct http2_answer *a)
{
	bool regular = false;

	for (uint32_t i = 0; i < fields->count; i++) {
		const struct hpack_field *field = &fields->fields[i];
		enum http2_field_kind kind = (enum http2_field_kind)field->kind;
		enum http2_reason reason = judge_field(kind);

		if (reason == HTTP2_FINE && kind == HTTP2_FIELD_STATUS)
			reason = regular        ? HTTP2_PSEUDO_LATE :
				 a->status != 0 ? HTTP2_PSEUDO_REPEATED :
						  read_status(a, hpack_value(fields, field));
		else
			regular = true;
		if (reason == HTTP2_FINE && kind == HTTP2_FIELD_LENGTH) {
			struct str value = hpack_value(fields, field);

			if (a->has_length)
				reason = HTTP2_LENGTH_REPEATED;
			else if (value.n > 19 || !str_to_u64(value, INT64_MAX, &a->length))
				reason = HTTP2_LENGTH_BAD;
			a->has_length = true;
		}
		if (reason != HTTP2_FINE)
			return reason;
	}
	return a->status != 0 ? HTTP2_FINE : HTTP2_STATUS_BAD;
}

/* HTTP/2 has none; where ours are not known none is said. */
static const char *
phrase_of(unsigned status)
{
	const char *phrase = http1_error_phrase(status);

	return strcmp(phrase, "Error") != 0 ? phrase : "";
}

enum http2_reason
http2_answer_write(const struct hpack_fields *fields, struct http2_answer *a, char *out, size_t room)
{
	enum http2_reason reason = read_answer(fields, a);
	char *p;

	if (reason != HTTP2_FINE)
		return reason;
	if (a->status < 200 && a->end_stream)
		return HTTP2_STATUS_BAD;
	a->bodyless = a->head_request || a->status < 200 || a->status == 204 || a->status == 304;
	if (a->end_stream && !a->bodyless && a->has_length && a->length > 0)
		return HTTP2_LENGTH_DIFFERS;
	if (room < fields->used + HTTP2_ANSWER_EXTRA)
		return HTTP2_FIELDS_LARGE;
	a->chunked = !a->bodyless && (!a->has_length || (a->trailers && !a->end_stream));
	p = out + snprintf(out, room, "HTTP/1.1 %u %s\r\n", a->status, phrase_of(a->status));
	for (uint32_t i = 0; i < fields->count; i++) {
		const struct hpack_field *field = &fields->fields[i];
		size_t n = hpack_line_n(field->name_n, field->value_n);

		if (field->kind == HTTP2_FIELD_STATUS || (field->kind == HTTP2_FIELD_LENGTH && a->chunked))
			continue;
		memcpy(p, fields->text + field->at, n);
		p += n;
	}
	p += snprintf(p, room - (size_t)(p - out), "%s\r\n",
		      a->chunked ? "Transfer-Encoding: chunked\r\n" : "");
	a->n = (size_t)(p - out);
	return HTTP2_FINE;
}

enum http2_reason
http2_answer_trailers(const struct hpack_fields *fields, bool end_stream, char *out, size_t room, size_t *n)
{
	*n = 0;
	if (!end_stream)
		return HTTP2_TRAILER_OPEN;
	for (uint32_t i = 0; i < fields->count; i++) {
		enum http2_field_kind kind = (enum http2_field_kind)fields->fields[i].kind;
		enum http2_reason reason = judge_field(kind);

		if (kind == HTTP2_FIELD_STATUS || reason == HTTP2_PSEUDO_UNKNOWN)
			return HTTP2_PSEUDO_TRAILER;
		if (reason != HTTP2_FINE)
			return reason;
	}
	if (room < fields->used)
		return HTTP2_FIELDS_LARGE;
	memcpy(out, fields->text, fields->used);
	*n = fields->used;
	return HTTP2_FINE;
}
