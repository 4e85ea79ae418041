/* store_file.c - the embedded store: the truth about colors in one file of
 * state_dir.
 *
 * Memory holds what the file holds; the lock sees to it that no other process
 * writes it.  Writes wait in a queue.  All that wait when the disk becomes
 * free go into one new file, in their order, each checked against what those
 * before it made of the record; memory follows, and callers are told, only
 * after the disk has.  One file write is under way at a time.
 *
 * Should the folder's fsync fail after the rename, then a reader of the file sees
 * the new one: so memory follows here as well, and the writer is told
 * E_UNKNOWN, since a crash of the machine may still undo it.
 *
 * Thread: main; the disk is the helper's (struct disk_job). */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/state_claims.h"
#include "store/state_disk.h"
#include "store/state_file.h"
#include "store/state_orphans.h"
#include "store/store.h"

#define STORE_FILE_MAGIC 0x73746f66u

/* Refused flips reach the disk at the latest so many seconds after they
 * happened; a disk that failed is tried again as often. */
#define NOTES_EVERY 1.0
#define RETRY_EVERY 5.0

/* A write that waits, or is in the file now being written. */
struct pending {
	struct link link;
	struct state_service *service;	/* NULL: it is about nodes */
	struct state_pool *pool;	/* of those */
	struct overlay nodes;
	store_nodes_fn *nodes_done;
	uint64_t expect_epoch;
	bool saw_lock;	/* locked, as far as the caller knew */
	struct record saw_claim;	/* what its claim was for the caller */
	enum store_meaning means;
	char token[CLAIM_HASH];	/* "": none is presented */
	struct record next;
	struct state_entry *entry;	/* NULL once it is in the history, or where none is wanted */
	enum err verdict;	/* of the check against the record */
	bool against_next;	/* a conflict with a write of the same file */
	store_done_fn *done;
	void *arg;
	struct why why;
};

/* What the helper thread works on: its own copy of everything. */
struct disk_job {
	struct job job;
	struct store_file *store;
	const struct state_disk *disk;	/* only its paths */
	struct buf payload;
	struct claims_write claims;
	enum err result;
	struct why why;
};

struct store_file {
	struct store store;
	uint32_t magic;
	const struct config *config;
	uint64_t configurations;	/* whose records have been told */
	struct jobs *jobs;
	struct ev_loop *loop;
	bool opened;
	struct state state;
	struct state_disk disk;
	struct state_claims claims;

	struct link queue;	/* struct pending */
	struct link writing;	/* those in the file now being written */
	struct link entries;	/* their lines for the history, not in it yet */
	struct link notes;	/* lines added meanwhile */
	bool busy;	/* a file is being written */
	bool delivering;	/* callbacks are being called */
	bool dirty;	/* memory has lines, or the disk a doubt, that a write would settle */
	bool up;	/* the last write went well */
	double well;	/* clock_now() then */
	double written;	/* clock_now() of the last attempt */
	ev_timer soon;	/* begins a write; at once, or when notes have waited */
};

static struct store_file *
store_file_of(const struct store *s)
{
	struct store_file *f = container_of(s, struct store_file, store);

	CHECK(f->magic == STORE_FILE_MAGIC);
	return f;
}

/* Waking up, not later than it was going to. */
static void
write_within(struct store_file *f, double seconds)
{
	if (f->busy)
		return;	/* looked at when it ends */
	if (ev_is_active(&f->soon) && ev_timer_remaining(f->loop, &f->soon) <= seconds)
		return;
	ev_timer_stop(f->loop, &f->soon);
	ev_timer_set(&f->soon, seconds, 0);
	ev_timer_start(f->loop, &f->soon);
}

static void
schedule(struct store_file *f)
{
	double rest;

	if (!list_empty(&f->queue)) {
		write_within(f, 0);
	} else if (f->dirty) {
		rest = f->written + (f->up ? NOTES_EVERY : RETRY_EVERY) - clock_now();
		write_within(f, rest > 0 ? rest : 0);
	}
}

