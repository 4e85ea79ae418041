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

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/state_claims.h"
#include "store/state_disk.h"
#include "store/state_file.h"
#include "store/state_orphans.h"
#include "store/store_file_private.h"

#define STORE_FILE_MAGIC 0x73746f66u

/* Refused flips reach the disk at the latest so many seconds after they
 * happened; a disk that failed is tried again as often. */
#define NOTES_EVERY 1.0
#define RETRY_EVERY 5.0

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
	store_file_settle(f, d->result, &d->why);
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
	if (!store_file_stage(f) && !f->dirty) {
		store_file_settle(f, OK, &why);
		schedule(f);
		return;
	}
	if ((d = disk_job_new(f, &why)) == NULL) {
		note_health(f, E_NOT_DURABLE, &why);
		store_file_settle(f, E_NOT_DURABLE, &why);
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
store_file_write_all(struct store *s, const struct store_write *w, size_t n, store_done_fn *done, void *const *args)
{
	struct store_file *f = store_file_of(s);

	CHECK(f->opened);
	f->batches++;
	for (size_t i = 0; i < n; i++) {
		struct store_pending *p = must_alloc(sizeof(*p));

		p->service = state_add(&f->state, w[i].service);
		p->batch = f->batches;
		p->same = w[i].same;
		p->expect_epoch = w[i].expect_epoch;
		p->saw_lock = p->service->record.lock.on;
		p->saw_claim = p->service->record;
		p->means = w[i].means;
		if (w[i].token != NULL)
			str_copy(p->token, sizeof(p->token), str_from(w[i].token));
		p->next = w[i].next;
		p->entry = w[i].unnoted || w[i].same ? NULL : state_entry_new(&f->state, &w[i].entry);
		p->done = done;
		p->arg = args[i];
		list_append(&f->queue, &p->link);
	}
	schedule(f);
}

static void
store_file_write(struct store *s, const struct store_write *w, store_done_fn *done, void *arg)
{
	store_file_write_all(s, w, 1, done, &arg);
}

static void
store_file_write_nodes(struct store *s, const char *pool, const struct overlay *next, store_nodes_fn *done,
		       void *arg)
{
	struct store_file *f = store_file_of(s);
	struct store_pending *p = must_alloc(sizeof(*p));

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
		store_file_remember_notes(f);
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
				   .write_all = store_file_write_all,
				   .note = store_file_note,
				   .history = store_file_history,
				   .status = store_file_status,
				   .write_nodes = store_file_write_nodes,
				   .reconfigure = store_file_reconfigure,
				   .close = store_file_close };
	return &f->store;
}
