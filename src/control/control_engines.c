/* control_engines.c - engines speak, come and go.  Thread: main. */
#include <stdlib.h>

#include "control/certs.h"
#include "control/control.h"
#include "control/engines.h"
#include "control/nodes.h"
#include "control/peer.h"
#include "control/reload.h"
#include "control/services.h"

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
