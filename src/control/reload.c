/* reload.c - one configuration for another.  Thread: main, but for reading_work() and release_work().
 * The walk: reload_ask -> begin -> (helper) reading_work -> reading_done -> (helpers
 * of hosts.c) names -> judge -> commit (reload_commit.c) -> every engine obeys -> applied. */
#include <malloc.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/thread.h"
#include "control/certs_load.h"
#include "control/config_keeper.h"
#include "control/reload.h"
#include "control/reload_commit.h"
#include "control/reload_names.h"

/* Reading takes milliseconds; on a file system that does not answer, for ever. */
#define PATIENCE 30.0
/* For all names that are new, together. */
#define NAMES_PATIENCE 10.0
/* Helpers that hang in earlier readings, at most, before no further one begins. */
#define HANGING_MAX 3
/* How long the end of teald waits for a helper. */
#define GOODBYE 0.2
/* Errors of a file that the log names, each in a line of its own. */
#define ERRORS_TOLD 20
#define PLAN_TOLD 600

/* The helper's until done() is called. */
struct reading {
	struct job job;
	struct reloads *reloads;	/* NULL: no longer wanted */
	char *path;
	const struct config *from;	/* one reference */
	const struct config *to;	/* one reference; NULL: errors say why */
	struct complaints errors, warnings;
	struct config_plan *plan;	/* NULL without `to` */
	struct certs_prepared certs;	/* of services whose TLS is not what it was */
	struct reload_names names;	/* that have to be found */
	bool looking;	/* for these; the helper is done */
};

struct reloads {
	struct control *control;
	struct jobs *jobs;	/* NULL before the first */
	struct config_keeper *keeper;
	struct jobs *copying;	/* the keeper's: a disk may take long; NULL before the first */
	struct reading *reading;	/* NULL: none is under way */
	struct reading *committing;	/* read, and not yet obeyed by every engine; NULL: none is */
	struct reload_run run;	/* of that */
	uint64_t attempts;	/* generations that engines were told of */
	unsigned hanging;	/* readings that were given up, and are not over */
	struct link asked;	/* those the reading under way is for */
	struct link waiting;	/* those the next one is for */
	ev_timer patience;
	bool said;	/* that one has begun, and its end has to be */
	bool telling;	/* who is told may ask again at once: that waits until all are told */
	bool held;	/* by an upgrade: none begins */
	bool closing;
	double began;
	char checksum[CONFIG_CHECKSUM];
	struct reload_status status;
};

static void begin_reload(struct reloads *r);

/* What is shared with nothing of main's but by references. */
static void
reading_release_trees(struct reading *d)
{
	config_unref(&d->from);
	config_unref(&d->to);
	config_plan_free(&d->plan);
}

static void
reading_free(struct reading *d)
{
	reading_release_trees(d);
	complaints_free(&d->errors);
	complaints_free(&d->warnings);
	certs_prepared_free(&d->certs);
	reload_names_free(&d->names);
	free(d->path);
	free(d);
}

/* On a thread that ends with it: the small blocks that malloc(3) keeps for each thread would hold pages of trees
 * that have gone, some more of them with each reload. */
static void
work_apart(void *(*work)(void *), struct reading *d)
{
	pthread_t id;

	if (thread_start(&id, "reload", work, d) == 0)
		CHECK(pthread_join(id, NULL) == 0);
	else
		(void)work(d);
}

static void *
read_apart(void *arg)
{
	struct reading *d = arg;
	struct config_keys *from, *to;

	if (config_load(d->path, &d->to, &d->errors, &d->warnings) != OK)
		return NULL;
	if (certs_prepare(d->from, d->to, &d->certs, &d->errors) != OK) {
		config_unref(&d->to);
		return NULL;
	}
	config_keys_compare(d->from, d->to, &from, &to);
	d->plan = config_plan_new(from, to);
	config_keys_free(&from);
	config_keys_free(&to);
	reload_names_collect(d->from, d->to, &d->names);
	return NULL;
}

/* Helper. */
static void
reading_work(struct job *j)
{
	work_apart(read_apart, container_of(j, struct reading, job));
}

static void *
release_apart(void *arg)
{
	reading_release_trees(arg);
	return NULL;
}

/* Helper.  A tree of thousands of services takes milliseconds to free, and was allocated in the
 * heap of whichever thread read it: without malloc_trim(3), which looks at all of them, each keeps its largest. */
static void
release_work(struct job *j)
{
	work_apart(release_apart, container_of(j, struct reading, job));
	malloc_trim(0);
}

static void
release_done(struct job *j)
{
	reading_free(container_of(j, struct reading, job));
}

/* One helper reads and releases all trees, so that each finds room where the one before has gone; while one
 * hangs, another. */
