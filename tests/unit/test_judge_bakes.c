/* test_judge_bakes.c - whole bakes, simulated, before the judge of model/judge.c: how often equal colors are rolled
 * back, and how soon a worse one is; beside a threshold on windows of 100 requests, and beside the same test
 * counted by request.  TEAL_SOAK=1: 10,000 bakes. */
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

#define LOOKS 1000
#define WINDOW 100	/* requests to the new color that the threshold looks at, again and again */
#define WINDOW_LIMIT 5	/* so many of them failed: 5 % */

/* What clients do: a new one comes, sends some requests, and is gone. */
struct traffic {
	double base;	/* of requests that fail, on average over the day */
	double broken;	/* of clients: all that they send fails */
	double burst;	/* of clients: they send BURST requests */
	double incident;	/* the rate is so many times as high for a twentieth of the bake; 0: none */
	double swing;	/* of the daily shape: base * (1 +- swing) */
};
#define BURST 200
#define MEAN_REQUESTS 3.0

struct bake {
	struct judge_case by_client, by_request;
	uint64_t requests;	/* to both */
	uint64_t window, window_bad;	/* of the new color */
	bool threshold;	/* it has been passed */
};

static uint64_t
requests_of(const struct traffic *t, uint64_t *random)
{
	if (random_unit(random) < t->burst)
		return BURST;
	/* Geometric, at least 1. */
	return 1 + (uint64_t)(log(1 - random_unit(random)) / log(1 - 1 / MEAN_REQUESTS));
}

static double
rate_at(const struct traffic *t, double when, double phase, double incident_at)
{
	double rate = t->base * (1 + t->swing * sin(2 * M_PI * (when + phase)));

	return t->incident > 0 && when >= incident_at && when < incident_at + 0.05 ? rate * t->incident :
										     rate;
}

static void
count_request(struct bake *b, bool fresh, bool bad)
{
	struct judge_counts *all = fresh ? &b->by_request.fresh : &b->by_request.old;

	b->requests++;
	all->exposures++;
	all->errors[JUDGE_ANSWER] += bad;
	if (!fresh)
		return;
	b->window++;
	b->window_bad += bad;
	if (b->window == WINDOW) {
		b->threshold |= b->window_bad >= WINDOW_LIMIT;
		b->window = b->window_bad = 0;
	}
}

/* One client; true when it has met an error. */
static bool
send_requests(struct bake *b, const struct traffic *t, bool fresh, double rate, uint64_t *random)
{
	struct judge_counts *clients = fresh ? &b->by_client.fresh : &b->by_client.old;
	bool broken = random_unit(random) < t->broken, met = false;

	for (uint64_t n = requests_of(t, random); n > 0; n--) {
		bool bad = broken || random_unit(random) < rate;

		met |= bad;
		count_request(b, fresh, bad);
	}
	clients->exposures++;
	clients->errors[JUDGE_ANSWER] += met;
	return met;
}

static bool
is_reverted(const struct judge_case *c)
{
	struct judge_evidence e;

	judge_decide(c, JUDGE_ALPHA, &e);
	return e.worse;
}

/* One look of many: the bet is won by errors of the new color alone, so that one without any says what the last one said. */
static bool
look(const struct judge_case *c, uint64_t *seen)
{
	uint64_t errors = c->fresh.errors[JUDGE_ANSWER];

	if (errors == *seen)
		return false;
	*seen = errors;
	return is_reverted(c);
}

/* -- equal colors ------------------------------------------------------------------- */

struct falses {
	unsigned by_client, by_request, threshold;
};

/* Of two colors that do the same; share 1: all went to the new one at once. */
static void
bake_equal(const struct traffic *t, double share, unsigned clients, uint64_t *random, struct falses *sum)
{
	enum judge_control control = share < 1 ? JUDGE_CONCURRENT : JUDGE_BEFORE;
	struct bake b = { .by_client = { control, share, { 0 }, { 0 } },
			  .by_request = { control, share, { 0 }, { 0 } } };
	double phase = random_unit(random), incident_at = random_unit(random);
	uint64_t seen_by_client = 0, seen_by_request = 0;
	bool by_client = false, by_request = false;
	unsigned next = 0;

	/* Twice as long, as a window of the past is. */
	for (unsigned i = 0; share >= 1 && i < 2 * clients; i++)
		send_requests(&b, t, false, rate_at(t, 0, phase, 2), random);
	for (unsigned i = 0; i < clients; i++) {
		double when = (double)i / clients;

		send_requests(&b, t, random_unit(random) < share,
			      rate_at(t, share < 1 ? when : 0, phase, incident_at), random);
		if (when * LOOKS < next)
			continue;
		next++;
		by_client = by_client || look(&b.by_client, &seen_by_client);
		by_request = by_request || look(&b.by_request, &seen_by_request);
	}
	assert_int_equal(next, LOOKS);
	sum->by_client += by_client;
	sum->by_request += by_request;
	sum->threshold += b.threshold;
}

/* The largest count of false ones that a probability of alpha lets expect in n, but once in 10,000 times. */
static unsigned
most_false(unsigned n, double alpha)
{
	double p = pow(1 - alpha, n), below = p;
	unsigned k = 0;

	for (; below < 1 - 1e-4; below += p) {
		p *= (double)(n - k) / (k + 1) * alpha / (1 - alpha);
		k++;
	}
	return k;
}

