/* test_http2_request.c - requests from fields to HTTP/1.1: what is written, that the strict parser of HTTP/1 takes it,
 * and every reason for which a request is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/hash.h"
#include "hpack_text.h"
#include "proto/hpack_encoder.h"
#include "proto/http1_body.h"
#include "proto/http1_host.h"
#include "proto/http2_request.h"
#include "scaled.h"

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="

static char head[HPACK_TEXT_ROOM(TEST_SIZE)];

/* Fields of "name: value\n" lines, by our encoder and decoder; any bytes but '\n', for which '^' stands, and
 * '\r' and NUL, for which '<' and '@' do behind a '^'. */
static const struct hpack_fields *
fields_of(const char *lines)
{
	static char block[8192];
	struct hpack_fields *f = test_fields();
	struct hpack_decoder d;
	char *p = block;

	hpack_decoder_init(&d, 4096);
	while (*lines != '\0') {
		const char *end = strchr(lines, '\n'), *colon = strchr(lines + 1, ':');
		size_t name_n = (size_t)(colon - lines), value_n = (size_t)(end - colon - 2);

		assert_true(end != NULL && colon != NULL && colon + 1 < end);
		/* As literals, byte for byte. */
		assert_true(name_n < 127 && value_n < 127);
		*p++ = 0;
		*p++ = (char)name_n;
		memcpy(p, lines, name_n);
		p += name_n;
		*p++ = (char)value_n;
		for (const char *c = colon + 2; c < end; c++)
			*p++ = (char)(*c == '^' ? '\n' : *c == '`' ? '\r' : *c == '\1' ? '\0' : *c);
		lines = end + 1;
	}
	assert_int_equal(hpack_decode(&d, (struct str){ block, (size_t)(p - block) }, f), HTTP2_FINE);
	assert_int_equal(f->over, HTTP2_FINE);
	hpack_decoder_free(&d);
	return f;
}

static enum http2_reason
translate(struct http2_request *r, const char *lines)
{
	const struct hpack_fields *f = fields_of(lines);
	enum http2_reason reason = http2_request_write(f, r, head, f->used + HTTP2_REQUEST_EXTRA);

	assert_true(r->n <= f->used + HTTP2_REQUEST_EXTRA);
	assert_true(r->n == 0 || reason == HTTP2_FINE);
	head[r->n] = '\0';
	return reason;
}

/* Written so, and taken by the parser of HTTP/1. */
static void
check_head(bool end_stream, const char *lines, const char *text)
{
	struct http2_request r = { .end_stream = end_stream, .connect_protocol = true, .websocket_key = KEY };
	static struct http1_head h;
	struct http1_host host;
	struct http1_body body;

	assert_int_equal(translate(&r, lines), HTTP2_FINE);
	assert_string_equal(head, text);
	http1_head_init(&h, sizeof(head));
	assert_int_equal(http1_head_parse(&h, head, r.n), HTTP1_DONE);
	assert_int_equal(h.length, r.n);
	assert_int_equal(http1_host_of(&h, &host), HTTP1_FINE);
	assert_int_equal(http1_body_of_request(&body, &h), HTTP1_DONE);
	assert_int_equal(body.framing == HTTP1_BODY_CHUNKED, r.chunked);
	if (r.has_length)
		assert_int_equal(body.left, r.length);
}

#define GET ":method: GET\n:scheme: https\n:path: /a?b=c\n:authority: shop.example\n"
#define POST ":method: POST\n:scheme: https\n:path: /\n:authority: shop.example\n"

