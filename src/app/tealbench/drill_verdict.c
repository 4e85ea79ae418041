/* drill_verdict.c - what a drill's answers prove.  Pure but for the counters
 * that threads share; any thread. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "app/tealbench/drill_verdict.h"

bool
drill_may_answer(const struct drill_flips *flips, uint64_t began, uint64_t ended, unsigned color)
{
	unsigned n = atomic_load_explicit(&flips->n, memory_order_acquire);
	uint64_t applied;

	while (n-- > 0) {
		struct drill_flip *f = &flips->list[n];

		if (atomic_load(&f->refused) || atomic_load(&f->asked) > ended)
			continue;
		if (f->color == color)
			return true;
		applied = atomic_load(&f->applied);
		if (applied != 0 && applied <= began)
			return false;
	}
	return flips->first == color;
}

void
timeline_init(struct timeline *t, uint64_t began, uint64_t width)
{
	memset(t, 0, sizeof(*t));
	t->began = began;
	t->width = width;
}

static void
timeline_fold(struct timeline *t)
{
	for (unsigned lane = 0; lane < TIMELINE_LANES; lane++) {
		uint32_t *c = t->count[lane];

		for (unsigned i = 0; i < TIMELINE_SLOTS / 2; i++)
			c[i] = c[2 * i] + c[2 * i + 1];
		memset(c + TIMELINE_SLOTS / 2, 0, sizeof(*c) * TIMELINE_SLOTS / 2);
	}
	t->width *= 2;
	t->used = (t->used + 1) / 2;
}

static uint32_t *
timeline_slot(struct timeline *t, unsigned lane, uint64_t at)
{
	uint64_t since = at > t->began ? at - t->began : 0;
	unsigned i;

	while (since / t->width >= TIMELINE_SLOTS)
		timeline_fold(t);
	i = (unsigned)(since / t->width);
	if (i >= t->used)
		t->used = i + 1;
	return &t->count[lane][i];
}

void
timeline_add(struct timeline *t, unsigned lane, uint64_t at)
{
	(*timeline_slot(t, lane, at))++;
}

void
timeline_merge(struct timeline *to, const struct timeline *from)
{
	while (to->width < from->width)
		timeline_fold(to);
	for (unsigned lane = 0; lane < TIMELINE_LANES; lane++)
		for (unsigned i = 0; i < from->used; i++)
			*timeline_slot(to, lane, from->began + i * from->width) += from->count[lane][i];
}

void
silence_broken(struct silence *s, uint64_t now)
{
	uint64_t before = atomic_exchange_explicit(&s->last, now, memory_order_relaxed);
	uint64_t longest = atomic_load_explicit(&s->longest, memory_order_relaxed);

	/* The first breaks none; threads may come in a little out of order. */
	while (before != 0 && now > before && now - before > longest) {
		if (!atomic_compare_exchange_weak(&s->longest, &longest, now - before))
			continue;
		atomic_store_explicit(&s->since, before, memory_order_relaxed);
		break;
	}
}

bool
drill_verdict(const struct drill_count *c, char text[256])
{
	struct {
		uint64_t n;
		const char *words;
	} faults[] = {
		{ c->failed, "lost" },
		{ c->wrong, "on the wrong color" },
		{ c->late, "late" },
		{ c->unnamed, "from unknown backends" },
		{ c->broken, "streams broken" },
	};
	size_t at = 0;
	bool good = true;

	text[0] = '\0';
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		if (faults[i].n == 0)
			continue;
		at += (size_t)snprintf(text + at, 256 - at, "%s%" PRIu64 " %s", at > 0 ? ", " : "",
				       faults[i].n, faults[i].words);
		good = false;
	}
	if (c->flips_wanted > c->flips_made) {
		at += (size_t)snprintf(text + at, 256 - at, "%s%" PRIu64 " %s not made", at > 0 ? ", " : "",
				       c->flips_wanted - c->flips_made, c->turns);
		good = false;
	}
	if (c->interrupted || c->right + c->wrong == 0) {
		snprintf(text + at, 256 - at, "%s%s", at > 0 ? ", " : "",
			 c->interrupted ? "interrupted" : "nothing was answered");
		good = false;
	}
	if (good)
		snprintf(text, 256, "nothing was lost");
	return good;
}
