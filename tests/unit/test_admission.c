/* test_admission.c - limits are exact, also when all threads want in at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "model/admission.h"

#define THREADS 4
#define ROUNDS 50000

static void
test_lets_in_up_to_the_limit_and_counts_the_refused(void **state)
{
	struct admission a;

	(void)state;
	admission_init(&a, 3);
	assert_true(admission_enter(&a, 1));
	assert_true(admission_enter(&a, 2));
	assert_false(admission_enter(&a, 1));
	assert_int_equal(a.refused, 1);
	admission_leave(&a, 1);
	assert_true(admission_enter(&a, 1));
	assert_int_equal(a.held, 3);
	assert_int_equal(a.refused, 1);
}

static void
test_takes_all_places_or_none(void **state)
{
	struct admission a;

	(void)state;
	admission_init(&a, 3);
	assert_true(admission_enter(&a, 2));
	assert_false(admission_enter(&a, 2));
	assert_int_equal(a.held, 2);
	assert_false(admission_enter(&a, UINT32_MAX));	/* no wrapping around */
	assert_int_equal(a.held, 2);
	assert_true(admission_enter(&a, 1));
}

static void
test_no_limit_refuses_nobody(void **state)
{
	struct admission a;

	(void)state;
	admission_init(&a, 0);
	for (int i = 0; i < 1000; i++)
		assert_true(admission_enter(&a, 1000));
	assert_int_equal(a.held, 1000000);
	assert_int_equal(a.refused, 0);
}

/* The gate under test and, beside it, how many are really inside. */
struct crowd {
	struct admission gate;
	_Atomic int inside;
	_Atomic int most;
	_Atomic uint64_t entered, refused;
};

static void *
come_and_go(void *arg)
{
	struct crowd *c = arg;

	for (int i = 0; i < ROUNDS; i++) {
		int now, most;

		if (!admission_enter(&c->gate, 1)) {
			c->refused++;
			continue;
		}
		c->entered++;
		now = ++c->inside;
		most = c->most;
		while (now > most && !atomic_compare_exchange_weak(&c->most, &most, now))
			;
		c->inside--;
		admission_leave(&c->gate, 1);
	}
	return NULL;
}

static void
test_exact_under_contention(void **state)
{
	static struct crowd c;
	pthread_t threads[THREADS];

	(void)state;
	admission_init(&c.gate, THREADS - 1);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &c), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_true(c.most >= 1 && c.most <= THREADS - 1);
	assert_int_equal(c.gate.held, 0);
	assert_int_equal(c.entered + c.refused, THREADS * ROUNDS);
	assert_int_equal(c.gate.refused, c.refused);
}

/* A reload raises and lowers it under those who are in. */
static void
test_another_limit_counts_those_who_are_in(void **state)
{
	struct admission a;

	(void)state;
	admission_init(&a, 2);
	assert_true(admission_enter(&a, 2));
	admission_set_limit(&a, 3);
	assert_true(admission_enter(&a, 1));
	admission_set_limit(&a, 1);
	assert_true(admission_is_full(&a) && admission_is_passed(&a));
	admission_leave(&a, 2);
	assert_false(admission_is_passed(&a));
	assert_false(admission_enter(&a, 1));
	admission_leave(&a, 1);
	assert_true(admission_enter(&a, 1));
	admission_set_limit(&a, 0);
	assert_true(admission_enter(&a, 1000));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_another_limit_counts_those_who_are_in),
		cmocka_unit_test(test_lets_in_up_to_the_limit_and_counts_the_refused),
		cmocka_unit_test(test_takes_all_places_or_none),
		cmocka_unit_test(test_no_limit_refuses_nobody),
		cmocka_unit_test(test_exact_under_contention),
	};

	return cmocka_run_group_tests_name("admission", tests, NULL, NULL);
}
