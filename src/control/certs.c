/* certs.c - certificates that change while they are used: what is shown, and when files are looked at again.
 * Thread: main. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/certs_private.h"
#include "control/certs_watch.h"
#include "control/engines.h"

/* After the last change of a file; but not put off for ever. */
#define SETTLE 0.3
/* Where no change was told. */
#define LOOK 60.0
#define ROTATE (12 * 3600.0)
/* How long the end waits for files that hang. */
#define GOODBYE 0.2

/* -- what is shown ---------------------------------------------------------- */

/* What main itself speaks with. */
static void
take_contexts(struct service *s, const struct certs_loaded *l)
{
	tls_context_free(&s->backend_tls);
	s->backend_tls = tls_context_ref(l->backend);
	tls_context_free(&s->check_tls);
	s->check_tls = tls_context_ref(l->check);
}

bool
certs_is_admins(const struct certs_entry *e)
{
	return e->service->ctl == NULL && strcmp(e->service->config->name, ADMIN_NET_NAME) == 0;
}

static void
tell_admin(const struct certs *c)
{
	const struct certs_entry *e = c->n > 0 ? c->entries[0] : NULL;

	if (e != NULL && e->loaded.site != NULL && c->on_admin != NULL)
		c->on_admin(c->on_admin_arg, tls_site_ref(e->loaded.site));
}

void
certs_tell(struct certs *c, struct certs_entry *e)
{
	struct certs_loaded *l = &e->loaded;

	if (certs_is_admins(e)) {
		tell_admin(c);
		return;
	}

	take_contexts(e->service, l);
	engines_show(e->service->ctl, l->site != NULL ? tls_site_ref(l->site) : NULL, tls_context_ref(l->backend));
}

/* Lists end while they are used. */
static void
look_at_crl(struct certs_entry *e)
{
	const struct service_config *sc = e->service->config;
	struct why why;
	bool lacks = e->loaded.site != NULL && tls_site_crl_lacks(e->loaded.site, &why);

	if (lacks && !e->crl_lacks)
		LOG_WARN("certs.crl", LS("service", sc->name), LR(NULL, str_from(sc->labels_json)), LS("reason", why.text));
	e->crl_lacks = lacks;
}

void
certs_log_shown(struct certs_entry *e)
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
	e->crl_lacks = false;
	look_at_crl(e);
}

/* -- when files change ----------------------------------------------------- */

static void
add_watch(void *arg, const char *path)
{
	certs_watch_add(arg, path);
}

static void
watch_files(struct certs *c, const struct certs_entry *e)
{
	certs_each_file(e->service->config, add_watch, c->watch);
}

static void
watch_all(struct certs *c)
{
	if (c->watch == NULL)
		return;
	certs_watch_begin(c->watch);
	for (size_t i = 0; i < c->n; i++)
		if (c->entries[i] != NULL)
			watch_files(c, c->entries[i]);
	certs_watch_end(c->watch);
}

/* Links may lead elsewhere now.  No path is walked here that a helper is on: it may
 * lead to a disk that does not answer. */
void
certs_watch_again(struct certs *c, const struct certs_entry *e)
{
	if (c->watch == NULL)
		return;
	if (!list_empty(&c->jobs_list) || !list_empty(&c->due)) {
		watch_files(c, e);
		return;
	}
	watch_all(c);
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
	certs_begin_round(container_of(w, struct certs, settle), false);
}

static void
certs_on_look(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct certs *c = container_of(w, struct certs, look);

	(void)loop;
	(void)revents;
	certs_begin_round(c, false);
	for (size_t i = 0; i < c->n; i++)
		if (c->entries[i] != NULL)
			look_at_crl(c->entries[i]);
}

static void
tell_engines_of_tickets(const struct certs *c)
{
	const struct control *control = c->control;

	for (size_t i = 0; i < control->n_engines; i++)
		if (control->engines[i]->rekey != NULL)
			control->engines[i]->rekey(control->engines[i], &c->tickets);
}

static void
certs_on_rotate(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct certs *c = container_of(w, struct certs, rotate);

	(void)loop;
	(void)revents;
	tls_tickets_rotate(&c->tickets);
	c->rotated_at = clock_now();
	tell_engines_of_tickets(c);
}

void
certs_inherit_tickets(struct certs *c, struct str bytes, double rotated_at)
{
	double age = clock_now() - rotated_at;

	if (!ev_is_active(&c->rotate) || !(age >= 0) || age >= ROTATE || !tls_tickets_take(&c->tickets, bytes))
		return;
	c->rotated_at = rotated_at;
	ev_timer_stop(c->control->loop, &c->rotate);
	ev_timer_set(&c->rotate, ROTATE - age, ROTATE);
	ev_timer_start(c->control->loop, &c->rotate);
	tell_engines_of_tickets(c);
}

