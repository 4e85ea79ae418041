/* test_decimal.c - our own number writing against printf's. */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/decimal.h"
#include "base/hash.h"
#include "scaled.h"

static void
assert_text(const char *text, size_t n, const char *expected)
{
	if (n != strlen(expected) || memcmp(text, expected, n) != 0)
		fail_msg("%.*s instead of %s", (int)n, text, expected);
}

static void
assert_integer(uint64_t v)
{
	char text[DECIMAL_TEXT], expected[DECIMAL_TEXT];

	snprintf(expected, sizeof(expected), "%" PRIu64, v);
	assert_text(text, decimal_u64(text, v), expected);
	snprintf(expected, sizeof(expected), "%" PRId64, (int64_t)v);
	assert_text(text, decimal_i64(text, (int64_t)v), expected);
}

static void
test_integers(void **state)
{
	uint64_t seed = 5, ten = 1;

	(void)state;
	for (int i = 0; i < 20; i++, ten *= 10) {
		assert_integer(ten - 1);
		assert_integer(ten);
		assert_integer(ten + 1);
		assert_integer(0 - ten);
	}
	assert_integer(INT64_MAX);
	assert_integer((uint64_t)INT64_MAX + 1);
	assert_integer(UINT64_MAX);
	for (unsigned i = 0, n = scaled(10000, 100000); i < n; i++)
		assert_integer(random_next(&seed) >> random_next(&seed) % 64);
}

static void
assert_nine(double v)
{
	char text[DECIMAL_TEXT], expected[DECIMAL_TEXT];

	snprintf(expected, sizeof(expected), "%.9g", v);
	assert_text(text, decimal_9(text, v), expected);
	snprintf(expected, sizeof(expected), "%.9g", -v);
	assert_text(text, decimal_9(text, -v), expected);
}

static void
test_nine_digits_are_printfs(void **state)
{
	static const double edges[] = {
		0, 1, 0.1, 0.01, 0.001, 0.0001, 0.00001, 0.5, 0.000099999999999, 0.99999999949,
		0.9999999995, 0.99999999951, 9.9999999995, 99999999.95, 999999999, 999999999.4,
		999999999.5, 999999999.6, 1e9, 1e10, 1e15, 1e22, 123456789.5, 123456788.5,
		0.0001234567885, 1.00000001, 1.000000001, 100000000.5, 100000001.5, DBL_MIN,
		DBL_MAX, DBL_EPSILON, 4.9e-324, 1.0 / 3, 2.0 / 3,
	};
	uint64_t seed = 9;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(edges); i++)
		assert_nine(edges[i]);
	for (unsigned i = 0, n = scaled(10000, 300000); i < n; i++) {
		uint64_t bits = random_next(&seed);
		double v;

		assert_nine((double)(bits % 100000000) / 1e6);	/* microseconds, as they come */
		assert_nine((double)(bits % 100000) / 1e9);	/* nanoseconds */
		assert_nine(random_unit(&seed) * pow(10, (double)(bits % 22) - 11));
		/* halves of the ninth digit, which must round as printf does */
		assert_nine((100000000 + (double)(bits % 900000000) + 0.5) / pow(10, (double)(bits % 18)));
		memcpy(&v, &bits, sizeof(v));
		if (isfinite(v))
			assert_nine(v);
	}
}

static void
assert_exact(double v, size_t most)
{
	char text[DECIMAL_TEXT] = "";
	size_t n = decimal_exact(text, v);

	assert_true(n < sizeof(text));
	text[n] = '\0';
	if (strtod(text, NULL) != v || n > most)
		fail_msg("%s for %.17g", text, v);
}

static void
test_exact_is_exact_and_short(void **state)
{
	static const struct {
		double v;
		const char *text;
	} cases[] = {
		{ 0, "0" },	   { 1, "1" },	       { -1, "-1" },	 { 0.1, "0.1" },   { 0.3, "0.3" },
		{ 2.5, "2.5" },	   { 0.005, "0.005" }, { 1e14, "100000000000000" }, { 1e15, "1e+15" },
		{ 1e-7, "1e-07" }, { 0.1 + 0.2, "0.30000000000000004" }, { -0.25, "-0.25" },
		{ 1700000000.123, "1700000000.123" }, { -0.0, "-0" },
	};
	uint64_t seed = 3;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char text[DECIMAL_TEXT];

		assert_text(text, decimal_exact(text, cases[i].v), cases[i].text);
	}
	for (unsigned i = 0, n = scaled(10000, 100000); i < n; i++) {
		uint64_t bits = random_next(&seed);
		double v;

		memcpy(&v, &bits, sizeof(v));
		if (isfinite(v))
			assert_exact(v, 24);
		/* six decimals stay six decimals */
		assert_exact((double)(bits % 1000000000) / 1e6, 10);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_integers),
		cmocka_unit_test(test_nine_digits_are_printfs),
		cmocka_unit_test(test_exact_is_exact_and_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
