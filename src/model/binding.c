/* binding.c - what is listened on, and for which services.  Start-up thread. */
#include <search.h>
#include <stdlib.h>

#include "model/route.h"

/* Where an address is in the list, while it grows. */
struct place {
	struct addr addr;
	size_t i;
};

static int
compare_places(const void *a, const void *b)
{
	return addr_compare(&((const struct place *)a)->addr, &((const struct place *)b)->addr);
}

/* The place of the address, the end of the list when it is new. */
static size_t
find(struct bindings *b, void **tree, const struct addr *a)
{
	struct place key = { .addr = *a, .i = b->n }, *new;
	struct place **at = tfind(&key, tree, compare_places);

	if (at != NULL)
		return (*at)->i;
	new = must_alloc(sizeof(*new));
	*new = key;
	CHECK(tsearch(new, tree, compare_places) != NULL);
	return new->i;
}

static void
add(struct bindings *b, void **tree, const struct config *c, unsigned service, const struct addr *a,
    enum entrance entrance, bool tls)
{
	size_t i = find(b, tree, a);
	struct binding *at;

	if (i < b->n) {
		at = &b->list[i];
	} else {
		if ((b->n & (b->n - 1)) == 0)
			b->list = must_grow(b->list, b->n == 0 ? 1 : 2 * b->n, sizeof(*b->list));
		at = &b->list[b->n++];
		*at = (struct binding){ .addr = *a, .entrance = entrance, .tls = tls, .owner = service };
	}
	/* The check of the configuration has seen to it. */
	CHECK(at->entrance == entrance && at->tls == tls);
	at->services = must_grow(at->services, at->n_services + 1, sizeof(*at->services));
	at->services[at->n_services++] = service;
	if (c->services[service].is_default)
		at->owner = service;
}

/* By name only where it makes a difference: where it is alone, a service
 * without names, or one that takes the rest as well, takes everything. */
static void
add_route(struct binding *b, const struct config *c)
{
	const struct service_config *first = &c->services[b->services[0]];

	if (b->n_services == 1 && (first->n_names == 0 || first->is_default))
		return;
	b->route = route_new();
	for (size_t i = 0; i < b->n_services; i++) {
		const struct service_config *s = &c->services[b->services[i]];

		for (size_t k = 0; k < s->n_names; k++)
			route_add(b->route, s->names[k], (int)b->services[i]);
		if (s->is_default)
			route_set_default(b->route, (int)b->services[i]);
	}
}

void
bindings_make(const struct config *c, struct bindings *out)
{
	void *tree = NULL;

	*out = (struct bindings){ 0 };
	for (unsigned i = 0; i < c->n_services; i++) {
		const struct service_config *s = &c->services[i];

		if (s->engine != ENGINE_PROXY)
			continue;
		for (size_t k = 0; k < s->n_listen; k++)
			add(out, &tree, c, i, &s->listen[k], ENTRANCE_MAIN, s->listen_tls);
		for (size_t k = 0; k < s->n_plain_listen; k++)
			add(out, &tree, c, i, &s->plain_listen[k], ENTRANCE_MAIN, false);
		for (size_t k = 0; k < s->n_preview; k++)
			add(out, &tree, c, i, &s->preview[k], ENTRANCE_PREVIEW, s->listen_tls);
	}
	tdestroy(tree, free);
	for (size_t i = 0; i < out->n; i++)
		add_route(&out->list[i], c);
}

void
bindings_free(struct bindings *b)
{
	for (size_t i = 0; i < b->n; i++) {
		free(b->list[i].services);
		route_free(&b->list[i].route);
	}
	free(b->list);
	*b = (struct bindings){ 0 };
}