static void
test_requests(void **state)
{
	(void)state;
	check_head(true, GET "user-agent: curl\naccept: */*\n",
		   "GET /a?b=c HTTP/1.1\r\nhost: shop.example\r\nuser-agent: curl\r\naccept: */*\r\n\r\n");
	check_head(true, GET, "GET /a?b=c HTTP/1.1\r\nhost: shop.example\r\n\r\n");
	/* In any order, and an empty value. */
	check_head(true, ":path: /\n:authority: a\n:method: DELETE\n:scheme: HTTP\nx: \n",
		   "DELETE / HTTP/1.1\r\nhost: a\r\nx: \r\n\r\n");
	check_head(true, ":method: OPTIONS\n:scheme: https\n:path: *\n:authority: a\n",
		   "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n");
	check_head(true, GET "te: trailers\nx: y\n",
		   "GET /a?b=c HTTP/1.1\r\nhost: shop.example\r\nte: trailers\r\nx: y\r\n\r\n");
}

/* RFC 9113 section 8.3.1. */
static void
test_authority_and_host(void **state)
{
	(void)state;
	check_head(true, ":method: GET\n:scheme: https\n:path: /\nx: y\nhost: a.example:81\nz: z\n",
		   "GET / HTTP/1.1\r\nhost: a.example:81\r\nx: y\r\nz: z\r\n\r\n");
	check_head(true, GET "host: shop.example\n", "GET /a?b=c HTTP/1.1\r\nhost: shop.example\r\n\r\n");
	/* The same in another spelling: what :authority says goes on. */
	check_head(true, GET "host: SHOP.example:443\n", "GET /a?b=c HTTP/1.1\r\nhost: shop.example\r\n\r\n");
	check_head(true, ":method: GET\n:scheme: http\n:path: /\n:authority: [::1]:80\nhost: [0::1]\n",
		   "GET / HTTP/1.1\r\nhost: [::1]:80\r\n\r\n");
}

/* RFC 9113 section 8.2.3. */
static void
test_cookies(void **state)
{
	(void)state;
	check_head(true, GET "cookie: a=1\n",
		   "GET /a?b=c HTTP/1.1\r\nhost: shop.example\r\ncookie: a=1\r\n\r\n");
	check_head(
		true, GET "x: 1\ncookie: a=1\ny: 2\ncookie: b=2; c=3\ncookie: d\nz: 3\n",
		"GET /a?b=c HTTP/1.1\r\nhost: shop.example\r\nx: 1\r\ny: 2\r\nz: 3\r\ncookie: a=1; b=2; c=3; d\r\n\r\n");
}

static void
test_framing(void **state)
{
	(void)state;
	check_head(false, POST,
		   "POST / HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n");
	check_head(false, GET,
		   "GET /a?b=c HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n");
	check_head(false, POST "content-length: 12\n",
		   "POST / HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 12\r\n\r\n");
	check_head(true, POST, "POST / HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 0\r\n\r\n");
	check_head(true, POST "content-length: 0\n",
		   "POST / HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 0\r\n\r\n");
	check_head(false, POST "content-length: 0\n",
		   "POST / HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 0\r\n\r\n");
}

#define WEBSOCKET ":method: CONNECT\n:protocol: websocket\n:scheme: https\n:path: /chat\n:authority: a\n"

static void
test_connect(void **state)
{
	struct http2_request r = { .end_stream = false };

	(void)state;
	check_head(false, ":method: CONNECT\n:authority: a:443\n",
		   "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n");
	check_head(false, WEBSOCKET "sec-websocket-version: 13\nsec-websocket-key: mine\norigin: b\n",
		   "GET /chat HTTP/1.1\r\nhost: a\r\nsec-websocket-version: 13\r\norigin: b\r\n"
		   "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: " KEY "\r\n\r\n");
	/* Not offered; or nowhere to go. */
	assert_int_equal(translate(&r, WEBSOCKET), HTTP2_PROTOCOL_BAD);
	r.connect_protocol = true;
	assert_int_equal(translate(&r, WEBSOCKET), HTTP2_PROTOCOL_UNKNOWN);
	assert_int_equal(http2_reason_status(HTTP2_PROTOCOL_UNKNOWN), 501);
}

#define LONG_NAME \
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"

