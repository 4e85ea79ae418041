/* test_percent.c - parts of a whole and their text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/percent.h"

static void
every_part_is_read_back(void **state)
{
	char text[PERCENT_TEXT];
	uint32_t out;

	(void)state;
	for (uint32_t part = 0; part <= PERCENT_WHOLE; part++) {
		percent_format(part, text);
		assert_true(percent_parse(str_from(text), &out));
		assert_int_equal(out, part);
	}
	assert_string_equal(percent_format(1000, text), "10%");
	assert_string_equal(percent_format(250, text), "2.5%");
	assert_string_equal(percent_format(5, text), "0.05%");
}

static void
what_is_no_percent_is_refused(void **state)
{
	static const char *const bad[] = { "", "%", "100.01%", "101", "-1", "+1", "1e1", "1,5", "1.", ".5", "1.234", "1%%", " 1", "1 %", "0x1",
					   "99999999999999999999" };
	uint32_t out;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (percent_parse(str_from(bad[i]), &out))
			fail_msg("taken: %s", bad[i]);
	assert_true(percent_parse(STR("7"), &out));
	assert_int_equal(out, 700);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_part_is_read_back),
		cmocka_unit_test(what_is_no_percent_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