static void
equal_colors_are_not_rolled_back(void **state)
{
	static const struct traffic wild = { 0.002, 0.004, 0.01, 20, 0.8 };
	static const struct traffic steady = { 0.002, 0.004, 0.01, 0, 0 };
	static const struct {
		const char *what;
		const struct traffic *traffic;
		double share;
	} rows[] = { { "share 5 %", &wild, 0.05 },
		     { "share 50 %", &wild, 0.5 },
		     { "hold-back 5 %", &wild, 0.95 },
		     { "all at once", &steady, 1 } };
	/* A quarter each of the bakes. */
	unsigned rounds = scaled(125, 2500);
	struct falses all = { 0, 0, 0 };
	uint64_t random = 20;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct falses f = { 0, 0, 0 };

		for (unsigned round = 0; round < rounds; round++)
			bake_equal(rows[i].traffic, rows[i].share, 2000, &random, &f);
		print_message("%-14s %u bakes: rolled back %u; counted by request %u; by threshold %u\n", rows[i].what,
			      rounds, f.by_client, f.by_request, f.threshold);
		assert_true(f.by_client <= most_false(rounds, JUDGE_ALPHA));
		all.by_client += f.by_client;
		all.by_request += f.by_request;
	}
	assert_true(all.by_client <= most_false(4 * rounds, JUDGE_ALPHA));
	/* Bursts of one client each: a test that takes its requests for independent is fooled. */
	assert_true(all.by_request > most_false(4 * rounds, JUDGE_ALPHA));
}

/* What else happens in a bake that began with a hard flip counts against the new color: that is its limit, and the
 * reply says "control":"before". */
static void
a_control_before_knows_no_incident_after(void **state)
{
	static const struct traffic incident = { 0.002, 0.004, 0.01, 100, 0 };
	struct falses before = { 0, 0, 0 }, beside = { 0, 0, 0 };
	uint64_t random = 21;

	(void)state;
	for (unsigned i = 0; i < scaled(20, 400); i++) {
		struct bake b = { .by_client = { .control = JUDGE_BEFORE } };

		for (unsigned k = 0; k < 4000; k++)
			send_requests(&b, &incident, false, incident.base, &random);
		for (unsigned k = 0; k < 500; k++)
			send_requests(&b, &incident, true, incident.base * incident.incident, &random);
		before.by_client += is_reverted(&b.by_client);
		bake_equal(&incident, 0.5, 2000, &random, &beside);
	}
	assert_true(before.by_client > 0);
	assert_true(beside.by_client <= most_false(scaled(20, 400), JUDGE_ALPHA));
}

/* -- a worse one -------------------------------------------------------------------- */

#define NEVER 400000	/* requests */

struct power {
	uint64_t requests;	/* to both, until it was rolled back; NEVER */
	uint64_t met;	/* clients that met an error on the new one until then */
	uint64_t threshold;	/* requests until the threshold would have */
};

static int
compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static struct power
bake_worse(double rate, double share, uint64_t *random)
{
	static const struct traffic base = { 0.001, 0, 0.01, 0, 0 };
	struct bake b = { .by_client = { share < 1 ? JUDGE_CONCURRENT : JUDGE_BEFORE, share, { 0 }, { 0 } } };
	struct power p = { NEVER, 0, NEVER };
	uint64_t begin;

	for (unsigned i = 0; share >= 1 && i < 3000; i++)
		send_requests(&b, &base, false, base.base, random);
	begin = b.requests;
	while ((p.requests == NEVER || p.threshold == NEVER) && b.requests - begin < NEVER) {
		bool fresh = random_unit(random) < share;
		bool met = send_requests(&b, &base, fresh, fresh ? rate : base.base, random);

		p.met += met && fresh && p.requests == NEVER;
		/* Evidence grows with errors alone. */
		if (met && p.requests == NEVER && is_reverted(&b.by_client))
			p.requests = b.requests - begin;
		if (b.threshold && p.threshold == NEVER)
			p.threshold = b.requests - begin;
	}
	return p;
}

static void
worse_colors_are_rolled_back(void **state)
{
	static const double rates[] = { 0.01, 0.05, 0.2 }, shares[] = { 0.05, 0.5, 1 };
	unsigned rounds = scaled(10, 200);
	uint64_t random = 22;

	(void)state;
	assert_true(rounds <= 200);
	for (size_t r = 0; r < 3; r++)
		for (size_t s = 0; s < 3; s++) {
			uint64_t requests[200], met[200], threshold[200];

			for (unsigned i = 0; i < rounds; i++) {
				struct power p = bake_worse(rates[r], shares[s], &random);

				requests[i] = p.requests;
				met[i] = p.met;
				threshold[i] = p.threshold;
			}
			qsort(requests, rounds, sizeof(requests[0]), compare_u64);
			qsort(met, rounds, sizeof(met[0]), compare_u64);
			qsort(threshold, rounds, sizeof(threshold[0]), compare_u64);
			print_message(
				"0.1 %% -> %2.0f %%, share %3.0f %%: %7llu requests, %4llu clients met an error; "
				"threshold: %7llu\n",
				100 * rates[r], 100 * shares[s], (unsigned long long)requests[rounds / 2],
				(unsigned long long)met[rounds / 2],
				(unsigned long long)threshold[rounds / 2]);
			assert_true(requests[rounds - 1] < NEVER);
		}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_colors_are_not_rolled_back),
		cmocka_unit_test(a_control_before_knows_no_incident_after),
		cmocka_unit_test(worse_colors_are_rolled_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
