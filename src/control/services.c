/* services.c - services come, go and are found by name.  Thread: main. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "control/bake.h"
#include "control/ramp.h"
#include "control/claim.h"
#include "control/certs.h"
#include "control/drain.h"
#include "control/engines.h"
#include "control/flip.h"
#include "control/nodes.h"
#include "control/quality.h"
#include "control/resolve.h"
#include "control/services.h"

static const char *
ctl_name_of(const struct service_ctl *ctl)
{
	return ctl->service->config->name;
}

/* NULL: it comes before the service is published (control_join_engine()). */
static struct engine *
engine_of(const struct control *c, enum engine_kind kind)
{
	for (size_t i = 0; i < c->n_engines; i++)
		if (c->engines[i]->class->kind == kind)
			return c->engines[i];
	CHECK(!c->begun);
	return NULL;
}

/* -- the list ------------------------------------------------------------------- */

/* Where the name is, or belongs, among the sorted ones. */
static size_t
ctl_place_of(const struct control *c, const char *name)
{
	size_t low = 0, high = c->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(ctl_name_of(c->by_name[middle]), name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct service_ctl *
control_find(struct control *c, struct str name)
{
	char text[RECORD_NAME];
	size_t at;

	if (memchr(name.p, '\0', name.n) != NULL || !str_copy(text, sizeof(text), name))
		return NULL;
	at = ctl_place_of(c, text);
	return at < c->n && strcmp(ctl_name_of(c->by_name[at]), text) == 0 ? c->by_name[at] : NULL;
}

size_t
control_from(const struct control *c, uint64_t serial)
{
	size_t low = 0, high = c->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (c->services[middle]->serial < serial)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void
insert_ctl(struct service_ctl **list, size_t n, size_t at, struct service_ctl *ctl)
{
	memmove(&list[at + 1], &list[at], (n - at) * sizeof(*list));
	list[at] = ctl;
}

static void
take_ctl_out(struct service_ctl **list, size_t n, size_t at)
{
	memmove(&list[at], &list[at + 1], (n - at - 1) * sizeof(*list));
}

struct service_ctl *
services_put(struct control *c, struct service *s)
{
	struct engine *engine = engine_of(c, s->config->engine);
	struct service_ctl *ctl = must_alloc(sizeof(*ctl));
	size_t at = ctl_place_of(c, s->config->name);

	CHECK(s->ctl == NULL && (at == c->n || strcmp(ctl_name_of(c->by_name[at]), s->config->name) != 0));
	ctl->service = s;
	ctl->control = c;
	ctl->refs = 1;
	ctl->serial = ++c->serials;
	ctl->quality = quality_new(s);
	rollout_init(ctl);
	list_init(&ctl->flips);
	list_init(&ctl->healing);
	list_init(&ctl->checks);
	claim_init(ctl);
	list_init(&ctl->drainers);
	list_init(&ctl->leaving);
	s->ctl = ctl;
	bake_restart(ctl, clock_now());
	if (engine != NULL)
		engines_join(ctl, engine);
	c->services = must_grow(c->services, c->n + 1, sizeof(*c->services));
	c->by_name = must_grow(c->by_name, c->n + 1, sizeof(*c->by_name));
	insert_ctl(c->by_name, c->n, at, ctl);
	c->services[c->n++] = ctl;
	c->list_changes++;
	return ctl;
}

static void
ctl_free(struct service_ctl *ctl)
{
	list_remove(&ctl->leaving);
	claim_close(ctl);
	rollout_free(ctl);
	engines_free(ctl);
	free(ctl->quality);
	bake_free(ctl);
	ramp_free(ctl);
	ctl->service->ctl = NULL;
	free(ctl);
}

/* -- references ----------------------------------------------------------------- */

struct service_ctl *
ctl_ref(struct service_ctl *ctl)
{
	ctl->refs++;
	return ctl;
}

static void
free_if_unused(struct service_ctl *ctl)
{
	struct control *c = ctl->control;
	struct service *s = ctl->service;

	if (ctl->refs > 0 || ctl->n_engines > 0)
		return;
	ctl_free(ctl);
	if (c->on_removed != NULL)
		c->on_removed(c->arg, s);
}

void
ctl_unref(struct service_ctl **ctlp)
{
	struct service_ctl *ctl = *ctlp;

	*ctlp = NULL;
	if (ctl == NULL)
		return;
	CHECK(ctl->refs > 0);
	ctl->refs--;
	free_if_unused(ctl);
}

/* -- one comes ------------------------------------------------------------------- */

struct service_ctl *
control_add_service(struct control *c, struct service *s, struct certs_prepared *prepared)
{
	struct service_ctl *ctl = services_put(c, s);

	BUS_EMIT(&c->bus, LOG_INFO_LEVEL, "service.added", s);
	certs_add(c->certs, s, prepared != NULL ? certs_prepared_for(prepared, s->config) : NULL);
	control_wait_for_checks(ctl);
	health_add_service(c->health, s);
	nodes_join(ctl);
	resolve_join(ctl);
	return ctl;
}

/* -- one gets other terms ---------------------------------------------------------- */

void
control_configure_service(struct control *c, struct service_ctl *ctl, const struct service_config *config)
{
	char was[RECORD_NAME];
	size_t at;

	CHECK(!ctl->removed);
	if (strcmp(ctl_name_of(ctl), config->name) == 0) {
		ctl->service->config = config;
		return;
	}
	str_copy(was, sizeof(was), str_from(ctl_name_of(ctl)));
	/* Two may exchange their names, and so have the same for a moment. */
	for (at = ctl_place_of(c, was); c->by_name[at] != ctl; at++)
		CHECK(at + 1 < c->n);
	take_ctl_out(c->by_name, c->n--, at);
	ctl->service->config = config;
	at = ctl_place_of(c, config->name);
	insert_ctl(c->by_name, c->n++, at, ctl);
	c->list_changes++;
	BUS_EMIT(&c->bus, LOG_INFO_LEVEL, "service.renamed", ctl->service, LS("was", was));
}

/* -- one goes -------------------------------------------------------------------- */

static void
end_engines(struct service_ctl *ctl)
{
	const struct drain_config *drain = &ctl->service->config->drain;
	const struct drain_orders orders = {
		.at = clock_now(),
		.idle = drain->idle,
		.spread = drain->spread,
		.timeout = drain->timeout,
		.ending = END_DRAINED,
		.all = true,
	};

	for (enum color color = GREEN; color <= BLUE; color++)
		engines_drain(ctl, color, &orders);
	engines_forget(ctl);
}

void
services_on_forgotten(struct control *c, struct engine *engine, struct service *s)
{
	struct service_ctl *ctl = s->ctl;

	(void)c;
	CHECK(ctl != NULL && ctl->removed);
	(void)engines_leave(ctl, engine);
	free_if_unused(ctl);
}

void
control_remove_service(struct control *c, struct service_ctl *ctl)
{
	size_t by_name = ctl_place_of(c, ctl_name_of(ctl)), at = control_from(c, ctl->serial);
	char text[RECORD_NAME + 64];

	CHECK(!ctl->removed && c->by_name[by_name] == ctl && c->services[at] == ctl);
	take_ctl_out(c->by_name, c->n, by_name);
	take_ctl_out(c->services, c->n, at);
	c->n--;
	c->list_changes++;
	ctl->removed = true;
	list_append(&c->leaving, &ctl->leaving);
	drain_cancel(ctl);
	snprintf(text, sizeof(text), "%s: the service was removed from the configuration", ctl_name_of(ctl));
	flip_end_all(ctl, E_UNKNOWN_SERVICE, text);
	nodes_leave(c->nodes, ctl);
	certs_remove(c->certs, ctl->service);
	health_remove_service(c->health, ctl->service);
	resolve_review_soon(c);
	BUS_EMIT(&c->bus, LOG_INFO_LEVEL, "service.removed", ctl->service,
		 LU("connections", engines_count(ctl, GREEN) + engines_count(ctl, BLUE)),
		 LF("timeout", ctl->service->config->drain.timeout));
	control_announce(c);
	end_engines(ctl);
	control_serving_yet(c);
	ctl_unref(&ctl);
}

void
services_close(struct control *c)
{
	for (size_t i = 0; i < c->n; i++)
		ctl_free(c->services[i]);
	LIST_EACH(l, &c->leaving)
		ctl_free(list_entry(l, struct service_ctl, leaving));
	free(c->services);
	free(c->by_name);
	c->services = c->by_name = NULL;
	c->n = 0;
}
