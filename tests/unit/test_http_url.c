/* test_http_url.c - where an HTTP server is, as people write it, and what they get wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "proto/http_url.h"

static void
assert_url(const char *text, bool tls, const char *host, unsigned port, const char *target, const char *authority)
{
	char its[HTTP_URL_ORIGIN];
	struct http_url url;
	struct why why = { "" };

	if (http_url_parse(text, &url, &why) != OK)
		fail_msg("%s: %s", text, why.text);
	assert_int_equal(url.tls, tls);
	assert_string_equal(url.at.host, host);
	assert_int_equal(url.at.port, port);
	assert_string_equal(url.target, target);
	assert_string_equal(http_url_authority(&url, its), authority);
}

static void
test_good(void **state)
{
	(void)state;
	assert_url("http://10.0.0.5", false, "10.0.0.5", 80, "/", "10.0.0.5");
	assert_url("https://hooks.example/", true, "hooks.example", 443, "/", "hooks.example");
	assert_url("HTTPS://hooks.example:8443/a/b?c=d&e=%20", true, "hooks.example", 8443, "/a/b?c=d&e=%20",
		   "hooks.example:8443");
	assert_url("http://hooks.example:443/x", false, "hooks.example", 443, "/x", "hooks.example:443");
	assert_url("http://h?q=1", false, "h", 80, "/?q=1", "h");
	assert_url("http://[fd00::1]:8080/~a/@b:c", false, "fd00::1", 8080, "/~a/@b:c", "[fd00::1]:8080");
}

static void
assert_bad(const char *text, const char *says)
{
	struct http_url url;
	struct why why = { "" };

	if (http_url_parse(text, &url, &why) == OK)
		fail_msg("%s is taken", text);
	if (strstr(why.text, says) == NULL)
		fail_msg("%s: %s", text, why.text);
	/* What may be a password is never repeated. */
	assert_null(strstr(why.text, "s3cret"));
}

static void
test_bad(void **state)
{
	char text[HTTP_URL_TARGET + 32];

	(void)state;
	assert_bad("", "expected http://");
	assert_bad("hooks.example/s3cret", "expected http://");
	assert_bad("ftp://hooks.example/s3cret", "expected http://");
	assert_bad("http://", "host is missing");
	assert_bad("http:///s3cret", "host is missing");
	assert_bad("https://ci:s3cret@hooks.example/", "token_file");
	assert_bad("https://hooks.example:99999/s3cret", "port");
	assert_bad("https://hooks.example:/s3cret", "port");
	assert_bad("https://hook s.example/s3cret", "neither an address nor a name");
	assert_bad("https://hooks.example/s3cret#part", "#");
	assert_bad("https://hooks.example/s3cret x", "percent-encoded");
	assert_bad("https://hooks.example/s3cret\r\nHost: a", "percent-encoded");
	assert_bad("https://hooks.example/\xc3\xa4", "percent-encoded");
	assert_bad("http://fd00::1/", "brackets");
	memset(text, 'a', sizeof(text));
	memcpy(text, "http://h/", 9);
	text[sizeof(text) - 1] = '\0';
	assert_bad(text, "at most");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
