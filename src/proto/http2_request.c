/* http2_request.c - the head of a request, from fields to HTTP/1.1.  Pure; any thread.
 * One pass reads, a second writes: lines that stay lie together and are copied together. */
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "proto/http1_body.h"
#include "proto/http1_host.h"
#include "proto/http1_machine.h"
#include "proto/http2_request.h"

/* Where a pseudo-field is told. */
#define PSEUDO(kind) ((kind)-HTTP2_FIELD_METHOD)
#define PSEUDOS (HTTP2_FIELD_STATUS - HTTP2_FIELD_METHOD)

/* What the fields say; text that is not there has p NULL. */
struct told {
	struct str pseudo[PSEUDOS];
	struct str host;
	unsigned cookies;
	unsigned apart;	/* lines that are not copied where they stand */
	bool regular;	/* one that is no pseudo-field has come */
};

static enum http2_reason
read_pseudo(struct told *t, enum http2_field_kind kind, struct str value)
{
	struct str *place = &t->pseudo[PSEUDO(kind)];

	if (t->regular)
		return HTTP2_PSEUDO_LATE;
	if (place->p != NULL)
		return HTTP2_PSEUDO_REPEATED;
	*place = value;
	t->apart++;
	return HTTP2_FINE;
}

static enum http2_reason
read_content_length(struct http2_request *r, struct str value)
{
	if (r->has_length)
		return HTTP2_LENGTH_REPEATED;
	r->has_length = true;
	if (value.n > 19 || !str_to_u64(value, INT64_MAX, &r->length))
		return HTTP2_LENGTH_BAD;
	return r->end_stream && r->length > 0 ? HTTP2_LENGTH_DIFFERS : HTTP2_FINE;
}

static enum http2_reason
read_field(struct told *t, struct http2_request *r, enum http2_field_kind kind, struct str value)
{
	switch (kind) {
	case HTTP2_FIELD_METHOD:
	case HTTP2_FIELD_SCHEME:
	case HTTP2_FIELD_AUTHORITY:
	case HTTP2_FIELD_PATH:
	case HTTP2_FIELD_PROTOCOL:
		return read_pseudo(t, kind, value);
	case HTTP2_FIELD_STATUS:	/* of a response */
	case HTTP2_FIELD_PSEUDO:
		return HTTP2_PSEUDO_UNKNOWN;
	case HTTP2_FIELD:
		break;
	case HTTP2_FIELD_HOST:
		if (t->host.p != NULL)
			return HTTP2_HOST_REPEATED;
		t->host = value;
		t->apart++;
		break;
	case HTTP2_FIELD_COOKIE:
		t->cookies++;
		t->apart++;
		break;
	case HTTP2_FIELD_LENGTH:
		t->regular = true;
		return read_content_length(r, value);
	case HTTP2_FIELD_TE:
		if (!str_case_eq(value, "trailers"))
			return HTTP2_TE_BAD;
		break;
	case HTTP2_FIELD_CONNECTION:
	case HTTP2_FIELD_NAME_EMPTY:
	case HTTP2_FIELD_NAME_UPPER:
	case HTTP2_FIELD_NAME_BAD:
	case HTTP2_FIELD_VALUE_BAD:
	case HTTP2_FIELD_VALUE_SPACE:
		return http2_field_refusal(kind);
	case HTTP2_FIELD_KINDS:
		CHECK(!"a kind of field");
	}
	t->regular = true;
	return HTTP2_FINE;
}

/* -- judging ------------------------------------------------------------------------- */

static bool
is_of_class(struct str s, unsigned char class, bool beyond_ascii)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (!(http1_class[c] & class) && !(beyond_ascii && c >= 0x80))
			return false;
	}
	return s.n > 0;
}

/* A name, a colon and a port. */
#define AUTHORITY_MAX (HTTP1_HOST_MAX + 6)

/* The authority that counts is t->pseudo's, or Host. */
static enum http2_reason
judge_authority(struct told *t, struct str scheme)
{
	struct str *authority = &t->pseudo[PSEUDO(HTTP2_FIELD_AUTHORITY)];
	struct http1_host a, b;
	uint16_t port = scheme.n == 5 ? 443 : scheme.n == 4 ? 80 : 0;

	if (authority->p == NULL)
		*authority = t->host;
	if (authority->p == NULL)
		return HTTP2_AUTHORITY_MISSING;
	if (authority->n > AUTHORITY_MAX || !is_of_class(*authority, C_TARGET, true) ||
	    memchr(authority->p, '@', authority->n) != NULL)
		return HTTP2_AUTHORITY_BAD;
	if (t->host.p == NULL || t->host.p == authority->p ||
	    (t->host.n == authority->n && memcmp(t->host.p, authority->p, t->host.n) == 0))
		return HTTP2_FINE;
	/* The same in another spelling? */
	if (http1_host_parse(*authority, &a) != HTTP1_FINE || http1_host_parse(t->host, &b) != HTTP1_FINE)
		return HTTP2_AUTHORITY_BAD;
	if (a.n != b.n || memcmp(a.name, b.name, a.n) != 0 ||
	    (a.port != 0 ? a.port : port) != (b.port != 0 ? b.port : port))
		return HTTP2_HOST_DIFFERS;
	return HTTP2_FINE;
}

