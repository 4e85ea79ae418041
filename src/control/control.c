/* control.c - where decisions are made and orders given.  Thread: main. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "control/certs.h"
#include "control/claim.h"
#include "control/control.h"
#include "control/drain.h"
#include "control/engines.h"
#include "control/flip.h"
#include "control/gate_check.h"
#include "control/nodes.h"
#include "control/notify.h"
#include "control/outlier.h"
#include "control/peer.h"
#include "control/publish.h"
#include "control/quality.h"
#include "control/reload.h"
#include "control/resolve.h"
#include "control/services.h"
#include "control/slow_start.h"

#define STALE_EVERY 0.25
#define PULSE 0.1
/* Seconds in which main publishes before it does something else. */
#define PUBLISH_STEP 0.002
/* A backend that takes longer to answer its first check than this does not
 * hold up the start. */
#define FIRST_ROUND_EXTRA 0.25
#define CLOCK_SLACK 0.001
/* Nor does an API that does not tell the first nodes of a pool. */
#define FIRST_NODES_EXTRA 4.0

void
control_announce(struct control *c)
{
	if (c->begun && c->store->announce != NULL)
		c->store->announce(c->store);
}

/* The color is known, so clients may come and wait for the first snapshot. */
static void
open_entrance(struct service_ctl *ctl)
{
	struct control *c = ctl->control;
	struct why why;

	if (engines_open(ctl, &why) == OK)
		return;
	BUS_EMIT(&c->bus, LOG_ERROR_LEVEL, "listen.failed", ctl->service, LS("message", why.text));
	/* One that came later: the others go on. */
	if (c->life != LIFE_STARTING)
		return;
	c->failed = true;
	c->failure = why;
	c->life = LIFE_STOPPED;
	if (c->on_fatal != NULL)
		c->on_fatal(c->arg, &why);
}

/* -- the store speaks ----------------------------------------------------------- */

static void begin_serving(struct service_ctl *ctl);
static void begin_serving_all(struct control *c);

static void
forward_on_written(void *arg, enum err e, const struct record *now, const struct why *why)
{
	struct control *c = arg;

	(void)now;
	if (e != OK)
		BUS_EMIT(&c->bus, LOG_ERROR_LEVEL, "store.not_forwarded", NULL, LS("error", err_word(e)), LS("message", why->text));
}

/* The successor of another process may have another store, which has never heard of the
 * service: what is served is written there. */
static void
forward_record(struct control *c, const struct service *s, const struct record *stored)
{
	const struct record *r = &s->record;
	struct store_write w = {
		.service = s->config->name,
		.means = STORE_COLOR,
		.expect_epoch = stored->epoch,
		.next = *r,
		.entry = { .at_us = r->at_us, .change = r->change, .epoch = r->epoch, .from = stored->color, .to = r->color },
	};

	str_copy(w.entry.service, sizeof(w.entry.service), str_from(s->config->name));
	str_copy(w.entry.by, sizeof(w.entry.by), str_from(r->by));
	str_copy(w.entry.reason, sizeof(w.entry.reason), str_from(r->reason));
	str_copy(w.entry.result, sizeof(w.entry.result), STR("ok"));
	audit_set_host(&w.entry);
	BUS_EMIT(&c->bus, LOG_INFO_LEVEL, "store.forwarded", s, LS("color", color_word(r->color)), LU("epoch", r->epoch));
	c->store->write(c->store, &w, forward_on_written, c);
}

