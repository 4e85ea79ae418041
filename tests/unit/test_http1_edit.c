/* test_http1_edit.c - what goes on of a head, byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/check.h"
#include "proto/http1_edit.h"
#include "guarded.h"

#define LIMIT 16384

static char out[LIMIT + 1];

static struct http1_head
head_of(const char *text, bool response)
{
	struct http1_head h;
	size_t n = strlen(text);

	if (response)
		http1_head_init_response(&h, LIMIT);
	else
		http1_head_init(&h, LIMIT);
	if (http1_head_parse(&h, guarded(text, n), n) != HTTP1_DONE)
		fail_msg("%s: %s", text, http1_reason_words(h.reason));
	return h;
}

/* In every room that is too small nothing comes out, and none of it is
 * overstepped. */
static void
assert_rooms(const struct http1_head *h, const void *rules, size_t n)
{
	char small[LIMIT];

	for (size_t room = 0; room <= n; room++) {
		size_t used;

		memset(small, '#', sizeof(small));
		used = h->response ? http1_edit_response(h, rules, small, room) :
				     http1_edit_request(h, rules, small, room);
		assert_int_equal(used, room < n ? 0 : n);
		assert_int_equal(small[room], '#');
	}
}

static void
assert_request(const struct http1_edit *e, const char *text, const char *expected)
{
	struct http1_head h = head_of(text, false);
	size_t n = http1_edit_request(&h, e, out, LIMIT);

	out[n] = '\0';
	assert_string_equal(out, expected);
	assert_rooms(&h, e, n);
}

static void
assert_response(const struct http1_edit_response *e, const char *text, const char *expected)
{
	struct http1_head h = head_of(text, true);
	size_t n = http1_edit_response(&h, e, out, LIMIT);

	out[n] = '\0';
	assert_string_equal(out, expected);
	assert_rooms(&h, e, n);
}

static const struct http1_edit nothing = { .authority = { "backend:80", 10 } };

/* Requests */

