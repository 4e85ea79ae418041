/* test_balance.c - who gets the next connection: properties, over many random
 * sets of backends.  The seed is fixed, and told when something fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "model/balance.h"
#include "scaled.h"

#define MOST 128
#define ROUNDS scaled(8, 60)

static uint64_t seed = 20261123;

static unsigned
any(unsigned from, unsigned to)
{
	return from + (unsigned)(random_next(&seed) % (to - from + 1));
}

/* A color of a snapshot, with what is needed to ask for its backends. */
struct scene {
	struct snapshot *snapshot;
	struct snapshot_color *color;
	struct backend *backends[MOST];
	unsigned n;
	uint64_t weights;	/* their sum */
	struct balance_round round;
	struct balance_ask ask;
	uint64_t random;
};

static struct backend *
make_backend(unsigned i, unsigned weight)
{
	struct backend *b;
	struct addr a;
	char text[32];

	snprintf(text, sizeof(text), "10.0.%u.%u:80", i / 200, i % 200 + 1);
	assert_int_equal(addr_parse(text, 0, &a, NULL), OK);
	b = backend_new(GREEN, &a, &a);
	b->weight = weight;
	return b;
}

static void
look(struct scene *s, struct maglev *m)
{
	const unsigned n[COLORS] = { s->n, 0 };
	struct snapshot *old = s->snapshot;

	s->snapshot = snapshot_new(1, 1, GREEN, n);
	s->color = &s->snapshot->colors[GREEN];
	for (unsigned i = 0; i < s->n; i++) {
		s->color->usable[i] = backend_ref(s->backends[i]);
		s->color->weights[i] = 100 * s->backends[i]->weight;
	}
	balance_prepare(s->color, m);
	balance_round_move(&s->round, old != NULL ? &old->colors[GREEN] : NULL, s->color);
	snapshot_unref(&old);
}

static void
begin(struct scene *s, enum balance policy, unsigned n, unsigned heaviest)
{
	*s = (struct scene){ .n = n, .random = seed, .ask = { .policy = policy } };
	s->ask.random = &s->random;
	for (unsigned i = 0; i < n; i++) {
		s->backends[i] = make_backend(i, any(1, heaviest));
		s->weights += s->backends[i]->weight;
	}
	balance_round_init(&s->round, any(0, 7));
	look(s, NULL);
}

static void
finish(struct scene *s)
{
	balance_round_free(&s->round);
	snapshot_unref(&s->snapshot);
	for (unsigned i = 0; i < s->n; i++)
		backend_unref(&s->backends[i]);
}

static unsigned
index_of(const struct scene *s, const struct backend *b)
{
	for (unsigned i = 0; i < s->n; i++)
		if (s->backends[i] == b)
			return i;
	fail_msg("a backend that is not in the set");
	return 0;
}

static unsigned
take(struct scene *s)
{
	struct backend *b = balance_take(s->color, &s->round, &s->ask);

	assert_non_null(b);
	return index_of(s, b);
}

/* What backend i should have of so many. */
static double
due(const struct scene *s, unsigned i, double of)
{
	return of * s->backends[i]->weight / (double)s->weights;
}

/* -- round_robin --------------------------------------------------------------- */

/* Not only in the end: at no moment is anybody far from what is due. */
static void
test_turns_follow_the_weights_at_every_moment(void **state)
{
	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned counts[MOST] = { 0 };
		struct scene s;

		begin(&s, BALANCE_ROUND_ROBIN, any(1, MOST), round % 3 == 0 ? 1 : BACKEND_WEIGHT_MAX);
		for (unsigned k = 1; k <= 20000; k++) {
			unsigned i = take(&s);

			counts[i]++;
			assert_true(fabs(counts[i] - due(&s, i, k)) <= s.n);
		}
		for (unsigned i = 0; i < s.n; i++)
			assert_true(fabs(counts[i] - due(&s, i, 20000)) <= 0.02 * due(&s, i, 20000) + 2);
		finish(&s);
	}
}

