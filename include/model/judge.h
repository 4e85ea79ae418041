/* judge.h - is the new color worse than the old one?  An anytime-valid sequential test: it may be looked at
 * as often as one likes, and ends a bake wrongly with a probability of at most alpha over all its looks.
 *
 * Source: the beta mixture of H. Robbins ("Statistical methods related to the law of the iterated logarithm",
 * 1970), read as a bet (A. Ramdas, P. Grünwald, V. Vovk, G. Shafer, "Game-theoretic statistics and safe
 * anytime-valid inference", 2023): who bets on "the new one is worse" and has E times the stake has seen
 * what happens with a probability of at most 1 / E when it is not (Ville's inequality).
 *
 * What is counted is clients, each by its first trouble: what one client sends in a row is not independent,
 * and to count each request of it makes false alarms (tests/unit/test_judge_bakes.c).
 *
 * Concurrent control: both colors serve at the same time, and each client is on the new one with the known
 * probability p.  Of clients in trouble n1 are the new one's and n0 the old one's; if the new one is not worse,
 * each of them is the new one's with a probability q of at most p.  The bet is spread evenly over q in (p, 1):
 *
 *	E = 1/(1-p) * Integral from p to 1 of (q/p)^n1 ((1-q)/(1-p))^n0 dq
 *	  = B(1+n1, 1+n0) / (p^n1 (1-p)^n0) * I(1-p; 1+n0, 1+n1) / (1-p)
 *
 * B is the beta function, I the regularized incomplete one.  One-sided: a new color that is better never wins
 * the bet, since for every q' in (p, 1) the bet loses on average while q <= p.
 *
 * Control before: all went to the new color at once, and what the old one did just before is the control.  It is
 * weaker: what else has changed since then counts against the new one.  Of m0 exposures of the old one n0 were in
 * trouble: its rate is at most u0, the upper bound of Clopper and Pearson (1934) of level a/2; the bet
 * is that the new one's rate is in (u0, 1): the same E, with u0 for p and m1 - n1 for n0, to reach 2/a.
 *
 * Alpha is divided evenly among the signals (Bonferroni): a is alpha / JUDGE_SIGNALS.  So each is checked by itself,
 * and the one that decides is named.
 * Pure; any thread. */
#ifndef MODEL_JUDGE_H
#define MODEL_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

/* What trouble a client may have with a color; the word in replies, logs and metrics; what it means. */
#define JUDGE_TABLE(X) \
	X(JUDGE_CONNECT, "connect", "no backend reached, or reset before an answer") \
	X(JUDGE_ANSWER,  "answer",  "answered with 5xx, or a gRPC status of the server's") \
	X(JUDGE_EMPTY,   "empty",   "closed without one byte") \
	X(JUDGE_TOLD,    "signal",  "bad, says the team's own counter")

enum judge_signal {
#define X(name, word, meaning) name,
	JUDGE_TABLE(X)
#undef X
};
#define X(name, word, meaning) +1
enum { JUDGE_SIGNALS = 0 JUDGE_TABLE(X) };
#undef X
#define JUDGE_SEEN_SIGNALS JUDGE_TOLD	/* those before it are seen by the data path */

/* Of a false rollback in one bake, however long and however often it is looked at. */
#define JUDGE_ALPHA 0.001
/* "baked" wants a regression of more than that to be excluded, as a share of exposures, with that confidence. */
#define JUDGE_DETECT 0.05
#define JUDGE_CONFIDENCE 0.95

enum judge_control {
	JUDGE_BEFORE,	/* the old color before the flip, frozen */
	JUDGE_CONCURRENT,	/* the old color, now */
};

/* Of one color: exposures are clients in slices of time, those in trouble before not counted any more; errors
 * the first trouble of each, by kind. */
struct judge_counts {
	uint64_t exposures;
	uint64_t errors[JUDGE_SEEN_SIGNALS];
	uint64_t told, told_bad;	/* what a team has counted itself */
};

struct judge_case {
	enum judge_control control;
	double share;	/* CONCURRENT: of clients that the new color gets, in (0, 1) */
	struct judge_counts fresh, old;	/* of the new color since the flip; of the control */
};

/* What the test says now. */
struct judge_evidence {
	bool worse;	/* beyond doubt: revert */
	enum judge_signal signal;	/* the one with most evidence */
	double log10_e[JUDGE_SIGNALS];	/* of each: log10 of E */
	double log10_needed[JUDGE_SIGNALS];	/* to be reached */
	double bound[JUDGE_SIGNALS];	/* what the new one's share or rate is compared with: p or u0 */
	double old_rate, new_rate;	/* of exposures, all kinds that the data path sees; 0 without any */
	double could_be;	/* the new one's rate is at most that, with JUDGE_CONFIDENCE; 1: anything */
	bool enough;	/* could_be - old_rate is no more than JUDGE_DETECT, and there is a control */
};

/* What a bake does with a color that is worse; "rollback", "stop" (the bake, and leave it active), "tell" (and go on). */
enum on_regression { ON_REGRESSION_ROLLBACK, ON_REGRESSION_STOP, ON_REGRESSION_TELL };
extern const char *const on_regression_words[];	/* NULL behind the last */
const char *on_regression_word(enum on_regression r);

void judge_decide(const struct judge_case *c, double alpha, struct judge_evidence *out);

/* ln E of the bet that of n1 + n0 independent cases each is of the first kind with more than p, in [0, 1]. */
double judge_log_e(uint64_t n1, uint64_t n0, double p);
/* The rate behind n of m: at most that, but with a probability of `level`.  Of a sample whose size was fixed beforehand. */
double judge_upper_fixed(uint64_t n, uint64_t m, double level);
/* The same, looked at at any time: the rates that the bet on less has not refuted. */
double judge_upper(uint64_t n, uint64_t m, double level);

const char *judge_signal_word(enum judge_signal s);
const char *judge_signal_meaning(enum judge_signal s);

#endif
