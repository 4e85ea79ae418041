/* nodes.c - nodes that come and go; see the header.
 *
 * An overlay comes from the store, ours or another teald's, and is obeyed in
 * one place, obey(): backends are added (checked before they are used), told
 * to take nothing new, or removed (their sessions keep them until they end).
 *
 * Thread: main. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "control/backends.h"
#include "control/nodes_private.h"
#include "control/peer.h"
#include "control/publish.h"
#include "control/resolve.h"
#include "control/slow_start.h"

/* -- what is wanted ------------------------------------------------------------- */

bool
nodes_configured(const struct node_pool *p, const char *host)
{
	return pool_has_host(p->config, host);
}

enum node_wish
nodes_wish(const struct node_pool *p, const char *host)
{
	return overlay_wish(&p->overlay, nodes_configured(p, host), host);
}

/* -- backends -------------------------------------------------------------------------- */

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
log_node(const struct service_ctl *ctl, const char *event, const struct backend *b)
{
	BUS_EMIT(&ctl->control->bus, LOG_INFO_LEVEL, event, ctl->service, service_color_field(ctl->service->config, b->color),
		 LS("backend", b->text), LS("where", b->host));
}

/* What was said of the node and is not obeyed yet; true: that makes a difference to new or old connections. */
static bool
obey_node(struct service_ctl *ctl, struct backend *b, const struct node *said)
{
	const struct store *store = ctl->control->store;
	struct node_terms terms = said != NULL ? said->terms : NODE_NO_TERMS;
	bool drain = said != NULL && said->wish == NODE_DRAIN, tell = b->drain != drain;
	double age;

	if (!tell && node_terms_same(&b->terms, &terms))
		return false;
	b->drain = drain;
	b->terms = terms;
	/* Of one that was said while this teald did not run, or by a clock that was set, not longer than it lasts. */
	age = (double)(store_now(store) - terms.since_us) / 1e6;
	b->drained_at = clock_now() - fmax(0, fmin(age, (double)terms.timeout_us / 1e6));
	b->cut_before = atomic_load_explicit(&b->cut, memory_order_relaxed);
	/* It was away: what it had in its caches and pools is gone, or it is another machine by now. */
	if (tell && !drain && ctl_is_published(ctl) && b->state == BACKEND_UP)
		slow_start_begin(ctl, b);
	if (tell)
		log_node(ctl, drain ? "backend.drain" : "backend.ready", b);
	return true;
}

static bool
add_node(struct service_ctl *ctl, enum color color, const char *host, const struct node *said)
{
	struct backend *b = resolve_backend(ctl, color, host);
	struct service *s = ctl->service;

	if (backend_has_address(b) && has_address(s, color, &b->address)) {
		LOG_WARN("node.same_address", LS("service", s->config->name),
			 LR(NULL, str_from(s->config->labels_json)), service_color_field(s->config, color),
			 LS("where", host), LS("message", "another node has that address already"));
		backend_unref(&b);
		return false;
	}
	if (said != NULL && said->wish == NODE_DRAIN)
		(void)obey_node(ctl, b, said);
	backends_add(ctl, b, NULL);
	if (ctl->control->health != NULL)
		resolve_settle(ctl, b);
	return true;
}

