/* test_http1_body.c - how heads frame their messages, and bodies taken whole,
 * at every cut and byte by byte: the same data, the same end, the same
 * verdict. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/check.h"
#include "proto/http1_body.h"
#include "guarded.h"

#define LIMIT 16384

static struct http1_head
head_of(const char *text, bool response)
{
	struct http1_head h;

	if (response)
		http1_head_init_response(&h, LIMIT);
	else
		http1_head_init(&h, LIMIT);
	if (http1_head_parse(&h, text, strlen(text)) != HTTP1_DONE)
		fail_msg("%s: %s", text, http1_reason_words(h.reason));
	return h;
}

/* Framing */

struct framing_case {
	const char *lines;
	enum http1_framing framing;
	uint64_t length;
	enum http1_reason reason;
};

static const struct framing_case requests[] = {
	{ "1.1\r\n", HTTP1_BODY_NONE, 0, HTTP1_FINE },
	{ "1.1\r\nContent-Length: 0\r\n", HTTP1_BODY_LENGTH, 0, HTTP1_FINE },
	{ "1.1\r\nContent-Length: 5\r\n", HTTP1_BODY_LENGTH, 5, HTTP1_FINE },
	{ "1.0\r\nContent-Length: 5\r\n", HTTP1_BODY_LENGTH, 5, HTTP1_FINE },
	{ "1.1\r\ncontent-length:\t0005 \r\n", HTTP1_BODY_LENGTH, 5, HTTP1_FINE },
	{ "1.1\r\nContent-Length: 9223372036854775807\r\n", HTTP1_BODY_LENGTH, INT64_MAX, HTTP1_FINE },
	{ "1.1\r\nTransfer-Encoding: chunked\r\n", HTTP1_BODY_CHUNKED, 0, HTTP1_FINE },
	{ "1.1\r\ntransfer-encoding: CHUNKED\r\n", HTTP1_BODY_CHUNKED, 0, HTTP1_FINE },
	{ "1.1\r\nContent_Length: 5\r\nTransfer_Encoding: x\r\n", HTTP1_BODY_NONE, 0, HTTP1_FINE },
	/* Content-Length: RFC 9110 section 8.6 */
	{ "1.1\r\nContent-Length:\r\n", 0, 0, HTTP1_LENGTH_BAD },
	{ "1.1\r\nContent-Length: +5\r\n", 0, 0, HTTP1_LENGTH_BAD },
	{ "1.1\r\nContent-Length: -5\r\n", 0, 0, HTTP1_LENGTH_BAD },
	{ "1.1\r\nContent-Length: -0\r\n", 0, 0, HTTP1_LENGTH_BAD },
	{ "1.1\r\nContent-Length: 5 5\r\n", 0, 0, HTTP1_LENGTH_BAD },
	{ "1.1\r\nContent-Length: 5, 5\r\n", 0, 0, HTTP1_LENGTH_BAD },
	{ "1.1\r\nContent-Length: 5,\r\n", 0, 0, HTTP1_LENGTH_BAD },
	{ "1.1\r\nContent-Length: 0x5\r\n", 0, 0, HTTP1_LENGTH_BAD },
	{ "1.1\r\nContent-Length: 5_0\r\n", 0, 0, HTTP1_LENGTH_BAD },
	{ "1.1\r\nContent-Length: 5.0\r\n", 0, 0, HTTP1_LENGTH_BAD },
	{ "1.1\r\nContent-Length: 5e1\r\n", 0, 0, HTTP1_LENGTH_BAD },
	{ "1.1\r\nContent-Length: \"5\"\r\n", 0, 0, HTTP1_LENGTH_BAD },
	{ "1.1\r\nContent-Length: \xef\xbc\x95\r\n", 0, 0, HTTP1_LENGTH_BAD },	/* a five, but no ASCII */
	{ "1.1\r\nContent-Length: 9223372036854775808\r\n", 0, 0, HTTP1_LENGTH_BAD },
	{ "1.1\r\nContent-Length: 18446744073709551621\r\n", 0, 0, HTTP1_LENGTH_BAD },	/* 2^64 + 5 */
	{ "1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n", 0, 0, HTTP1_LENGTH_REPEATED },
	{ "1.1\r\nContent-Length: 5\r\nA: b\r\ncontent-length: 6\r\n", 0, 0, HTTP1_LENGTH_REPEATED },
	/* Transfer-Encoding: RFC 9112 section 6.1 and 6.3 */
	{ "1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", 0, 0, HTTP1_LENGTH_AND_CODING },
	{ "1.1\r\nTransfer-Encoding: x\r\nContent-Length: x\r\n", 0, 0, HTTP1_LENGTH_AND_CODING },
	{ "1.0\r\nTransfer-Encoding: chunked\r\n", 0, 0, HTTP1_CODING_IN_1_0 },
	{ "1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", 0, 0, HTTP1_CODING_IN_1_0 },
	{ "1.1\r\nTransfer-Encoding:\r\n", 0, 0, HTTP1_CODING_BAD },
	{ "1.1\r\nTransfer-Encoding: ,\r\n", 0, 0, HTTP1_CODING_BAD },
	{ "1.1\r\nTransfer-Encoding: chunked,\r\n", 0, 0, HTTP1_CODING_BAD },
	{ "1.1\r\nTransfer-Encoding: , chunked\r\n", 0, 0, HTTP1_CODING_BAD },
	{ "1.1\r\nTransfer-Encoding: gzip,, chunked\r\n", 0, 0, HTTP1_CODING_BAD },
	{ "1.1\r\nTransfer-Encoding: chunked;q=1\r\n", 0, 0, HTTP1_CODING_BAD },
	{ "1.1\r\nTransfer-Encoding: chunked chunked\r\n", 0, 0, HTTP1_CODING_BAD },
	{ "1.1\r\nTransfer-Encoding: \"chunked\"\r\n", 0, 0, HTTP1_CODING_BAD },
	{ "1.1\r\nTransfer-Encoding: chunked\"\r\n", 0, 0, HTTP1_CODING_BAD },
	{ "1.1\r\nTransfer-Encoding: ch\xc3\xbcnked\r\n", 0, 0, HTTP1_CODING_BAD },
	{ "1.1\r\nTransfer-Encoding: gzip;a=\"b, chunked\r\n", 0, 0, HTTP1_CODING_BAD },
	{ "1.1\r\nTransfer-Encoding: chunked, chunked\r\n", 0, 0, HTTP1_CODING_REPEATED },
	{ "1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 0, 0, HTTP1_CODING_REPEATED },
	{ "1.1\r\nTransfer-Encoding: chunked, gzip, chunked\r\n", 0, 0, HTTP1_CODING_REPEATED },
	{ "1.1\r\nTransfer-Encoding: gzip\r\n", 0, 0, HTTP1_CODING_LAST },
	{ "1.1\r\nTransfer-Encoding: identity\r\n", 0, 0, HTTP1_CODING_LAST },
	{ "1.1\r\nTransfer-Encoding: xchunked\r\n", 0, 0, HTTP1_CODING_LAST },
	{ "1.1\r\nTransfer-Encoding: chunked, identity\r\n", 0, 0, HTTP1_CODING_LAST },
	{ "1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n", 0, 0, HTTP1_CODING_LAST },
	{ "1.1\r\nTransfer-Encoding: gzip;a=\"b, chunked\"\r\n", 0, 0, HTTP1_CODING_LAST },
	{ "1.1\r\nTransfer-Encoding: gzip, chunked\r\n", 0, 0, HTTP1_CODING_UNKNOWN },
	{ "1.1\r\nTransfer-Encoding: gzip ;a=\"b,c\" ,\tchunked\r\n", 0, 0, HTTP1_CODING_UNKNOWN },
	{ "1.1\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", 0, 0, HTTP1_CODING_UNKNOWN },
};

static void
check_framing(const struct framing_case *c, const struct http1_body *b, enum http1_verdict v)
{
	if (v != (c->reason == HTTP1_FINE ? HTTP1_DONE : HTTP1_BAD) || b->reason != c->reason)
		fail_msg("%s: %s instead of %s", c->lines, http1_reason_words((enum http1_reason)b->reason),
			 http1_reason_words(c->reason));
	if (v == HTTP1_BAD)
		return;
	if (b->framing != c->framing || b->left != c->length)
		fail_msg("%s: framing %u, %llu bytes", c->lines, b->framing, (unsigned long long)b->left);
	assert_int_equal(b->total, 0);
	assert_int_equal(b->done, c->framing == HTTP1_BODY_NONE ||
					  (c->framing == HTTP1_BODY_LENGTH && c->length == 0));
}

static void
test_framing_of_requests(void **state)
{
	struct http1_body b;
	char text[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
		snprintf(text, sizeof(text), "POST / HTTP/%s\r\n", requests[i].lines);
		struct http1_head h = head_of(text, false);

		check_framing(&requests[i], &b, http1_body_of_request(&b, &h));
	}
	assert_int_equal(http1_reason_status(HTTP1_CODING_UNKNOWN), 501);
}

/* What is wrong in a request is wrong in a response; what differs: */
static const struct {
	bool head;	/* it answers a HEAD */
	struct framing_case c;
} responses[] = {
	{ false, { "1.1 200 OK\r\n", HTTP1_BODY_CLOSE, 0, HTTP1_FINE } },
	{ false, { "1.0 200 OK\r\n", HTTP1_BODY_CLOSE, 0, HTTP1_FINE } },
	{ true, { "1.1 200 OK\r\n", HTTP1_BODY_NONE, 0, HTTP1_FINE } },
	{ true, { "1.1 200 OK\r\nContent-Length: 5\r\n", HTTP1_BODY_NONE, 0, HTTP1_FINE } },
	{ true, { "1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", HTTP1_BODY_NONE, 0, HTTP1_FINE } },
	/* RFC 9112 section 6.3, rule 1: it ends with its head, whatever it claims. */
	{ true, { "1.1 200 OK\r\nContent-Length: x\r\n", HTTP1_BODY_NONE, 0, HTTP1_FINE } },
	{ true,
	  { "1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", HTTP1_BODY_NONE, 0,
	    HTTP1_FINE } },
	{ false,
	  { "1.1 304 Not Modified\r\nContent-Length: 5\r\nContent-Length: 6\r\n", HTTP1_BODY_NONE, 0,
	    HTTP1_FINE } },
	{ false, { "1.1 204 No Content\r\nTransfer-Encoding: gzip\r\n", HTTP1_BODY_NONE, 0, HTTP1_FINE } },
	{ false, { "1.1 100 Continue\r\nContent-Length: 5\r\n", HTTP1_BODY_NONE, 0, HTTP1_FINE } },
	{ false, { "1.1 101 Switching Protocols\r\n", HTTP1_BODY_NONE, 0, HTTP1_FINE } },
	{ false,
	  { "1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n", HTTP1_BODY_NONE, 0, HTTP1_FINE } },
	{ false, { "1.1 204 No Content\r\nContent-Length: 5\r\n", HTTP1_BODY_NONE, 0, HTTP1_FINE } },
	{ false, { "1.1 304 Not Modified\r\nContent-Length: 5\r\n", HTTP1_BODY_NONE, 0, HTTP1_FINE } },
	{ false, { "1.1 205 Reset Content\r\nContent-Length: 0\r\n", HTTP1_BODY_LENGTH, 0, HTTP1_FINE } },
	{ false, { "1.1 404 Not Found\r\nContent-Length: 7\r\n", HTTP1_BODY_LENGTH, 7, HTTP1_FINE } },
	{ false, { "1.1 500\r\nTransfer-Encoding: chunked\r\n", HTTP1_BODY_CHUNKED, 0, HTTP1_FINE } },
	{ false,
	  { "1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", 0, 0,
	    HTTP1_LENGTH_AND_CODING } },
	{ false,
	  { "1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n", 0, 0, HTTP1_LENGTH_REPEATED } },
	{ false, { "1.1 200 OK\r\nContent-Length: 5, 5\r\n", 0, 0, HTTP1_LENGTH_BAD } },
	{ false, { "1.0 200 OK\r\nTransfer-Encoding: chunked\r\n", 0, 0, HTTP1_CODING_IN_1_0 } },
	{ false, { "1.1 200 OK\r\nTransfer-Encoding: gzip\r\n", 0, 0, HTTP1_CODING_LAST } },
	{ false, { "1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n", 0, 0, HTTP1_CODING_UNKNOWN } },
};

static void
test_framing_of_responses(void **state)
{
	struct http1_body b;
	char text[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(responses); i++) {
		snprintf(text, sizeof(text), "HTTP/%s\r\n", responses[i].c.lines);
		struct http1_head h = head_of(text, true);

		check_framing(&responses[i].c, &b, http1_body_of_response(&b, &h, responses[i].head));
	}
}

#define ODD(word) HTTP1_ODD_BIT(HTTP1_ODD_##word)

/* The same, of a head that was read leniently; drops: what does not go on. */
static const struct {
	bool head;
	struct framing_case c;
	unsigned odd;
	uint64_t drops;
} odd_responses[] = {
	{ false, { "1.1 200 OK\r\nContent-Length: 5\r\n", HTTP1_BODY_LENGTH, 5, HTTP1_FINE }, 0, 0 },
	{ false,
	  { "1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", HTTP1_BODY_CHUNKED, 0,
	    HTTP1_FINE },
	  ODD(LENGTH_AND_CODING),
	  HTTP1_BIT(HTTP1_CONTENT_LENGTH) },
	{ false,
	  { "1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: x\r\n", HTTP1_BODY_CHUNKED, 0,
	    HTTP1_FINE },
	  ODD(LENGTH_AND_CODING),
	  HTTP1_BIT(HTTP1_CONTENT_LENGTH) },
	{ false,
	  { "1.1 200 OK\r\nContent-Length: 5\r\nA: b\r\ncontent-length: 05\r\n", HTTP1_BODY_LENGTH, 5,
	    HTTP1_FINE },
	  ODD(LENGTH_REPEATED),
	  0 },
	{ false,
	  { "1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n", 0, 0, HTTP1_LENGTH_REPEATED }, 0, 0 },
	{ false,
	  { "1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\nContent-Length: 6\r\n", 0, 0,
	    HTTP1_LENGTH_REPEATED },
	  0,
	  0 },
	{ false, { "1.1 200 OK\r\nContent-Length: 5\r\nContent-Length:\r\n", 0, 0, HTTP1_LENGTH_BAD }, 0, 0 },
	{ false, { "1.1 200 OK\r\nContent-Length: 5, 5\r\n", 0, 0, HTTP1_LENGTH_BAD }, 0, 0 },
	{ false,
	  { "1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: gzip\r\n", 0, 0, HTTP1_CODING_LAST }, 0, 0 },
	{ false,
	  { "1.0 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", 0, 0, HTTP1_CODING_IN_1_0 },
	  0,
	  0 },
	{ true,
	  { "1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", HTTP1_BODY_NONE, 0,
	    HTTP1_FINE },
	  ODD(NO_BODY),
	  HTTP1_BIT(HTTP1_CONTENT_LENGTH) },
	{ true,
	  { "1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n", HTTP1_BODY_NONE, 0, HTTP1_FINE },
	  ODD(NO_BODY),
	  HTTP1_BIT(HTTP1_CONTENT_LENGTH) },
	{ true,
	  { "1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: gzip\r\n", HTTP1_BODY_NONE, 0, HTTP1_FINE },
	  ODD(NO_BODY),
	  HTTP1_BIT(HTTP1_CONTENT_LENGTH) | HTTP1_BIT(HTTP1_TRANSFER_ENCODING) },
	{ true, { "1.1 200 OK\r\nContent-Length: 5\r\n", HTTP1_BODY_NONE, 0, HTTP1_FINE }, 0, 0 },
};

static void
test_framing_of_odd_responses(void **state)
{
	struct http1_body b;
	char text[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(odd_responses); i++) {
		struct http1_head h;
		enum http1_verdict v;
		size_t n = (size_t)snprintf(text, sizeof(text), "HTTP/%s\r\n", odd_responses[i].c.lines);

		http1_head_init_response(&h, LIMIT);
		h.lenient = true;
		assert_int_equal(http1_head_parse(&h, text, n), HTTP1_DONE);
		v = http1_body_of_response(&b, &h, odd_responses[i].head);
		check_framing(&odd_responses[i].c, &b, v);
		if (v != HTTP1_DONE)
			continue;
		assert_int_equal(b.odd, odd_responses[i].odd);
		assert_true(http1_response_drops(&h) == odd_responses[i].drops);
	}
}

/* Bodies */

static struct http1_body
chunked(void)
{
	return (struct http1_body){ .framing = HTTP1_BODY_CHUNKED };
}

struct taken {
	enum http1_verdict verdict;
	size_t bytes;	/* of the message */
	struct http1_body body;
	size_t n;	/* of the data */
	char data[GUARDED_MAX];
};

/* Goes on with p[0..n) at t->bytes. */
static void
take(struct taken *t, const char *p, size_t n)
{
	struct str data;
	size_t used;

	while (t->verdict == HTTP1_NEED_MORE && t->bytes < n) {
		used = http1_body_take(&t->body, p + t->bytes, n - t->bytes, &data, &t->verdict);
		assert_true(used <= n - t->bytes && data.n <= used);
		assert_true(used > 0 || t->verdict != HTTP1_NEED_MORE);
		assert_true(data.n == 0 || data.p + data.n == p + t->bytes + used);
		memcpy(t->data + t->n, data.p, data.n);
		t->n += data.n;
		t->bytes += used;
	}
}

static void
assert_taken(const struct taken *a, const struct taken *b)
{
	assert_int_equal(a->verdict, b->verdict);
	assert_int_equal(a->body.reason, b->body.reason);
	assert_int_equal(a->bytes, b->bytes);
	assert_int_equal(a->n, b->n);
	assert_int_equal(a->body.total, a->n);
	assert_memory_equal(a->data, b->data, a->n);
}

static const struct taken *
take_all_ways(struct http1_body body, const char *p, size_t n)
{
	static struct taken whole, other;

	whole = (struct taken){ .body = body };
	take(&whole, guarded(p, n), n);
	for (size_t cut = 0; cut < n; cut++) {
		other = (struct taken){ .body = body };
		take(&other, guarded(p, cut), cut);
		take(&other, guarded(p, n), n);
		assert_taken(&whole, &other);
	}
	other = (struct taken){ .body = body };
	for (size_t i = 1; i <= n; i++)
		take(&other, guarded(p, i), i);
	assert_taken(&whole, &other);
	return &whole;
}

#define BYTES(lit) lit, sizeof(lit) - 1
#define LONG "0123456789012345678901234567890123456789012345678901234567890123456789"

static const struct {
	const char *text;
	size_t n;
	const char *data;
	size_t rest;	/* bytes behind the message */
} good_chunks[] = {
	{ BYTES("0\r\n\r\n"), "", 0 },
	{ BYTES("5\r\nhello\r\n0\r\n\r\n"), "hello", 0 },
	{ BYTES("5\r\nhello\r\n0\r\n\r\nGET /"), "hello", 5 },
	{ BYTES("1\r\na\r\n2\r\n\r\n\r\n00000000000000a\r\n0123456789\r\n0000000000000000\r\n\r\n"),
	  "a\r\n0123456789", 0 },
	{ BYTES("1E\r\n012345678901234567890123456789\r\n0\r\n\r\n"), "012345678901234567890123456789", 0 },
	{ BYTES("1e\r\n012345678901234567890123456789\r\n0\r\n\r\n"), "012345678901234567890123456789", 0 },
	{ BYTES("1;a\r\nx\r\n0;b=c;d=\"e f\"\r\n\r\n"), "x", 0 },
	{ BYTES("1 ; a = b ;\tc=\"\\\"\\\\;,\xff\" ;d\r\nx\r\n0\r\n\r\n"), "x", 0 },
	{ BYTES("1;a=\"\"\r\nx\r\n0\r\n\r\n"), "x", 0 },
	{ BYTES("0\r\nX-Sum: 1\r\nEtag:\r\nGrpc-Status:  0\t\r\n\r\n"), "", 0 },
	{ BYTES("0\r\nContent-Digest: a\r\nContent-Lengths: 1\r\nHos: t\r\nhostess: u\r\nContent-: x\r\nT: 1\r\n\r\n"),
	  "", 0 },
	{ BYTES("0\r\nA: \x80\xff\r\n\r\n"), "", 0 },
};

/* Only where answers are taken leniently, and only where one meaning is left. */
static void
test_blanks_after_a_size(void **state)
{
	static const struct {
		const char *text;
		size_t n;
		const char *data;	/* NULL: refused all the same */
	} rows[] = {
		{ BYTES("5 \r\nhello\r\n0\r\n\r\n"), "hello" },
		{ BYTES("5\t  \t\r\nhello\r\n0   \r\n\r\n"), "hello" },
		{ BYTES("5;a=b \r\nhello\r\n0\r\n\r\n"), "hello" },
		{ BYTES(" 5\r\nhello\r\n0\r\n\r\n"), NULL },
		{ BYTES("5 5\r\nhello\r\n0\r\n\r\n"), NULL },
		{ BYTES("5 \nhello\r\n0\r\n\r\n"), NULL },
		{ BYTES("5 \r\r\nhello\r\n0\r\n\r\n"), NULL },
		{ BYTES("5; \r\nhello\r\n0\r\n\r\n"), NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct http1_body body = chunked();
		const struct taken *t;

		assert_int_equal(take_all_ways(body, rows[i].text, rows[i].n)->verdict, HTTP1_BAD);
		body.lenient = true;
		t = take_all_ways(body, rows[i].text, rows[i].n);
		assert_int_equal(t->verdict, rows[i].data != NULL ? HTTP1_DONE : HTTP1_BAD);
		if (rows[i].data == NULL)
			continue;
		assert_int_equal(t->body.odd, ODD(CHUNK_BLANK));
		assert_int_equal(t->n, strlen(rows[i].data));
		assert_memory_equal(t->data, rows[i].data, t->n);
	}
}

static const struct {
	const char *text;
	size_t n;
	size_t good;	/* bytes before the wrong one */
	enum http1_reason reason;
} bad_chunks[] = {
	/* the size: RFC 9112 section 7.1 */
	{ BYTES("\r\n"), 0, HTTP1_CHUNK_SIZE_BAD },
	{ BYTES("\n"), 0, HTTP1_BARE_LF },
	{ BYTES("\0"), 0, HTTP1_NUL },
	{ BYTES(" 5\r\n"), 0, HTTP1_CHUNK_SIZE_BAD },
	{ BYTES("\t5\r\n"), 0, HTTP1_CHUNK_SIZE_BAD },
	{ BYTES("+5\r\n"), 0, HTTP1_CHUNK_SIZE_BAD },
	{ BYTES("-5\r\n"), 0, HTTP1_CHUNK_SIZE_BAD },
	{ BYTES("g\r\n"), 0, HTTP1_CHUNK_SIZE_BAD },
	{ BYTES("G\r\n"), 0, HTTP1_CHUNK_SIZE_BAD },
	{ BYTES("@\r\n"), 0, HTTP1_CHUNK_SIZE_BAD },
	{ BYTES(":\r\n"), 0, HTTP1_CHUNK_SIZE_BAD },
	{ BYTES(";a\r\n"), 0, HTTP1_CHUNK_SIZE_BAD },
	{ BYTES("0x5\r\n"), 1, HTTP1_CHUNK_SIZE_BAD },
	{ BYTES("5_0\r\n"), 1, HTTP1_CHUNK_SIZE_BAD },
	{ BYTES("5,5\r\n"), 1, HTTP1_CHUNK_SIZE_BAD },
	{ BYTES("5\nhello"), 1, HTTP1_BARE_LF },
	{ BYTES("5\0\r\n"), 1, HTTP1_NUL },
	{ BYTES("5\rhello"), 2, HTTP1_BARE_CR },
	{ BYTES("5\r\r\nhello"), 2, HTTP1_BARE_CR },
	{ BYTES("5 \r\nhello"), 2, HTTP1_CHUNK_EXT_BAD },
	{ BYTES("5 5\r\n"), 2, HTTP1_CHUNK_EXT_BAD },
	{ BYTES("00000000000000005\r\n"), 16, HTTP1_CHUNK_SIZE_LONG },
	{ BYTES("8000000000000000\r\n"), 15, HTTP1_CHUNK_SIZE_LONG },
	{ BYTES("ffffffffffffffff\r\n"), 15, HTTP1_CHUNK_SIZE_LONG },
	{ BYTES("10000000000000005\r\n"), 16, HTTP1_CHUNK_SIZE_LONG },
	/* extensions: section 7.1.1 */
	{ BYTES("5;\r\nhello"), 2, HTTP1_CHUNK_EXT_BAD },
	{ BYTES("5;;a\r\n"), 2, HTTP1_CHUNK_EXT_BAD },
	{ BYTES("5;a=\r\n"), 4, HTTP1_CHUNK_EXT_BAD },
	{ BYTES("5;=b\r\n"), 2, HTTP1_CHUNK_EXT_BAD },
	{ BYTES("5;a \r\n"), 4, HTTP1_CHUNK_EXT_BAD },
	{ BYTES("5;a=b \r\n"), 6, HTTP1_CHUNK_EXT_BAD },
	{ BYTES("5;a b\r\n"), 4, HTTP1_CHUNK_EXT_BAD },
	{ BYTES("5;a=b c\r\n"), 6, HTTP1_CHUNK_EXT_BAD },
	{ BYTES("5;a=b\"c\"\r\n"), 5, HTTP1_CHUNK_EXT_BAD },
	{ BYTES("5;a=\"b\"c\r\n"), 7, HTTP1_CHUNK_EXT_BAD },
	{ BYTES("5;a=\"b\r\n"), 6, HTTP1_BARE_CR },
	{ BYTES("5;a=\"b\\\r\n"), 7, HTTP1_BARE_CR },
	{ BYTES("5;a=\"b\n"), 6, HTTP1_BARE_LF },
	{ BYTES("5;a=\"\0\"\r\n"), 5, HTTP1_NUL },
	{ BYTES("5;a=\"\\\x01\"\r\n"), 6, HTTP1_CHUNK_EXT_BAD },
	{ BYTES("5;a\nhello"), 3, HTTP1_BARE_LF },
	{ BYTES("5;a\rhello"), 4, HTTP1_BARE_CR },
	{ BYTES("5;a=b\nhello"), 5, HTTP1_BARE_LF },
	{ BYTES("5;\nhello"), 2, HTTP1_BARE_LF },
	{ BYTES("5;a\x7f\r\n"), 3, HTTP1_CHUNK_EXT_BAD },
	/* after the data */
	{ BYTES("1\r\nab\r\n"), 4, HTTP1_CHUNK_END_BAD },
	{ BYTES("1\r\na\n0\r\n"), 4, HTTP1_CHUNK_END_BAD },
	{ BYTES("1\r\na\r0\r\n"), 5, HTTP1_CHUNK_END_BAD },
	{ BYTES("1\r\na0\r\n\r\n"), 4, HTTP1_CHUNK_END_BAD },
	/* the end and trailers: section 7.1.2 */
	{ BYTES("0\r\n\n"), 3, HTTP1_BARE_LF },
	{ BYTES("0\r\n\r\r"), 4, HTTP1_BARE_CR },
	{ BYTES("0\r\n A: b\r\n"), 3, HTTP1_OBS_FOLD },
	{ BYTES("0\r\nA: b\r\n c\r\n"), 9, HTTP1_OBS_FOLD },
	{ BYTES("0\r\n: b\r\n"), 3, HTTP1_NAME_EMPTY },
	{ BYTES("0\r\nA : b\r\n"), 4, HTTP1_NAME_SPACE },
	{ BYTES("0\r\nA\r\n"), 4, HTTP1_COLON_MISSING },
	{ BYTES("0\r\nA\n"), 4, HTTP1_BARE_LF },
	{ BYTES("0\r\nA(: b\r\n"), 4, HTTP1_NAME_BAD },
	{ BYTES("0\r\n(: b\r\n"), 3, HTTP1_NAME_BAD },
	{ BYTES("0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 6, HTTP1_NAME_SPACE },
	{ BYTES("0\r\nA: b\n\r\n"), 7, HTTP1_BARE_LF },
	{ BYTES("0\r\nA: b\rc\r\n"), 8, HTTP1_BARE_CR },
	{ BYTES("0\r\nA: \0\r\n"), 6, HTTP1_NUL },
	{ BYTES("0\r\nA: \x1f\r\n"), 6, HTTP1_VALUE_BAD },
	{ BYTES("0\r\nContent-Length: 5\r\n"), 17, HTTP1_TRAILER_FORBIDDEN },
	{ BYTES("0\r\nCONTENT_LENGTH: 5\r\n"), 17, HTTP1_TRAILER_FORBIDDEN },
	{ BYTES("0\r\nA: b\r\ntransfer-encoding: chunked\r\n"), 26, HTTP1_TRAILER_FORBIDDEN },
	{ BYTES("0\r\nHost: a\r\n"), 7, HTTP1_TRAILER_FORBIDDEN },
	{ BYTES("0\r\nAuthorization: a\r\n"), 16, HTTP1_TRAILER_FORBIDDEN },
	{ BYTES("0\r\nCookie: a\r\n"), 9, HTTP1_TRAILER_FORBIDDEN },
	{ BYTES("0\r\nSet-Cookie: a\r\n"), 13, HTTP1_TRAILER_FORBIDDEN },
	{ BYTES("0\r\nContent-Type: a\r\n"), 15, HTTP1_TRAILER_FORBIDDEN },
	{ BYTES("0\r\nContent-Encoding: a\r\n"), 19, HTTP1_TRAILER_FORBIDDEN },
	{ BYTES("0\r\nContent-Range: a\r\n"), 16, HTTP1_TRAILER_FORBIDDEN },
	{ BYTES("0\r\nCache-Control: a\r\n"), 16, HTTP1_TRAILER_FORBIDDEN },
	{ BYTES("0\r\nTE: a\r\n"), 5, HTTP1_TRAILER_FORBIDDEN },
	{ BYTES("0\r\nTrailer: a\r\n"), 10, HTTP1_TRAILER_FORBIDDEN },
	{ BYTES("0\r\nConnection: close\r\n"), 13, HTTP1_TRAILER_FORBIDDEN },
	{ BYTES("0\r\nX-Forwarded-For: a\r\n"), 18, HTTP1_TRAILER_FORBIDDEN },
};

static void
test_good_chunks(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good_chunks); i++) {
		const struct taken *t = take_all_ways(chunked(), good_chunks[i].text, good_chunks[i].n);

		if (t->verdict != HTTP1_DONE)
			fail_msg("%s: %s", good_chunks[i].text,
				 http1_reason_words((enum http1_reason)t->body.reason));
		assert_true(t->body.done);
		assert_int_equal(t->bytes, good_chunks[i].n - good_chunks[i].rest);
		assert_int_equal(t->n, strlen(good_chunks[i].data));
		assert_memory_equal(t->data, good_chunks[i].data, t->n);
	}
}

static void
test_bad_chunks(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad_chunks); i++) {
		const struct taken *t = take_all_ways(chunked(), bad_chunks[i].text, bad_chunks[i].n);

		if (t->verdict != HTTP1_BAD || t->body.reason != bad_chunks[i].reason ||
		    t->bytes != bad_chunks[i].good)
			fail_msg("row %zu, %s: verdict %d after %zu, %s", i, bad_chunks[i].text, t->verdict,
				 t->bytes, http1_reason_words((enum http1_reason)t->body.reason));
		/* Nothing makes it good again. */
		struct http1_body b = t->body;

		assert_int_equal(http1_body_finish(&b), HTTP1_BAD);
		assert_int_equal(b.reason, bad_chunks[i].reason);
	}
}

