/* http1_head.c - what surrounds the machine that reads heads: its beginning,
 * its verdicts, and what users ask of a head.  Pure; any thread. */
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/utf8.h"
#include "proto/http1_machine.h"

#define L (C_TOKEN | C_TARGET | C_VALUE | C_HOST)	/* letters, digits and their like */
#define T (C_TOKEN | C_TARGET | C_VALUE)
#define H (C_TARGET | C_VALUE | C_HOST)
#define V (C_TARGET | C_VALUE)
#define O C_VALUE
const unsigned char http1_class[256] = {
	['\t'] = O, [' '] = O, ['!'] = L, ['"'] = V, ['#'] = C_TOKEN | O, ['$'] = L, ['%'] = T, ['&'] = L,
	['\''] = L, ['('] = H, [')'] = H, ['*'] = L, ['+'] = L, [','] = H, ['-'] = L, ['.'] = L, ['/'] = V,
	['0' ... '9'] = L, [':'] = V, [';'] = H, ['<'] = V, ['='] = H, ['>'] = V,
	['?'] = V, ['@'] = V,
	['A' ... 'Z'] = L,
	['['] = V, ['\\'] = V, [']'] = V, ['^'] = T, ['_'] = L, ['`'] = T,
	['a' ... 'z'] = L,
	['{'] = V, ['|'] = T, ['}'] = V, ['~'] = L,
	[0x80 ... 0xff] = O,
};
#undef L
#undef T
#undef H
#undef V
#undef O

static http1_parse_fn *parse = http1_parse_plain;

bool
http1_head_is_blank(const struct http1_head *h)
{
	return h->verdict == HTTP1_NEED_MORE && h->state == S_START;
}

bool
http1_is_utf8(const char *p, size_t n)
{
	uint32_t point;
	size_t used;

	for (size_t i = 0; i < n; i += used)
		if ((used = utf8_next(p + i, n - i, &point)) == 0 || utf8_is_control(point))
			return false;
	return true;
}

bool
http1_is_token(char c)
{
	return (http1_class[(unsigned char)c] & C_TOKEN) != 0;
}

void
http1_head_init(struct http1_head *h, size_t limit)
{
	CHECK(limit > 0 && limit <= (size_t)1 << 30);
	/* The headers are filled before they are counted: leave 5 KiB alone. */
	memset(h, 0, offsetof(struct http1_head, first));
	h->limits = (struct http1_limits){
		.head = (uint32_t)limit,
		.target = (uint32_t)limit,
		.headers = HTTP1_HEADERS_DEFAULT,
	};
}

void
http1_head_init_response(struct http1_head *h, size_t limit)
{
	http1_head_init(h, limit);
	h->response = true;
	h->state = S_STATUS_VERSION;
}

void
http1_head_limit(struct http1_head *h, const struct http1_limits *limits)
{
	CHECK(h->at == 0 && limits->head > 0 && limits->head <= (uint32_t)1 << 30 && limits->target > 0 &&
	      limits->headers <= HTTP1_HEADERS_MAX);
	h->limits = *limits;
}

bool
http1_bad(struct http1_head *h, enum http1_reason reason)
{
	h->reason = reason;
	h->verdict = HTTP1_BAD;
	return false;
}

/* Why a byte cannot stand where it does: the controls have names of their
 * own, for everything else it depends on the place. */
bool
http1_bad_byte(struct http1_head *h, unsigned char c, enum http1_reason otherwise)
{
	if (c == '\0')
		return http1_bad(h, HTTP1_NUL);
	if (c == '\n')
		return http1_bad(h, HTTP1_BARE_LF);
	return http1_bad(h, otherwise);
}

static bool
is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_ascii_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* scheme "://" and something behind it. */
static bool
is_absolute(struct str t)
{
	size_t i = 0;

	while (i < t.n && (is_alpha(t.p[i]) || (i > 0 && (is_ascii_digit(t.p[i]) || t.p[i] == '+' ||
							  t.p[i] == '-' || t.p[i] == '.'))))
		i++;
	return i > 0 && t.n - i > 3 && memcmp(t.p + i, "://", 3) == 0 && t.p[i + 3] != '/' &&
	       t.p[i + 3] != '?';
}

/* host ":" port */
static bool
is_authority(struct str t)
{
	size_t colon = t.n;
	uint64_t port;

	while (colon > 0 && t.p[colon - 1] != ':')
		colon--;
	if (colon < 2 || !str_to_u64((struct str){ t.p + colon, t.n - colon }, 65535, &port))
		return false;
	for (size_t i = 0; i < colon - 1; i++)
		if (t.p[i] == '/' || t.p[i] == '?' || t.p[i] == '@' || (t.p[i] == ':' && t.p[0] != '['))
			return false;
	return t.p[0] != '[' || t.p[colon - 2] == ']';
}

