/* nodes_look.c - how the nodes do: what the backends that are on one come to, over
 * all services of its pool.  Looked at when that is asked for, and a moment after
 * the health of a backend on a node has changed.  Thread: main. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "control/hosts.h"
#include "control/nodes_private.h"

/* Of a node that dies the backends go down one after the other. */
#define LOOK_AFTER 0.1
/* Seconds after its deadline. */
#define OLD_NEWS 60.0

/* Places by the host's name, open addressing; 0: free, else one more than the place. */
struct places {
	size_t *at;
	size_t mask;
};

static size_t
place_of(const struct places *t, const char *host)
{
	return (size_t)hash_bytes(host, strlen(host), 0) & t->mask;
}

static void
list_places(struct places *t, const struct node_pool *p)
{
	size_t size = 16;

	while (size < 2 * p->n_views)
		size *= 2;
	t->at = must_array(size, sizeof(*t->at));
	t->mask = size - 1;
	for (size_t i = 0; i < p->n_views; i++) {
		size_t s = place_of(t, p->views[i].host);

		while (t->at[s] != 0)
			s = (s + 1) & t->mask;
		t->at[s] = i + 1;
	}
}

/* NULL: it is on none of the pool's nodes (any more). */
static struct node_view *
view_of(const struct places *t, const struct node_pool *p, const struct backend *b)
{
	const char *host = b->host;

	if (host == NULL)
		return NULL;
	/* As a rule where it was. */
	if (b->node_at > 0 && b->node_at <= p->n_views && strcmp(p->views[b->node_at - 1].host, host) == 0)
		return &p->views[b->node_at - 1];
	for (size_t s = place_of(t, host); t->at[s] != 0; s = (s + 1) & t->mask)
		if (strcmp(p->views[t->at[s] - 1].host, host) == 0)
			return &p->views[t->at[s] - 1];
	/* Written in another way, as few are. */
	for (size_t i = 0; i < p->n_views; i++)
		if (node_same_host(p->views[i].host, host))
			return &p->views[i];
	return NULL;
}

/* w: what the cluster says of it, NULL: nothing. */
static void
see_node(const struct control *c, struct node_pool *p, const char *host, const struct watched *w, bool configured,
	 const struct node_view *before, size_t n_before)
{
	struct node_view *v = &p->views[p->n_views];
	const struct hostname *name = hosts_find(c->hosts, host);
	const struct node *said = overlay_find(&p->overlay, host), *told = said;
	struct node room;

	if (told == NULL && w != NULL)
		told = node_as_watched(p, w, host, &room);
	/* Member by member: most of a view is room for texts, which would be cleared for each of thousands. */
	v->configured = configured;
	v->said = said != NULL;
	v->watched = w;
	/* As nodes_wish() says, without a search of the configuration. */
	v->wish = told != NULL ? told->wish : configured ? NODE_READY : NODE_REMOVED;
	v->terms = told != NULL ? told->terms : NODE_NO_TERMS;
	v->problem[0] = v->reason[0] = '\0';
	v->emptied_us = 0;
	v->does = NODE_UNKNOWN;
	v->sum = (struct node_sum){ 0 };
	str_copy(v->host, sizeof(v->host), str_from(host));
	if (name != NULL && name->n == 0)
		str_copy(v->problem, sizeof(v->problem), str_from(name->problem));
	/* As a rule in the same order as before. */
	for (size_t i = 0; i < n_before; i++) {
		const struct node_view *b = &before[(p->n_views + i) % n_before];

		if (strcmp(b->host, host) == 0) {
			v->does = b->does;
			v->emptied_us = b->emptied_us;
			break;
		}
	}
	p->n_views++;
}

static void
list_nodes(const struct control *c, struct node_pool *p)
{
	struct node_view *before = p->views;
	size_t n_before = p->n_views, room = p->views_room, need = p->config->n_hosts + p->watch.set.n + p->overlay.n + 1;

	/* Of thousands the pages of an array that is always new cost more than what is written into it. */
	if (p->spare_room < need) {
		free(p->spare);
		p->spare_room = need + need / 8;
		p->spare = must_array(p->spare_room, sizeof(*p->spare));
	}
	p->views = p->spare;
	p->views_room = p->spare_room;
	p->spare = before;
	p->spare_room = room;
	p->n_views = 0;
	for (size_t i = 0; i < p->config->n_hosts; i++)
		see_node(c, p, p->config->hosts[i], watched_at_host(&p->watch.set, p->config->hosts[i]), true, before, n_before);
	for (size_t i = 0; i < p->watch.set.n; i++) {
		const struct watched *w = &p->watch.set.list[i];

		/* Those that are gone only where something was said of them. */
		if (w->wish != NODE_REMOVED || overlay_find(&p->overlay, w->node.host) != NULL)
			see_node(c, p, w->node.host, w, w->wish != NODE_REMOVED, before, n_before);
	}
	for (size_t i = 0; i < p->overlay.n; i++)
		if (!nodes_configured(p, p->overlay.list[i].host))
			see_node(c, p, p->overlay.list[i].host, watched_at_host(&p->watch.set, p->overlay.list[i].host), false, before, n_before);
}

