/* snapshot.c - life of a snapshot.  Built by main, read by workers. */
#include <stdlib.h>

#include "base/check.h"
#include "model/snapshot.h"

struct snapshot *
snapshot_new(uint64_t generation, uint64_t epoch, enum color active, const unsigned n[COLORS])
{
	struct snapshot *s = must_alloc(sizeof(*s));

	atomic_init(&s->refs, 1);
	s->generation = generation;
	s->epoch = epoch;
	s->active = active;
	for (int c = 0; c < COLORS; c++) {
		s->colors[c].usable = must_array(n[c], sizeof(struct backend *));
		s->colors[c].weights = must_array(n[c], sizeof(uint32_t));
		s->colors[c].n = n[c];
	}
	return s;
}

struct snapshot *
snapshot_ref(struct snapshot *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

bool
snapshot_shifts(const struct snapshot *a, const struct snapshot *b)
{
	if (!a->shared || !b->shared)
		return a->shared != b->shared;
	return a->threshold != b->threshold || a->low != b->low || a->diverted != b->diverted || a->from != b->from ||
	       a->key.k[0] != b->key.k[0] || a->key.k[1] != b->key.k[1];
}

bool
snapshot_uses(const struct snapshot *s, const struct backend *b)
{
	const struct snapshot_color *c = &s->colors[b->color];

	for (unsigned i = 0; i < c->n; i++)
		if (c->usable[i] == b)
			return true;
	return false;
}

bool
snapshot_has_leaving(const struct snapshot *s)
{
	for (int c = 0; c < COLORS; c++)
		for (unsigned i = 0; i < s->colors[c].n_leaving; i++)
			if (atomic_load_explicit(&s->colors[c].leaving[i].backend->connections, memory_order_relaxed) > 0)
				return true;
	return false;
}

void
snapshot_unref(struct snapshot **sp)
{
	struct snapshot *s = *sp;

	*sp = NULL;
	if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (int c = 0; c < COLORS; c++) {
		for (unsigned i = 0; i < s->colors[c].n; i++)
			backend_unref(&s->colors[c].usable[i]);
		for (unsigned i = 0; i < s->colors[c].n_down; i++)
			backend_unref(&s->colors[c].down[i]);
		free(s->colors[c].usable);
		for (unsigned i = 0; i < s->colors[c].n_leaving; i++)
			backend_unref(&s->colors[c].leaving[i].backend);
		free(s->colors[c].down);
		free(s->colors[c].leaving);
		free(s->colors[c].weights);
		free(s->colors[c].sums);
		free(s->colors[c].places);
		maglev_unref(&s->colors[c].maglev);
	}
	free(s);
}
