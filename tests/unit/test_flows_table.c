/* test_flows_table.c - the table of flows and that of backends' addresses against
 * what is plainly true. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "base/check.h"
#include "kernel/flows_table.h"

#define KEYS 5000

/* Keys that would like to be at few places of a table of any size. */
static uint64_t
key_of(unsigned i)
{
	return (uint64_t)(i + 1) << 32 | (i % 7 == 0 ? 0xfffff000 + i % 4096 : i % 97);
}

static void
what_was_added_is_found_until_it_is_removed(void **state)
{
	static bool there[KEYS];
	struct flow_table t;
	uint64_t random = 42;
	size_t n = 0;

	(void)state;
	flow_table_init(&t);
	for (unsigned step = 0; step < 60000; step++) {
		/* It grows, it shrinks, it grows again. */
		bool add = random_unit(&random) < (step / 20000 == 1 ? 0.1 : 0.8);
		unsigned i = (unsigned)(random_next(&random) % KEYS);
		struct flow *f = flow_find(&t, key_of(i));

		assert_int_equal(f != NULL, there[i]);
		if (f != NULL)
			assert_int_equal(f->mark, i);
		if (add && !there[i]) {
			f = flow_add(&t, key_of(i));
			f->mark = i;
			if (i % 3 == 0)
				f->shadow = must_alloc(sizeof(*f->shadow));
			there[i] = true;
			n++;
		} else if (!add && there[i]) {
			flow_remove(&t, f);
			there[i] = false;
			n--;
		}
		assert_int_equal(t.n, n);
		assert_true(t.n * 4 <= t.size * 3);
	}
	for (unsigned i = 0; i < KEYS; i++)
		assert_int_equal(flow_find(&t, key_of(i)) != NULL, there[i]);
	flow_table_free(&t);
}

static void
keys_tell_flows_apart(void **state)
{
	struct flow_tuple a = { .family = AF_INET, .protocol = IPPROTO_TCP, .src = { 10, 0, 0, 1 } }, b = a;
	struct flow_table t;

	(void)state;
	flow_table_init(&t);
	assert_true(flow_key(&t, &a, 1) == flow_key(&t, &b, 1));
	assert_true(flow_key(&t, &a, 1) != flow_key(&t, &b, 2));	/* came after it, with the same ports */
	b.src_port = 1;
	assert_true(flow_key(&t, &a, 1) != flow_key(&t, &b, 1));
	b = a;
	b.zone = 1;
	assert_true(flow_key(&t, &a, 1) != flow_key(&t, &b, 1));
	flow_table_free(&t);
}

static struct addr
address(unsigned i)
{
	struct addr a;

	assert_true(addr_parse_ip(i % 2 == 0 ? "10.0.0.1" : "fd00::1", 1 + i, &a));
	return a;
}

static void
places_are_one_for_each_address(void **state)
{
	struct place_table *t = must_alloc(sizeof(*t));
	uint32_t keep[3002] = { 0 };
	unsigned n = 0;

	(void)state;
	place_table_init(t);
	for (int again = 0; again < 2; again++)
		for (unsigned i = 0; i < 3000; i++) {
			struct addr a = address(i), b;

			assert_int_equal(place_of(t, 1 + i % 5, i % 3 == 0 ? BLUE : GREEN, &a), i);
			place_address(&t->list[i], &b);
			assert_true(addr_equal(&a, &b));
		}
	/* The same address for another service or color is another place. */
	assert_int_equal(place_of(t, 9, BLUE, &(struct addr){ 0 }), 3000);
	assert_int_equal(place_of(t, 9, GREEN, &(struct addr){ 0 }), 3001);
	for (unsigned i = 0; i < 3000; i++)
		keep[i] = i % 10 == 0;
	place_table_prune(t, keep);
	assert_int_equal(t->n, 300);
	for (unsigned i = 0; i < 3000; i += 10) {
		struct addr a = address(i);

		assert_int_equal(place_of(t, 1 + i % 5, i % 3 == 0 ? BLUE : GREEN, &a), keep[i]);
	}
	assert_int_equal(t->n, 300);
	for (const struct place *p = place_first(t, 1); p != NULL; p = place_next(t, p)) {
		assert_int_equal(p->service, 1);
		n++;
	}
	assert_int_equal(n, 300);	/* every tenth, and ten is five twice */
	assert_null(place_first(t, 2));
	assert_null(place_first(t, 9));
	place_table_free(t);
	free(t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_added_is_found_until_it_is_removed),
		cmocka_unit_test(keys_tell_flows_apart),
		cmocka_unit_test(places_are_one_for_each_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
