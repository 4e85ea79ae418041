/* certs.c - certificates that change while they are used.  Thread: main, but
 * for the work of jobs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/certs.h"
#include "control/certs_watch.h"

/* After the last change of a file; but not put off for ever. */
#define SETTLE 0.3
/* Where no change was told. */
#define LOOK 60.0
#define ROTATE (12 * 3600.0)

struct certs_job {
	struct job job;
	struct certs *certs;
	bool all;	/* whether or not files changed */
	struct certs_read {
		const struct service_config *config;
		uint64_t known;	/* mark of the files that were looked at last */
		bool read;	/* they have changed: what follows was read */
		enum err e;
		struct certs_loaded loaded;
		uint64_t mark;
		struct why why;
	} *services;
	size_t n;
};

/* -- what is shown ---------------------------------------------------------- */

static bool
is_used(const struct service_config *sc)
{
	return sc->listen_tls || sc->backend_tls.on;
}

static void
tell_engine(struct control *c, struct certs_entry *e)
{
	struct certs_loaded *l = &e->loaded;

	struct engine *engine = c->entries[e->service->index].engine;

	tls_context_free(&e->service->backend_tls);
	e->service->backend_tls = tls_context_ref(l->backend);
	engine->show(engine, e->service, l->site != NULL ? tls_site_ref(l->site) : NULL,
		     tls_context_ref(l->backend));
}

static void
log_shown(const struct certs_entry *e)
{
	const char *warning = e->loaded.site != NULL ? tls_site_warning(e->loaded.site) : NULL;
	char until[CLOCK_TEXT];

	if (warning != NULL)
		LOG_WARN("certs.no_cipher", LS("service", e->service->config->name),
			 LR(NULL, str_from(e->service->config->labels_json)), LS("reason", warning));
	for (size_t i = 0; i < e->loaded.n; i++) {
		const struct tls_certificate_facts *f = tls_certificate_facts(e->loaded.certificates[i]);
		struct why why;

		clock_format(f->not_after * 1000000, 0, until);
		LOG_INFO("certs.shown", LS("service", e->service->config->name),
			 LR(NULL, str_from(e->service->config->labels_json)), LS("name", f->names[0]),
			 LS("type", f->type), LS("until", until), LS("fingerprint", f->fingerprint));
		if (tls_certificate_is_valid(e->loaded.certificates[i], (int64_t)time(NULL), &why) != OK)
			LOG_ERROR("certs.invalid", LS("service", e->service->config->name),
				  LR(NULL, str_from(e->service->config->labels_json)), LS("reason", why.text),
				  LS("hint", "clients will not accept it; replace the file"));
		if (f->staple_problem != NULL)
			LOG_WARN("certs.no_staple", LS("service", e->service->config->name),
				 LR(NULL, str_from(e->service->config->labels_json)), LS("name", f->names[0]),
				 LS("reason", f->staple_problem));
	}
}

/* -- reading again ---------------------------------------------------------- */

static void
certs_work(struct job *j)
{
	struct certs_job *job = container_of(j, struct certs_job, job);
	int line;

	for (size_t i = 0; i < job->n; i++) {
		struct certs_read *r = &job->services[i];

		if (!is_used(r->config) || (!job->all && certs_mark(r->config) == r->known))
			continue;
		r->read = true;
		r->mark = certs_mark(r->config);
		r->e = certs_load(r->config, CERTS_STRICT, &r->loaded, &line, &r->why);
	}
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
take(struct certs *c, struct certs_entry *e, struct certs_read *r, struct certs_result *result)
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
	tell_engine(c->control, e);
	log_shown(e);
}

static void
add_watch(void *arg, const char *path)
{
	certs_watch_add(arg, path);
}

/* Links may lead elsewhere now. */
static void
watch_all(struct certs *c)
{
	if (c->watch == NULL)
		return;
	certs_watch_begin(c->watch);
	for (size_t i = 0; i < c->n; i++)
		certs_each_file(c->entries[i].service->config, add_watch, c->watch);
	certs_watch_end(c->watch);
}

static void begin(struct certs *c, bool all);

static void
certs_on_read(struct job *j)
{
	struct certs_job *job = container_of(j, struct certs_job, job);
	struct certs_result result = { 0 };
	struct certs *c = job->certs;
	struct link *l;

	c->job = NULL;
	for (size_t i = 0; i < job->n; i++)
		if (job->services[i].read && c->closing)
			certs_loaded_free(&job->services[i].loaded);
		else if (job->services[i].read)
			take(c, &c->entries[i], &job->services[i], &result);
	if (!c->closing)
		watch_all(c);
	else
		list_splice(&c->waiting, &c->next);
	while ((l = list_first(&c->waiting)) != NULL) {
		list_remove(l);
		list_entry(l, struct certs_wait, link)->done(list_entry(l, struct certs_wait, link), &result);
	}
	free(job->services);
	free(job);
	if (c->again && !c->closing)
		begin(c, c->all);
}

static void
begin(struct certs *c, bool all)
{
	struct certs_job *job;

	if (c->job != NULL) {
		c->again = true;
		c->all |= all;
		return;
	}
	job = must_alloc(sizeof(*job));
	job->certs = c;
	job->all = all;
	job->n = c->n;
	job->services = must_array(c->n, sizeof(*job->services));
	for (size_t i = 0; i < c->n; i++) {
		job->services[i].config = c->entries[i].service->config;
		job->services[i].known = c->entries[i].tried;
	}
	job->job.work = certs_work;
	job->job.done = certs_on_read;
	c->job = job;
	c->again = c->all = false;
	list_splice(&c->waiting, &c->next);
	jobs_add(c->jobs, &job->job);
}

