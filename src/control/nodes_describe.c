/* nodes_describe.c - what this teald tells the fleet of its pools.  Thread: main. */
#include <stdlib.h>
#include <string.h>

#include "control/nodes_private.h"

uint64_t
nodes_applied(const struct control *c, const char *pool)
{
	const struct node_pool *p = nodes_find_pool(c->nodes, pool);

	return p != NULL ? p->applied : 0;
}

static void
describe_service(struct fleet_node *n, const struct service *s, size_t place)
{
	struct node_sum sum = { 0 };
	unsigned at = n->n_services;

	nodes_add_service(&sum, s, place);
	if (sum.connections == 0)
		return;
	/* The most first; the least falls out. */
	while (at > 0 && n->services[at - 1].connections < sum.connections)
		at--;
	if (at == FLEET_NODE_SERVICES)
		return;
	if (n->n_services < FLEET_NODE_SERVICES)
		n->n_services++;
	for (unsigned i = n->n_services - 1; i > at; i--)
		n->services[i] = n->services[i - 1];
	n->services[at].connections = sum.connections;
	str_copy(n->services[at].name, RECORD_NAME, str_from(s->config->name));
}

void
nodes_describe_node(const struct control *c, const struct node_pool *p, size_t place, struct fleet_node *out)
{
	const struct node_view *v = &p->views[place];

	*out = (struct fleet_node){ .connections = v->sum.connections, .cut = v->sum.cut };
	str_copy(out->host, sizeof(out->host), str_from(v->host));
	for (size_t i = 0; i < c->n && v->sum.connections > 0; i++) {
		const struct service *s = c->services[i]->service;

		if (s->config->pool != NULL && strcmp(s->config->pool, p->config->name) == 0)
			describe_service(out, s, place);
	}
}

static void
describe_pool(const struct control *c, const struct node_pool *p, struct fleet_pool *f)
{
	const struct store *store = c->store;

	*f = (struct fleet_pool){
		.applied = p->applied,
		.refused = store->disputed_nodes != NULL && store->disputed_nodes(store, p->config->name) != NULL,
	};
	str_copy(f->name, sizeof(f->name), str_from(p->config->name));
	for (size_t i = 0; i < p->n_views; i++) {
		const struct node_view *v = &p->views[i];

		if (!node_view_ends(v) || v->sum.connections + v->sum.cut == 0)
			continue;
		f->more |= f->n == FLEET_POOL_NODES;
		if (f->more)
			return;
		f->nodes = must_grow(f->nodes, f->n + 1, sizeof(*f->nodes));
		nodes_describe_node(c, p, i, &f->nodes[f->n++]);
	}
}

static bool
anything_ends(const struct nodes *n)
{
	for (size_t i = 0; i < n->n; i++)
		for (size_t k = 0; k < n->pools[i]->overlay.n; k++)
			if (node_ends(&n->pools[i]->overlay.list[k]))
				return true;
	return false;
}

void
nodes_describe(struct control *c, struct fleet_member *self)
{
	struct nodes *n = c->nodes;

	fleet_pools_free(self);
	if (anything_ends(n)) {
		n->describing = true;
		nodes_look(c);
		n->describing = false;
	}
	self->pools = must_array(n->n + 1, sizeof(*self->pools));
	for (size_t i = 0; i < n->n; i++)
		describe_pool(c, n->pools[i], &self->pools[self->n_pools++]);
}
