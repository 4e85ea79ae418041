/* ruleset_slots.c - which backend gets which slot.  Pure, any thread. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "kernel/ruleset_private.h"

/* Slots that weights may come to; more are shared out within a part in so many. */
#define TURNS_MAX 512
/* Slots of a source table for each backend, and for the lightest: with a dozen, shares
 * are within some percent, and a thousand services still load in a second. */
#define SOURCE_EACH 12
#define SOURCE_LIGHTEST 4

/* Beyond that only so that every backend has one. */
#define SOURCE_MANY 4093

static const uint32_t primes[] = { 251, 509, 1021, 2039, SOURCE_MANY, 16381, 65521, 262139, 1048573 };

static bool
has_family(const struct backend *b, int family)
{
	return addr_family(&b->address) == family;
}

/* -- in turn ------------------------------------------------------------------------ */

static uint64_t
common(uint64_t a, uint64_t b)
{
	while (b != 0) {
		uint64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* The weights in as few slots as they can be had: exactly, or nearly. */
static unsigned
scale(uint32_t *weights, unsigned n)
{
	uint64_t sum = 0, measure = 0, slots = 0;
	unsigned most = TURNS_MAX > 4 * n ? TURNS_MAX : 4 * n;

	for (unsigned i = 0; i < n; i++) {
		measure = common(measure, weights[i]);
		sum += weights[i];
	}
	CHECK(measure > 0);	/* no weight of a snapshot is 0 */
	for (unsigned i = 0; i < n; i++) {
		if (sum / measure <= most)
			weights[i] = (uint32_t)(weights[i] / measure);
		else
			weights[i] = (uint32_t)((uint64_t)weights[i] * most / sum);
		/* Who is hardly wanted is wanted. */
		if (weights[i] == 0)
			weights[i] = 1;
		slots += weights[i];
	}
	return (unsigned)slots;
}

/* Each gets what its weight is worth, and who is owed most has its turn and pays for all,
 * as in model/balance.h. */
static void
turns(struct ruleset_slots *s, const uint32_t *places, const uint32_t *weights, unsigned n)
{
	int64_t *owed = must_array(n, sizeof(*owed));

	for (unsigned slot = 0; slot < s->n; slot++) {
		unsigned best = 0;

		for (unsigned i = 0; i < n; i++) {
			owed[i] += weights[i];
			if (owed[i] > owed[best])
				best = i;
		}
		owed[best] -= s->n;
		s->list[slot] = places[best];
	}
	free(owed);
}

static void
make_turns(struct ruleset_slots *s, const struct snapshot_color *color, int family)
{
	uint32_t *places = must_array(color->n, sizeof(*places));
	uint32_t *weights = must_array(color->n, sizeof(*weights));
	unsigned n = 0;

	for (unsigned i = 0; i < color->n; i++) {
		if (!has_family(color->usable[i], family))
			continue;
		places[n] = i;
		weights[n++] = color->weights[i];
	}
	if (n > 0) {
		s->n = scale(weights, n);
		s->list = must_array(s->n, sizeof(*s->list));
		turns(s, places, weights, n);
	}
	free(places);
	free(weights);
}

/* -- by source ---------------------------------------------------------------------- */

static uint32_t
source_size(const uint32_t *weights, uint32_t n)
{
	uint64_t sum = 0, lightest = UINT64_MAX, wanted, needed;

	for (uint32_t i = 0; i < n; i++) {
		sum += weights[i];
		if (weights[i] < lightest)
			lightest = weights[i];
	}
	wanted = sum / lightest * SOURCE_LIGHTEST;
	if (wanted < (uint64_t)n * SOURCE_EACH)
		wanted = (uint64_t)n * SOURCE_EACH;
	needed = sum * 3 / 2 / lightest;
	if (wanted > SOURCE_MANY)
		wanted = needed > SOURCE_MANY ? needed : SOURCE_MANY;
	for (size_t i = 0; i < ARRAY_LEN(primes); i++)
		if (primes[i] >= wanted)
			return primes[i];
	return primes[ARRAY_LEN(primes) - 1];
}

/* Who has the slot while its owner is not usable: weighted rendezvous hashing, so that
 * slots of one that is lost go to all others. */
static uint32_t
heir(const struct snapshot_color *color, int family, uint32_t slot)
{
	uint32_t best = MAGLEV_NONE;
	double most = 0;

	for (unsigned i = 0; i < color->n; i++) {
		const struct backend *b = color->usable[i];
		uint32_t weight = backend_weight(b);
		double unit, score;

		if (!has_family(b, family))
			continue;
		unit = ((double)(hash_bytes(b->text, strlen(b->text), slot) >> 11) + 0.5) /
		       9007199254740992.0;
		score = (weight > 0 ? weight : 1) / -log(unit);
		if (best == MAGLEV_NONE || score > most) {
			best = i;
			most = score;
		}
	}
	return best;
}

static uint32_t
place_in_color(const struct snapshot_color *color, const struct backend *b)
{
	for (unsigned i = 0; i < color->n; i++)
		if (color->usable[i] == b)
			return i;
	return MAGLEV_NONE;
}

/* Owners are all backends of the color, usable or not, by the weights that the table has: main changes theirs meanwhile. */
static void
make_source(struct ruleset_slots *s, const struct snapshot_color *color, int family)
{
	const struct maglev *whole = color->maglev;
	struct backend **owners = must_array(whole->n + 1, sizeof(struct backend *));
	uint32_t *weights = must_array(whole->n + 1, sizeof(*weights)), n = 0, *places;
	struct maglev *m;
	bool any = false;

	for (uint32_t i = 0; i < whole->n; i++)
		if (has_family(whole->backends[i], family)) {
			weights[n] = whole->weights[i];
			owners[n++] = whole->backends[i];
		}
	for (unsigned i = 0; i < color->n; i++)
		any |= has_family(color->usable[i], family);
	if (n == 0 || !any) {
		free(owners);
		free(weights);
		return;
	}
	m = maglev_new_sized(owners, weights, n, source_size(weights, n));
	places = must_array(m->n, sizeof(*places));
	for (uint32_t i = 0; i < m->n; i++)
		places[i] = place_in_color(color, m->backends[i]);
	s->n = m->size;
	s->hash = true;
	s->list = must_array(s->n, sizeof(*s->list));
	for (uint32_t slot = 0; slot < s->n; slot++) {
		uint32_t place = places[m->slots[slot]];

		s->list[slot] = place != MAGLEV_NONE ? place : heir(color, family, slot);
	}
	free(places);
	free(owners);
	free(weights);
	maglev_unref(&m);
}

/* -- either ------------------------------------------------------------------------- */

void
ruleset_slots_make(struct ruleset_slots *s, const struct snapshot_color *color, int family, bool hash)
{
	*s = (struct ruleset_slots){ .n = 0 };
	if (color->n == 0)
		return;
	if (hash && color->maglev != NULL && color->maglev->n > 0)
		make_source(s, color, family);
	if (s->n == 0)
		make_turns(s, color, family);
}

void
ruleset_slots_free(struct ruleset_slots *s)
{
	free(s->list);
	*s = (struct ruleset_slots){ .n = 0 };
}
