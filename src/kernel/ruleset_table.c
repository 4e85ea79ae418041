/* ruleset_table.c - what the kernel's table holds, what it is to hold, and the way
 * from one to the other.
 * Thread: the ruleset's own (or main, before that runs and after it has ended). */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "kernel/ruleset_table.h"

/* So long must nothing lead to a chain before it is deleted: packets that are in it
 * take nanoseconds. */
#define WASTE_AGE 1.0

struct ruleset_table *
ruleset_table_new(const struct ruleset_plan *p, struct nft *nft)
{
	struct ruleset_table *t = must_alloc(sizeof(*t));

	t->plan = p;
	t->nft = nft;
	t->services = must_array(p->n + 1, sizeof(*t->services));
	return t;
}

void
ruleset_table_free(struct ruleset_table **tp)
{
	struct ruleset_table *t = *tp;

	*tp = NULL;
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->plan->n; i++) {
		snapshot_unref(&t->services[i].want);
		snapshot_unref(&t->services[i].have);
	}
	free(t->services);
	free(t->dirty);
	free(t->waste);
	free(t);
}

enum err
ruleset_table_look(struct nft *nft, const struct ruleset_plan *p, bool *exists, struct why *why)
{
	struct nft_table found;
	enum err e = nft_table(nft, p->table, &found, why);

	*exists = found.exists;
	if (e != OK || !found.exists || strcmp(found.comment, p->comment) == 0)
		return e;
	if (strncmp(found.comment, "teal ", 5) == 0)
		return why_set(
			why, E_CONFLICT,
			"nftables' table inet %s belongs to another teald, \"%s\" (here: \"%s\"); give each a "
			"kernel.table of its own, or take it away: nft delete table inet %s",
			p->table, found.comment + 5, p->comment + 5, p->table);
	return why_set(
		why, E_CONFLICT,
		"nftables' table inet %s is not Teal's%s%s%s; choose another kernel.table, or take it away: nft "
		"delete table inet %s",
		p->table, found.comment[0] != '\0' ? ", it says \"" : "", found.comment,
		found.comment[0] != '\0' ? "\"" : "", p->table);
}

void
ruleset_table_want(struct ruleset_table *t, size_t service, struct snapshot *snapshot)
{
	struct ruleset_state *s = &t->services[service];

	snapshot_unref(&s->want);
	s->want = snapshot_ref(snapshot);
	if (s->is_dirty)
		return;
	s->is_dirty = true;
	t->dirty = must_grow(t->dirty, t->n_dirty + 1, sizeof(*t->dirty));
	t->dirty[t->n_dirty++] = service;
}

const struct snapshot_color *
ruleset_table_color(const struct snapshot *s, enum color c)
{
	static const struct snapshot_color no_backends;

	return s != NULL ? &s->colors[c] : &no_backends;
}

void
ruleset_table_done(struct ruleset_table *t)
{
	for (size_t i = 0; i < t->n_dirty; i++) {
		struct ruleset_state *s = &t->services[t->dirty[i]];

		s->is_dirty = false;
		snapshot_unref(&s->have);
		s->have = s->want != NULL ? snapshot_ref(s->want) : NULL;
	}
	t->n_dirty = 0;
}

/* -- waste ------------------------------------------------------------------------ */

void
ruleset_table_waste(struct ruleset_table *t, enum nft_kind kind, const char *name, bool is_empty)
{
	struct ruleset_waste *w;

	t->waste = must_grow(t->waste, t->n_waste + 1, sizeof(*t->waste));
	w = &t->waste[t->n_waste++];
	*w = (struct ruleset_waste){ .kind = kind, .is_empty = is_empty, .since = clock_now() };
	CHECK(str_copy(w->name, sizeof(w->name), str_from(name)));
}

/* What was to be deleted is wanted again. */
static bool
rescue(struct ruleset_table *t, const char *chain)
{
	for (size_t i = 0; i < t->n_waste; i++) {
		if (t->waste[i].kind != NFT_KIND_CHAIN || strcmp(t->waste[i].name, chain) != 0)
			continue;
		if (t->waste[i].is_empty)
			return false;
		t->waste[i] = t->waste[--t->n_waste];
		return true;
	}
	return false;
}

bool
ruleset_table_was_hurt(struct ruleset_table *t)
{
	bool was = t->was_hurt;

	t->was_hurt = false;
	return was;
}

bool
ruleset_table_has_waste(const struct ruleset_table *t)
{
	return t->n_waste > 0;
}

void
ruleset_table_sweep(struct ruleset_table *t, double now)
{
	/* Sets and counters are pointed at by chains. */
	static const enum nft_kind order[] = { NFT_KIND_CHAIN, NFT_KIND_SET, NFT_KIND_COUNTER };
	size_t left = 0;

	nft_begin(t->nft, t->plan->table);
	for (size_t k = 0; k < ARRAY_LEN(order); k++)
		for (size_t i = 0; i < t->n_waste; i++)
			if (t->waste[i].kind == order[k] && now - t->waste[i].since >= WASTE_AGE)
				nft_delete(t->nft, order[k], t->waste[i].name);
	/* It fails when foreign rules use what is Teal's, or it is gone already: that does
	 * no harm, and the next start looks again. */
	(void)!nft_commit(t->nft, NULL);
	for (size_t i = 0; i < t->n_waste; i++)
		if (now - t->waste[i].since < WASTE_AGE)
			t->waste[left++] = t->waste[i];
	t->n_waste = left;
}

