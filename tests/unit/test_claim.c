/* test_claim.c - claims by a store that does what the test tells it: who gets it, who waits,
 * and what ends it. */
#include "control/claim.h"
#include "flip_rig.h"

struct claimer {
	struct asker asker;
	char token[CLAIM_TOKEN];
};

static void
claimer_on_done(struct flip_watcher *w, const struct flip_outcome *o)
{
	struct claimer *c = (struct claimer *)container_of(w, struct asker, watcher);

	str_copy(c->token, sizeof(c->token), str_from(o->token != NULL ? o->token : ""));
	asker_on_done(w, o);
}

static void
claim(struct rig *r, struct claimer *c, struct claim_request q)
{
	memset(c, 0, sizeof(*c));
	c->asker.watcher = (struct flip_watcher){ .progress = asker_on_event, .done = claimer_on_done };
	snprintf(q.by.user, sizeof(q.by.user), "ci");
	if (q.ttl == 0)
		q.ttl = 3600;
	claim_start(r->control.services[0], &q, &c->asker.watcher);
}

static struct claim_request
with_token(const struct claimer *c, bool release)
{
	struct claim_request q = { .release = release };

	memcpy(q.token, c->token, sizeof(q.token));
	return q;
}

static void
assert_claimed(struct rig *r, struct claimer *c)
{
	UNTIL(r, c->asker.done);
	assert_ended(&c->asker, OK, CHANGED_YES);
	assert_int_equal(strlen(c->token), CLAIM_TOKEN - 1);
	assert_true(claim_holds(r->control.services[0]));
}

static void
test_it_bars_flips_without_its_token_and_ends_with_its_own(void **state)
{
	struct rig *r = *state;
	struct claimer a, b;
	struct asker f;
	struct flip_request q = { .to = BLUE };

	claim(r, &a, (struct claim_request){ .reason = "deploy 1" });
	assert_claimed(r, &a);
	claim(r, &b, (struct claim_request){ .reason = "deploy 2" });
	UNTIL(r, b.asker.done);
	assert_ended(&b.asker, E_CLAIMED, CHANGED_NO);
	assert_says(&b.asker, "claimed by ci");
	assert_says(&b.asker, "deploy 1");
	assert_string_equal(b.token, "");
	/* One of another epoch's is not taken over to this one. */
	claim(r, &b, (struct claim_request){ .at_epoch = 7 });
	UNTIL(r, b.asker.done);
	assert_ended(&b.asker, E_CONFLICT, CHANGED_NO);
	ask(r, &f, (struct flip_request){ .to = BLUE, .force = true });
	UNTIL(r, f.done);
	assert_ended(&f, E_CLAIMED, CHANGED_NO);
	claim_hash(str_from(a.token), q.token);
	ask(r, &f, q);
	UNTIL(r, r->engine.active == BLUE);
	take(&r->engine);
	UNTIL(r, f.done);
	assert_ended(&f, OK, CHANGED_YES);
	assert_false(claim_holds(r->control.services[0]));
	assert_false(r->store.truth.claim.on);
	q.to = GREEN;
	ask(r, &f, q);
	UNTIL(r, f.done);
	assert_ended(&f, E_CONFLICT, CHANGED_NO);
	assert_says(&f, "does not hold any more");
}

static void
test_who_waits_gets_it_in_turn_and_who_leaves_is_out(void **state)
{
	struct rig *r = *state;
	struct claimer a, b, c, d;

	claim(r, &a, (struct claim_request){ .ttl = 60 });
	assert_claimed(r, &a);
	claim(r, &b, (struct claim_request){ .wait = NEVER });
	claim(r, &c, (struct claim_request){ .wait = NEVER });
	claim(r, &d, (struct claim_request){ .wait = 10 });
	turn(r, 5);
	assert_false(b.asker.done || c.asker.done || d.asker.done);
	assert_true(claim_waits(&b.asker.watcher));
	assert_true(claim_call_off(&b.asker.watcher));
	turn(r, 6);
	assert_ended(&d.asker, E_CLAIMED, CHANGED_NO);
	/* Its time. */
	turn(r, 51);
	assert_claimed(r, &c);
	assert_false(b.asker.done);
	claim(r, &b, with_token(&a, true));
	UNTIL(r, b.asker.done);
	assert_ended(&b.asker, OK, CHANGED_NO);
	claim(r, &b, with_token(&c, true));
	UNTIL(r, b.asker.done);
	assert_ended(&b.asker, OK, CHANGED_YES);
	assert_false(claim_holds(r->control.services[0]));
}

