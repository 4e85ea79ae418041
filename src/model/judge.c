/* judge.c - the sequential test of a bake.  Pure; any thread. */
#include <math.h>

#include "base/check.h"
#include "model/judge.h"

static const struct {
	const char *word, *meaning;
} signals[JUDGE_SIGNALS] = {
#define X(name, word, meaning) [name] = { word, meaning },
	JUDGE_TABLE(X)
#undef X
};

const char *const on_regression_words[] = { "rollback", "stop", "tell", NULL };

const char *
on_regression_word(enum on_regression r)
{
	CHECK((unsigned)r <= ON_REGRESSION_TELL);
	return on_regression_words[r];
}

const char *
judge_signal_word(enum judge_signal s)
{
	CHECK((unsigned)s < JUDGE_SIGNALS);
	return signals[s].word;
}

const char *
judge_signal_meaning(enum judge_signal s)
{
	CHECK((unsigned)s < JUDGE_SIGNALS);
	return signals[s].meaning;
}

/* -- the incomplete beta function --------------------------------------------------- */

/* Halvings of an interval until a double cannot tell its ends apart, nearly. */
#define BISECTIONS 50
/* The fraction's terms: some of the square root of the counts are enough. */
#define FRACTION_TERMS 20000
#define FRACTION_EXACT 1e-13
#define TINY 1e-300

/* lgamma() writes the sign to a global, which threads share. */
static double
log_gamma(double x)
{
	int sign;

	return lgamma_r(x, &sign);
}

static double
log_beta(double a, double b)
{
	return log_gamma(a) + log_gamma(b) - log_gamma(a + b);
}

static double
away_from_zero(double x)
{
	return fabs(x) < TINY ? TINY : x;
}

/* The continued fraction of I(x; a, b), DLMF 8.17.22, by Lentz's method; it converges fast for x below the mean. */
static double
beta_fraction(double x, double a, double b)
{
	double c = 1, d = 1 / away_from_zero(1 - (a + b) * x / (a + 1)), f = d;

	for (int i = 1; i < FRACTION_TERMS; i++) {
		double even = i * (b - i) * x / ((a + 2 * i - 1) * (a + 2 * i));
		double odd = -(a + i) * (a + b + i) * x / ((a + 2 * i) * (a + 2 * i + 1));
		double step;

		d = 1 / away_from_zero(1 + even * d);
		c = away_from_zero(1 + even / c);
		f *= c * d;
		d = 1 / away_from_zero(1 + odd * d);
		c = away_from_zero(1 + odd / c);
		step = c * d;
		f *= step;
		if (fabs(step - 1) < FRACTION_EXACT)
			break;
	}
	return f;
}

/* ln I(x; a, b), the probability that a beta(a, b) is at most x. */
static double
log_beta_below(double x, double a, double b)
{
	double front;

	if (x <= 0)
		return -INFINITY;
	if (x >= 1)
		return 0;
	front = a * log(x) + b * log1p(-x) - log_beta(a, b);
	if (x < (a + 1) / (a + b + 2))
		return fmin(0, front - log(a) + log(beta_fraction(x, a, b)));
	return log1p(-fmin(1, exp(front - log(b)) * beta_fraction(1 - x, b, a)));
}

/* -- the bet ------------------------------------------------------------------------ */

/* n ln x, where 0 ln 0 is 0. */
static double
times_log(double n, double x)
{
	return n > 0 ? n * log(x) : 0;
}

double
judge_log_e(uint64_t n1, uint64_t n0, double p)
{
	double a = 1 + (double)n1, b = 1 + (double)n0;

	/* Nothing is more than 1; and where none at all may be of the first kind, one that is proves it. */
	if (p >= 1)
		return 0;
	if (p <= 0)
		return n1 > 0 ? INFINITY : log_beta(a, b);
	return log_beta(a, b) + log_beta_below(1 - p, b, a) - times_log((double)n1, p) -
	       times_log((double)n0, 1 - p) - log1p(-p);
}

/* Whether a rate u of n or fewer among m is not excluded at that level. */
typedef bool rate_is_possible_fn(double u, uint64_t n, uint64_t m, double level);

