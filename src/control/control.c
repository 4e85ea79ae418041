/* control.c - where decisions are made and orders given.  Thread: main. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "control/control.h"
#include "control/drain.h"
#include "control/flip.h"
#include "control/publish.h"

#define STOP_POLL 0.02
/* Beyond the deadline the workers still need some turns to cut a great many. */
#define STOP_GRACE 3.0
/* A backend that takes longer to answer its first check than this does not
 * hold up the start. */
#define FIRST_ROUND_EXTRA 0.25

struct entry *
control_find(struct control *c, struct str name)
{
	for (size_t i = 0; i < c->n; i++)
		if (str_eq(name, c->entries[i].service->config->name))
			return &c->entries[i];
	return NULL;
}

/* -- the store speaks ----------------------------------------------------------- */

static void
color_changed(struct entry *e, enum color from)
{
	struct service *s = e->service;

	BUS_EMIT(&e->control->bus, LOG_INFO_LEVEL, "flip.applying", s, LS("from", color_word(from)),
		 LS("to", color_word(s->record.color)), LU("epoch", s->record.epoch), LS("by", s->record.by));
	flip_on_superseded(e);
	drain_cancel(e);
	e->draining_due = true;
	e->epoch_generation = s->generation + 1;
	if (e->published)
		publish_now(e);
}

static void
control_on_record(void *arg, const char *service, const struct record *r)
{
	struct control *c = arg;
	struct entry *e = control_find(c, str_from(service));
	enum color from;
	struct service *s;

	if (e == NULL)
		return;
	s = e->service;
	from = s->record.color;
	if (s->known && r->epoch < s->record.epoch) {
		BUS_EMIT(&c->bus, LOG_ERROR_LEVEL, "store.epoch_lower", s, LU("have", s->record.epoch),
			 LU("got", r->epoch));
		return;
	}
	s->record = *r;
	if (!s->known) {
		s->known = true;
		e->epoch_generation = s->generation + 1;
		return;
	}
	if (r->color != from) {
		color_changed(e, from);
	} else if (e->epoch_generation <= s->generation && r->epoch > s->applied_epoch && s->taken >= e->epoch_generation) {
		/* A new epoch without a new color: nothing to hand over. */
		s->applied_epoch = r->epoch;
		flip_on_applied(e);
	}
}

/* -- serving begins ---------------------------------------------------------------- */

static void
begin_serving(struct entry *e)
{
	struct control *c = e->control;

	if (e->published || !e->service->known)
		return;
	if (!c->first_round_over && !health_first_round(c->health, e->service))
		return;
	publish_now(e);
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
		if (c->entries[i].service->taken == 0)
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
	struct entry *e = &c->entries[s->index];

	BUS_EMIT(&c->bus, b->state == BACKEND_UP ? LOG_INFO_LEVEL : LOG_WARN_LEVEL,
		 b->state == BACKEND_UP ? "backend.up" : "backend.down", s, LS("color", color_word(b->color)),
		 LS("backend", b->text), LS("was", backend_state_word(was)), LS("reason", b->error));
	if (e->published)
		publish_soon(e);
	else if (c->health != NULL)
		begin_serving(e);
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
control_on_taken(void *arg, struct service *s, uint64_t generation)
{
	struct control *c = arg;
	struct entry *e = &c->entries[s->index];

	serving_yet(c);
	if (generation < e->epoch_generation || s->applied_epoch >= s->record.epoch)
		return;
	s->applied_epoch = s->record.epoch;
	if (e->draining_due)
		BUS_EMIT(&c->bus, LOG_INFO_LEVEL, "flip.applied", s, LS("to", color_word(s->record.color)),
			 LU("epoch", s->record.epoch), LS("by", s->record.by), LS("reason", s->record.reason));
	flip_on_applied(e);
	if (!e->draining_due)
		return;
	e->draining_due = false;
	drain_start(e, color_other(s->record.color), e->drain_timeout);
	e->drain_timeout = -1;
}

/* -- ready, maintenance, stop ---------------------------------------------------------- */

bool
control_ready(const struct control *c, const char **reason)
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

	for (size_t i = 0; i < c->n; i++)
		for (int color = 0; color < COLORS; color++)
			sum += c->engine->count(c->engine, c->entries[i].service, (enum color)color);
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
	ev_timer_stop(loop, t);
	c->life = LIFE_STOPPED;
	BUS_EMIT(&c->bus, left > 0 ? LOG_WARN_LEVEL : LOG_INFO_LEVEL, "teald.drained", NULL, LU("remaining", left));
	c->on_stopped(c->arg);
}