/* One that waits waits for the store, too; another is told. */
static void
test_a_store_that_fails_is_waited_for(void **state)
{
	struct rig *r = *state;
	struct claimer a, b;

	r->store.fail = E_STORE;
	claim(r, &a, (struct claim_request){ .ttl = 60 });
	UNTIL(r, a.asker.done);
	assert_ended(&a.asker, E_STORE, CHANGED_NO);
	claim(r, &b, (struct claim_request){ .wait = 5 });
	turn(r, 3);
	assert_false(b.asker.done);
	r->store.fail = OK;
	turn(r, 1);
	assert_claimed(r, &b);
	r->store.fail = E_STORE;
	claim(r, &a, with_token(&b, true));
	UNTIL(r, a.asker.done);
	assert_ended(&a.asker, E_STORE, CHANGED_NO);
}

/* The one whose turn it is, and that waits for the store, leaves: the next one does not wait for its own time. */
static void
test_who_leaves_in_its_turn_hands_it_on(void **state)
{
	struct rig *r = *state;
	struct claimer a, b, c;

	claim(r, &a, (struct claim_request){ .ttl = 60 });
	assert_claimed(r, &a);
	claim(r, &b, (struct claim_request){ .wait = NEVER });
	claim(r, &c, (struct claim_request){ .wait = NEVER });
	turn(r, 1);
	r->store.fail = E_STORE;
	turn(r, 60);
	assert_false(claim_holds(r->control.services[0]));
	assert_false(b.asker.done || c.asker.done);
	assert_true(claim_waits(&b.asker.watcher));
	r->store.fail = OK;
	assert_true(claim_call_off(&b.asker.watcher));
	turn(r, 1);
	assert_claimed(r, &c);
	assert_false(b.asker.done);
}

static void
test_the_end_of_teald_is_told_to_all(void **state)
{
	struct rig *r = *state;
	struct claimer a, b;

	claim(r, &a, (struct claim_request){ .ttl = 60 });
	assert_claimed(r, &a);
	claim(r, &b, (struct claim_request){ .wait = NEVER });
	claim_end_all(r->control.services[0], E_INTERNAL, "teald is stopping");
	assert_ended(&b.asker, E_INTERNAL, CHANGED_NO);
	assert_true(list_empty(&r->control.services[0]->claims));
	/* A write whose answer comes when none waits for it any more. */
	claim(r, &b, with_token(&a, true));
	UNTIL(r, b.asker.done);
	r->store.hold = true;
	claim(r, &b, (struct claim_request){ .ttl = 60 });
	UNTIL(r, r->store.held_done != NULL);
	assert_false(claim_call_off(&b.asker.watcher));
	claim_end_all(r->control.services[0], E_INTERNAL, "teald is stopping");
	assert_ended(&b.asker, E_INTERNAL, CHANGED_UNKNOWN);
	assert_int_equal(strlen(b.token), CLAIM_TOKEN - 1);	/* who it is may let go of it */
	r->store.hold = false;
	finish_write(&r->store, &r->store.held, r->store.held_done, r->store.held_arg);
	turn(r, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_it_bars_flips_without_its_token_and_ends_with_its_own),
		T(test_who_waits_gets_it_in_turn_and_who_leaves_is_out),
		T(test_a_store_that_fails_is_waited_for),
		T(test_who_leaves_in_its_turn_hands_it_on),
		T(test_the_end_of_teald_is_told_to_all),
	};

	return RUN_FLIP_TESTS(tests);
}