/* The exact binomial bound: the probability of n or fewer of m at the rate u. */
static bool
is_possible_once(double u, uint64_t n, uint64_t m, double level)
{
	return log_beta_below(1 - u, (double)(m - n), (double)n + 1) > log(level);
}

/* However often it is looked at. */
static bool
is_possible_always(double u, uint64_t n, uint64_t m, double level)
{
	return judge_log_e(m - n, n, 1 - u) < -log(level);
}

/* By bisection, the largest rate that is possible. */
static double
largest_rate(uint64_t n, uint64_t m, double level, rate_is_possible_fn *is_possible)
{
	double low, high = 1;

	if (n >= m)
		return 1;
	low = (double)n / (double)m;
	for (int i = 0; i < BISECTIONS; i++) {
		double u = (low + high) / 2;

		if (is_possible(u, n, m, level))
			low = u;
		else
			high = u;
	}
	return high;
}

double
judge_upper_fixed(uint64_t n, uint64_t m, double level)
{
	return largest_rate(n, m, level, is_possible_once);
}

double
judge_upper(uint64_t n, uint64_t m, double level)
{
	return largest_rate(n, m, level, is_possible_always);
}

/* -- the judgement ------------------------------------------------------------------ */

static uint64_t
all_errors(const struct judge_counts *c)
{
	uint64_t sum = 0;

	for (int s = 0; s < JUDGE_SEEN_SIGNALS; s++)
		sum += c->errors[s];
	return sum;
}

/* Workers count while main reads: an error may be there before its exposure. */
static uint64_t
at_least(uint64_t m, uint64_t n)
{
	return m > n ? m : n;
}

static void
judge_rates(uint64_t n1, uint64_t m1, double u0, double level, double *log_e, double *needed, double *bound)
{
	m1 = at_least(m1, n1);
	*bound = u0;
	*needed = -log(level / 2);
	*log_e = judge_log_e(n1, m1 - n1, u0);
}

static void
judge_signal(const struct judge_case *c, enum judge_signal s, double level, double *log_e, double *needed,
	     double *bound)
{
	const struct judge_counts *now = &c->fresh, *old = &c->old;

	/* Both sides of a team's counter grow while it is looked at. */
	if (s == JUDGE_TOLD) {
		judge_rates(now->told_bad, now->told, judge_upper(old->told_bad, old->told, level / 2), level,
			    log_e, needed, bound);
	} else if (c->control == JUDGE_CONCURRENT) {
		*bound = c->share;
		*needed = -log(level);
		*log_e = judge_log_e(now->errors[s], old->errors[s], c->share);
	} else {
		double u0 = judge_upper_fixed(old->errors[s], at_least(old->exposures, old->errors[s]),
					      level / 2);

		judge_rates(now->errors[s], now->exposures, u0, level, log_e, needed, bound);
	}
}

void
judge_decide(const struct judge_case *c, double alpha, struct judge_evidence *out)
{
	uint64_t n1 = all_errors(&c->fresh), n0 = all_errors(&c->old);
	uint64_t m1 = at_least(c->fresh.exposures, n1), m0 = at_least(c->old.exposures, n0);
	double most = -INFINITY;

	*out = (struct judge_evidence){ .worse = false };
	for (int s = 0; s < JUDGE_SIGNALS; s++) {
		double log_e, needed;

		judge_signal(c, (enum judge_signal)s, alpha / JUDGE_SIGNALS, &log_e, &needed, &out->bound[s]);
		out->log10_e[s] = log_e / M_LN10;
		out->log10_needed[s] = needed / M_LN10;
		if (log_e >= needed)
			out->worse = true;
		if (log_e - needed > most) {
			most = log_e - needed;
			out->signal = (enum judge_signal)s;
		}
	}
	out->new_rate = m1 > 0 ? (double)n1 / (double)m1 : 0;
	out->old_rate = m0 > 0 ? (double)n0 / (double)m0 : 0;
	out->could_be = judge_upper(n1, m1, 1 - JUDGE_CONFIDENCE);
	out->enough = m0 > 0 && out->could_be - out->old_rate <= JUDGE_DETECT;
}
