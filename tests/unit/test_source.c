/* test_source.c - limits of single clients: exact however many threads ask,
 * bounded in memory, forgotten when nothing is held. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/hash.h"
#include "model/source.h"

static struct source_key
key_of(const char *ip, unsigned prefix6)
{
	struct source_key key;
	struct addr a;

	assert_true(addr_parse_ip(ip, 4711, &a));
	assert_true(source_key_of(&a, prefix6, &key));
	return key;
}

static bool
same(const char *a, const char *b, unsigned prefix6)
{
	struct source_key ka = key_of(a, prefix6), kb = key_of(b, prefix6);

	return memcmp(&ka, &kb, sizeof(ka)) == 0;
}

static void
test_what_counts_as_one_source(void **state)
{
	(void)state;
	assert_true(same("10.0.0.1", "10.0.0.1", 64));
	assert_false(same("10.0.0.1", "10.0.0.2", 64));
	/* IPv4 written as IPv6 is IPv4, whatever the prefix. */
	assert_true(same("10.0.0.1", "::ffff:10.0.0.1", 64));
	assert_false(same("::ffff:10.0.0.1", "::ffff:10.0.0.2", 1));
	/* Others by the network they are in. */
	assert_true(same("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", 64));
	assert_false(same("2001:db8::1", "2001:db8:0:1::1", 64));
	assert_true(same("2001:db8::1", "2001:db8:0:1::1", 63));
	assert_false(same("2001:db8::1", "2001:db8::2", 128));
	assert_true(same("2001:db8::2", "2001:db8::3", 127));
	assert_true(same("2001:db8::", "3fff::", 1));
	assert_false(same("2001:db8::", "8000::", 1));
}

static void
test_a_unix_client_has_no_source(void **state)
{
	struct source_key key;
	struct addr a;
	struct why why;

	(void)state;
	assert_int_equal(addr_parse("unix:/x", 0, &a, &why), OK);
	assert_false(source_key_of(&a, 64, &key));
}

static void
test_counts_each_source_by_itself(void **state)
{
	struct source_counts *c = source_counts_new(2);
	struct source_key a = key_of("10.0.0.1", 64), b = key_of("10.0.0.2", 64);

	(void)state;
	assert_int_equal(source_enter(c, &a), SOURCE_ENTERED);
	assert_int_equal(source_enter(c, &a), SOURCE_ENTERED);
	assert_int_equal(source_enter(c, &a), SOURCE_FULL);
	assert_int_equal(source_enter(c, &b), SOURCE_ENTERED);
	assert_int_equal(source_counts_size(c), 2);
	source_leave(c, &a);
	assert_int_equal(source_enter(c, &a), SOURCE_ENTERED);
	assert_int_equal(source_enter(c, &a), SOURCE_FULL);
	source_leave(c, &a);
	source_leave(c, &a);
	source_leave(c, &b);
	/* Nothing is left of who holds nothing. */
	assert_int_equal(source_counts_size(c), 0);
	source_counts_free(&c);
	assert_null(c);
}

/* Grows and shrinks: everybody is found again at every size. */
static void
test_many_sources_come_and_go(void **state)
{
	enum { N = 50000 };
	struct source_counts *c = source_counts_new(1);

	(void)state;
	for (uint64_t round = 0; round < 2; round++) {
		for (uint64_t i = 0; i < N; i++)
			assert_int_equal(source_enter(c, &(struct source_key){ { i, round } }),
					 SOURCE_ENTERED);
		assert_int_equal(source_counts_size(c), N);
		for (uint64_t i = 0; i < N; i++)
			assert_int_equal(source_enter(c, &(struct source_key){ { i, round } }), SOURCE_FULL);
		for (uint64_t i = 0; i < N; i++)
			source_leave(c, &(struct source_key){ { i, round } });
		assert_int_equal(source_counts_size(c), 0);
	}
	source_counts_free(&c);
}

#define THREADS 4
#define ROUNDS 30000
#define CROWD 7
#define CROWD_LIMIT 2

struct crowd {
	struct source_counts *counts;
	_Atomic int inside[CROWD];
	_Atomic int passed;	/* more inside than the limit allows */
	_Atomic uint64_t full, seed;
};

static void *
come_and_go(void *arg)
{
	struct crowd *c = arg;
	uint64_t random = ++c->seed;

	for (int i = 0; i < ROUNDS; i++) {
		uint64_t who = random_next(&random) % CROWD;
		struct source_key key = { { who, 42 } };

		if (source_enter(c->counts, &key) != SOURCE_ENTERED) {
			c->full++;
			continue;
		}
		if (++c->inside[who] > CROWD_LIMIT)
			c->passed++;
		c->inside[who]--;
		source_leave(c->counts, &key);
	}
	return NULL;
}

static void
test_limits_hold_while_all_threads_rush(void **state)
{
	struct crowd c = { .counts = source_counts_new(CROWD_LIMIT) };
	pthread_t threads[THREADS];

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &c), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(c.passed, 0);
	assert_int_equal(source_counts_size(c.counts), 0);
	source_counts_free(&c.counts);
}

