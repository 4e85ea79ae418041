/* test_flip_apply.c - a flip once it is written, or not: the store's answer, the workers', the
 * fleet's. */
#include "flip_rig.h"

static void
test_a_late_member_of_the_fleet_holds_up_no_other_flip(void **state)
{
	struct rig *r = *state;
	struct asker a, b;

	other_has_applied(r, 1);
	ask(r, &a, (struct flip_request){ .to = BLUE, .has_timeout = true, .timeout = NEVER });
	UNTIL(r, r->engine.active == BLUE);
	take(&r->engine);
	ask(r, &b,
	    (struct flip_request){
		    .to = GREEN, .wait = FLIP_WAIT_NONE, .has_timeout = true, .timeout = NEVER });
	turn(r, 1);
	/* The usual wait for a fleet that is well. */
	assert_false(a.done || b.done);
	turn(r, 5);
	UNTIL(r, b.done);
	assert_int_equal(b.outcome.error, OK);
	assert_true(a.done);
	assert_int_equal(a.outcome.error, E_CONFLICT);
	assert_says(&a, "before every teald of the fleet had applied blue");
	assert_int_equal(a.outcome.changed, CHANGED_YES);
	take(&r->engine);
	fleet_free(&others);
}

/* The other refuses blue, perhaps: it is not well there. */
static void
test_a_color_that_is_active_is_forced_upon_the_others(void **state)
{
	struct rig *r = *state;
	struct asker a;

	flip_all_the_way(r, BLUE);
	other_has_applied(r, 1);
	ask(r, &a, (struct flip_request){ .to = BLUE, .wait = FLIP_WAIT_NONE });
	UNTIL(r, a.done);
	assert_int_equal(a.outcome.changed, CHANGED_NO);
	ask(r, &a,
	    (struct flip_request){
		    .to = BLUE, .wait = FLIP_WAIT_NONE, .force = true, .has_drain = true, .drain = 3 });
	UNTIL(r, a.done);
	assert_int_equal(a.outcome.changed, CHANGED_YES);
	assert_true(r->store.truth.forced);
	assert_int_equal(r->store.truth.epoch, 3);
	assert_int_equal(r->service->applied_epoch, 3);
	/* No drain began that this could be for. */
	assert_true(r->control.services[0]->rollout.wish.timeout < 0);
	/* Once is enough. */
	turn(r, 6);
	ask(r, &a, (struct flip_request){ .to = BLUE, .wait = FLIP_WAIT_NONE, .force = true });
	UNTIL(r, a.done);
	assert_int_equal(a.outcome.changed, CHANGED_NO);
	fleet_free(&others);
}

static void
test_applied_is_said_only_after_every_worker_took_it(void **state)
{
	struct rig *r = *state;
	struct asker a;

	ask(r, &a, (struct flip_request){ .to = BLUE, .reason = "deploy" });
	UNTIL(r, strcmp(a.events, "checked committed ") == 0);
	turn(r, 0.05);
	assert_int_equal(r->engine.active, BLUE);
	assert_string_equal(a.events, "checked committed ");
	assert_false(a.done);
	take(&r->engine);
	assert_true(a.done);
	assert_string_equal(a.events, "checked committed applied ");
	assert_int_equal(a.epoch, 2);
	assert_ended(&a, OK, CHANGED_YES);
	assert_int_equal(a.record.color, BLUE);
	assert_int_equal(a.record.epoch, 2);
	assert_string_equal(r->store.truth.by, "ci");
	assert_string_equal(r->store.truth.reason, "deploy");
	assert_int_equal(r->engine.drains, 1);
}

static void
test_store_that_cannot_write_leaves_all_as_it_was(void **state)
{
	struct rig *r = *state;
	struct asker a;

	r->store.fail = E_NOT_DURABLE;
	ask(r, &a, (struct flip_request){ .to = BLUE });
	UNTIL(r, a.done);
	assert_ended(&a, E_NOT_DURABLE, CHANGED_NO);
	assert_says(&a, "disk full");
	assert_int_equal(r->engine.active, GREEN);
	r->store.fail = OK;
	flip_all_the_way(r, BLUE);
}

static void
test_store_that_does_not_answer_is_unknown_and_the_flip_goes_on(void **state)
{
	struct rig *r = *state;
	struct asker a;

	r->store.hold = true;
	ask(r, &a, (struct flip_request){ .to = BLUE, .has_timeout = true, .timeout = 2 });
	UNTIL(r, r->store.held_done != NULL);
	turn(r, 1.9);
	assert_false(a.done);
	turn(r, 0.2);
	assert_true(a.done);
	assert_ended(&a, E_UNKNOWN, CHANGED_UNKNOWN);
	finish_write(&r->store, &r->store.held, r->store.held_done, r->store.held_arg);
	assert_int_equal(r->engine.active, BLUE);
	take(&r->engine);
	assert_int_equal(r->service->applied_epoch, 2);
}

static void
test_not_applied_in_time_says_changed(void **state)
{
	struct rig *r = *state;
	struct asker a;

	ask(r, &a, (struct flip_request){ .to = BLUE, .has_timeout = true, .timeout = 2 });
	UNTIL(r, r->engine.active == BLUE);
	turn(r, 1.9);
	assert_false(a.done);
	turn(r, 0.2);
	assert_true(a.done);
	assert_ended(&a, E_TIMEOUT, CHANGED_YES);
	take(&r->engine);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_applied_is_said_only_after_every_worker_took_it),
		T(test_a_late_member_of_the_fleet_holds_up_no_other_flip),
		T(test_a_color_that_is_active_is_forced_upon_the_others),
		T(test_store_that_cannot_write_leaves_all_as_it_was),
		T(test_store_that_does_not_answer_is_unknown_and_the_flip_goes_on),
		T(test_not_applied_in_time_says_changed),
	};

	return RUN_FLIP_TESTS(tests);
}
