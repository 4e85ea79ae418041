/* test_tally.c - counters of one writer that anybody may read meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "model/tally.h"

static void
test_an_array_is_zero_and_shares_no_cache_line(void **state)
{
	struct tally *t = tally_array(3, false);
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
	for (int i = 1; i < TALLY_BUCKETS; i++) {
		assert_true(tally_bounds[i] > tally_bounds[i - 1]);
		assert_true(tally_request_bounds[i] > tally_request_bounds[i - 1]);
	}
}

/* The slot that counted one request with that status, by its word. */
static const char *
counted_as(unsigned status)
{
	struct tally *t = tally_array(2, true);
	const char *word = NULL;

	tally_request(&t[1].colors[ENTRANCE_PREVIEW][BLUE], status, 0.002);
	assert_int_equal(t[1].colors[ENTRANCE_PREVIEW][BLUE].http->request_seconds.count[1], 1);
	for (int worker = 0; worker < 2; worker++)
		for (int entrance = 0; entrance < ENTRANCES; entrance++)
			for (int color = 0; color < COLORS; color++)
				for (unsigned i = 0; i < TALLY_CODES; i++) {
					const struct tally_http *h = t[worker].colors[entrance][color].http;
					uint64_t n = tally_read(&h->requests[i]);

					if (n == 0)
						continue;
					/* Once, and nowhere but where it happened. */
					assert_null(word);
					assert_int_equal(n, 1);
					assert_true(worker == 1 && entrance == ENTRANCE_PREVIEW &&
						    color == BLUE);
					word = tally_code_word(i);
				}
	free(t);
	assert_non_null(word);
	return word;
}

static void
test_requests_count_by_code_and_invented_codes_by_class(void **state)
{
	static const unsigned named[] = { 100, 101, 200, 206, 226, 301, 308, 400,
					  404, 421, 429, 451, 499, 500, 504, 511 };
	char text[8];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(named); i++) {
		snprintf(text, sizeof(text), "%u", named[i]);
		assert_string_equal(counted_as(named[i]), text);
	}
	assert_string_equal(counted_as(199), "1xx");
	assert_string_equal(counted_as(299), "2xx");
	assert_string_equal(counted_as(306), "3xx");
	assert_string_equal(counted_as(418), "4xx");
	assert_string_equal(counted_as(599), "5xx");
	assert_string_equal(counted_as(0), "other");
	assert_string_equal(counted_as(99), "other");
	assert_string_equal(counted_as(600), "other");
	assert_string_equal(counted_as(4294967295u), "other");
}

static void
test_code_words_differ(void **state)
{
	(void)state;
	for (unsigned i = 0; i < TALLY_CODES; i++)
		for (unsigned k = 0; k < i; k++)
			assert_string_not_equal(tally_code_word(i), tally_code_word(k));
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
	struct tally *t = tally_array(1, false);
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
		cmocka_unit_test(test_requests_count_by_code_and_invented_codes_by_class),
		cmocka_unit_test(test_code_words_differ),
		cmocka_unit_test(test_the_sum_is_in_microseconds),
		cmocka_unit_test(test_a_reader_sees_it_grow_and_never_shrink),
		cmocka_unit_test(test_every_ending_has_a_word_of_its_own),
	};

	return cmocka_run_group_tests_name("tally", tests, NULL, NULL);
}