static void
test_turns_are_smooth(void **state)
{
	static const unsigned weights[] = { 5, 1, 1 };
	char turns[8] = "";
	struct scene s;

	(void)state;
	begin(&s, BALANCE_ROUND_ROBIN, 3, 1);
	for (unsigned i = 0; i < 3; i++)
		s.backends[i]->weight = weights[i];
	s.round.turn = 0;
	look(&s, NULL);
	for (int i = 0; i < 7; i++)
		turns[i] = (char)('a' + take(&s));
	assert_string_equal(turns, "aabacaa");
	finish(&s);
}

/* A snapshot may come with every connection; shares must not suffer. */
static void
test_turns_go_on_over_snapshots(void **state)
{
	unsigned counts[MOST] = { 0 };
	struct scene s;

	(void)state;
	begin(&s, BALANCE_ROUND_ROBIN, 7, 20);
	for (int k = 0; k < 5000; k++) {
		counts[take(&s)]++;
		look(&s, NULL);
	}
	for (unsigned i = 0; i < s.n; i++)
		assert_true(fabs(counts[i] - due(&s, i, 5000)) <= 0.02 * due(&s, i, 5000) + 2);
	finish(&s);
}

static void
test_who_is_absent_for_a_while_leaves_the_others_their_shares(void **state)
{
	struct scene s;

	(void)state;
	begin(&s, BALANCE_ROUND_ROBIN, 6, 50);
	for (int turn = 0; turn < 200; turn++) {
		unsigned counts[MOST] = { 0 }, all = s.n;
		uint64_t weights = s.weights;

		/* The last one goes and comes back. */
		if (turn % 2 == 1) {
			s.n--;
			s.weights -= s.backends[s.n]->weight;
		}
		look(&s, NULL);
		for (int k = 0; k < 1000; k++)
			counts[take(&s)]++;
		for (unsigned i = 0; i < s.n; i++)
			assert_true(fabs(counts[i] - due(&s, i, 1000)) <= all);
		s.n = all;
		s.weights = weights;
	}
	finish(&s);
}

/* -- least_conn, p2c --------------------------------------------------------------- */

/* How far those furthest from their fair share are, in connections for each
 * weight. */
struct gap {
	double above, below;
};

/* Connections come and go at random, then many come. */
static struct gap
churn(struct scene *s, unsigned most)
{
	unsigned *held = must_array(most, sizeof(*held)), n = 0;
	struct gap gap = { 0, 0 };

	for (unsigned k = 0; k < 20 * most; k++) {
		if (n == most || (n > 0 && any(0, 99) < 30)) {
			unsigned at = any(0, n - 1);

			backend_leave(s->backends[held[at]]);
			held[at] = held[--n];
			continue;
		}
		held[n++] = take(s);
	}
	while (n < most)
		held[n++] = take(s);
	/* The last word is the chooser's: many come, nobody leaves. */
	for (unsigned k = 0; k < 10 * most; k++)
		(void)take(s);
	for (unsigned i = 0; i < s->n; i++) {
		double has = atomic_load(&s->backends[i]->connections);
		double fair = due(s, i, 11.0 * most) / s->backends[i]->weight;

		gap.above = fmax(gap.above, has / s->backends[i]->weight - fair);
		gap.below = fmax(gap.below, fair - has / s->backends[i]->weight);
	}
	free(held);
	return gap;
}

static void
test_least_conn_is_within_one_for_each_weight(void **state)
{
	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct gap gap;
		struct scene s;

		begin(&s, BALANCE_LEAST_CONN, any(1, MOST), round % 2 == 0 ? 1 : 16);
		gap = churn(&s, 500);
		assert_true(gap.above <= 1 && gap.below <= 1);
		finish(&s);
	}
}

/* Few backends or many. */
static void
test_p2c_is_within_three_for_each_weight(void **state)
{
	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct gap gap;
		struct scene s;

		begin(&s, BALANCE_P2C, any(1, round < ROUNDS / 2 ? 5 : MOST), round % 2 == 0 ? 1 : 16);
		gap = churn(&s, 500);
		assert_true(gap.above <= 3 && gap.below <= 3);
		finish(&s);
	}
}

/* -- source_hash ----------------------------------------------------------------------- */

static unsigned
take_for(struct scene *s, uint32_t source)
{
	unsigned i;

	s->ask.source = &source;
	s->ask.source_len = 4;
	i = take(s);
	s->ask.source = NULL;
	backend_leave(s->backends[i]);
	return i;
}

