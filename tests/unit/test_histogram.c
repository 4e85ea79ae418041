/* test_histogram.c - what the load generator's histogram promises: less than
 * 1 % error over its whole range, exact extremes, merging without loss. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "app/tealbench/histogram.h"
#include "base/check.h"
#include "base/hash.h"

static struct histogram *
fresh(void)
{
	struct histogram *h = malloc(sizeof(*h));

	assert_non_null(h);
	histogram_init(h);
	return h;
}

static void
assert_near(uint64_t got, uint64_t want)
{
	uint64_t off = got > want ? got - want : want - got;

	if (off * 100 > want)
		fail_msg("%llu is more than 1 %% away from %llu", (unsigned long long)got,
			 (unsigned long long)want);
}

static void
test_empty_answers_zero(void **state)
{
	struct histogram *h = fresh();

	(void)state;
	assert_int_equal(histogram_quantile(h, 0.5), 0);
	assert_int_equal(histogram_quantile(h, 1), 0);
	assert_true(histogram_mean(h) == 0);
	free(h);
}

static void
test_one_value_is_every_quantile(void **state)
{
	static const uint64_t values[] = { 0, 1, 127, 128, 129, 1000, 123456789, 1ull << 42 };
	static const double fractions[] = { 0, 0.5, 0.999, 1 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		struct histogram *h = fresh();

		histogram_record(h, values[i]);
		for (size_t k = 0; k < ARRAY_LEN(fractions); k++)
			assert_int_equal(histogram_quantile(h, fractions[k]), values[i]);
		free(h);
	}
}

/* Each value alone between two far neighbours, so that nothing clamps it. */
static void
test_error_stays_below_one_percent_everywhere(void **state)
{
	struct histogram *h = fresh();
	uint64_t random = 7, value;

	(void)state;
	for (unsigned bits = 0; bits < HISTOGRAM_TOP_BITS; bits++) {
		for (int i = 0; i < 200; i++) {
			value = (1ull << bits) + (random_next(&random) & ((1ull << bits) - 1));
			if (i == 0)
				value = 1ull << bits;
			if (i == 1)
				value = (1ull << bits) * 2 - 1;
			histogram_init(h);
			histogram_record(h, 0);
			histogram_record(h, value);
			histogram_record(h, UINT64_MAX >> 8);
			assert_near(histogram_quantile(h, 0.5), value);
		}
	}
	free(h);
}

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Against the sorted truth, on something shaped like latencies: a body and a
 * long tail. */
static void
test_quantiles_agree_with_sorting(void **state)
{
	enum { N = 100000 };
	static const double fractions[] = { 0.5, 0.9, 0.99, 0.999, 0.9999 };
	static uint64_t all[N];
	struct histogram *h = fresh();
	uint64_t random = 42;
	double u;

	(void)state;
	for (int i = 0; i < N; i++) {
		u = random_unit(&random);
		all[i] = (uint64_t)(20000 / (1.00001 - u));
		histogram_record(h, all[i]);
	}
	qsort(all, N, sizeof(*all), compare);
	for (size_t i = 0; i < ARRAY_LEN(fractions); i++)
		assert_near(histogram_quantile(h, fractions[i]),
			    all[(size_t)(fractions[i] * N + 0.5) - 1]);
	assert_int_equal(histogram_quantile(h, 1), all[N - 1]);
	assert_int_equal(h->max, all[N - 1]);
	assert_int_equal(h->min, all[0]);
	free(h);
}

/* The rank is exact: 999 of 1,000 are fast, so p99.9 is fast and more is not. */
static void
test_rank_is_not_off_by_one(void **state)
{
	struct histogram *h = fresh();

	(void)state;
	for (int i = 0; i < 999; i++)
		histogram_record(h, 10);
	histogram_record(h, 1000000);
	assert_int_equal(histogram_quantile(h, 0.999), 10);
	assert_int_equal(histogram_quantile(h, 0.9991), 1000000);
	free(h);
}

static void
test_merging_equals_recording_together(void **state)
{
	struct histogram *together = fresh(), *parts[3] = { fresh(), fresh(), fresh() }, *sum = fresh();
	uint64_t random = 3, value;

	(void)state;
	for (int i = 0; i < 30000; i++) {
		value = random_next(&random) >> (20 + i % 40);
		histogram_record(together, value);
		histogram_record(parts[i % 2], value);	/* the third stays empty */
	}
	for (int i = 0; i < 3; i++)
		histogram_merge(sum, parts[i]);
	assert_memory_equal(sum, together, sizeof(*sum));
	for (int i = 0; i < 3; i++)
		free(parts[i]);
	free(sum);
	free(together);
}

static void
test_beyond_the_range_is_kept_in_the_last_bucket(void **state)
{
	struct histogram *h = fresh();

	(void)state;
	histogram_record(h, 5);
	histogram_record(h, UINT64_MAX);
	assert_int_equal(h->count, 2);
	assert_int_equal(h->max, UINT64_MAX);
	assert_int_equal(histogram_quantile(h, 1), UINT64_MAX);
	assert_int_equal(h->buckets[HISTOGRAM_BUCKETS - 1], 1);
	free(h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty_answers_zero),
		cmocka_unit_test(test_one_value_is_every_quantile),
		cmocka_unit_test(test_error_stays_below_one_percent_everywhere),
		cmocka_unit_test(test_quantiles_agree_with_sorting),
		cmocka_unit_test(test_rank_is_not_off_by_one),
		cmocka_unit_test(test_merging_equals_recording_together),
		cmocka_unit_test(test_beyond_the_range_is_kept_in_the_last_bucket),
	};

	return cmocka_run_group_tests_name("histogram", tests, NULL, NULL);
}