/* While a claim holds it takes its token, and a token is for one that holds. */
static bool
has_token(const struct record *is, const char *token)
{
	return strcmp(token, record_claimed(is, clock_wall_us()) ? is->claim.token : "") == 0;
}

/* Is the write still what its caller thought it was? */
static void
judge_pending(struct pending *p)
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
	} else if (is->lock.on != p->saw_lock) {
		/* A lock has no epoch of its own: a write that did not know of it
		 * would wipe it out. */
		p->verdict = why_set(&p->why, E_CONFLICT, "%s was %s at the same time", v->name,
				     is->lock.on ? "locked" : "unlocked");
		p->against_next = v->record.lock.on == p->saw_lock;
	} else if (p->means != STORE_LOCK && !has_token(is, p->token)) {
		p->verdict = why_set(&p->why, E_CONFLICT, "%s is claimed by another, or not any more", v->name);
	} else if (!record_same_claim(is, &p->saw_claim)) {
		p->verdict = why_set(&p->why, E_CONFLICT, "%s was %s at the same time", v->name,
				     is->claim.on ? "claimed" : "released");
		p->against_next = record_same_claim(&v->record, &p->saw_claim);
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
judge_nodes(struct pending *p)
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

static void
stage_nodes(struct pending *p)
{
	judge_nodes(p);
	if (p->verdict == OK)
		overlay_copy(&p->pool->next, &p->nodes);
}

/* Takes the queue, in its order; true when anything of it is to be written. */
static bool
stage(struct store_file *f)
{
	bool any = false;

	list_splice(&f->writing, &f->queue);
	LIST_EACH(l, &f->writing) {
		struct pending *p = list_entry(l, struct pending, link);

		if (p->pool != NULL) {
			stage_nodes(p);
			any = any || p->verdict == OK;
			continue;
		}
		judge_pending(p);
		if (p->verdict != OK)
			continue;
		p->service->next = p->next;
		if (p->entry != NULL)
			list_append(&f->entries, &p->entry->link);
		any = true;
	}
	return any;
}

static void
remember_notes(struct store_file *f)
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
answer_nodes(struct store_file *f, struct pending *p, enum err result, const struct why *why)
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

/* One write has its answer: memory follows, then its caller is told. */
static void
answer_pending(struct store_file *f, struct pending *p, enum err result, const struct why *why)
{
	struct state_service *v = p->service;
	bool kept = in_place(result);
	struct record now;

	if (p->verdict == OK && kept) {
		v->record = p->next;
		if (p->entry != NULL)
			state_remember(&f->state, &p->entry);
		now = v->record;
		if (f->store.on_record != NULL)
			f->store.on_record(f->store.arg, v->name, &now);
	} else {
		now = v->record;
	}
	if (p->verdict == OK || (p->against_next && !kept)) {
		/* What it was in conflict with has not happened either. */
		p->verdict = result;
		p->why = *why;
	}
	p->done(p->arg, p->verdict, v->known ? &now : NULL, p->verdict == OK ? NULL : &p->why);
}

/* The file was written, or not, or nothing of the batch needed one. */
static void
settle_batch(struct store_file *f, enum err result, const struct why *why)
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
		struct pending *p = list_entry(list_first(&f->writing), struct pending, link);

		list_remove(&p->link);
		if (p->pool != NULL)
			answer_nodes(f, p, result, why);
		else
			answer_pending(f, p, result, why);
		if (p->entry != NULL)
			state_entry_free(&p->entry);
		free(p);
	}
	f->delivering = false;
	remember_notes(f);
}

static void
note_health(struct store_file *f, enum err result, const struct why *why)
{
	f->written = clock_now();
	if (result == OK) {
		if (!f->up)
			LOG_INFO("store.up", LS("type", "file"), LS("path", f->disk.file));
		f->up = true;
		f->well = f->written;
		f->dirty = false;
		return;
	}
	if (f->up)
		LOG_ERROR("store.down", LS("type", "file"), LS("path", f->disk.file),
			  LS("reason", why->text));
	f->up = false;
	f->dirty = true;	/* find out when it works again */
}