static void
control_on_record(void *arg, const char *service, const struct record *r)
{
	struct control *c = arg;
	struct service_ctl *ctl = control_find(c, str_from(service));
	enum color from;
	struct service *s;

	if (ctl == NULL)
		return;
	s = ctl->service;
	from = s->record.color;
	if (s->known && r->epoch < s->record.epoch && r->change == CHANGE_INITIAL) {
		forward_record(c, s, r);
		return;
	}
	if (s->known && r->epoch < s->record.epoch) {
		BUS_EMIT(&c->bus, LOG_ERROR_LEVEL, "store.epoch_lower", s, LU("have", s->record.epoch),
			 LU("got", r->epoch));
		return;
	}
	s->record = *r;
	if (s->known) {
		rollout_on_record(ctl, from);
		flip_on_record(ctl);
		gate_check_on_record(ctl);
		claim_on_record(ctl);
		return;
	}
	s->known = true;
	claim_on_record(ctl);
	/* Its colors went or came with a reload. */
	if (ctl_is_published(ctl)) {
		rollout_begin_again(ctl);
		return;
	}
	open_entrance(ctl);
	if (c->health != NULL)
		begin_serving(ctl);
}

void
control_know_colorless(struct control *c)
{
	static const struct record always = { .color = GREEN, .epoch = 1, .change = CHANGE_INITIAL };

	for (size_t i = 0; i < c->n; i++)
		if (c->services[i]->service->colorless && !c->services[i]->service->known)
			control_on_record(c, c->services[i]->service->config->name, &always);
}

/* -- serving begins ---------------------------------------------------------------- */

static void
begin_serving(struct service_ctl *ctl)
{
	struct control *c = ctl->control;

	if (ctl_is_published(ctl) || !ctl->service->known)
		return;
	/* One that is well, and no backup, is enough to begin with; the others join as they
	 * answer.  A dead idle color delays no start. */
	if (service_healthy(ctl->service, ctl->service->record.color) == 0 && !ctl->first_round_over &&
	    (!health_first_round(c->health, ctl->service) || nodes_are_awaited(c, ctl->service)))
		return;
	rollout_start(ctl);
}

static void
control_on_store_ready(void *arg)
{
	struct control *c = arg;

	c->store_ready = true;
	if (c->health != NULL)
		begin_serving_all(c);
}

/* The timer is for the service that has waited longest. */
static void
plan_first_round(struct control *c)
{
	double now = clock_now(), next = 0;

	for (size_t i = 0; i < c->n; i++)
		if (!c->services[i]->first_round_over && (next <= 0 || c->services[i]->first_round_by < next))
			next = c->services[i]->first_round_by;
	ev_timer_stop(c->loop, &c->first_round);
	if (next <= 0)
		return;
	ev_timer_set(&c->first_round, next > now ? next - now : 0, 0.0);
	ev_timer_start(c->loop, &c->first_round);
}

static void
control_on_first_round(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct control *c = container_of(t, struct control, first_round);
	double now = clock_now();

	(void)loop;
	(void)revents;
	for (size_t i = 0; i < c->n; i++) {
		struct service_ctl *ctl = c->services[i];

		/* The loop's clock and ours are not read at the same moment. */
		if (ctl->first_round_over || ctl->first_round_by > now + CLOCK_SLACK)
			continue;
		ctl->first_round_over = true;
		begin_serving(ctl);
	}
	plan_first_round(c);
}

void
control_wait_for_checks(struct service_ctl *ctl)
{
	const struct health_config *h = &ctl->service->config->health;

	ctl->first_round_by = clock_now() + (h->type != HEALTH_NONE ? h->timeout : 0) + FIRST_ROUND_EXTRA;
	plan_first_round(ctl->control);
}

void
control_serving_yet(struct control *c)
{
	const char *reason;

	if (c->life != LIFE_STARTING)
		return;
	for (size_t i = 0; i < c->n; i++)
		if (c->services[i]->service->acked == 0)
			return;
	c->life = LIFE_SERVING;
	BUS_EMIT(&c->bus, LOG_INFO_LEVEL, "teald.serving", NULL, LU("services", c->n),
		 LF("seconds", clock_now() - c->started), LB("ready", control_ready(c, &reason)));
}

/* Between the two steps of a start: told once. */
static void
prepared_yet(struct control *c)
{
	if (c->begun || c->prepared || c->health == NULL || !control_is_prepared(c))
		return;
	c->prepared = true;
	if (c->on_prepared != NULL)
		c->on_prepared(c->arg);
}