static enum http1_verb
method_of(struct str m)
{
	switch (m.n) {
	case 3:
		return memcmp(m.p, "GET", 3) == 0 ? HTTP1_GET :
		       memcmp(m.p, "PUT", 3) == 0 ? HTTP1_PUT :
						    HTTP1_EXTENSION;
	case 4:
		return memcmp(m.p, "POST", 4) == 0 ? HTTP1_POST :
		       memcmp(m.p, "HEAD", 4) == 0 ? HTTP1_HEAD :
						     HTTP1_EXTENSION;
	case 5:
		return memcmp(m.p, "PATCH", 5) == 0 ? HTTP1_PATCH :
		       memcmp(m.p, "TRACE", 5) == 0 ? HTTP1_TRACE :
						      HTTP1_EXTENSION;
	case 6:
		return memcmp(m.p, "DELETE", 6) == 0 ? HTTP1_DELETE : HTTP1_EXTENSION;
	case 7:
		if (memcmp(m.p, "OPTIONS", 7) == 0)
			return HTTP1_OPTIONS;
		return memcmp(m.p, "CONNECT", 7) == 0 ? HTTP1_CONNECT : HTTP1_EXTENSION;
	default:
		return HTTP1_EXTENSION;
	}
}

/* CONNECT takes an authority and nothing else does; "*" is for OPTIONS.
 * Asked once the version is known: "PRI * HTTP/2.0" deserves 505. */
bool
http1_judge_target(struct http1_head *h)
{
	struct str target = http1_text(h, h->target);

	h->verb = method_of(http1_text(h, h->method));
	if (h->verb == HTTP1_CONNECT) {
		h->form = HTTP1_AUTHORITY;
		return is_authority(target) || http1_bad(h, HTTP1_TARGET_FORM);
	}
	if (target.p[0] == '/') {
		h->form = HTTP1_ORIGIN;
		return true;
	}
	if (str_eq(target, "*")) {
		h->form = HTTP1_ASTERISK;
		return h->verb == HTTP1_OPTIONS || http1_bad(h, HTTP1_TARGET_FORM);
	}
	h->form = HTTP1_ABSOLUTE;
	return is_absolute(target) || http1_bad(h, HTTP1_TARGET_FORM);
}

/* Fields that a Connection field cannot remove: those that frame, route,
 * authenticate or describe the client.  Otherwise any client could have them
 * dropped. */
static bool
is_protected(struct str name)
{
	static const char *const words[] = {
		"accept-encoding", "access-control-request-method", "cache-control", "cf-connecting-ip",
		"content-encoding", "content-range", "if-match", "if-modified-since", "if-none-match",
		"if-range", "if-unmodified-since", "location", "origin", "pragma", "range", "referer",
		"set-cookie", "true-client-ip", "www-authenticate", "x-real-ip",
	};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (str_case_eq(name, words[i]))
			return true;
	return false;
}

#define PROTECTED \
	(HTTP1_BIT(HTTP1_CONTENT_LENGTH) | HTTP1_BIT(HTTP1_TRANSFER_ENCODING) | HTTP1_BIT(HTTP1_HOST) | \
	 HTTP1_BIT(HTTP1_EXPECT) | HTTP1_BIT(HTTP1_TRAILER) | HTTP1_BIT(HTTP1_PROXY_AUTHENTICATE) | \
	 HTTP1_BIT(HTTP1_PROXY_AUTHORIZATION) | HTTP1_BIT(HTTP1_X_FORWARDED_FOR) | \
	 HTTP1_BIT(HTTP1_X_FORWARDED_PROTO) | HTTP1_BIT(HTTP1_X_FORWARDED_HOST) | \
	 HTTP1_BIT(HTTP1_X_FORWARDED_PORT) | HTTP1_BIT(HTTP1_X_FORWARDED_OTHER) | \
	 HTTP1_BIT(HTTP1_X_REAL_IP) | HTTP1_BIT(HTTP1_FORWARDED) | HTTP1_BIT(HTTP1_X_REQUEST_ID) | \
	 HTTP1_BIT(HTTP1_VIA) | HTTP1_BIT(HTTP1_ACCEPT) | HTTP1_BIT(HTTP1_USER_AGENT) | \
	 HTTP1_BIT(HTTP1_DATE) | HTTP1_BIT(HTTP1_SERVER) | HTTP1_BIT(HTTP1_MAX_FORWARDS) | \
	 HTTP1_BIT(HTTP1_AUTHORIZATION) | HTTP1_BIT(HTTP1_COOKIE) | HTTP1_BIT(HTTP1_CONTENT_TYPE))

