/* test_http1_error.c - answers made here are good HTTP, good HTML and good
 * JSON, whatever stands in them; and who gets which. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/check.h"
#include "proto/http1_body.h"
#include "proto/http1_error.h"

static char out[4096];
static struct http1_head head;

/* Writes it, parses it, and returns the body. */
static struct str
written(const struct http1_error *e, bool head_request)
{
	size_t n = http1_error_write(e, out, sizeof(out));
	struct http1_body body;

	assert_true(n > 0);
	http1_head_init_response(&head, sizeof(out));
	assert_int_equal(http1_head_parse(&head, out, n), HTTP1_DONE);
	assert_int_equal(head.status, e->status);
	assert_int_equal(http1_body_of_response(&body, &head, head_request), HTTP1_DONE);
	assert_int_equal(n - head.length, body.left);
	/* One byte less is too little, and nothing is written beyond it. */
	assert_int_equal(http1_error_write(e, out + 1, n - 1), 0);
	assert_int_equal(http1_error_write(e, out, n), n);
	return (struct str){ out + head.length, n - head.length };
}

static struct str
header(const char *name)
{
	struct str value = STR("absent");

	assert_true(http1_head_find(&head, name, &value) <= 1);
	return value;
}

static void
test_every_status(void **state)
{
	static const struct {
		unsigned status;
		const char *phrase;
	} all[] = {
		{ 400, "Bad Request" },
		{ 403, "Forbidden" },
		{ 405, "Method Not Allowed" },
		{ 408, "Request Timeout" },
		{ 413, "Content Too Large" },
		{ 414, "URI Too Long" },
		{ 417, "Expectation Failed" },
		{ 421, "Misdirected Request" },
		{ 426, "Upgrade Required" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" },
		{ 501, "Not Implemented" },
		{ 502, "Bad Gateway" },
		{ 503, "Service Unavailable" },
		{ 504, "Gateway Timeout" },
		{ 505, "HTTP Version Not Supported" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		struct http1_error e = { .status = all[i].status };
		struct str body = written(&e, false);

		assert_true(str_eq(http1_text(&head, head.phrase), all[i].phrase));
		assert_non_null(memmem(body.p, body.n, all[i].phrase, strlen(all[i].phrase)));
		assert_true(str_eq(header("cache-control"), "no-store"));
		assert_true(str_eq(header("content-type"), "text/html; charset=utf-8"));
		assert_int_equal(header("date").n, HTTP1_DATE_TEXT - 1);
		assert_true(str_eq(header("connection"), "absent"));
		assert_true(str_eq(header("retry-after"), "absent"));
		assert_true(str_eq(header("x-request-id"), "absent"));
	}
}

static void
test_json_stays_json(void **state)
{
	struct http1_error e = { .status = 502,
				 .json = true,
				 .detail = "10.0.0.1:80 said \"\x01</script>\xff\"",
				 .request_id = STR("a\"b\\\r\nSet-Cookie: x"),
				 .close = true,
				 .retry_after = 7 };
	struct str body = written(&e, false);
	json_t *j = json_loadb(body.p, body.n, 0, NULL);

	(void)state;
	assert_non_null(j);
	assert_int_equal(json_integer_value(json_object_get(j, "status")), 502);
	assert_string_equal(json_string_value(json_object_get(j, "error")), "Bad Gateway");
	assert_string_equal(json_string_value(json_object_get(j, "detail")),
			    "10.0.0.1:80 said \"\x01</script>\xef\xbf\xbd\"");
	assert_string_equal(json_string_value(json_object_get(j, "request_id")), "a\"b\\\r\nSet-Cookie: x");
	json_decref(j);
	assert_true(str_eq(header("content-type"), "application/json"));
	assert_true(str_eq(header("connection"), "close"));
	assert_true(str_eq(header("retry-after"), "7"));
	/* The id is no way into the head. */
	assert_true(str_eq(header("x-request-id"), "a\"b\\Set-Cookie:x"));
	assert_true(str_eq(header("set-cookie"), "absent"));
}

static void
test_html_is_escaped(void **state)
{
	struct http1_error e = { .status = 400, .detail = "<b>&\"'\x1b\xc3", .request_id = STR("<i>") };
	struct str body = written(&e, false);

	(void)state;
	assert_non_null(memmem(body.p, body.n, "<p>&#60;b&#62;&#38;&#34;&#39;&#63;&#63;</p>", 43));
	assert_null(memmem(body.p, body.n, "<b>", 3));
	assert_null(memmem(body.p, body.n, "<i>", 3));
}

static void
test_head_has_the_length_only(void **state)
{
	struct http1_error e = { .status = 503, .keep_alive = true, .headers = "Allow: GET\r\nX-A: b\r\n" };
	struct str whole = written(&e, false);
	struct str length = header("content-length");
	uint64_t n, m;

	(void)state;
	assert_true(str_to_u64(length, 10000, &n));
	assert_int_equal(n, whole.n);
	assert_true(str_eq(header("connection"), "keep-alive"));
	assert_true(str_eq(header("allow"), "GET"));
	assert_true(str_eq(header("x-a"), "b"));
	e.head_only = true;
	assert_int_equal(written(&e, true).n, 0);
	assert_true(str_to_u64(header("content-length"), 10000, &m));
	assert_int_equal(n, m);
}

static void
test_dates(void **state)
{
	char text[HTTP1_DATE_TEXT];

	(void)state;
	http1_date(784111777, text);
	assert_string_equal(text, "Sun, 06 Nov 1994 08:49:37 GMT");
	http1_date(0, text);
	assert_string_equal(text, "Thu, 01 Jan 1970 00:00:00 GMT");
	http1_date(951782400, text);
	assert_string_equal(text, "Tue, 29 Feb 2000 00:00:00 GMT");
}

static void
test_who_gets_json(void **state)
{
	static const struct {
		const char *lines;
		bool json;
	} cases[] = {
		{ "", false },
		{ "Accept:\r\n", false },
		{ "Accept: */*\r\n", false },	/* curl */
		{ "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n", false },
		{ "Accept: application/json\r\n", true },
		{ "Accept: APPLICATION/JSON\r\n", true },
		{ "Accept: application/problem+json\r\n", true },
		{ "Accept: application/*\r\n", true },
		{ "Accept: application/json, text/plain, */*\r\n", true },	/* axios */
		{ "Accept: application/json, text/javascript, */*; q=0.01\r\n", true },	/* jQuery */
		{ "Accept: application/json, text/html\r\n", false },
		{ "Accept: application/json;q=0.5, text/html;q=0.4\r\n", true },
		{ "Accept: application/json;q=0.5, text/html\r\n", false },
		{ "Accept: application/json;q=0, */*\r\n", false },
		{ "Accept: text/html;q=0.3\r\nAccept: application/json ; Q=0.31\r\n", true },
		{ "Accept: text/html;q=0, */*\r\n", true },
		{ "Accept: text/html;q=2, application/json;q=0.1\r\n", true },	/* 2 is no weight */
		{ "Accept: text/html;q=1.000, application/json;q=1.001\r\n", false },
		{ "Accept: application/json;version=1;q=0.9, text/*;q=0.8\r\n", true },
		{ "Accept: image/png\r\n", false },
	};
	char text[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n%s\r\n", cases[i].lines);
		http1_head_init(&head, sizeof(text));
		assert_int_equal(http1_head_parse(&head, text, strlen(text)), HTTP1_DONE);
		if (http1_accepts_json(&head) != cases[i].json)
			fail_msg("%s", cases[i].lines);
	}
}

static void
test_who_is_an_event_source(void **state)
{
	static const struct {
		const char *message;
		bool events;
	} cases[] = {
		{ "GET / HTTP/1.1\r\nAccept: text/event-stream\r\n", true },
		{ "GET / HTTP/1.1\r\nACCEPT: Text/Event-Stream;q=0.1\r\n", true },
		{ "GET / HTTP/1.1\r\nAccept: \r\nAccept: , text/event-stream ,\r\n", true },
		{ "GET / HTTP/1.1\r\nAccept: text/event-stream, */*;q=0\r\n", true },
		{ "GET / HTTP/1.1\r\nAccept: text/event-stream, */*\r\n", false },
		{ "GET / HTTP/1.1\r\nAccept: text/event-stream\r\nAccept: text/html\r\n", false },
		{ "GET / HTTP/1.1\r\nAccept: application/json, text/event-stream\r\n", false },
		{ "GET / HTTP/1.1\r\nAccept: text/event-stream;q=0\r\n", false },
		{ "GET / HTTP/1.1\r\nAccept:\r\n", false },
		{ "GET / HTTP/1.1\r\n", false },
		{ "HEAD / HTTP/1.1\r\nAccept: text/event-stream\r\n", false },
		{ "POST / HTTP/1.1\r\nAccept: text/event-stream\r\n", false },
	};
	char text[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		snprintf(text, sizeof(text), "%s\r\n", cases[i].message);
		http1_head_init(&head, sizeof(text));
		assert_int_equal(http1_head_parse(&head, text, strlen(text)), HTTP1_DONE);
		if (http1_wants_events(&head) != cases[i].events)
			fail_msg("%s", cases[i].message);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_status),
		cmocka_unit_test(test_json_stays_json),
		cmocka_unit_test(test_html_is_escaped),
		cmocka_unit_test(test_head_has_the_length_only),
		cmocka_unit_test(test_dates),
		cmocka_unit_test(test_who_gets_json),
		cmocka_unit_test(test_who_is_an_event_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