/* On the helper thread. */
static void
disk_job_work(struct job *j)
{
	struct disk_job *d = container_of(j, struct disk_job, job);
	struct str payload = buf_str(&d->payload);
	char header[STATE_HEADER];
	size_t n = state_header(payload, header);

	/* A claim that is written and whose state is not is one that was never answered. */
	if ((d->result = state_claims_write(&d->store->claims, &d->claims, &d->why)) == OK)
		d->result = state_disk_write(d->disk, (struct str){ header, n }, payload, &d->why);
}

static void
disk_job_done(struct job *j)
{
	struct disk_job *d = container_of(j, struct disk_job, job);
	struct store_file *f = d->store;

	CHECK(f->magic == STORE_FILE_MAGIC && f->busy);
	f->busy = false;
	note_health(f, d->result, &d->why);
	settle_batch(f, d->result, &d->why);
	state_claims_end(&f->claims, &d->claims);
	buf_free(&d->payload);
	free(d);
	schedule(f);
}

/* The job that writes memory, with what is staged; NULL and the reason when
 * there is too much of it. */
static struct disk_job *
disk_job_new(struct store_file *f, struct why *why)
{
	struct disk_job *d = must_alloc(sizeof(*d));

	d->job.work = disk_job_work;
	d->job.done = disk_job_done;
	d->store = f;
	d->disk = &f->disk;
	buf_init(&d->payload, STATE_MAX);
	if (state_encode(&f->state, &f->entries, &d->payload) &&
	    state_claims_begin(&f->claims, &f->state, &d->claims))
		return d;
	why_set(why, E_NOT_DURABLE,
		"cannot write %s: there is more to write than fits into it or into memory", f->disk.file);
	buf_free(&d->payload);
	free(d);
	return NULL;
}

static void
store_file_begin(struct store_file *f)
{
	struct disk_job *d;
	struct why why = { 0 };

	CHECK(!f->busy && !f->delivering);
	ev_timer_stop(f->loop, &f->soon);
	if (!stage(f) && !f->dirty) {
		settle_batch(f, OK, &why);
		schedule(f);
		return;
	}
	if ((d = disk_job_new(f, &why)) == NULL) {
		note_health(f, E_NOT_DURABLE, &why);
		settle_batch(f, E_NOT_DURABLE, &why);
		schedule(f);
		return;
	}
	f->busy = true;
	jobs_add(f->jobs, &d->job);
}

static void
store_file_on_soon(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop;
	(void)revents;
	store_file_begin(store_file_of(&container_of(w, struct store_file, soon)->store));
}

/* At start-up: reads the file, refusing whatever teald did not write. */
static enum err
read_state(struct store_file *f, struct why *why)
{
	struct buf file;
	struct why what;
	bool exists;
	enum err e;

	buf_init(&file, STATE_MAX + STATE_HEADER);
	e = state_disk_read(&f->disk, &file, &exists, &what);
	if (e == OK && exists)
		e = state_decode(buf_str(&file), &f->state, &what);
	buf_free(&file);
	if (e == OK) {
		state_claims_open(&f->claims, &f->disk, &f->state);
		return OK;
	}
	return why_set(why, e,
		       "%s %s. It is left as it is. Bring back a good copy, or move it away to start with "
		       "the colors that the configuration names as `initial`",
		       f->disk.file, what.text);
}

/* A service begins with its initial color while the state has one that the file has not: perhaps
 * it is the same, and has another name now. */
static void
warn_of_orphan(const struct service_config *begins, const struct state_service *v, size_t n)
{
	LOG_WARN("store.orphan", LS("service", begins->name), LR(NULL, str_from(begins->labels_json)), LS("was", v->name),
		 LS("color", color_word(v->record.color)), LU("epoch", v->record.epoch), LU("orphans", n),
		 LS("hint", "the state has a service that the file has not; if this is that one by another name, say rename"));
}

/* Services that the store has never heard of take over what it has by their former name, or begin with their
 * initial color; true when there were any. */