static void
test_reasons(void **state)
{
	static const struct {
		const char *lines;
		enum http2_reason reason;
	} rows[] = {
		{ GET "A: x\n", HTTP2_NAME_UPPER },
		{ GET "abC: x\n", HTTP2_NAME_UPPER },
		{ GET "a b: x\n", HTTP2_NAME_BAD },
		{ GET "a\x7f: x\n", HTTP2_NAME_BAD },
		{ GET "\xc3\xa4: x\n", HTTP2_NAME_BAD },
		{ GET "a: x^y\n", HTTP2_VALUE_BAD },
		{ GET "a: x`y\n", HTTP2_VALUE_BAD },
		{ GET "a: x\1y\n", HTTP2_VALUE_BAD },
		{ GET "a: xxxxxxxxxxxxxxx\x1f"
		      "yyyyyyyyyyyyyy\n",
		  HTTP2_VALUE_BAD },
		{ GET "a: \x7f\n", HTTP2_VALUE_BAD },
		{ GET "a:  x\n", HTTP2_VALUE_SPACE },
		{ GET "a: x \n", HTTP2_VALUE_SPACE },
		{ GET "a: \tx\n", HTTP2_VALUE_SPACE },
		{ GET "a:  \n", HTTP2_VALUE_SPACE },
		{ "x: y\n" GET, HTTP2_PSEUDO_LATE },
		{ ":method: GET\ncookie: a\n:path: /\n:scheme: https\n:authority: a\n", HTTP2_PSEUDO_LATE },
		{ ":method: GET\ncontent-length: 0\n:path: /\n:scheme: https\n:authority: a\n",
		  HTTP2_PSEUDO_LATE },
		{ GET ":method: GET\n", HTTP2_PSEUDO_REPEATED },
		{ GET ":path: /\n", HTTP2_PSEUDO_REPEATED },
		{ GET ":scheme: https\n", HTTP2_PSEUDO_REPEATED },
		{ GET ":authority: a\n", HTTP2_PSEUDO_REPEATED },
		{ GET ":status: 200\n", HTTP2_PSEUDO_UNKNOWN },
		{ GET ":other: x\n", HTTP2_PSEUDO_UNKNOWN },
		{ GET ":Path: x\n", HTTP2_PSEUDO_UNKNOWN },
		{ "", HTTP2_METHOD_MISSING },
		{ ":scheme: https\n:path: /\n:authority: a\n", HTTP2_METHOD_MISSING },
		{ ":method: GET\n:path: /\n:authority: a\n", HTTP2_SCHEME_MISSING },
		{ ":method: GET\n:scheme: https\n:authority: a\n", HTTP2_PATH_MISSING },
		{ ":method: GET\n:scheme: https\n:path: \n:authority: a\n", HTTP2_PATH_MISSING },
		{ ":method: GET\n:scheme: https\n:path: /\n", HTTP2_AUTHORITY_MISSING },
		{ ":method: \n:scheme: https\n:path: /\n:authority: a\n", HTTP2_METHOD_BAD },
		{ ":method: GET /x\n:scheme: https\n:path: /\n:authority: a\n", HTTP2_METHOD_BAD },
		{ ":method: G:T\n:scheme: https\n:path: /\n:authority: a\n", HTTP2_METHOD_BAD },
		{ ":method: GET^\n:scheme: https\n:path: /\n:authority: a\n", HTTP2_VALUE_BAD },
		{ ":method: GET\n:scheme: \n:path: /\n:authority: a\n", HTTP2_SCHEME_BAD },
		{ ":method: GET\n:scheme: ftp\n:path: /\n:authority: a\n", HTTP2_SCHEME_BAD },
		{ ":method: GET\n:scheme: https\n:path: a\n:authority: a\n", HTTP2_PATH_BAD },
		{ ":method: GET\n:scheme: https\n:path: http://b/\n:authority: a\n", HTTP2_PATH_BAD },
		{ ":method: GET\n:scheme: https\n:path: /a b\n:authority: a\n", HTTP2_PATH_BAD },
		{ ":method: GET\n:scheme: https\n:path: / HTTP/1.1\n:authority: a\n", HTTP2_PATH_BAD },
		{ ":method: GET\n:scheme: https\n:path: /#x\n:authority: a\n", HTTP2_PATH_BAD },
		{ ":method: GET\n:scheme: https\n:path: **\n:authority: a\n", HTTP2_PATH_BAD },
		{ ":method: GET\n:scheme: https\n:path: /a\tb\n:authority: a\n", HTTP2_PATH_BAD },
		{ ":method: GET\n:scheme: https\n:path: /x^a: b\n:authority: a\n", HTTP2_VALUE_BAD },
		{ ":method: GET\n:scheme: https\n:path: /\n:authority: \n", HTTP2_AUTHORITY_BAD },
		{ ":method: GET\n:scheme: https\n:path: /\n:authority: u@a\n", HTTP2_AUTHORITY_BAD },
		{ ":method: GET\n:scheme: https\n:path: /\n:authority: a b\n", HTTP2_AUTHORITY_BAD },
		{ ":method: GET\n:scheme: https\n:path: /\n:authority: \nhost: a\n", HTTP2_AUTHORITY_BAD },
		{ GET "host: other.example\n", HTTP2_HOST_DIFFERS },
		{ GET "host: shop.example:444\n", HTTP2_HOST_DIFFERS },
		{ GET "host: shop.example:80\n", HTTP2_HOST_DIFFERS },
		{ GET "host: \n", HTTP2_AUTHORITY_BAD },
		{ GET "host: shop.example\nhost: shop.example\n", HTTP2_HOST_REPEATED },
		{ GET "connection: close\n", HTTP2_CONNECTION_FIELD },
		{ GET "keep-alive: 5\n", HTTP2_CONNECTION_FIELD },
		{ GET "proxy-connection: close\n", HTTP2_CONNECTION_FIELD },
		{ GET "transfer-encoding: chunked\n", HTTP2_CONNECTION_FIELD },
		{ GET "upgrade: h2c\n", HTTP2_CONNECTION_FIELD },
		{ GET "te: gzip\n", HTTP2_TE_BAD },
		{ GET "te: trailers, deflate\n", HTTP2_TE_BAD },
		{ GET "te: \n", HTTP2_TE_BAD },
		{ GET "content-length: x\n", HTTP2_LENGTH_BAD },
		{ GET "content-length: \n", HTTP2_LENGTH_BAD },
		{ GET "content-length: -1\n", HTTP2_LENGTH_BAD },
		{ GET "content-length: +1\n", HTTP2_LENGTH_BAD },
		{ GET "content-length: 9223372036854775808\n", HTTP2_LENGTH_BAD },
		{ GET "content-length: 0\ncontent-length: 0\n", HTTP2_LENGTH_REPEATED },
		{ GET "content-length: 1\n", HTTP2_LENGTH_DIFFERS },
		{ ":method: CONNECT\n:scheme: https\n:authority: a:1\n", HTTP2_CONNECT_BAD },
		{ ":method: CONNECT\n:path: /\n:authority: a:1\n", HTTP2_CONNECT_BAD },
		{ ":method: CONNECT\n:authority: a:1\ncontent-length: 0\n", HTTP2_CONNECT_BAD },
		{ ":method: CONNECT\n", HTTP2_AUTHORITY_MISSING },
		{ ":method: CONNECT\n:authority: " LONG_NAME "\nhost: " LONG_NAME "x\n", HTTP2_HOST_DIFFERS },
		{ WEBSOCKET "content-length: 0\n", HTTP2_CONNECT_BAD },
		{ ":method: CONNECT\n:protocol: websocket\n:path: /\n:authority: a\n", HTTP2_SCHEME_MISSING },
		{ ":method: CONNECT\n:protocol: websocket\n:scheme: https\n:authority: a\n",
		  HTTP2_PATH_MISSING },
		{ ":method: CONNECT\n:protocol: ipsec\n:scheme: https\n:path: /\n:authority: a\n",
		  HTTP2_PROTOCOL_UNKNOWN },
		{ GET ":protocol: websocket\n", HTTP2_PROTOCOL_BAD },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct http2_request r = { .end_stream = true,
					   .connect_protocol = true,
					   .websocket_key = KEY };
		enum http2_reason reason = translate(&r, rows[i].lines);

		if (reason != rows[i].reason)
			print_message("row %zu: %s\n", i, http2_reason_word(reason));
		assert_int_equal(reason, rows[i].reason);
		assert_int_equal(r.n, 0);
		assert_int_equal(http2_reason_scope(reason), HTTP2_OF_STREAM);
	}
}