/* Every forbidden name is found in the table's order; one letter more or less
 * and it is another name. */
static void
test_names_next_to_forbidden_ones(void **state)
{
	static const char *const names[] = { "accept",
					     "age",
					     "connection",
					     "content-disposition",
					     "content-security-policy",
					     "host",
					     "if-unmodified-since",
					     "keep-alive",
					     "proxy-authorization",
					     "te",
					     "upgrade",
					     "via",
					     "www-authenticate",
					     "x-real-ip",
					     "x-request-id" };
	char text[64];
	int n;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		n = snprintf(text, sizeof(text), "0\r\n%s: x\r\n\r\n", names[i]);
		assert_int_equal(take_all_ways(chunked(), text, (size_t)n)->body.reason,
				 HTTP1_TRAILER_FORBIDDEN);
		n = snprintf(text, sizeof(text), "0\r\n%sz: x\r\n\r\n", names[i]);
		assert_int_equal(take_all_ways(chunked(), text, (size_t)n)->verdict, HTTP1_DONE);
		n = snprintf(text, sizeof(text), "0\r\nz%s: x\r\n\r\n", names[i]);
		assert_int_equal(take_all_ways(chunked(), text, (size_t)n)->verdict, HTTP1_DONE);
		n = snprintf(text, sizeof(text), "0\r\n%.*s: x\r\n\r\n", (int)strlen(names[i]) - 1, names[i]);
		assert_int_equal(take_all_ways(chunked(), text, (size_t)n)->verdict, HTTP1_DONE);
	}
}