/* -- life ------------------------------------------------------------------- */

static enum err
read_all(struct certs *c, struct why *why)
{
	char owner[CERTS_OWNER];
	struct why reason;
	struct config_line at;

	for (size_t i = 0; i < c->n; i++) {
		struct certs_entry *e = c->entries[i];
		const struct service_config *sc = e != NULL ? e->service->config : NULL;

		if (sc == NULL || !certs_are_used(sc))
			continue;
		if (certs_load(sc, CERTS_LENIENT, &e->loaded, &at, &reason) != OK)
			return why_set(why, E_USAGE, "%s:%u: %.300s: %s", at.file, at.line, certs_owner(sc, owner), reason.text);
		e->tried = e->loaded.mark;
	}
	return OK;
}

static bool
entry_has_keys(const struct certs_entry *e)
{
	return e != NULL && (e->loaded.n > 0 || e->loaded.own != NULL || e->loaded.check_own != NULL);
}

static bool
has_keys(const struct certs *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (entry_has_keys(c->entries[i]))
			return true;
	return false;
}

/* Where its entry is. */
static size_t
certs_place(const struct certs *c, const struct service *s)
{
	return s == &c->admin ? 0 : (size_t)s->index + 1;
}

static struct certs_entry *
certs_entry_of(const struct certs *c, const struct service *s)
{
	size_t at = certs_place(c, s);
	struct certs_entry *e = at < c->n ? c->entries[at] : NULL;

	CHECK(e != NULL && e->service == s);
	return e;
}

static struct certs_entry *
add_entry(struct certs *c, struct service *service)
{
	struct certs_entry *e = must_alloc(sizeof(*e));
	size_t at = certs_place(c, service);

	if (at >= c->n) {
		c->entries = must_grow(c->entries, at + 1, sizeof(*c->entries));
		while (c->n <= at)
			c->entries[c->n++] = NULL;
	}
	CHECK(c->entries[at] == NULL);
	c->entries[at] = e;
	e->service = service;
	list_init(&e->due);
	return e;
}

/* A core file would hold the keys; nor may others of our user look into our memory. */
static enum err
keep_secret(struct why *why)
{
	if (prctl(PR_SET_DUMPABLE, 0) != 0)
		return why_set(why, E_INTERNAL, "cannot keep keys out of core files: %s", strerror(errno));
	return OK;
}

/* The first service with TLS has come. */
static void
begin_keeping(struct certs *c)
{
	if (c->watch != NULL || ev_is_active(&c->rotate))
		return;
	LOG_INFO("certs.opened", LB("ktls", tls_kernel_offers()));
	certs_on_rotate(c->control->loop, &c->rotate, 0);
	if (c->jobs == NULL)
		c->jobs = certs_helpers_new(c);
	c->watch = certs_watch_new(c->control->loop, certs_on_change, c);
	ev_timer_start(c->control->loop, &c->look);
	ev_timer_start(c->control->loop, &c->rotate);
}

enum err
certs_open(struct certs **cp, struct control *control, struct why *why)
{
	struct certs *c = *cp = must_alloc(sizeof(*c));
	bool used = false;
	enum err e;

	*c = (struct certs){ .control = control };
	list_init(&c->waiting);
	list_init(&c->due);
	list_init(&c->jobs_list);
	ev_timer_init(&c->patience, certs_on_patience, 0, 0);
	ev_timer_init(&c->settle, certs_on_settle, SETTLE, 0);
	ev_timer_init(&c->look, certs_on_look, LOOK, LOOK);
	ev_timer_init(&c->rotate, certs_on_rotate, ROTATE, ROTATE);
	if (control->config->admin.net.site != NULL) {
		c->admin.config = control->config->admin.net.site;
		used |= certs_are_used(add_entry(c, &c->admin)->service->config);
	}
	for (size_t i = 0; i < control->n; i++)
		used |= certs_are_used(add_entry(c, control->services[i]->service)->service->config);
	if (!used)
		return OK;
	if ((e = read_all(c, why)) != OK || (has_keys(c) && (e = keep_secret(why)) != OK))
		return e;
	begin_keeping(c);
	for (size_t i = 0; i < c->n; i++) {
		if (c->entries[i] == NULL || !certs_are_used(c->entries[i]->service->config))
			continue;
		certs_tell(c, c->entries[i]);
		certs_log_shown(c->entries[i]);
	}
	watch_all(c);
	return OK;
}

