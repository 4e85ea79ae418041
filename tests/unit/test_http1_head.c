/* test_http1_head.c - each head is parsed whole, at every cut, byte by byte,
 * and against a guard page; all must agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/check.h"
#include "proto/http1_head.h"
#include "guarded.h"

#define LIMIT 16384

static void
assert_same(const struct http1_head *a, const struct http1_head *b)
{
	if (a->verdict != b->verdict)
		fail_msg("verdicts %d and %d of %.*s", a->verdict, b->verdict, (int)b->at + 1, b->base);
	assert_int_equal(a->reason, b->reason);
	assert_int_equal(a->length, b->length);
	if (a->verdict != HTTP1_DONE)
		return;
	assert_memory_equal(&a->method, &b->method, sizeof(a->method));
	assert_memory_equal(&a->target, &b->target, sizeof(a->target));
	assert_int_equal(a->form, b->form);
	assert_int_equal(a->minor, b->minor);
	assert_int_equal(a->header_count, b->header_count);
	assert_int_equal(a->verb, b->verb);
	assert_int_equal(a->status, b->status);
	assert_int_equal(a->phrase.n, b->phrase.n);
	assert_true(a->phrase.n == 0 || a->phrase.at == b->phrase.at);
	assert_int_equal(a->connection, b->connection);
	assert_int_equal(a->odd, b->odd);
	assert_true(a->seen == b->seen && a->repeated == b->repeated && a->aliases == b->aliases);
	for (unsigned i = 0; i < a->header_count; i++) {
		assert_memory_equal(&a->headers[i].name, &b->headers[i].name, sizeof(struct http1_slice));
		assert_memory_equal(&a->headers[i].value, &b->headers[i].value, sizeof(struct http1_slice));
		assert_int_equal(a->headers[i].id, b->headers[i].id);
		assert_int_equal(a->headers[i].alias, b->headers[i].alias);
		assert_int_equal(a->headers[i].flags, b->headers[i].flags);
	}
	for (int id = 0; id < HTTP1_NAMES; id++)
		if (a->seen & HTTP1_BIT(id))
			assert_int_equal(a->first[id], b->first[id]);
}

static bool responses;	/* what the texts are */
static bool lenient;	/* and how they are read */

static void
start(struct http1_head *h, size_t limit)
{
	if (responses)
		http1_head_init_response(h, limit);
	else
		http1_head_init(h, limit);
	h->lenient = lenient;
}

/* Parses p[0..n) whole, in two calls and byte by byte; all is as in h. */
static void
parse_every_cut(const struct http1_head *h, const char *p, size_t n, size_t limit)
{
	struct http1_head other;

	for (size_t cut = 0; cut <= n; cut++) {
		/* Each part lies somewhere else, and ends at a guard page. */
		start(&other, limit);
		http1_head_parse(&other, guarded(p, cut), cut);
		if (h->verdict == HTTP1_DONE)
			assert_int_equal(other.verdict, cut < h->length ? HTTP1_NEED_MORE : HTTP1_DONE);
		http1_head_parse(&other, guarded(p, n), n);
		assert_same(h, &other);
	}
	start(&other, limit);
	for (size_t i = 0; i <= n; i++)
		http1_head_parse(&other, guarded(p, i), i);
	assert_same(h, &other);
	/* A verdict is final. */
	if (h->verdict != HTTP1_NEED_MORE)
		assert_int_equal(http1_head_parse(&other, p, n), h->verdict);
}

/* Parses p[0..n) in every way, and leaves the plain whole-at-once result in h. */
static enum http1_verdict
parse_all_ways(struct http1_head *h, const char *p, size_t n, size_t limit)
{
	http1_head_use(HTTP1_PATH_PLAIN);
	start(h, limit);
	http1_head_parse(h, p, n);
	for (int path = HTTP1_PATH_PLAIN; path <= HTTP1_PATH_AVX2; path++)
		if (http1_head_use((enum http1_path)path))
			parse_every_cut(h, p, n, limit);
	return h->verdict;
}

static void
assert_text(const struct http1_head *h, struct http1_slice s, const char *expected)
{
	struct str t = http1_text(h, s);

	if (!str_eq(t, expected))
		fail_msg("\"%.*s\" instead of \"%s\"", (int)t.n, t.p, expected);
}

/* Good heads */

static void
test_request_with_everything(void **state)
{
	static const char text[] = "POST /a/b?c=d&e=%20 HTTP/1.1\r\n"
				   "Host: shop.example:80\r\n"
				   "X-Empty:\r\n"
				   "X-Blank: \t \r\n"
				   "x-Padded: \t two  words\t \r\n"
				   "Tight:value\r\n"
				   "Latin: caf\xe9\r\n"
				   "!#$%&'*+-.^_`|~09azAZ: odd:but: fine\r\n"
				   "\r\nbody";
	struct http1_head h;

	(void)state;
	assert_int_equal(parse_all_ways(&h, text, sizeof(text) - 1, LIMIT), HTTP1_DONE);
	assert_int_equal(h.length, sizeof(text) - 1 - strlen("body"));
	assert_text(&h, h.method, "POST");
	assert_text(&h, h.target, "/a/b?c=d&e=%20");
	assert_int_equal(h.form, HTTP1_ORIGIN);
	assert_int_equal(h.minor, 1);
	assert_int_equal(h.header_count, 7);
	assert_text(&h, h.headers[0].name, "Host");
	assert_text(&h, h.headers[0].value, "shop.example:80");
	assert_text(&h, h.headers[1].value, "");
	assert_text(&h, h.headers[2].name, "X-Blank");
	assert_text(&h, h.headers[2].value, "");
	assert_text(&h, h.headers[3].name, "x-Padded");
	assert_text(&h, h.headers[3].value, "two  words");
	assert_text(&h, h.headers[4].value, "value");
	assert_text(&h, h.headers[5].value, "caf\xe9");
	assert_text(&h, h.headers[6].name, "!#$%&'*+-.^_`|~09azAZ");
	assert_text(&h, h.headers[6].value, "odd:but: fine");
}

static void
test_good_heads(void **state)
{
	static const struct {
		const char *text, *method, *target;
		enum http1_form form;
		unsigned minor, headers;
	} good[] = {
		{ "GET / HTTP/1.0\r\n\r\n", "GET", "/", HTTP1_ORIGIN, 0, 0 },
		{ "GET / HTTP/1.1\r\nA:b\r\n\r\n", "GET", "/", HTTP1_ORIGIN, 1, 1 },
		{ "\r\nGET / HTTP/1.1\r\n\r\n", "GET", "/", HTTP1_ORIGIN, 1, 0 },
		{ "\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n", "GET", "/", HTTP1_ORIGIN, 1, 0 },
		{ "get //x HTTP/1.1\r\n\r\n", "get", "//x", HTTP1_ORIGIN, 1, 0 },
		{ "M-SEARCH /|{}\"<>^\\`[] HTTP/1.1\r\n\r\n", "M-SEARCH", "/|{}\"<>^\\`[]", HTTP1_ORIGIN, 1,
		  0 },
		{ "OPTIONS * HTTP/1.1\r\n\r\n", "OPTIONS", "*", HTTP1_ASTERISK, 1, 0 },
		{ "CONNECT a.example:443 HTTP/1.1\r\n\r\n", "CONNECT", "a.example:443", HTTP1_AUTHORITY, 1,
		  0 },
		{ "CONNECT [::1]:443 HTTP/1.1\r\n\r\n", "CONNECT", "[::1]:443", HTTP1_AUTHORITY, 1, 0 },
		{ "GET http://a.example/x HTTP/1.1\r\n\r\n", "GET", "http://a.example/x", HTTP1_ABSOLUTE, 1,
		  0 },
		{ "GET h2+x-1.0://a HTTP/1.1\r\n\r\n", "GET", "h2+x-1.0://a", HTTP1_ABSOLUTE, 1, 0 },
		{ "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345 / HTTP/1.1\r\n\r\n", "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345",
		  "/", HTTP1_ORIGIN, 1, 0 },
		{ "GET / HTTP/1.1\r\nA: \x80\xff\r\nA: 2\r\n\r\nGET / HTTP/1.1\r\n\r\n", "GET", "/",
		  HTTP1_ORIGIN, 1, 2 },
	};
	struct http1_head h;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		if (parse_all_ways(&h, good[i].text, strlen(good[i].text), LIMIT) != HTTP1_DONE)
			fail_msg("%s: %s", good[i].text, http1_reason_words(h.reason));
		assert_text(&h, h.method, good[i].method);
		assert_text(&h, h.target, good[i].target);
		assert_int_equal(h.form, good[i].form);
		assert_int_equal(h.minor, good[i].minor);
		assert_int_equal(h.header_count, good[i].headers);
		assert_int_equal(h.reason, HTTP1_FINE);
	}
}

