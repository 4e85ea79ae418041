/* binding.c - what is listened on, and for which services.  Main makes them;
 * any thread may drop the last reference. */
#include <stdlib.h>
#include <string.h>

#include "model/route.h"

/* What bindings_make() works with. */
struct making {
	struct bindings *out;
	const struct config *config;
	const unsigned *slots;
	size_t *places;	/* by addr_hash(): 1 + where the address is in the list; 0: free */
	size_t room;	/* of places, a power of two */
};

/* More than there can be addresses. */
static void
make_places(struct making *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->config->n_services; i++) {
		const struct service_config *s = &m->config->services[i];

		n += s->n_listen + s->n_plain_listen + s->n_preview;
	}
	for (m->room = 16; m->room < 2 * n;)
		m->room *= 2;
	m->places = must_array(m->room, sizeof(*m->places));
}

/* The place of the address, the end of the list when it is new. */
static size_t
find_binding(struct making *m, const struct addr *a, bool datagram)
{
	size_t at = (size_t)addr_hash(a) & (m->room - 1);

	for (; m->places[at] > 0; at = (at + 1) & (m->room - 1)) {
		const struct binding *b = m->out->list[m->places[at] - 1];

		if (b->datagram == datagram && addr_equal(&b->addr, a))
			return m->places[at] - 1;
	}
	m->places[at] = m->out->n + 1;
	return m->out->n;
}

static unsigned
binding_slot(const struct making *m, unsigned i)
{
	return m->slots != NULL ? m->slots[i] : i;
}

static struct binding *
binding_new(const struct addr *a, bool datagram, enum entrance entrance, bool tls, unsigned owner)
{
	struct binding *b = must_alloc(sizeof(*b));

	atomic_init(&b->refs, 1);
	b->addr = *a;
	b->datagram = datagram;
	b->entrance = entrance;
	b->tls = tls;
	b->owner = owner;
	return b;
}

static void
add_binding(struct making *m, unsigned service, const struct addr *a, enum entrance entrance, bool tls)
{
	struct bindings *b = m->out;
	bool datagram = m->config->services[service].mode == MODE_UDP;
	size_t i = find_binding(m, a, datagram);
	struct binding *at;

	if (i == b->n) {
		if ((b->n & (b->n - 1)) == 0)
			b->list = must_grow(b->list, b->n == 0 ? 1 : 2 * b->n, sizeof(struct binding *));
		b->list[b->n++] = binding_new(a, datagram, entrance, tls, binding_slot(m, service));
	}
	at = b->list[i];
	/* The check of the configuration has seen to it. */
	CHECK(at->entrance == entrance && at->tls == tls);
	at->services = must_grow(at->services, at->n_services + 1, sizeof(*at->services));
	at->services[at->n_services++] = service;
	if (m->config->services[service].is_default)
		at->owner = binding_slot(m, service);
}

/* By name only where it makes a difference: where it is alone, a service
 * without names, or one that takes the rest as well, takes everything. */
static void
add_route(struct binding *b, const struct making *m)
{
	const struct service_config *first = &m->config->services[b->services[0]];

	if (b->n_services == 1 && (first->n_names == 0 || first->is_default) && first->n_paths == 0)
		return;
	b->route = route_new();
	for (size_t i = 0; i < b->n_services; i++) {
		const struct service_config *s = &m->config->services[b->services[i]];
		int slot = (int)binding_slot(m, b->services[i]);

		for (size_t p = 0; p < (s->n_paths > 0 ? s->n_paths : 1); p++) {
			const char *prefix = s->n_paths > 0 ? s->paths[p] : "";

			for (size_t k = 0; k < s->n_names; k++)
				route_add(b->route, s->names[k], prefix, slot);
			if (s->is_default)
				route_set_default(b->route, prefix, slot);
		}
	}
}

void
bindings_make(const struct config *c, const unsigned *slots, struct bindings *out)
{
	struct making m = { .out = out, .config = c, .slots = slots };

	*out = (struct bindings){ 0 };
	make_places(&m);
	for (unsigned i = 0; i < c->n_services; i++) {
		const struct service_config *s = &c->services[i];

		if (s->engine != ENGINE_PROXY)
			continue;
		for (size_t k = 0; k < s->n_listen; k++)
			add_binding(&m, i, &s->listen[k], ENTRANCE_MAIN, s->listen_tls);
		for (size_t k = 0; k < s->n_plain_listen; k++)
			add_binding(&m, i, &s->plain_listen[k], ENTRANCE_MAIN, false);
		for (size_t k = 0; k < s->n_preview; k++)
			add_binding(&m, i, &s->preview[k], ENTRANCE_PREVIEW, s->listen_tls);
	}
	free(m.places);
	for (size_t i = 0; i < out->n; i++) {
		struct binding *b = out->list[i];

		add_route(b, &m);
		for (size_t k = 0; k < b->n_services; k++)
			b->services[k] = binding_slot(&m, b->services[k]);
	}
}

void
bindings_free(struct bindings *b)
{
	for (size_t i = 0; i < b->n; i++)
		binding_unref(&b->list[i]);
	free(b->list);
	*b = (struct bindings){ 0 };
}

struct binding *
binding_ref(struct binding *b)
{
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	return b;
}

void
binding_unref(struct binding **bp)
{
	struct binding *b = *bp;

	*bp = NULL;
	if (b == NULL || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
		return;
	free(b->services);
	route_free(&b->route);
	free(b);
}

bool
binding_equal(const struct binding *a, const struct binding *b)
{
	return addr_equal(&a->addr, &b->addr) && a->datagram == b->datagram && a->entrance == b->entrance && a->tls == b->tls &&
	       a->owner == b->owner && a->n_services == b->n_services &&
	       memcmp(a->services, b->services, a->n_services * sizeof(*a->services)) == 0 &&
	       route_equal(a->route, b->route);
}

bool
binding_is_for(const struct binding *b, unsigned service)
{
	for (size_t i = 0; i < b->n_services; i++)
		if (b->services[i] == service)
			return true;
	return false;
}