/* -- the backends on them --------------------------------------------------------------- */

static void
add_held(struct node_sum *sum, const struct backend *b)
{
	sum->connections += atomic_load_explicit(&b->connections, memory_order_relaxed);
	sum->cut += atomic_load_explicit(&b->cut, memory_order_relaxed) - b->cut_before;
}

static void
add_to_sum(struct node_sum *sum, const struct backend *b)
{
	sum->total++;
	add_held(sum, b);
	switch (b->state) {
	case BACKEND_CHECKING:
		sum->checking++;
		return;
	case BACKEND_DOWN:
		sum->down++;
		if (b->since_us > sum->down_since_us)
			sum->down_since_us = b->since_us;
		return;
	case BACKEND_UP:
	case BACKEND_DRAINING:
		sum->up += b->state == BACKEND_UP;
		sum->draining += b->state == BACKEND_DRAINING;
		sum->ejected += b->ejected_until > 0;
		if (sum->up_since_us == 0 || b->since_us < sum->up_since_us)
			sum->up_since_us = b->since_us;
		return;
	}
}

static void
count_backend(const struct node_pool *p, struct node_view *v, struct backend *b)
{
	b->node_at = (unsigned)(v - p->views) + 1;
	b->node_down = v->does == NODE_DOWN;	/* so far */
	add_to_sum(&v->sum, b);
	if (b->state == BACKEND_DOWN && v->reason[0] == '\0')
		str_copy(v->reason, sizeof(v->reason), str_from(b->error));
}

void
nodes_add_service(struct node_sum *sum, const struct service *s, size_t place)
{
	for (int color = GREEN; color < COLORS; color++)
		for (size_t i = 0; i < s->colors[color].n; i++)
			if (s->colors[color].backends[i]->node_at == place + 1)
				add_to_sum(sum, s->colors[color].backends[i]);
	for (size_t i = 0; i < s->n_parted; i++)
		if (s->parted[i].backend->node_at == place + 1)
			add_held(sum, s->parted[i].backend);
}

void
nodes_add_to_each(struct node_sum *sums, size_t n, const struct service *s)
{
	for (int color = GREEN; color < COLORS; color++)
		for (size_t i = 0; i < s->colors[color].n; i++) {
			const struct backend *b = s->colors[color].backends[i];

			if (b->node_at > 0 && b->node_at <= n)
				add_to_sum(&sums[b->node_at - 1], b);
		}
	for (size_t i = 0; i < s->n_parted; i++) {
		const struct backend *b = s->parted[i].backend;

		if (b->node_at > 0 && b->node_at <= n)
			add_held(&sums[b->node_at - 1], b);
	}
}

static void
tell_backend(const struct node_pool *p, struct node_view *v, struct backend *b)
{
	(void)p;
	b->node_down = v->does == NODE_DOWN;
}

/* Connections of the past: of backends that were replaced, and of services that were removed. */
static void
count_held(const struct node_pool *p, const struct places *t, struct backend *b)
{
	struct node_view *v = view_of(t, p, b);

	if (v == NULL)
		return;
	b->node_at = (unsigned)(v - p->views) + 1;
	add_held(&v->sum, b);
}

static bool
is_of_pool(const struct service *s, const struct node_pool *p)
{
	return s->config->pool != NULL && strcmp(s->config->pool, p->config->name) == 0;
}

static void
count_past(const struct control *c, const struct node_pool *p, const struct places *t)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct service *s = c->services[i]->service;

		for (size_t k = 0; is_of_pool(s, p) && k < s->n_parted; k++)
			count_held(p, t, s->parted[k].backend);
	}
	LIST_EACH(l, &c->leaving) {
		const struct service *s = list_entry(l, struct service_ctl, leaving)->service;

		for (int color = GREEN; is_of_pool(s, p) && color < COLORS; color++)
			for (size_t k = 0; k < s->colors[color].n; k++)
				count_held(p, t, s->colors[color].backends[k]);
		for (size_t k = 0; is_of_pool(s, p) && k < s->n_parted; k++)
			count_held(p, t, s->parted[k].backend);
	}
}

/* Each backend of a node of the pool, to what was seen of that. */
static void
each_backend(const struct control *c, struct node_pool *p, const struct places *t,
	     void (*each)(const struct node_pool *p, struct node_view *v, struct backend *b))
{
	for (size_t i = 0; i < c->n; i++) {
		const struct service *s = c->services[i]->service;

		if (!is_of_pool(s, p))
			continue;
		for (int color = GREEN; color < COLORS; color++)
			for (size_t k = 0; k < s->colors[color].n; k++) {
				struct backend *b = s->colors[color].backends[k];
				struct node_view *v = view_of(t, p, b);

				if (v != NULL)
					each(p, v, b);
			}
	}
}