/* Bad heads */

#define BYTES(lit) lit, sizeof(lit) - 1

#define R "GET / HTTP/1.1\r\n"
static const struct {
	const char *text;
	size_t n;
	enum http1_reason reason;
	unsigned status;
} bad_heads[] = {
	/* the request line */
	{ BYTES("\n"), HTTP1_BARE_LF, 400 },
	{ BYTES("\r\n\r\n"), HTTP1_FINE, 0 },
	{ BYTES("\r\n\rG"), HTTP1_BARE_CR, 400 },
	{ BYTES("\r\n\n"), HTTP1_BARE_LF, 400 },
	{ BYTES("\r\n GET / HTTP/1.1\r\n"), HTTP1_METHOD_BAD, 400 },
	{ BYTES("\r\nG"), HTTP1_FINE, 0 },
	{ BYTES("\rG"), HTTP1_BARE_CR, 400 },
	{ BYTES(" GET / HTTP/1.1\r\n"), HTTP1_METHOD_BAD, 400 },
	{ BYTES("\0GET / HTTP/1.1\r\n"), HTTP1_NUL, 400 },
	{ BYTES("G\0T / HTTP/1.1\r\n"), HTTP1_NUL, 400 },
	{ BYTES("G(T / HTTP/1.1\r\n"), HTTP1_METHOD_BAD, 400 },
	{ BYTES("G\xc3\x89T / HTTP/1.1\r\n"), HTTP1_METHOD_BAD, 400 },
	{ BYTES("GET\t/ HTTP/1.1\r\n"), HTTP1_METHOD_BAD, 400 },
	{ BYTES("GET\r\n"), HTTP1_METHOD_BAD, 400 },
	{ BYTES("GET\n"), HTTP1_BARE_LF, 400 },
	{ BYTES("\x16\x03\x01\x02"), HTTP1_METHOD_BAD, 400 },	/* TLS on a plain port */
	{ BYTES("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456 / HTTP/1.1\r\n"), HTTP1_METHOD_LONG, 501 },
	{ BYTES("GET  / HTTP/1.1\r\n"), HTTP1_TARGET_BAD, 400 },
	{ BYTES("GET \r\n"), HTTP1_TARGET_BAD, 400 },
	{ BYTES("GET /\0 HTTP/1.1\r\n"), HTTP1_NUL, 400 },
	{ BYTES("GET /\t HTTP/1.1\r\n"), HTTP1_TARGET_BAD, 400 },
	{ BYTES("GET /\x7f HTTP/1.1\r\n"), HTTP1_TARGET_BAD, 400 },
	{ BYTES("GET /\xc3\xa9 HTTP/1.1\r\n"), HTTP1_TARGET_BAD, 400 },
	{ BYTES("GET /a#b HTTP/1.1\r\n"), HTTP1_TARGET_BAD, 400 },
	{ BYTES("GET /\r\n"), HTTP1_VERSION_BAD, 400 },
	{ BYTES("GET /\n"), HTTP1_BARE_LF, 400 },
	{ BYTES("GET x HTTP/1.1\r\n"), HTTP1_TARGET_FORM, 400 },
	{ BYTES("GET * HTTP/1.1\r\n"), HTTP1_TARGET_FORM, 400 },
	{ BYTES("GET a.example:80 HTTP/1.1\r\n"), HTTP1_TARGET_FORM, 400 },
	{ BYTES("GET http:// HTTP/1.1\r\n"), HTTP1_TARGET_FORM, 400 },
	{ BYTES("GET http:///x HTTP/1.1\r\n"), HTTP1_TARGET_FORM, 400 },
	{ BYTES("GET http:/x HTTP/1.1\r\n"), HTTP1_TARGET_FORM, 400 },
	{ BYTES("GET ://x HTTP/1.1\r\n"), HTTP1_TARGET_FORM, 400 },
	{ BYTES("GET 1x://x HTTP/1.1\r\n"), HTTP1_TARGET_FORM, 400 },
	{ BYTES("CONNECT / HTTP/1.1\r\n"), HTTP1_TARGET_FORM, 400 },
	{ BYTES("CONNECT a.example HTTP/1.1\r\n"), HTTP1_TARGET_FORM, 400 },
	{ BYTES("CONNECT :443 HTTP/1.1\r\n"), HTTP1_TARGET_FORM, 400 },
	{ BYTES("CONNECT a: HTTP/1.1\r\n"), HTTP1_TARGET_FORM, 400 },
	{ BYTES("CONNECT a:65536 HTTP/1.1\r\n"), HTTP1_TARGET_FORM, 400 },
	{ BYTES("CONNECT u@a:1 HTTP/1.1\r\n"), HTTP1_TARGET_FORM, 400 },
	{ BYTES("CONNECT ::1:443 HTTP/1.1\r\n"), HTTP1_TARGET_FORM, 400 },
	{ BYTES("CONNECT [::1:443 HTTP/1.1\r\n"), HTTP1_TARGET_FORM, 400 },
	/* the version */
	{ BYTES("GET / \r\n"), HTTP1_VERSION_BAD, 400 },
	{ BYTES("GET / http/1.1\r\n"), HTTP1_VERSION_BAD, 400 },
	{ BYTES("GET / HTTP/11\r\n"), HTTP1_VERSION_BAD, 400 },
	{ BYTES("GET / HTTP/1.\r\n"), HTTP1_VERSION_BAD, 400 },
	{ BYTES("GET / HTTP/1.10\r\n"), HTTP1_VERSION_BAD, 400 },
	{ BYTES("GET / HTTP/1.1 \r\n"), HTTP1_VERSION_BAD, 400 },
	{ BYTES("GET /  HTTP/1.1\r\n"), HTTP1_VERSION_BAD, 400 },
	{ BYTES("GET / HTTP/x.1\r\n"), HTTP1_VERSION_BAD, 400 },
	{ BYTES("GET / HTTP/\0.1\r\n"), HTTP1_NUL, 400 },
	{ BYTES("GET / HTTP/1.1\n"), HTTP1_BARE_LF, 400 },
	{ BYTES("GET / HTTP/1.1\rX"), HTTP1_BARE_CR, 400 },
	{ BYTES("GET / HTTP/1.2\r\n"), HTTP1_VERSION_UNKNOWN, 505 },
	{ BYTES("GET / HTTP/0.9\r\n"), HTTP1_VERSION_UNKNOWN, 505 },
	{ BYTES("GET / HTTP/2.0\r\n"), HTTP1_VERSION_UNKNOWN, 505 },
	{ BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), HTTP1_VERSION_UNKNOWN, 505 },
	/* header lines */
	{ BYTES(R "\n"), HTTP1_BARE_LF, 400 },
	{ BYTES(R "\rX"), HTTP1_BARE_CR, 400 },
	{ BYTES(R "\r\r\n"), HTTP1_BARE_CR, 400 },
	{ BYTES(R " A: b\r\n\r\n"), HTTP1_LEADING_SPACE, 400 },
	{ BYTES(R "\tA: b\r\n\r\n"), HTTP1_LEADING_SPACE, 400 },
	{ BYTES(R " \r\n\r\n"), HTTP1_LEADING_SPACE, 400 },
	{ BYTES(R "A: b\r\n c\r\n\r\n"), HTTP1_OBS_FOLD, 400 },
	{ BYTES(R "A: b\r\n\tc\r\n\r\n"), HTTP1_OBS_FOLD, 400 },
	{ BYTES(R "A: b\r\n \r\n\r\n"), HTTP1_OBS_FOLD, 400 },
	{ BYTES(R ": b\r\n\r\n"), HTTP1_NAME_EMPTY, 400 },
	{ BYTES(R "A : b\r\n\r\n"), HTTP1_NAME_SPACE, 400 },
	{ BYTES(R "A\t: b\r\n\r\n"), HTTP1_NAME_SPACE, 400 },
	{ BYTES(R "A b: c\r\n\r\n"), HTTP1_NAME_SPACE, 400 },
	{ BYTES(R "A\r\n\r\n"), HTTP1_COLON_MISSING, 400 },
	{ BYTES(R "A\n\r\n"), HTTP1_BARE_LF, 400 },
	{ BYTES(R "A\0: b\r\n\r\n"), HTTP1_NUL, 400 },
	{ BYTES(R "\0: b\r\n\r\n"), HTTP1_NUL, 400 },
	{ BYTES(R "(: b\r\n\r\n"), HTTP1_NAME_BAD, 400 },
	{ BYTES(R "A(: b\r\n\r\n"), HTTP1_NAME_BAD, 400 },
	{ BYTES(R "A\x80: b\r\n\r\n"), HTTP1_NAME_BAD, 400 },
	{ BYTES(R "A\x7f: b\r\n\r\n"), HTTP1_NAME_BAD, 400 },
	{ BYTES(R "A: b\0c\r\n\r\n"), HTTP1_NUL, 400 },
	{ BYTES(R "A: b\nB: c\r\n\r\n"), HTTP1_BARE_LF, 400 },
	{ BYTES(R "A: b\n\r\n"), HTTP1_BARE_LF, 400 },
	{ BYTES(R "A: b\rB: c\r\n\r\n"), HTTP1_BARE_CR, 400 },
	{ BYTES(R "A: b\r\r\n\r\n"), HTTP1_BARE_CR, 400 },
	{ BYTES(R "A: b\x01\r\n\r\n"), HTTP1_VALUE_BAD, 400 },
	{ BYTES(R "A: b\x7f\r\n\r\n"), HTTP1_VALUE_BAD, 400 },
	{ BYTES(R "A:\x0b\r\n\r\n"), HTTP1_VALUE_BAD, 400 },
};
#undef R