static void
test_length_ends_exactly(void **state)
{
	struct http1_body b = { .framing = HTTP1_BODY_LENGTH, .left = 5 };
	const struct taken *t = take_all_ways(b, "helloGET /", 10);

	(void)state;
	assert_int_equal(t->verdict, HTTP1_DONE);
	assert_int_equal(t->bytes, 5);
	assert_memory_equal(t->data, "hello", 5);

	t = take_all_ways(b, "hell", 4);
	assert_int_equal(t->verdict, HTTP1_NEED_MORE);
	b = t->body;
	assert_int_equal(http1_body_finish(&b), HTTP1_BAD);
	assert_int_equal(b.reason, HTTP1_BODY_CUT);
}

static void
test_nothing_belongs_to_no_body(void **state)
{
	struct http1_body b = { .framing = HTTP1_BODY_NONE, .done = true };
	const struct taken *t = take_all_ways(b, "GET", 3);

	(void)state;
	assert_int_equal(t->verdict, HTTP1_DONE);
	assert_int_equal(t->bytes, 0);
	assert_int_equal(http1_body_finish(&b), HTTP1_DONE);
}

static void
test_close_lasts_until_the_end(void **state)
{
	struct http1_body b = { .framing = HTTP1_BODY_CLOSE };
	const struct taken *t = take_all_ways(b, "0\r\n\r\nx", 6);

	(void)state;
	assert_int_equal(t->verdict, HTTP1_NEED_MORE);
	assert_int_equal(t->n, 6);
	b = t->body;
	assert_int_equal(http1_body_finish(&b), HTTP1_DONE);
	assert_true(b.done);
	assert_int_equal(http1_body_skippable(&b), 0);
}

