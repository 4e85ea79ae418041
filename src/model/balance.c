/* balance.c - choosing a backend.  Any thread. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "model/balance.h"

#define NONE UINT32_MAX
/* The seed of the clients' hash; others would give other tables' users the
 * same collisions. */
#define SOURCE_SEED 3
/* How often least_conn looks again when another worker came in between. */
#define LOOK_AGAIN 8
/* How often one is drawn before the next that fits is taken. */
#define DRAWS 4

/* -- what is made with a snapshot ----------------------------------------- */

void
balance_prepare(struct snapshot_color *sc, struct maglev *maglev)
{
	uint64_t sum = 0;

	sc->sums = must_array(sc->n, sizeof(*sc->sums));
	sc->equal = true;
	for (unsigned i = 0; i < sc->n; i++) {
		CHECK(sc->weights[i] > 0);
		sc->sums[i] = sum += sc->weights[i];
		sc->equal &= sc->weights[i] == sc->weights[0];
	}
	if (maglev == NULL)
		return;
	sc->maglev = maglev_ref(maglev);
	sc->places = must_array(maglev->n, sizeof(*sc->places));
	for (uint32_t k = 0; k < maglev->n; k++) {
		sc->places[k] = MAGLEV_NONE;
		for (unsigned i = 0; i < sc->n; i++)
			if (sc->usable[i] == maglev->backends[k])
				sc->places[k] = i;
	}
}

/* -- who is out of the question --------------------------------------------- */

static uint32_t
connections(const struct backend *b)
{
	return atomic_load_explicit(&b->connections, memory_order_relaxed);
}

static bool
fits_holding(const struct backend *b, uint32_t held, const struct balance_ask *ask)
{
	for (unsigned k = 0; k < ask->n_tried; k++)
		if (ask->tried[k] == b)
			return false;
	return ask->limit == 0 || held < ask->limit;
}

static bool
backend_fits(const struct snapshot_color *sc, unsigned i, const struct balance_ask *ask)
{
	return fits_holding(sc->usable[i], ask->limit > 0 ? connections(sc->usable[i]) : 0, ask);
}

/* -- at random --------------------------------------------------------------- */

