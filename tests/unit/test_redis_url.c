/* test_redis_url.c - where Redis is, as people write it, and what they get wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "proto/redis_url.h"

static struct redis_url
good(const char *text)
{
	struct redis_url url;
	struct why why = { "" };

	if (redis_url_parse(text, &url, &why) != OK)
		fail_msg("%s: %s", text, why.text);
	return url;
}

static void
assert_host(const char *text, const char *host, unsigned port, const char *user, unsigned database)
{
	struct redis_url url = good(text);

	assert_string_equal(url.at.host, host);
	assert_int_equal(url.at.port, port);
	assert_string_equal(url.user, user);
	assert_int_equal(url.database, database);
	assert_string_equal(url.path, "");
	assert_int_equal(url.tls, strncmp(text, "rediss:", 7) == 0);
}

static void
test_hosts(void **state)
{
	(void)state;
	assert_host("redis://10.0.0.5", "10.0.0.5", 6379, "", 0);
	assert_host("redis://10.0.0.5/", "10.0.0.5", 6379, "", 0);
	assert_host("redis://10.0.0.5:1", "10.0.0.5", 1, "", 0);
	assert_host("redis://teal@10.0.0.5:65535/0", "10.0.0.5", 65535, "teal", 0);
	assert_host("rediss://redis.internal/15", "redis.internal", 6379, "", 15);
	assert_host("rediss://a_b-c.example:7000/65535", "a_b-c.example", 7000, "", 65535);
	assert_host("redis://[fd00::1]", "fd00::1", 6379, "", 0);
	assert_host("redis://ci@[::ffff:10.0.0.1]:7/2", "::ffff:10.0.0.1", 7, "ci", 2);
	assert_host("redis://a%40b%2fc%3A@h", "h", 6379, "a@b/c:", 0);
	assert_host("redis://a@b@h", "h", 6379, "a@b", 0);
}

static void
test_paths(void **state)
{
	struct redis_url url = good("unix:///run/redis.sock");

	(void)state;
	assert_string_equal(url.path, "/run/redis.sock");
	assert_string_equal(url.at.host, "");
	assert_string_equal(url.user, "");
	assert_int_equal(url.database, 0);
	assert_false(url.tls);
	url = good("unix://teal@/run/a@b.sock?db=3");
	assert_string_equal(url.path, "/run/a@b.sock");
	assert_string_equal(url.user, "teal");
	assert_int_equal(url.database, 3);
}

static const struct {
	const char *text, *why;
} bad[] = {
	{ "", "expected redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH" },
	{ "10.0.0.5:6379", "expected redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH" },
	{ "http://10.0.0.5", "expected redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH" },
	{ "REDIS://h", "expected redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH" },
	{ "redis:", "expected redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH" },
	{ "redis://", "the host is missing" },
	{ "redis://:6379", "the host is missing" },
	{ "redis://u@", "the host is missing" },
	{ "redis://u@/3", "the host is missing" },
	{ "redis://@h", "the user before @ is empty" },
	{ "redis://h:", "the port must be a number from 1 to 65535" },
	{ "redis://h:0", "the port must be a number from 1 to 65535" },
	{ "redis://h:65536", "the port must be a number from 1 to 65535" },
	{ "redis://h:+1", "the port must be a number from 1 to 65535" },
	{ "redis://h:6379x", "the port must be a number from 1 to 65535" },
	{ "redis://fd00::1", "write an IPv6 address in brackets: [ADDRESS]:PORT" },
	{ "redis://[fd00::1", "what stands in [ ] is not an IPv6 address" },
	{ "redis://[]", "what stands in [ ] is not an IPv6 address" },
	{ "redis://[h]", "what stands in [ ] is not an IPv6 address" },
	{ "redis://[::1]6379", "the port must be a number from 1 to 65535" },
	{ "redis://a b", "the host is neither an address nor a name" },
	{ "redis://-a", "the host is neither an address nor a name" },
	{ "redis://h,i", "the host is neither an address nor a name" },
	{ "redis://h/x", "the database must be a number from 0 to 65535" },
	{ "redis://h/-1", "the database must be a number from 0 to 65535" },
	{ "redis://h/65536", "the database must be a number from 0 to 65535" },
	{ "redis://h/0/", "the database must be a number from 0 to 65535" },
	{ "redis://h/0?x", "the database must be a number from 0 to 65535" },
	{ "redis://a%4@h", "in the user, % must be followed by two hex digits" },
	{ "redis://a%@h", "in the user, % must be followed by two hex digits" },
	{ "redis://a%zz@h", "in the user, % must be followed by two hex digits" },
	{ "redis://a%4x@h", "in the user, % must be followed by two hex digits" },
	{ "redis://a%00@h", "the user has a blank or a control character" },
	{ "redis://a b@h", "the user has a blank or a control character" },
	{ "unix://run/redis.sock", "expected the path of a socket, as in unix:///run/redis.sock" },
	{ "unix:///", "expected the path of a socket, as in unix:///run/redis.sock" },
	{ "unix://", "expected the path of a socket, as in unix:///run/redis.sock" },
	{ "unix:///a?db=", "the database must be a number from 0 to 65535" },
	{ "unix:///a?pass=x", "behind ? only db=NUMBER is known" },
};

static void
test_mistakes(void **state)
{
	struct redis_url url;
	struct why why;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (redis_url_parse(bad[i].text, &url, &why) != E_USAGE)
			fail_msg("accepted: %s", bad[i].text);
		if (strcmp(why.text, bad[i].why) != 0)
			fail_msg("%s: %s, not: %s", bad[i].text, why.text, bad[i].why);
	}
}

/* However the password is written, and whatever else is wrong: it is refused,
 * and nobody reads it in a message. */