/* CONNECT is without scheme and path, unless it asks for a protocol (RFC 8441 section 4). */
static enum http2_reason
judge_connect(struct told *t, struct http2_request *r)
{
	struct str protocol = t->pseudo[PSEUDO(HTTP2_FIELD_PROTOCOL)];

	/* What follows is no content, and HTTP/1.1 would take it for some. */
	if (r->has_length)
		return HTTP2_CONNECT_BAD;
	if (protocol.p == NULL) {
		if (t->pseudo[PSEUDO(HTTP2_FIELD_SCHEME)].p != NULL ||
		    t->pseudo[PSEUDO(HTTP2_FIELD_PATH)].p != NULL)
			return HTTP2_CONNECT_BAD;
		return judge_authority(t, STR(""));
	}
	if (!r->connect_protocol)
		return HTTP2_PROTOCOL_BAD;
	if (!str_case_eq(protocol, "websocket") || r->websocket_key == NULL)
		return HTTP2_PROTOCOL_UNKNOWN;
	r->websocket = true;
	return HTTP2_FINE;
}

static enum http2_reason
judge_request(struct told *t, struct http2_request *r)
{
	struct str method = t->pseudo[PSEUDO(HTTP2_FIELD_METHOD)],
		   scheme = t->pseudo[PSEUDO(HTTP2_FIELD_SCHEME)];
	struct str path = t->pseudo[PSEUDO(HTTP2_FIELD_PATH)];
	enum http2_reason reason;

	if (method.p == NULL)
		return HTTP2_METHOD_MISSING;
	if (!is_of_class(method, C_TOKEN, false))
		return HTTP2_METHOD_BAD;
	if (str_eq(method, "CONNECT")) {
		reason = judge_connect(t, r);
		if (reason != HTTP2_FINE || !r->websocket)
			return reason;
	} else if (t->pseudo[PSEUDO(HTTP2_FIELD_PROTOCOL)].p != NULL) {
		return HTTP2_PROTOCOL_BAD;
	}
	if (scheme.p == NULL)
		return HTTP2_SCHEME_MISSING;
	if (!str_case_eq(scheme, "https") && !str_case_eq(scheme, "http"))
		return HTTP2_SCHEME_BAD;
	if (path.n == 0)
		return HTTP2_PATH_MISSING;
	if ((path.p[0] != '/' && !(path.p[0] == '*' && path.n == 1)) || !is_of_class(path, C_TARGET, true))
		return HTTP2_PATH_BAD;
	return judge_authority(t, scheme);
}

/* -- writing -------------------------------------------------------------------------- */

static char *
add_text(char *out, struct str s)
{
	memcpy(out, s.p, s.n);
	return out + s.n;
}

static char *
add_request_line(char *out, const struct told *t, const struct http2_request *r)
{
	const struct str *pseudo = t->pseudo;
	struct str method = r->websocket ? STR("GET") : pseudo[PSEUDO(HTTP2_FIELD_METHOD)];
	struct str path = pseudo[PSEUDO(HTTP2_FIELD_PATH)], authority = pseudo[PSEUDO(HTTP2_FIELD_AUTHORITY)];

	out = add_text(out, method);
	*out++ = ' ';
	out = add_text(out, path.p != NULL ? path : authority);
	out = add_text(out, STR(" HTTP/1.1\r\nhost: "));
	out = add_text(out, authority);
	return add_text(out, STR("\r\n"));
}

/* Of HTTP/1.1's handshake, which this is not (RFC 8441 section 5.1). */
static bool
is_websocket_key(struct str name)
{
	return name.n == 17 && memcmp(name.p, "sec-websocket-key", 17) == 0;
}

static bool
stays(const struct hpack_fields *f, const struct hpack_field *field, bool websocket)
{
	switch ((enum http2_field_kind)field->kind) {
	case HTTP2_FIELD:
		return !websocket || !is_websocket_key(hpack_name(f, field));
	case HTTP2_FIELD_LENGTH:
	case HTTP2_FIELD_TE:
		return true;
	default:
		return false;
	}
}

