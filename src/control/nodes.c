/* nodes.c - nodes that come and go; see the header.
 *
 * An overlay comes from the store, ours or another teald's, and is obeyed in
 * one place, obey(): backends are added (checked before they are used), told
 * to take nothing new, or removed (their sessions keep them until they end).
 *
 * Thread: main. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "control/nodes_private.h"
#include "control/publish.h"

/* A name that could not be looked up is tried again so often, seconds. */
#define AGAIN 5.0

/* -- what is wanted ------------------------------------------------------------- */

bool
nodes_configured(const struct node_pool *p, const char *host)
{
	for (size_t i = 0; i < p->config->n_hosts; i++)
		if (node_same_host(p->config->hosts[i], host))
			return true;
	return false;
}

enum node_wish
nodes_wish(const struct node_pool *p, const char *host)
{
	const struct node *said = overlay_find(&p->overlay, host);

	if (said != NULL)
		return said->wish;
	return nodes_configured(p, host) ? NODE_READY : NODE_REMOVED;
}

/* -- names -------------------------------------------------------------------------- */

static void obey(struct node_pool *p, struct nodes *n);

static void
name_work(struct job *j)
{
	struct node_name *name = container_of(j, struct node_name, job);

	name->result = addr_resolve(name->host, 1, &name->found, &name->why);
}

static void
plan_again(struct nodes *n)
{
	struct ev_loop *loop = n->control->loop;

	if (ev_is_active(&n->again))
		return;
	ev_timer_set(&n->again, AGAIN, 0.0);
	ev_timer_start(loop, &n->again);
}

static void
name_done(struct job *j)
{
	struct node_name *name = container_of(j, struct node_name, job);
	struct nodes *n = name->nodes;

	name->asking = false;
	if (n->closing)
		return;
	if (name->result == OK) {
		name->addr = name->found;
		name->problem[0] = '\0';
	} else {
		if (name->problem[0] == '\0')
			LOG_WARN("node.unknown_name", LS("where", name->host), LS("reason", name->why.text));
		str_copy(name->problem, sizeof(name->problem), str_from(name->why.text));
		name->failed_at = clock_now();
		plan_again(n);
	}
	nodes_change_go_on(n, name);
	for (size_t i = 0; i < n->n; i++)
		if (overlay_find(&n->pools[i].overlay, name->host) != NULL)
			obey(&n->pools[i], n);
}

static struct node_name *
name_find(const struct nodes *n, const char *host)
{
	for (const struct link *l = n->names.next; l != &n->names; l = l->next) {
		struct node_name *name = list_entry(l, struct node_name, link);

		if (node_same_host(name->host, host))
			return name;
	}
	return NULL;
}

struct node_name *
nodes_look_up(struct nodes *n, const char *host, bool now)
{
	struct node_name *name = name_find(n, host);

	if (name == NULL) {
		name = must_alloc(sizeof(*name));
		name->nodes = n;
		str_copy(name->host, sizeof(name->host), str_from(host));
		list_append(&n->names, &name->link);
		now = true;
	}
	if (name->addr.len > 0 || name->asking || (!now && clock_now() < name->failed_at + AGAIN))
		return name;
	if (n->jobs == NULL)
		n->jobs = jobs_new(n->control->loop, 1);
	name->asking = true;
	name->job = (struct job){ .work = name_work, .done = name_done };
	jobs_add(n->jobs, &name->job);
	return name;
}

static void
nodes_on_again(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct nodes *n = container_of(t, struct nodes, again);

	(void)loop;
	(void)revents;
	for (size_t i = 0; i < n->n; i++)
		obey(&n->pools[i], n);
}

/* -- backends -------------------------------------------------------------------------- */

/* Where the host is for a color of the service; false: not known (yet). */
static bool
find_address(struct nodes *n, const struct service_config *sc, enum color color, const char *host,
	     struct addr *out)
{
	const struct color_config *cc = &sc->colors[color];
	const struct node_name *name;

