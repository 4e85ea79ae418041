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
	/* A slice later it is still known, a window later it is not. */
	judged_begin_slice(r.place);
	mark(&r, 1, JUDGED_WELL);
	mark(&r, 1, JUDGE_ANSWER);
	assert_int_equal(tally_read(&r.t->exposures), 1);
	assert_int_equal(tally_read(&r.t->troubles[JUDGE_ANSWER]), 0);
	judged_begin_window(r.place);
	mark(&r, 1, JUDGE_ANSWER);
	assert_int_equal(tally_read(&r.t->exposures), 2);
	assert_int_equal(tally_read(&r.t->troubles[JUDGE_ANSWER]), 1);
	rig_free(&r);
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
		cmocka_unit_test(many_clients_are_many),
		cmocka_unit_test(a_client_of_ipv6_is_its_network),
		cmocka_unit_test(endings_say_whose_fault_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