/* -- health and engine speak --------------------------------------------------------- */

static void
control_on_health(void *arg, struct service *s, struct backend *b, enum backend_state was)
{
	struct control *c = arg;
	struct service_ctl *ctl = s->ctl;

	static const char *const events[] = { [BACKEND_CHECKING] = "", [BACKEND_UP] = "backend.up",
					      [BACKEND_DRAINING] = "backend.draining", [BACKEND_DOWN] = "backend.down" };

	BUS_EMIT(&c->bus, b->state == BACKEND_DOWN ? LOG_WARN_LEVEL : LOG_INFO_LEVEL, events[b->state], s, service_color_field(s->config, b->color),
		 LS("backend", b->text), LS("was", backend_state_word(was)), LS("reason", b->error));
	control_announce(c);
	if (b->host != NULL && c->nodes != NULL)
		nodes_look_soon(c);
	outlier_on_health(ctl, b, was);
	resolve_on_health(ctl, b);
	if (ctl_is_published(ctl))
		publish_soon(ctl);
	else if (c->health != NULL)
		begin_serving(ctl);
}

/* What its checks say of its weight has changed. */
static void
control_on_weight(void *arg, struct service *s, struct backend *b)
{
	struct control *c = arg;
	struct service_ctl *ctl = s->ctl;

	BUS_EMIT(&c->bus, LOG_DEBUG_LEVEL, "backend.weight", s, service_color_field(s->config, b->color),
		 LS("backend", b->text), LF("weight", backend_weight(b) / 100.0), LU("endpoints", b->endpoints));
	service_forget_maglev(s, b->color);
	if (ctl_is_published(ctl))
		publish_soon(ctl);
}

static void
control_on_agent(void *arg, struct service *s, struct backend *b)
{
	struct control *c = arg;
	struct service_ctl *ctl = s->ctl;

	BUS_EMIT(&c->bus, LOG_INFO_LEVEL, "backend.agent", s, service_color_field(s->config, b->color),
		 LS("backend", b->text), LB("drained", b->agent.drain), LS("message", b->agent.said));
	if (!b->agent.drain && !b->agent.down && b->state == BACKEND_UP)
		slow_start_begin(ctl, b);
	service_forget_maglev(s, b->color);
	if (c->store_ready)
		control_announce(c);
	if (ctl_is_published(ctl))
		publish_soon(ctl);
}

static void
control_on_publish(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct control *c = container_of(t, struct control, publish_timer);
	double until = clock_now() + PUBLISH_STEP;

	(void)revents;
	for (size_t i = 0; i < c->n; i++) {
		if (!c->services[i]->dirty)
			continue;
		/* A node may be of a thousand services: the rest in the next turn. */
		if (clock_now() >= until) {
			ev_timer_set(t, 0.0, 0.0);
			ev_timer_start(loop, t);
			return;
		}
		publish_now(c->services[i]);
	}
}

static void
control_on_pulse(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct control *c = container_of(t, struct control, pulse);
	double now = clock_now();

	(void)loop;
	(void)revents;
	tally_lag(&c->lag, now - c->pulsed, PULSE);
	c->pulsed = now;
	/* A first answer that is no verdict yet is not told. */
	prepared_yet(c);
}

static void
control_on_committed(void *arg, struct engine *engine, uint64_t generation)
{
	struct control *c = arg;

	(void)engine;
	reload_on_committed(c->reloads, generation);
}

void
control_on_progress(struct service_ctl *ctl)
{
	struct control *c = ctl->control;

	control_serving_yet(c);
	nodes_on_acked(c->nodes);
	certs_on_acked(c->certs, ctl->service);
	rollout_on_acked(ctl);
	peer_on_acked(c->peer, ctl);
}

static void
control_on_acked(void *arg, struct engine *engine, struct service *s, unsigned thread, uint64_t generation)
{
	struct control *c = arg;

	if (c->life != LIFE_STOPPED && !s->ctl->removed && engines_ack(s->ctl, engine, thread, generation))
		control_on_progress(s->ctl);
}