static void
test_bad_heads(void **state)
{
	struct http1_head h;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad_heads); i++) {
		enum http1_verdict v = parse_all_ways(&h, bad_heads[i].text, bad_heads[i].n, LIMIT);

		if (bad_heads[i].reason == HTTP1_FINE) {
			assert_int_equal(v, HTTP1_NEED_MORE);
			continue;
		}
		if (v != HTTP1_BAD || h.reason != bad_heads[i].reason)
			fail_msg("row %zu, \"%s\": verdict %d, %s", i, bad_heads[i].text, v,
				 http1_reason_words(h.reason));
		assert_int_equal(http1_reason_status(h.reason), bad_heads[i].status);
	}
}

static void
test_every_byte_in_every_place(void **state)
{
	static const char token[] = "!#$%&'*+-.^_`|~0123456789"
				    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	struct http1_head h;
	char text[64];
	int n;

	(void)state;
	for (int c = 0; c < 256; c++) {
		bool is_token = c != 0 && strchr(token, c) != NULL;

		n = snprintf(text, sizeof(text), "G%cT / HTTP/1.1\r\n\r\n", c);
		http1_head_init(&h, LIMIT);
		/* "G T / HTTP/1.1" is the method G and the target T */
		assert_int_equal(http1_head_parse(&h, text, (size_t)n), is_token ? HTTP1_DONE : HTTP1_BAD);

		n = snprintf(text, sizeof(text), "GET /%c HTTP/1.1\r\n\r\n", c);
		http1_head_init(&h, LIMIT);
		assert_int_equal(http1_head_parse(&h, text, (size_t)n),
				 c > ' ' && c < 0x7f && c != '#' ? HTTP1_DONE : HTTP1_BAD);

		n = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nA%c: x\r\n\r\n", c);
		http1_head_init(&h, LIMIT);
		/* "A:: x" is the name A and the value ": x" */
		assert_int_equal(http1_head_parse(&h, text, (size_t)n),
				 is_token || c == ':' ? HTTP1_DONE : HTTP1_BAD);

		n = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nA: x%cx\r\n\r\n", c);
		http1_head_init(&h, LIMIT);
		assert_int_equal(http1_head_parse(&h, text, (size_t)n),
				 (c >= ' ' && c != 0x7f) || c == '\t' ? HTTP1_DONE : HTTP1_BAD);
	}
}

/* The same deep within long pieces, where whole vectors are looked at. */
static void
test_every_byte_in_long_pieces(void **state)
{
	static const char token[] = "!#$%&'*+-.^_`|~0123456789"
				    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	char text[512], pad[72];
	struct http1_head h;

	(void)state;
	memset(pad, 'p', sizeof(pad));
	for (int path = HTTP1_PATH_PLAIN; path <= HTTP1_PATH_AVX2; path++) {
		if (!http1_head_use((enum http1_path)path))
			continue;
		for (int i = 0; i < 256 * 70; i++) {
			int c = i & 255, at = i >> 8;
			bool is_token = c != 0 && strchr(token, c) != NULL;
			int n = snprintf(text, sizeof(text), "GET /%.70s HTTP/1.1\r\n%.70s: %.70s\r\n\r\n",
					 pad, pad, pad);
			char *target = text + 5 + at, *name = text + 86 + at, *value = text + 158 + at;

			assert_true(*target == 'p' && *name == 'p' && *value == 'p');
			*target = (char)c;
			http1_head_init(&h, LIMIT);
			assert_int_equal(http1_head_parse(&h, text, (size_t)n),
					 c > ' ' && c < 0x7f && c != '#' ? HTTP1_DONE : HTTP1_BAD);
			*target = 'p';
			*name = (char)c;
			http1_head_init(&h, LIMIT);
			assert_int_equal(http1_head_parse(&h, text, (size_t)n),
					 is_token || (c == ':' && at > 0) ? HTTP1_DONE : HTTP1_BAD);
			*name = 'p';
			*value = (char)c;
			http1_head_init(&h, LIMIT);
			assert_int_equal(http1_head_parse(&h, text, (size_t)n),
					 (c >= ' ' && c != 0x7f) || c == '\t' ? HTTP1_DONE : HTTP1_BAD);
		}
	}
}

/* Limits */