	if (addr_parse_ip(host, cc->port, out))
		return true;
	for (size_t i = 0; i < cc->n_backends; i++)
		if (node_same_host(cc->backends[i].host, host)) {
			*out = cc->backends[i].address;
			return true;
		}
	name = nodes_look_up(n, host, false);
	if (name->addr.len == 0)
		return false;
	*out = name->addr;
	addr_set_port(out, cc->port);
	return true;
}

static struct backend *
find_backend(const struct service *s, enum color color, const char *host)
{
	for (size_t i = 0; i < s->colors[color].n; i++) {
		struct backend *b = s->colors[color].backends[i];

		if (b->host != NULL && node_same_host(b->host, host))
			return b;
	}
	return NULL;
}

static bool
has_address(const struct service *s, enum color color, const struct addr *a)
{
	for (size_t i = 0; i < s->colors[color].n; i++)
		if (addr_equal(&s->colors[color].backends[i]->address, a))
			return true;
	return false;
}

static void
say(const struct entry *e, const char *event, const struct backend *b)
{
	BUS_EMIT(&e->control->bus, LOG_INFO_LEVEL, event, e->service, LS("color", color_word(b->color)),
		 LS("backend", b->text), LS("where", b->host));
}

static bool
add_backend(struct nodes *n, struct entry *e, enum color color, const char *host, bool drain)
{
	struct service *s = e->service;
	unsigned health_port = s->config->colors[color].health_port;
	struct addr address, health;
	struct backend *b;

	if (!find_address(n, s->config, color, host, &address))
		return false;
	if (has_address(s, color, &address)) {
		LOG_WARN("node.same_address", LS("service", s->config->name), LS("color", color_word(color)),
			 LS("where", host), LS("message", "another node has that address already"));
		return false;
	}
	health = address;
	if (health_port != 0)
		addr_set_port(&health, health_port);
	b = backend_new(color, &address, &health);
	b->host = must_strdup(host);
	b->drain = drain;
	b->late = e->published;
	service_add_backend(s, b);
	say(e, "backend.added", b);
	if (n->control->health != NULL)
		health_add(n->control->health, s, b);
	return true;
}

static void
remove_backend(struct nodes *n, struct entry *e, struct backend *b)
{
	if (n->control->health != NULL)
		health_remove(n->control->health, e->service, b);
	say(e, "backend.removed", b);
	service_remove_backend(e->service, b);
}

static bool
obey_color(struct nodes *n, const struct node_pool *p, struct entry *e, enum color color)
{
	struct service *s = e->service;
	bool changed = false;

	for (size_t i = s->colors[color].n; i-- > 0;) {
		struct backend *b = s->colors[color].backends[i];
		enum node_wish wish = b->host != NULL ? nodes_wish(p, b->host) : NODE_READY;

		if (b->host == NULL)
			continue;
		if (wish == NODE_REMOVED) {
			remove_backend(n, e, b);
			changed = true;
		} else if (b->drain != (wish == NODE_DRAIN)) {
			b->drain = wish == NODE_DRAIN;
			say(e, b->drain ? "backend.drain" : "backend.ready", b);
			changed = true;
		}
	}
	for (size_t i = 0; i < p->config->n_hosts + p->overlay.n; i++) {
		const char *host = i < p->config->n_hosts ? p->config->hosts[i] :
							    p->overlay.list[i - p->config->n_hosts].host;
		enum node_wish wish = nodes_wish(p, host);

		if (wish != NODE_REMOVED && find_backend(s, color, host) == NULL)
			changed |= add_backend(n, e, color, host, wish == NODE_DRAIN);
	}
	if (changed)
		service_forget_maglev(s, color);
	return changed;
}

static bool
anybody_wanted(const struct service *s, enum color color)
{
	for (size_t i = 0; i < s->colors[color].n; i++)
		if (backend_is_wanted(s->colors[color].backends[i]))
			return true;
	return false;
}