/* Whose part of the sum of weights `at` lies in. */
static unsigned
owner(const struct snapshot_color *sc, uint64_t at)
{
	unsigned low = 0, high = sc->n - 1;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (at < sc->sums[middle])
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* One at random, the heavier more often. */
static unsigned
draw_by_weight(const struct snapshot_color *sc, uint64_t *random)
{
	return owner(sc, random_next(random) % sc->sums[sc->n - 1]);
}

/* One in turn, the heavier more often: steps of the golden section visit every
 * part of the sum as evenly as can be. */
static unsigned
step_turn(const struct snapshot_color *sc, struct balance_round *r)
{
	uint64_t at = r->turn++ * UINT64_C(0x9e3779b97f4a7c15);

	return owner(sc, (uint64_t)(((unsigned __int128)at * sc->sums[sc->n - 1]) >> 64));
}

/* One that fits, for who has tried others before.  At random, because a turn
 * that is taken for a second try would bring the next client to the dead one
 * again, and a fixed successor would get all that the dead one loses. */
static uint32_t
another(const struct snapshot_color *sc, const struct balance_ask *ask)
{
	unsigned i = 0;

	for (int k = 0; k < DRAWS; k++)
		if (backend_fits(sc, i = draw_by_weight(sc, ask->random), ask))
			return i;
	for (unsigned k = 0; k < sc->n; k++)
		if (backend_fits(sc, (i + k) % sc->n, ask))
			return (i + k) % sc->n;
	return NONE;
}

/* -- round_robin -------------------------------------------------------------- */

/* Each gets what its weight is worth, and who is owed most has its turn and
 * pays for all (as in nginx): of weights 5, 1, 1 the turns are a a b a c a a. */
static uint32_t
smooth(const struct snapshot_color *sc, struct balance_round *r, const struct balance_ask *ask)
{
	uint32_t best = NONE;
	int64_t total = 0;

	for (unsigned i = 0; i < sc->n; i++) {
		if (ask != NULL && !backend_fits(sc, i, ask))
			continue;
		r->owed[i] += sc->weights[i];
		total += sc->weights[i];
		if (best == NONE || r->owed[i] > r->owed[best])
			best = i;
	}
	if (best != NONE)
		r->owed[best] -= total;
	return best;
}

static uint32_t
round_robin(const struct snapshot_color *sc, struct balance_round *r, const struct balance_ask *ask)
{
	if (ask->n_tried > 0)
		return another(sc, ask);
	if (!sc->equal)
		return smooth(sc, r, ask);
	/* The same for equal weights, without a look at all of them. */
	for (unsigned k = 0; k < sc->n; k++) {
		unsigned i = (unsigned)((r->turn + k) % sc->n);

		if (!backend_fits(sc, i, ask))
			continue;
		r->turn += k + 1;
		return i;
	}
	return NONE;
}

void
balance_round_init(struct balance_round *r, unsigned turn)
{
	*r = (struct balance_round){ .turn = turn };
}

void
balance_round_free(struct balance_round *r)
{
	free(r->owed);
	r->owed = NULL;
	r->n = 0;
}

void
balance_round_move(struct balance_round *r, const struct snapshot_color *old,
		   const struct snapshot_color *next)
{
	unsigned was = old != NULL && r->owed != NULL ? old->n : 0;
	int64_t *owed;

	if (next->equal) {
		balance_round_free(r);
		return;
	}
	owed = must_array(next->n, sizeof(*owed));
	/* Both are in the service's order, so that each search is short. */
	for (unsigned i = 0, at = 0; i < next->n; i++)
		for (unsigned k = 0; k < was; k++) {
			unsigned place = (at + k) % was;

			if (old->usable[place] != next->usable[i])
				continue;
			owed[i] = r->owed[place];
			at = place + 1;
			break;
		}
	free(r->owed);
	r->owed = owed;
	r->n = next->n;
	if (was == 0)
		for (unsigned k = 0; k < r->turn % next->n; k++)
			(void)smooth(next, r, NULL);
}

/* -- least_conn and p2c ----------------------------------------------------------- */

/* Has a fewer connections for its weight than b, the new one counted?  With
 * it among idle ones the heaviest comes first. */
static bool
is_lighter(const struct snapshot_color *sc, unsigned a, uint32_t held_a, unsigned b, uint32_t held_b)
{
	return ((uint64_t)held_a + 1) * sc->weights[b] < ((uint64_t)held_b + 1) * sc->weights[a];
}

/* held: the connections it was chosen for. */
static uint32_t
least(const struct snapshot_color *sc, struct balance_round *r, const struct balance_ask *ask, uint32_t *held)
{
	unsigned first = sc->n > 0 ? (unsigned)(r->turn++ % sc->n) : 0;
	uint32_t best = NONE;

	for (unsigned k = 0; k < sc->n; k++) {
		unsigned i = first + k < sc->n ? first + k : first + k - sc->n;
		uint32_t now = connections(sc->usable[i]);

		if (!fits_holding(sc->usable[i], now, ask) ||
		    (best != NONE && !is_lighter(sc, i, now, best, *held)))
			continue;
		best = i;
		*held = now;
	}
	return best;
}

/* Two workers that look at the same moment must not both go to the same one:
 * who comes second looks again. */
static struct backend *
take_least_loaded(const struct snapshot_color *sc, struct balance_round *r, const struct balance_ask *ask)
{
	for (int i = 0; i < LOOK_AGAIN; i++) {
		uint32_t held, at = least(sc, r, ask, &held);

		if (at == NONE)
			return NULL;
		if (atomic_compare_exchange_strong_explicit(&sc->usable[at]->connections, &held, held + 1,
							    memory_order_relaxed, memory_order_relaxed))
			return sc->usable[at];
	}
	return NULL;
}

/* One of the two is drawn, the other has its turn.  Were both drawn, among many
 * backends some would be forgotten for long; so each is looked at as often as
 * it is due, and the one that has too little takes its share back. */
static uint32_t
better_of_two(const struct snapshot_color *sc, struct balance_round *r, const struct balance_ask *ask)
{
	unsigned a = step_turn(sc, r), b = a;
	bool a_fits, b_fits;

	for (int i = 0; i < DRAWS && b == a; i++)
		b = draw_by_weight(sc, ask->random);
	if (b == a)
		b = (a + 1) % sc->n;
	a_fits = backend_fits(sc, a, ask);
	b_fits = backend_fits(sc, b, ask);
	if (a_fits && b_fits)
		return is_lighter(sc, b, connections(sc->usable[b]), a, connections(sc->usable[a])) ? b : a;
	return a_fits ? a : b_fits ? b : NONE;
}

/* -- source_hash ---------------------------------------------------------------------- */

/* Who would have the client if those that are out of the question were not
 * there (weighted rendezvous hashing): each client's second choice is its own,
 * so the load of a lost backend is spread over all. */
static uint32_t
rendezvous(const struct snapshot_color *sc, const struct balance_ask *ask, uint64_t hash)
{
	uint32_t best = NONE;
	double most = 0;

	for (unsigned i = 0; i < sc->n; i++) {
		const struct backend *b = sc->usable[i];
		double unit, score;

		if (!backend_fits(sc, i, ask))
			continue;
		unit = ((double)(hash_bytes(b->text, strlen(b->text), hash) >> 11) + 0.5) /
		       9007199254740992.0;
		score = backend_weight(b) / -log(unit);
		if (best == NONE || score > most) {
			best = i;
			most = score;
		}
	}
	return best;
}

static uint32_t
by_source(const struct snapshot_color *sc, const struct balance_ask *ask)
{
	uint64_t hash = hash_bytes(ask->source, ask->source_len, SOURCE_SEED);
	uint32_t owner = maglev_find(sc->maglev, hash), place;

	place = owner != MAGLEV_NONE ? sc->places[owner] : MAGLEV_NONE;
	if (place != MAGLEV_NONE && backend_fits(sc, place, ask))
		return place;
	return rendezvous(sc, ask, hash);
}

/* -- the choice --------------------------------------------------------------------------- */

static uint32_t
choose_backend(const struct snapshot_color *sc, struct balance_round *r, const struct balance_ask *ask)
{
	uint32_t held, found;

	switch (ask->policy) {
	case BALANCE_ROUND_ROBIN:
		break;
	case BALANCE_LEAST_CONN:
		return least(sc, r, ask, &held);
	case BALANCE_P2C:
		found = better_of_two(sc, r, ask);
		return found != NONE ? found : least(sc, r, ask, &held);
	case BALANCE_SOURCE_HASH:
		if (ask->source == NULL || sc->maglev == NULL)
			break;
		return by_source(sc, ask);
	}
	return round_robin(sc, r, ask);
}

struct backend *
balance_take(const struct snapshot_color *sc, struct balance_round *r, const struct balance_ask *ask)
{
	struct backend *b;
	uint32_t at;

	if (sc->n == 0)
		return NULL;
	if (ask->policy == BALANCE_LEAST_CONN && (b = take_least_loaded(sc, r, ask)) != NULL)
		return b;
	/* The last place may go to another worker between the look and the step;
	 * then that backend is full, and the next look sees it. */
	do {
		at = choose_backend(sc, r, ask);
		if (at == NONE)
			return NULL;
	} while (!backend_enter(sc->usable[at], ask->limit));
	return sc->usable[at];
}