static void
test_length_limit_is_exact(void **state)
{
	static const char text[] = "GET / HTTP/1.1\r\nA: b\r\n\r\nbody";
	size_t head = sizeof(text) - 1 - strlen("body"), line = strlen("GET / HTTP/1.1\r\n");
	struct http1_head h;

	(void)state;
	for (size_t limit = 1; limit < sizeof(text) + 3; limit++) {
		parse_all_ways(&h, text, sizeof(text) - 1, limit);
		if (limit >= head) {
			assert_int_equal(h.verdict, HTTP1_DONE);
			assert_int_equal(h.length, head);
		} else {
			assert_int_equal(h.verdict, HTTP1_BAD);
			assert_int_equal(http1_reason_status(h.reason), limit < line ? 414 : 431);
		}
	}
}

static void
test_long_target_and_long_header(void **state)
{
	char *text = malloc(2 * LIMIT);
	struct http1_head h;
	size_t n;

	(void)state;
	assert_non_null(text);
	memset(text, 'a', 2 * LIMIT);
	memcpy(text, "GET /", 5);
	http1_head_init(&h, LIMIT);
	assert_int_equal(http1_head_parse(&h, text, LIMIT - 1), HTTP1_NEED_MORE);
	assert_int_equal(http1_head_parse(&h, text, LIMIT), HTTP1_BAD);
	assert_int_equal(http1_reason_status(h.reason), 414);

	n = strlen(strcpy(text, "GET / HTTP/1.1\r\n"));
	memset(text + n, 'a', LIMIT);
	http1_head_init(&h, LIMIT);
	assert_int_equal(http1_head_parse(&h, text, 2 * LIMIT), HTTP1_BAD);
	assert_int_equal(http1_reason_status(h.reason), 431);
	free(text);
}

static void
test_too_many_headers(void **state)
{
	char text[64 + HTTP1_HEADERS_DEFAULT * 8];
	struct http1_head h;
	size_t n;

	(void)state;
	n = strlen(strcpy(text, "GET / HTTP/1.1\r\n"));
	for (int i = 0; i < HTTP1_HEADERS_DEFAULT; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "a:%d\r\n", i);
	strcpy(text + n, "\r\n");
	assert_int_equal(parse_all_ways(&h, text, n + 2, LIMIT), HTTP1_DONE);
	assert_int_equal(h.header_count, HTTP1_HEADERS_DEFAULT);
	assert_text(&h, h.headers[HTTP1_HEADERS_DEFAULT - 1].value, "127");

	strcpy(text + n, "b:\r\n\r\n");
	assert_int_equal(parse_all_ways(&h, text, n + 6, LIMIT), HTTP1_BAD);
	assert_int_equal(h.reason, HTTP1_HEADERS_MANY);
	assert_int_equal(http1_reason_status(h.reason), 431);
}

/* What users ask of a head */

static struct http1_head
parsed(const char *text)
{
	struct http1_head h;

	http1_head_init(&h, LIMIT);
	assert_int_equal(http1_head_parse(&h, text, strlen(text)), HTTP1_DONE);
	return h;
}

static void
test_find(void **state)
{
	struct http1_head h = parsed("GET / HTTP/1.1\r\nHOST: a\r\nCookie: 1\r\ncookie: 2\r\n\r\n");
	struct str value = STR("untouched");

	(void)state;
	assert_int_equal(http1_head_find(&h, "accept", &value), 0);
	assert_true(str_eq(value, "untouched"));
	assert_int_equal(http1_head_find(&h, "Host", &value), 1);
	assert_true(str_eq(value, "a"));
	assert_int_equal(http1_head_find(&h, "COOKIE", &value), 2);
	assert_true(str_eq(value, "1"));
	assert_int_equal(http1_head_find(&h, "cookie", NULL), 2);
	assert_int_equal(http1_head_find(&h, "cook", NULL), 0);
}

