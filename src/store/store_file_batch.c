/* store_file_batch.c - the writes of the embedded store that go into one file: judged in their order, and answered when
 * the disk has them, or has not.
 * Thread: main. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/state_file.h"
#include "store/store_file_private.h"

/* While a claim holds it takes its token, and a token is for one that holds. */
static bool
has_token(const struct record *is, const char *token)
{
	return strcmp(token, record_claimed(is, clock_wall_us()) ? is->claim.token : "") == 0;
}

/* A hold that is on is named by what ends it, or follows it. */
static bool
names_hold(const struct record *is, const char *name)
{
	char holds[RECORD_HOLD_NAME];

	record_hold_name(is, clock_wall_us(), holds);
	return strcmp(name, holds) == 0;
}

/* Is the write still what its caller thought it was? */
static void
judge_pending(struct store_pending *p)
{
	struct state_service *v = p->service;
	const struct record *is = &v->next;

	if (!v->known) {
		p->verdict = why_set(&p->why, E_UNKNOWN_SERVICE, "the store has no service \"%s\"", v->name);
	} else if (is->epoch != p->expect_epoch) {
		p->verdict = why_set(&p->why, E_CONFLICT, "%s is %s at epoch %llu, not at epoch %llu",
				     v->name, color_word(is->color), (unsigned long long)is->epoch,
				     (unsigned long long)p->expect_epoch);
		p->against_next = v->record.epoch == p->expect_epoch;
	} else if (p->same) {
		p->verdict = OK;
	} else if (is->lock.on != p->saw_lock) {
		/* A lock has no epoch of its own: a write that did not know of it
		 * would wipe it out. */
		p->verdict = why_set(&p->why, E_CONFLICT, "%s was %s at the same time", v->name,
				     is->lock.on ? "locked" : "unlocked");
		p->against_next = v->record.lock.on == p->saw_lock;
	} else if (p->means == STORE_HOLD && !names_hold(is, p->token)) {
		p->verdict = why_set(&p->why, E_CONFLICT, "%s is held by another command, or not any more", v->name);
	} else if (p->means != STORE_LOCK && p->means != STORE_HOLD && !has_token(is, p->token)) {
		p->verdict = why_set(&p->why, E_CONFLICT, "%s is claimed by another, or not any more", v->name);
	} else if (!record_same_claim(is, &p->saw_claim)) {
		p->verdict = why_set(&p->why, E_CONFLICT, "%s was %s at the same time", v->name,
				     is->claim.on ? "claimed" : "released");
		p->against_next = record_same_claim(&v->record, &p->saw_claim);
	} else if (p->means != STORE_HOLD && !record_same_hold(is, &p->saw_claim)) {
		/* Whoever writes last would wipe it out. */
		p->verdict = why_set(&p->why, E_CONFLICT, "%s was %s at the same time", v->name, is->hold.on ? "held" : "let go");
		p->against_next = record_same_hold(&v->record, &p->saw_claim);
	} else if (!state_accept_record(&p->next) || p->next.epoch < is->epoch ||
		   (p->next.color != is->color && p->next.epoch == is->epoch)) {
		p->verdict = why_set(&p->why, E_INTERNAL, "%s at epoch %llu cannot become %s at epoch %llu",
				     v->name, (unsigned long long)is->epoch, color_word(p->next.color),
				     (unsigned long long)p->next.epoch);
	} else {
		p->verdict = OK;
	}
}

static void
judge_nodes(struct store_pending *p)
{
	const struct state_pool *pool = p->pool;

	if (pool->next.version + 1 == p->nodes.version) {
		p->verdict = OK;
		return;
	}
	p->verdict =
		why_set(&p->why, E_CONFLICT, "the nodes of %.64s were changed at the same time", pool->name);
	p->against_next = pool->now.version + 1 == p->nodes.version;
}

/* Those that are written as one, from the first of them on: all are as expected, or none is written. */
static void
judge_batch(struct store_file *f, struct store_pending *first)
{
	bool fine = true, against_next = false;

	for (struct link *l = &first->link; l != &f->writing; l = l->next) {
		struct store_pending *p = list_entry(l, struct store_pending, link);

		if (p->batch != first->batch)
			break;
		judge_pending(p);
		fine = fine && p->verdict == OK;
		against_next = against_next || p->against_next;
	}
	for (struct link *l = &first->link; !fine && l != &f->writing; l = l->next) {
		struct store_pending *p = list_entry(l, struct store_pending, link);

		if (p->batch != first->batch)
			break;
		if (p->verdict == OK)
			p->verdict = E_CONFLICT;
		p->against_next = against_next;
	}
}