static void
control_on_closed(void *arg)
{
	struct control *c = arg;

	c->stop_deadline = clock_now() + c->config->stop.timeout;
	BUS_EMIT(&c->bus, LOG_INFO_LEVEL, "teald.draining", NULL, LU("remaining", connections_left(c)),
		 LF("timeout", c->config->stop.timeout));
	for (size_t i = 0; i < c->n; i++) {
		struct service *s = c->entries[i].service;
		const struct drain_orders orders = {
			.idle = s->config->drain.idle,
			.spread = s->config->drain.spread,
			.timeout = c->config->stop.timeout,
			.ending = END_STOP,
		};

		for (int color = 0; color < COLORS; color++)
			c->engine->drain(c->engine, s, (enum color)color, &orders);
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
	c->engine->close(c->engine);
}

void
control_stop(struct control *c)
{
	if (c->life > LIFE_SERVING)
		return;
	c->life = LIFE_NOTICE;
	BUS_EMIT(&c->bus, LOG_INFO_LEVEL, "teald.stopping", NULL, LF("notice", c->config->stop.notice));
	ev_timer_set(&c->stop_timer, c->config->stop.notice, 0.0);
	ev_timer_start(c->loop, &c->stop_timer);
}

/* -- life --------------------------------------------------------------------------------- */

void
control_backend_refused(struct control *c, struct service *s)
{
	if (c->health != NULL)
		health_hurry(c->health, s);
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

enum err
control_open(struct control *c, struct ev_loop *loop, const struct config *config, struct jobs *jobs,
	     struct store *store, struct engine *engine, struct service **services, size_t n, struct why *why)
{
	const struct health_events events = { .changed = control_on_health, .arg = c };
	enum err e;

	memset(c, 0, sizeof(*c));
	c->loop = loop;
	c->config = config;
	c->jobs = jobs;
	c->store = store;
	c->engine = engine;
	c->started = clock_now();
	bus_init(&c->bus);
	c->entries = must_array(n, sizeof(struct entry));
	c->n = n;
	for (size_t i = 0; i < n; i++) {
		c->entries[i].service = services[i];
		c->entries[i].control = c;
		c->entries[i].drain_timeout = -1;
		list_init(&c->entries[i].flips);
		list_init(&c->entries[i].drainers);
	}
	ev_timer_init(&c->publish_timer, control_on_publish, 0.0, 0.0);
	ev_timer_init(&c->stop_timer, control_on_notice_over, 0.0, 0.0);
	ev_timer_init(&c->stop_poll, control_on_stop_poll, 0.0, STOP_POLL);
	ev_timer_init(&c->first_round, control_on_first_round, longest_health_timeout(c) + FIRST_ROUND_EXTRA, 0.0);
	ev_timer_start(loop, &c->first_round);
	engine->on_taken = control_on_taken;
	engine->on_closed = control_on_closed;
	engine->arg = c;
	store->on_record = control_on_record;
	store->on_ready = control_on_store_ready;
	store->arg = c;
	if ((e = store->open(store, why)) != OK)
		return e;
	c->health = health_new(loop, services, n, &events);
	for (size_t i = 0; i < n; i++)
		begin_serving(&c->entries[i]);
	return OK;
}

void
control_close(struct control *c)
{
	for (size_t i = 0; i < c->n; i++) {
		drain_cancel(&c->entries[i]);
		flip_forget_all(&c->entries[i]);
	}
	ev_timer_stop(c->loop, &c->publish_timer);
	ev_timer_stop(c->loop, &c->stop_timer);
	ev_timer_stop(c->loop, &c->stop_poll);
	ev_timer_stop(c->loop, &c->first_round);
	health_free(&c->health);
	free(c->entries);
	c->entries = NULL;
	c->n = 0;
}