static void
test_tokens_and_keep_alive(void **state)
{
	static const struct {
		const char *text;
		bool keep;
	} cases[] = {
		{ "GET / HTTP/1.1\r\n\r\n", true },
		{ "GET / HTTP/1.0\r\n\r\n", false },
		{ "GET / HTTP/1.1\r\nConnection: close\r\n\r\n", false },
		{ "GET / HTTP/1.1\r\nConnection: CLOSE\r\n\r\n", false },
		{ "GET / HTTP/1.1\r\nConnection: closed\r\n\r\n", true },
		{ "GET / HTTP/1.1\r\nConnection: te\r\nconnection: , foo ,\tclose ,bar\r\n\r\n", false },
		{ "GET / HTTP/1.1\r\nConnection: x close\r\n\r\n", true },
		{ "GET / HTTP/1.1\r\nConnection: ,,\r\n\r\n", true },
		{ "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true },
		{ "GET / HTTP/1.0\r\nConnection: upgrade, Keep-Alive\r\n\r\n", true },
		{ "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct http1_head h = parsed(cases[i].text);

		if (http1_head_keep_alive(&h) != cases[i].keep)
			fail_msg("%s", cases[i].text);
	}
}

/* Responses */

static void
test_good_responses(void **state)
{
	static const struct {
		const char *text, *phrase;
		unsigned status, minor, headers;
	} good[] = {
		{ "HTTP/1.1 200 OK\r\n\r\n", "OK", 200, 1, 0 },
		{ "HTTP/1.0 404 Not Found\r\nA: b\r\n\r\nbody", "Not Found", 404, 0, 1 },
		{ "HTTP/1.1 200 \r\n\r\n", "", 200, 1, 0 },
		{ "HTTP/1.1 200\r\nA:\r\n\r\n", "", 200, 1, 1 },
		{ "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "Continue", 100, 1, 0 },
		{ "HTTP/1.1 599  two  spaces \r\n\r\n", " two  spaces ", 599, 1, 0 },
		{ "HTTP/1.1 200 caf\xc3\xa9\t!\r\n\r\n", "caf\xc3\xa9\t!", 200, 1, 0 },
	};
	struct http1_head h;

	(void)state;
	responses = true;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		if (parse_all_ways(&h, good[i].text, strlen(good[i].text), LIMIT) != HTTP1_DONE)
			fail_msg("%s: %s", good[i].text, http1_reason_words(h.reason));
		assert_int_equal(h.status, good[i].status);
		assert_text(&h, h.phrase, good[i].phrase);
		assert_int_equal(h.minor, good[i].minor);
		assert_int_equal(h.header_count, good[i].headers);
	}
	responses = false;
}

static void
test_bad_responses(void **state)
{
	static const struct {
		const char *text;
		size_t n;
		enum http1_reason reason;
	} bad[] = {
		{ BYTES("\r\nHTTP/1.1 200 OK\r\n"), HTTP1_VERSION_BAD },
		{ BYTES("\n"), HTTP1_BARE_LF },
		{ BYTES("\0"), HTTP1_NUL },
		{ BYTES(" HTTP/1.1 200 OK\r\n"), HTTP1_VERSION_BAD },
		{ BYTES("http/1.1 200 OK\r\n"), HTTP1_VERSION_BAD },
		{ BYTES("ICY 200 OK\r\n"), HTTP1_VERSION_BAD },
		{ BYTES("HTTP/1.1200 OK\r\n"), HTTP1_VERSION_BAD },
		{ BYTES("HTTP/1.1\t200 OK\r\n"), HTTP1_VERSION_BAD },
		{ BYTES("HTTP/1.1\r\n"), HTTP1_VERSION_BAD },
		{ BYTES("HTTP/2.0 200 OK\r\n"), HTTP1_VERSION_UNKNOWN },
		{ BYTES("HTTP/0.9 200 OK\r\n"), HTTP1_VERSION_UNKNOWN },
		{ BYTES("HTTP/1.1  200 OK\r\n"), HTTP1_STATUS_BAD },
		{ BYTES("HTTP/1.1 \r\n"), HTTP1_STATUS_BAD },
		{ BYTES("HTTP/1.1 20\r\n"), HTTP1_STATUS_BAD },
		{ BYTES("HTTP/1.1 20 OK\r\n"), HTTP1_STATUS_BAD },
		{ BYTES("HTTP/1.1 2000 OK\r\n"), HTTP1_STATUS_BAD },
		{ BYTES("HTTP/1.1 099 OK\r\n"), HTTP1_STATUS_BAD },
		{ BYTES("HTTP/1.1 600 OK\r\n"), HTTP1_STATUS_BAD },
		{ BYTES("HTTP/1.1 2x0 OK\r\n"), HTTP1_STATUS_BAD },
		{ BYTES("HTTP/1.1 -20 OK\r\n"), HTTP1_STATUS_BAD },
		{ BYTES("HTTP/1.1 200\tOK\r\n"), HTTP1_STATUS_BAD },
		{ BYTES("HTTP/1.1 200\n"), HTTP1_BARE_LF },
		{ BYTES("HTTP/1.1 200 OK\n"), HTTP1_BARE_LF },
		{ BYTES("HTTP/1.1 200 OK\rX"), HTTP1_BARE_CR },
		{ BYTES("HTTP/1.1 200\rX"), HTTP1_BARE_CR },
		{ BYTES("HTTP/1.1 200 O\0K\r\n"), HTTP1_NUL },
		{ BYTES("HTTP/1.1 200 O\x1bK\r\n"), HTTP1_PHRASE_BAD },
		{ BYTES("HTTP/1.1 200 OK\r\n A: b\r\n"), HTTP1_LEADING_SPACE },
		{ BYTES("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n"), HTTP1_OBS_FOLD },
		{ BYTES("HTTP/1.1 200 OK\r\nA : b\r\n"), HTTP1_NAME_SPACE },
		{ BYTES("HTTP/1.1 200 OK\r\nA\r\n"), HTTP1_COLON_MISSING },
		{ BYTES("HTTP/1.1 200 OK\r\nA: \x01\r\n"), HTTP1_VALUE_BAD },
		{ BYTES("HTTP/1.1 200 OK\r\nA: b\nB: c\r\n"), HTTP1_BARE_LF },
	};
	struct http1_head h;

	(void)state;
	responses = true;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (parse_all_ways(&h, bad[i].text, bad[i].n, LIMIT) != HTTP1_BAD ||
		    h.reason != bad[i].reason)
			fail_msg("row %zu, %s: verdict %d, %s", i, bad[i].text, h.verdict,
				 http1_reason_words(h.reason));
	responses = false;
}

#define LF HTTP1_ODD_BIT(HTTP1_ODD_BARE_LF)
#define STATUS HTTP1_ODD_BIT(HTTP1_ODD_STATUS)

/* What has one meaning although it should not be there. */
static void
test_odd_responses(void **state)
{
	static const struct {
		const char *text;
		size_t n;
		unsigned odd, status;
		const char *phrase, *value;	/* of the first header; NULL: there is none */
	} odd[] = {
		{ BYTES("HTTP/1.1 200 OK\r\nA: b\r\n\r\n"), 0, 200, "OK", "b" },
		{ BYTES("HTTP/1.1 200 OK\nA: b\n\n"), LF, 200, "OK", "b" },
		{ BYTES("HTTP/1.1 200 OK\r\nA: b\r\n\n"), LF, 200, "OK", "b" },
		{ BYTES("HTTP/1.1 200 OK\nA: b\r\n\r\n"), LF, 200, "OK", "b" },
		{ BYTES("HTTP/1.1 200 OK\r\nA: b \t\nC: d\r\n\r\n"), LF, 200, "OK", "b" },
		{ BYTES("HTTP/1.1 200 OK\r\nA:\nC: d\r\n\r\n"), LF, 200, "OK", "" },
		{ BYTES("HTTP/1.1 200 OK\r\nA: \n\r\n"), LF, 200, "OK", "" },
		{ BYTES("HTTP/1.1 200 \n\n"), LF, 200, "", NULL },
		{ BYTES("HTTP/1.1 200\n\n"), LF, 200, "", NULL },
		{ BYTES("HTTP/1.1 600 What\r\nA: b\r\n\r\n"), STATUS, 600, "What", "b" },
		{ BYTES("HTTP/1.1 999\n\r\n"), STATUS | LF, 999, "", NULL },
	};
	static const struct {
		const char *text;
		size_t n;
		enum http1_reason reason;
	} bad[] = {
		{ BYTES("\n"), HTTP1_BARE_LF },
		{ BYTES("HTTP/1.1\n"), HTTP1_BARE_LF },
		{ BYTES("HTTP/1.1 20\n"), HTTP1_BARE_LF },
		{ BYTES("HTTP/1.1 099 OK\n"), HTTP1_STATUS_BAD },
		{ BYTES("HTTP/1.1 2000 OK\n"), HTTP1_STATUS_BAD },
		{ BYTES("HTTP/1.1 6x0 OK\n"), HTTP1_STATUS_BAD },
		{ BYTES("HTTP/1.1 a00 OK\n"), HTTP1_STATUS_BAD },
		{ BYTES("HTTP/1.1 200 OK\n A: b\n"), HTTP1_LEADING_SPACE },
		{ BYTES("HTTP/1.1 200 OK\nA: b\n c\n"), HTTP1_OBS_FOLD },
		{ BYTES("HTTP/1.1 200 OK\nA\n"), HTTP1_BARE_LF },
		{ BYTES("HTTP/1.1 200 OK\nA: b\rc\n"), HTTP1_BARE_CR },
		{ BYTES("HTTP/1.1 200 OK\nA: b\n\rc"), HTTP1_BARE_CR },
		{ BYTES("HTTP/1.1 200 OK\r\nA: \x01\n"), HTTP1_VALUE_BAD },
	};
	struct http1_head h;

	(void)state;
	responses = lenient = true;
	for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
		if (parse_all_ways(&h, odd[i].text, odd[i].n, LIMIT) != HTTP1_DONE)
			fail_msg("row %zu: %s", i, http1_reason_words(h.reason));
		assert_int_equal(h.length, odd[i].n);
		assert_int_equal(h.odd, odd[i].odd);
		assert_int_equal(h.status, odd[i].status);
		assert_text(&h, h.phrase, odd[i].phrase);
		assert_true((h.header_count > 0) == (odd[i].value != NULL));
		if (odd[i].value != NULL)
			assert_text(&h, h.headers[0].value, odd[i].value);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (parse_all_ways(&h, bad[i].text, bad[i].n, LIMIT) != HTTP1_BAD || h.reason != bad[i].reason)
			fail_msg("row %zu: verdict %d, %s", i, h.verdict, http1_reason_words(h.reason));
	responses = lenient = false;
}

/* RFC 9110 section 2.5: of the major version one knows, a later minor one is
 * taken for the last. */
static void
test_later_versions_of_responses(void **state)
{
	struct http1_head h;

	(void)state;
	responses = true;
	assert_int_equal(parse_all_ways(&h, BYTES("HTTP/1.2 200 OK\r\n\r\n"), LIMIT), HTTP1_DONE);
	assert_int_equal(h.minor, 1);
	assert_true(http1_head_keep_alive(&h));
	assert_int_equal(parse_all_ways(&h, BYTES("HTTP/1.9 200 OK\r\n\r\n"), LIMIT), HTTP1_DONE);
	assert_int_equal(h.minor, 1);
	responses = false;
}

static void
test_logins_that_bind_a_connection(void **state)
{
	static const struct {
		bool response;
		const char *text;
		bool binds;
	} rows[] = {
		{ true, "HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM\r\n\r\n", true },
		{ true, "HTTP/1.1 401 No\r\nwww-authenticate: negotiate\r\n\r\n", true },
		{ true, "HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM TlRMTVNTUAACAAAA\r\n\r\n", true },
		{ true, "HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\n\r\n", true },
		{ true, "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"a\"\r\nWWW-Authenticate: Nego2\r\n\r\n", true },
		{ true, "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"a\", NTLM\r\n\r\n", true },
		{ true, "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"NTLM\"\r\n\r\n", false },
		{ true, "HTTP/1.1 401 No\r\nWWW-Authenticate: Digest nonce=\"x\", qop=\"auth\"\r\n\r\n", false },
		{ true, "HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer\r\n\r\n", false },
		{ true, "HTTP/1.1 401 No\r\n\r\n", false },
		{ true, "HTTP/1.1 200 OK\r\nX: NTLM\r\n\r\n", false },
		{ false, "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Negotiate YIIJ\r\n\r\n", true },
		{ false, "GET / HTTP/1.1\r\nHost: a\r\nProxy-Authorization: NTLM TlRM\r\n\r\n", true },
		{ false, "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic NTLM\r\n\r\n", false },
		{ false, "GET / HTTP/1.1\r\nHost: a\r\nX: NTLM\r\n\r\n", false },
	};
	struct http1_head h;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		responses = rows[i].response;
		assert_int_equal(parse_all_ways(&h, rows[i].text, strlen(rows[i].text), LIMIT), HTTP1_DONE);
		if (http1_head_binds(&h) != rows[i].binds)
			fail_msg("%s", rows[i].text);
	}
	responses = false;
}

/* Long pieces end at every place of a vector. */
static void
test_pieces_of_every_length(void **state)
{
	char text[512], name[128], value[128];
	struct http1_head h;
	int n;

	(void)state;
	for (int i = 1; i <= 100; i++) {
		memset(name, 'n', sizeof(name));
		memset(value, 'v', sizeof(value));
		n = snprintf(text, sizeof(text), "GET /%.*s HTTP/1.1\r\n%.*s: %.*s\r\n\r\n", i - 1, value, i,
			     name, i, value);
		assert_int_equal(parse_all_ways(&h, text, (size_t)n, LIMIT), HTTP1_DONE);
		assert_int_equal(h.target.n, i);
		assert_int_equal(h.headers[0].name.n, i);
		assert_int_equal(h.headers[0].value.n, i);
		/* Each byte of each piece is looked at. */
		for (int k = 0; k < i; k++) {
			static const char wrong[] = "\x7f\x01\n";

			text[n - 4 - i + k] = wrong[k % 3];
			assert_int_equal(parse_all_ways(&h, text, (size_t)n, LIMIT), HTTP1_BAD);
			assert_int_equal(h.at, n - 4 - i + k);
			text[n - 4 - i + k] = 'v';
			text[n - 6 - 2 * i + k] = "(\x80@"[k % 3];
			assert_int_equal(parse_all_ways(&h, text, (size_t)n, LIMIT), HTTP1_BAD);
			assert_int_equal(h.at, n - 6 - 2 * i + k);
			text[n - 6 - 2 * i + k] = 'n';
			if (i > 40)
				k += 6;
		}
	}
}

/* What a proxy wants to know of names */

static void
test_known_names(void **state)
{
	static const char *const names[] = {
#define X(id, first, last_but_one, text) [id] = text,
		HTTP1_NAME_TABLE(X)
#undef X
	};
	enum http1_name alias;
	char text[64];

	(void)state;
	for (int id = HTTP1_OTHER + 1; id < HTTP1_X_FORWARDED_OTHER; id++) {
		size_t n = strlen(names[id]);

		strcpy(text, names[id]);
		assert_int_equal(http1_name_of(text, n, &alias), id);
		assert_int_equal(alias, HTTP1_OTHER);
		for (size_t i = 0; i < n; i++)
			text[i] = text[i] >= 'a' && text[i] <= 'z' ? (char)(text[i] - 32) : text[i];
		assert_int_equal(http1_name_of(text, n, &alias), id);
		/* One letter off, or missing, or too many. */
		for (size_t i = 0; i < n; i++) {
			strcpy(text, names[id]);
			text[i] = text[i] == '~' ? '!' : '~';
			assert_int_equal(http1_name_of(text, n, &alias), HTTP1_OTHER);
		}
		strcpy(text, names[id]);
		assert_int_equal(http1_name_of(text, n - 1, &alias), HTTP1_OTHER);
		strcat(text, "s");
		assert_int_equal(http1_name_of(text, n + 1, &alias), HTTP1_OTHER);
		/* CGI's spelling. */
		strcpy(text, names[id]);
		if (strchr(text, '-') == NULL)
			continue;
		*strchr(text, '-') = '_';
		assert_int_equal(http1_name_of(text, n, &alias), HTTP1_OTHER);
		assert_int_equal(alias, id);
	}
}

static void
test_names_that_look_like_ours(void **state)
{
	static const struct {
		const char *name;
		enum http1_name alias;
	} cases[] = {
		{ "x-forwarded-prefix", HTTP1_X_FORWARDED_OTHER },
		{ "X_Forwarded-SSL", HTTP1_X_FORWARDED_OTHER },
		{ "x_forwarded_fort", HTTP1_X_FORWARDED_OTHER },
		{ "x-forwarded-f", HTTP1_X_FORWARDED_OTHER },
		{ "x-forwarded-", HTTP1_OTHER },
		{ "x-forwarded", HTTP1_OTHER },
		{ "y-forwarded-for", HTTP1_OTHER },
		{ "x-forwardedd-for", HTTP1_OTHER },
		{ "X_FORWARDED_FOR", HTTP1_X_FORWARDED_FOR },
		{ "x_request-id", HTTP1_X_REQUEST_ID },
		{ "Transfer_Encoding", HTTP1_TRANSFER_ENCODING },
		{ "content_length", HTTP1_CONTENT_LENGTH },
		{ "x", HTTP1_OTHER },
		{ "_", HTTP1_OTHER },
	};
	enum http1_name alias;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(http1_name_of(cases[i].name, strlen(cases[i].name), &alias), HTTP1_OTHER);
		if (alias != cases[i].alias)
			fail_msg("%s: %d", cases[i].name, alias);
	}
}

