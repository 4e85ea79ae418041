/* resolve.c - names become backends; see the header.  Thread: main. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/backends.h"
#include "control/nodes.h"
#include "control/notify.h"
#include "control/publish.h"
#include "control/reload.h"
#include "control/resolve.h"
#include "control/ring.h"

/* -- which address --------------------------------------------------------------- */

static bool
is_among(const struct backend *b, const struct hostname *name)
{
	for (size_t i = 0; i < name->n; i++) {
		struct addr a = name->list[i];

		addr_set_port(&a, b->port);
		if (addr_equal(&a, &b->address))
			return true;
	}
	return false;
}

/* The service would be its own backend. */
static bool
is_own(const struct service_config *sc, const struct addr *a)
{
	for (size_t i = 0; i < sc->n_listen; i++)
		if (addr_arrives(a, &sc->listen[i]))
			return true;
	for (size_t i = 0; i < sc->n_preview; i++)
		if (addr_arrives(a, &sc->preview[i]))
			return true;
	return false;
}

static bool
is_taken(const struct service *s, enum color color, const struct backend *but, const struct addr *a)
{
	for (size_t i = 0; i < s->colors[color].n; i++) {
		const struct backend *b = s->colors[color].backends[i];

		if (b != but && backend_has_address(b) && addr_equal(&b->address, a))
			return true;
	}
	return false;
}

/* but: whose place it is for, or NULL.  False: there is none, and why says so. */
static bool
choose_addrs(const struct service *s, enum color color, const struct hostname *name, unsigned port,
       const struct backend *but, struct addr *out, struct why *why)
{
	const struct service_config *sc = s->config;
	const struct service *by;
	char problem[RECORD_NAME + 64] = "";

	for (size_t i = 0; i < name->n; i++) {
		struct addr a = name->list[i];

		addr_set_port(&a, port);
		if (sc->source_address.len > 0 && addr_family(&sc->source_address) != addr_family(&a)) {
			snprintf(problem, sizeof(problem), "source_address cannot reach it");
		} else if (is_own(sc, &a)) {
			snprintf(problem, sizeof(problem), "that is the service itself");
		} else if (s->ctl != NULL && ring_leads_back(s->ctl->control, s, &a, &by)) {
			snprintf(problem, sizeof(problem), "service \"%s\" listens there, which leads back here", by->config->name);
		} else if (is_taken(s, color, but, &a)) {
			snprintf(problem, sizeof(problem), "another backend has that address");
		} else {
			*out = a;
			return true;
		}
	}
	if (name->n == 0)
		(void)why_set(why, E_USAGE, "host %s", name->problem);
	else
		(void)why_set(why, E_USAGE, "host \"%.100s\": %s", name->host, problem);
	return false;
}

/* -- the backends ------------------------------------------------------------------ */

/* address NULL: it has none any more. */
static struct backend *
replace(struct service_ctl *ctl, struct backend *old, const struct addr *address)
{
	struct backend *b = backend_new_named(old->color, old->name, old->port, old->health_port, address);
	bool in_use = backend_use(old) >= BACKEND_STANDBY;

	if (old->health_at.len > 0)
		backend_check_at(b, &old->health_at);
	b->weight = old->weight;
	b->backup = old->backup;
	backend_share_node(b, old);
	old->leaving = true;
	backends_add(ctl, b, old);
	if (!in_use || address == NULL || b->state != BACKEND_CHECKING)
		backends_drop(ctl, old);
	if (ctl_is_published(ctl))
		publish_soon(ctl);
	if (ctl->control->store_ready)
		control_announce(ctl->control);
	return b;
}

static void
settle_backend(struct service_ctl *ctl, struct backend *b, const struct hostname *name)
{
	struct health *h = ctl->control->health;
	struct addr address;
	struct why why;

	if (b->leaving || (backend_has_address(b) && (name->n == 0 || is_among(b, name))))
		return;
	if (choose_addrs(ctl->service, b->color, name, b->port, b, &address, &why)) {
		(void)replace(ctl, b, &address);
		return;
	}
	if (backend_has_address(b))
		b = replace(ctl, b, NULL);
	if (h != NULL)
		health_give_up(h, ctl->service, b, why.text);
}

/* -- events ------------------------------------------------------------------------- */

static bool
is_answered(const struct hostname *name)
{
	return name != NULL && (name->n > 0 || name->problem[0] != '\0');
}

/* name NULL: whatever each one's is, of those without an address. */
static void
settle_all(struct control *c, const struct hostname *name)
{
	for (size_t i = 0; i < c->n; i++)
		for (int color = 0; color < COLORS; color++)
			for (size_t k = 0; k < c->services[i]->service->colors[color].n; k++) {
				struct backend *b = c->services[i]->service->colors[color].backends[k];
				const struct hostname *its = name;

				if (b->name == NULL || (name != NULL && !node_same_host(b->name, name->host)))
					continue;
				if (name == NULL && !backend_has_address(b))
					its = hosts_find(c->hosts, b->name);
				if (is_answered(its))
					settle_backend(c->services[i], b, its);
			}
}

static void
resolve_on_name(void *arg, const struct hostname *name)
{
	struct control *c = arg;

	settle_all(c, name);
	nodes_on_name(c->nodes, name);
	reload_on_name(c->reloads, name);
	notify_on_name(c->notify, name);
}

static bool
resolve_is_wanted(void *arg, const struct hostname *name)
{
	const struct control *c = arg;

	for (size_t i = 0; i < c->n; i++)
		for (int color = 0; color < COLORS; color++)
			for (size_t k = 0; k < c->services[i]->service->colors[color].n; k++) {
				const struct backend *b = c->services[i]->service->colors[color].backends[k];

				if (b->name != NULL && node_same_host(b->name, name->host))
					return true;
			}
	return false;
}