/* -- ready, maintenance, stop ---------------------------------------------------------- */

bool
control_serves(const struct service_ctl *ctl)
{
	return ctl_is_published(ctl) &&
	       (ctl->service->config->backendless || service_can_serve(ctl->service, ctl->service->record.color));
}

/* As many services as ready.min_services wants have a backend that answers. */
static bool
enough_serve(const struct control *c, const char **reason)
{
	static char text[160];
	size_t needed = quorum_of(&c->config->ready.min_services, c->n), serving = 0;

	for (size_t i = 0; i < c->n && serving < needed; i++)
		serving += control_serves(c->services[i]);
	if (serving >= needed)
		return true;
	snprintf(text, sizeof(text), "%zu of %zu services have a backend that is up; ready.min_services wants %zu", serving,
		 c->n, needed);
	*reason = text;
	return false;
}

bool
control_ready(const struct control *c, const char **reason)
{
	return control_may_serve(c, reason) && enough_serve(c, reason);
}

bool
control_may_serve(const struct control *c, const char **reason)
{
	*reason = NULL;
	/* The process that has taken over serves, for us as well. */
	if (c->life > LIFE_YIELDED)
		*reason = "stopping";
	else if (!c->store_ready)
		*reason = "the store has not been read yet";
	else if (c->life == LIFE_STARTING)
		*reason = "the first health checks are not in yet";
	else if (c->maintenance)
		*reason = "in maintenance";
	else if (c->stale)
		*reason = "the store has not been read for store.max_age";
	return *reason == NULL;
}

bool
control_maintenance(struct control *c, bool on, const struct actor *by)
{
	if (c->maintenance == on)
		return false;
	c->maintenance = on;
	BUS_EMIT(&c->bus, LOG_INFO_LEVEL, on ? "maintenance.on" : "maintenance.off", NULL, LS("by", by->user));
	return true;
}

/* -- workers tell -------------------------------------------------------------------------- */

void
control_backend_refused(struct control *c, struct service *s)
{
	if (s->ctl->removed)
		return;
	if (c->health != NULL)
		health_kick(c->health, s);
	outlier_look(s->ctl);
}

/* -- the fleet's store ---------------------------------------------------------------------- */

static void
control_describe(void *arg, struct fleet_member *self)
{
	struct control *c = arg;
	const char *reason;

	size_t n = 0;

	for (size_t i = 0; i < c->n; i++)
		n += !c->services[i]->service->colorless;
	if (self->services == NULL || self->n != n) {
		free(self->services);
		self->services = must_array(n, sizeof(struct fleet_service));
		self->n = n;
	}
	self->ready = control_ready(c, &reason);
	nodes_describe(c, self);
	/* Without colors there is nothing that the others would wait for. */
	for (size_t i = 0, at = 0; i < c->n; i++) {
		const struct service *s = c->services[i]->service;
		struct fleet_service *f;

		if (s->colorless)
			continue;
		f = &self->services[at++];
		str_copy(f->name, sizeof(f->name), str_from(s->config->name));
		f->applied = s->applied_epoch;
		f->holding = (unsigned)engines_count(c->services[i], color_other(s->record.color));
		f->cut = c->services[i]->cut_epoch == f->applied ? c->services[i]->cut : 0;
		for (int k = 0; k < COLORS; k++) {
			f->colors[k].healthy = (unsigned)service_healthy(s, (enum color)k);
			f->colors[k].needed = (unsigned)service_needed(s, (enum color)k);
			f->colors[k].total = (unsigned)s->colors[k].n;
		}
	}
}

static bool
control_may_obey(void *arg, const char *name, enum color to)
{
	struct control *c = arg;
	struct service_ctl *ctl = control_find(c, str_from(name));
	bool checked = false;

	if (ctl == NULL || c->health == NULL)
		return true;
	for (size_t i = 0; i < ctl->service->colors[to].n; i++)
		checked |= ctl->service->colors[to].backends[i]->state != BACKEND_CHECKING;
	/* Before the first verdict it is not known to be unhealthy. */
	return !checked || service_can_serve(ctl->service, to);
}