static void
test_what_was_seen(void **state)
{
	struct http1_head h;
	static const char text[] = "GET / HTTP/1.1\r\nA: b\r\nhost: x\r\nCookie: 1\r\nB: c\r\ncookie: 2\r\n"
				   "X_Forwarded_For: 3\r\n\r\n";

	(void)state;
	assert_int_equal(parse_all_ways(&h, text, sizeof(text) - 1, LIMIT), HTTP1_DONE);
	assert_true(http1_head_has(&h, HTTP1_HOST) && http1_head_has(&h, HTTP1_COOKIE));
	assert_false(http1_head_has(&h, HTTP1_TE) || http1_head_has(&h, HTTP1_X_FORWARDED_FOR));
	assert_true(h.aliases & HTTP1_BIT(HTTP1_X_FORWARDED_FOR));
	assert_true(h.repeated & HTTP1_BIT(HTTP1_COOKIE));
	assert_false(h.repeated & HTTP1_BIT(HTTP1_HOST));
	assert_int_equal(h.first[HTTP1_COOKIE], 2);
	assert_true(str_eq(http1_head_get(&h, HTTP1_HOST), "x"));
	assert_true(str_eq(http1_head_get(&h, HTTP1_COOKIE), "1"));
	assert_true(str_eq(http1_head_get(&h, HTTP1_TE), ""));
}

