/* http2_field.h - what a field means to HTTP/2 (RFC 9113 section 8.2), told once for each name and value:
 * an entry of a dynamic table keeps the answer.  Pure; any thread. */
#ifndef PROTO_HTTP2_FIELD_H
#define PROTO_HTTP2_FIELD_H

#include "base/str.h"
#include "proto/http2_reason.h"

enum http2_field_kind {
	HTTP2_FIELD,	/* any other, well-formed: name and value go on as they are */
	HTTP2_FIELD_METHOD,	/* ":method" … */
	HTTP2_FIELD_SCHEME,
	HTTP2_FIELD_AUTHORITY,
	HTTP2_FIELD_PATH,
	HTTP2_FIELD_PROTOCOL,
	HTTP2_FIELD_STATUS,
	HTTP2_FIELD_PSEUDO,	/* an unknown pseudo-field */
	HTTP2_FIELD_HOST,
	HTTP2_FIELD_COOKIE,
	HTTP2_FIELD_LENGTH,	/* content-length */
	HTTP2_FIELD_TE,
	/* of an HTTP/1 connection: connection, keep-alive, proxy-connection, transfer-encoding, upgrade */
	HTTP2_FIELD_CONNECTION,
	/* malformed names */
	HTTP2_FIELD_NAME_EMPTY,
	HTTP2_FIELD_NAME_UPPER,
	HTTP2_FIELD_NAME_BAD,
	/* malformed values, whatever the name */
	HTTP2_FIELD_VALUE_BAD,	/* a control character; CR, LF and NUL among them */
	HTTP2_FIELD_VALUE_SPACE,	/* begins or ends with white space */
	HTTP2_FIELD_KINDS,
};

/* Of any bytes. */
enum http2_field_kind http2_name_kind(struct str name);
/* `kind`, that of its name, unless the value is malformed. */
enum http2_field_kind http2_value_kind(enum http2_field_kind kind, struct str value);
/* Why no message, neither a request nor a response, may have a field of that kind; HTTP2_FINE: one of them may. */
enum http2_reason http2_field_refusal(enum http2_field_kind kind);

#endif
