/* test_drain_orders.c - whose turn it is: idle ones from the beginning, the others up to the deadline. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/drain_orders.h"

static void
the_last_spread_before_the_deadline_belongs_to_the_cuts(void **state)
{
	const struct drain_orders o = { .at = 100, .idle = 5, .spread = 20, .timeout = 60 };

	(void)state;
	assert_false(drain_orders_cut(&o, 140, 0));
	assert_true(drain_orders_cut(&o, 141, 0));
	assert_true(drain_orders_cut(&o, 150, 0.49) && !drain_orders_cut(&o, 150, 0.5));
	assert_true(drain_orders_cut(&o, 160, 0.999999) && drain_orders_cut(&o, 1000, 0.999999));
	assert_true(drain_orders_cut_share(&o, 155) > 0.74 && drain_orders_cut_share(&o, 155) < 0.76);
	/* Idle ones: over the first seconds, and only those that have been idle for so long. */
	assert_true(drain_orders_close_idle(&o, 110, 0.49, 5) && !drain_orders_close_idle(&o, 110, 0.51, 5));
	assert_false(drain_orders_close_idle(&o, 110, 0.1, 4.9));
	assert_true(drain_orders_close_idle(&o, 120, 0.99, 5));
}

static void
without_a_spread_all_go_at_once_and_odd_orders_do_no_harm(void **state)
{
	struct drain_orders o = { .at = 100, .idle = 0, .spread = 0, .timeout = 60 };

	(void)state;
	assert_false(drain_orders_cut(&o, 159.9, 0) || drain_orders_close_idle(&o, 159.9, 0, 1000));
	assert_true(drain_orders_cut(&o, 160, 0.999));
	o.timeout = 0;
	assert_true(drain_orders_cut(&o, 100, 0.999));
	/* Ordered for a moment that this clock has not reached. */
	assert_false(drain_orders_cut(&o, 99, 0));
	o.timeout = -1;
	assert_false(drain_orders_cut(&o, 1e9, 0));
	/* Longer than the whole. */
	o.timeout = 10;
	o.spread = 1000;
	assert_false(drain_orders_cut(&o, 100, 0));
	assert_true(drain_orders_cut(&o, 105, 0.49) && !drain_orders_cut(&o, 105, 0.51) && drain_orders_cut(&o, 110, 0.999));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_spread_before_the_deadline_belongs_to_the_cuts),
		cmocka_unit_test(without_a_spread_all_go_at_once_and_odd_orders_do_no_harm),
	};

	return cmocka_run_group_tests_name("drain_orders", tests, NULL, NULL);
}