static void
test_connection(void **state)
{
	static const struct {
		const char *lines;
		unsigned connection;
		const char *hops;	/* which of the headers go with it */
	} cases[] = {
		{ "A: b\r\n", 0, "" },
		{ "Connection: Close\r\n", HTTP1_C_CLOSE, "" },
		{ "Connection: keep-alive, UPGRADE\r\n", HTTP1_C_KEEP_ALIVE | HTTP1_C_UPGRADE, "" },
		{ "Connection: te\r\nTE: trailers\r\n", 0, "" },
		{ "A: b\r\nConnection: a\r\nB: c\r\na: d\r\n", HTTP1_C_NAMED, "Aa" },
		{ "Connection: ,\t,a ,close\r\nA: b\r\nAB: c\r\nconnection: ab\r\n",
		  HTTP1_C_NAMED | HTTP1_C_CLOSE, "AAB" },
		{ "Connection: absent\r\nA: b\r\n", 0, "" },
		{ "Connection: x y\r\nX: b\r\n", 0, "" },
		/* protected: nobody may name them away */
		{ "Connection: host, content-length, transfer-encoding, cookie, authorization, x-forwarded-for, "
		  "X-Real-Ip, forwarded, via, x-request-id, trailer, expect, range, set-cookie, origin\r\n"
		  "Host: a\r\nContent-Length: 1\r\nCookie: c\r\nAuthorization: a\r\nX-Forwarded-For: a\r\n"
		  "X-Real-IP: a\r\nForwarded: a\r\nVia: a\r\nX-Request-Id: a\r\nTrailer: a\r\nExpect: a\r\n"
		  "Range: a\r\nSet-Cookie: a\r\nOrigin: a\r\nTransfer-Encoding: a\r\n",
		  0, "" },
	};
	struct http1_head h;
	char text[1024], hops[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n%s\r\n", cases[i].lines);
		assert_int_equal(parse_all_ways(&h, text, strlen(text), LIMIT), HTTP1_DONE);
		hops[0] = '\0';
		for (unsigned k = 0; k < h.header_count; k++)
			if (h.headers[k].flags & HTTP1_HOP)
				strncat(hops, http1_text(&h, h.headers[k].name).p, h.headers[k].name.n);
		if (h.connection != cases[i].connection || strcmp(hops, cases[i].hops) != 0)
			fail_msg("%s: connection %u, hops %s", text, h.connection, hops);
	}
}

static void
test_connection_names_are_bounded(void **state)
{
	char text[1024];
	struct http1_head h;
	size_t n;

	(void)state;
	n = strlen(strcpy(text, "GET / HTTP/1.1\r\nConnection: close"));
	for (int i = 0; i < HTTP1_NAMED_MAX; i++)
		n += (size_t)sprintf(text + n, ",a%d", i);
	strcpy(text + n, "\r\n\r\n");
	assert_int_equal(parse_all_ways(&h, text, n + 4, LIMIT), HTTP1_DONE);
	strcpy(text + n, ",b\r\n\r\n");
	assert_int_equal(parse_all_ways(&h, text, n + 6, LIMIT), HTTP1_BAD);
	assert_int_equal(h.reason, HTTP1_NAMED_MANY);
}

static void
test_other_limits(void **state)
{
	static const char text[] = "GET /12345678 HTTP/1.1\r\nA: 1\r\nB: 2\r\n\r\n";
	struct http1_limits limits = { .head = 100, .target = 9, .headers = 2 };
	struct http1_head h;

	(void)state;
	for (int path = HTTP1_PATH_PLAIN; path <= HTTP1_PATH_AVX2; path++) {
		if (!http1_head_use((enum http1_path)path))
			continue;
		limits = (struct http1_limits){ .head = 100, .target = 9, .headers = 2 };
		for (size_t cut = 0; cut < sizeof(text); cut++) {
			http1_head_init(&h, LIMIT);
			http1_head_limit(&h, &limits);
			http1_head_parse(&h, text, cut);
			assert_int_equal(http1_head_parse(&h, text, sizeof(text) - 1), HTTP1_DONE);
		}
		limits.target = 8;
		for (size_t cut = 0; cut < sizeof(text); cut++) {
			http1_head_init(&h, LIMIT);
			http1_head_limit(&h, &limits);
			http1_head_parse(&h, text, cut);
			assert_int_equal(http1_head_parse(&h, text, sizeof(text) - 1), HTTP1_BAD);
			assert_int_equal(h.reason, HTTP1_TARGET_LONG);
		}
		limits = (struct http1_limits){ .head = 100, .target = 9, .headers = 1 };
		for (size_t cut = 0; cut < sizeof(text); cut++) {
			http1_head_init(&h, LIMIT);
			http1_head_limit(&h, &limits);
			http1_head_parse(&h, text, cut);
			assert_int_equal(http1_head_parse(&h, text, sizeof(text) - 1), HTTP1_BAD);
			assert_int_equal(h.reason, HTTP1_HEADERS_MANY);
		}
	}
}

static void
test_as_many_headers_as_there_may_be(void **state)
{
	struct http1_limits limits = { .head = LIMIT, .target = LIMIT, .headers = HTTP1_HEADERS_MAX };
	char text[64 + HTTP1_HEADERS_MAX * 8];
	struct http1_head h;
	size_t n;

	(void)state;
	n = strlen(strcpy(text, "GET / HTTP/1.1\r\n"));
	for (int i = 0; i < HTTP1_HEADERS_MAX; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "a:%d\r\n", i);
	strcpy(text + n, "\r\n");
	http1_head_init(&h, LIMIT);
	http1_head_limit(&h, &limits);
	assert_int_equal(http1_head_parse(&h, text, n + 2), HTTP1_DONE);
	assert_int_equal(h.header_count, HTTP1_HEADERS_MAX);
	assert_text(&h, h.headers[255].value, "255");
	strcpy(text + n, "a:\r\n\r\n");
	http1_head_init(&h, LIMIT);
	http1_head_limit(&h, &limits);
	assert_int_equal(http1_head_parse(&h, text, n + 6), HTTP1_BAD);
	assert_int_equal(h.reason, HTTP1_HEADERS_MANY);
}