/* Marks the headers with the name that Connection holds. */
static void
mark_named(struct http1_head *h, struct str name)
{
	for (unsigned i = 0; i < h->header_count; i++) {
		struct http1_header *header = &h->headers[i];

		if (header->name.n != name.n ||
		    (PROTECTED & (HTTP1_BIT(header->id) | HTTP1_BIT(header->alias))) ||
		    strncasecmp(h->base + header->name.at, name.p, name.n) != 0 || is_protected(name))
			continue;
		header->flags |= HTTP1_HOP;
		h->connection |= HTTP1_C_NAMED;
	}
}

/* The next element of a comma-separated list (RFC 9110 section 5.6.1), white
 * space taken off; empty ones are passed over.  false: there is none. */
static bool
next_element(struct str list, size_t *at, struct str *element)
{
	while (*at < list.n) {
		size_t from = *at, to, comma;

		while (from < list.n && (list.p[from] == ' ' || list.p[from] == '\t'))
			from++;
		for (comma = from; comma < list.n && list.p[comma] != ','; comma++)
			continue;
		for (to = comma; to > from && (list.p[to - 1] == ' ' || list.p[to - 1] == '\t'); to--)
			continue;
		*at = comma + 1;
		if (to > from) {
			*element = (struct str){ list.p + from, to - from };
			return true;
		}
	}
	return false;
}

/* RFC 9110 section 7.6.1.  Once per message, so that an edit only has to look at
 * bits. */
static bool
read_connection(struct http1_head *h)
{
	unsigned named = 0;
	struct str value, option;
	size_t at;

	for (unsigned i = h->first[HTTP1_CONNECTION]; i < h->header_count; i++) {
		if (h->headers[i].id != HTTP1_CONNECTION)
			continue;
		value = http1_text(h, h->headers[i].value);
		for (at = 0; next_element(value, &at, &option);) {
			if (str_case_eq(option, "close"))
				h->connection |= HTTP1_C_CLOSE;
			else if (str_case_eq(option, "keep-alive"))
				h->connection |= HTTP1_C_KEEP_ALIVE;
			else if (str_case_eq(option, "upgrade"))
				h->connection |= HTTP1_C_UPGRADE;
			else if (str_case_eq(option, "te"))
				continue;	/* goes in any case */
			else if (named++ == HTTP1_NAMED_MAX)
				return http1_bad(h, HTTP1_NAMED_MANY);
			else
				mark_named(h, option);
		}
	}
	return true;
}

bool
http1_finish(struct http1_head *h)
{
	if (http1_head_has(h, HTTP1_CONNECTION) && !read_connection(h))
		return false;
	h->length = h->at;
	h->verdict = HTTP1_DONE;
	return false;
}

enum http1_verdict
http1_head_parse(struct http1_head *h, const char *p, size_t n)
{
	/* What lies beyond the limit is not looked at: where the head becomes
	 * too long must not depend on how much was read along with it. */
	size_t end = n < h->limits.head ? n : h->limits.head;

	CHECK(h->verdict != HTTP1_NEED_MORE || n >= h->at);
	h->base = p;
	if (h->verdict != HTTP1_NEED_MORE)
		return h->verdict;
	if (h->at < end)
		parse(h, p, end);
	if (h->verdict == HTTP1_NEED_MORE && h->at == h->limits.head)
		http1_bad(h, h->state <= S_FIRST_LF ? HTTP1_LINE_LONG : HTTP1_HEAD_LONG);
	return h->verdict;
}

unsigned
http1_head_find(const struct http1_head *h, const char *name, struct str *value)
{
	unsigned n = 0;

	for (unsigned i = 0; i < h->header_count; i++) {
		if (!str_case_eq(http1_text(h, h->headers[i].name), name))
			continue;
		if (n++ == 0 && value != NULL)
			*value = http1_text(h, h->headers[i].value);
	}
	return n;
}

bool
http1_head_has_token(const struct http1_head *h, const char *name, const char *token)
{
	struct str element;

	for (unsigned i = 0; i < h->header_count; i++) {
		if (!str_case_eq(http1_text(h, h->headers[i].name), name))
			continue;
		for (size_t at = 0; next_element(http1_text(h, h->headers[i].value), &at, &element);)
			if (str_case_eq(element, token))
				return true;
	}
	return false;
}

bool
http1_head_keep_alive(const struct http1_head *h)
{
	if (h->connection & HTTP1_C_CLOSE)
		return false;
	return h->minor == 1 || (h->connection & HTTP1_C_KEEP_ALIVE) != 0;
}

