/* test_cidr.c - networks as text and back, who is in them, and sets of many
 * against the plain loop. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "net/cidr.h"

static struct cidr
network(const char *text)
{
	struct cidr c;
	struct why why = { "" };

	if (cidr_parse(text, &c, NULL, &why) != OK)
		fail_msg("%s: %s", text, why.text);
	return c;
}

static struct addr
client(const char *ip)
{
	struct addr a;

	assert_true(addr_parse_ip(ip, 4711, &a));
	return a;
}

static void
test_there_and_back(void **state)
{
	static const struct {
		const char *text, *again;
		bool inexact;
	} cases[] = {
		{ "10.0.0.0/8", "10.0.0.0/8", false },
		{ "10.1.2.3", "10.1.2.3/32", false },
		{ "10.1.2.3/32", "10.1.2.3/32", false },
		{ "10.1.2.3/31", "10.1.2.2/31", true },
		{ "10.1.2.3/8", "10.0.0.0/8", true },
		{ "0.0.0.0/0", "0.0.0.0/0", false },
		{ "1.2.3.4/0", "0.0.0.0/0", true },
		{ "::/0", "::/0", false },
		{ "::1", "::1/128", false },
		{ "[::1]", "::1/128", false },
		{ "2001:DB8::/32", "2001:db8::/32", false },
		{ "2001:db8:ffff::/33", "2001:db8:8000::/33", true },
		{ "::ffff:10.0.0.0/104", "10.0.0.0/8", false },
		{ "::ffff:10.0.0.1", "10.0.0.1/32", false },
		{ "unix:", "unix:", false },
	};
	char text[CIDR_TEXT];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct cidr c;
		bool inexact;

		assert_int_equal(cidr_parse(cases[i].text, &c, &inexact, NULL), OK);
		assert_string_equal(cidr_format(&c, text), cases[i].again);
		assert_int_equal(inexact, cases[i].inexact);
		assert_int_equal(cidr_parse(text, &c, &inexact, NULL), OK);
		assert_false(inexact);
	}
}

static void
test_refused_in_words(void **state)
{
	static const char *const bad[] = {
		"", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+1", "10.0.0.0/8 ", " 10.0.0.0/8",
		"10.0.0.0/0x8", "10.0.0.0/8/8", "10.0.0/8", "10/8", "::/129", "example.org", "10.0.0.0:80", "unix:/x",
		"fe80::1%lo/64", "10.0.0.0/99999999999999999999", "::ffff:1.2.3.4/95", "01.2.3.4",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/8",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct why why = { "" };
		struct cidr c;

		if (cidr_parse(bad[i], &c, NULL, &why) == OK)
			fail_msg("\"%s\" was accepted", bad[i]);
		assert_true(why.text[0] == '"');
	}
}

static void
test_who_is_in(void **state)
{
	static const struct {
		const char *network, *client;
		bool in;
	} cases[] = {
		{ "10.0.0.0/8", "10.255.255.255", true },
		{ "10.0.0.0/8", "11.0.0.0", false },
		{ "10.0.0.0/8", "9.255.255.255", false },
		{ "10.0.0.0/8", "::ffff:10.1.2.3", true },
		{ "::ffff:10.0.0.0/104", "10.1.2.3", true },
		{ "10.0.0.4/30", "10.0.0.7", true },
		{ "10.0.0.4/30", "10.0.0.8", false },
		{ "10.0.0.1", "10.0.0.1", true },
		{ "10.0.0.1", "10.0.0.0", false },
		{ "0.0.0.0/0", "255.255.255.255", true },
		{ "0.0.0.0/0", "::1", false },
		{ "::/0", "::1", true },
		{ "::/0", "10.0.0.1", false },
		{ "::/0", "::ffff:10.0.0.1", false },
		{ "2001:db8::/33", "2001:db8:7fff::1", true },
		{ "2001:db8::/33", "2001:db8:8000::1", false },
		{ "2001:db8::/127", "2001:db8::1", true },
		{ "2001:db8::/127", "2001:db8::2", false },
		{ "a00::/8", "10.0.0.1", false },
		{ "unix:", "10.0.0.1", false },
	};
	struct addr un = { .len = offsetof(struct sockaddr_un, sun_path), .u.un.sun_family = AF_UNIX },
		    none = { 0 };
	struct cidr c;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct addr a = client(cases[i].client);

		c = network(cases[i].network);
		if (cidr_match(&c, &a) != cases[i].in)
			fail_msg("%s in %s?", cases[i].client, cases[i].network);
	}
	c = network("unix:");
	assert_true(cidr_match(&c, &un));
	assert_false(cidr_match(&c, &none));
	c = network("0.0.0.0/0");
	assert_false(cidr_match(&c, &un));
	assert_false(cidr_match(&c, &none));
}

static void
test_set_keeps_only_what_it_needs(void **state)
{
	static const char *const in[] = { "10.0.0.0/24",    "10.0.0.0/25", "10.0.1.0/24", "10.0.0.0/24",
					  "192.168.0.0/16", "10.0.3.7",    "10.0.0.0/8",  "::/0",
					  "fe80::/10",      "unix:" };
	static const char *const left[] = { "unix:", "10.0.0.0/8", "192.168.0.0/16", "::/0" };
	struct addr a = client("10.0.0.1");
	struct cidr_set set = { 0 };
	char text[CIDR_TEXT];

	(void)state;
	assert_true(cidr_set_is_empty(&set));
	assert_false(cidr_set_match(&set, &a));
	for (size_t i = 0; i < ARRAY_LEN(in); i++) {
		struct cidr c = network(in[i]);

		cidr_set_add(&set, &c);
	}
	assert_int_equal(set.n, ARRAY_LEN(left));
	for (size_t i = 0; i < set.n; i++)
		assert_string_equal(cidr_format(&set.list[i], text), left[i]);
	assert_true(cidr_set_match(&set, &a));
	cidr_set_clear(&set);
	assert_true(cidr_set_is_empty(&set));
}

/* Networks and clients from a small corner of the space, so that they nest
 * and touch. */
