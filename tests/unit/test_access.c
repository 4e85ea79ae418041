/* test_access.c - which access lines are written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "data/access.h"

static struct access
made(enum access_log which, double sample)
{
	struct config config = { .log = { .access = which, .sample = sample } };
	struct access a;

	access_init(&a, &config);
	return a;
}

static void
errors_are_written_unless_nothing_is(void **state)
{
	struct access on = made(ACCESS_ON, 1), off = made(ACCESS_OFF, 1), errors = made(ACCESS_ERRORS, 1);
	struct str share;

	(void)state;
	assert_true(access_due(&on, true, &share) && access_due(&on, false, &share));
	assert_int_equal(share.n, 0);
	assert_false(access_due(&off, true, &share) || access_due(&off, false, &share));
	assert_true(access_due(&errors, true, &share));
	assert_int_equal(share.n, 0);
	assert_false(access_due(&errors, false, &share));
}

static void
a_sample_is_exact_and_says_what_it_is(void **state)
{
	static const double samples[] = { 0.5, 0.1, 0.3, 0.01, 0.999, 1e-6 };
	struct str share;

	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		struct access a = made(ACCESS_ON, samples[i]);
		unsigned written = 0, n = 1000000;

		for (unsigned k = 0; k < n; k++) {
			if (!access_due(&a, false, &share))
				continue;
			if (written++ == 0)
				assert_int_equal(k, 0);
		}
		assert_true(written >= n * samples[i] - 1 && written <= n * samples[i] + 1);
		/* Errors come on top, and move nobody's turn. */
		assert_true(access_due(&a, true, &share));
		assert_true(str_eq(share, "\"sample\":1"));
	}
}

static void
a_line_tells_its_share(void **state)
{
	struct access a = made(ACCESS_ON, 0.01);
	struct str share;

	(void)state;
	assert_true(access_due(&a, false, &share));
	assert_true(str_eq(share, "\"sample\":0.01"));
	assert_false(access_due(&a, false, &share));
	assert_int_equal(share.n, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors_are_written_unless_nothing_is),
		cmocka_unit_test(a_sample_is_exact_and_says_what_it_is),
		cmocka_unit_test(a_line_tells_its_share),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
