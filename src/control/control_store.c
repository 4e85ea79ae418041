/* control_store.c - what the store says is obeyed, and what it is told: of the fleet, too.
 * Thread: main. */
#include <stdlib.h>

#include "base/clock.h"
#include "control/bake.h"
#include "control/ramp.h"
#include "control/claim.h"
#include "control/control_private.h"
#include "control/engines.h"
#include "control/flip.h"
#include "control/gate_check.h"
#include "control/nodes.h"
#include "control/publish.h"

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
	struct record was;
	struct service *s;

	if (ctl == NULL)
		return;
	s = ctl->service;
	if (s->known && r->epoch < s->record.epoch && r->change == CHANGE_INITIAL) {
		forward_record(c, s, r);
		return;
	}
	if (s->known && r->epoch < s->record.epoch) {
		BUS_EMIT(&c->bus, LOG_ERROR_LEVEL, "store.epoch_lower", s, LU("have", s->record.epoch),
			 LU("got", r->epoch));
		return;
	}
	was = s->record;
	s->record = *r;
	if (s->known) {
		rollout_on_record(ctl, &was);
		bake_on_record(ctl);
		ramp_on_record(ctl, true);
		flip_on_record(ctl);
		gate_check_on_record(ctl);
		claim_on_record(ctl);
		return;
	}
	s->known = true;
	claim_on_record(ctl);
	bake_on_known(ctl);
	ramp_on_record(ctl, false);
	/* Its colors went or came with a reload. */
	if (ctl_is_published(ctl)) {
		rollout_begin_again(ctl);
		return;
	}
	open_entrance(ctl);
	if (c->health != NULL)
		control_begin_serving(ctl);
}

void
control_know_colorless(struct control *c)
{
	static const struct record always = { .color = GREEN, .epoch = 1, .change = CHANGE_INITIAL };

	for (size_t i = 0; i < c->n; i++)
		if (c->services[i]->service->colorless && !c->services[i]->service->known)
			control_on_record(c, c->services[i]->service->config->name, &always);
}

static void
control_on_store_ready(void *arg)
{
	struct control *c = arg;

	c->store_ready = true;
	if (c->health != NULL)
		control_begin_serving_all(c);
}

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
		/* What has its share is not to become empty. */
		f->holding = s->record.share.idle > 0 ? 0 : (unsigned)engines_count(c->services[i], color_other(s->record.color));
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

void
control_on_stale_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
	(void)loop;
	(void)revents;
	control_look_at_age(container_of(t, struct control, stale_timer));
}

/* Its calls come to us. */
void
control_hear_store(struct control *c, struct store *store)
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
	control_hear_store(c, store);
	nodes_hear(store);
	ev_timer_stop(c->loop, &c->stale_timer);
}