static void
test_verbs(void **state)
{
	static const struct {
		const char *text;
		enum http1_verb verb;
		bool idempotent;
	} cases[] = {
		{ "GET / HTTP/1.1\r\n\r\n", HTTP1_GET, true },
		{ "HEAD / HTTP/1.1\r\n\r\n", HTTP1_HEAD, true },
		{ "POST / HTTP/1.1\r\n\r\n", HTTP1_POST, false },
		{ "PUT / HTTP/1.1\r\n\r\n", HTTP1_PUT, true },
		{ "PATCH / HTTP/1.1\r\n\r\n", HTTP1_PATCH, false },
		{ "DELETE / HTTP/1.1\r\n\r\n", HTTP1_DELETE, true },
		{ "OPTIONS / HTTP/1.1\r\n\r\n", HTTP1_OPTIONS, true },
		{ "TRACE / HTTP/1.1\r\n\r\n", HTTP1_TRACE, true },
		{ "CONNECT a:1 HTTP/1.1\r\n\r\n", HTTP1_CONNECT, false },
		{ "get / HTTP/1.1\r\n\r\n", HTTP1_EXTENSION, false },
		{ "PROPFIND / HTTP/1.1\r\n\r\n", HTTP1_EXTENSION, false },
		{ "GETS / HTTP/1.1\r\n\r\n", HTTP1_EXTENSION, false },
		{ "TRACK / HTTP/1.1\r\n\r\n", HTTP1_EXTENSION, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct http1_head h = parsed(cases[i].text);

		assert_int_equal(h.verb, cases[i].verb);
		assert_int_equal(http1_head_idempotent(&h), cases[i].idempotent);
	}
}

static void
test_upgrade_and_expect(void **state)
{
	static const struct {
		const char *text;
		bool upgrades;
		enum http1_expect expect;
	} cases[] = {
		{ "GET / HTTP/1.1\r\n\r\n", false, HTTP1_EXPECT_NONE },
		{ "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", false, HTTP1_EXPECT_NONE },
		{ "GET / HTTP/1.1\r\nConnection: upgrade\r\n\r\n", false, HTTP1_EXPECT_NONE },
		{ "GET / HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n", true,
		  HTTP1_EXPECT_NONE },
		{ "GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", false,
		  HTTP1_EXPECT_NONE },
		{ "PUT / HTTP/1.1\r\nExpect: 100-Continue\r\n\r\n", false, HTTP1_EXPECT_CONTINUE },
		{ "PUT / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", false, HTTP1_EXPECT_NONE },
		{ "PUT / HTTP/1.1\r\nExpect: 100-continue\r\nExpect: x\r\n\r\n", false,
		  HTTP1_EXPECT_UNKNOWN },
		{ "PUT / HTTP/1.1\r\nExpect: 100-continue, x\r\n\r\n", false, HTTP1_EXPECT_UNKNOWN },
		{ "PUT / HTTP/1.1\r\nExpect: 200-ok\r\n\r\n", false, HTTP1_EXPECT_UNKNOWN },
		{ "PUT / HTTP/1.1\r\nExpect:\r\n\r\n", false, HTTP1_EXPECT_NONE },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct http1_head h = parsed(cases[i].text);

		if (http1_head_upgrades(&h) != cases[i].upgrades || http1_head_expect(&h) != cases[i].expect)
			fail_msg("%s", cases[i].text);
	}
}

static void
test_switching_protocols(void **state)
{
	static const struct {
		const char *says, *asked;
		bool right;
	} cases[] = {
		{ "Upgrade: websocket\r\n", "websocket,", true },
		{ "Upgrade: WebSocket\r\n", "foo, websocket,", true },
		{ "Upgrade: b, a\r\n", "a,b,", true },
		{ "Upgrade: a\r\nUpgrade: b\r\n", "a, b", true },
		{ "Upgrade: a\r\nUpgrade: c\r\n", "a, b", false },
		{ "Upgrade: a, c\r\n", "a, b", false },
		{ "Upgrade: web\r\n", "websocket", false },
		{ "Upgrade: websockets\r\n", "websocket", false },
		{ "Upgrade: foo/2\r\n", "foo/1", false },
		{ "Upgrade: foo/1\r\n", "foo/1", true },
		{ "Upgrade: a\r\n", "", false },
		{ "Upgrade: a\r\n", ",", false },
		{ "Upgrade: ,\r\n", "a", false },
		{ "Upgrade:\r\n", "a", false },
		{ "", "a", false },
	};
	char text[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct http1_head h;

		snprintf(text, sizeof(text), "HTTP/1.1 101 x\r\n%s\r\n", cases[i].says);
		http1_head_init_response(&h, 4096);
		assert_int_equal(http1_head_parse(&h, text, strlen(text)), HTTP1_DONE);
		if (http1_head_switches_to(&h, str_from(cases[i].asked)) != cases[i].right)
			fail_msg("%s for %s", cases[i].says, cases[i].asked);
	}
}

static void
test_every_reason_has_words(void **state)
{
	(void)state;
#define X(name, code, text) \
assert_int_equal(http1_reason_status(name), code); \
assert_string_equal(http1_reason_words(name), text);
	HTTP1_REASON_TABLE(X)
#undef X
}

/* Only whole empty lines are nothing yet. */
static void
test_empty_lines_begin_no_request(void **state)
{
	static const char text[] = "\r\n\r\nGET";

	(void)state;
	for (size_t n = 0; n < sizeof(text); n++) {
		struct http1_head h;

		http1_head_init(&h, LIMIT);
		assert_int_equal(http1_head_parse(&h, guarded(text, n), n), HTTP1_NEED_MORE);
		assert_int_equal(http1_head_is_blank(&h), n == 0 || n == 2 || n == 4);
	}
}

/* At every cut, and on each path that this CPU has. */
static void
test_targets_beyond_ascii(void **state)
{
	static const struct {
		const char *target;
		bool good;
	} cases[] = {
		{ "/caf\xc3\xa9", true },
		{ "/\xe2\x82\xac?q=\xf0\x9f\x98\x80&x", true },
		{ "/0123456789012345678901234567890123456789\xc3\xa9\xc3\xa9/0123456789", true },
		{ "/plain", true },
		{ "/caf\xe9", false },	/* Latin-1 */
		{ "/\xc3", false },
		{ "/\xc3/\xa9", false },
		{ "/\xc0\xaf", false },	/* an overlong slash */
		{ "/\xed\xa0\x80", false },	/* a surrogate */
		{ "/\xc2\x85", false },	/* a control: next line */
		{ "/\xe2\x80\xae", false },	/* right to left */
	};
	static const enum http1_path paths[] = { HTTP1_PATH_PLAIN, HTTP1_PATH_SSE42, HTTP1_PATH_AVX2 };
	struct http1_limits limits = { .head = LIMIT, .target = 64, .headers = 8, .utf8_target = true };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases) * ARRAY_LEN(paths); i++) {
		bool good = cases[i / ARRAY_LEN(paths)].good;
		char text[256];
		int n = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nA: b\r\n\r\n",
				 cases[i / ARRAY_LEN(paths)].target);

		if (!http1_head_use(paths[i % ARRAY_LEN(paths)]))
			continue;
		for (int cut = 0; cut <= n; cut++) {
			struct http1_head h;

			http1_head_init(&h, LIMIT);
			http1_head_limit(&h, &limits);
			(void)http1_head_parse(&h, guarded(text, (size_t)cut), (size_t)cut);
			assert_int_equal(http1_head_parse(&h, guarded(text, (size_t)n), (size_t)n),
					 good ? HTTP1_DONE : HTTP1_BAD);
			assert_int_equal(h.reason, good ? HTTP1_FINE : HTTP1_TARGET_BAD);
			if (good)
				assert_text(&h, h.target, cases[i / ARRAY_LEN(paths)].target);
		}
	}
	/* As at the start of the program. */
	for (size_t i = ARRAY_LEN(paths); !http1_head_use(paths[i - 1]); i--)
		continue;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request_with_everything),
		cmocka_unit_test(test_good_heads),
		cmocka_unit_test(test_empty_lines_begin_no_request),
		cmocka_unit_test(test_targets_beyond_ascii),
		cmocka_unit_test(test_bad_heads),
		cmocka_unit_test(test_every_byte_in_every_place),
		cmocka_unit_test(test_every_byte_in_long_pieces),
		cmocka_unit_test(test_length_limit_is_exact),
		cmocka_unit_test(test_long_target_and_long_header),
		cmocka_unit_test(test_too_many_headers),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_tokens_and_keep_alive),
		cmocka_unit_test(test_good_responses),
		cmocka_unit_test(test_bad_responses),
		cmocka_unit_test(test_odd_responses),
		cmocka_unit_test(test_later_versions_of_responses),
		cmocka_unit_test(test_logins_that_bind_a_connection),
		cmocka_unit_test(test_pieces_of_every_length),
		cmocka_unit_test(test_known_names),
		cmocka_unit_test(test_names_that_look_like_ours),
		cmocka_unit_test(test_what_was_seen),
		cmocka_unit_test(test_connection),
		cmocka_unit_test(test_connection_names_are_bounded),
		cmocka_unit_test(test_other_limits),
		cmocka_unit_test(test_as_many_headers_as_there_may_be),
		cmocka_unit_test(test_verbs),
		cmocka_unit_test(test_upgrade_and_expect),
		cmocka_unit_test(test_switching_protocols),
		cmocka_unit_test(test_every_reason_has_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
