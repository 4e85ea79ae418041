/* test_flip_checks.c - what is asked before a flip is written: expect, the lock, the gate, which
 * connects to real sockets. */
#include "control/flip_steps.h"
#include "flip_rig.h"

static void
test_already_active_changes_nothing(void **state)
{
	struct rig *r = *state;
	struct asker a;

	ask(r, &a, (struct flip_request){ .to = GREEN });
	UNTIL(r, a.done);
	assert_ended(&a, OK, CHANGED_NO);
	assert_int_equal(r->store.writes, 0);
}

static void
test_expect_comes_before_already_active(void **state)
{
	struct rig *r = *state;
	struct asker a;

	ask(r, &a, (struct flip_request){ .to = GREEN, .has_expect = true, .expect = BLUE });
	UNTIL(r, a.done);
	assert_ended(&a, E_CONFLICT, CHANGED_NO);
	ask(r, &a,
	    (struct flip_request){ .to = BLUE,
				   .has_expect = true,
				   .expect = GREEN,
				   .expect_has_epoch = true,
				   .expect_epoch = 7 });
	UNTIL(r, a.done);
	assert_says(&a, "expected green at epoch 7, found green at epoch 1");
	assert_int_equal(r->store.writes, 0);
	assert_int_equal(r->store.notes, 2);
	assert_string_equal(r->store.last_note.result, "conflict");
	assert_string_equal(r->store.last_note.expect, "green@7");
}

static void
test_gate_refuses_a_color_that_nobody_serves_and_force_skips_it(void **state)
{
	struct rig *r = *state;
	struct asker a;

	close(r->listener[BLUE]);
	ask(r, &a, (struct flip_request){ .to = BLUE });
	UNTIL(r, a.done);
	assert_string_equal(a.events, "checked ");
	assert_ended(&a, E_UNHEALTHY, CHANGED_NO);
	assert_says(&a, "0/1 backends healthy, 1 needed");
	assert_says(&a, "connection refused");
	assert_int_equal(r->store.writes, 0);
	assert_int_equal(r->engine.active, GREEN);
	ask(r, &a, (struct flip_request){ .to = BLUE, .force = true });
	UNTIL(r, r->engine.active == BLUE);
	take(&r->engine);
	assert_true(a.done);
	r->listener[BLUE] = dup(0);
}

/* No descriptor is left for the gate's connect: it waits for one. */
static void
test_what_teald_lacks_is_no_fault_of_a_backend(void **state)
{
	struct rig *r = *state;
	struct rlimit before, none;
	struct asker a;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	r->sc.health.timeout = NEVER;	/* as long as it waits */
	ask(r, &a,
	    (struct flip_request){
		    .to = BLUE, .wait = FLIP_WAIT_NONE, .has_timeout = true, .timeout = NEVER });
	/* It has been tried more than once by then. */
	turn(r, 5);
	assert_false(a.done);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	clock_pass();
	UNTIL(r, a.done);
	assert_ended(&a, OK, CHANGED_YES);
	assert_int_equal(r->control.gate_probes, 0);
}

static void
test_wait_healthy_asks_the_gate_again(void **state)
{
	struct rig *r = *state;
	struct addr at = r->backends[BLUE].address;
	struct asker a;
	int one = 1;

	close(r->listener[BLUE]);
	ask(r, &a, (struct flip_request){ .to = BLUE, .wait_healthy = NEVER });
	turn(r, 0.6);
	assert_false(a.done);
	r->listener[BLUE] = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(r->listener[BLUE], SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	assert_int_equal(bind(r->listener[BLUE], &at.u.sa, at.len), 0);
	assert_int_equal(listen(r->listener[BLUE], 16), 0);
	clock_pass();
	UNTIL(r, r->engine.active == BLUE);
	take(&r->engine);
	assert_true(a.done);
}

static void
test_lock_refuses_and_names_who_and_why(void **state)
{
	struct rig *r = *state;
	struct actor bob = { .user = "bob" };
	struct asker a;

	memset(&a, 0, sizeof(a));
	a.watcher = (struct flip_watcher){ .progress = asker_on_event, .done = asker_on_done };
	flip_lock(r->control.services[0], "migration", &bob, &a.watcher);
	UNTIL(r, a.done);
	assert_ended(&a, OK, CHANGED_YES);
	assert_true(a.record.lock.on);
	assert_string_equal(a.record.lock.by, "bob");
	assert_int_equal(r->store.truth.epoch, 1);
	ask(r, &a, (struct flip_request){ .to = BLUE, .force = true });
	UNTIL(r, a.done);
	assert_ended(&a, E_LOCKED, CHANGED_NO);
	assert_says(&a, "locked by bob");
	assert_says(&a, "migration");
	a.done = false;
	flip_lock(r->control.services[0], NULL, &bob, &a.watcher);
	UNTIL(r, a.done);
	assert_ended(&a, OK, CHANGED_YES);
	assert_false(a.record.lock.on);
	flip_all_the_way(r, BLUE);
}

/* The bake of a flip claims the service by a write of its own. */
static void
test_a_rollback_is_not_barred_by_the_bakes_claim_that_comes_while_its_gate_is_asked(void **state)
{
	struct rig *r = *state;
	struct asker flip, back;
	store_done_fn *done;

	r->store.hold = true;
	ask(r, &flip, (struct flip_request){ .to = BLUE, .wait = FLIP_WAIT_NONE, .bake = 60 });
	UNTIL(r, r->store.held_done != NULL);
	done = r->store.held_done;
	r->store.held_done = NULL;
	finish_write(&r->store, &(struct store_write){ .next = r->store.held.next, .expect_epoch = 1 }, done, r->store.held_arg);
	UNTIL(r, r->store.held_done != NULL);
	take(&r->engine);
	assert_ended(&flip, OK, CHANGED_YES);
	assert_true(r->store.held.next.claim.on);
	r->store.hold = false;
	ask(r, &back, (struct flip_request){ .kind = CHANGE_ROLLBACK });
	UNTIL(r, !list_empty(&r->control.services[0]->flips) &&
			 list_entry(list_first(&r->control.services[0]->flips), struct flip, link)->gate != NULL);
	finish_write(&r->store, &r->store.held, r->store.held_done, r->store.held_arg);
	UNTIL(r, back.done || r->engine.active == GREEN);
	take(&r->engine);
	UNTIL(r, back.done);
	assert_ended(&back, OK, CHANGED_YES);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_already_active_changes_nothing),
		T(test_expect_comes_before_already_active),
		T(test_gate_refuses_a_color_that_nobody_serves_and_force_skips_it),
		T(test_wait_healthy_asks_the_gate_again),
		T(test_what_teald_lacks_is_no_fault_of_a_backend),
		T(test_lock_refuses_and_names_who_and_why),
		T(test_a_rollback_is_not_barred_by_the_bakes_claim_that_comes_while_its_gate_is_asked),
	};

	return RUN_FLIP_TESTS(tests);
}
