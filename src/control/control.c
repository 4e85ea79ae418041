/* control.c - where decisions are made and orders given.  Thread: main. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "control/certs.h"
#include "control/control.h"
#include "control/drain.h"
#include "control/flip.h"
#include "control/nodes.h"
#include "control/outlier.h"
#include "control/publish.h"
#include "control/resolve.h"
#include "control/slow_start.h"

#define STOP_POLL 0.02
/* Beyond the deadline the workers still need some turns to cut a great many. */
#define STOP_GRACE 3.0
/* How long the end waits for the store to hear it. */
#define GOODBYE 0.5
#define STALE_EVERY 0.25
#define PULSE 0.1
/* A backend that takes longer to answer its first check than this does not
 * hold up the start. */
#define FIRST_ROUND_EXTRA 0.25

static const char *
name_of(const void *p)
{
	return (*(struct service_ctl *const *)p)->service->config->name;
}

static int
compare_entries(const void *a, const void *b)
{
	return strcmp(name_of(a), name_of(b));
}

static int
compare_name(const void *name, const void *b)
{
	return strcmp(name, name_of(b));
}

struct service_ctl *
control_find(struct control *c, struct str name)
{
	char text[RECORD_NAME];
	struct service_ctl **at;

	if (c->n == 0 || memchr(name.p, '\0', name.n) != NULL || !str_copy(text, sizeof(text), name))
		return NULL;
	at = bsearch(text, c->by_name, c->n, sizeof(*c->by_name), compare_name);
	return at != NULL ? *at : NULL;
}

/* Tells the fleet, where there is one. */
static void
announce(struct control *c)
{
	if (c->store->announce != NULL)
		c->store->announce(c->store);
}

/* The color is known, so clients may come and wait for the first snapshot. */
static void
open_entrance(struct service_ctl *ctl)
{
	struct control *c = ctl->control;
	struct why why;

	if (ctl->engine->open == NULL || ctl->engine->open(ctl->engine, ctl->service, &why) == OK)
		return;
	BUS_EMIT(&c->bus, LOG_ERROR_LEVEL, "listen.failed", ctl->service, LS("message", why.text));
	c->failed = true;
	c->failure = why;
	c->life = LIFE_STOPPED;
	if (c->on_fatal != NULL)
		c->on_fatal(c->arg, &why);
}

/* -- the store speaks ----------------------------------------------------------- */

static void
color_changed(struct service_ctl *ctl, enum color from)
{
	struct service *s = ctl->service;

	BUS_EMIT(&ctl->control->bus, LOG_INFO_LEVEL, "flip.applying", s, LS("from", color_word(from)),
		 LS("to", color_word(s->record.color)), LU("epoch", s->record.epoch), LS("by", s->record.by));
	flip_on_superseded(ctl);
	drain_cancel(ctl);
	/* The same epoch with another color (a store that was tampered with) has
	 * to be applied anew. */
	if (s->applied_epoch >= s->record.epoch)
		s->applied_epoch = s->record.epoch - 1;
	ctl->draining_due = true;
	ctl->epoch_generation = s->generation + 1;
	if (ctl->published)
		publish_now(ctl);
}

static void begin_serving(struct service_ctl *ctl);

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
	if (s->known && r->epoch < s->record.epoch) {
		BUS_EMIT(&c->bus, LOG_ERROR_LEVEL, "store.epoch_lower", s, LU("have", s->record.epoch),
			 LU("got", r->epoch));
		return;
	}
	s->record = *r;
	if (!s->known) {
		s->known = true;
		ctl->epoch_generation = s->generation + 1;
		open_entrance(ctl);
		if (c->health != NULL)
			begin_serving(ctl);
		return;
	}
	if (r->color != from) {
		color_changed(ctl, from);
	} else if (ctl->epoch_generation <= s->generation && r->epoch > s->applied_epoch && s->acked >= ctl->epoch_generation) {
		/* A new epoch without a new color: nothing to hand over. */
		s->applied_epoch = r->epoch;
		announce(c);
		flip_on_applied(ctl);
	}
}

/* -- serving begins ---------------------------------------------------------------- */

static void
begin_serving(struct service_ctl *ctl)
{
	struct control *c = ctl->control;

	if (ctl->published || !ctl->service->known)
		return;
	/* One that is well is enough to begin with; the others join as they
	 * answer.  A dead idle color holds nobody up. */
	if (service_healthy(ctl->service, ctl->service->record.color) == 0 && !c->first_round_over &&
	    !health_first_round(c->health, ctl->service))
		return;
	publish_now(ctl);
}

static void
control_on_store_ready(void *arg)
{
	struct control *c = arg;

	c->store_ready = true;
	if (c->health == NULL)
		return;
	for (size_t i = 0; i < c->n; i++)
		begin_serving(&c->entries[i]);
}