static struct addr
random_client(uint64_t *seed)
{
	static const char *const forms[] = { "10.%u.%u.%u", "::ffff:10.%u.%u.%u", "a%02x:%x::%x" };
	unsigned form = random_next(seed) % 3;
	char text[64];

	snprintf(text, sizeof(text), forms[form], (unsigned)(random_next(seed) & 3),
		 (unsigned)(random_next(seed) & 3), (unsigned)(random_next(seed) & 255));
	return client(text);
}

static struct cidr
random_network(uint64_t *seed)
{
	struct addr a = random_client(seed);
	char host[ADDR_TEXT], text[160];
	unsigned most = addr_family(&a) == AF_INET ? 32 : 128;
	unsigned least = most == 128 && IN6_IS_ADDR_V4MAPPED(&a.u.in6.sin6_addr) ? 98 : 2;

	addr_format(&a, host);
	*strrchr(host, ':') = '\0';
	snprintf(text, sizeof(text), "%s/%u", host,
		 least + (unsigned)(random_next(seed) % (most - least + 1)));
	return network(text);
}

static void
test_set_is_as_good_as_the_loop(void **state)
{
	uint64_t seed = 20261122;
	unsigned hits = 0, misses = 0;

	(void)state;
	for (int round = 0; round < 400; round++) {
		struct cidr plain[40];
		struct cidr_set set = { 0 };
		size_t n = random_next(&seed) % ARRAY_LEN(plain);

		for (size_t i = 0; i < n; i++) {
			plain[i] = random_network(&seed);
			cidr_set_add(&set, &plain[i]);
		}
		assert_true(set.n <= n);
		for (int k = 0; k < 200; k++) {
			struct addr a = random_client(&seed);
			bool in = false;

			for (size_t i = 0; i < n; i++)
				in |= cidr_match(&plain[i], &a);
			if (cidr_set_match(&set, &a) != in)
				fail_msg("round %d: set and loop differ", round);
			hits += in;
			misses += !in;
		}
		cidr_set_clear(&set);
	}
	/* neither outcome was rare */
	assert_true(hits > 4000 && misses > 4000);
}

/* Bit by bit, with no cleverness at all. */
static void
test_match_is_a_comparison_of_bits(void **state)
{
	uint64_t seed = 7;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct cidr c = random_network(&seed);
		struct addr a = random_client(&seed);
		bool mapped = addr_family(&a) == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a.u.in6.sin6_addr);
		bool four = mapped || addr_family(&a) == AF_INET, in = four == (c.family == AF_INET);
		const uint8_t *ip = !four  ? a.u.in6.sin6_addr.s6_addr :
				    mapped ? a.u.in6.sin6_addr.s6_addr + 12 :
					     (const uint8_t *)&a.u.in.sin_addr;

		for (unsigned i = 0; i < c.bits && in; i++)
			in = ((ip[i / 8] ^ c.ip[i / 8]) & (0x80 >> i % 8)) == 0;
		assert_int_equal(cidr_match(&c, &a), in);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_refused_in_words),
		cmocka_unit_test(test_who_is_in),
		cmocka_unit_test(test_set_keeps_only_what_it_needs),
		cmocka_unit_test(test_set_is_as_good_as_the_loop),
		cmocka_unit_test(test_match_is_a_comparison_of_bits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