static void
test_chunks_cut_short(void **state)
{
	static const char text[] = "5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n";

	(void)state;
	for (size_t n = 0; n < sizeof(text) - 1; n++) {
		struct http1_body b = take_all_ways(chunked(), text, n)->body;

		assert_int_equal(http1_body_finish(&b), HTTP1_BAD);
		assert_int_equal(b.reason, HTTP1_BODY_CUT);
	}
}

/* What is skipped counts as what is taken. */
static void
test_skipping(void **state)
{
	struct http1_body b = { .framing = HTTP1_BODY_LENGTH, .left = UINT64_C(5) << 30 };
	enum http1_verdict v;
	struct str data;

	(void)state;
	assert_int_equal(http1_body_skippable(&b), UINT64_C(5) << 30);
	assert_int_equal(http1_body_skip(&b, (UINT64_C(5) << 30) - 1), HTTP1_NEED_MORE);
	assert_int_equal(http1_body_take(&b, "ab", 2, &data, &v), 1);
	assert_int_equal(v, HTTP1_DONE);
	assert_int_equal(b.total, UINT64_C(5) << 30);
	assert_int_equal(http1_body_skippable(&b), 0);

	b = chunked();
	assert_int_equal(http1_body_skippable(&b), 0);
	assert_int_equal(http1_body_take(&b, "1000\r\n", 6, &data, &v), 6);
	assert_int_equal(v, HTTP1_NEED_MORE);
	assert_int_equal(http1_body_skippable(&b), 0x1000);
	assert_int_equal(http1_body_skip(&b, 0xfff), HTTP1_NEED_MORE);
	assert_int_equal(http1_body_skippable(&b), 1);
	assert_int_equal(http1_body_skip(&b, 1), HTTP1_NEED_MORE);
	assert_int_equal(http1_body_skippable(&b), 0);
	assert_int_equal(http1_body_take(&b, "\r\n0\r\n\r\nG", 8, &data, &v), 7);
	assert_int_equal(v, HTTP1_DONE);
	assert_int_equal(b.total, 0x1000);

	b = (struct http1_body){ .framing = HTTP1_BODY_CLOSE };
	assert_true(http1_body_skippable(&b) == UINT64_MAX);
	assert_int_equal(http1_body_skip(&b, 7), HTTP1_NEED_MORE);
	assert_int_equal(b.total, 7);
}