const struct certs_loaded *
certs_loaded_of(const struct certs *c, const struct service *s)
{
	return &certs_entry_of(c, s)->loaded;
}

void
certs_remove(struct certs *c, const struct service *s)
{
	struct certs_entry *e = certs_entry_of(c, s);

	c->entries[certs_place(c, s)] = NULL;
	certs_forget_reading(e);
	certs_loaded_free(&e->loaded);
	free(e);
	certs_tell_waiting(c);
	certs_start_some(c);
}

/* Moves it out of there. */
static void
take_prepared(struct certs *c, struct certs_entry *e, struct certs_loaded *loaded)
{
	struct service *s = e->service;
	struct why why;

	certs_forget_reading(e);
	certs_loaded_free(&e->loaded);
	e->loaded = *loaded;
	*loaded = (struct certs_loaded){ 0 };
	e->tried = e->loaded.mark;
	e->problem[0] = '\0';
	take_contexts(s, &e->loaded);
	certs_log_shown(e);
	if (entry_has_keys(e) && keep_secret(&why) != OK)
		LOG_ERROR("certs.dumpable", LS("reason", why.text));
	if (!certs_are_used(s->config))
		return;
	begin_keeping(c);
	/* Files of terms that are gone are watched until the next change. */
	if (c->watch != NULL)
		watch_files(c, e);
}

void
certs_add(struct certs *c, struct service *s, struct certs_loaded *loaded)
{
	struct certs_entry *e = add_entry(c, s);

	if (loaded != NULL)
		take_prepared(c, e, loaded);
}

/* The listener comes, goes, or has other files. */
static void
reconfigure_admin(struct certs *c, struct certs_prepared *prepared)
{
	const struct service_config *site = c->control->config->admin.net.site;
	struct certs_entry *e = c->n > 0 ? c->entries[0] : NULL;

	if (site == NULL) {
		if (e != NULL)
			certs_remove(c, &c->admin);
		return;
	}
	c->admin.config = site;
	if (e == NULL)
		e = add_entry(c, &c->admin);
	if (!prepared->has_admin)
		return;
	prepared->has_admin = false;
	take_prepared(c, e, &prepared->admin);
	tell_admin(c);
}

void
certs_watch_admin(struct certs *c, void (*tell)(void *arg, struct tls_site *site), void *arg)
{
	c->on_admin = tell;
	c->on_admin_arg = arg;
	tell_admin(c);
}

void
certs_reconfigure(struct certs *c, struct certs_prepared *prepared)
{
	for (size_t i = 0; i < c->control->n; i++) {
		struct service *s = c->control->services[i]->service;
		struct certs_loaded *loaded = certs_prepared_for(prepared, s->config);

		if (loaded != NULL)
			take_prepared(c, certs_entry_of(c, s), loaded);
	}
	reconfigure_admin(c, prepared);
	certs_tell_waiting(c);
}

bool
certs_close(struct certs **cp)
{
	struct certs *c = *cp;
	bool left;

	*cp = NULL;
	if (c == NULL)
		return true;
	/* A reading that is under way comes back once more. */
	c->closing = true;
	jobs_leave(&c->jobs, GOODBYE);
	/* What is left behind never does: it owns itself. */
	left = !list_empty(&c->jobs_list);
	certs_tell_waiting(c);
	ev_timer_stop(c->control->loop, &c->patience);
	ev_timer_stop(c->control->loop, &c->settle);
	ev_timer_stop(c->control->loop, &c->look);
	ev_timer_stop(c->control->loop, &c->rotate);
	certs_watch_free(&c->watch);
	for (size_t i = 0; i < c->n; i++)
		if (c->entries[i] != NULL) {
			certs_loaded_free(&c->entries[i]->loaded);
			free(c->entries[i]);
		}
	free(c->entries);
	tls_tickets_wipe(&c->tickets);
	free(c);
	return !left;
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
		each_of(certs_entry_of(c, of), tell, arg);
		return;
	}
	for (size_t i = 0; i < c->n; i++)
		if (c->entries[i] != NULL)
			each_of(c->entries[i], tell, arg);
}

bool
certs_crl_until(const struct certs *c, const struct service *s, int64_t *until)
{
	const struct certs_entry *e = c != NULL ? certs_entry_of(c, s) : NULL;

	return e != NULL && e->loaded.site != NULL && tls_site_crl_until(e->loaded.site, until);
}
