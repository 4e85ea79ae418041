/* test_engine_check.c - what is said of the kernel's table of connections. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "kernel/engine.h"

static void
test_a_table_that_is_large_enough(void **state)
{
	char text[KERNEL_SENTENCE];

	(void)state;
	assert_null(kernel_check_table(0, 262144, 262144, text));
	assert_null(kernel_check_table(200000, 262144, 65536, text));
	assert_null(kernel_check_table(0, 131072, 65536, text));
	/* Nothing is known before the kernel tracks anything. */
	assert_null(kernel_check_table(0, 0, 0, text));
}

static void
test_one_that_is_small_or_nearly_full(void **state)
{
	char text[KERNEL_SENTENCE];

	(void)state;
	assert_string_equal(
		kernel_check_table(12, 65536, 65536, text),
		"net.netfilter.nf_conntrack_max: the host's table of connections takes 65536 entries, and 12 are in use; "
		"beyond that new ones are dropped; sysctl -w net.netfilter.nf_conntrack_max=262144 "
		"net.netfilter.nf_conntrack_buckets=262144");
	assert_non_null(kernel_check_table(420000, 524288, 524288, text));
	assert_non_null(strstr(text, "nf_conntrack_max=1048576 "));
}

static void
test_one_with_long_lists(void **state)
{
	char text[KERNEL_SENTENCE];

	(void)state;
	assert_string_equal(
		kernel_check_table(0, 1048576, 65536, text),
		"net.netfilter.nf_conntrack_buckets: so few that 16 connections would be searched for each "
		"packet; sysctl -w net.netfilter.nf_conntrack_buckets=1048576");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_table_that_is_large_enough),
		cmocka_unit_test(test_one_that_is_small_or_nearly_full),
		cmocka_unit_test(test_one_with_long_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
