/* test_gate_check.c - the questions of a flip without a flip: the gate once or until it opens, and
 * what bars a flip ends the wait. */
#include "control/gate_check.h"
#include "flip_rig.h"

static void
check(struct rig *r, struct asker *a, struct gate_check_request q)
{
	memset(a, 0, sizeof(*a));
	a->watcher = (struct flip_watcher){ .progress = asker_on_event, .done = asker_on_done };
	gate_check_start(r->control.services[0], &q, &a->watcher);
}

static void
close_blue(struct rig *r)
{
	close(r->listener[BLUE]);
	r->listener[BLUE] = dup(0);
}

static void
test_an_open_gate_is_told_with_the_outcome(void **state)
{
	struct rig *r = *state;
	struct asker a;

	check(r, &a, (struct gate_check_request){ .to = BLUE });
	UNTIL(r, a.done);
	assert_ended(&a, OK, CHANGED_UNSAID);
	assert_non_null(a.outcome.gate);
	assert_string_equal(a.events, "checked ");
	assert_int_equal(r->store.writes, 0);
	close_blue(r);
	check(r, &a, (struct gate_check_request){ .to = BLUE });
	UNTIL(r, a.done);
	assert_ended(&a, E_UNHEALTHY, CHANGED_NO);
	assert_says(&a, "0/1 backends healthy");
	check(r, &a, (struct gate_check_request){ .to = GREEN, .has_at_epoch = true, .at_epoch = 9 });
	UNTIL(r, a.done);
	assert_ended(&a, E_CONFLICT, CHANGED_NO);
	assert_says(&a, "expected epoch 9, found green at epoch 1");
}

static void
test_waiting_ends_with_its_time(void **state)
{
	struct rig *r = *state;
	struct asker a;

	close_blue(r);
	check(r, &a, (struct gate_check_request){ .to = BLUE, .wait_healthy = 60 });
	turn(r, 59);
	assert_false(a.done);
	turn(r, 2);
	UNTIL(r, a.done);
	assert_ended(&a, E_UNHEALTHY, CHANGED_NO);
	assert_string_equal(a.events, "checked ");
	assert_true(list_empty(&r->control.services[0]->checks));
}

static void
test_a_lock_ends_the_wait_at_once(void **state)
{
	struct rig *r = *state;
	struct actor bob = { .user = "bob" };
	struct asker a, b;

	close_blue(r);
	check(r, &a, (struct gate_check_request){ .to = BLUE, .wait_healthy = NEVER });
	ask(r, &b, (struct flip_request){ .to = BLUE, .wait_healthy = NEVER });
	turn(r, 1);
	assert_false(a.done || b.done);
	flip_lock(r->control.services[0], "migration", &bob, NULL);
	UNTIL(r, a.done && b.done);
	assert_ended(&a, E_LOCKED, CHANGED_NO);
	assert_says(&a, "migration");
	assert_ended(&b, E_LOCKED, CHANGED_NO);
	/* The active color is no question of locks. */
	check(r, &a, (struct gate_check_request){ .to = GREEN });
	UNTIL(r, a.done);
	assert_ended(&a, OK, CHANGED_UNSAID);
}

static void
test_one_whose_client_has_left_ends_at_its_next_look(void **state)
{
	struct rig *r = *state;
	struct asker a, b;

	close_blue(r);
	check(r, &a, (struct gate_check_request){ .to = BLUE, .wait_healthy = NEVER });
	check(r, &b, (struct gate_check_request){ .to = BLUE, .wait_healthy = NEVER });
	turn(r, 1);
	flip_unwatch(&a.watcher);
	turn(r, 1);
	assert_false(a.done || b.done);
	gate_check_end_all(r->control.services[0], E_INTERNAL, "teald is stopping");
	assert_true(b.done);
	assert_ended(&b, E_INTERNAL, CHANGED_NO);
	assert_true(list_empty(&r->control.services[0]->checks));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_an_open_gate_is_told_with_the_outcome),
		T(test_waiting_ends_with_its_time),
		T(test_a_lock_ends_the_wait_at_once),
		T(test_one_whose_client_has_left_ends_at_its_next_look),
	};

	return RUN_FLIP_TESTS(tests);
}
