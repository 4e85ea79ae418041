/* test_http1_head.c - each head is parsed whole, at every cut, byte by byte,
 * and against a guard page; all must agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "proto/http1_head.h"

#define LIMIT 16384

/* Memory whose last byte is followed by a page nobody may read. */
static char *
guarded(const char *bytes, size_t n)
{
	static char *pages;
	static size_t room;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (pages == NULL) {
		room = (LIMIT * 2 / page + 1) * page;
		pages = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_true(pages != MAP_FAILED);
		assert_int_equal(mprotect(pages + room, page, PROT_NONE), 0);
	}
	assert_true(n <= room);
	memset(pages, 'Z', room);	/* a tempting token before the bytes */
	return memcpy(pages + room - n, bytes, n);
}

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

static void
start(struct http1_head *h, size_t limit)
{
	if (responses)
		http1_head_init_response(h, limit);
	else
		http1_head_init(h, limit);
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
	{ BYTES("\r\n\r\n"), HTTP1_METHOD_BAD, 400 },
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request_with_everything),
		cmocka_unit_test(test_good_heads),
		cmocka_unit_test(test_bad_heads),
		cmocka_unit_test(test_every_byte_in_every_place),
		cmocka_unit_test(test_length_limit_is_exact),
		cmocka_unit_test(test_long_target_and_long_header),
		cmocka_unit_test(test_too_many_headers),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_tokens_and_keep_alive),
		cmocka_unit_test(test_every_reason_has_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