static void
control_on_first_round(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct control *c = container_of(t, struct control, first_round);

	(void)loop;
	(void)revents;
	c->first_round_over = true;
	for (size_t i = 0; i < c->n; i++)
		begin_serving(&c->entries[i]);
}

static void
serving_yet(struct control *c)
{
	const char *reason;

	if (c->life != LIFE_STARTING)
		return;
	for (size_t i = 0; i < c->n; i++)
		if (c->entries[i].service->acked == 0)
			return;
	c->life = LIFE_SERVING;
	BUS_EMIT(&c->bus, LOG_INFO_LEVEL, "teald.serving", NULL, LU("services", c->n),
		 LF("seconds", clock_now() - c->started), LB("ready", control_ready(c, &reason)));
}

/* -- health and engine speak --------------------------------------------------------- */

static void
control_on_health(void *arg, struct service *s, struct backend *b, enum backend_state was)
{
	struct control *c = arg;
	struct service_ctl *ctl = &c->entries[s->index];

	BUS_EMIT(&c->bus, b->state == BACKEND_UP ? LOG_INFO_LEVEL : LOG_WARN_LEVEL,
		 b->state == BACKEND_UP ? "backend.up" : "backend.down", s, LS("color", color_word(b->color)),
		 LS("backend", b->text), LS("was", backend_state_word(was)), LS("reason", b->error));
	announce(c);
	outlier_on_health(ctl, b, was);
	resolve_on_health(ctl, b);
	if (ctl->published)
		publish_soon(ctl);
	else if (c->health != NULL)
		begin_serving(ctl);
}

static void
control_on_publish(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct control *c = container_of(t, struct control, publish_timer);

	(void)loop;
	(void)revents;
	for (size_t i = 0; i < c->n; i++)
		if (c->entries[i].dirty)
			publish_now(&c->entries[i]);
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
}

/* An engine whose connections outlive teald may have found some on the idle
 * color: they get what is left of the time they had. */
static void
resume_drain(struct service_ctl *ctl)
{
	const struct record *r = &ctl->service->record;
	double rest = ctl->service->config->drain.timeout - (double)(clock_wall_us() - r->at_us) / 1e6;

	/* A change that is said to come yet has had no time. */
	if (rest > ctl->service->config->drain.timeout)
		rest = ctl->service->config->drain.timeout;
	ctl->settled = true;
	if (!ctl->draining_due && ctl->drain == NULL && ctl_count(ctl, color_other(r->color)) > 0)
		drain_start(ctl, color_other(r->color), rest > 0 ? rest : 0);
}

static void
control_on_acked(void *arg, struct service *s, uint64_t generation)
{
	struct control *c = arg;
	struct service_ctl *ctl = &c->entries[s->index];

	if (c->life == LIFE_STOPPED)
		return;
	serving_yet(c);
	nodes_on_acked(c->nodes);
	if (generation >= ctl->epoch_generation && !ctl->settled)
		resume_drain(ctl);
	if (generation < ctl->epoch_generation || s->applied_epoch >= s->record.epoch)
		return;
	s->applied_epoch = s->record.epoch;
	announce(c);
	if (ctl->draining_due)
		BUS_EMIT(&c->bus, LOG_INFO_LEVEL, "flip.applied", s, LS("to", color_word(s->record.color)),
			 LU("epoch", s->record.epoch), LS("by", s->record.by), LS("reason", s->record.reason));
	flip_on_applied(ctl);
	if (!ctl->draining_due)
		return;
	ctl->draining_due = false;
	drain_start(ctl, color_other(s->record.color), ctl->drain_timeout);
	ctl->drain_timeout = -1;
}

/* -- ready, maintenance, stop ---------------------------------------------------------- */

bool
control_serves(const struct service_ctl *ctl)
{
	return ctl->published && service_healthy(ctl->service, ctl->service->record.color) > 0;
}