/* -- changes ---------------------------------------------------------------------- */

/* The same chain comes of both. */
static bool
same_color(const struct snapshot_color *a, const struct snapshot_color *b)
{
	if (a->n != b->n || a->maglev != b->maglev)
		return false;
	for (unsigned i = 0; i < a->n; i++)
		if (a->usable[i] != b->usable[i] || a->weights[i] != b->weights[i])
			return false;
	return true;
}

/* Which chains the service needs; those that the table has not are added. */
static void
choose_chains(struct ruleset_table *t, size_t service)
{
	struct ruleset_state *s = &t->services[service];

	for (int c = 0; c < COLORS; c++) {
		const struct snapshot_color *sc = &s->want->colors[c];

		if (s->have != NULL && same_color(&s->have->colors[c], sc)) {
			strcpy(s->next[c], s->chains[c]);
			continue;
		}
		ruleset_color_chain(t->plan, service, (enum color)c, sc, 0, s->next[c], NULL);
		if (strcmp(s->next[c], s->chains[c]) != 0 && !rescue(t, s->next[c]))
			ruleset_color_chain_add(t->plan, service, sc, s->want->generation, s->next[c],
						t->nft);
	}
}

static void
replace_chain(struct ruleset_table *t, const struct ruleset_wants *old, const struct ruleset_wants *new)
{
	for (size_t i = 0; i < old->n; i++)
		nft_delete_element(t->nft, ruleset_set_names[old->list[i].set], &old->list[i].e);
	for (size_t i = 0; i < new->n; i++)
		nft_add_element(t->nft, ruleset_set_names[new->list[i].set], &new->list[i].e,
				t->plan->max_age);
}

static bool
same_marks(const struct snapshot *a, const struct snapshot *b)
{
	return a != NULL && b != NULL && a->active == b->active && a->refuse == b->refuse &&
	       a->epoch == b->epoch;
}

static void
change_service(struct ruleset_table *t, size_t service, struct ruleset_wants *old, struct ruleset_wants *new)
{
	struct ruleset_state *s = &t->services[service];

	for (int c = 0; c < COLORS; c++) {
		if (strcmp(s->chains[c], s->next[c]) == 0)
			continue;
		ruleset_want_color(t->plan, service, (enum color)c, s->chains[c], old);
		ruleset_want_color(t->plan, service, (enum color)c, s->next[c], new);
	}
	if (same_marks(s->have, s->want))
		return;
	ruleset_want_marks(t->plan, service, s->have, old);
	ruleset_want_marks(t->plan, service, s->want, new);
}

/* Only what changed, without a look at the rest. */
static enum err
change(struct ruleset_table *t, struct why *why)
{
	struct ruleset_wants old = { .n = 0 }, new = { .n = 0 };
	enum err e;

	nft_begin(t->nft, t->plan->table);
	for (size_t i = 0; i < t->n_dirty; i++)
		choose_chains(t, t->dirty[i]);
	for (size_t i = 0; i < t->n_dirty; i++)
		change_service(t, t->dirty[i], &old, &new);
	ruleset_wants_sort(&old);
	ruleset_wants_sort(&new);
	replace_chain(t, &old, &new);
	ruleset_wants_free(&old);
	ruleset_wants_free(&new);
	if ((e = nft_commit(t->nft, why)) != OK)
		return e;
	for (size_t i = 0; i < t->n_dirty; i++) {
		struct ruleset_state *s = &t->services[t->dirty[i]];

		for (int c = 0; c < COLORS; c++) {
			if (strcmp(s->chains[c], s->next[c]) == 0)
				continue;
			ruleset_table_waste(t, NFT_KIND_CHAIN, s->chains[c], false);
			strcpy(s->chains[c], s->next[c]);
		}
	}
	ruleset_table_done(t);
	return OK;
}

void
ruleset_table_doubt(struct ruleset_table *t)
{
	t->is_known = false;
}

enum err
ruleset_table_write(struct ruleset_table *t, struct why *why)
{
	enum err e;

	if (t->is_known && change(t, why) == OK)
		return OK;
	/* Something had expired, or another program changed the table: once more, after
	 * reading all of it. */
	t->is_known = false;
	for (int i = 0; i == 0 || (i < 3 && e == E_CONFLICT); i++)
		e = ruleset_table_mend(t, why);
	return e;
}

enum err
ruleset_table_renew(struct ruleset_table *t, struct why *why)
{
	struct ruleset_wants marks = { .n = 0 };

	if (t->plan->max_age <= 0)
		return OK;
	if (!t->is_known)
		return ruleset_table_write(t, why);
	for (size_t i = 0; i < t->plan->n; i++)
		ruleset_want_marks(t->plan, i, t->services[i].have, &marks);
	ruleset_wants_sort(&marks);
	nft_begin(t->nft, t->plan->table);
	replace_chain(t, &marks, &marks);
	ruleset_wants_free(&marks);
	if (nft_commit(t->nft, why) == OK)
		return OK;
	t->is_known = false;
	return ruleset_table_write(t, why);
}

enum err
ruleset_table_remove(struct ruleset_table *t, struct why *why)
{
	bool exists;
	enum err e = ruleset_table_look(t->nft, t->plan, &exists, why);

	if (e != OK || !exists)
		return e;
	nft_begin(t->nft, t->plan->table);
	nft_delete_table(t->nft);
	t->is_known = false;
	return nft_commit(t->nft, why);
}
