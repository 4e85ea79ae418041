/* test_drain.c - the drain of a color that a flip leaves: what begins it, its time, its end, and
 * what a stop drains. */
#include "flip_rig.h"

static void
test_what_was_found_on_the_idle_color_drains_for_the_rest_of_its_time(void **state)
{
	struct rig *r = *state;

	assert_int_equal(r->engine.drains, 1);
	assert_true(r->engine.orders.timeout > 15 && r->engine.orders.timeout <= 20);
	assert_int_equal(r->engine.orders.ending, END_DRAINED);
	/* Once: another snapshot begins nothing anew. */
	publish_now(r->control.services[0]);
	take(&r->engine);
	assert_int_equal(r->engine.drains, 1);
}

static void
test_what_should_have_drained_long_ago_is_cut_at_once(void **state)
{
	struct rig *r = *state;

	assert_int_equal(r->engine.drains, 1);
	assert_true(r->engine.orders.timeout == 0);
}

static void
test_wait_drained_waits_for_the_last_connection(void **state)
{
	struct rig *r = *state;
	struct asker a;

	r->engine.connections[GREEN] = 3;
	ask(r, &a,
	    (struct flip_request){ .to = BLUE, .wait = FLIP_WAIT_DRAINED, .has_drain = true, .drain = 7 });
	UNTIL(r, r->engine.active == BLUE);
	take(&r->engine);
	assert_true(r->engine.orders.timeout == 7);
	assert_true(r->engine.orders.idle == 5);
	UNTIL(r, a.remaining == 3);
	turn(r, 0.1);
	assert_false(a.done);
	r->engine.connections[GREEN] = 0;
	UNTIL(r, a.done);
	assert_non_null(strstr(a.events, "drained "));
	assert_ended(&a, OK, CHANGED_YES);
}

/* The workers get their time to cut, also when this thread is the first that runs
 * after a stop of the whole process. */
static void
test_a_drain_is_not_stuck_because_everything_stood_still(void **state)
{
	struct rig *r = *state;
	const struct drain *d;
	struct asker a;

	r->engine.connections[GREEN] = 1;
	ask(r, &a, (struct flip_request){ .to = BLUE, .has_drain = true, .drain = 7 });
	UNTIL(r, r->engine.active == BLUE);
	take(&r->engine);
	turn(r, 0.1);
	d = r->control.services[0]->drain;
	clock_move(100);
	turn(r, 4.5);
	assert_true(d->deadline == d->due);
	/* But who is left then has been missed, and that is said. */
	turn(r, 1);
	assert_true(d->deadline > d->due);
}

static void
test_a_refused_flips_drain_is_not_the_next_ones(void **state)
{
	struct rig *r = *state;
	struct record theirs;
	struct asker a;

	r->store.fail = E_CONFLICT;
	ask(r, &a, (struct flip_request){ .to = BLUE, .has_drain = true, .drain = 0 });
	UNTIL(r, a.done);
	/* Somebody else of the fleet flips. */
	theirs = r->store.truth;
	theirs.epoch++;
	theirs.color = BLUE;
	r->store.store.on_record(r->store.store.arg, "web", &theirs);
	UNTIL(r, r->engine.active == BLUE);
	take(&r->engine);
	assert_true(r->engine.orders.timeout == 30);
}

/* The store did not say whether it wrote; then it tells what it has. */
static void
end_unknown(struct rig *r, struct record *has)
{
	struct asker a;

	r->engine.connections[GREEN] = 3;
	r->store.fail = E_UNKNOWN;
	r->store.hold = true;
	ask(r, &a, (struct flip_request){ .to = BLUE, .has_drain = true, .drain = 7 });
	UNTIL(r, r->store.held_done != NULL);
	*has = r->store.held.next;
	finish_write(&r->store, &r->store.held, r->store.held_done, r->store.held_arg);
	assert_ended(&a, E_UNKNOWN, CHANGED_UNKNOWN);
}

static void
obey(struct rig *r, const struct record *has)
{
	r->store.truth = *has;
	r->store.store.on_record(r->store.store.arg, "web", has);
	take(&r->engine);
	assert_int_equal(r->service->applied_epoch, has->epoch);
	assert_int_equal(r->engine.drains, 1);
}

static void
test_a_drain_time_is_not_for_another_users_flip_of_that_epoch(void **state)
{
	struct rig *r = *state;
	struct record has;

	end_unknown(r, &has);
	/* It was never written; at another teald somebody else flips. */
	strcpy(has.by, "other");
	obey(r, &has);
	assert_true(r->engine.orders.timeout == r->sc.drain.timeout);
}

static void
test_a_drain_time_is_kept_for_a_flip_that_was_written_after_all(void **state)
{
	struct rig *r = *state;
	struct record has;

	end_unknown(r, &has);
	obey(r, &has);
	assert_true(r->engine.orders.timeout == 7);
}

static void
test_flip_back_during_a_drain_ends_it_and_tells_who_waits(void **state)
{
	struct rig *r = *state;
	struct asker a;

	r->engine.connections[GREEN] = 3;
	ask(r, &a, (struct flip_request){ .to = BLUE, .wait = FLIP_WAIT_DRAINED });
	UNTIL(r, r->engine.active == BLUE);
	take(&r->engine);
	flip_all_the_way(r, GREEN);
	assert_true(a.done);
	assert_ended(&a, E_CONFLICT, CHANGED_YES);
	assert_says(&a, "before green had drained");
	/* What drains now is blue, which has nothing. */
	UNTIL(r, r->control.services[0]->drain == NULL);
}

static void
test_stop_closes_drains_and_ends(void **state)
{
	struct rig *r = *state;
	const char *reason;

	assert_true(control_ready(&r->control, &reason));
	r->engine.connections[GREEN] = 2;
	stop_begin(&r->control);
	assert_false(control_ready(&r->control, &reason));
	assert_string_equal(reason, "stopping");
	UNTIL(r, r->engine.closed);
	assert_int_equal(r->engine.orders.ending, END_STOP);
	turn(r, 0.1);
	assert_false(r->stopped);
	r->engine.connections[GREEN] = 0;
	UNTIL(r, r->stopped);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T_OF(setup_resumed, test_what_was_found_on_the_idle_color_drains_for_the_rest_of_its_time),
		T_OF(setup_late, test_what_should_have_drained_long_ago_is_cut_at_once),
		T(test_wait_drained_waits_for_the_last_connection),
		T(test_a_drain_is_not_stuck_because_everything_stood_still),
		T(test_a_refused_flips_drain_is_not_the_next_ones),
		T(test_a_drain_time_is_not_for_another_users_flip_of_that_epoch),
		T(test_a_drain_time_is_kept_for_a_flip_that_was_written_after_all),
		T(test_flip_back_during_a_drain_ends_it_and_tells_who_waits),
		T(test_stop_closes_drains_and_ends),
	};

	return RUN_FLIP_TESTS(tests);
}