/* An empty name cannot be written as a line of the table above. */
static void
test_empty_name(void **state)
{
	struct http2_request r = { .end_stream = true };
	struct hpack_fields *f = test_fields();
	struct hpack_decoder d;

	(void)state;
	hpack_decoder_init(&d, 4096);
	assert_int_equal(hpack_decode(&d, from_hex("82 87 84 41 01 61 00 00 01 61"), f), HTTP2_FINE);
	assert_int_equal(http2_request_write(f, &r, head, sizeof(head)), HTTP2_NAME_EMPTY);
	hpack_decoder_free(&d);
}

/* An authority that no Host can be is not copied twice. */
static void
test_long_authority(void **state)
{
	static char block[700] = "\x02\x07"
				 "CONNECT"
				 "\x01\x7f\x81\x04";
	struct http2_request r = { .end_stream = true };
	struct hpack_fields *f = test_fields();
	struct hpack_decoder d;

	(void)state;
	memset(block + 13, 'a', 640);
	hpack_decoder_init(&d, 4096);
	assert_int_equal(hpack_decode(&d, (struct str){ block, 13 + 640 }, f), HTTP2_FINE);
	assert_int_equal(f->count, 2);
	assert_int_equal(http2_request_write(f, &r, head, f->used + HTTP2_REQUEST_EXTRA),
			 HTTP2_AUTHORITY_BAD);
	hpack_decoder_free(&d);
}

