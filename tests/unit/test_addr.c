/* test_addr.c - addresses as text and back, and what is refused in words. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "net/addr.h"

static struct addr
parsed(const char *text, int flags)
{
	struct addr a;
	struct why why = { "" };

	if (addr_parse(text, flags, &a, &why) != OK)
		fail_msg("%s: %s", text, why.text);
	return a;
}

static void
test_there_and_back(void **state)
{
	static const struct {
		const char *text, *again;
		int family, flags;
		unsigned port;
	} cases[] = {
		{ "1.2.3.4:80", NULL, AF_INET, 0, 80 },
		{ "255.255.255.255:65535", NULL, AF_INET, 0, 65535 },
		{ "0.0.0.0:1", NULL, AF_INET, 0, 1 },
		{ "127.0.0.1:0", NULL, AF_INET, ADDR_PORT_0, 0 },
		{ ":8080", "0.0.0.0:8080", AF_INET, ADDR_ANY_HOST, 8080 },
		{ "[::1]:80", NULL, AF_INET6, 0, 80 },
		{ "[::]:443", NULL, AF_INET6, 0, 443 },
		{ "[2001:DB8:0:0::0:7]:443", "[2001:db8::7]:443", AF_INET6, 0, 443 },
		{ "[::ffff:1.2.3.4]:5", NULL, AF_INET6, 0, 5 },
		{ "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535",
		  "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", AF_INET6, 0, 65535 },
		{ "unix:/run/teal.sock", NULL, AF_UNIX, 0, 0 },
		{ "unix:/a:b", NULL, AF_UNIX, 0, 0 },
	};
	char text[ADDR_TEXT];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct addr a = parsed(cases[i].text, cases[i].flags);

		assert_int_equal(addr_family(&a), cases[i].family);
		assert_int_equal(addr_port(&a), cases[i].port);
		assert_string_equal(addr_format(&a, text),
				    cases[i].again != NULL ? cases[i].again : cases[i].text);
	}
}

static void
test_refused_in_words(void **state)
{
	static const struct {
		const char *text, *words;
	} cases[] = {
		{ "", "no port" },
		{ "1.2.3.4", "no port" },
		{ "1.2.3.4:", "port must be" },
		{ "1.2.3.4:0", "port must be" },
		{ "1.2.3.4:65536", "port must be" },
		{ "1.2.3.4:+80", "port must be" },
		{ "1.2.3.4: 80", "port must be" },
		{ "1.2.3.4:80 ", "port must be" },
		{ "1.2.3.4:http", "port must be" },
		{ ":80", "no address" },
		{ "1.2.3:80", "not an IP address" },
		{ "1.2.3.256:80", "not an IP address" },
		{ "01.2.3.4:80", "not an IP address" },
		{ "localhost:80", "not an IP address" },
		{ "[localhost]:80", "not an IP address" },
		{ "[1.2.3.4]:80", "not an IP address" },
		{ "[::1:80", "not an IP address" },
		{ "[]:80", "not an IP address" },
		{ "[:::1]:80", "not an IP address" },
		{ "::1:80", "brackets" },
		{ "2001:db8::7:443", "brackets: [2001:db8::7]:443" },
		{ "unix:", "must begin with /" },
		{ "unix:relative", "must begin with /" },
	};
	struct addr a;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct why why = { "" };

		assert_int_equal(addr_parse(cases[i].text, 0, &a, &why), E_USAGE);
		if (strstr(why.text, cases[i].words) == NULL || strstr(why.text, cases[i].text) == NULL)
			fail_msg("\"%s\": %s", cases[i].text, why.text);
	}
	assert_int_equal(addr_parse("nonsense", 0, &a, NULL), E_USAGE);
}

static void
test_unix_path_length(void **state)
{
	char text[200] = "unix:", again[ADDR_TEXT];
	size_t most = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
	struct why why;
	struct addr a;

	(void)state;
	memset(text + 5, '/', most);
	a = parsed(text, 0);
	assert_string_equal(addr_format(&a, again), text);
	text[5 + most] = '/';
	assert_int_equal(addr_parse(text, 0, &a, &why), E_USAGE);
	assert_non_null(strstr(why.text, "longer than 107 bytes"));
}

/* The kernel writes two bytes for an unnamed peer, and no NUL after a path
 * that fills its field. */
static void
test_unix_addresses_as_the_kernel_gives_them(void **state)
{
	struct addr peer, full, other;
	char text[ADDR_TEXT];
	int pair[2];

	(void)state;
	memset(&peer, 'x', sizeof(peer));
	peer.len = sizeof(peer.u);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(getpeername(pair[0], &peer.u.sa, &peer.len), 0);
	close(pair[0]);
	close(pair[1]);
	assert_int_equal(addr_family(&peer), AF_UNIX);
	assert_string_equal(addr_format(&peer, text), "unix:");
	other = peer;
	memset(other.u.un.sun_path, 'y', sizeof(other.u.un.sun_path));
	assert_true(addr_equal(&peer, &other));

	memset(&full, '/', sizeof(full));
	full.u.un.sun_family = AF_UNIX;
	full.len = sizeof(struct sockaddr_un);
	addr_format(&full, text);
	assert_int_equal(strlen(text), strlen("unix:") + sizeof(full.u.un.sun_path));
	assert_true(addr_equal(&full, &full));
	assert_false(addr_equal(&full, &peer));
}