void
control_store_status(const struct control *c, struct store_status *out)
{
	c->store->status(c->store, out);
	if (!out->read && c->confirmed_at > 0)
		out->age = clock_now() - c->confirmed_at;
}

void
control_look_at_age(struct control *c)
{
	struct store_status status;
	bool stale;

	control_store_status(c, &status);
	stale = c->store_ready && c->config->store.max_age > 0 && status.age > c->config->store.max_age;
	if (stale == c->stale)
		return;
	c->stale = stale;
	BUS_EMIT(&c->bus, stale ? LOG_ERROR_LEVEL : LOG_INFO_LEVEL, stale ? "store.stale" : "store.fresh", NULL,
		 LF("age", status.age), LF("max_age", c->config->store.max_age),
		 LB("refusing", stale && c->config->store.stale == STALE_REFUSE));
	if (c->config->store.stale != STALE_REFUSE)
		return;
	for (size_t i = 0; i < c->n; i++)
		if (ctl_is_published(c->services[i]))
			publish_soon(c->services[i]);
}

static void
control_on_stale_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
	(void)loop;
	(void)revents;
	control_look_at_age(container_of(t, struct control, stale_timer));
}

/* -- a worker slept ---------------------------------------------------------------------------- */

struct stalled {
	struct engine *engine;
	unsigned thread;
};

static void
stalled_on_fresh(void *arg, enum err e, const struct why *why)
{
	struct stalled *s = arg;

	(void)e;
	(void)why;
	s->engine->resume(s->engine, s->thread);
	free(s);
}

static void
control_on_stalled(void *arg, struct engine *engine, unsigned thread, double seconds)
{
	struct control *c = arg;
	struct stalled *s;

	if (c->life == LIFE_STOPPED)
		return;
	BUS_EMIT(&c->bus, LOG_WARN_LEVEL, "worker.stalled", NULL, LU("worker", thread), LF("seconds", seconds));
	if (!c->begun || c->store->refresh == NULL) {
		engine->resume(engine, thread);
		return;
	}
	s = must_alloc(sizeof(*s));
	s->engine = engine;
	s->thread = thread;
	c->store->refresh(c->store, stalled_on_fresh, s);
}

static void
control_on_trouble(void *arg, struct engine *engine, const char *why)
{
	struct control *c = arg;

	if (why != NULL)
		BUS_EMIT(&c->bus, LOG_ERROR_LEVEL, "engine.trouble", NULL, LS("name", engine->class->name), LS("message", why));
	else
		BUS_EMIT(&c->bus, LOG_INFO_LEVEL, "engine.recovered", NULL, LS("name", engine->class->name));
}

static double
longest_health_timeout(const struct control *c)
{
	double longest = 0;

	for (size_t i = 0; i < c->n; i++) {
		const struct health_config *h = &c->services[i]->service->config->health;

		if (h->type != HEALTH_NONE && h->timeout > longest)
			longest = h->timeout;
	}
	return longest;
}

static double
control_age(void *arg)
{
	struct control *c = arg;
	struct store_status status;

	control_store_status(c, &status);
	return status.age;
}

static void
control_on_forgotten(void *arg, struct engine *engine, struct service *s)
{
	services_on_forgotten(arg, engine, s);
}

static void
control_on_closed(void *arg)
{
	stop_on_closed(arg);
}

void
control_hear_engine(struct control *c, struct engine *engine)
{
	engine->on_acked = control_on_acked;
	engine->on_committed = control_on_committed;
	engine->on_closed = control_on_closed;
	engine->on_forgotten = control_on_forgotten;
	engine->on_stalled = control_on_stalled;
	engine->on_trouble = control_on_trouble;
	engine->age = control_age;
	engine->arg = c;
}

