/* test_http1_host.c - who a request is for, and which of them are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/check.h"
#include "proto/http1_host.h"
#include "guarded.h"

static void
test_authorities(void **state)
{
	static const struct {
		const char *text, *name;	/* NULL: refused */
		unsigned port;
	} cases[] = {
		{ "shop.example", "shop.example", 0 },
		{ "Shop.EXAMPLE:8080", "shop.example", 8080 },
		{ "shop.example.", "shop.example", 0 },
		{ "shop.example.:80", "shop.example", 80 },
		{ "a", "a", 0 },
		{ ".", NULL, 0 },
		{ ".a", NULL, 0 },
		{ "a..", NULL, 0 },
		{ "a..:80", NULL, 0 },
		{ "a..b", NULL, 0 },
		{ "..", NULL, 0 },
		{ "a:", "a", 0 },
		{ "a:0", "a", 0 },
		{ "a:00080", "a", 80 },
		{ "a:65535", "a", 65535 },
		{ "127.0.0.1:80", "127.0.0.1", 80 },
		{ "a_b-c~d!$&'()*+,;=%41", "a_b-c~d!$&'()*+,;=%41", 0 },
		{ "[::1]", "[::1]", 0 },
		{ "[0:0:0:0:0:0:0:1]:8080", "[::1]", 8080 },
		{ "[2001:DB8::A]", "[2001:db8::a]", 0 },
		{ "[::ffff:10.0.0.1]", "[::ffff:10.0.0.1]", 0 },
		{ "", NULL, 0 },
		{ ":80", NULL, 0 },
		{ "a:65536", NULL, 0 },
		{ "a:999999", NULL, 0 },
		{ "a:-1", NULL, 0 },
		{ "a:+1", NULL, 0 },
		{ "a:8x", NULL, 0 },
		{ "a: 80", NULL, 0 },
		{ "a :80", NULL, 0 },
		{ "a:80:80", NULL, 0 },
		{ "::1", NULL, 0 },
		{ "[::1", NULL, 0 },
		{ "::1]", NULL, 0 },
		{ "[]", NULL, 0 },
		{ "[::1]x", NULL, 0 },
		{ "[::1]80", NULL, 0 },
		{ "[::1%25eth0]", "[::1]", 0 },
		{ "[FE80:0::1%eth0.1]:80", "[fe80::1]", 80 },
		{ "[fe80::1%25a%20b-_~]", "[fe80::1]", 0 },
		{ "[fe80::1%]", NULL, 0 },
		{ "[fe80::1%25]x", NULL, 0 },
		{ "[fe80::1%25a/b]", NULL, 0 },
		{ "[fe80::1%25a%2]", NULL, 0 },
		{ "[fe80::1%eth0%eth1]", NULL, 0 },
		{ "[%25eth0]", NULL, 0 },
		{ "a%eth0", NULL, 0 },
		{ "[v1.a]", NULL, 0 },
		{ "[127.0.0.1]", NULL, 0 },
		{ "[::12345]", NULL, 0 },
		{ "u@a", NULL, 0 },
		{ "u:p@a", NULL, 0 },
		{ "a b", NULL, 0 },
		{ "a\tb", NULL, 0 },
		{ "a/b", NULL, 0 },
		{ "a?b", NULL, 0 },
		{ "a\\b", NULL, 0 },
		{ "a\"b", NULL, 0 },
		{ "a<b", NULL, 0 },
		{ "a|b", NULL, 0 },
		{ "a%", NULL, 0 },
		{ "a%4", NULL, 0 },
		{ "a%4g", NULL, 0 },
		{ "caf\xc3\xa9", NULL, 0 },
		{ "http://a", NULL, 0 },
		{ "a, b", NULL, 0 },
	};
	struct http1_host host;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		size_t n = strlen(cases[i].text);
		const char *p = guarded(cases[i].text, n);
		enum http1_reason r = http1_host_parse((struct str){ p, n }, &host);

		if (cases[i].name == NULL) {
			if (r != HTTP1_HOST_BAD)
				fail_msg("%s: taken as %s", cases[i].text, host.name);
			continue;
		}
		if (r != HTTP1_FINE || strcmp(host.name, cases[i].name) != 0 || host.port != cases[i].port)
			fail_msg("%s: %s, %s, port %u", cases[i].text, http1_reason_words(r), host.name,
				 host.port);
		assert_int_equal(host.n, strlen(host.name));
		assert_true(str_eq(host.authority, cases[i].text));
	}
}

static void
test_every_byte(void **state)
{
	static const char good[] = "-._~!$&'()*+,;=0123456789"
				   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	struct http1_host host;

	(void)state;
	for (int c = 0; c < 256; c++) {
		char text[] = { 'a', (char)c, 'b' };
		bool fine = c != 0 && strchr(good, c) != NULL;

		assert_int_equal(http1_host_parse((struct str){ text, 3 }, &host),
				 fine ? HTTP1_FINE : HTTP1_HOST_BAD);
	}
}

static void
test_the_longest(void **state)
{
	struct http1_host host;
	char text[HTTP1_HOST_MAX + 2];

	(void)state;
	memset(text, 'a', sizeof(text));
	assert_int_equal(http1_host_parse((struct str){ text, HTTP1_HOST_MAX }, &host), HTTP1_FINE);
	assert_int_equal(strlen(host.name), HTTP1_HOST_MAX);
	assert_int_equal(http1_host_parse((struct str){ text, HTTP1_HOST_MAX + 1 }, &host), HTTP1_HOST_BAD);
}

