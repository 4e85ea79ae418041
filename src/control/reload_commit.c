/* reload_commit.c - one configuration for another, in one go.  Thread: main. */
#include <stdlib.h>
#include <string.h>

#include "control/backends.h"
#include "control/certs.h"
#include "control/nodes.h"
#include "control/notify.h"
#include "control/publish.h"
#include "control/reload_commit.h"
#include "control/resolve.h"
#include "control/services.h"

/* -- who is who ---------------------------------------------------------------- */

/* By its name, or by the one that it had.  Most files keep their order: *hint is where it is looked for
 * first. */
static struct service_ctl *
find_old(struct control *c, const struct service_config *sc, size_t *hint)
{
	struct service_ctl *ctl = *hint < c->n ? c->services[*hint] : NULL;

	if (ctl != NULL && strcmp(ctl->service->config->name, sc->name) == 0) {
		++*hint;
		return ctl;
	}
	ctl = control_find(c, str_from(sc->name));
	if (ctl != NULL)
		*hint = control_from(c, ctl->serial) + 1;
	return ctl == NULL && sc->rename != NULL ? control_find(c, str_from(sc->rename)) : ctl;
}

/* Slots of services, by index: those that leave have theirs until they are forgotten. */
static bool *
slots_in_use(const struct control *c, size_t more, size_t *n)
{
	bool *used;

	*n = c->n + more + 1;
	for (size_t i = 0; i < c->n; i++)
		if (c->services[i]->service->index >= *n)
			*n = c->services[i]->service->index + 1;
	LIST_EACH(l, &c->leaving) {
		const struct service *s = list_entry(l, struct service_ctl, leaving)->service;

		if (s->index >= *n)
			*n = s->index + 1;
	}
	*n += more + c->n;
	used = must_array(*n, sizeof(*used));
	for (size_t i = 0; i < c->n; i++)
		used[c->services[i]->service->index] = true;
	LIST_EACH(l, &c->leaving)
		used[list_entry(l, struct service_ctl, leaving)->service->index] = true;
	return used;
}

/* Those before *at are in use. */
static unsigned
take_slot(bool *used, size_t n, size_t *at)
{
	while (*at < n && used[*at])
		(*at)++;
	CHECK(*at < n);
	used[*at] = true;
	return (unsigned)*at;
}

/* The plan names services in the order of the file, those that go behind them. */
static bool
is_planned(const struct config_plan *plan, size_t *at, const char *name)
{
	if (*at >= plan->n || plan->services[*at].fate == SERVICE_REMOVED ||
	    strcmp(plan->services[*at].name, name) != 0)
		return false;
	(*at)++;
	return true;
}

static void
take_terms(struct reload_service *rs, struct certs_prepared *certs)
{
	const struct certs_loaded *loaded = certs_prepared_for(certs, rs->config);

	if (loaded == NULL)
		return;
	rs->shows = true;
	rs->site = loaded->site;
	rs->backend = loaded->backend;
}

static void
match(struct reload_run *run, const struct config_plan *plan)
{
	struct control *c = run->control;
	struct reload *r = &run->reload;
	size_t n_slots, at = 0, slot = 0, hint = 0;
	bool *used = slots_in_use(c, r->to->n_services, &n_slots), *stays = must_array(n_slots, sizeof(*stays));

	for (size_t i = 0; i < r->n; i++) {
		const struct service_config *sc = &r->to->services[i];
		struct service_ctl *old = find_old(c, sc, &hint);
		struct reload_service *rs = &r->services[i];

		rs->config = sc;
		rs->changed = is_planned(plan, &at, sc->name);
		if (old != NULL) {
			rs->service = old->service;
		} else {
			rs->service = service_new(sc, take_slot(used, n_slots, &slot), r->to->workers);
			service_obey(rs->service, sc, r->to);
			run->added[run->n_added++] = rs->service;
		}
		stays[rs->service->index] = true;
		take_terms(rs, run->certs);
	}
	for (size_t i = 0; i < c->n; i++)
		if (!stays[c->services[i]->service->index])
			r->removed[r->n_removed++] = c->services[i]->service;
	free(used);
	free(stays);
}

/* -- before the commit ---------------------------------------------------------- */

static void
abandon(struct reload_run *run, size_t n_engines)
{
	for (size_t i = 0; i < n_engines; i++)
		if (run->control->engines[i]->abandon != NULL)
			run->control->engines[i]->abandon(run->control->engines[i]);
	for (size_t i = 0; i < run->n_added; i++)
		service_free(&run->added[i]);
	run->n_added = 0;
	reload_finish(run);
}

static bool
has_engine(const struct control *c, enum engine_kind kind)
{
	for (size_t i = 0; i < c->n_engines; i++)
		if (c->engines[i]->class->kind == kind && c->engines[i]->prepare != NULL)
			return true;
	return false;
}