bool
nodes_obey(struct service_ctl *ctl, enum color color)
{
	struct service *s = ctl->service;
	const struct node_pool *p = nodes_find_pool(ctl->control->nodes, s->config->pool);
	bool changed = false;

	for (size_t i = s->colors[color].n; i-- > 0;) {
		struct backend *b = s->colors[color].backends[i];
		enum node_wish wish = b->host != NULL ? nodes_wish(p, b->host) : NODE_READY;

		if (b->host == NULL)
			continue;
		if (wish == NODE_REMOVED) {
			backends_drop(ctl, b);
			changed = true;
		} else {
			changed |= obey_node(ctl, b, overlay_find(&p->overlay, b->host));
		}
	}
	for (size_t i = 0; i < s->n_parted; i++) {
		struct backend *b = s->parted[i].backend;

		if (b->color == color)
			changed |= obey_node(ctl, b, overlay_find(&p->overlay, b->host));
	}
	for (size_t i = 0; i < p->config->n_hosts + p->overlay.n; i++) {
		const char *host = i < p->config->n_hosts ? p->config->hosts[i] :
							    p->overlay.list[i - p->config->n_hosts].host;
		enum node_wish wish = nodes_wish(p, host);

		if (wish != NODE_REMOVED && find_backend(s, color, host) == NULL)
			changed |= add_node(ctl, color, host, overlay_find(&p->overlay, host));
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

static bool
obey_colors(struct service_ctl *ctl)
{
	const struct service_config *sc = ctl->service->config;
	bool changed = false;

	for (enum color color = GREEN; color <= BLUE; color++) {
		if (sc->pool == NULL || sc->colors[color].port == 0 || !nodes_obey(ctl, color))
			continue;
		changed = true;
		if (!anybody_wanted(ctl->service, color))
			BUS_EMIT(&ctl->control->bus, LOG_WARN_LEVEL, "nodes.none_left", ctl->service,
				 service_color_field(sc, color), LS("key", sc->pool));
	}
	return changed;
}

void
nodes_join(struct service_ctl *ctl)
{
	(void)obey_colors(ctl);
}

/* Makes the services' backends what the pool is now. */
static void
obey(struct node_pool *p, struct nodes *n)
{
	struct control *c = n->control;

	for (size_t i = 0; i < c->n; i++) {
		struct service_ctl *ctl = c->services[i];
		const char *pool = ctl->service->config->pool;

		/* At once: a command waits until the workers have it. */
		if (pool != NULL && strcmp(pool, p->config->name) == 0 && obey_colors(ctl) && ctl_is_published(ctl))
			publish_now(ctl);
	}
	node_acks_begin(&p->acks, c);
	nodes_on_acked(n);
	if (c->store_ready)
		control_announce(c);
}

struct node_pool *
nodes_find_pool(const struct nodes *n, const char *name)
{
	for (size_t i = 0; i < n->n; i++)
		if (strcmp(n->pools[i]->config->name, name) == 0)
			return n->pools[i];
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
	/* Before the records that follow: who has acknowledged them has this, too. */
	peer_on_nodes(c->peer, pool, now);
	obey(p, c->nodes);
	nodes_look_soon(c);
}

/* -- judging -------------------------------------------------------------------------------- */

/* Backends of the color that could take traffic, now and after next; before the first verdicts of checks (or
 * where all are down) those that were not told to take nothing. */
static void
count_usable(const struct node_pool *p, const struct service *s, enum color color, const struct overlay *next,
	     bool by_health, size_t *now, size_t *after)
{
	*now = *after = 0;
	for (size_t i = 0; i < s->colors[color].n; i++) {
		const struct backend *b = s->colors[color].backends[i];
		bool is_ready = b->host == NULL ||
				overlay_wish(next, nodes_configured(p, b->host), b->host) == NODE_READY;

		*now += by_health ? backend_use(b) == BACKEND_USED : backend_is_wanted(b);
		/* One that drains is wanted again when next does not say so any more. */
		*after += is_ready && backend_weight(b) > 0 && !b->agent.drain &&
			  (!by_health || (b->state == BACKEND_UP && backend_has_address(b)));
	}
	for (size_t i = 0; !by_health && i < next->n; i++)
		*after += next->list[i].wish == NODE_READY && find_backend(s, color, next->list[i].host) == NULL;
}

static bool
takes_the_last(const struct node_pool *p, const struct service *s, enum color color, const struct overlay *next)
{
	size_t now, after;

	count_usable(p, s, color, next, true, &now, &after);
	if (now == 0)
		count_usable(p, s, color, next, false, &now, &after);
	return now > 0 && after == 0;
}

bool
nodes_may_obey(const struct control *c, const char *pool, const struct overlay *next, struct why *why)
{
	const struct node_pool *p = nodes_find_pool(c->nodes, pool);

	for (size_t i = 0; p != NULL && i < c->n; i++) {
		const struct service *s = c->services[i]->service;

		if (s->config->pool == NULL || strcmp(s->config->pool, pool) != 0)
			continue;
		for (enum color color = GREEN; color <= BLUE; color++) {
			if (s->config->colors[color].port == 0 || (s->known && color != s->record.color) ||
			    !takes_the_last(p, s, color, next))
				continue;
			why_set(why, E_UNHEALTHY,
				"%s%s%s would be left without a usable backend; --force, with any node verb, overrides",
				s->colorless ? "" : color_word(color), s->colorless ? "" : " of ", s->config->name);
			return false;
		}
	}
	return true;
}

static bool
nodes_may_be_obeyed(void *arg, const char *pool, const struct overlay *next, struct why *why)
{
	return nodes_may_obey(arg, pool, next, why);
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

/* -- life -------------------------------------------------------------------------------------- */

static struct node_pool *
pool_new(const struct pool_config *config)
{
	struct node_pool *p = must_alloc(sizeof(*p));

	p->config = config;
	return p;
}

void
nodes_pool_unhold(struct node_pool *p)
{
	if (p->held > 0 || p->config != NULL)
		return;
	overlay_free(&p->overlay);
	node_acks_free(&p->acks);
	free(p->views);
	free(p);
}

static bool
same_hosts(const struct pool_config *a, const struct pool_config *b)
{
	bool same = a->n_hosts == b->n_hosts;

	for (size_t i = 0; same && i < a->n_hosts; i++)
		same = strcmp(a->hosts[i], b->hosts[i]) == 0;
	return same;
}

void
nodes_reconfigure(struct nodes *n, const struct config *to)
{
	struct node_pool **before = n->pools;
	size_t were = n->n;
	bool *changed = must_array(to->n_pools + 1, sizeof(*changed));

	n->n = to->n_pools;
	n->pools = must_array(n->n, sizeof(*n->pools));
	for (size_t i = 0; i < n->n; i++) {
		const struct pool_config *config = &to->pools[i];

		for (size_t k = 0; k < were && n->pools[i] == NULL; k++)
			if (before[k] != NULL && strcmp(before[k]->config->name, config->name) == 0) {
				n->pools[i] = before[k];
				before[k] = NULL;
			}
		changed[i] = n->pools[i] != NULL && !same_hosts(n->pools[i]->config, config);
		if (n->pools[i] == NULL)
			n->pools[i] = pool_new(config);
		n->pools[i]->config = config;
	}
	for (size_t k = 0; k < were; k++)
		if (before[k] != NULL) {
			before[k]->config = NULL;
			nodes_pool_unhold(before[k]);
		}
	free(before);
	for (size_t i = 0; i < n->n; i++)
		if (changed[i])
			obey(n->pools[i], n);
	free(changed);
}

bool
nodes_has(const struct control *c, const char *pool, const char *host)
{
	const struct node_pool *p = nodes_find_pool(c->nodes, pool);

	return p != NULL && nodes_wish(p, host) != NODE_REMOVED;
}

struct nodes *
nodes_new(struct control *c)
{
	struct nodes *n = must_alloc(sizeof(*n));

	n->control = c;
	list_init(&n->changes);
	list_init(&n->drains);
	ev_timer_init(&n->look, nodes_on_look, 0.0, 0.0);
	nodes_reconfigure(n, c->config);
	nodes_hear(c->store);
	return n;
}

void
nodes_hear(struct store *store)
{
	store->on_nodes = nodes_on_overlay;
	store->may_obey_nodes = nodes_may_be_obeyed;
}

void
nodes_each_pool(const struct nodes *n, void (*each)(void *arg, const char *pool, const struct overlay *said), void *arg)
{
	for (size_t i = 0; i < n->n; i++)
		each(arg, n->pools[i]->config->name, &n->pools[i]->overlay);
}

bool
nodes_are_changing(const struct nodes *n)
{
	return !list_empty(&n->changes);
}

void
nodes_free(struct nodes **np)
{
	struct nodes *n = *np;

	*np = NULL;
	if (n == NULL)
		return;
	ev_timer_stop(n->control->loop, &n->look);
	nodes_changes_end(n);
	node_drains_end(n);
	for (size_t i = 0; i < n->n; i++) {
		n->pools[i]->config = NULL;
		nodes_pool_unhold(n->pools[i]);
	}
	free(n->pools);
	free(n);
}
