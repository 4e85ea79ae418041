/* fleet_pools.c - the nodes of pools in a heartbeat.  Thread: main. */
#include <stdlib.h>
#include <string.h>

#include "store/fleet_pools.h"

/* Pools that are read of a member. */
#define POOLS_MAX 1000

void
fleet_pools_free(struct fleet_member *m)
{
	for (size_t i = 0; i < m->n_pools; i++)
		free(m->pools[i].nodes);
	free(m->pools);
	m->pools = NULL;
	m->n_pools = 0;
}

const struct fleet_pool *
fleet_pool_of(const struct fleet_member *m, const char *pool)
{
	for (size_t i = 0; i < m->n_pools; i++)
		if (strncmp(m->pools[i].name, pool, sizeof(m->pools[i].name) - 1) == 0)
			return &m->pools[i];
	return NULL;
}

const struct fleet_node *
fleet_node_of(const struct fleet_pool *p, const char *host)
{
	for (unsigned i = 0; i < p->n; i++)
		if (node_same_host(p->nodes[i].host, host))
			return &p->nodes[i];
	return NULL;
}

/* -- reading ------------------------------------------------------------------------ */

static bool
read_fleet_node(json_t *o, struct fleet_node *n)
{
	json_int_t connections, cut, held;
	json_t *services, *value;
	const char *name;

	if (json_unpack(o, "{s:I, s:I, s:o}", "connections", &connections, "cut", &cut, "services", &services) != 0 ||
	    connections < 0 || cut < 0)
		return false;
	n->connections = (uint64_t)connections;
	n->cut = (uint64_t)cut;
	json_object_foreach(services, name, value)
	{
		if (n->n_services == FLEET_NODE_SERVICES || !json_is_integer(value) ||
		    (held = json_integer_value(value)) < 0 ||
		    !str_copy(n->services[n->n_services].name, RECORD_NAME, str_from(name)))
			return false;
		n->services[n->n_services++].connections = (uint64_t)held;
	}
	return true;
}

static bool
read_fleet_pool(json_t *o, struct fleet_pool *p)
{
	json_int_t applied;
	int refused = 0, more = 0;
	json_t *nodes, *value;
	const char *host;

	if (json_unpack(o, "{s:I, s?b, s?b, s:o}", "applied", &applied, "refused", &refused, "more", &more, "draining",
			&nodes) != 0 ||
	    applied < 0 || json_object_size(nodes) > FLEET_POOL_NODES)
		return false;
	p->applied = (uint64_t)applied;
	p->refused = refused != 0;
	p->more = more != 0;
	p->nodes = must_array(json_object_size(nodes) + 1, sizeof(*p->nodes));
	json_object_foreach(nodes, host, value)
	{
		struct fleet_node *n = &p->nodes[p->n++];

		if (!str_copy(n->host, sizeof(n->host), str_from(host)) || !read_fleet_node(value, n))
			return false;
	}
	return true;
}

bool
fleet_pools_read(json_t *pools, struct fleet_member *m)
{
	const char *name;
	json_t *value;

	if (pools == NULL)
		return true;
	if (!json_is_object(pools) || json_object_size(pools) > POOLS_MAX)
		return false;
	m->tells_pools = true;
	m->pools = must_array(json_object_size(pools) + 1, sizeof(*m->pools));
	json_object_foreach(pools, name, value)
	{
		struct fleet_pool *p = &m->pools[m->n_pools++];

		if (!str_copy(p->name, sizeof(p->name), str_from(name)) || !read_fleet_pool(value, p))
			return false;
	}
	return true;
}

/* -- writing ------------------------------------------------------------------------ */

static void
format_node(const struct fleet_node *n, struct json *j)
{
	json_object(j, n->host);
	json_u64(j, "connections", n->connections);
	json_u64(j, "cut", n->cut);
	json_object(j, "services");
	for (unsigned i = 0; i < n->n_services; i++)
		json_u64(j, n->services[i].name, n->services[i].connections);
	json_object_end(j);
	json_object_end(j);
}

void
fleet_pools_format(const struct fleet_member *m, struct json *j)
{
	json_object(j, "pools");
	for (size_t i = 0; i < m->n_pools; i++) {
		const struct fleet_pool *p = &m->pools[i];

		json_object(j, p->name);
		json_u64(j, "applied", p->applied);
		if (p->refused)
			json_bool(j, "refused", true);
		if (p->more)
			json_bool(j, "more", true);
		json_object(j, "draining");
		for (unsigned k = 0; k < p->n; k++)
			format_node(&p->nodes[k], j);
		json_object_end(j);
		json_object_end(j);
	}
	json_object_end(j);
}