void
certs_reload(struct certs *c, struct certs_wait *w)
{
	if (c->jobs == NULL)
		c->jobs = jobs_new(c->control->loop, 1);
	list_append(&c->next, &w->link);
	begin(c, true);
}

static void
certs_on_change(void *arg)
{
	struct certs *c = arg;

	/* Not put off by further ones, or who writes all the time is never heard. */
	if (ev_is_active(&c->settle))
		return;
	ev_timer_set(&c->settle, SETTLE, 0);
	ev_timer_start(c->control->loop, &c->settle);
}

static void
certs_on_settle(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop;
	(void)revents;
	begin(container_of(w, struct certs, settle), false);
}

static void
certs_on_look(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop;
	(void)revents;
	begin(container_of(w, struct certs, look), false);
}

static void
certs_on_rotate(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct certs *c = container_of(w, struct certs, rotate);
	struct engine *proxy = c->control->engines[ENGINE_PROXY];

	(void)loop;
	(void)revents;
	tls_tickets_rotate(&c->tickets);
	proxy->rekey(proxy, &c->tickets);
}

/* -- life ------------------------------------------------------------------- */

static enum err
read_all(struct certs *c, struct why *why)
{
	const struct config *config = c->control->config;
	struct why reason;
	int line;

	for (size_t i = 0; i < c->n; i++) {
		struct certs_entry *e = &c->entries[i];
		const struct service_config *sc = e->service->config;

		if (!is_used(sc))
			continue;
		if (certs_load(sc, CERTS_LENIENT, &e->loaded, &line, &reason) != OK)
			return why_set(why, E_USAGE, "%s:%d: service \"%s\": %s", config->path, line, sc->name,
				       reason.text);
		e->tried = e->loaded.mark;
	}
	return OK;
}

static bool
has_keys(const struct certs *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->entries[i].loaded.n > 0 || c->entries[i].loaded.own != NULL)
			return true;
	return false;
}

enum err
certs_open(struct certs **cp, struct control *control, struct why *why)
{
	struct certs *c = *cp = must_alloc(sizeof(*c));
	bool used = false;
	enum err e;

	*c = (struct certs){ .control = control, .n = control->n };
	list_init(&c->waiting);
	list_init(&c->next);
	ev_timer_init(&c->settle, certs_on_settle, SETTLE, 0);
	ev_timer_init(&c->look, certs_on_look, LOOK, LOOK);
	ev_timer_init(&c->rotate, certs_on_rotate, ROTATE, ROTATE);
	c->entries = must_array(c->n, sizeof(*c->entries));
	for (size_t i = 0; i < c->n; i++) {
		c->entries[i].service = control->entries[i].service;
		used |= is_used(c->entries[i].service->config);
	}
	if (!used)
		return OK;
	if ((e = read_all(c, why)) != OK)
		return e;
	/* A core file would hold the keys; nor may others of our user look into our
	 * memory. */
	if (has_keys(c) && prctl(PR_SET_DUMPABLE, 0) != 0)
		return why_set(why, E_INTERNAL, "cannot keep keys out of core files: %s", strerror(errno));
	LOG_INFO("certs.opened", LB("ktls", tls_kernel_offers()));
	for (size_t i = 0; i < c->n; i++) {
		if (!is_used(c->entries[i].service->config))
			continue;
		tell_engine(control, &c->entries[i]);
		log_shown(&c->entries[i]);
	}
	certs_on_rotate(control->loop, &c->rotate, 0);
	c->jobs = jobs_new(control->loop, 1);
	c->watch = certs_watch_new(control->loop, certs_on_change, c);
	watch_all(c);
	ev_timer_start(control->loop, &c->look);
	ev_timer_start(control->loop, &c->rotate);
	return OK;
}

void
certs_close(struct certs **cp)
{
	struct certs *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	/* A reading that is under way comes back once more. */
	c->closing = true;
	jobs_free(&c->jobs);
	ev_timer_stop(c->control->loop, &c->settle);
	ev_timer_stop(c->control->loop, &c->look);
	ev_timer_stop(c->control->loop, &c->rotate);
	certs_watch_free(&c->watch);
	for (size_t i = 0; i < c->n; i++)
		certs_loaded_free(&c->entries[i].loaded);
	free(c->entries);
	tls_tickets_wipe(&c->tickets);
	free(c);
}

/* -- what is told ----------------------------------------------------------- */

static void
each_of(const struct certs_entry *e, void (*tell)(void *arg, const struct certs_shown *shown), void *arg)
{
	for (size_t i = 0; i < e->loaded.n; i++)
		tell(arg, &(struct certs_shown){ .service = e->service,
						 .certificate = e->loaded.certificates[i],
						 .problem = e->problem });
}

void
certs_each(const struct certs *c, const struct service *of,
	   void (*tell)(void *arg, const struct certs_shown *shown), void *arg)
{
	if (c == NULL)
		return;
	if (of != NULL) {
		CHECK(of->index < c->n && c->entries[of->index].service == of);
		each_of(&c->entries[of->index], tell, arg);
		return;
	}
	for (size_t i = 0; i < c->n; i++)
		each_of(&c->entries[i], tell, arg);
}
