/* test_load_thread.c - pacing: which request is due when, on which thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "app/tealbench/load_flow.h"

#define SECOND 1000000000ull

static struct load_config config;

static struct load_thread *
thread(unsigned index)
{
	struct load_thread *t = must_alloc(sizeof(*t));

	load_thread_init(t, &config, index);
	return t;
}

static void
done(struct load_thread *t)
{
	load_thread_free(t);
	free(t);
}

static void
configure(uint64_t threads, uint64_t rate, double duration)
{
	config = (struct load_config){ .mode = load_mode_find("tcp-small"),
				       .connections = 5,
				       .threads = threads,
				       .rate = rate,
				       .duration = duration,
				       .timeout = 1 };
}

static void
request_k_is_due_at_k_over_rate_whatever_the_threads(void **state)
{
	(void)state;
	for (uint64_t threads = 1; threads <= 4; threads++) {
		configure(threads, 300, 2);
		for (unsigned i = 0; i < threads; i++) {
			struct load_thread *t = thread(i);

			t->began = 7 * SECOND;
			for (t->issued = 0; t->issued < 1000; t->issued++) {
				uint64_t k = t->issued * threads + i;

				assert_int_equal(load_thread_due(t), 7 * SECOND + k * SECOND / 300);
			}
			done(t);
		}
	}
}

static void
the_threads_share_all_requests_and_no_more(void **state)
{
	uint64_t sum, connections;

	(void)state;
	for (uint64_t threads = 1; threads <= 5; threads++) {
		configure(threads, 333, 3.5);
		sum = connections = 0;
		for (unsigned i = 0; i < threads; i++) {
			struct load_thread *t = thread(i);

			sum += t->quota;
			connections += t->flow_count;
			done(t);
		}
		assert_int_equal(sum, 1165);	/* 333 * 3.5, the last one not due in time */
		assert_int_equal(connections, 5);
	}
	/* Bounded by count as well: whichever is less. */
	configure(2, 1000, 3);
	config.requests = 11;
	sum = 0;
	for (unsigned i = 0; i < 2; i++) {
		struct load_thread *t = thread(i);

		sum += t->quota;
		done(t);
	}
	assert_int_equal(sum, 11);
}

static void
pacing_holds_for_days(void **state)
{
	struct load_thread *t;

	(void)state;
	configure(1, 10000000, 1e6);
	t = thread(0);
	t->began = SECOND;
	t->issued = 10000000ull * 86400 * 10 + 3;	/* k * 10^9 does not fit 64 bits */
	assert_int_equal(load_thread_due(t), SECOND + 86400 * 10 * SECOND + 300);
	done(t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_k_is_due_at_k_over_rate_whatever_the_threads),
		cmocka_unit_test(the_threads_share_all_requests_and_no_more),
		cmocka_unit_test(pacing_holds_for_days),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