bool
http1_head_upgrades(const struct http1_head *h)
{
	return h->minor == 1 && (h->connection & HTTP1_C_UPGRADE) && http1_head_has(h, HTTP1_UPGRADE) &&
	       (!h->response || h->status == 101);
}

static bool
is_in_list(struct str list, struct str name)
{
	struct str element;

	for (size_t at = 0; next_element(list, &at, &element);)
		if (element.n == name.n && strncasecmp(element.p, name.p, name.n) == 0)
			return true;
	return false;
}

bool
http1_head_switches_to(const struct http1_head *h, struct str asked)
{
	struct str element;
	bool any = false;

	for (unsigned i = 0; i < h->header_count; i++) {
		if (h->headers[i].id != HTTP1_UPGRADE)
			continue;
		for (size_t at = 0; next_element(http1_text(h, h->headers[i].value), &at, &element);
		     any = true)
			if (!is_in_list(asked, element))
				return false;
	}
	return any;
}

bool
http1_head_idempotent(const struct http1_head *h)
{
	switch (h->verb) {
	case HTTP1_GET:
	case HTTP1_HEAD:
	case HTTP1_PUT:
	case HTTP1_DELETE:
	case HTTP1_OPTIONS:
	case HTTP1_TRACE:
		return true;
	case HTTP1_EXTENSION:
	case HTTP1_POST:
	case HTTP1_CONNECT:
	case HTTP1_PATCH:
		return false;
	}
	return false;
}

enum http1_expect
http1_head_expect(const struct http1_head *h)
{
	enum http1_expect expect = HTTP1_EXPECT_NONE;
	struct str element;

	if (!http1_head_has(h, HTTP1_EXPECT) || h->minor == 0)
		return HTTP1_EXPECT_NONE;
	for (unsigned i = h->first[HTTP1_EXPECT]; i < h->header_count; i++) {
		if (h->headers[i].id != HTTP1_EXPECT)
			continue;
		for (size_t at = 0; next_element(http1_text(h, h->headers[i].value), &at, &element);) {
			if (!str_case_eq(element, "100-continue"))
				return HTTP1_EXPECT_UNKNOWN;
			expect = HTTP1_EXPECT_CONTINUE;
		}
	}
	return expect;
}

/* The ways of scanning */

static bool
cpu_has(enum http1_path path)
{
	switch (path) {
	case HTTP1_PATH_PLAIN:
		return true;
#ifdef __x86_64__
	case HTTP1_PATH_SSE42:
		return __builtin_cpu_supports("sse4.2");
	case HTTP1_PATH_AVX2:
		return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi");
#else
	case HTTP1_PATH_SSE42:
	case HTTP1_PATH_AVX2:
		return false;
#endif
	}
	return false;
}

bool
http1_head_use(enum http1_path path)
{
	if (!cpu_has(path))
		return false;
	parse = http1_parse_plain;
#ifdef __x86_64__
	if (path == HTTP1_PATH_SSE42)
		parse = http1_parse_sse42;
	if (path == HTTP1_PATH_AVX2)
		parse = http1_parse_avx2;
#endif
	return true;
}

/* Before main(), when there is one thread. */
__attribute__((constructor)) static void
choose_path(void)
{
	for (int path = HTTP1_PATH_AVX2; !http1_head_use((enum http1_path)path); path--)
		continue;
}

/* In a list of challenges, or as the one scheme of credentials: what follows the
 * scheme's name is its business. */
static bool
names_binding_scheme(struct str value)
{
	static const char *const schemes[] = { "ntlm", "negotiate", "nego2", "kerberos" };
	struct str element;

	for (size_t at = 0; next_element(value, &at, &element);) {
		size_t n = 0;

		while (n < element.n && http1_is_token(element.p[n]))
			n++;
		for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
			if (str_case_eq((struct str){ element.p, n }, schemes[i]))
				return true;
	}
	return false;
}

bool
http1_head_binds(const struct http1_head *h)
{
	uint64_t asks = HTTP1_BIT(HTTP1_AUTHORIZATION) | HTTP1_BIT(HTTP1_PROXY_AUTHORIZATION);

	if (h->response ? h->status != 401 && h->status != 407 : !(h->seen & asks))
		return false;
	for (unsigned i = 0; i < h->header_count; i++) {
		const struct http1_header *header = &h->headers[i];
		bool says = h->response ?
				    header->id == HTTP1_PROXY_AUTHENTICATE ||
					    str_case_eq(http1_text(h, header->name), "www-authenticate") :
				    (asks & HTTP1_BIT(header->id)) != 0;

		if (says && names_binding_scheme(http1_text(h, header->value)))
			return true;
	}
	return false;
}