static void
test_ip_without_port(void **state)
{
	struct addr a;
	char text[ADDR_TEXT];

	(void)state;
	assert_true(addr_parse_ip("10.0.0.1", 80, &a));
	assert_string_equal(addr_format(&a, text), "10.0.0.1:80");
	assert_true(addr_parse_ip("fe80::1", 81, &a));
	assert_string_equal(addr_format(&a, text), "[fe80::1]:81");
	assert_true(addr_parse_ip("[fe80::1]", 82, &a));
	assert_string_equal(addr_format(&a, text), "[fe80::1]:82");
	assert_false(addr_parse_ip("", 1, &a));
	assert_false(addr_parse_ip("[]", 1, &a));
	assert_false(addr_parse_ip("example", 1, &a));
	assert_false(addr_parse_ip("1.2.3.4:5", 1, &a));
	assert_false(addr_parse_ip("fe80::1%lo", 1, &a));
	assert_false(addr_parse_ip("[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]", 1, &a));
}

static void
test_equal_and_any(void **state)
{
	struct addr a = parsed("1.2.3.4:80", 0), b = parsed("1.2.3.4:81", 0), c = parsed("1.2.3.5:80", 0);
	struct addr six = parsed("[::1]:80", 0), un = parsed("unix:/a", 0), un2 = parsed("unix:/ab", 0);
	struct addr none = { .len = 0 }, any4 = parsed("0.0.0.0:80", 0), any6 = parsed("[::]:80", 0);
	char text[ADDR_TEXT];

	(void)state;
	assert_true(addr_equal(&a, &a));
	assert_false(addr_equal(&a, &b));
	assert_false(addr_equal(&a, &c));
	assert_false(addr_equal(&a, &six));
	assert_true(addr_equal(&six, &six));
	assert_false(addr_equal(&un, &un2));
	assert_true(addr_equal(&none, &none));
	assert_false(addr_equal(&none, &a));
	addr_set_port(&b, 80);
	assert_true(addr_equal(&a, &b));
	assert_true(addr_hash(&a) == addr_hash(&b));
	assert_true(addr_hash(&a) != addr_hash(&c));
	assert_true(addr_hash(&un) != addr_hash(&un2));
	/* What is no part of the address makes no other one of it. */
	b = six;
	b.u.in6.sin6_flowinfo = 5;
	assert_true(addr_equal(&b, &six));
	assert_true(addr_hash(&b) == addr_hash(&six));
	addr_set_port(&six, 65535);
	assert_int_equal(addr_port(&six), 65535);
	addr_set_port(&un, 5);
	assert_int_equal(addr_port(&un), 0);
	assert_true(addr_is_any(&any4));
	assert_true(addr_is_any(&any6));
	assert_false(addr_is_any(&a));
	assert_false(addr_is_any(&six));
	assert_false(addr_is_any(&un));
	assert_false(addr_is_any(&none));
	assert_string_equal(addr_format(&none, text), "none");
}

static void
test_resolve(void **state)
{
	struct why why = { "" };
	struct addr a;
	char text[ADDR_TEXT], label[80];

	(void)state;
	assert_int_equal(addr_resolve("10.0.0.1", 80, &a, &why), OK);
	assert_string_equal(addr_format(&a, text), "10.0.0.1:80");
	assert_int_equal(addr_resolve("localhost", 81, &a, &why), OK);
	assert_int_equal(addr_port(&a), 81);
	/* no label may be that long: refused without asking a server */
	memset(label, 'x', 70);
	strcpy(label + 70, ".invalid");
	assert_int_equal(addr_resolve(label, 1, &a, &why), E_USAGE);
	assert_non_null(strstr(why.text, ".invalid"));
}

static void
test_resolve_all(void **state)
{
	struct why why = { "" };
	struct addr *list;
	char label[80];
	size_t n;

	(void)state;
	assert_int_equal(addr_resolve_all("localhost", &list, &n, &why), OK);
	assert_true(n >= 1);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(addr_port(&list[i]), 0);
		for (size_t k = 0; k < i; k++)
			assert_false(addr_equal(&list[i], &list[k]));
	}
	free(list);
	memset(label, 'x', 70);
	strcpy(label + 70, ".invalid");
	assert_int_equal(addr_resolve_all(label, &list, &n, &why), E_USAGE);
	assert_int_equal(n, 0);
	assert_null(list);
}

static void
test_arrives(void **state)
{
	static const struct {
		const char *to, *at;
		bool arrives;
	} cases[] = {
		{ "127.0.0.1:80", "127.0.0.1:80", true },  { "127.0.0.2:80", "0.0.0.0:80", true },
		{ "127.0.0.2:80", "127.0.0.1:80", false }, { "127.0.0.1:81", "0.0.0.0:80", false },
		{ "10.0.0.1:80", "0.0.0.0:80", false },	   { "[::1]:80", "[::]:80", true },
		{ "127.0.0.1:80", "[::]:80", false },
	};
	struct addr to, at;
	struct why why;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(addr_parse(cases[i].to, 0, &to, &why), OK);
		assert_int_equal(addr_parse(cases[i].at, 0, &at, &why), OK);
		assert_int_equal(addr_arrives(&to, &at), cases[i].arrives);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_refused_in_words),
		cmocka_unit_test(test_unix_path_length),
		cmocka_unit_test(test_unix_addresses_as_the_kernel_gives_them),
		cmocka_unit_test(test_ip_without_port),
		cmocka_unit_test(test_equal_and_any),
		cmocka_unit_test(test_resolve),
		cmocka_unit_test(test_resolve_all),
		cmocka_unit_test(test_arrives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