/* Limits */

static void
test_extensions_are_paid_off_by_data(void **state)
{
	static char text[GUARDED_MAX];
	size_t n = 0;

	(void)state;
	/* Signed chunks, as uploads have them: as many as you like. */
	for (int i = 0; i < 200; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "46;chunk-signature=%.64s\r\n" LONG "\r\n",
				      LONG);
	struct taken *all = calloc(1, sizeof(*all));

	assert_non_null(all);
	all->body = chunked();
	take(all, text, n);
	assert_int_equal(all->verdict, HTTP1_NEED_MORE);
	assert_int_equal(all->n, 200 * 70);

	/* The same on empty lines' worth of data: not. */
	n = 0;
	for (int i = 0; i < 200; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "1;chunk-signature=%.64s\r\na\r\n", LONG);
	*all = (struct taken){ .body = chunked() };
	take(all, text, n);
	assert_int_equal(all->verdict, HTTP1_BAD);
	assert_int_equal(all->body.reason, HTTP1_CHUNK_EXT_LONG);
	free(all);

	/* One long one: to the byte. */
	n = (size_t)sprintf(text, "1;");
	memset(text + n, 'a', HTTP1_EXTENSIONS_MAX);
	memcpy(text + n + HTTP1_EXTENSIONS_MAX - 1, "\r\na\r\n0\r\n\r\n", 11);
	struct http1_body b = chunked();
	struct str data;
	enum http1_verdict v;

	assert_int_equal(http1_body_take(&b, text, n + HTTP1_EXTENSIONS_MAX + 1, &data, &v),
			 n + HTTP1_EXTENSIONS_MAX + 1);
	assert_int_equal(v, HTTP1_NEED_MORE);
	text[n + HTTP1_EXTENSIONS_MAX - 1] = 'a';
	b = chunked();
	assert_int_equal(http1_body_take(&b, text, n + HTTP1_EXTENSIONS_MAX + 1, &data, &v),
			 n + HTTP1_EXTENSIONS_MAX);
	assert_int_equal(b.reason, HTTP1_CHUNK_EXT_LONG);
}

