/* test_status_set.c - sets of HTTP status codes as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/check.h"
#include "model/status_set.h"

static void
test_codes_and_ranges(void **state)
{
	struct status_set s;

	(void)state;
	assert_true(status_set_parse("200-399", &s));
	assert_true(status_set_has(&s, 200) && status_set_has(&s, 399));
	assert_false(status_set_has(&s, 199) || status_set_has(&s, 400));
	assert_true(status_set_parse("204,300-302,503", &s));
	assert_true(status_set_has(&s, 204) && status_set_has(&s, 301) && status_set_has(&s, 503));
	assert_false(status_set_has(&s, 200) || status_set_has(&s, 303) || status_set_has(&s, 502));
	assert_true(status_set_parse("100,101,102,103,200,201,202,203", &s));
}

static void
test_what_is_none(void **state)
{
	static const char *const bad[] = { "",
					   ",",
					   "200,",
					   ",200",
					   "20",
					   "2000",
					   "200-",
					   "-200",
					   "300-200",
					   "600",
					   "099",
					   "200 ",
					   " 200",
					   "2xx",
					   "200-399-499",
					   "+20",
					   "100,101,102,103,200,201,202,203,204" };
	struct status_set s = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (status_set_parse(bad[i], &s) || s.n != 0)
			fail_msg("\"%s\" was taken", bad[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_codes_and_ranges),
		cmocka_unit_test(test_what_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
