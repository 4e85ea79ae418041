/* test_http2_client.c - requests into field blocks, and fields into answers of HTTP/1.1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "guarded.h"
#include "hpack_text.h"
#include "proto/http1_head.h"
#include "proto/http2_client.h"
#include "proto/http2_response.h"

static struct http2_asked
check_request(const char *head, bool tls, const char *lines)
{
	struct str text = { guarded(head, strlen(head)), strlen(head) };
	char *block = malloc(HTTP2_RESPONSE_ROOM(text.n));
	struct hpack_fields *f = test_fields();
	struct hpack_encoder ours;
	struct hpack_decoder theirs;
	struct http2_asked asked;

	assert_non_null(block);
	hpack_encoder_init(&ours, HPACK_ENCODER_MOST);
	hpack_decoder_init(&theirs, 4096);
	http2_request_encode(text, tls, &ours, block, &asked);
	assert_true(asked.n <= HTTP2_RESPONSE_ROOM(text.n));
	assert_int_equal(hpack_decode(&theirs, (struct str){ block, asked.n }, f), HTTP2_FINE);
	assert_lines(f, lines);
	free(block);
	hpack_encoder_free(&ours);
	hpack_decoder_free(&theirs);
	return asked;
}

static void
test_requests(void **state)
{
	struct http2_asked a;

	(void)state;
	a = check_request("GET /a?b=1 HTTP/1.1\r\nUser-Agent: x\r\nHost: shop:81\r\nCookie: a=1; b=2\r\n\r\n",
			  false,
			  ":method: GET\n:scheme: http\n:authority: shop:81\n:path: /a?b=1\nuser-agent: x\n"
			  "cookie: a=1; b=2\n");
	assert_true(!a.chunked && a.length == 0 && !a.head);
	a = check_request(
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nConnection: TE\r\n\r\n5\r\nhello",
		true, ":method: POST\n:scheme: https\n:authority: h\n:path: /\nte: trailers\n");
	assert_true(a.chunked && !a.head);
	a = check_request(
		"HEAD * HTTP/1.1\r\nHost: \r\nContent-Length: 17\r\nUpgrade: x\r\nTE: gzip\r\nKeep-Alive: 1\r\n\r\n",
		false, ":method: HEAD\n:scheme: http\n:path: *\ncontent-length: 17\n");
	assert_true(a.head && a.length == 17);
}

/* The fields of these lines, as a backend's encoder sends them. */
static struct hpack_fields *
fields_of(const char *lines)
{
	static char block[8192];
	struct hpack_fields *f = test_fields();
	struct hpack_encoder theirs;
	struct hpack_decoder ours;
	char *p;

	hpack_encoder_init(&theirs, 0);
	hpack_decoder_init(&ours, 4096);
	p = hpack_encode_begin(&theirs, block);
	while (*lines != '\0') {
		const char *colon = strstr(lines, ": "), *end = strchr(lines, '|');

		p = hpack_encode(&theirs, p, (struct str){ lines, (size_t)(colon - lines) },
				 (struct str){ colon + 2, (size_t)(end - colon) - 2 }, HPACK_LITERAL);
		lines = end + 1;
	}
	assert_int_equal(hpack_decode(&ours, (struct str){ block, (size_t)(p - block) }, f), HTTP2_FINE);
	hpack_encoder_free(&theirs);
	hpack_decoder_free(&ours);
	return f;
}

static void
check_answer(const char *lines, bool head_request, bool end, const char *text)
{
	static struct http1_head h;
	struct http2_answer a = { .head_request = head_request, .end_stream = end };
	char out[4096];

	assert_int_equal(http2_answer_write(fields_of(lines), &a, out, sizeof(out)), HTTP2_FINE);
	assert_int_equal(a.n, strlen(text));
	assert_memory_equal(out, text, a.n);
	http1_head_init_response(&h, 1 << 16);
	assert_int_equal(http1_head_parse(&h, out, a.n), HTTP1_DONE);
	assert_int_equal(h.status, a.status);
}

static void
test_answers(void **state)
{
	(void)state;
	check_answer(":status: 200|content-length: 5|x: y|", false, false,
		     "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx: y\r\n\r\n");
	check_answer(
		":status: 200|content-type: application/grpc|grpc-status: 5|", false, true,
		"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: 5\r\nTransfer-Encoding: chunked\r\n\r\n");
	check_answer(":status: 204|", false, true, "HTTP/1.1 204 \r\n\r\n");
	check_answer(":status: 103|link: </a>|", false, false, "HTTP/1.1 103 \r\nlink: </a>\r\n\r\n");
	check_answer(":status: 200|content-length: 5|", true, true,
		     "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
}

static void
check_bad(const char *lines, bool end, enum http2_reason reason)
{
	struct http2_answer a = { .end_stream = end };
	char out[4096];

	assert_int_equal(http2_answer_write(fields_of(lines), &a, out, sizeof(out)), reason);
}

static void
test_what_is_malformed(void **state)
{
	struct http2_answer a = { 0 };
	char out[100];
	size_t n;

	(void)state;
	check_bad("x: y|", false, HTTP2_STATUS_BAD);
	check_bad(":status: 101|", false, HTTP2_STATUS_BAD);
	check_bad(":status: 99|", false, HTTP2_STATUS_BAD);
	check_bad(":status: 600|", false, HTTP2_STATUS_BAD);
	check_bad(":status: +20|", false, HTTP2_STATUS_BAD);
	check_bad(":status: 100|", true, HTTP2_STATUS_BAD);
	check_bad(":status: 200|:status: 200|", false, HTTP2_PSEUDO_REPEATED);
	check_bad("x: y|:status: 200|", false, HTTP2_PSEUDO_LATE);
	check_bad(":status: 200|:path: /|", false, HTTP2_PSEUDO_UNKNOWN);
	check_bad(":status: 200|connection: close|", false, HTTP2_CONNECTION_FIELD);
	check_bad(":status: 200|transfer-encoding: chunked|", false, HTTP2_CONNECTION_FIELD);
	check_bad(":status: 200|x: a\nb|", false, HTTP2_VALUE_BAD);
	check_bad(":status: 200|x: a |", false, HTTP2_VALUE_SPACE);
	check_bad(":status: 200|content-length: 1|content-length: 1|", false, HTTP2_LENGTH_REPEATED);
	check_bad(":status: 200|content-length: -1|", false, HTTP2_LENGTH_BAD);
	check_bad(":status: 200|content-length: 1|", true, HTTP2_LENGTH_DIFFERS);
	assert_int_equal(http2_answer_write(fields_of(":status: 200|"), &a, out, sizeof(out)),
			 HTTP2_FIELDS_LARGE);
	assert_int_equal(http2_answer_trailers(fields_of("grpc-status: 0|"), true, out, sizeof(out), &n),
			 HTTP2_FINE);
	assert_memory_equal(out, "grpc-status: 0\r\n", n);
	assert_int_equal(http2_answer_trailers(fields_of("a: 0|"), false, out, sizeof(out), &n),
			 HTTP2_TRAILER_OPEN);
	assert_int_equal(http2_answer_trailers(fields_of(":status: 200|"), true, out, sizeof(out), &n),
			 HTTP2_PSEUDO_TRAILER);
	assert_int_equal(http2_answer_trailers(fields_of("te: x|"), true, out, sizeof(out), &n),
			 HTTP2_CONNECTION_FIELD);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_what_is_malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