static char *
add_fields(char *out, const struct hpack_fields *f, const struct told *t, bool websocket)
{
	size_t from = 0;

	if (t->apart == f->count)
		return out;
	for (uint32_t i = 0; i <= f->count; i++) {
		const struct hpack_field *field = &f->fields[i];
		size_t at = i < f->count ? field->at : f->used;

		if (i < f->count && stays(f, field, websocket))
			continue;
		out = add_text(out, (struct str){ f->text + from, at - from });
		if (i < f->count)
			from = at + hpack_line_n(field->name_n, field->value_n);
	}
	return out;
}

/* RFC 9113 section 8.2.3. */
static char *
add_cookies(char *out, const struct hpack_fields *f, unsigned left)
{
	if (left == 0)
		return out;
	out = add_text(out, STR("cookie: "));
	for (uint32_t i = 0; left > 0; i++) {
		const struct hpack_field *field = &f->fields[i];

		if (field->kind != HTTP2_FIELD_COOKIE)
			continue;
		out = add_text(out, hpack_value(f, field));
		if (--left > 0)
			out = add_text(out, STR("; "));
	}
	return add_text(out, STR("\r\n"));
}

/* A body without Content-Length is chunked; where methods are expected to have one, none is told as well, for
 * servers that ask for a length (RFC 9110 section 8.6). */
static char *
add_framing(char *out, const struct told *t, struct http2_request *r)
{
	struct str method = t->pseudo[PSEUDO(HTTP2_FIELD_METHOD)];

	if (r->websocket) {
		out = add_text(out, STR("connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: "));
		out = add_text(out, (struct str){ r->websocket_key, HTTP2_WEBSOCKET_KEY });
		return add_text(out, STR("\r\n"));
	}
	if (r->has_length || str_eq(method, "CONNECT"))
		return out;
	if (!r->end_stream) {
		r->chunked = true;
		return add_text(out, STR("transfer-encoding: chunked\r\n"));
	}
	if (str_eq(method, "POST") || str_eq(method, "PUT") || str_eq(method, "PATCH"))
		return add_text(out, STR("content-length: 0\r\n"));
	return out;
}

enum http2_reason
http2_request_write(const struct hpack_fields *fields, struct http2_request *r, char *out, size_t room)
{
	struct told t = { 0 };
	enum http2_reason reason;
	char *p = out;

	CHECK(fields->over == HTTP2_FINE);
	r->n = 0;
	r->length = 0;
	r->has_length = r->chunked = r->websocket = false;
	for (uint32_t i = 0; i < fields->count; i++) {
		const struct hpack_field *field = &fields->fields[i];

		reason = read_field(&t, r, (enum http2_field_kind)field->kind, hpack_value(fields, field));
		if (reason != HTTP2_FINE)
			return reason;
	}
	reason = judge_request(&t, r);
	if (reason != HTTP2_FINE)
		return reason;
	if (room < fields->used + HTTP2_REQUEST_EXTRA)
		return HTTP2_FIELDS_LARGE;
	p = add_request_line(p, &t, r);
	p = add_fields(p, fields, &t, r->websocket);
	p = add_cookies(p, fields, t.cookies);
	p = add_framing(p, &t, r);
	p = add_text(p, STR("\r\n"));
	r->n = (size_t)(p - out);
	return HTTP2_FINE;
}

/* -- trailers --------------------------------------------------------------------------- */

static enum http2_reason
judge_trailer(struct str name, enum http2_field_kind kind)
{
	struct told t = { 0 };
	struct http2_request r = { 0 };
	enum http2_reason reason;

	if (kind >= HTTP2_FIELD_METHOD && kind <= HTTP2_FIELD_PSEUDO)
		return HTTP2_PSEUDO_TRAILER;
	if (kind == HTTP2_FIELD || kind == HTTP2_FIELD_TE || kind == HTTP2_FIELD_LENGTH)
		return http1_trailer_is_forbidden(name) ? HTTP2_TRAILER_FORBIDDEN : HTTP2_FINE;
	reason = read_field(&t, &r, kind, STR(""));
	return reason != HTTP2_FINE ? reason : HTTP2_TRAILER_FORBIDDEN;
}

enum http2_reason
http2_trailers_write(const struct hpack_fields *fields, bool end_stream, char *out, size_t room, size_t *n)
{
	enum http2_reason reason;

	CHECK(fields->over == HTTP2_FINE);
	*n = 0;
	if (!end_stream)
		return HTTP2_TRAILER_OPEN;
	for (uint32_t i = 0; i < fields->count; i++) {
		const struct hpack_field *field = &fields->fields[i];

		reason = judge_trailer(hpack_name(fields, field), (enum http2_field_kind)field->kind);
		if (reason != HTTP2_FINE)
			return reason;
	}
	if (room < fields->used)
		return HTTP2_FIELDS_LARGE;
	memcpy(out, fields->text, fields->used);
	*n = fields->used;
	return HTTP2_FINE;
}
