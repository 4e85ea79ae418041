/* test_deadline.c - timeout lists expire in order, and only what was not
 * touched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "net/deadline.h"

static void
test_expires_oldest_first(void **state)
{
	struct deadline_list l;
	struct deadline a, b;

	(void)state;
	deadline_list_init(&l, 10.0);
	deadline_init(&a);
	deadline_init(&b);
	deadline_arm(&l, &a, 100.0);
	deadline_arm(&l, &b, 103.0);
	assert_null(deadline_expired(&l, 109.9));
	assert_ptr_equal(deadline_expired(&l, 110.0), &a);
	assert_null(deadline_expired(&l, 112.9));
	assert_ptr_equal(deadline_expired(&l, 113.0), &b);
	/* None comes twice, unless it is armed again. */
	assert_null(deadline_expired(&l, 200.0));
	deadline_arm(&l, &b, 200.0);
	assert_ptr_equal(deadline_expired(&l, 210.0), &b);
}

static void
test_touch_postpones_but_only_past_the_grain(void **state)
{
	struct deadline_list l;
	struct deadline a, b;

	(void)state;
	deadline_list_init(&l, 10.0);
	deadline_init(&a);
	deadline_init(&b);
	deadline_arm(&l, &a, 0.0);
	deadline_arm(&l, &b, 0.0);
	deadline_touch(&l, &a, l.grain / 2);
	assert_true(a.touched == 0.0);
	deadline_touch(&l, &a, 5.0);
	assert_true(a.touched == 5.0);
	/* The touched one went behind the other. */
	assert_ptr_equal(deadline_expired(&l, 10.0), &b);
	assert_null(deadline_expired(&l, 14.9));
	assert_ptr_equal(deadline_expired(&l, 15.0), &a);
}

static void
test_one_that_goes_on_expires_when_it_would_have(void **state)
{
	struct deadline_list l;
	struct deadline d[3];

	(void)state;
	deadline_list_init(&l, 10.0);
	for (int i = 0; i < 3; i++)
		deadline_init(&d[i]);
	deadline_arm(&l, &d[0], 100.0);
	deadline_arm(&l, &d[1], 102.0);
	deadline_disarm(&d[0]);
	deadline_arm(&l, &d[2], 104.0);
	deadline_go_on(&l, &d[0]);
	deadline_sort(&l);
	assert_null(deadline_expired(&l, 109.9));
	assert_ptr_equal(deadline_expired(&l, 110.0), &d[0]);
	/* Behind those of the same moment; and the youngest of all is the last. */
	d[0].touched = 102.0;
	deadline_go_on(&l, &d[0]);
	deadline_sort(&l);
	assert_ptr_equal(list_first(&l.nodes), &d[1].link);
	assert_ptr_equal(d[1].link.next, &d[0].link);
	d[0].touched = 105.0;
	deadline_go_on(&l, &d[0]);
	deadline_sort(&l);
	assert_ptr_equal(l.nodes.prev, &d[0].link);
}

/* More than fit on a stack, in the worst of orders, between others. */
static void
test_many_that_go_on_are_sorted_among_the_others(void **state)
{
	static struct deadline d[1000];
	struct deadline_list l;
	double last = 0;

	(void)state;
	deadline_list_init(&l, 10.0);
	for (unsigned i = 0; i < 1000; i++) {
		deadline_init(&d[i]);
		d[i].touched = (i * 7919) % 1000;
	}
	for (unsigned i = 0; i < 1000; i += 100)
		deadline_arm(&l, &d[i], i);
	for (unsigned i = 0; i < 1000; i++)
		if (i % 100 != 0)
			deadline_go_on(&l, &d[i]);
	deadline_sort(&l);
	assert_true(list_empty(&l.since));
	for (unsigned n = 0; n < 1000; n++) {
		struct deadline *first = deadline_expired(&l, 1e6);

		assert_non_null(first);
		assert_true(first->touched >= last);
		last = first->touched;
	}
	assert_null(deadline_expired(&l, 1e6));
}

static void
test_zero_never_expires(void **state)
{
	struct deadline_list l;
	struct deadline a;

	(void)state;
	deadline_list_init(&l, 0.0);
	deadline_init(&a);
	deadline_arm(&l, &a, 0.0);
	assert_null(deadline_expired(&l, 1e9));
}

static void
test_grain_stays_small_for_short_durations(void **state)
{
	struct deadline_list l;

	(void)state;
	deadline_list_init(&l, 0.4);
	assert_true(l.grain <= 0.4 / 8);
	deadline_list_init(&l, 3600);
	assert_true(l.grain <= 0.25);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_expires_oldest_first),
		cmocka_unit_test(test_touch_postpones_but_only_past_the_grain),
		cmocka_unit_test(test_one_that_goes_on_expires_when_it_would_have),
		cmocka_unit_test(test_many_that_go_on_are_sorted_among_the_others),
		cmocka_unit_test(test_zero_never_expires),
		cmocka_unit_test(test_grain_stays_small_for_short_durations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
