/* test_judged.c - clients are counted once in a slice, and in trouble once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/judged.h"

struct rig {
	_Atomic(struct judged *) place;
	struct tally *tally;
	struct tally_color *t;
};

static struct rig
rig_new(void)
{
	struct rig r = { .tally = tally_array(1, false) };

	r.t = &r.tally->colors[ENTRANCE_MAIN][GREEN];
	return r;
}

static void
rig_free(struct rig *r)
{
	free(atomic_load(&r->place));
	free(r->tally);
}

static void
mark(struct rig *r, uint32_t client, unsigned how)
{
	judged_mark(&r->place, r->t, (const uint8_t *)&client, sizeof(client), how);
}

static void
a_client_counts_once_in_a_slice(void **state)
{
	struct rig r = rig_new();

	(void)state;
	for (int i = 0; i < 10; i++)
		mark(&r, 1, JUDGED_WELL);
	assert_int_equal(tally_read(&r.t->exposures), 1);
	judged_begin_slice(r.place);
	mark(&r, 1, JUDGED_WELL);
	mark(&r, 1, JUDGED_NOT);
	assert_int_equal(tally_read(&r.t->exposures), 2);
	rig_free(&r);
}

static void
trouble_counts_once_and_ends_the_risk(void **state)
{
	struct rig r = rig_new();

	(void)state;
	for (int i = 0; i < 200; i++)
		mark(&r, 1, i % 2 ? JUDGE_ANSWER : JUDGE_CONNECT);
	assert_int_equal(tally_read(&r.t->exposures), 1);
	assert_int_equal(tally_read(&r.t->troubles[JUDGE_CONNECT]), 1);
	assert_int_equal(tally_read(&r.t->troubles[JUDGE_ANSWER]), 0);
	/* A slice and a window later it is still known, two windows later it is not. */
	judged_begin_slice(r.place);
	mark(&r, 1, JUDGED_WELL);
	mark(&r, 1, JUDGE_ANSWER);
	assert_int_equal(tally_read(&r.t->exposures), 1);
	assert_int_equal(tally_read(&r.t->troubles[JUDGE_ANSWER]), 0);
	judged_begin_window(r.place);
	mark(&r, 1, JUDGE_ANSWER);
	assert_int_equal(tally_read(&r.t->exposures), 1);
	judged_begin_window(r.place);
	mark(&r, 1, JUDGE_ANSWER);
	assert_int_equal(tally_read(&r.t->exposures), 2);
	assert_int_equal(tally_read(&r.t->troubles[JUDGE_ANSWER]), 1);
	rig_free(&r);
}

#define SLICES 120	/* of a window */
#define BROKEN 20	/* clients that meet trouble each time, and come once in twelve slices */
#define WELL 200	/* the others, in each slice */

static void
mark_slice(struct rig *r, int slice)
{
	judged_begin_slice(r->place);
	for (uint32_t i = 0; i < WELL; i++)
		mark(r, 1000 + i, JUDGED_WELL);
	for (uint32_t i = (uint32_t)slice % 12; i < BROKEN; i += 12)
		mark(r, i, JUDGE_ANSWER);
}

static struct judge_counts
counts_of(const struct rig *r)
{
	return (struct judge_counts){ .exposures = tally_read(&r->t->exposures),
				      .errors = { [JUDGE_ANSWER] = tally_read(&r->t->troubles[JUDGE_ANSWER]) } };
}

/* Who is broken has met trouble with the old color, too: a flip just as a window begins does not count it against
 * the new one. */
static void
a_window_that_begins_is_no_trouble_of_a_flip(void **state)
{
	struct rig r = rig_new();
	struct judge_case c = { .control = JUDGE_BEFORE };
	struct judge_evidence e;

	(void)state;
	for (int slice = 0; slice < SLICES; slice++)
		mark_slice(&r, slice);
	judged_begin_window(r.place);
	c.old = counts_of(&r);
	r.t = &r.tally->colors[ENTRANCE_MAIN][BLUE];
	for (int slice = 0; slice < 12; slice++)
		mark_slice(&r, slice);
	c.fresh = counts_of(&r);
	judge_decide(&c, JUDGE_ALPHA, &e);
	assert_false(e.worse);
	rig_free(&r);
}