enum err
reload_prepare(struct reload_run *run, struct control *c, const struct config *to, uint64_t generation,
	       const struct config_plan *plan, struct certs_prepared *certs, struct why *why)
{
	enum err e = OK;
	size_t i;

	*run = (struct reload_run){
		.control = c,
		.certs = certs,
		.reload = {
			.from = config_ref(c->config),
			.to = config_ref(to),
			.generation = generation,
			.services = must_array(to->n_services, sizeof(struct reload_service)),
			.n = to->n_services,
			.removed = must_array(c->n + 1, sizeof(struct service *)),
		},
		.added = must_array(to->n_services, sizeof(struct service *)),
	};
	match(run, plan);
	for (i = 0; i < run->n_added; i++)
		if (!has_engine(c, run->added[i]->config->engine)) {
			(void)why_set(why, E_CONFIG, "%s:%u: service \"%s\": the first of engine \"%s\" needs an upgrade (tealctl upgrade)",
				      run->added[i]->config->at.file, run->added[i]->config->at.line, run->added[i]->config->name,
				      engine_word(run->added[i]->config->engine));
			abandon(run, 0);
			return E_CONFIG;
		}
	for (i = 0; i < c->n_engines && e == OK; i++)
		if (c->engines[i]->prepare != NULL)
			e = c->engines[i]->prepare(c->engines[i], &run->reload, why);
	if (e == OK)
		return OK;
	/* The last one has left nothing itself. */
	abandon(run, i - 1);
	return E_CONFIG;
}

/* -- the commit ---------------------------------------------------------------------- */

/* Until control has added it. */
static bool
service_is_new(const struct service *s)
{
	return s->ctl == NULL;
}

/* What an engine of the kernel reads on threads of its own stays what it was; such a
 * service has not changed (model/config_plan.c). */
static void
point_services(struct reload_run *run)
{
	struct control *c = run->control;

	for (size_t i = 0; i < run->reload.n; i++) {
		const struct reload_service *rs = &run->reload.services[i];

		if (rs->config->engine != ENGINE_PROXY || service_is_new(rs->service))
			continue;
		control_configure_service(c, rs->service->ctl, rs->config);
		service_obey(rs->service, rs->config, run->reload.to);
	}
}

/* In one step, or a connection that begins by the new terms could go to an old backend. */
static void
tell_engines_of_reload(struct reload_run *run)
{
	struct control *c = run->control;
	struct reload *r = &run->reload;

	for (size_t i = 0; i < r->n; i++)
		if (!service_is_new(r->services[i].service))
			r->services[i].snapshot = publish_take(r->services[i].service->ctl);
	for (size_t i = 0; i < c->n_engines; i++)
		run->waiting += c->engines[i]->commit != NULL;
	for (size_t i = 0; i < c->n_engines; i++)
		if (c->engines[i]->commit != NULL)
			c->engines[i]->commit(c->engines[i], r);
	for (size_t i = 0; i < r->n; i++)
		snapshot_unref(&r->services[i].snapshot);
}

static void
change_services(struct reload_run *run)
{
	struct control *c = run->control;

	for (size_t i = 0; i < run->reload.n; i++) {
		const struct reload_service *rs = &run->reload.services[i];

		if (!rs->changed || service_is_new(rs->service))
			continue;
		if (rs->service->colorless != rs->service->config->colorless)
			rollout_change_colors(rs->service->ctl);
		backends_reconfigure(rs->service->ctl);
		health_reconfigure(c->health, rs->service);
		if (ctl_is_published(rs->service->ctl))
			publish_soon(rs->service->ctl);
	}
	control_know_colorless(c);
}

/* A receiver that stays what it was keeps its connection. */
static void
point_log(const struct reload *r)
{
	const struct log_syslog *from = &r->from->log.syslog, *to = &r->to->log.syslog;

	if (r->from->log.to_syslog == r->to->log.to_syslog &&
	    (!r->to->log.to_syslog ||
	     (from->transport == to->transport && strcmp(from->host, to->host) == 0 && from->port == to->port &&
	      strcmp(from->path, to->path) == 0 && from->format == to->format && from->facility == to->facility &&
	      from->max_message == to->max_message)))
		return;
	log_set_syslog(r->to->log.to_syslog ? to : NULL);
}

void
reload_commit(struct reload_run *run)
{
	struct control *c = run->control;
	const struct reload *r = &run->reload;
	const struct config *old = c->config;

	c->config = config_ref(r->to);
	config_unref(&old);
	point_services(run);
	c->committing = true;
	/* Backends that come now are checked by the terms that they come with. */
	certs_reconfigure(c->certs, run->certs);
	nodes_reconfigure(c->nodes, r->to);
	notify_reconfigure(c->notify, r->to);
	change_services(run);
	c->committing = false;
	tell_engines_of_reload(run);
	for (size_t i = 0; i < run->n_added; i++) {
		if (c->on_added != NULL)
			c->on_added(c->arg, run->added[i]);
		(void)control_add_service(c, run->added[i], run->certs);
	}
	control_know_colorless(c);
	c->store->reconfigure(c->store, r->to);
	/* The last: whose command ends with a service may ask for something new at once. */
	for (size_t i = 0; i < r->n_removed; i++)
		control_remove_service(c, r->removed[i]->ctl);
	control_announce(c);
	resolve_review_soon(c);
	if (r->from->log.level != r->to->log.level)
		log_set_level(r->to->log.level);
	point_log(r);
	if (c->on_reloaded != NULL)
		c->on_reloaded(c->arg, r->to);
}

void
reload_finish(struct reload_run *run)
{
	config_unref(&run->reload.from);
	config_unref(&run->reload.to);
	free(run->reload.services);
	free(run->reload.removed);
	free(run->added);
	*run = (struct reload_run){ 0 };
}