static bool
add_new_services(struct store_file *f)
{
	bool any = false, looked = false;
	const struct state_service *orphan = NULL;
	size_t orphans = 0;

	for (size_t i = 0; i < f->config->n_services; i++) {
		const struct service_config *sc = &f->config->services[i];
		struct state_service *v;

		if (sc->colorless)
			continue;
		if (sc->rename != NULL && state_rename(&f->state, sc->rename, sc->name)) {
			state_find(&f->state, sc->name)->told = 0;
			any = true;
			continue;
		}
		v = state_add(&f->state, sc->name);
		if (v->known)
			continue;
		v->known = true;
		v->record = (struct record){ .color = sc->initial,
					     .epoch = 1,
					     .change = CHANGE_INITIAL,
					     .at_us = clock_wall_us(),
					     .by = "teald" };
		v->next = v->record;
		any = true;
		if (!looked)
			orphans = state_orphans(&f->state, f->config, &orphan);
		looked = true;
		if (orphan != NULL)
			warn_of_orphan(sc, orphan, orphans);
	}
	return any;
}

static enum err
write_now(struct store_file *f, struct why *why)
{
	struct disk_job *d = disk_job_new(f, why);
	enum err e = E_NOT_DURABLE;

	if (d == NULL)
		return e;
	disk_job_work(&d->job);
	if ((e = d->result) != OK)
		*why = d->why;
	state_claims_end(&f->claims, &d->claims);
	buf_free(&d->payload);
	free(d);
	return e;
}

static void
tell_nodes(struct store_file *f)
{
	for (size_t i = 0; i < f->config->n_pools && f->store.on_nodes != NULL; i++) {
		const struct state_pool *p = state_find_pool(&f->state, f->config->pools[i].name);

		if (p != NULL && p->now.version > 0)
			f->store.on_nodes(f->store.arg, p->name, &p->now);
	}
}

/* Of services that the configuration before had not, or not with colors: the others' have been told. */
static void
tell_records(struct store_file *f)
{
	uint64_t before = f->configurations++;

	for (size_t i = 0; i < f->config->n_services && f->store.on_record != NULL; i++) {
		const struct service_config *sc = &f->config->services[i];
		struct state_service *v;
		struct record r;
		bool told;

		if (sc->colorless)
			continue;
		v = state_find(&f->state, sc->name);
		told = before > 0 && v->told == before;
		v->told = before + 1;
		if (told)
			continue;
		r = v->record;
		f->store.on_record(f->store.arg, sc->name, &r);
	}
}

static enum err
store_file_open(struct store *s, struct why *why)
{
	struct store_file *f = store_file_of(s);
	const struct config *config = f->config;
	struct state_owner owner = { config->user, config->uid, config->gid };
	enum err e;

	CHECK(!f->opened);
	if (config->state_dir == NULL)
		return why_set(
			why, E_USAGE,
			"state_dir is not set: the embedded store needs a folder to keep the colors in");
	if ((e = state_disk_open(&f->disk, config->state_dir, &owner, why)) != OK ||
	    (e = read_state(f, why)) != OK)
		return e;
	if (add_new_services(f) && (e = write_now(f, why)) != OK)
		return e;
	f->opened = true;
	f->up = true;
	f->well = clock_now();
	tell_nodes(f);
	tell_records(f);
	if (s->on_ready != NULL)
		s->on_ready(s->arg);
	return OK;
}

static void
store_file_reconfigure(struct store *s, const struct config *to)
{
	struct store_file *f = store_file_of(s);

	CHECK(f->opened);
	f->config = to;
	/* The disk has them soon.  Until then a crash only begins them anew, with the same color. */
	f->dirty |= add_new_services(f);
	schedule(f);
	tell_nodes(f);
	tell_records(f);
}