static enum http2_reason
translate_trailers(const char *lines, bool end_stream)
{
	const struct hpack_fields *f = fields_of(lines);
	enum http2_reason reason;
	size_t n;

	reason = http2_trailers_write(f, end_stream, head, f->used, &n);
	head[n] = '\0';
	return reason;
}

static void
test_trailers(void **state)
{
	static const struct {
		const char *lines;
		enum http2_reason reason;
	} rows[] = {
		{ ":path: /\n", HTTP2_PSEUDO_TRAILER },
		{ "a: b\n:status: 200\n", HTTP2_PSEUDO_TRAILER },
		{ ":x: b\n", HTTP2_PSEUDO_TRAILER },
		{ "connection: a\n", HTTP2_CONNECTION_FIELD },
		{ "te: trailers\n", HTTP2_TRAILER_FORBIDDEN },
		{ "content-length: 1\n", HTTP2_TRAILER_FORBIDDEN },
		{ "host: a\n", HTTP2_TRAILER_FORBIDDEN },
		{ "cookie: a\n", HTTP2_TRAILER_FORBIDDEN },
		{ "authorization: a\n", HTTP2_TRAILER_FORBIDDEN },
		{ "x_forwarded_for: a\n", HTTP2_TRAILER_FORBIDDEN },
		{ "A: b\n", HTTP2_NAME_UPPER },
		{ "a: b^c\n", HTTP2_VALUE_BAD },
		{ "a:  b\n", HTTP2_VALUE_SPACE },
		{ "a(: b\n", HTTP2_NAME_BAD },
	};

	(void)state;
	assert_int_equal(translate_trailers("grpc-status: 0\ngrpc-message: \n", true), HTTP2_FINE);
	assert_string_equal(head, "grpc-status: 0\r\ngrpc-message: \r\n");
	assert_int_equal(translate_trailers("", true), HTTP2_FINE);
	assert_string_equal(head, "");
	assert_int_equal(translate_trailers("a: b\n", false), HTTP2_TRAILER_OPEN);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_int_equal(translate_trailers(rows[i].lines, true), rows[i].reason);
		assert_string_equal(head, "");
	}
	assert_true(http1_trailer_is_forbidden(STR("Content-Type")));
	assert_false(http1_trailer_is_forbidden(STR("content-typ")));
	assert_false(http1_trailer_is_forbidden(STR("")));
}

