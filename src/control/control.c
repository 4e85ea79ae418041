/* control.c - where decisions are made and orders given: its life, the checks' verdicts, and whether it is ready.
 * Thread: main. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "control/certs.h"
#include "control/control_private.h"
#include "control/drain.h"
#include "control/flip.h"
#include "control/nodes.h"
#include "control/notify.h"
#include "control/outlier.h"
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

/* -- serving begins ---------------------------------------------------------------- */

void
control_begin_serving(struct service_ctl *ctl)
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
		control_begin_serving(ctl);
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

/* -- health speaks --------------------------------------------------------- */

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
		control_begin_serving(ctl);
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
	control_hear_store(c, store);
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

void
control_begin_serving_all(struct control *c)
{
	for (size_t i = 0; i < c->n; i++)
		control_begin_serving(c->services[i]);
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
	control_begin_serving_all(c);
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
		control_begin_serving_all(c);
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