static void
give_helper(struct reloads *r, struct job *j)
{
	if (r->jobs == NULL)
		r->jobs = jobs_new_growing(r->control->loop, 1, HANGING_MAX + 1);
	if (r->hanging > 0)
		jobs_add(r->jobs, j);
	else
		jobs_add_behind(r->jobs, j);
}

static void
keep_copy(struct reloads *r, const struct config *config)
{
	if (r->copying == NULL)
		r->copying = jobs_new(r->control->loop, 1);
	config_keeper_keep(r->keeper, r->copying, config);
}

/* Done with; off main. */
static void
reading_release(struct reloads *r, struct reading *d)
{
	if (r->closing) {
		reading_free(d);
		return;
	}
	certs_prepared_free(&d->certs);
	d->job = (struct job){ .work = release_work, .done = release_done };
	give_helper(r, &d->job);
}

/* -- telling ----------------------------------------------------------------------- */

static void
tell_asker(struct reload_wait *w, const struct reload_result *result)
{
	list_remove(&w->link);
	w->done(w, result);
}

/* To the service manager. */
static void
say_reloading(struct reloads *r, bool begins)
{
	const struct control *c = r->control;

	if (r->said == begins)
		return;
	r->said = begins;
	if (c->on_reloading != NULL)
		c->on_reloading(c->arg, begins);
}

static void
tell_all(struct link *list, const struct reload_result *result)
{
	LIST_EACH(l, list)
		tell_asker(list_entry(l, struct reload_wait, link), result);
}

static bool
is_wet(const struct reloads *r)
{
	LIST_EACH(l, &r->asked)
		if (!list_entry(l, struct reload_wait, link)->dry_run)
			return true;
	return false;
}

/* Who is named in the log: the first who wants it done. */
static const char *
asker(const struct reloads *r)
{
	LIST_EACH(l, &r->asked) {
		const struct reload_wait *w = list_entry(l, struct reload_wait, link);

		if (!w->dry_run)
			return w->by;
	}
	return "";
}

static void
log_complaints(const struct complaints *c, enum log_level level, const char *event)
{
	for (size_t i = 0; i < c->n && i < ERRORS_TOLD; i++)
		log_write(level, event, (const struct log_field[]){ LS("message", c->lines[i]), LOG_FIELDS_END });
}

/* Nothing was changed. */
static void
fail(struct reloads *r, enum err e, const char *message, const struct reading *d)
{
	static const struct complaints none;
	struct reload_result result = {
		.e = e,
		.message = message,
		.errors = d != NULL ? &d->errors : &none,
		.warnings = d != NULL ? &d->warnings : &none,
		.generation = r->status.generation,
	};

	if (is_wet(r)) {
		r->status.last_good = false;
		log_complaints(result.errors, LOG_ERROR_LEVEL, "config.error");
		BUS_EMIT(&r->control->bus, LOG_ERROR_LEVEL, "reload.failed", NULL, LS("by", asker(r)),
			 LS("error", err_word(e)), LS("message", message), LU("generation", r->status.generation));
	}
	tell_all(&r->asked, &result);
}

/* -- the walk -------------------------------------------------------------------------- */

/* The plan as one line of the log. */
static void
plan_line(const struct config_plan *p, char text[PLAN_TOLD])
{
	struct buf b;
	struct str s;

	buf_init(&b, 1 << 20);
	config_plan_text(p, &b);
	s = buf_str(&b);
	str_copy(text, PLAN_TOLD, s);
	for (char *at = text; *at != '\0'; at++)
		if (*at == '\n')
			*at = ';';
	if (s.n > 0 && s.n < PLAN_TOLD)
		text[s.n - 1] = '\0';
	buf_free(&b);
}

static void
reload_applied(struct reloads *r, struct reading *d, bool changed)
{
	char text[PLAN_TOLD];

	r->status.generation += changed;
	r->status.last_good = true;
	r->status.from_copy = false;
	keep_copy(r, d->to);
	r->status.loaded_at_us = clock_wall_us();
	str_copy(r->checksum, sizeof(r->checksum), str_from(d->to->checksum));
	plan_line(d->plan, text);
	log_complaints(&d->warnings, LOG_WARN_LEVEL, "config.warning");
	BUS_EMIT(&r->control->bus, LOG_INFO_LEVEL, "reload.applied", NULL, LS("by", asker(r)), LB("changed", changed),
		 LU("generation", r->status.generation), LF("seconds", clock_now() - r->began), LS("message", text));
	tell_all(&r->asked, &(struct reload_result){ .e = OK,
						     .message = "",
						     .errors = &d->errors,
						     .warnings = &d->warnings,
						     .changed = changed,
						     .generation = r->status.generation });
}

