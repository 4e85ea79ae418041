/* certs_read.c - files of certificates are read again, service by service, by helpers.
 * Thread: main, but for the work of jobs. */
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/certs_private.h"
#include "control/publish.h"

/* So many services are read at a time, besides those that hang: each of them has a
 * helper for itself, so that a disk that does not answer delays no certificate of
 * another. */
#define AT_ONCE 2
#define HELPERS_MAX 64
/* What takes longer hangs, seconds. */
#define HANGS 1.0

/* The files of one service. */
struct certs_job {
	struct job job;
	struct link link;	/* on jobs_list */
	struct certs *certs;
	struct certs_entry *entry;
	uint64_t round;
	double began;	/* clock_now() */
	bool hangs;

	/* The helper's. */
	const struct service_config *config;
	const struct config *whole;	/* that it is of; one reference */
	bool all;	/* whether or not files changed */
	uint64_t known;	/* mark of the files that were looked at last */
	bool read;	/* they have changed: what follows was read */
	enum err e;
	struct certs_loaded loaded;
	uint64_t mark;
	struct why why;
};

static void
certs_work(struct job *job)
{
	struct certs_job *j = container_of(job, struct certs_job, job);
	struct config_line at;

	if (!certs_are_used(j->config) || (!j->all && certs_mark(j->config) == j->known))
		return;
	j->read = true;
	j->mark = certs_mark(j->config);
	j->e = certs_load(j->config, CERTS_STRICT, &j->loaded, &at, &j->why);
}