void
control_add_engine(struct control *c, struct engine *engine)
{
	c->engines = must_grow(c->engines, c->n_engines + 1, sizeof(*c->engines));
	c->engines[c->n_engines++] = engine;
	control_hear_engine(c, engine);
}

/* Its calls come to us. */
static void
hear_store(struct control *c, struct store *store)
{
	c->store = store;
	store->on_record = control_on_record;
	store->on_ready = control_on_store_ready;
	store->describe = control_describe;
	store->may_obey = control_may_obey;
	store->arg = c;
}

void
control_change_store(struct control *c, struct store *store)
{
	struct store_status status;

	/* The last word of it. */
	control_store_status(c, &status);
	c->confirmed_at = clock_now() - status.age;
	hear_store(c, store);
	nodes_hear(store);
	ev_timer_stop(c->loop, &c->stale_timer);
}

void
control_join_engine(struct control *c, struct engine *engine)
{
	control_add_engine(c, engine);
	for (size_t i = 0; i < c->n; i++)
		if (c->services[i]->service->config->engine == engine->class->kind &&
		    !engines_has(c->services[i], engine))
			engines_join(c->services[i], engine);
}

static void
drop_engine(struct service_ctl *ctl, struct engine *engine)
{
	if (!engines_has(ctl, engine))
		return;
	if (engine->strays != NULL)
		ctl->strays += engine->strays(engine, ctl->service);
	if (engines_leave(ctl, engine) && !ctl->removed)
		rollout_on_acked(ctl);
}

void
control_drop_engine(struct control *c, struct engine *engine)
{
	size_t left = 0;

	peer_keep_engine(c, engine);
	for (size_t i = 0; i < c->n; i++)
		drop_engine(c->services[i], engine);
	LIST_EACH(l, &c->leaving)
		drop_engine(list_entry(l, struct service_ctl, leaving), engine);
	for (size_t k = 0; k < c->n_engines; k++)
		if (c->engines[k] != engine)
			c->engines[left++] = c->engines[k];
	c->n_engines = left;
}

/* -- life ---------------------------------------------------------------------------------------- */

/* All but the store and the checks. */
static enum err
set_up(struct control *c, struct ev_loop *loop, const struct config *config, struct jobs *jobs, struct store *store,
       struct engine *const *engines, size_t n_engines, struct service **services, size_t n, struct why *why)
{
	memset(c, 0, sizeof(*c));
	c->loop = loop;
	c->config = config_ref(config);
	c->reloads = reloads_new(c);
	c->jobs = jobs;
	hear_store(c, store);
	c->started = clock_now();
	bus_init(&c->bus);
	list_init(&c->gates);
	list_init(&c->leaving);
	for (size_t i = 0; i < n_engines; i++)
		control_add_engine(c, engines[i]);
	for (size_t i = 0; i < n; i++)
		(void)services_put(c, services[i]);
	c->pulsed = clock_now();
	ev_timer_init(&c->pulse, control_on_pulse, PULSE, PULSE);
	ev_timer_start(loop, &c->pulse);
	ev_timer_init(&c->publish_timer, control_on_publish, 0.0, 0.0);
	outlier_init(c);
	slow_start_init(c);
	quality_open(c);
	stop_init(c);
	ev_timer_init(&c->first_round, control_on_first_round, 0.0, 0.0);
	for (size_t i = 0; i < n; i++)
		c->services[i]->first_round_by = c->started + longest_health_timeout(c) + FIRST_ROUND_EXTRA;
	resolve_init(c);
	c->nodes = nodes_new(c);
	for (size_t i = 0; i < n; i++)
		if (nodes_are_awaited(c, services[i]))
			c->services[i]->first_round_by += FIRST_NODES_EXTRA;
	plan_first_round(c);
	c->notify = notify_new(c);
	ev_timer_init(&c->stale_timer, control_on_stale_timer, STALE_EVERY, STALE_EVERY);
	return certs_open(&c->certs, c, why);
}