/* Any bytes at all: what is taken is one head for the parser of HTTP/1 or refused by it, and never more than one. */
static void
test_random_fields(void **state)
{
	static const char *const names[] = {
		":method", ":scheme",        ":path",     ":authority",        "host", "cookie", "x",
		"te",      "content-length", ":protocol", "transfer-encoding", ""
	};
	static const char *const values[] = { "GET", "https",    "/", "a.example", "CONNECT", "POST",
					      "*",   "trailers", "0", "websocket", "12",      "chunked" };
	uint64_t seed = 5;
	unsigned taken = 0;

	(void)state;
	for (unsigned round = 0; round < scaled(30000, 1000000); round++) {
		struct http2_request r = { .end_stream = random_next(&seed) & 1,
					   .connect_protocol = true,
					   .websocket_key = KEY };
		struct hpack_encoder e;
		struct hpack_decoder d;
		struct hpack_fields *f = test_fields();
		static struct http1_head h;
		char block[4096], *p = block;
		unsigned n = (unsigned)(random_next(&seed) % 8);

		hpack_encoder_init(&e, 0);
		hpack_decoder_init(&d, 4096);
		p = hpack_encode_begin(&e, p);
		for (unsigned i = 0; i < 4 + n; i++) {
			char odd[8];
			struct str name = str_from(names[i < 4 ? i : random_next(&seed) % 12]);
			struct str value = str_from(
				values[i < 4 && random_next(&seed) % 8 ? i : random_next(&seed) % 12]);

			for (unsigned k = 0; k < 8; k++)
				odd[k] = (char)(random_next(&seed) % 3 ? random_next(&seed) :
									 (uint64_t) "\r\n :\t\0HG"[k]);
			if (random_next(&seed) % 40 == 0)
				value = (struct str){ odd, random_next(&seed) % 9 };
			if (random_next(&seed) % 40 == 0)
				name = (struct str){ odd, random_next(&seed) % 9 };
			p = hpack_encode(&e, p, name, value, HPACK_LITERAL);
		}
		assert_int_equal(hpack_decode(&d, (struct str){ block, (size_t)(p - block) }, f), HTTP2_FINE);
		if (http2_request_write(f, &r, head, f->used + HTTP2_REQUEST_EXTRA) == HTTP2_FINE) {
			http1_head_init(&h, sizeof(head));
			http1_head_parse(&h, head, r.n);
			assert_true(h.verdict != HTTP1_NEED_MORE);
			if (h.verdict == HTTP1_DONE) {
				assert_int_equal(h.length, r.n);
				assert_false(h.repeated & HTTP1_BIT(HTTP1_HOST));
				assert_int_equal(http1_head_has(&h, HTTP1_TRANSFER_ENCODING), r.chunked);
				taken++;
			}
		}
		hpack_encoder_free(&e);
		hpack_decoder_free(&d);
	}
	assert_true(taken > 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_authority_and_host),
		cmocka_unit_test(test_cookies),
		cmocka_unit_test(test_framing),
		cmocka_unit_test(test_connect),
		cmocka_unit_test(test_reasons),
		cmocka_unit_test(test_empty_name),
		cmocka_unit_test(test_long_authority),
		cmocka_unit_test(test_trailers),
		cmocka_unit_test(test_random_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
