/* test_flip.c - flips one after the other: turns, rollback, epochs, and who watches. */
#include "flip_rig.h"

static void
test_rollback_undoes_once(void **state)
{
	struct rig *r = *state;
	struct asker a;

	ask(r, &a, (struct flip_request){ .kind = CHANGE_ROLLBACK });
	UNTIL(r, a.done);
	assert_says(&a, "never been flipped");
	flip_all_the_way(r, BLUE);
	ask(r, &a, (struct flip_request){ .kind = CHANGE_ROLLBACK });
	UNTIL(r, r->engine.active == GREEN);
	take(&r->engine);
	UNTIL(r, a.done);
	assert_ended(&a, OK, CHANGED_YES);
	ask(r, &a, (struct flip_request){ .kind = CHANGE_ROLLBACK });
	UNTIL(r, a.done);
	assert_ended(&a, OK, CHANGED_NO);
	assert_int_equal(r->store.truth.epoch, 3);
}

static void
test_flips_of_one_service_take_turns(void **state)
{
	struct rig *r = *state;
	struct asker a, b;

	ask(r, &a, (struct flip_request){ .to = BLUE });
	ask(r, &b, (struct flip_request){ .to = GREEN });
	UNTIL(r, r->engine.active == BLUE);
	turn(r, 0.05);
	assert_int_equal(r->store.writes, 1);
	take(&r->engine);
	UNTIL(r, r->engine.active == GREEN);
	take(&r->engine);
	UNTIL(r, a.done && b.done);
	assert_ended(&a, OK, CHANGED_YES);
	assert_int_equal(a.record.epoch, 2);
	assert_ended(&b, OK, CHANGED_YES);
	assert_int_equal(b.record.epoch, 3);
}

static void
test_an_asker_may_leave_and_the_flip_goes_on(void **state)
{
	struct rig *r = *state;
	struct asker *a = malloc(sizeof(*a));

	ask(r, a, (struct flip_request){ .to = BLUE });
	flip_unwatch(&a->watcher);
	free(a);
	UNTIL(r, r->engine.active == BLUE);
	take(&r->engine);
	assert_int_equal(r->service->applied_epoch, 2);
}

static void
test_a_lower_epoch_is_never_obeyed(void **state)
{
	struct rig *r = *state;
	struct record old = r->store.truth;

	flip_all_the_way(r, BLUE);
	r->store.store.on_record(r->store.store.arg, "web", &old);
	assert_int_equal(r->service->record.color, BLUE);
	assert_int_equal(r->service->record.epoch, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_rollback_undoes_once),
		T(test_flips_of_one_service_take_turns),
		T(test_an_asker_may_leave_and_the_flip_goes_on),
		T(test_a_lower_epoch_is_never_obeyed),
	};

	return RUN_FLIP_TESTS(tests);
}