static void
test_requests(void **state)
{
	static const struct {
		const char *text, *name;
		unsigned port;
		enum http1_reason reason;
	} cases[] = {
		{ "GET / HTTP/1.1\r\nHost: A.b:1\r\n\r\n", "a.b", 1, HTTP1_FINE },
		{ "GET / HTTP/1.0\r\n\r\n", "", 0, HTTP1_FINE },
		{ "GET / HTTP/1.0\r\nHost: a\r\n\r\n", "a", 0, HTTP1_FINE },
		{ "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "a", 0, HTTP1_FINE },
		{ "CONNECT b:2 HTTP/1.1\r\nHost: a\r\n\r\n", "b", 2, HTTP1_FINE },
		{ "GET / HTTP/1.1\r\n\r\n", NULL, 0, HTTP1_HOST_MISSING },
		{ "GET / HTTP/1.1\r\nHost:\r\n\r\n", NULL, 0, HTTP1_HOST_BAD },
		{ "GET / HTTP/1.0\r\nHost: a/b\r\n\r\n", NULL, 0, HTTP1_HOST_BAD },
		{ "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", NULL, 0, HTTP1_HOST_REPEATED },
		{ "GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", NULL, 0, HTTP1_HOST_REPEATED },
		{ "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", NULL, 0, HTTP1_HOST_BAD },
		/* RFC 9112 section 3.2.2: the target wins, and Host must be good all the same */
		{ "GET http://B:2/x HTTP/1.1\r\nHost: a:1\r\n\r\n", "b", 2, HTTP1_FINE },
		{ "GET HTTPS://b?x HTTP/1.1\r\nHost: a\r\n\r\n", "b", 0, HTTP1_FINE },
		{ "GET http://b HTTP/1.0\r\n\r\n", "b", 0, HTTP1_FINE },
		{ "GET http://b/@ HTTP/1.0\r\n\r\n", "b", 0, HTTP1_FINE },
		{ "GET http://[::1]:2/ HTTP/1.0\r\n\r\n", "[::1]", 2, HTTP1_FINE },
		{ "GET http://b/ HTTP/1.1\r\n\r\n", NULL, 0, HTTP1_HOST_MISSING },
		{ "GET http://b/ HTTP/1.1\r\nHost: a b\r\n\r\n", NULL, 0, HTTP1_HOST_BAD },
		{ "GET http://b:x/ HTTP/1.1\r\nHost: a\r\n\r\n", NULL, 0, HTTP1_HOST_BAD },
		{ "GET http://:80/ HTTP/1.1\r\nHost: a\r\n\r\n", NULL, 0, HTTP1_HOST_BAD },
		{ "GET http://u@b/ HTTP/1.1\r\nHost: a\r\n\r\n", NULL, 0, HTTP1_USERINFO },
		{ "GET http://a:b@c/ HTTP/1.1\r\nHost: c\r\n\r\n", NULL, 0, HTTP1_USERINFO },
		{ "GET ftp://b/ HTTP/1.1\r\nHost: a\r\n\r\n", NULL, 0, HTTP1_SCHEME_BAD },
		{ "GET httpx://b/ HTTP/1.1\r\nHost: a\r\n\r\n", NULL, 0, HTTP1_SCHEME_BAD },
	};
	struct http1_host host;
	struct http1_head h;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		enum http1_reason r;

		http1_head_init(&h, 4096);
		assert_int_equal(http1_head_parse(&h, cases[i].text, strlen(cases[i].text)), HTTP1_DONE);
		r = http1_host_of(&h, &host);
		if (r != cases[i].reason)
			fail_msg("%s: %s", cases[i].text, http1_reason_words(r));
		if (r == HTTP1_FINE) {
			assert_string_equal(host.name, cases[i].name);
			assert_int_equal(host.port, cases[i].port);
		}
	}
}

static void
test_patterns(void **state)
{
	static const struct {
		const char *pattern, *host;
		bool matches;
	} cases[] = {
		{ "shop.example", "shop.example", true },
		{ "shop.example", "SHOP.example.:80", true },
		{ "shop.example", "xshop.example", false },
		{ "shop.example", "shop.example.org", false },
		{ "*.shop.example", "a.shop.example", true },
		{ "*.shop.example", "b.a.shop.example", true },
		{ "*.shop.example", "shop.example", false },
		{ "*.shop.example", "xshop.example", false },
		{ "[::1]", "[0::1]:80", true },
		{ "a", "b", false },
	};
	struct http1_host host;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(http1_host_parse(str_from(cases[i].host), &host), HTTP1_FINE);
		if (http1_host_matches(cases[i].pattern, &host) != cases[i].matches)
			fail_msg("%s and %s", cases[i].pattern, cases[i].host);
	}
	host = (struct http1_host){ .name = "" };
	assert_false(http1_host_matches("a", &host));
	assert_false(http1_host_matches("*.a", &host));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_authorities),
		cmocka_unit_test(test_every_byte),
		cmocka_unit_test(test_the_longest),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_patterns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