static void
test_passwords_are_refused_and_never_shown(void **state)
{
	const char *urls[] = { "redis://u:s3cr3t@h",        "redis://:s3cr3t@h",    "rediss://u:s3cr3t@h:x",
			       "redis://u:s3cr3t/s3cr3t@h", "unix://u:s3cr3t@/run", "redis://u:@s3cr3t:@h",
			       "s3cr3t://u:s3cr3t@h" };
	struct redis_url url;
	struct why why;

	(void)state;
	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
		assert_int_equal(redis_url_parse(urls[i], &url, &why), E_USAGE);
		assert_null(strstr(why.text, "s3cr3t"));
	}
	assert_int_equal(redis_url_parse(urls[0], &url, &why), E_USAGE);
	assert_non_null(strstr(why.text, "password_file"));
}

static void
test_what_is_too_long(void **state)
{
	char text[600] = "redis://", path[200] = "unix:///", user[300] = "redis://";
	struct redis_url url;
	struct why why;

	(void)state;
	memset(text + 8, 'h', 253);
	assert_int_equal(strlen(good(text).at.host), 253);
	memset(text + 8, 'h', 254);
	assert_int_equal(redis_url_parse(text, &url, &why), E_USAGE);
	assert_string_equal(why.text, "the name of the host is too long");

	memset(path + 8, 'p', 106);
	assert_int_equal(strlen(good(path).path), 107);
	memset(path + 8, 'p', 107);
	assert_int_equal(redis_url_parse(path, &url, &why), E_USAGE);
	assert_string_equal(why.text, "the path of a socket has at most 107 bytes, this one 108");

	memset(user + 8, 'u', 127);
	memcpy(user + 8 + 127, "@h", 3);
	assert_int_equal(strlen(good(user).user), 127);
	memset(user + 8, 'u', 128);
	memcpy(user + 8 + 128, "@h", 3);
	assert_int_equal(redis_url_parse(user, &url, &why), E_USAGE);
	assert_string_equal(why.text, "the user is too long");
}

static void
test_endpoints(void **state)
{
	struct redis_endpoint e;
	struct why why;

	(void)state;
	assert_int_equal(redis_endpoint_parse("10.0.0.5", SENTINEL_PORT, &e, &why), OK);
	assert_string_equal(e.host, "10.0.0.5");
	assert_int_equal(e.port, 26379);
	assert_int_equal(redis_endpoint_parse("[::1]:5", SENTINEL_PORT, &e, &why), OK);
	assert_string_equal(e.host, "::1");
	assert_int_equal(e.port, 5);
	assert_int_equal(redis_endpoint_parse("", SENTINEL_PORT, &e, &why), E_USAGE);
	assert_string_equal(why.text, "the host is missing");
	assert_int_equal(redis_endpoint_parse("u@h:1", SENTINEL_PORT, &e, &why), E_USAGE);
	assert_int_equal(redis_endpoint_parse("h:1/0", SENTINEL_PORT, &e, &why), E_USAGE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_passwords_are_refused_and_never_shown),
		cmocka_unit_test(test_what_is_too_long),
		cmocka_unit_test(test_endpoints),
	};

	return cmocka_run_group_tests_name("redis_url", tests, NULL, NULL);
}
