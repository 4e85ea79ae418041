/* http2_field.c - names and values of fields, judged.  Pure; any thread. */
#include "base/check.h"
#include "proto/http1_machine.h"
#include "proto/http2_field.h"

static enum http2_field_kind
pseudo_kind(struct str name)
{
	static const struct {
		const char *name;
		enum http2_field_kind kind;
	} known[] = {
		{ ":method", HTTP2_FIELD_METHOD }, { ":path", HTTP2_FIELD_PATH },
		{ ":scheme", HTTP2_FIELD_SCHEME }, { ":authority", HTTP2_FIELD_AUTHORITY },
		{ ":status", HTTP2_FIELD_STATUS }, { ":protocol", HTTP2_FIELD_PROTOCOL },
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (str_eq(name, known[i].name))
			return known[i].kind;
	return HTTP2_FIELD_PSEUDO;
}

static enum http2_field_kind
known_kind(struct str name)
{
	enum http1_name alias;

	switch (http1_name_of(name.p, name.n, &alias)) {
	case HTTP1_HOST:
		return HTTP2_FIELD_HOST;
	case HTTP1_COOKIE:
		return HTTP2_FIELD_COOKIE;
	case HTTP1_CONTENT_LENGTH:
		return HTTP2_FIELD_LENGTH;
	case HTTP1_TE:
		return HTTP2_FIELD_TE;
	case HTTP1_CONNECTION:
	case HTTP1_KEEP_ALIVE:
	case HTTP1_PROXY_CONNECTION:
	case HTTP1_TRANSFER_ENCODING:
	case HTTP1_UPGRADE:
		return HTTP2_FIELD_CONNECTION;
	default:
		return HTTP2_FIELD;
	}
}

enum http2_field_kind
http2_name_kind(struct str name)
{
	bool upper = false;

	if (name.n == 0)
		return HTTP2_FIELD_NAME_EMPTY;
	if (name.p[0] == ':')
		return pseudo_kind(name);
	for (size_t i = 0; i < name.n; i++) {
		unsigned char c = (unsigned char)name.p[i];

		if (!(http1_class[c] & C_TOKEN))
			return HTTP2_FIELD_NAME_BAD;
		upper |= c >= 'A' && c <= 'Z';
	}
	return upper ? HTTP2_FIELD_NAME_UPPER : known_kind(name);
}

#define EACH UINT64_C(0x0101010101010101)

/* Eight bytes at once: the top bit of each that may be a control.  Tab and what follows a control may be
 * among them by mistake, never the other way round. */
static uint64_t
maybe_controls(uint64_t v)
{
	uint64_t del = v ^ EACH * 0x7f;

	return ((v - EACH * 0x20) | (del - EACH)) & ~v & EACH * 0x80;
}

static bool
has_control(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!(http1_class[(unsigned char)p[i]] & C_VALUE))
			return true;
	return false;
}

static bool
is_space_or_tab(char c)
{
	return c == ' ' || c == '\t';
}

enum http2_field_kind
http2_value_kind(enum http2_field_kind kind, struct str value)
{
	size_t i = 0;

	if (value.n == 0)
		return kind;
	for (; value.n - i >= 8; i += 8)
		if (maybe_controls(http1_load8(value.p + i)) && has_control(value.p + i, 8))
			return HTTP2_FIELD_VALUE_BAD;
	if (has_control(value.p + i, value.n - i))
		return HTTP2_FIELD_VALUE_BAD;
	return is_space_or_tab(value.p[0]) || is_space_or_tab(value.p[value.n - 1]) ?
		       HTTP2_FIELD_VALUE_SPACE :
		       kind;
}

enum http2_reason
http2_field_refusal(enum http2_field_kind kind)
{
	switch (kind) {
	case HTTP2_FIELD_CONNECTION:
		return HTTP2_CONNECTION_FIELD;
	case HTTP2_FIELD_NAME_EMPTY:
		return HTTP2_NAME_EMPTY;
	case HTTP2_FIELD_NAME_UPPER:
		return HTTP2_NAME_UPPER;
	case HTTP2_FIELD_NAME_BAD:
		return HTTP2_NAME_BAD;
	case HTTP2_FIELD_VALUE_BAD:
		return HTTP2_VALUE_BAD;
	case HTTP2_FIELD_VALUE_SPACE:
		return HTTP2_VALUE_SPACE;
	default:
		return HTTP2_FINE;
	}
}