static enum node_does
does(const struct node_sum *sum, enum node_does was)
{
	if (sum->total == 0)
		return NODE_UNKNOWN;
	/* One that says to be leaving answers. */
	if (sum->up + sum->draining > 0)
		return NODE_UP;
	/* One that came back from nowhere is not up before a check has passed. */
	return sum->checking > 0 && was != NODE_DOWN ? NODE_UNKNOWN : NODE_DOWN;
}

/* One line for what else are as many as there are backends on it. */
static void
tell_of_node(struct control *c, const struct node_pool *p, const struct node_view *v, enum node_does was)
{
	bool drained = v->wish == NODE_DRAIN;

	if (c->yielded || v->does == was || v->does == NODE_UNKNOWN)
		return;
	if (v->does == NODE_DOWN)
		BUS_EMIT(&c->bus, drained ? LOG_INFO_LEVEL : LOG_WARN_LEVEL, "node.down", NULL,
			 LS("pool", p->config->name), LS("node", v->host), LU("total", v->sum.total),
			 LB("drained", drained), LS("reason", v->reason));
	else if (was == NODE_DOWN)
		BUS_EMIT(&c->bus, LOG_INFO_LEVEL, "node.up", NULL, LS("pool", p->config->name), LS("node", v->host),
			 LU("total", v->sum.total), LB("drained", drained));
}

bool
node_view_ends(const struct node_view *v)
{
	return v->wish == NODE_DRAIN && v->terms.timeout_us >= 0;
}

/* Once for each drain. */
static bool
tell_of_drain(struct control *c, const struct node_pool *p, struct node_view *v)
{
	double seconds;

	if (!node_view_ends(v) || v->emptied_us == v->terms.since_us || nodes_applied(c, p->config->name) < p->overlay.version ||
	    v->sum.connections > 0)
		return false;
	v->emptied_us = v->terms.since_us;
	seconds = (double)(store_now(c->store) - v->terms.since_us) / 1e6;
	/* One that this process has only heard of, and that was over long ago, is no news. */
	if (!c->yielded && seconds < (double)v->terms.timeout_us / 1e6 + OLD_NEWS)
		BUS_EMIT(&c->bus, v->sum.cut > 0 ? LOG_WARN_LEVEL : LOG_INFO_LEVEL, "node.drained", NULL,
			 LS("pool", p->config->name), LS("node", v->host), LF("seconds", fmax(seconds, 0)),
			 LU("cut", v->sum.cut));
	return true;
}

static void
look_at_pool(struct control *c, struct node_pool *p)
{
	bool news = false, emptied = false, draining = false;
	struct places t;

	list_nodes(c, p);
	list_places(&t, p);
	each_backend(c, p, &t, count_backend);
	count_past(c, p, &t);
	for (size_t i = 0; i < p->n_views; i++) {
		enum node_does was = p->views[i].does;

		p->views[i].does = does(&p->views[i].sum, was);
		news |= p->views[i].does != was;
		tell_of_node(c, p, &p->views[i], was);
		emptied |= tell_of_drain(c, p, &p->views[i]);
		draining |= node_view_ends(&p->views[i]) && p->views[i].emptied_us != p->views[i].terms.since_us;
	}
	if (news)
		each_backend(c, p, &t, tell_backend);
	/* The others may wait for that. */
	if (emptied && c->store_ready && !c->nodes->describing)
		control_announce(c);
	if (draining)
		nodes_look_soon(c);
	free(t.at);
}

const struct node_view *
nodes_find_view(const struct node_pool *p, const char *host)
{
	for (size_t i = 0; i < p->n_views; i++)
		if (strcmp(p->views[i].host, host) == 0)
			return &p->views[i];
	return NULL;
}

void
nodes_look(struct control *c)
{
	struct nodes *n = c->nodes;

	ev_timer_stop(c->loop, &n->look);
	for (size_t i = 0; i < n->n; i++)
		look_at_pool(c, n->pools[i]);
}

void
nodes_look_soon(struct control *c)
{
	if (!ev_is_active(&c->nodes->look)) {
		ev_timer_set(&c->nodes->look, LOOK_AFTER, 0.0);
		ev_timer_start(c->loop, &c->nodes->look);
	}
}

void
nodes_on_look(struct ev_loop *loop, ev_timer *t, int revents)
{
	(void)loop;
	(void)revents;
	nodes_look(container_of(t, struct nodes, look)->control);
}

int64_t
node_since_us(const struct node_view *v)
{
	return v->does == NODE_UP ? v->sum.up_since_us : v->does == NODE_DOWN ? v->sum.down_since_us : 0;
}

const char *
node_does_word(enum node_does d)
{
	switch (d) {
	case NODE_UNKNOWN:
		return "unknown";
	case NODE_UP:
		return "up";
	case NODE_DOWN:
		return "down";
	}
	return "";
}

const struct node_view *
nodes_views(const struct control *c, const struct pool_config *pool, size_t *n)
{
	const struct node_pool *p = nodes_find_pool(c->nodes, pool->name);

	*n = p->n_views;
	return p->views;
}