static void
test_trailers_are_bounded(void **state)
{
	static char text[HTTP1_TRAILERS_MAX + 64];
	struct http1_body b = chunked();
	enum http1_verdict v;
	struct str data;

	(void)state;
	memset(text, 'a', sizeof(text));
	memcpy(text, "0\r\nA: ", 6);
	assert_int_equal(http1_body_take(&b, text, sizeof(text), &data, &v), 3 + HTTP1_TRAILERS_MAX);
	assert_int_equal(v, HTTP1_BAD);
	assert_int_equal(b.reason, HTTP1_TRAILERS_LONG);
	assert_int_equal(http1_reason_status(HTTP1_TRAILERS_LONG), 431);
}

static void
test_chunk_lines(void **state)
{
	static const struct {
		uint64_t n;
		const char *line;
	} cases[] = {
		{ 1, "1\r\n" },
		{ 15, "f\r\n" },
		{ 16, "10\r\n" },
		{ 65536, "10000\r\n" },
		{ UINT64_C(0x0123456789abcdef), "123456789abcdef\r\n" },
		{ UINT64_MAX, "ffffffffffffffff\r\n" },
	};
	char line[HTTP1_CHUNK_LINE];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(http1_chunk_line(cases[i].n, line), strlen(cases[i].line));
		assert_memory_equal(line, cases[i].line, strlen(cases[i].line));
	}
}