/* Makes the services' backends what the pool is now. */
static void
obey(struct node_pool *p, struct nodes *n)
{
	struct control *c = n->control;

	for (size_t i = 0; i < c->n; i++) {
		struct entry *e = &c->entries[i];
		const struct service_config *sc = e->service->config;
		bool changed = false;

		if (sc->pool == NULL || strcmp(sc->pool, p->config->name) != 0)
			continue;
		for (enum color color = GREEN; color <= BLUE; color++) {
			if (sc->colors[color].port == 0 || !obey_color(n, p, e, color))
				continue;
			changed = true;
			if (!anybody_wanted(e->service, color))
				BUS_EMIT(&c->bus, LOG_WARN_LEVEL, "nodes.none_left", e->service,
					 LS("color", color_word(color)), LS("key", p->config->name));
		}
		/* At once: a command waits until the workers have it. */
		if (changed && e->published)
			publish_now(e);
	}
	if (c->store->announce != NULL && c->store_ready)
		c->store->announce(c->store);
}

struct node_pool *
nodes_find_pool(const struct nodes *n, const char *name)
{
	for (size_t i = 0; i < n->n; i++)
		if (strcmp(n->pools[i].config->name, name) == 0)
			return &n->pools[i];
	return NULL;
}

static void
nodes_on_overlay(void *arg, const char *pool, const struct overlay *now)
{
	struct control *c = arg;
	struct node_pool *p = nodes_find_pool(c->nodes, pool);

	if (p == NULL)
		return;
	overlay_copy(&p->overlay, now);
	obey(p, c->nodes);
}

/* -- looking -------------------------------------------------------------------------------- */

const struct pool_config *
nodes_pool(const struct control *c, struct str name)
{
	for (size_t i = 0; i < c->config->n_pools; i++)
		if (str_eq(name, c->config->pools[i].name))
			return &c->config->pools[i];
	return NULL;
}

static void
view(const struct nodes *n, const struct node_pool *p, const char *host, struct node_view *v)
{
	const struct node_name *name = name_find(n, host);

	*v = (struct node_view){ .configured = nodes_configured(p, host),
				 .said = overlay_find(&p->overlay, host) != NULL,
				 .wish = nodes_wish(p, host) };
	str_copy(v->host, sizeof(v->host), str_from(host));
	if (name != NULL && name->addr.len == 0)
		str_copy(v->problem, sizeof(v->problem), str_from(name->problem));
}

struct node_view *
nodes_list(const struct control *c, const struct pool_config *pool, size_t *n)
{
	const struct node_pool *p = nodes_find_pool(c->nodes, pool->name);
	struct node_view *list = must_array(pool->n_hosts + p->overlay.n, sizeof(*list));

	*n = 0;
	for (size_t i = 0; i < pool->n_hosts; i++)
		view(c->nodes, p, pool->hosts[i], &list[(*n)++]);
	for (size_t i = 0; i < p->overlay.n; i++)
		if (!nodes_configured(p, p->overlay.list[i].host))
			view(c->nodes, p, p->overlay.list[i].host, &list[(*n)++]);
	return list;
}

/* -- life -------------------------------------------------------------------------------------- */

struct nodes *
nodes_new(struct control *c)
{
	struct nodes *n = must_alloc(sizeof(*n));

	n->control = c;
	n->n = c->config->n_pools;
	n->pools = must_array(n->n, sizeof(*n->pools));
	for (size_t i = 0; i < n->n; i++)
		n->pools[i].config = &c->config->pools[i];
	list_init(&n->names);
	list_init(&n->changes);
	ev_timer_init(&n->again, nodes_on_again, 0.0, 0.0);
	c->store->on_nodes = nodes_on_overlay;
	return n;
}

void
nodes_free(struct nodes **np)
{
	struct nodes *n = *np;

	*np = NULL;
	if (n == NULL)
		return;
	n->closing = true;
	ev_timer_stop(n->control->loop, &n->again);
	nodes_changes_end(n);
	if (n->jobs != NULL)
		jobs_free(&n->jobs);
	LIST_EACH(l, &n->names)
	{
		free(list_entry(l, struct node_name, link));
	}
	for (size_t i = 0; i < n->n; i++)
		overlay_free(&n->pools[i].overlay);
	free(n->pools);
	free(n);
}