/* The next process knows who has met trouble, in both windows. */
static void
what_is_remembered_is_not_counted_again(void **state)
{
	struct rig r = rig_new(), next = rig_new();
	struct judged_memory memory;

	(void)state;
	assert_false(judged_remember(NULL, &memory));
	mark(&r, 1, JUDGE_ANSWER);
	judged_begin_window(r.place);
	mark(&r, 2, JUDGE_CONNECT);
	mark(&r, 3, JUDGED_WELL);
	assert_true(judged_remember(r.place, &memory));
	judged_restore(&next.place, &memory);
	mark(&next, 1, JUDGE_ANSWER);
	mark(&next, 2, JUDGE_ANSWER);
	assert_int_equal(tally_read(&next.t->exposures), 0);
	mark(&next, 3, JUDGE_ANSWER);
	assert_int_equal(tally_read(&next.t->troubles[JUDGE_ANSWER]), 1);
	/* What has been counted there already stays. */
	memset(&memory, 0, sizeof(memory));
	judged_restore(&next.place, &memory);
	mark(&next, 3, JUDGE_ANSWER);
	assert_int_equal(tally_read(&next.t->troubles[JUDGE_ANSWER]), 1);
	rig_free(&r);
	rig_free(&next);
}

static void
many_clients_are_many(void **state)
{
	struct rig r = rig_new();
	uint64_t n;

	(void)state;
	for (uint32_t i = 0; i < 200; i++)
		mark(&r, i, JUDGED_WELL);
	/* Some share a group. */
	n = tally_read(&r.t->exposures);
	assert_true(n > 180 && n <= 200);
	rig_free(&r);
}

/* One client has many addresses of IPv6; one without any is not counted. */
static void
a_client_of_ipv6_is_its_network(void **state)
{
	uint8_t client[16] = { 0x20, 1, 0xd, 0xb8 };
	struct rig r = rig_new();

	(void)state;
	for (int i = 0; i < 100; i++) {
		client[15] = (uint8_t)i;
		judged_mark(&r.place, r.t, client, sizeof(client), JUDGED_WELL);
	}
	assert_int_equal(tally_read(&r.t->exposures), 1);
	judged_mark(&r.place, r.t, NULL, 0, JUDGE_CONNECT);
	assert_int_equal(tally_read(&r.t->troubles[JUDGE_CONNECT]), 0);
	judged_begin_slice(NULL);
	judged_begin_window(NULL);
	rig_free(&r);
}

static void
endings_say_whose_fault_it_was(void **state)
{
	(void)state;
	assert_int_equal(judged_ending(END_CONNECT, false), JUDGE_CONNECT);
	assert_int_equal(judged_ending(END_BACKEND_RESET, false), JUDGE_CONNECT);
	assert_int_equal(judged_ending(END_BACKEND_RESET, true), JUDGED_WELL);
	assert_int_equal(judged_ending(END_BAD_RESPONSE, true), JUDGE_ANSWER);
	assert_int_equal(judged_ending(END_DONE, true), JUDGED_WELL);
	assert_int_equal(judged_ending(END_CLIENT_GONE, false), JUDGED_NOT);
	assert_int_equal(judged_ending(END_LIMIT, false), JUDGED_NOT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_client_counts_once_in_a_slice),
		cmocka_unit_test(trouble_counts_once_and_ends_the_risk),
		cmocka_unit_test(a_window_that_begins_is_no_trouble_of_a_flip),
		cmocka_unit_test(what_is_remembered_is_not_counted_again),
		cmocka_unit_test(many_clients_are_many),
		cmocka_unit_test(a_client_of_ipv6_is_its_network),
		cmocka_unit_test(endings_say_whose_fault_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
