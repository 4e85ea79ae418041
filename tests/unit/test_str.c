/* test_str.c - comparing, numbers, seconds, copying and globbing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/str.h"

static void
test_equal(void **state)
{
	(void)state;
	assert_true(str_eq(STR("abc"), "abc"));
	assert_false(str_eq(STR("abc"), "abcd"));
	assert_false(str_eq(STR("abcd"), "abc"));
	assert_false(str_eq(STR("abc"), "ABC"));
	assert_true(str_eq(STR(""), ""));
	assert_true(str_eq((struct str){ NULL, 0 }, ""));
	assert_false(str_eq((struct str){ NULL, 0 }, "a"));
	assert_true(str_case_eq((struct str){ NULL, 0 }, ""));
	assert_false(str_eq(STR("a\0b"), "a"));
	assert_true(str_eq(str_from("xyz"), "xyz"));
}

static void
test_equal_in_any_case(void **state)
{
	(void)state;
	assert_true(str_case_eq(STR("Content-LENGTH"), "content-length"));
	assert_false(str_case_eq(STR("Content-Length"), "content-lengt"));
	assert_false(str_case_eq(STR("["), "{"));	/* 0x20 apart, but no letters */
	assert_false(str_case_eq(STR("\xc9"), "\xe9"));
	assert_false(str_case_eq(STR("a\0c"), "a\0b"));
}

static void
test_numbers(void **state)
{
	static const char *const bad[] = { "",
					   " 1",
					   "1 ",
					   "+1",
					   "-1",
					   "0x1",
					   "1.0",
					   "a",
					   "18446744073709551616",
					   "99999999999999999999999" };
	uint64_t v = 77;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (str_to_u64(str_from(bad[i]), UINT64_MAX, &v))
			fail_msg("\"%s\" taken as %llu", bad[i], (unsigned long long)v);
	assert_int_equal(v, 77);	/* untouched by failures */
	assert_true(str_to_u64(STR("0"), 10, &v));
	assert_int_equal(v, 0);
	assert_true(str_to_u64(STR("007"), 10, &v));
	assert_int_equal(v, 7);
	assert_true(str_to_u64(STR("18446744073709551615"), UINT64_MAX, &v));
	assert_true(v == UINT64_MAX);
	assert_true(str_to_u64(STR("65535"), 65535, &v));
	assert_false(str_to_u64(STR("65536"), 65535, &v));
	assert_false(str_to_u64(STR("1\0"), 65535, &v));
}

static void
test_seconds(void **state)
{
	static const struct {
		const char *text;
		double value;
	} good[] = { { "0", 0 },    { "2", 2 },  { "0.5", 0.5 },
		     { ".5", 0.5 }, { "3.", 3 }, { "86400000000", 86400e6 } };
	static const char *const bad[] = { "",   ".",   "..",  "1.2.3",       "-1",
					   "+1", "1e3", "inf", "nan",         "0x10",
					   " 1", "1 ",  "1,5", "86400000001", "99999999999999999999",
					   "1s" };
	double v = 77;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (str_to_seconds(str_from(bad[i]), &v))
			fail_msg("\"%s\" taken as %g", bad[i], v);
	assert_true(v == 77);
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_true(str_to_seconds(str_from(good[i].text), &v));
		assert_true(v == good[i].value);
	}
	/* longer than any sensible number, but well formed */
	assert_false(str_to_seconds(STR("0.000000000000000000000000000000001"), &v));
}

static void
test_durations_have_units(void **state)
{
	static const struct {
		const char *text;
		double value;
	} good[] = { { "30m", 1800 }, { "1.5h", 5400 }, { "90s", 90 }, { "90", 90 }, { "0m", 0 } };
	static const char *const bad[] = { "", "m", "s", "1d", "1hm", "m1", "-1m", "1 m", ".h" };
	double v;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_true(str_to_duration(str_from(good[i].text), &v));
		assert_true(v == good[i].value);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(str_to_duration(str_from(bad[i]), &v));
}

static void
test_copy_cuts_and_terminates(void **state)
{
	char to[4] = "zzz", *copy;

	(void)state;
	assert_true(str_copy(to, sizeof(to), STR("abc")));
	assert_string_equal(to, "abc");
	assert_false(str_copy(to, sizeof(to), STR("abcd")));
	assert_string_equal(to, "abc");
	assert_true(str_copy(to, sizeof(to), STR("")));
	assert_true(str_copy(to, sizeof(to), (struct str){ NULL, 0 }));
	assert_string_equal(to, "");
	assert_false(str_copy(to, 1, STR("x")));
	/* What is behind the text does not matter. */
	copy = str_dup((struct str){ "abcdef", 3 });
	assert_string_equal(copy, "abc");
	free(copy);
	copy = str_dup((struct str){ NULL, 0 });
	assert_string_equal(copy, "");
	free(copy);
	assert_string_equal(to, "");
}

static void
test_glob(void **state)
{
	static const struct {
		const char *pattern, *text;
		bool match;
	} cases[] = {
		{ "shop", "shop", true },
		{ "shop", "shops", false },
		{ "shop-*", "shop-a", true },
		{ "shop-*", "shop-", true },
		{ "shop-*", "shop", false },
		{ "*", "", true },
		{ "*", "anything", true },
		{ "", "", true },
		{ "", "a", false },
		{ "*.example", "a.example", true },
		{ "*.example", "example", false },
		{ "a*b*c", "aXbYc", true },
		{ "a*b*c", "abcbc", true },
		{ "a*b*c", "acb", false },
		{ "**a", "bba", true },
		{ "a*", "ba", false },
		{ "a?", "ab", false },
		{ "*ab", "aab", true },
		{ "*aab", "aaab", true },
		{ "[a]", "a", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if (str_glob(cases[i].pattern, cases[i].text) != cases[i].match)
			fail_msg("%s on %s", cases[i].pattern, cases[i].text);
}

static void
test_distance(void **state)
{
	static const struct {
		const char *a, *b;
		size_t d;
	} cases[] = {
		{ "", "", 0 }, { "", "ab", 2 }, { "flip", "flip", 0 }, { "flop", "flip", 1 },
		{ "fip", "flip", 1 }, { "flipp", "flip", 1 }, { "filp", "flip", 1 }, { "status", "stop", 4 },
		{ "ca", "abc", 3 },
	};
	char ends[63], longer[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(str_distance(str_from(cases[i].a), str_from(cases[i].b), 9), cases[i].d);
		assert_int_equal(str_distance(str_from(cases[i].b), str_from(cases[i].a), 9), cases[i].d);
	}
	memset(ends, 'x', sizeof(ends));
	memset(longer, 'x', sizeof(longer));
	assert_int_equal(str_distance((struct str){ ends, sizeof(ends) }, STR(""), 2), 63);
	assert_int_equal(str_distance((struct str){ longer, sizeof(longer) }, STR("x"), 2), 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_equal_in_any_case),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_seconds),
		cmocka_unit_test(test_durations_have_units),
		cmocka_unit_test(test_copy_cuts_and_terminates),
		cmocka_unit_test(test_glob),
		cmocka_unit_test(test_distance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