/* As many services as ready.min_services wants have a backend that answers. */
static bool
enough_serve(const struct control *c, const char **reason)
{
	static char text[160];
	size_t needed = quorum_of(&c->config->ready.min_services, c->n), serving = 0;

	for (size_t i = 0; i < c->n && serving < needed; i++)
		serving += control_serves(&c->entries[i]);
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
	if (c->life > LIFE_SERVING)
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

static uint64_t
connections_left(struct control *c)
{
	uint64_t sum = 0;

	for (int k = 0; k < ENGINES; k++)
		if (c->engines[k] != NULL && c->engines[k]->left != NULL)
			sum += c->engines[k]->left(c->engines[k]);
	for (size_t i = 0; i < c->n; i++)
		for (int color = 0; color < COLORS && c->entries[i].engine->left == NULL; color++)
			sum += ctl_count(&c->entries[i], (enum color)color);
	return sum;
}

static void
control_on_stop_poll(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct control *c = container_of(t, struct control, stop_poll);
	uint64_t left = connections_left(c);
	double now = clock_now();

	(void)revents;
	if (left > 0 && now < c->stop_deadline + STOP_GRACE)
		return;
	/* The fleet is told goodbye, if the store can be reached. */
	if (c->store->leave != NULL && !c->store->leave(c->store) && now < c->closed_at + GOODBYE)
		return;
	ev_timer_stop(loop, t);
	c->life = LIFE_STOPPED;
	BUS_EMIT(&c->bus, left > 0 ? LOG_WARN_LEVEL : LOG_INFO_LEVEL, "teald.drained", NULL, LU("remaining", left));
	c->on_stopped(c->arg);
}

static void
control_on_closed(void *arg)
{
	struct control *c = arg;

	if (--c->engines_open > 0 || c->life == LIFE_STOPPED)
		return;
	c->closed_at = clock_now();
	c->stop_deadline = c->closed_at + c->config->stop.timeout;
	if (c->store->leave != NULL)
		(void)c->store->leave(c->store);
	BUS_EMIT(&c->bus, LOG_INFO_LEVEL, "teald.draining", NULL, LU("remaining", connections_left(c)),
		 LF("timeout", c->config->stop.timeout));
	for (size_t i = 0; i < c->n; i++) {
		struct service_ctl *ctl = &c->entries[i];
		const struct drain_orders orders = {
			.at = clock_now(),
			.idle = ctl->service->config->drain.idle,
			.spread = ctl->service->config->drain.spread,
			.timeout = c->config->stop.timeout,
			.ending = END_STOP,
			.all = true,
		};

		for (int color = 0; color < COLORS; color++)
			ctl->engine->drain(ctl->engine, ctl->service, (enum color)color, &orders);
	}
	ev_timer_set(&c->stop_poll, 0.0, STOP_POLL);
	ev_timer_start(c->loop, &c->stop_poll);
}

static void
control_on_notice_over(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct control *c = container_of(t, struct control, stop_timer);

	(void)loop;
	(void)revents;
	c->life = LIFE_CLOSING;
	BUS_EMIT(&c->bus, LOG_INFO_LEVEL, "teald.closing", NULL, LU("connections", connections_left(c)));
	for (int k = 0; k < ENGINES; k++)
		c->engines_open += c->engines[k] != NULL;
	for (int k = 0; k < ENGINES; k++)
		if (c->engines[k] != NULL)
			c->engines[k]->close(c->engines[k]);
}

void
control_stop(struct control *c)
{
	if (c->life > LIFE_SERVING)
		return;
	c->life = LIFE_NOTICE;
	BUS_EMIT(&c->bus, LOG_INFO_LEVEL, "teald.stopping", NULL, LF("notice", c->config->stop.notice));
	for (int k = 0; k < ENGINES; k++)
		if (c->engines[k] != NULL && c->engines[k]->notice != NULL)
			c->engines[k]->notice(c->engines[k]);
	ev_timer_set(&c->stop_timer, c->config->stop.notice, 0.0);
	ev_timer_start(c->loop, &c->stop_timer);
}

/* -- life --------------------------------------------------------------------------------- */

void
control_backend_refused(struct control *c, struct service *s)
{
	if (c->health != NULL)
		health_hurry(c->health, s);
	outlier_look(&c->entries[s->index]);
}

/* -- the fleet's store ---------------------------------------------------------------------- */

static void
control_describe(void *arg, struct fleet_member *self)
{
	struct control *c = arg;
	const char *reason;

	if (self->services == NULL)
		self->services = must_array(c->n, sizeof(struct fleet_service));
	self->n = c->n;
	self->ready = control_ready(c, &reason);
	for (size_t i = 0; i < c->n; i++) {
		const struct service *s = c->entries[i].service;
		struct fleet_service *f = &self->services[i];

		str_copy(f->name, sizeof(f->name), str_from(s->config->name));
		f->applied = s->applied_epoch;
		f->holding = (unsigned)ctl_count(&c->entries[i], color_other(s->record.color));
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
	/* Before the first verdict nobody can say that it is unhealthy. */
	return !checked || service_healthy(ctl->service, to) > 0;
}

static void
control_on_stale_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct control *c = container_of(t, struct control, stale_timer);
	struct store_status status;
	bool stale;

	(void)loop;
	(void)revents;
	c->store->status(c->store, &status);
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
		if (c->entries[i].published)
			publish_soon(&c->entries[i]);
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
	if (c->store->refresh == NULL) {
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
		BUS_EMIT(&c->bus, LOG_ERROR_LEVEL, "engine.trouble", NULL, LS("name", engine->name), LS("message", why));
	else
		BUS_EMIT(&c->bus, LOG_INFO_LEVEL, "engine.recovered", NULL, LS("name", engine->name));
}

static double
longest_health_timeout(const struct control *c)
{
	double longest = 0;

	for (size_t i = 0; i < c->n; i++) {
		const struct health_config *h = &c->entries[i].service->config->health;

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

	c->store->status(c->store, &status);
	return status.age;
}

static void
hook_engines(struct control *c, struct engine *const engines[ENGINES])
{
	for (int k = 0; k < ENGINES; k++) {
		if ((c->engines[k] = engines[k]) == NULL)
			continue;
		engines[k]->on_acked = control_on_acked;
		engines[k]->on_closed = control_on_closed;
		engines[k]->on_stalled = control_on_stalled;
		engines[k]->on_trouble = control_on_trouble;
		engines[k]->age = control_age;
		engines[k]->arg = c;
	}
}

enum err
control_open(struct control *c, struct ev_loop *loop, const struct config *config, struct jobs *jobs,
	     struct store *store, struct engine *const engines[ENGINES], struct service **services, size_t n,
	     struct why *why)
{
	const struct health_events events = { .changed = control_on_health, .arg = c };
	enum err e;

	memset(c, 0, sizeof(*c));
	c->loop = loop;
	c->config = config;
	c->jobs = jobs;
	c->store = store;
	c->started = clock_now();
	bus_init(&c->bus);
	list_init(&c->gates);
	c->entries = must_array(n, sizeof(struct service_ctl));
	c->n = n;
	for (size_t i = 0; i < n; i++) {
		c->entries[i].service = services[i];
		c->entries[i].engine = engines[services[i]->config->engine];
		CHECK(c->entries[i].engine != NULL);
		c->entries[i].control = c;
		c->entries[i].drain_timeout = -1;
		list_init(&c->entries[i].flips);
		list_init(&c->entries[i].healing);
		list_init(&c->entries[i].drainers);
	}
	c->by_name = must_array(n + 1, sizeof(*c->by_name));
	for (size_t i = 0; i < n; i++)
		c->by_name[i] = &c->entries[i];
	qsort(c->by_name, n, sizeof(*c->by_name), compare_entries);
	c->pulsed = clock_now();
	ev_timer_init(&c->pulse, control_on_pulse, PULSE, PULSE);
	ev_timer_start(loop, &c->pulse);
	ev_timer_init(&c->publish_timer, control_on_publish, 0.0, 0.0);
	outlier_init(c);
	slow_start_init(c);
	ev_timer_init(&c->stop_timer, control_on_notice_over, 0.0, 0.0);
	ev_timer_init(&c->stop_poll, control_on_stop_poll, 0.0, STOP_POLL);
	ev_timer_init(&c->first_round, control_on_first_round, longest_health_timeout(c) + FIRST_ROUND_EXTRA, 0.0);
	ev_timer_start(loop, &c->first_round);
	hook_engines(c, engines);
	store->on_record = control_on_record;
	store->on_ready = control_on_store_ready;
	store->describe = control_describe;
	store->may_obey = control_may_obey;
	store->arg = c;
	resolve_init(c);
	c->nodes = nodes_new(c);
	ev_timer_init(&c->stale_timer, control_on_stale_timer, STALE_EVERY, STALE_EVERY);
	if (store->fleet != NULL)
		ev_timer_start(loop, &c->stale_timer);
	if ((e = certs_open(&c->certs, c, why)) != OK || (e = store->open(store, why)) != OK)
		return e;
	if (c->failed)
		return why_set(why, E_USAGE, "%s", c->failure.text);
	c->health = health_new(loop, services, n, &events);
	resolve_start(c);
	for (size_t i = 0; i < n; i++)
		begin_serving(&c->entries[i]);
	return OK;
}

void
control_forget(struct control *c)
{
	for (size_t i = 0; i < c->n; i++) {
		drain_cancel(&c->entries[i]);
		flip_forget_all(&c->entries[i]);
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
	ev_timer_stop(c->loop, &c->stop_timer);
	ev_timer_stop(c->loop, &c->stop_poll);
	ev_timer_stop(c->loop, &c->first_round);
	ev_timer_stop(c->loop, &c->stale_timer);
	nodes_free(&c->nodes);
	resolve_close(c);
	c->left_behind = !certs_close(&c->certs);
	health_free(&c->health);
	free(c->by_name);
	c->by_name = NULL;
	free(c->entries);
	c->entries = NULL;
	c->n = 0;
}
