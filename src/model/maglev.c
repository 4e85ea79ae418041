/* maglev.c - makes the table.  Made by main, read by workers. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "model/maglev.h"

/* The size decides how evenly the slots are shared out and how many clients
 * move that need not: so many slots for each backend keep both within a
 * percent or so, and so many for the lightest give it its share. */
#define SLOTS_EACH 400
#define SLOTS_LIGHTEST 16

static const uint32_t primes[] = { 4099, 16411, 65537, 262147, 1048583 };

struct weighed {
	struct backend *backend;
	uint32_t weight;
};

static int
by_address(const void *a, const void *b)
{
	return strcmp(((const struct weighed *)a)->backend->text, ((const struct weighed *)b)->backend->text);
}

static uint32_t
choose_size(const struct maglev *m)
{
	uint64_t sum = 0, lightest = UINT64_MAX, wanted;

	for (uint32_t i = 0; i < m->n; i++) {
		sum += m->weights[i];
		if (m->weights[i] < lightest)
			lightest = m->weights[i];
	}
	wanted = sum / lightest * SLOTS_LIGHTEST;
	if (wanted < (uint64_t)m->n * SLOTS_EACH)
		wanted = (uint64_t)m->n * SLOTS_EACH;
	for (size_t i = 0; i < ARRAY_LEN(primes); i++)
		if (primes[i] >= wanted)
			return primes[i];
	return primes[ARRAY_LEN(primes) - 1];
}

/* One backend's own order of all slots: it takes the next one that is free. */
struct preference {
	uint32_t next, skip;
	uint64_t credit;
};

static uint32_t
claim_entry(const struct maglev *m, struct preference *p)
{
	uint32_t slot;

	do {
		slot = p->next;
		p->next = (uint32_t)(((uint64_t)p->next + p->skip) % m->size);
	} while (m->slots[slot] != MAGLEV_NONE);
	return slot;
}

/* All take turns, the heavier more often, until no slot is free. */
static void
fill_table(struct maglev *m)
{
	struct preference *all = must_array(m->n, sizeof(*all));
	uint64_t heaviest = 1;
	uint32_t left = m->size;

	for (uint32_t i = 0; i < m->n; i++) {
		const struct backend *b = m->backends[i];
		size_t n = strlen(b->text);

		all[i].next = (uint32_t)(hash_bytes(b->text, n, 1) % m->size);
		all[i].skip = (uint32_t)(hash_bytes(b->text, n, 2) % (m->size - 1) + 1);
		if (m->weights[i] > heaviest)
			heaviest = m->weights[i];
	}
	for (uint32_t i = 0; left > 0; i = (i + 1) % m->n) {
		all[i].credit += m->weights[i];
		if (all[i].credit < heaviest)
			continue;
		all[i].credit -= heaviest;
		m->slots[claim_entry(m, &all[i])] = i;
		left--;
	}
	free(all);
}

/* In the order of their addresses, those with a weight. */
static void
take_backends(struct maglev *m, struct backend *const *backends, const uint32_t *weights, size_t n)
{
	struct weighed *all = must_array(n, sizeof(*all));

	for (size_t i = 0; i < n; i++)
		if (weights[i] > 0)
			all[m->n++] = (struct weighed){ backends[i], weights[i] };
	if (m->n > 0)
		qsort(all, m->n, sizeof(*all), by_address);
	m->backends = must_array(m->n, sizeof(struct backend *));
	m->weights = must_array(m->n, sizeof(*m->weights));
	for (uint32_t i = 0; i < m->n; i++) {
		m->backends[i] = backend_ref(all[i].backend);
		m->weights[i] = all[i].weight;
	}
	free(all);
}

struct maglev *
maglev_new_sized(struct backend *const *backends, const uint32_t *weights, size_t n, uint32_t size)
{
	struct maglev *m = must_alloc(sizeof(*m));

	atomic_init(&m->refs, 1);
	take_backends(m, backends, weights, n);
	if (m->n == 0)
		return m;
	m->size = size > 0 ? size : choose_size(m);
	m->slots = must_array(m->size, sizeof(uint32_t));
	memset(m->slots, 0xff, m->size * sizeof(uint32_t));
	fill_table(m);
	return m;
}

struct maglev *
maglev_new(struct backend *const *backends, size_t n)
{
	uint32_t *weights = must_array(n, sizeof(*weights));
	struct maglev *m;

	for (size_t i = 0; i < n; i++)
		weights[i] = backend_weight(backends[i]);
	m = maglev_new_sized(backends, weights, n, 0);
	free(weights);
	return m;
}

struct maglev *
maglev_ref(struct maglev *m)
{
	atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
	return m;
}

void
maglev_unref(struct maglev **mp)
{
	struct maglev *m = *mp;

	*mp = NULL;
	if (m == NULL || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (uint32_t i = 0; i < m->n; i++)
		backend_unref(&m->backends[i]);
	free(m->backends);
	free(m->weights);
	free(m->slots);
	free(m);
}
