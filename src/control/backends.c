/* backends.c - backends that come and go while a service serves; see the header.  Thread: main. */
#include <stdlib.h>

#include "control/backends.h"
#include "control/health.h"
#include "control/nodes.h"
#include "control/publish.h"
#include "control/resolve.h"

static void
tell_of(const struct service_ctl *ctl, const char *event, const struct backend *b)
{
	if (backend_has_address(b))
		BUS_EMIT(&ctl->control->bus, LOG_INFO_LEVEL, event, ctl->service, service_color_field(ctl->service->config, b->color),
			 LS("backend", b->text), LS("where", b->host != NULL ? b->host : b->name));
}

void
backends_add(struct service_ctl *ctl, struct backend *b, const struct backend *after)
{
	b->late = ctl_is_published(ctl);
	service_insert_backend(ctl->service, b, after);
	tell_of(ctl, "backend.added", b);
	if (ctl->control->health != NULL)
		health_add(ctl->control->health, ctl->service, b);
}

void
backends_drop(struct service_ctl *ctl, struct backend *b)
{
	if (ctl->control->health != NULL)
		health_remove(ctl->control->health, ctl->service, b);
	tell_of(ctl, "backend.removed", b);
	if (b->host != NULL)
		service_part(ctl->service, b);
	if (b->name != NULL)
		resolve_review_soon(ctl->control);
	service_remove_backend(ctl->service, b);
}

/* -- another configuration ---------------------------------------------------------- */

/* at: where it is checked, whatever its address; len 0: there. */
static bool
backend_is_at(const struct backend *b, unsigned port, unsigned health_port, const struct addr *at)
{
	unsigned check_port = health_port != 0 ? health_port : port;
	struct addr own = b->address, wanted = at->len > 0 ? *at : own;

	addr_set_port(&wanted, check_port);
	if (b->name != NULL && (b->port != port || b->health_port != health_port))
		return false;
	if ((b->health_at.len > 0) != (at->len > 0))
		return false;
	if (at->len > 0)
		return (b->name != NULL || addr_port(&own) == port) && addr_equal(&b->health_at, &wanted);
	return b->name != NULL || (addr_port(&own) == port && addr_port(&b->health_address) == check_port);
}

/* Whatever the terms of TLS. */
static bool
is_configured_as(const struct backend *b, const struct backend_config *bc)
{
	if (bc->address.len > 0)
		return b->name == NULL && addr_equal(&b->address, &bc->address) &&
		       addr_equal(&b->health_address, &bc->health_address);
	return b->name != NULL && node_same_host(b->name, bc->host) && 
	       backend_is_at(b, bc->port, bc->health_port, &bc->health_at);
}

/* NULL: the configuration does not list it. */
static const struct backend_config *
backend_config_of(const struct color_config *cc, const struct backend *b)
{
	for (size_t i = 0; i < cc->n_backends; i++)
		if (is_configured_as(b, &cc->backends[i]))
			return &cc->backends[i];
	return NULL;
}

static bool
by_nodes(const struct service_config *sc, enum color color)
{
	return sc->pool != NULL && sc->colors[color].port != 0;
}

/* Added by `node add`, and still where the service has its port. */
static bool
is_added_node(const struct service_ctl *ctl, const struct backend *b)
{
	const struct service_config *sc = ctl->service->config;
	const struct color_config *cc = &sc->colors[b->color];

	return by_nodes(sc, b->color) && b->host != NULL && backend_is_at(b, cc->port, cc->health_port, &cc->health_at) &&
	       nodes_has(ctl->control, sc->pool, b->host);
}

/* As the configuration has it now; in place, for main alone looks at these. */
static bool
adopt_backend(const struct service_ctl *ctl, struct backend *b, const struct backend_config *bc)
{
	bool node = by_nodes(ctl->service->config, b->color);
	bool changed = b->weight != bc->weight || b->backup != bc->backup;

	b->weight = bc->weight;
	b->backup = bc->backup;
	if (node == (b->host != NULL))
		return changed;
	free(b->host);
	b->host = node ? must_strdup(bc->host) : NULL;
	changed |= b->drain && !node;
	b->drain = b->drain && node;
	if (!node)
		b->terms = NODE_NO_TERMS;
	return changed;
}

/* Takes the place of old: the same server by other terms. */
static void
replace_terms(struct service_ctl *ctl, struct backend *old)
{
	struct backend *b;

	if (old->name != NULL)
		b = backend_new_named(old->color, old->name, old->port, old->health_port,
				      backend_has_address(old) ? &old->address : NULL);
	else
		b = backend_new(old->color, &old->address, &old->health_address);
	if (old->health_at.len > 0)
		backend_check_at(b, &old->health_at);
	backend_succeed(b, old);
	backends_add(ctl, b, old);
	b->late = old->late;
	backends_drop(ctl, old);
}

static bool
reconfigure_present(struct service_ctl *ctl, enum color color)
{
	struct service *s = ctl->service;
	bool changed = false;

	for (size_t i = s->colors[color].n; i-- > 0;) {
		struct backend *b = s->colors[color].backends[i];
		const struct backend_config *bc = backend_config_of(&s->config->colors[color], b);

		if (bc == NULL && !is_added_node(ctl, b)) {
			backends_drop(ctl, b);
			changed = true;
			continue;
		}
		if (bc != NULL)
			changed |= adopt_backend(ctl, b, bc);
		if (service_expects(s, b))
			continue;
		replace_terms(ctl, b);
		changed = true;
	}
	return changed;
}

static bool
is_present(const struct service *s, enum color color, const struct backend_config *bc)
{
	for (size_t i = 0; i < s->colors[color].n; i++)
		if (is_configured_as(s->colors[color].backends[i], bc))
			return true;
	return false;
}

static bool
add_listed(struct service_ctl *ctl, enum color color)
{
	struct service *s = ctl->service;
	const struct color_config *cc = &s->config->colors[color];
	bool changed = false;

	for (size_t i = 0; i < cc->n_backends; i++) {
		struct backend *b;

		if (is_present(s, color, &cc->backends[i]))
			continue;
		b = service_configured_backend(s->config, color, &cc->backends[i]);
		backends_add(ctl, b, NULL);
		resolve_watch(ctl, b);
		changed = true;
	}
	return changed;
}

void
backends_reconfigure(struct service_ctl *ctl)
{
	struct service *s = ctl->service;
	bool changed = false;

	for (enum color color = GREEN; color <= BLUE; color++) {
		bool here = reconfigure_present(ctl, color);

		here |= by_nodes(s->config, color) ? nodes_obey(ctl, color) : add_listed(ctl, color);
		if (here)
			service_forget_maglev(s, color);
		changed |= here;
	}
	if (changed && ctl_is_published(ctl))
		publish_now(ctl);
}