static bool
is_same(const struct certs_loaded *a, const struct certs_loaded *b)
{
	if (a->mark != b->mark || a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (!tls_certificate_equal(a->certificates[i], b->certificates[i]))
			return false;
	return true;
}

static void
take_loaded(struct certs *c, struct certs_entry *e, struct certs_job *r, struct certs_result *result)
{
	e->tried = r->mark;
	if (r->e != OK) {
		str_copy(e->problem, sizeof(e->problem), str_from(r->why.text));
		LOG_ERROR("certs.refused", LS("service", e->service->config->name),
			  LR(NULL, str_from(e->service->config->labels_json)), LS("reason", r->why.text),
			  LS("hint", "what was shown before stays"));
		if (result->refused++ == 0)
			str_copy(result->problem, sizeof(result->problem), str_from(r->why.text));
		return;
	}
	e->problem[0] = '\0';
	if (is_same(&e->loaded, &r->loaded)) {
		certs_loaded_free(&r->loaded);
		return;
	}
	certs_loaded_free(&e->loaded);
	e->loaded = r->loaded;
	r->loaded = (struct certs_loaded){ 0 };
	result->changed++;
	certs_tell(c, e);
	certs_log_shown(e);
	if (certs_is_admins(e))
		return;
	/* Behind it on the way to every thread: its acknowledgement is this one's, too. */
	publish_now(e->service->ctl);
	e->generation = e->service->generation + (e->service->ctl->dirty ? 1 : 0);
}

/* Of a service whose color is not known yet no client is accepted. */
static void
obey_yet(struct certs_entry *e)
{
	if (!e->service->known || e->service->acked >= e->generation)
		e->obeyed = e->over;
}

static void certs_on_read(struct job *j);

static void
start_reading(struct certs *c, struct certs_entry *e)
{
	struct certs_job *j = e->job = must_alloc(sizeof(*j));

	*j = (struct certs_job){ .job = { .work = certs_work, .done = certs_on_read },
				 .certs = c,
				 .entry = e,
				 .round = e->asked,
				 .began = clock_now(),
				 .config = e->service->config,
				 .whole = config_ref(c->control->config),
				 .all = e->all,
				 .known = e->tried };
	e->all = false;
	list_init(&j->link);
	list_append(&c->jobs_list, &j->link);
	c->prompt++;
	jobs_add(c->jobs, &j->job);
}

void
certs_start_some(struct certs *c)
{
	struct link *l;

	while (c->prompt < AT_ONCE && (l = list_first(&c->due)) != NULL) {
		list_remove(l);
		start_reading(c, list_entry(l, struct certs_entry, due));
	}
	if (c->prompt > 0 && !ev_is_active(&c->patience)) {
		ev_timer_set(&c->patience, HANGS, 0.0);
		ev_timer_start(c->control->loop, &c->patience);
	}
}

void
certs_on_patience(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct certs *c = container_of(w, struct certs, patience);

	(void)loop;
	(void)revents;
	LIST_EACH(link, &c->jobs_list) {
		struct certs_job *j = list_entry(link, struct certs_job, link);

		if (j->hangs || clock_now() - j->began < HANGS)
			continue;
		j->hangs = true;
		c->prompt--;
		LOG_WARN("certs.slow", LS("service", j->config->name), LR(NULL, str_from(j->config->labels_json)),
			 LS("message", "its files have not been read for a second; what was shown before stays, and "
			    "others do not wait: look at the disk they are on"));
	}
	certs_start_some(c);
}

/* Those that waited for the last thread of the last service. */
void
certs_tell_waiting(struct certs *c)
{
	uint64_t over = c->round;

	if (list_empty(&c->waiting))
		return;
	for (size_t i = 0; i < c->n && !c->closing; i++) {
		const struct certs_entry *e = c->entries[i];

		if (e != NULL && e->obeyed < e->asked && e->obeyed < over)
			over = e->obeyed;
	}
	LIST_EACH(l, &c->waiting) {
		struct certs_wait *w = list_entry(l, struct certs_wait, link);

		if (w->round > over)
			continue;
		list_remove(l);
		w->done(w, &w->result);
	}
}

static void
add_result(struct certs *c, const struct certs_entry *e, uint64_t before, const struct certs_result *r)
{
	LIST_EACH(l, &c->waiting) {
		struct certs_wait *w = list_entry(l, struct certs_wait, link);

		if (w->round <= before || w->round > e->over)
			continue;
		if (w->result.refused == 0)
			memcpy(w->result.problem, r->problem, sizeof(r->problem));
		w->result.changed += r->changed;
		w->result.refused += r->refused;
	}
}

static void
certs_on_read(struct job *job)
{
	struct certs_job *j = container_of(job, struct certs_job, job);
	struct certs_entry *e = j->entry;
	struct certs_result result = { 0 };
	struct certs *c = j->certs;
	uint64_t before;

	list_remove(&j->link);
	c->prompt -= !j->hangs;
	if (e == NULL) {	/* its service has gone, or has other files now */
		certs_loaded_free(&j->loaded);
		config_unref(&j->whole);
		free(j);
		if (!c->closing)
			certs_start_some(c);
		return;
	}
	before = e->over;
	e->job = NULL;
	e->over = j->round;
	if (j->read && c->closing)
		certs_loaded_free(&j->loaded);
	else if (j->read)
		take_loaded(c, e, j, &result);
	config_unref(&j->whole);
	free(j);
	obey_yet(e);
	if (!c->closing) {
		add_result(c, e, before, &result);
		if (e->asked > e->over)
			list_append(&c->due, &e->due);
		certs_start_some(c);
		certs_watch_again(c, e);
	}
	certs_tell_waiting(c);
}

/* One round of all services; those under way are read once more after it. */
void
certs_begin_round(struct certs *c, bool all)
{
	bool any = false;

	c->round++;
	for (size_t i = 0; i < c->n; i++) {
		struct certs_entry *e = c->entries[i];

		/* Where there is none, the first is the one that is waited for. */
		if (e == NULL || (!certs_are_used(e->service->config) && any))
			continue;
		any = true;
		e->asked = c->round;
		e->all |= all;
		if (e->job == NULL && list_empty(&e->due))
			list_append(&c->due, &e->due);
	}
	certs_start_some(c);
}

struct jobs *
certs_helpers_new(struct certs *c)
{
	return jobs_new_growing(c->control->loop, 1, HELPERS_MAX);
}

void
certs_reload(struct certs *c, struct certs_wait *w)
{
	if (c->jobs == NULL)
		c->jobs = certs_helpers_new(c);
	w->result = (struct certs_result){ 0 };
	w->round = c->round + 1;
	list_append(&c->waiting, &w->link);
	certs_begin_round(c, true);
}

void
certs_on_acked(struct certs *c, const struct service *s)
{
	struct certs_entry *e;

	if (c == NULL || list_empty(&c->waiting))
		return;
	e = s->index < c->n ? c->entries[s->index] : NULL;
	if (e == NULL || e->service != s)
		return;
	obey_yet(e);
	certs_tell_waiting(c);
}

/* A reading that is under way is of no use any more. */
void
certs_forget_reading(struct certs_entry *e)
{
	if (e->job != NULL)
		e->job->entry = NULL;
	e->job = NULL;
	list_remove(&e->due);
	e->over = e->asked;
	e->obeyed = e->over;	/* what comes instead comes with a commit */
}