static void
shuffle(struct backend **list, unsigned n)
{
	for (unsigned i = n; i > 1; i--) {
		unsigned k = any(0, i - 1);
		struct backend *b = list[k];

		list[k] = list[i - 1];
		list[i - 1] = b;
	}
}

static void
test_two_tables_agree_whatever_the_order(void **state)
{
	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct maglev *one, *two;
		struct scene s;

		begin(&s, BALANCE_SOURCE_HASH, any(1, MOST), 20);
		one = maglev_new(s.backends, s.n);
		shuffle(s.backends, s.n);
		two = maglev_new(s.backends, s.n);
		assert_true(one->size >= 4099 && one->size == two->size);
		for (uint32_t i = 0; i < one->size; i++)
			assert_ptr_equal(one->backends[one->slots[i]], two->backends[two->slots[i]]);
		maglev_unref(&one);
		maglev_unref(&two);
		finish(&s);
	}
}

/* It is written down: a later version must not move all the clients of a
 * fleet that is half upgraded. */
static void
test_the_table_is_this_one(void **state)
{
	struct backend *list[3] = { make_backend(0, 1), make_backend(1, 2), make_backend(2, 1) };
	struct maglev *m = maglev_new(list, 3);
	char first[17] = "";

	(void)state;
	for (int i = 0; i < 16; i++)
		first[i] = (char)('a' + m->slots[i]);
	assert_int_equal(m->size, 4099);
	assert_string_equal(first, "ccbcaabccbabbbbc");
	maglev_unref(&m);
	for (int i = 0; i < 3; i++)
		backend_unref(&list[i]);
}

static void
test_slots_follow_the_weights(void **state)
{
	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned counts[MOST] = { 0 };
		struct maglev *m;
		struct scene s;

		begin(&s, BALANCE_SOURCE_HASH, any(1, MOST), round % 2 == 0 ? 1 : BACKEND_WEIGHT_MAX);
		m = maglev_new(s.backends, s.n);
		for (uint32_t i = 0; i < m->size; i++)
			counts[index_of(&s, m->backends[m->slots[i]])]++;
		for (unsigned i = 0; i < s.n; i++)
			assert_true(fabs(counts[i] - due(&s, i, m->size)) <= 0.02 * due(&s, i, m->size) + 2);
		maglev_unref(&m);
		finish(&s);
	}
}

static void
test_removing_one_of_ten_moves_few(void **state)
{
	const unsigned sources = 20000;

	(void)state;
	for (int round = 0; round < 20; round++) {
		struct maglev *ten, *nine;
		struct scene s, less;
		unsigned moved = 0, gone = any(0, 9);

		begin(&s, BALANCE_SOURCE_HASH, 10, 1);
		shuffle(s.backends, 10);
		ten = maglev_new(s.backends, 10);
		look(&s, ten);
		less = s;
		less.round = (struct balance_round){ 0 };
		less.snapshot = NULL;
		less.backends[gone] = less.backends[9];
		less.n = 9;
		nine = maglev_new(less.backends, 9);
		look(&less, nine);
		for (unsigned i = 0; i < sources; i++) {
			uint32_t source = (uint32_t)random_next(&seed);

			moved += s.backends[take_for(&s, source)] != less.backends[take_for(&less, source)];
		}
		assert_true(moved <= 0.12 * sources);
		maglev_unref(&ten);
		maglev_unref(&nine);
		balance_round_free(&less.round);
		snapshot_unref(&less.snapshot);
		finish(&s);
	}
}

/* A backend that is down, not removed, moves its own clients and nobody else,
 * and they spread over all the others. */
static void
test_one_that_is_down_moves_only_its_own(void **state)
{
	unsigned before[4000], taken_over[MOST] = { 0 }, moved = 0;
	struct maglev *m;
	struct scene s;

	(void)state;
	begin(&s, BALANCE_SOURCE_HASH, 10, 1);
	m = maglev_new(s.backends, s.n);
	look(&s, m);
	for (uint32_t i = 0; i < ARRAY_LEN(before); i++)
		before[i] = take_for(&s, i);
	s.n = 9;
	look(&s, m);
	for (uint32_t i = 0; i < ARRAY_LEN(before); i++) {
		unsigned now = take_for(&s, i);

		if (before[i] != 9) {
			assert_int_equal(now, before[i]);
			continue;
		}
		moved++;
		taken_over[now]++;
	}
	assert_true(moved > 0);
	for (unsigned i = 0; i < 9; i++)
		assert_true(taken_over[i] > 0 && taken_over[i] < moved / 3);
	s.n = 10;
	maglev_unref(&m);
	finish(&s);
}