static void
test_a_burst_then_the_rate(void **state)
{
	struct source_rates *r = source_rates_new(&(struct source_rate){ 10, 5 });
	struct source_key a = key_of("10.0.0.1", 64), b = key_of("10.0.0.2", 64);
	int taken = 0;

	(void)state;
	for (int i = 0; i < 30; i++)
		taken += source_rates_take(r, &a, 100.0);
	assert_int_equal(taken, 10);
	/* The neighbour has its own. */
	assert_true(source_rates_take(r, &b, 100.0));
	/* Five a second come back, not one more. */
	taken = 0;
	for (int i = 0; i < 1000; i++)
		taken += source_rates_take(r, &a, 100.0 + (i + 1) * 0.004);
	assert_in_range(taken, 19, 20);
	/* Never more at once than the burst, however long it rested. */
	taken = 0;
	for (int i = 0; i < 30; i++)
		taken += source_rates_take(r, &a, 100000.0);
	assert_int_equal(taken, 10);
	source_rates_free(&r);
}

/* Threads read their clocks at different moments. */
static void
test_a_clock_that_lags_gives_nothing_away(void **state)
{
	struct source_rates *r = source_rates_new(&(struct source_rate){ 1, 1 });
	struct source_key a = key_of("10.0.0.1", 64);

	(void)state;
	assert_true(source_rates_take(r, &a, 100.0));
	for (int i = 0; i < 100; i++)
		assert_false(source_rates_take(r, &a, i % 2 ? 100.1 : 99.0));
	assert_true(source_rates_take(r, &a, 101.01));
	source_rates_free(&r);
}

/* More sources than places: whoever is out of tokens stays so, because those
 * who asked once are nearer to full and go first. */
static void
test_a_flood_of_sources_does_not_free_the_one_that_is_out(void **state)
{
	struct source_rates *r = source_rates_new(&(struct source_rate){ 10, 0.001 });
	struct source_key greedy = key_of("10.0.0.1", 64);

	(void)state;
	for (int i = 0; i < 10; i++)
		assert_true(source_rates_take(r, &greedy, 1.0));
	for (uint64_t i = 0; i < 4 * SOURCE_RATES; i++)
		assert_true(source_rates_take(r, &(struct source_key){ { i, 7 } }, 1.0));
	assert_false(source_rates_take(r, &greedy, 1.0));
	source_rates_free(&r);
}

struct takers {
	struct source_rates *rates;
	_Atomic int taken;
};

static void *
take_all(void *arg)
{
	struct takers *t = arg;
	struct source_key key = { { 1, 2 } };

	for (int i = 0; i < 2000; i++)
		t->taken += source_rates_take(t->rates, &key, 5.0);
	return NULL;
}

static void
test_tokens_are_not_given_twice(void **state)
{
	struct takers t = { .rates = source_rates_new(&(struct source_rate){ 1000, 1 }) };
	pthread_t threads[THREADS];

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, take_all, &t), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(t.taken, 1000);
	source_rates_free(&t.rates);
}

static void
test_limits_change_under_those_who_hold_something(void **state)
{
	struct source_counts *c = source_counts_new(1);
	struct source_rates *r = source_rates_new(&(struct source_rate){ 1, 0.001 });
	struct source_key a = key_of("10.0.0.1", 64), wide = key_of("2001:db8::1", 48), net = key_of("2001:db8::2", 64);
	unsigned taken = 0;

	(void)state;
	assert_int_equal(source_enter(c, &a), SOURCE_ENTERED);
	source_counts_set_limit(c, 2);
	assert_int_equal(source_enter(c, &a), SOURCE_ENTERED);
	source_counts_set_limit(c, 1);
	source_leave(c, &a);
	assert_int_equal(source_enter(c, &a), SOURCE_FULL);
	source_leave(c, &a);
	/* Keys of both lengths in one table: each leaves by the one it came with. */
	source_counts_set_limit(c, 5);
	assert_int_equal(source_enter(c, &wide), SOURCE_ENTERED);
	assert_int_equal(source_enter(c, &net), SOURCE_ENTERED);
	source_leave(c, &wide);
	source_leave(c, &net);
	assert_int_equal(source_counts_size(c), 0);
	source_counts_free(&c);

	assert_true(source_rates_take(r, &a, 100.0));
	assert_false(source_rates_take(r, &a, 100.0));
	source_rates_set(r, &(struct source_rate){ 10, 5 });
	for (int i = 0; i < 20; i++)
		taken += source_rates_take(r, &a, 101.0);
	assert_int_equal(taken, 5);
	source_rates_free(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limits_change_under_those_who_hold_something),
		cmocka_unit_test(test_what_counts_as_one_source),
		cmocka_unit_test(test_a_unix_client_has_no_source),
		cmocka_unit_test(test_counts_each_source_by_itself),
		cmocka_unit_test(test_many_sources_come_and_go),
		cmocka_unit_test(test_limits_hold_while_all_threads_rush),
		cmocka_unit_test(test_a_burst_then_the_rate),
		cmocka_unit_test(test_a_clock_that_lags_gives_nothing_away),
		cmocka_unit_test(test_a_flood_of_sources_does_not_free_the_one_that_is_out),
		cmocka_unit_test(test_tokens_are_not_given_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