static void
test_what_needs_no_edit_passes_as_it_is(void **state)
{
	static const char text[] = "GET /a?b HTTP/1.1\r\nhOST:  a \r\nACCEPT: x\r\nCookie: 1\r\nAccept: y\r\n"
				   "cookie:2\r\nX-Empty:\r\nX_Forwarded_For: z\r\nX-Forwarded-For: f\r\n\r\n";

	(void)state;
	assert_request(&nothing, text, text);
	assert_request(&nothing, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
}

static void
test_hop_by_hop_headers_go(void **state)
{
	struct http1_edit e = nothing;

	(void)state;
	assert_request(
		&e,
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-A , cookie\r\nX-a: 1\r\nCookie: c\r\n"
		"Keep-Alive: 5\r\nB: 2\r\nProxy-Connection: close\r\nTE: gzip\r\nUpgrade: h2c\r\nx-A: 3\r\n"
		"Proxy-Authorization: p\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nCookie: c\r\nB: 2\r\nProxy-Authorization: p\r\n\r\n");
	/* Spellings that CGI would take for framing or for a hop. */
	assert_request(&e,
		       "GET / HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\nTransfer_Encoding: chunked\r\n"
		       "Keep_Alive: x\r\nA_b: c\r\n\r\n",
		       "GET / HTTP/1.1\r\nHost: a\r\nA_b: c\r\n\r\n");
	e.close = true;
	assert_request(&e, "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
		       "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
}

static void
test_te_and_upgrade_go_on_when_they_may(void **state)
{
	static const char socket[] =
		"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Key: k\r\n\r\n";
	struct http1_edit e = nothing;

	(void)state;
	assert_request(&e, "GET / HTTP/1.1\r\nHost: a\r\nTE: gzip;q=0.5, trailers\r\nConnection: TE\r\n\r\n",
		       "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
	assert_request(&e, "GET / HTTP/1.0\r\nHost: a\r\nTE: trailers\r\n\r\n",
		       "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_request(&e, socket, "GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: k\r\n\r\n");
	e.upgrade = true;
	assert_request(&e, socket,
		       "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n"
		       "Connection: Upgrade\r\n\r\n");
	assert_request(
		&e, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nTE: trailers\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nTE: trailers\r\nConnection: Upgrade, TE\r\n\r\n");
	e.upgrade = false;
	e.close = true;
	assert_request(&e, "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n",
		       "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close, TE\r\n\r\n");
}

static void
test_framing_passes_in_its_plain_form(void **state)
{
	const struct http1_edit_response r = { .coding = HTTP1_CODING_PASS };

	(void)state;
	assert_request(&nothing, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 050\r\nA: b\r\n\r\n",
		       "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\nA: b\r\n\r\n");
	assert_request(&nothing, "POST / HTTP/1.1\r\nHost: a\r\ncontent-length:\t000 \r\n\r\n",
		       "POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 0\r\n\r\n");
	assert_request(&nothing, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
		       "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
	assert_response(&r, "HTTP/1.1 200 OK\r\nContent-Length: 007\r\nA: b\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nA: b\r\n\r\n");
	assert_request(&nothing,
		       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:  chunked\r\nTrailer: X\r\n\r\n",
		       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:  chunked\r\nTrailer: X\r\n\r\n");
	/* in the one spelling that everybody knows */
	assert_request(&nothing, "POST / HTTP/1.1\r\nHost: a\r\nTRANSFER-ENCODING: Chunked\r\nA: b\r\n\r\n",
		       "POST / HTTP/1.1\r\nHost: a\r\nTRANSFER-ENCODING: chunked\r\nA: b\r\n\r\n");
}

static void
test_targets_and_versions(void **state)
{
	struct http1_edit e = nothing;

	(void)state;
	e.authority = STR("B:81");
	assert_request(&e, "GET http://B:81/x?y HTTP/1.1\r\nA: b\r\nHost: other\r\n\r\n",
		       "GET /x?y HTTP/1.1\r\nHost: B:81\r\nA: b\r\n\r\n");
	assert_request(&e, "GET HTTPS://B:81?y HTTP/1.1\r\nHost: other\r\n\r\n",
		       "GET /?y HTTP/1.1\r\nHost: B:81\r\n\r\n");
	assert_request(&e, "GET http://B:81 HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: B:81\r\n\r\n");
	assert_request(&e, "OPTIONS http://B:81 HTTP/1.1\r\nHost: B\r\n\r\n",
		       "OPTIONS * HTTP/1.1\r\nHost: B:81\r\n\r\n");
	assert_request(&e, "OPTIONS http://B:81/ HTTP/1.1\r\nHost: B\r\n\r\n",
		       "OPTIONS / HTTP/1.1\r\nHost: B:81\r\n\r\n");
	assert_request(&e, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_request(&e, "\r\nGET /x HTTP/1.0\r\n\r\n", "GET /x HTTP/1.1\r\nHost: B:81\r\n\r\n");
	assert_request(&e,
		       "GET /x HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n",
		       "GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
}

static void
test_expect_and_max_forwards(void **state)
{
	struct http1_edit e = nothing;

	(void)state;
	assert_request(&e, "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
		       "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n");
	e.no_expect = true;
	assert_request(&e, "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
		       "PUT / HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_request(&e, "TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 10\r\n\r\n",
		       "TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 9\r\n\r\n");
	assert_request(&e, "GET / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 10\r\n\r\n",
		       "GET / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 10\r\n\r\n");
}

static struct http1_edit
telling(enum http1_forwarded mode)
{
	return (struct http1_edit){
		.forwarded = mode, .client = STR("10.0.0.9"), .proto = STR("https"), .host = STR("a:8443")
	};
}

static const char spoofed[] =
	"GET / HTTP/1.1\r\nHost: a:8443\r\nX-Forwarded-For: 1.1.1.1\r\nA: b\r\n"
	"x_forwarded_for: 2.2.2.2\r\nX-FORWARDED-FOR: 3.3.3.3\r\nForwarded: for=4.4.4.4\r\n"
	"X-Forwarded_Proto: ftp\r\nX-Real-IP: 5.5.5.5\r\nX-Forwarded-Prefix: /admin\r\n\r\n";

static void
test_strangers_tell_nothing_of_themselves(void **state)
{
	struct http1_edit e = telling(HTTP1_FORWARDED_REPLACE);

	(void)state;
	assert_request(&e, spoofed,
		       "GET / HTTP/1.1\r\nHost: a:8443\r\nA: b\r\nX-Forwarded-For: 10.0.0.9\r\n"
		       "X-Forwarded-Proto: https\r\nX-Forwarded-Host: a:8443\r\n\r\n");
	e.rfc7239 = true;
	e.port = 8443;
	assert_request(&e, "GET / HTTP/1.1\r\nHost: a:8443\r\n\r\n",
		       "GET / HTTP/1.1\r\nHost: a:8443\r\nX-Forwarded-For: 10.0.0.9\r\n"
		       "X-Forwarded-Proto: https\r\nX-Forwarded-Host: a:8443\r\nX-Forwarded-Port: 8443\r\n"
		       "Forwarded: for=10.0.0.9;host=\"a:8443\";proto=https\r\n\r\n");
	e.client = STR("2001:db8::9");
	e.host = STR("a");
	e.port = 0;
	assert_request(&e, "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		       "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 2001:db8::9\r\n"
		       "X-Forwarded-Proto: https\r\nX-Forwarded-Host: a\r\n"
		       "Forwarded: for=\"[2001:db8::9]\";host=a;proto=https\r\n\r\n");
	/* By a Unix socket. */
	e.client = STR("");
	assert_request(&e, "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		       "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a\r\n"
		       "Forwarded: for=unknown;host=a;proto=https\r\n\r\n");
	e.forwarded = HTTP1_FORWARDED_APPEND;
	e.rfc7239 = false;
	assert_request(&e, "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n",
		       "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\n"
		       "X-Forwarded-Proto: https\r\nX-Forwarded-Host: a\r\n\r\n");
}

static void
test_trusted_proxies_are_believed(void **state)
{
	struct http1_edit e = telling(HTTP1_FORWARDED_APPEND);

	(void)state;
	assert_request(
		&e, spoofed,
		"GET / HTTP/1.1\r\nHost: a:8443\r\nX-Forwarded-For: 1.1.1.1\r\nA: b\r\n"
		"X-FORWARDED-FOR: 3.3.3.3, 10.0.0.9\r\nForwarded: for=4.4.4.4\r\n"
		"X-Real-IP: 5.5.5.5\r\nX-Forwarded-Prefix: /admin\r\n"
		"X-Forwarded-Proto: https\r\nX-Forwarded-Host: a:8443\r\n\r\n");
	assert_request(&e,
		       "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Host: b\r\nX-Forwarded-For:\r\n"
		       "X-Forwarded-Proto: http\r\n\r\n",
		       "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Host: b\r\nX-Forwarded-For: 10.0.0.9\r\n"
		       "X-Forwarded-Proto: http\r\n\r\n");
	assert_request(&e, "GET / HTTP/1.1\r\nHost: a\r\nX_Real_IP: 1\r\nX_Forwarded_Prefix: /\r\nX-Forwarded-Prefix_2: /\r\n\r\n",
		       "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Proto: https\r\n"
		       "X-Forwarded-Host: a:8443\r\n\r\n");
	e.forwarded = HTTP1_FORWARDED_OFF;
	assert_request(&e, spoofed, spoofed);
}

static void
test_request_ids_via_and_own_lines(void **state)
{
	struct http1_line lines[] = { { STR("X-Teal-Color"), STR("blue"), true },
				      { STR("X-More"), STR("1"), false } };
	struct http1_edit e = nothing;

	(void)state;
	assert_request(&e, "GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: c\r\n\r\n",
		       "GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: c\r\n\r\n");
	e.id_passes = true;
	assert_request(&e, "GET / HTTP/1.1\r\nHost: a\r\nX_Request_Id: d\r\nX-Request-Id: c\r\n\r\n",
		       "GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: c\r\n\r\n");
	e.request_id = STR("ours");
	e.via = STR("teal");
	assert_request(&e,
		       "GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: c\r\nx-request-id: d\r\nX_Request_ID: e\r\n"
		       "Via: 1.1 other\r\n\r\n",
		       "GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 other\r\nX-Request-Id: ours\r\nVia: 1.1 teal\r\n\r\n");
	e = nothing;
	e.lines = lines;
	e.n_lines = 2;
	assert_request(&e,
		       "GET / HTTP/1.1\r\nHost: a\r\nx-teal-color: green\r\nX-More: 0\r\nX_TEAL-color: x\r\n"
		       "X-Teal-Colors: y\r\n\r\n",
		       "GET / HTTP/1.1\r\nHost: a\r\nX-More: 0\r\nX-Teal-Colors: y\r\nX-Teal-Color: blue\r\n"
		       "X-More: 1\r\n\r\n");
	/* One that only takes away. */
	lines[0].value = (struct str){ NULL, 0 };
	e.n_lines = 1;
	assert_request(&e, "GET / HTTP/1.1\r\nHost: a\r\nX_teal-color: green\r\nX-More: 0\r\nX-Teal-Color: y\r\n\r\n",
		       "GET / HTTP/1.1\r\nHost: a\r\nX-More: 0\r\n\r\n");
	assert_request(&e, "GET / HTTP/1.1\r\nHost: a\r\nX-More: 0\r\n\r\n",
		       "GET / HTTP/1.1\r\nHost: a\r\nX-More: 0\r\n\r\n");
}

static void
test_valid_request_ids(void **state)
{
	static const struct {
		const char *lines;
		bool valid;
	} cases[] = {
		{ "X-Request-Id: 0b54-Ab_9.:/+=@,~\r\n", true },
		{ "X-Request-Id: a\r\n", true },
		{ "\r\n", false },
		{ "X-Request-Id:\r\n", false },
		{ "X-Request-Id: a b\r\n", false },
		{ "X-Request-Id: a\"b\r\n", false },
		{ "X-Request-Id: a<b\r\n", false },
		{ "X-Request-Id: a\xc3\xa9\r\n", false },
		{ "X-Request-Id: a;b\r\n", false },
		{ "X-Request-Id: a\r\nX-Request-Id: b\r\n", false },
		{ "X_Request_Id: a\r\n", false },
	};
	char text[512];
	int n;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct http1_head h;

		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n%s\r\n", cases[i].lines);
		h = head_of(text, false);
		if ((http1_edit_request_id(&h).n > 0) != cases[i].valid)
			fail_msg("%s", cases[i].lines);
	}
	for (int length = 127; length < 131; length++) {
		struct http1_head h;

		n = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nX-Request-Id: %0*d\r\n\r\n", length, 0);
		assert_true(n > 0);
		h = head_of(text, false);
		assert_int_equal(http1_edit_request_id(&h).n, length <= 128 ? length : 0);
	}
}

/* Responses */

static void
test_responses_pass_but_for_hops(void **state)
{
	struct http1_edit_response e = { .request_id = STR("") };

	(void)state;
	assert_response(&e,
			"HTTP/1.1 200 OK\r\nserver: x\r\nDate: y\r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\n",
			"HTTP/1.1 200 OK\r\nserver: x\r\nDate: y\r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\n");
	assert_response(&e,
			"HTTP/1.0 404 Not  Here\r\nConnection: keep-alive, x-a\r\nX-A: 1\r\nKeep-Alive: t\r\n"
			"Content-Length: 5\r\nUpgrade: h2\r\nProxy-Authenticate: Basic\r\n\r\n",
			"HTTP/1.1 404 Not  Here\r\nContent-Length: 5\r\nProxy-Authenticate: Basic\r\n\r\n");
	assert_response(&e, "HTTP/1.1 200\r\n\r\n", "HTTP/1.1 200 \r\n\r\n");
}

static void
test_connection_of_responses(void **state)
{
	static const char text[] = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n";
	struct http1_edit_response e = { .close = true };

	(void)state;
	assert_response(&e, text, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n");
	e = (struct http1_edit_response){ .keep_alive = true };
	assert_response(&e, text, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n");
	e = (struct http1_edit_response){ .upgrade = true };
	assert_response(
		&e,
		"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nUpgrade: websocket\r\n"
		"Sec-WebSocket-Accept: k\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: k\r\n"
		"Connection: Upgrade\r\n\r\n");
	e = (struct http1_edit_response){ .close = true };
	assert_response(
		&e, "HTTP/1.1 426 Upgrade Required\r\nUpgrade: TLS/1.3\r\nConnection: upgrade\r\n\r\n",
		"HTTP/1.1 426 Upgrade Required\r\nUpgrade: TLS/1.3\r\nConnection: close, Upgrade\r\n\r\n");
}

static void
test_framing_of_responses(void **state)
{
	static const char text[] =
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\nA: b\r\n\r\n";
	struct http1_edit_response e = { .coding = HTTP1_CODING_PASS };

	(void)state;
	assert_response(&e, text, text);
	e.coding = HTTP1_CODING_REMOVE;
	assert_response(&e, text, "HTTP/1.1 200 OK\r\nA: b\r\n\r\n");
	e.coding = HTTP1_CODING_ADD;
	assert_response(&e, "HTTP/1.0 200 OK\r\nA: b\r\n\r\n",
			"HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n");
	/* What has no body says nothing of one. */
	e.coding = HTTP1_CODING_PASS;
	assert_response(&e,
			"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
			"HTTP/1.1 204 No Content\r\n\r\n");
	assert_response(&e, "HTTP/1.1 103 Early Hints\r\nLink: x\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
	assert_response(&e, "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
			"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n");
	assert_response(&e, "HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
}

static void
test_lines_of_our_own_in_responses(void **state)
{
	struct http1_line color = { STR("X-Teal-Color"), STR("green"), true };
	struct http1_edit_response e = {
		.request_id = STR("id"), .via = STR("teal"), .lines = &color, .n_lines = 1
	};

	(void)state;
	assert_response(
		&e, "HTTP/1.0 200 OK\r\nX-teal-color: red\r\nA: b\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA: b\r\nX-Request-Id: id\r\nVia: 1.0 teal\r\nX-Teal-Color: green\r\n\r\n");
	assert_response(
		&e, "HTTP/1.1 200 OK\r\nX-Request-ID: theirs\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX-Request-ID: theirs\r\nVia: 1.1 teal\r\nX-Teal-Color: green\r\n\r\n");
}

static void
assert_odd(const struct http1_edit_response *e, const char *text, const char *expected)
{
	struct http1_head h;
	size_t n = strlen(text);

	http1_head_init_response(&h, LIMIT);
	h.lenient = true;
	assert_int_equal(http1_head_parse(&h, guarded(text, n), n), HTTP1_DONE);
	n = http1_edit_response(&h, e, out, LIMIT);
	out[n] = '\0';
	assert_string_equal(out, expected);
	assert_rooms(&h, e, n);
}

/* What goes on of an odd answer is in its plain form. */
static void
test_odd_responses(void **state)
{
	struct http1_edit_response e = { .close = false }, bodyless = { .bodyless = true };

	(void)state;
	assert_odd(&e, "HTTP/1.1 200 OK\nA:b\nContent-Length: 05\nConnection: x-y\nX-Y: 1\nEmpty:\n\n",
		   "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\nEmpty: \r\n\r\n");
	assert_odd(&e, "HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n\r\n");
	assert_odd(&e, "HTTP/1.2 999 What\r\nA: b\r\n\r\n", "HTTP/1.1 999 What\r\nA: b\r\n\r\n");
	assert_odd(&e, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b\r\ncontent-length: 05\r\n\r\n",
		   "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b\r\n\r\n");
	assert_odd(&e, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
		   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	assert_odd(&bodyless, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nContent-Length: 6\r\nA: b\r\n\r\n",
		   "HTTP/1.1 304 Not Modified\r\nA: b\r\n\r\n");
	assert_odd(&bodyless, "HTTP/1.1 200 OK\r\nContent-Length: x\r\nA: b\r\n\r\n",
		   "HTTP/1.1 200 OK\r\nA: b\r\n\r\n");
	assert_odd(&bodyless, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: gzip\r\n\r\n",
		   "HTTP/1.1 200 OK\r\n\r\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_needs_no_edit_passes_as_it_is),
		cmocka_unit_test(test_hop_by_hop_headers_go),
		cmocka_unit_test(test_te_and_upgrade_go_on_when_they_may),
		cmocka_unit_test(test_framing_passes_in_its_plain_form),
		cmocka_unit_test(test_targets_and_versions),
		cmocka_unit_test(test_expect_and_max_forwards),
		cmocka_unit_test(test_strangers_tell_nothing_of_themselves),
		cmocka_unit_test(test_trusted_proxies_are_believed),
		cmocka_unit_test(test_request_ids_via_and_own_lines),
		cmocka_unit_test(test_valid_request_ids),
		cmocka_unit_test(test_responses_pass_but_for_hops),
		cmocka_unit_test(test_connection_of_responses),
		cmocka_unit_test(test_framing_of_responses),
		cmocka_unit_test(test_lines_of_our_own_in_responses),
		cmocka_unit_test(test_odd_responses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