static void
store_file_write(struct store *s, const struct store_write *w, store_done_fn *done, void *arg)
{
	struct store_file *f = store_file_of(s);
	struct pending *p = must_alloc(sizeof(*p));

	CHECK(f->opened);
	p->service = state_add(&f->state, w->service);
	p->expect_epoch = w->expect_epoch;
	p->saw_lock = p->service->record.lock.on;
	p->saw_claim = p->service->record;
	p->means = w->means;
	if (w->token != NULL)
		str_copy(p->token, sizeof(p->token), str_from(w->token));
	p->next = w->next;
	p->entry = w->unnoted ? NULL : state_entry_new(&f->state, &w->entry);
	p->done = done;
	p->arg = arg;
	list_append(&f->queue, &p->link);
	schedule(f);
}

static void
store_file_write_nodes(struct store *s, const char *pool, const struct overlay *next, store_nodes_fn *done,
		       void *arg)
{
	struct store_file *f = store_file_of(s);
	struct pending *p = must_alloc(sizeof(*p));

	CHECK(f->opened);
	p->pool = state_add_pool(&f->state, pool);
	overlay_copy(&p->nodes, next);
	p->nodes_done = done;
	p->arg = arg;
	list_append(&f->queue, &p->link);
	schedule(f);
}

static void
store_file_note(struct store *s, const struct audit_entry *entry)
{
	struct store_file *f = store_file_of(s);
	struct state_entry *e = state_entry_new(&f->state, entry);

	CHECK(f->opened);
	list_append(&f->notes, &e->link);
	if (!f->busy && !f->delivering)
		remember_notes(f);
	schedule(f);
}

static void
store_file_history(struct store *s, const char *service, unsigned last, store_history_fn *done, void *arg)
{
	struct store_file *f = store_file_of(s);
	const struct state_service *v = state_find(&f->state, service);
	size_t n = v == NULL ? 0 : v->entries < last ? v->entries : last, left = n;
	struct audit_entry *entries = must_array(n, sizeof(*entries));

	for (struct link *l = f->state.history.prev; left > 0; l = l->prev) {
		const struct state_entry *e = list_entry(l, struct state_entry, link);

		if (e->service == v)
			entries[--left] = e->entry;
	}
	done(arg, OK, entries, n, NULL);
	free(entries);
}

static void
store_file_status(const struct store *s, struct store_status *out)
{
	const struct store_file *f = store_file_of(s);

	/* No other process can write it, so knowledge does not age while it works. */
	*out = (struct store_status){ .type = "file", .up = f->up, .read = true, .age = f->up ? 0 : clock_now() - f->well };
}

static void
store_file_close(struct store **sp)
{
	struct store_file *f;

	if (*sp == NULL)
		return;
	f = store_file_of(*sp);
	*sp = NULL;
	CHECK(!f->delivering);
	while (f->opened && (f->busy || !list_empty(&f->queue) || (f->dirty && f->up))) {
		if (!f->busy)
			store_file_begin(f);
		jobs_wait(f->jobs);
	}
	ev_timer_stop(f->loop, &f->soon);
	state_claims_close(&f->claims);
	state_disk_close(&f->disk);
	state_free(&f->state);
	f->magic = 0;
	free(f);
}

int64_t
store_now(const struct store *s)
{
	return s->now != NULL ? s->now(s) : clock_wall_us();
}

struct store *
store_file_new(const struct config *config, struct jobs *jobs)
{
	struct store_file *f = must_alloc(sizeof(*f));

	f->magic = STORE_FILE_MAGIC;
	f->config = config;
	f->jobs = jobs;
	f->loop = jobs_loop(jobs);
	f->disk.lock_fd = -1;
	state_init(&f->state);
	list_init(&f->queue);
	list_init(&f->writing);
	list_init(&f->entries);
	list_init(&f->notes);
	ev_timer_init(&f->soon, store_file_on_soon, 0, 0);
	f->store = (struct store){ .open = store_file_open,
				   .write = store_file_write,
				   .note = store_file_note,
				   .history = store_file_history,
				   .status = store_file_status,
				   .write_nodes = store_file_write_nodes,
				   .reconfigure = store_file_reconfigure,
				   .close = store_file_close };
	return &f->store;
}