/* Every engine obeys it. */
static void
committed(struct reloads *r)
{
	struct reading *d = r->committing;

	r->committing = NULL;
	reload_finish(&r->run);
	reload_applied(r, d, true);
	reading_release(r, d);
}

void
reload_on_committed(struct reloads *r, uint64_t generation)
{
	if (r->committing == NULL || generation != r->run.reload.generation || --r->run.waiting > 0)
		return;
	r->telling = true;
	committed(r);
	r->telling = false;
	begin_reload(r);
}

/* True: d is kept until every engine has it. */
static bool
commit_plan(struct reloads *r, struct reading *d)
{
	struct control *c = r->control;
	struct why why;

	if (c->on_reload != NULL && c->on_reload(c->arg, d->to, &why) != OK) {
		fail(r, E_CONFIG, why.text, d);
		return false;
	}
	if (reload_prepare(&r->run, c, d->to, ++r->attempts, d->plan, &d->certs, &why) != OK) {
		if (c->on_reload_failed != NULL)
			c->on_reload_failed(c->arg);
		fail(r, E_CONFIG, why.text, d);
		return false;
	}
	r->committing = d;
	reload_commit(&r->run);
	/* Without an engine that has to be waited for. */
	if (r->run.waiting == 0)
		committed(r);
	return true;
}

/* Nothing is done by halves: what cannot be changed in place refuses the rest. */
static void
say_what_needs_upgrade(const struct reading *d, struct why *why)
{
	struct buf what;

	buf_init(&what, 1 << 20);
	config_plan_restarts(d->plan, &what);
	(void)why_set(why, E_UNSUPPORTED, "nothing was changed; tealctl upgrade takes this file over, which a reload cannot because of %.*s%s", (int)(buf_len(&what) < 800 ? buf_len(&what) : 800),
		      buf_str(&what).p, buf_len(&what) > 800 ? "..." : "");
	buf_free(&what);
}

/* True: d is kept, or gone already. */
static bool
judge_plan(struct reloads *r, struct reading *d)
{
	struct reload_result dry = { .e = OK,
				     .message = "",
				     .errors = &d->errors,
				     .warnings = &d->warnings,
				     .generation = r->status.generation };
	struct why why;

	if (d->to == NULL) {
		(void)why_set(&why, E_CONFIG, "%zu error%s in %.900s; nothing was changed", d->errors.n,
			      d->errors.n == 1 ? "" : "s", d->path);
		fail(r, E_CONFIG, why.text, d);
		return false;
	}
	/* A dry run ends as the reload would. */
	if (d->plan->restarts > 0) {
		say_what_needs_upgrade(d, &why);
		dry.e = E_UNSUPPORTED;
		dry.message = why.text;
	}
	LIST_EACH(l, &r->asked) {
		struct reload_wait *w = list_entry(l, struct reload_wait, link);

		if (w->planned != NULL)
			w->planned(w, d->plan);
		if (w->dry_run)
			tell_asker(w, &dry);
	}
	if (list_empty(&r->asked))
		return false;
	if (r->control->life > LIFE_SERVING)
		fail(r, E_INTERNAL, "teald is stopping", d);
	else if (d->plan->restarts > 0)
		fail(r, E_UNSUPPORTED, why.text, d);
	else if (config_plan_is_empty(d->plan))
		reload_applied(r, d, false);
	else
		return commit_plan(r, d);
	return false;
}

/* The reading is over, and so are its look-ups. */
static void
conclude(struct reloads *r)
{
	struct reading *d = r->reading;

	ev_timer_stop(r->control->loop, &r->patience);
	r->reading = NULL;
	d->looking = false;
	if (d->to != NULL && !reload_names_judge(&d->names, &d->errors))
		config_unref(&d->to);
	r->telling = true;
	if (!judge_plan(r, d))
		reading_release(r, d);
	r->telling = false;
	begin_reload(r);
}

static void
reading_done(struct job *j)
{
	struct reading *d = container_of(j, struct reading, job);
	struct reloads *r = d->reloads;

	if (r->reading != d) {
		r->hanging--;
		reading_release(r, d);
		begin_reload(r);
		return;
	}
	ev_timer_stop(r->control->loop, &r->patience);
	if (d->to != NULL && !r->closing)
		reload_names_ask(&d->names, r->control->hosts);
	if (d->names.waiting > 0) {
		d->looking = true;
		ev_timer_set(&r->patience, NAMES_PATIENCE, 0.0);
		ev_timer_start(r->control->loop, &r->patience);
		return;
	}
	conclude(r);
}

void
reload_on_name(struct reloads *r, const struct hostname *name)
{
	struct reading *d = r != NULL ? r->reading : NULL;

	if (d == NULL || !d->looking)
		return;
	reload_names_on_answer(&d->names, name);
	if (d->names.waiting == 0)
		conclude(r);
}