static void
stage_nodes(struct store_pending *p)
{
	judge_nodes(p);
	if (p->verdict == OK)
		overlay_copy(&p->pool->next, &p->nodes);
}

bool
store_file_stage(struct store_file *f)
{
	bool any = false;
	uint64_t judged = 0;

	list_splice(&f->writing, &f->queue);
	LIST_EACH(l, &f->writing) {
		struct store_pending *p = list_entry(l, struct store_pending, link);

		if (p->pool != NULL) {
			stage_nodes(p);
			any = any || p->verdict == OK;
			continue;
		}
		if (p->batch != judged)
			judge_batch(f, p);
		judged = p->batch;
		if (p->verdict != OK || p->same)
			continue;
		p->service->next = p->next;
		if (p->entry != NULL)
			list_append(&f->entries, &p->entry->link);
		any = true;
	}
	return any;
}

void
store_file_remember_notes(struct store_file *f)
{
	LIST_EACH(l, &f->notes) {
		struct state_entry *e = list_entry(l, struct state_entry, link);

		list_remove(l);
		state_remember(&f->state, &e);
		f->dirty = true;
	}
}

/* Does a reader of the file see what was written? */
static bool
in_place(enum err result)
{
	return result == OK || result == E_UNKNOWN;
}

/* The same for nodes. */
static void
answer_nodes(struct store_file *f, struct store_pending *p, enum err result, const struct why *why)
{
	bool kept = in_place(result);

	if (p->verdict == OK && kept) {
		overlay_copy(&p->pool->now, &p->nodes);
		if (f->store.on_nodes != NULL)
			f->store.on_nodes(f->store.arg, p->pool->name, &p->nodes);
	}
	if (p->verdict == OK || (p->against_next && !kept)) {
		p->verdict = result;
		p->why = *why;
	}
	p->nodes_done(p->arg, p->verdict, p->verdict == OK ? NULL : &p->why);
	overlay_free(&p->nodes);
}

/* Memory follows what was written, and control is told. */
static void
settle_record(struct store_file *f, struct store_pending *p)
{
	struct state_service *v = p->service;
	struct record now;

	v->record = p->next;
	if (p->entry != NULL)
		state_remember(&f->state, &p->entry);
	now = v->record;
	if (f->store.on_record != NULL)
		f->store.on_record(f->store.arg, v->name, &now);
}

/* One write has its answer, and its record has been told. */
static void
answer_pending(struct store_pending *p, enum err result, const struct why *why)
{
	struct state_service *v = p->service;
	struct record now = v->record;

	if (p->verdict == OK || (p->against_next && !in_place(result))) {
		/* What it was in conflict with has not happened either. */
		p->verdict = result;
		p->why = *why;
	}
	p->done(p->arg, p->verdict, v->known ? &now : NULL, p->verdict == OK ? NULL : &p->why);
}

static void
free_pending(struct store_pending *p)
{
	if (p->entry != NULL)
		state_entry_free(&p->entry);
	free(p);
}

/* All records of what was written as one are told before the first of its callers is. */
static void
answer_batch(struct store_file *f, enum err result, const struct why *why)
{
	uint64_t batch = list_entry(list_first(&f->writing), struct store_pending, link)->batch;
	struct link all;

	list_init(&all);
	LIST_EACH(l, &f->writing) {
		struct store_pending *p = list_entry(l, struct store_pending, link);

		if (p->batch != batch)
			break;
		list_remove(l);
		list_append(&all, l);
		if (p->verdict == OK && in_place(result) && !p->same)
			settle_record(f, p);
	}
	LIST_EACH(l, &all) {
		struct store_pending *p = list_entry(l, struct store_pending, link);

		list_remove(l);
		answer_pending(p, result, why);
		free_pending(p);
	}
}

void
store_file_settle(struct store_file *f, enum err result, const struct why *why)
{
	LIST_EACH(l, &f->entries)
		list_remove(l);
	if (!in_place(result)) {
		for (size_t i = 0; i < f->state.n; i++)
			f->state.services[i]->next = f->state.services[i]->record;
		for (size_t i = 0; i < f->state.n_pools; i++)
			overlay_copy(&f->state.pools[i]->next, &f->state.pools[i]->now);
	}
	f->delivering = true;
	while (!list_empty(&f->writing)) {
		struct store_pending *p = list_entry(list_first(&f->writing), struct store_pending, link);

		if (p->pool == NULL) {
			answer_batch(f, result, why);
			continue;
		}
		list_remove(&p->link);
		answer_nodes(f, p, result, why);
		free_pending(p);
	}
	f->delivering = false;
	store_file_remember_notes(f);
}