/* The plain form */

struct plain {
	struct http1_body body;
	enum http1_verdict verdict;
	size_t bytes, n, line;
	char text[GUARDED_MAX];	/* what goes on, trailers with it */
};

static void
take_plain(struct plain *t, const char *p, size_t n)
{
	while (t->verdict == HTTP1_NEED_MORE && t->bytes < n) {
		enum http1_piece kind;
		size_t used = http1_body_piece(&t->body, p + t->bytes, n - t->bytes, &kind, &t->verdict);

		assert_true(used <= n - t->bytes);
		assert_true(used > 0 || t->verdict == HTTP1_BAD);
		if (t->verdict != HTTP1_BAD && kind != HTTP1_PIECE_NOTHING) {
			memcpy(t->text + t->n, p + t->bytes, used);
			t->n += used;
		}
		t->bytes += used;
		if (kind == HTTP1_PIECE_TRAILER && p[t->bytes - 1] != '\n')
			continue;
		if (kind == HTTP1_PIECE_TRAILER && t->body.left_out)
			t->n = t->line;
		t->line = t->n;
	}
}

static void
assert_plain(const struct http1_body *body, const char *p, size_t n, const char *expected, size_t rest)
{
	static struct plain t;
	size_t length = strlen(expected);

	for (size_t cut = 0; cut <= n; cut++) {
		t = (struct plain){ .body = *body };
		take_plain(&t, guarded(p, cut), cut);
		take_plain(&t, guarded(p, n), n);
		if (t.verdict != HTTP1_DONE || t.n != length || memcmp(t.text, expected, length) != 0)
			fail_msg("%s, cut at %zu: verdict %d, %.*s", p, cut, t.verdict, (int)t.n, t.text);
		assert_int_equal(t.bytes, n - rest);
	}
	t = (struct plain){ .body = *body };
	for (size_t i = 1; i <= n; i++)
		take_plain(&t, guarded(p, i), i);
	assert_int_equal(t.n, length);
	assert_memory_equal(t.text, expected, length);
}

