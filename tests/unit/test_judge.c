/* test_judge.c - the formulas of a bake's judge, against sums that anyone can do. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "model/judge.h"
#include "scaled.h"

#define STEPS 200000
#define assert_near(a, b, by) assert_true(fabs((a) - (b)) <= (by))

/* The bet by its definition: the integral, by the midpoint rule. */
static double
bet_by_sum(unsigned n1, unsigned n0, double p)
{
	double sum = 0;

	for (int i = 0; i < STEPS; i++) {
		double q = p + (1 - p) * (i + 0.5) / STEPS;

		sum += exp(n1 * log(q / p) + n0 * log((1 - q) / (1 - p)));
	}
	return log(sum / STEPS);
}

static void
the_formula_is_the_integral(void **state)
{
	static const struct {
		unsigned n1, n0;
		double p;
	} rows[] = { { 0, 0, 0.5 },   { 1, 0, 0.5 },     { 0, 7, 0.05 },    { 14, 0, 0.5 },   { 5, 3, 0.05 },
		     { 40, 60, 0.5 }, { 300, 10, 0.95 }, { 2, 998, 0.001 }, { 60, 940, 0.02 } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_near(judge_log_e(rows[i].n1, rows[i].n0, rows[i].p), bet_by_sum(rows[i].n1, rows[i].n0, rows[i].p),
			    1e-4);
	/* By hand: (2^15 - 1) / 15 = 2184.47 after 14 of 14 at a half; 3 of 3 at 5 %: (1 - p^4) / (4 p^3 (1 - p)) = 2105.25. */
	assert_near(exp(judge_log_e(14, 0, 0.5)), 2184.4667, 0.001);
	assert_near(exp(judge_log_e(3, 0, 0.05)), 2105.25, 0.01);
}

/* On average over what may come next the stake does not grow while the new one is not worse. */
static void
the_bet_is_fair_or_loses(void **state)
{
	static const double shares[] = { 0.05, 0.5, 0.95 };

	(void)state;
	for (size_t i = 0; i < 3; i++)
		for (unsigned n1 = 0; n1 < 40; n1++)
			for (unsigned n0 = 0; n0 < 40; n0++) {
				double p = shares[i], now = exp(judge_log_e(n1, n0, p));
				double hit = exp(judge_log_e(n1 + 1, n0, p)), miss = exp(judge_log_e(n1, n0 + 1, p));

				assert_near((p * hit + (1 - p) * miss) / now, 1, 1e-9);
				assert_true((p / 2 * hit + (1 - p / 2) * miss) / now <= 1 + 1e-9);
			}
}

static void
bounds_are_those_of_the_tables(void **state)
{
	(void)state;
	/* None of m: 1 - level^(1/m). */
	assert_near(judge_upper_fixed(0, 1000, 0.05), 1 - pow(0.05, 0.001), 1e-9);
	/* Clopper and Pearson: 10 of 100 is at most 17.62 %, two-sided 95 %. */
	assert_near(judge_upper_fixed(10, 100, 0.025), 0.1762, 5e-5);
	/* Looked at at any time it is wider, and nothing known is anything. */
	assert_true(judge_upper(10, 100, 0.025) > judge_upper_fixed(10, 100, 0.025));
	assert_near(judge_upper(0, 0, 0.05), 1, 0);
	assert_near(judge_upper_fixed(0, 0, 0.05), 1, 0);
	assert_near(judge_upper(5, 5, 0.05), 1, 0);
	/* None of m: (1 - (1-u)^(m+1)) / ((m+1) u (1-u)^m) reaches 1/level. */
	for (unsigned m = 1; m < 3000; m = m * 3 + 1) {
		double u = judge_upper(0, m, 0.05), e = (1 - pow(1 - u, m + 1)) / ((m + 1) * u * pow(1 - u, m));

		assert_near(e, 20, 1e-3);
	}
}

/* Counts of years neither overflow nor lose the decision. */
static void
large_counts_stay_numbers(void **state)
{
	(void)state;
	for (uint64_t m = 1000; m < 10000000000ull; m *= 10) {
		double log_e = judge_log_e(m / 100, m - m / 100, 0.01);

		assert_true(isfinite(log_e) && log_e < 1);
		assert_true(judge_log_e(m / 50, m - m / 50, 0.01) > log_e);
		assert_true(judge_upper(m / 100, m, 0.05) < 0.05);
	}
	assert_true(isinf(judge_log_e(1, 0, 0)));
	assert_near(judge_log_e(5, 5, 1), 0, 0);
}

static struct judge_case
before(uint64_t m0, uint64_t n0, uint64_t m1, uint64_t n1)
{
	return (struct judge_case){ .control = JUDGE_BEFORE,
				    .old = { .exposures = m0, .errors = { [JUDGE_ANSWER] = n0 } },
				    .fresh = { .exposures = m1, .errors = { [JUDGE_ANSWER] = n1 } } };
}

static void
what_is_beyond_doubt_is_reverted_at_once(void **state)
{
	struct judge_evidence e;
	struct judge_case c = before(1000, 0, 20, 20);

	(void)state;
	judge_decide(&c, JUDGE_ALPHA, &e);
	assert_true(e.worse);
	assert_int_equal(e.signal, JUDGE_ANSWER);
	assert_string_equal(judge_signal_word(e.signal), "answer");

	c = before(10000, 10, 3000, 3);
	judge_decide(&c, JUDGE_ALPHA, &e);
	assert_false(e.worse);
	assert_true(e.enough);
	assert_near(e.new_rate, 0.001, 1e-12);
}

static void
what_was_not_seen_is_inconclusive(void **state)
{
	struct judge_evidence e;
	struct judge_case c = before(0, 0, 20, 20);

	(void)state;
	judge_decide(&c, JUDGE_ALPHA, &e);
	assert_false(e.worse);
	assert_false(e.enough);
	c = before(10000, 10, 0, 0);
	judge_decide(&c, JUDGE_ALPHA, &e);
	assert_false(e.worse || e.enough);
	assert_near(e.could_be, 1, 0);
	c = before(10000, 10, 50, 0);
	judge_decide(&c, JUDGE_ALPHA, &e);
	assert_false(e.worse || e.enough);
}

static void
a_team_counts_for_itself(void **state)
{
	struct judge_case c = { .control = JUDGE_CONCURRENT, .share = 0.5 };
	struct judge_evidence e;

	(void)state;
	c.old.told = 500;
	c.fresh.told = 200;
	c.fresh.told_bad = 60;
	judge_decide(&c, JUDGE_ALPHA, &e);
	assert_true(e.worse);
	assert_int_equal(e.signal, JUDGE_TOLD);
	/* Of an old color that nothing is known of nothing is worse. */
	c.old.told = 0;
	judge_decide(&c, JUDGE_ALPHA, &e);
	assert_false(e.worse);
}

/* A better color never wins the bet, with as many looks as there are events. */
static void
a_better_color_is_never_reverted(void **state)
{
	uint64_t random = 1;

	(void)state;
	for (unsigned round = 0; round < scaled(100, 2000); round++) {
		struct judge_case c = { .control = JUDGE_CONCURRENT, .share = 0.5 };
		struct judge_evidence e;

		for (unsigned i = 0; i < 200; i++) {
			(random_unit(&random) < 0.3 ? &c.fresh : &c.old)->errors[JUDGE_CONNECT]++;
			judge_decide(&c, JUDGE_ALPHA, &e);
			assert_false(e.worse);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_formula_is_the_integral),
		cmocka_unit_test(the_bet_is_fair_or_loses),
		cmocka_unit_test(bounds_are_those_of_the_tables),
		cmocka_unit_test(large_counts_stay_numbers),
		cmocka_unit_test(what_is_beyond_doubt_is_reverted_at_once),
		cmocka_unit_test(what_was_not_seen_is_inconclusive),
		cmocka_unit_test(a_team_counts_for_itself),
		cmocka_unit_test(a_better_color_is_never_reverted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