static void
test_a_client_without_address_takes_turns(void **state)
{
	unsigned counts[MOST] = { 0 };
	struct maglev *m;
	struct scene s;

	(void)state;
	begin(&s, BALANCE_SOURCE_HASH, 4, 1);
	m = maglev_new(s.backends, s.n);
	look(&s, m);
	for (int i = 0; i < 40; i++)
		counts[take(&s)]++;
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(counts[i], 10);
	maglev_unref(&m);
	finish(&s);
}

/* -- all of them -------------------------------------------------------------------------- */

/* Each is tried once, whatever the policy, and then nobody is left. */
static void
test_what_was_tried_is_not_tried_again(void **state)
{
	(void)state;
	for (int policy = BALANCE_ROUND_ROBIN; policy <= BALANCE_SOURCE_HASH; policy++)
		for (int round = 0; round < 20; round++) {
			struct backend *tried[MOST];
			struct maglev *m;
			struct scene s;
			uint32_t source = (uint32_t)random_next(&seed);

			begin(&s, (enum balance)policy, any(1, MOST), 9);
			m = maglev_new(s.backends, s.n);
			look(&s, m);
			s.ask.tried = tried;
			s.ask.source = &source;
			s.ask.source_len = 4;
			for (unsigned i = 0; i < s.n; i++) {
				unsigned at = take(&s);

				for (unsigned k = 0; k < i; k++)
					assert_ptr_not_equal(tried[k], s.backends[at]);
				tried[s.ask.n_tried++] = s.backends[at];
			}
			assert_null(balance_take(s.color, &s.round, &s.ask));
			maglev_unref(&m);
			finish(&s);
		}
}

/* Of three one is dead: it is tried once in its turn, and what it loses is shared. */
static void
test_a_dead_one_is_tried_in_its_turn_only(void **state)
{
	(void)state;
	for (int heaviest = 1; heaviest <= 9; heaviest += 8) {
		unsigned dead = 0, counts[MOST] = { 0 };
		struct scene s;

		begin(&s, BALANCE_ROUND_ROBIN, 3, (unsigned)heaviest);
		for (int k = 0; k < 6000; k++) {
			unsigned at = take(&s);

			if (at == 1) {
				dead++;
				s.ask.tried = &s.backends[1];
				s.ask.n_tried = 1;
				at = take(&s);
				s.ask.n_tried = 0;
			}
			counts[at]++;
		}
		assert_true(fabs(dead - due(&s, 1, 6000)) <= 3);
		assert_int_equal(counts[1], 0);
		for (unsigned i = 0; i < 3; i += 2) {
			double share = (double)s.backends[i]->weight / (s.weights - s.backends[1]->weight);

			assert_true(fabs(counts[i] - share * 6000) <= 0.05 * 6000);
		}
		finish(&s);
	}
}

static void
test_full_backends_are_passed_over(void **state)
{
	(void)state;
	for (int policy = BALANCE_ROUND_ROBIN; policy <= BALANCE_SOURCE_HASH; policy++) {
		struct maglev *m;
		struct scene s;
		uint32_t source = 7;

		begin(&s, (enum balance)policy, 5, 9);
		m = maglev_new(s.backends, s.n);
		look(&s, m);
		s.ask.limit = 3;
		s.ask.source = &source;
		s.ask.source_len = 4;
		for (unsigned k = 0; k < 15; k++)
			(void)take(&s);
		for (unsigned i = 0; i < 5; i++)
			assert_int_equal(atomic_load(&s.backends[i]->connections), 3);
		assert_null(balance_take(s.color, &s.round, &s.ask));
		backend_leave(s.backends[2]);
		assert_int_equal(take(&s), 2);
		maglev_unref(&m);
		finish(&s);
	}
}