static const struct {
	const char *text;
	size_t n;
	const char *plain;	/* without what the caller puts at the end */
	size_t rest;
} plain_chunks[] = {
	{ BYTES("0\r\n\r\n"), "", 0 },
	{ BYTES("0000\r\n\r\nGET"), "", 3 },
	{ BYTES("5\r\nhello\r\n0\r\n\r\n"), "5\r\nhello\r\n", 0 },
	{ BYTES("0005\r\nhello\r\n00\r\n\r\n"), "5\r\nhello\r\n", 0 },
	{ BYTES("00000000000000a\r\n0123456789\r\n0\r\n\r\n"), "a\r\n0123456789\r\n", 0 },
	{ BYTES("10\r\n0123456789abcdef\r\n0\r\n\r\n"), "10\r\n0123456789abcdef\r\n", 0 },
	{ BYTES("01 ; a = b ;\tc=\"\\\"\\\\;,\xff\" ;d\r\nx\r\n0;e\r\n\r\n"), "1\r\nx\r\n", 0 },
	{ BYTES("1;a\r\n0\r\n1;b=c\r\n;\r\n0\r\n\r\n"), "1\r\n0\r\n1\r\n;\r\n", 0 },
	{ BYTES("0\r\nX-Sum: 1\r\nEtag:\r\n\r\n"), "X-Sum: 1\r\nEtag:\r\n", 0 },
};

static void
test_the_plain_form(void **state)
{
	const struct http1_body b = chunked();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(plain_chunks); i++)
		assert_plain(&b, plain_chunks[i].text, plain_chunks[i].n, plain_chunks[i].plain,
			     plain_chunks[i].rest);
}

/* What a request is refused for, a response only loses. */
static void
test_a_response_loses_trailers_that_may_not_be(void **state)
{
	struct http1_body b = chunked();

	(void)state;
	b.response = true;
	assert_plain(&b,
		     BYTES("1\r\nx\r\n0\r\nSet-Cookie: a\r\nX-Sum: 1\r\nDate: now\r\nExpires: 0\r\nA: b\r\n\r\n"),
		     "1\r\nx\r\nX-Sum: 1\r\nA: b\r\n", 0);
}

/* Too large is known before a byte of the chunk that makes it so. */
static void
test_the_limit_of_a_body_in_chunks(void **state)
{
	struct http1_body b = chunked();
	const struct taken *t;

	(void)state;
	b.most = 20;
	assert_int_equal(take_all_ways(b, BYTES("a\r\n0123456789\r\n00a\r\n0123456789\r\n0\r\n\r\n"))->verdict,
			 HTTP1_DONE);
	t = take_all_ways(b, BYTES("a\r\n0123456789\r\nb\r\n0123456789a\r\n0\r\n\r\n"));
	assert_int_equal(t->body.reason, HTTP1_BODY_LARGE);
	assert_int_equal(t->bytes, 15);
	t = take_all_ways(b, BYTES("14\r\n01234567890123456789\r\n1\r\n"));
	assert_int_equal(t->body.reason, HTTP1_BODY_LARGE);
	assert_int_equal(t->bytes, 26);
	t = take_all_ways(b, BYTES("15\r\n"));
	assert_int_equal(t->bytes, 1);
	t = take_all_ways(b, BYTES("fffffffffffffff\r\n"));
	assert_int_equal(t->body.reason, HTTP1_BODY_LARGE);
}

static void
test_trailers_that_look_like_request_lines(void **state)
{
	static const char *const odd[] = { "GET: / HTTP/1.1\r\n", "a: HTTP/1.0 \t\r\n", "a:HTTP/1.1\r\n",
					   "a:b /c http/2\r\n" };
	static const char *const even[] = { "a:\r\n", "a: b\r\n", "a: HTTP/1.1 200\r\n", "Server: HTTP\r\n",
					    "a: xHTTP/1.1\r\n" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(odd); i++)
		assert_true(http1_trailer_is_odd(str_from(odd[i])));
	for (size_t i = 0; i < ARRAY_LEN(even); i++)
		assert_false(http1_trailer_is_odd(str_from(even[i])));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_framing_of_requests),
		cmocka_unit_test(test_framing_of_responses),
		cmocka_unit_test(test_framing_of_odd_responses),
		cmocka_unit_test(test_blanks_after_a_size),
		cmocka_unit_test(test_good_chunks),
		cmocka_unit_test(test_bad_chunks),
		cmocka_unit_test(test_the_plain_form),
		cmocka_unit_test(test_a_response_loses_trailers_that_may_not_be),
		cmocka_unit_test(test_the_limit_of_a_body_in_chunks),
		cmocka_unit_test(test_trailers_that_look_like_request_lines),
		cmocka_unit_test(test_names_next_to_forbidden_ones),
		cmocka_unit_test(test_length_ends_exactly),
		cmocka_unit_test(test_nothing_belongs_to_no_body),
		cmocka_unit_test(test_close_lasts_until_the_end),
		cmocka_unit_test(test_chunks_cut_short),
		cmocka_unit_test(test_skipping),
		cmocka_unit_test(test_extensions_are_paid_off_by_data),
		cmocka_unit_test(test_trailers_are_bounded),
		cmocka_unit_test(test_chunk_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
