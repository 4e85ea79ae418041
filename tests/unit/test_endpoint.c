/* test_endpoint.c - by what a client is known again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "data/endpoint.h"

static void
test_a_mapped_address_is_the_one_it_maps(void **state)
{
	static const struct {
		const char *text;
		size_t n;
		uint8_t first;
	} table[] = {
		{ "192.0.2.7", 4, 192 },	{ "::ffff:192.0.2.7", 4, 192 }, { "2001:db8::1", 16, 0x20 },
		{ "::192.0.2.7", 16, 0 },	{ "::1", 16, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct endpoint e = { 0 };
		struct addr a;
		size_t n;

		assert_true(addr_parse_ip(table[i].text, 1000, &a));
		endpoint_set(&e, &a);
		assert_int_equal(endpoint_source(&e, &n)[0], table[i].first);
		assert_int_equal(n, table[i].n);
	}
}

static void
test_a_unix_socket_has_none(void **state)
{
	const struct endpoint e = { .family = AF_UNIX };
	size_t n;

	(void)state;
	assert_null(endpoint_source(&e, &n));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_mapped_address_is_the_one_it_maps),
		cmocka_unit_test(test_a_unix_socket_has_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