static void
on_patience(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct reloads *r = container_of(t, struct reloads, patience);

	(void)loop;
	(void)revents;
	if (r->reading->looking) {
		conclude(r);
		return;
	}
	r->reading = NULL;
	r->hanging++;
	r->telling = true;
	fail(r, E_INTERNAL,
	     "the file, or what it names, has not been read for 30 seconds; nothing was changed: look at the disk it is on", NULL);
	r->telling = false;
	begin_reload(r);
}

/* The next one, if one is wanted and none is under way. */
static void
begin_reload(struct reloads *r)
{
	struct control *c = r->control;
	struct reading *d;

	if (r->reading != NULL || r->committing != NULL || r->telling || r->closing)
		return;
	say_reloading(r, false);
	if (r->held || list_empty(&r->waiting))
		return;
	list_splice(&r->asked, &r->waiting);
	if (is_wet(r))
		say_reloading(r, true);
	if (r->hanging >= HANGING_MAX) {
		fail(r, E_INTERNAL, "earlier readings of the file hang yet; nothing was changed: look at the disk it is on", NULL);
		say_reloading(r, false);
		return;
	}
	d = r->reading = must_alloc(sizeof(*d));
	*d = (struct reading){ .job = { .work = reading_work, .done = reading_done },
			       .reloads = r,
			       .path = must_strdup(c->config->path),
			       .from = config_ref(c->config) };
	r->began = clock_now();
	ev_timer_set(&r->patience, PATIENCE, 0.0);
	ev_timer_start(c->loop, &r->patience);
	give_helper(r, &d->job);
}

void
reload_opened(struct reloads *r, bool from_copy)
{
	r->status.from_copy = from_copy;
	r->status.last_good = !from_copy;
	if (!from_copy)
		keep_copy(r, r->control->config);
}

void
reload_ask(struct reloads *r, struct reload_wait *w)
{
	list_init(&w->link);
	list_append(&r->waiting, &w->link);
	begin_reload(r);
}

void
reload_hold(struct reloads *r, bool on)
{
	r->held = on;
	begin_reload(r);
}

bool
reload_is_idle(const struct reloads *r)
{
	return r->reading == NULL && r->committing == NULL;
}

bool
reload_is_awaited(const struct reloads *r)
{
	return !list_empty(&r->waiting);
}

bool
reload_take_back(struct reloads *r, struct reload_wait *w)
{
	LIST_EACH(l, &r->waiting)
		if (l == &w->link) {
			list_remove(l);
			return true;
		}
	return false;
}

struct reload_status
reload_status(const struct reloads *r)
{
	return r->status;
}

void
reload_inherit(struct reloads *r, uint64_t generation, int64_t loaded_at_us, struct str checksum)
{
	if (str_eq(checksum, r->checksum)) {
		r->status.generation = generation;
		r->status.loaded_at_us = loaded_at_us;
	} else {
		r->status.generation = generation + 1;
	}
}

struct reloads *
reloads_new(struct control *c)
{
	struct reloads *r = must_alloc(sizeof(*r));

	*r = (struct reloads){ .control = c, .keeper = config_keeper_new() };
	list_init(&r->asked);
	list_init(&r->waiting);
	ev_timer_init(&r->patience, on_patience, PATIENCE, 0.0);
	str_copy(r->checksum, sizeof(r->checksum), str_from(c->config->checksum));
	r->status = (struct reload_status){ .generation = 1,
					    .loaded_at_us = clock_wall_us(),
					    .checksum = r->checksum,
					    .last_good = true };
	return r;
}

bool
reloads_free(struct reloads **rp)
{
	static const struct complaints none;
	struct reloads *r = *rp;
	const struct reload_result stopping = { .e = E_INTERNAL,
						.message = "teald is stopping",
						.errors = &none,
						.warnings = &none,
						.generation = r != NULL ? r->status.generation : 0 };
	bool left;

	*rp = NULL;
	if (r == NULL)
		return true;
	r->closing = true;
	ev_timer_stop(r->control->loop, &r->patience);
	tell_all(&r->asked, &stopping);
	tell_all(&r->waiting, &stopping);
	if (r->jobs != NULL)
		jobs_leave(&r->jobs, GOODBYE);
	if (r->copying != NULL)
		jobs_leave(&r->copying, GOODBYE);
	if (r->committing != NULL) {
		reload_finish(&r->run);
		reading_free(r->committing);
	}
	if (r->reading != NULL && r->reading->looking) {
		reading_free(r->reading);
		r->reading = NULL;
	}
	left = r->reading != NULL || r->hanging > 0;
	left |= !config_keeper_free(&r->keeper);
	/* A helper that hangs ends in memory that stays as it is. */
	if (!left)
		free(r);
	return !left;
}
