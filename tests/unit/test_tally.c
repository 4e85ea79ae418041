/* test_tally.c - counters of one writer that anybody may read meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>
#include <string.h>

#include "base/check.h"
#include "model/tally.h"

static void
test_an_array_is_zero_and_shares_no_cache_line(void **state)
{
	struct tally *t = tally_array(3);
	static const struct tally zero;

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal((uintptr_t)&t[i] % 64, 0);
		assert_memory_equal(&t[i], &zero, sizeof(zero));
	}
	free(t);
}

static void
test_a_bucket_holds_what_is_not_above_its_bound(void **state)
{
	struct tally_histogram h = { 0 };

	(void)state;
	tally_observe(&h, 0);
	tally_observe(&h, tally_bounds[0]);
	assert_int_equal(h.count[0], 2);
	tally_observe(&h, tally_bounds[0] * 1.001);
	assert_int_equal(h.count[1], 1);
	tally_observe(&h, tally_bounds[TALLY_BUCKETS - 1]);
	assert_int_equal(h.count[TALLY_BUCKETS - 1], 1);
	tally_observe(&h, 1e6);
	assert_int_equal(h.count[TALLY_BUCKETS], 1);
}

static void
test_bounds_ascend(void **state)
{
	(void)state;
	for (int i = 1; i < TALLY_BUCKETS; i++)
		assert_true(tally_bounds[i] > tally_bounds[i - 1]);
}

static void
test_the_sum_is_in_microseconds(void **state)
{
	struct tally_histogram h = { 0 };

	(void)state;
	tally_observe(&h, 0.25);
	tally_observe(&h, 1.5);
	assert_int_equal(h.sum_us, 1750000);
}

#define WRITES 1000000

static void *
write_all(void *arg)
{
	struct tally *t = arg;

	for (int i = 0; i < WRITES; i++)
		tally_add(&t->colors[ENTRANCE_MAIN][BLUE].bytes_in, 3);
	return NULL;
}

static void
test_a_reader_sees_it_grow_and_never_shrink(void **state)
{
	struct tally *t = tally_array(1);
	const _Atomic uint64_t *counter = &t->colors[ENTRANCE_MAIN][BLUE].bytes_in;
	uint64_t seen = 0;
	pthread_t writer;

	(void)state;
	assert_int_equal(pthread_create(&writer, NULL, write_all, t), 0);
	while (seen < 3ull * WRITES) {
		uint64_t now = tally_read(counter);

		assert_true(now >= seen && now % 3 == 0);
		seen = now;
	}
	pthread_join(writer, NULL);
	assert_int_equal(tally_read(counter), 3ull * WRITES);
	assert_int_equal(tally_read(&t->colors[ENTRANCE_MAIN][GREEN].bytes_in), 0);
	assert_int_equal(tally_read(&t->colors[ENTRANCE_PREVIEW][BLUE].bytes_in), 0);
	free(t);
}

static void
test_every_ending_has_a_word_of_its_own(void **state)
{
	(void)state;
	for (int i = 0; i < ENDINGS; i++) {
		assert_true(strlen(ending_word((enum ending)i)) > 0);
		for (int k = 0; k < i; k++)
			assert_string_not_equal(ending_word((enum ending)i), ending_word((enum ending)k));
	}
	assert_false(ending_is_error(END_DONE));
	assert_true(ending_is_error(END_CONNECT));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_array_is_zero_and_shares_no_cache_line),
		cmocka_unit_test(test_a_bucket_holds_what_is_not_above_its_bound),
		cmocka_unit_test(test_bounds_ascend),
		cmocka_unit_test(test_the_sum_is_in_microseconds),
		cmocka_unit_test(test_a_reader_sees_it_grow_and_never_shrink),
		cmocka_unit_test(test_every_ending_has_a_word_of_its_own),
	};

	return cmocka_run_group_tests_name("tally", tests, NULL, NULL);
}