/* Several workers, one limit. */
struct racer {
	pthread_t thread;
	struct scene *scene;
	struct balance_round round;
	struct balance_ask ask;
	uint64_t random;
	bool passed;
};

static void *
race(void *arg)
{
	struct racer *r = arg;

	for (unsigned i = 0, n = scaled(5000, 30000); i < n; i++) {
		struct backend *b = balance_take(r->scene->color, &r->round, &r->ask);

		if (b == NULL)
			continue;
		r->passed |= atomic_load(&b->connections) > r->ask.limit;
		backend_leave(b);
	}
	return NULL;
}

static void
test_the_limit_is_exact_over_threads(void **state)
{
	(void)state;
	for (int policy = BALANCE_ROUND_ROBIN; policy <= BALANCE_P2C; policy++) {
		struct racer racers[4];
		struct scene s;

		begin(&s, (enum balance)policy, 2, 1);
		for (int i = 0; i < 4; i++) {
			racers[i] = (struct racer){ .scene = &s, .ask = s.ask, .random = (uint64_t)i };
			racers[i].ask.limit = 1;
			racers[i].ask.random = &racers[i].random;
			assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
		}
		for (int i = 0; i < 4; i++) {
			assert_int_equal(pthread_join(racers[i].thread, NULL), 0);
			assert_false(racers[i].passed);
		}
		for (unsigned i = 0; i < s.n; i++)
			assert_int_equal(atomic_load(&s.backends[i]->connections), 0);
		finish(&s);
	}
}

/* The truth table of model/backend.h, row by row. */
static void
test_use_is_what_the_table_says(void **state)
{
	static const struct {
		unsigned weight;
		enum backend_state state;
		double ejected_until;
		enum backend_use use;
		const char *word, *admin;
	} rows[] = {
		{ 1, BACKEND_UP, 0, BACKEND_USED, "up", "ready" },
		{ 1, BACKEND_UP, 9, BACKEND_SPARE, "ejected", "ready" },
		{ 1, BACKEND_CHECKING, 0, BACKEND_SPARE, "checking", "ready" },
		{ 1, BACKEND_DOWN, 0, BACKEND_SPARE, "down", "ready" },
		{ 1, BACKEND_DOWN, 9, BACKEND_SPARE, "down", "ready" },
		{ 0, BACKEND_UP, 0, BACKEND_NEVER, "up", "drain" },
		{ 0, BACKEND_UP, 9, BACKEND_NEVER, "ejected", "drain" },
		{ 0, BACKEND_CHECKING, 0, BACKEND_NEVER, "checking", "drain" },
		{ 0, BACKEND_DOWN, 0, BACKEND_NEVER, "down", "drain" },
	};
	struct backend *b = make_backend(0, 1);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		b->weight = rows[i].weight;
		b->state = rows[i].state;
		b->ejected_until = rows[i].ejected_until;
		assert_int_equal(backend_use(b), rows[i].use);
		assert_string_equal(backend_word(b), rows[i].word);
		assert_string_equal(backend_admin_word(b), rows[i].admin);
	}
	backend_unref(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_turns_follow_the_weights_at_every_moment),
		cmocka_unit_test(test_turns_are_smooth),
		cmocka_unit_test(test_turns_go_on_over_snapshots),
		cmocka_unit_test(test_who_is_absent_for_a_while_leaves_the_others_their_shares),
		cmocka_unit_test(test_least_conn_is_within_one_for_each_weight),
		cmocka_unit_test(test_p2c_is_within_three_for_each_weight),
		cmocka_unit_test(test_two_tables_agree_whatever_the_order),
		cmocka_unit_test(test_the_table_is_this_one),
		cmocka_unit_test(test_slots_follow_the_weights),
		cmocka_unit_test(test_removing_one_of_ten_moves_few),
		cmocka_unit_test(test_one_that_is_down_moves_only_its_own),
		cmocka_unit_test(test_a_client_without_address_takes_turns),
		cmocka_unit_test(test_what_was_tried_is_not_tried_again),
		cmocka_unit_test(test_a_dead_one_is_tried_in_its_turn_only),
		cmocka_unit_test(test_full_backends_are_passed_over),
		cmocka_unit_test(test_the_limit_is_exact_over_threads),
		cmocka_unit_test(test_use_is_what_the_table_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