static void
control_on_review(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct control *c = container_of(t, struct control, review_timer);

	(void)loop;
	(void)revents;
	hosts_review_begin(c->hosts);
	for (size_t i = 0; i < c->n; i++)
		for (int color = 0; color < COLORS; color++) {
			const struct service *s = c->services[i]->service;

			for (size_t k = 0; k < s->colors[color].n; k++)
				if (s->colors[color].backends[k]->name != NULL)
					hosts_use(c->hosts, s->colors[color].backends[k]->name,
						  s->config->resolve_interval);
		}
	hosts_review_end(c->hosts);
}

static const struct backend *
successor(const struct service *s, const struct backend *b)
{
	for (size_t i = 0; i < s->colors[b->color].n; i++) {
		const struct backend *next = s->colors[b->color].backends[i];

		if (!next->leaving && backend_same_name(next, b))
			return next;
	}
	return NULL;
}

/* Not from inside the checks: those of b end. */
static void
control_on_resolve(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct control *c = container_of(t, struct control, resolve_timer);
	bool dropped = false;

	(void)loop;
	(void)revents;
	for (size_t i = 0; i < c->n; i++)
		for (int color = 0; color < COLORS; color++) {
			struct service_ctl *ctl = c->services[i];

			for (size_t k = ctl->service->colors[color].n; k-- > 0;) {
				struct backend *b = ctl->service->colors[color].backends[k];
				const struct backend *next = b->leaving ? successor(ctl->service, b) : NULL;

				if (!b->leaving || (next != NULL && next->state == BACKEND_CHECKING))
					continue;
				backends_drop(ctl, b);
				dropped = true;
				if (ctl_is_published(ctl))
					publish_soon(ctl);
			}
		}
	/* Another name may have waited for that address. */
	if (dropped)
		settle_all(c, NULL);
}

void
resolve_on_health(struct service_ctl *ctl, const struct backend *b)
{
	struct control *c = ctl->control;

	if (b->name == NULL || ev_is_active(&c->resolve_timer))
		return;
	ev_timer_set(&c->resolve_timer, 0.0, 0.0);
	ev_timer_start(c->loop, &c->resolve_timer);
}

/* -- from outside ------------------------------------------------------------------------ */

double
resolve_interval(const struct control *c, const struct pool_config *pool)
{
	double least = 0;

	for (size_t i = 0; i < c->n; i++) {
		const struct service_config *sc = c->services[i]->service->config;

		if (sc->pool != NULL && strcmp(sc->pool, pool->name) == 0 && sc->resolve_interval > 0 &&
		    (least <= 0 || sc->resolve_interval < least))
			least = sc->resolve_interval;
	}
	return least;
}

struct backend *
resolve_backend(struct service_ctl *ctl, enum color color, const char *host)
{
	const struct service_config *sc = ctl->service->config;
	const struct color_config *cc = &sc->colors[color];
	const struct hostname *name;
	struct addr address, health, at = cc->health_at;
	struct backend *b;
	struct why why;

	if (addr_parse_ip(host, cc->port, &address)) {
		addr_unmap(&address);
		health = address;
		if (cc->health_port != 0)
			addr_set_port(&health, cc->health_port);
		b = backend_new(color, &address, &health);
	} else {
		name = hosts_watch(ctl->control->hosts, host, sc->resolve_interval);
		b = backend_new_named(
			color, host, cc->port, cc->health_port,
			choose_addrs(ctl->service, color, name, cc->port, NULL, &address, &why) ? &address : NULL);
	}
	if (at.len > 0) {
		addr_set_port(&at, cc->health_port != 0 ? cc->health_port : cc->port);
		backend_check_at(b, &at);
	}
	b->host = must_strdup(host);
	return b;
}

void
resolve_settle(struct service_ctl *ctl, struct backend *b)
{
	const struct hostname *name = b->name != NULL ? hosts_find(ctl->control->hosts, b->name) : NULL;

	if (is_answered(name))
		settle_backend(ctl, b, name);
}

void
resolve_watch(struct service_ctl *ctl, struct backend *b)
{
	if (b->name == NULL)
		return;
	(void)hosts_watch(ctl->control->hosts, b->name, ctl->service->config->resolve_interval);
	resolve_settle(ctl, b);
}

void
resolve_join(struct service_ctl *ctl)
{
	for (int color = 0; color < COLORS; color++)
		for (size_t k = 0; k < ctl->service->colors[color].n; k++)
			resolve_watch(ctl, ctl->service->colors[color].backends[k]);
}

void
resolve_review_soon(struct control *c)
{
	if (c->hosts == NULL || ev_is_active(&c->review_timer))
		return;
	ev_timer_set(&c->review_timer, 0.0, 0.0);
	ev_timer_start(c->loop, &c->review_timer);
}

void
resolve_init(struct control *c)
{
	const struct hosts_events events = { .answered = resolve_on_name,
					     .wanted = resolve_is_wanted,
					     .arg = c };

	c->hosts = hosts_new(c->loop, &events);
	ev_timer_init(&c->resolve_timer, control_on_resolve, 0.0, 0.0);
	ev_timer_init(&c->review_timer, control_on_review, 0.0, 0.0);
}

void
resolve_close(struct control *c)
{
	ev_timer_stop(c->loop, &c->resolve_timer);
	ev_timer_stop(c->loop, &c->review_timer);
	hosts_free(&c->hosts);
}