static enum err
open_store(struct control *c, struct why *why)
{
	enum err e;

	c->begun = true;
	if (c->store->fleet != NULL)
		ev_timer_start(c->loop, &c->stale_timer);
	if ((e = c->store->open(c->store, why)) != OK)
		return e;
	control_know_colorless(c);
	return c->failed ? why_set(why, E_USAGE, "%s", c->failure.text) : OK;
}

static void
begin_checks(struct control *c)
{
	const struct health_events events = { .changed = control_on_health, .weighed = control_on_weight, .agent = control_on_agent, .arg = c };
	struct service **services = must_array(c->n, sizeof(*services));

	for (size_t i = 0; i < c->n; i++)
		services[i] = c->services[i]->service;
	c->health = health_new(c->loop, services, c->n, &events);
	free(services);
	for (size_t i = 0; i < c->n; i++)
		resolve_join(c->services[i]);
}

/* What is known of nodes that an API tells: the configuration has none of them. */
static void
join_nodes(struct control *c)
{
	for (size_t i = 0; i < c->n; i++)
		nodes_join(c->services[i]);
}

static void
begin_serving_all(struct control *c)
{
	for (size_t i = 0; i < c->n; i++)
		begin_serving(c->services[i]);
}

enum err
control_open(struct control *c, struct ev_loop *loop, const struct config *config, struct jobs *jobs,
	     struct store *store, struct engine *const *engines, size_t n_engines, struct service **services, size_t n,
	     struct why *why)
{
	enum err e;

	if ((e = set_up(c, loop, config, jobs, store, engines, n_engines, services, n, why)) != OK ||
	    (e = open_store(c, why)) != OK)
		return e;
	begin_checks(c);
	join_nodes(c);
	nodes_watch_begin(c->nodes);
	begin_serving_all(c);
	return OK;
}

enum err
control_prepare(struct control *c, struct ev_loop *loop, const struct config *config, struct jobs *jobs,
		struct store *store, struct engine *const *engines, size_t n_engines, struct service **services,
		size_t n, struct why *why)
{
	enum err e = set_up(c, loop, config, jobs, store, engines, n_engines, services, n, why);

	/* Until then another one tells what happens, and may have events left to send. */
	notify_hold(c->notify);
	if (e == OK) {
		begin_checks(c);
		join_nodes(c);
	}
	return e;
}

enum err
control_begin(struct control *c, struct why *why)
{
	enum err e;

	CHECK(!c->begun);
	notify_resume(c->notify);
	if ((e = open_store(c, why)) == OK) {
		nodes_watch_begin(c->nodes);
		begin_serving_all(c);
	}
	return e;
}

bool
control_is_prepared(const struct control *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (!c->services[i]->first_round_over && !health_first_round(c->health, c->services[i]->service))
			return false;
	return true;
}

void
control_forget(struct control *c)
{
	for (size_t i = 0; i < c->n; i++) {
		drain_cancel(c->services[i]);
		flip_end_all(c->services[i], E_INTERNAL, "teald is stopping");
	}
}

void
control_close(struct control *c)
{
	control_forget(c);
	ev_timer_stop(c->loop, &c->pulse);
	ev_timer_stop(c->loop, &c->publish_timer);
	ev_timer_stop(c->loop, &c->outlier_timer);
	ev_timer_stop(c->loop, &c->slow_start_timer);
	quality_close(c);
	stop_close(c);
	ev_timer_stop(c->loop, &c->first_round);
	ev_timer_stop(c->loop, &c->stale_timer);
	nodes_free(&c->nodes);
	notify_free(&c->notify);
	resolve_close(c);
	c->left_behind = !certs_close(&c->certs);
	c->left_behind |= !reloads_free(&c->reloads);
	health_free(&c->health);
	services_close(c);
	free(c->inherited.lags);
	free(c->inherited.counters);
	free(c->engines);
	c->engines = NULL;
	c->n_engines = 0;
	config_unref(&c->config);
}
