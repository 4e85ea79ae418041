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
	return pool_has_host(p->config, host) || watched_at_host(&p->watch.set, host) != NULL;
}

enum node_wish
nodes_wish_by(const struct node_pool *p, const struct overlay *said, const char *host)
{
	const struct watched *w = watched_at_host(&p->watch.set, host);

	if (w != NULL && overlay_find(said, host) == NULL)
		return w->wish;
	return overlay_wish(said, w != NULL || nodes_configured(p, host), host);
}

enum node_wish
nodes_wish(const struct node_pool *p, const char *host)
{
	return nodes_wish_by(p, &p->overlay, host);
}

const struct node *
nodes_said(const struct node_pool *p, const char *host, struct node *room)
{
	const struct node *said = overlay_find(&p->overlay, host);
	const struct watched *w = said == NULL ? watched_at_host(&p->watch.set, host) : NULL;

	return w != NULL ? node_as_watched(p, w, host, room) : said;
}

const struct node *
node_as_watched(const struct node_pool *p, const struct watched *w, const char *host, struct node *room)
{
	*room = (struct node){ .wish = w->wish, .terms = NODE_NO_TERMS };
	str_copy(room->host, sizeof(room->host), str_from(host));
	if (w->wish != NODE_DRAIN || p->config->kube == NULL)
		return room;
	room->terms.since_us = w->since_us;
	/* It will be gone, and its connections with it. */
	if (w->why == WATCHED_TAINTED || w->why == WATCHED_DELETING || w->why == WATCHED_DELETED)
		room->terms.timeout_us = (int64_t)(p->config->kube->drain_timeout * 1e6);
	return room;
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
	age = terms.since_us > 0 ? (double)(store_now(store) - terms.since_us) / 1e6 : 0;
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

/* Of a pool that is watched: would its API take the last one that is up?  Then that waits for another one. */
static bool
must_wait(const struct service *s, const struct node_pool *p, const struct backend *b, enum node_wish wish)
{
	if (p->config->kube == NULL || wish == NODE_READY || backend_use(b) != BACKEND_USED ||
	    overlay_find(&p->overlay, b->host) != NULL)
		return false;
	for (size_t i = 0; i < s->colors[b->color].n; i++) {
		const struct backend *other = s->colors[b->color].backends[i];

		if (other != b && other->host != NULL && backend_use(other) == BACKEND_USED &&
		    nodes_wish(p, other->host) == NODE_READY)
			return false;
	}
	return true;
}

/* Those that are there become what they are wanted to be; seen: of the pool's watched nodes, which have one. */
static bool
obey_present(struct service_ctl *ctl, enum color color, struct node_pool *p, bool *seen)
{
	struct service *s = ctl->service;
	bool changed = false;
	struct node room;

	for (size_t i = s->colors[color].n; i-- > 0;) {
		struct backend *b = s->colors[color].backends[i];
		const struct watched *w = b->host != NULL ? watched_at_host(&p->watch.set, b->host) : NULL;
		enum node_wish wish = b->host != NULL ? nodes_wish(p, b->host) : NODE_READY;

		if (b->host == NULL)
			continue;
		if (w != NULL)
			seen[w - p->watch.set.list] = true;
		if (must_wait(s, p, b, wish)) {
			nodes_watch_wait(p, b->host);
		} else if (wish == NODE_REMOVED) {
			backends_drop(ctl, b);
			changed = true;
		} else {
			changed |= obey_node(ctl, b, nodes_said(p, b->host, &room));
		}
	}
	for (size_t i = 0; i < s->n_parted; i++) {
		struct backend *b = s->parted[i].backend;

		if (b->color == color)
			changed |= obey_node(ctl, b, nodes_said(p, b->host, &room));
	}
	return changed;
}

/* Those that are missing; false: `until` came first. */
static bool
add_missing_nodes(struct service_ctl *ctl, enum color color, const struct node_pool *p, const bool *seen, double until, bool *changed)
{
	struct node room;

	for (size_t i = 0; i < p->config->n_hosts + p->overlay.n; i++) {
		const char *host = i < p->config->n_hosts ? p->config->hosts[i] :
							    p->overlay.list[i - p->config->n_hosts].host;
		enum node_wish wish = nodes_wish(p, host);

		if (wish != NODE_REMOVED && find_backend(ctl->service, color, host) == NULL)
			*changed |= add_node(ctl, color, host, nodes_said(p, host, &room));
	}
	for (size_t i = 0; i < p->watch.set.n; i++) {
		const char *host = p->watch.set.list[i].node.host;
		enum node_wish wish = seen[i] ? NODE_REMOVED : nodes_wish(p, host);

		if (wish == NODE_REMOVED || overlay_find(&p->overlay, host) != NULL)
			continue;
		*changed |= add_node(ctl, color, host, nodes_said(p, host, &room));
		if (clock_now() >= until)
			return false;
	}
	return true;
}

/* *whole: the backends are what the pool is; else `until` came first. */
static bool
obey_color(struct service_ctl *ctl, enum color color, double until, bool *whole)
{
	struct node_pool *p = nodes_find_pool(ctl->control->nodes, ctl->service->config->pool);
	bool *seen = must_array(p->watch.set.n, sizeof(*seen)), changed = obey_present(ctl, color, p, seen);

	*whole &= add_missing_nodes(ctl, color, p, seen, until, &changed);
	free(seen);
	if (changed)
		service_forget_maglev(ctl->service, color);
	return changed;
}

bool
nodes_obey(struct service_ctl *ctl, enum color color)
{
	bool whole = true;

	return obey_color(ctl, color, INFINITY, &whole);
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
obey_colors(struct service_ctl *ctl, double until, bool *whole)
{
	const struct service_config *sc = ctl->service->config;
	bool changed = false;

	for (enum color color = GREEN; color <= BLUE; color++) {
		if (sc->pool == NULL || sc->colors[color].port == 0 || !obey_color(ctl, color, until, whole))
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
	bool whole = true;

	(void)obey_colors(ctl, INFINITY, &whole);
}

bool
nodes_obey_until(struct service_ctl *ctl, double until)
{
	bool whole = true;

	ctl->nodes_due |= obey_colors(ctl, until, &whole);
	if (whole && ctl->nodes_due && ctl_is_published(ctl))
		publish_now(ctl);
	if (whole)
		ctl->nodes_due = false;
	return whole;
}

/* Makes the services' backends what the pool is now, all in this turn. */
static void
obey(struct node_pool *p, struct nodes *n)
{
	struct control *c = n->control;

	for (size_t i = 0; i < c->n; i++) {
		struct service_ctl *ctl = c->services[i];
		const char *pool = ctl->service->config->pool;

		if (pool != NULL && strcmp(pool, p->config->name) == 0)
			(void)nodes_obey_until(ctl, INFINITY);
	}
	p->obeying = false;
	p->overlay_due = true;
	nodes_on_obeyed(p);
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

	/* A store tells its pools again with each configuration. */
	if (p == NULL || (p->overlay.version == now->version && p->overlay.forced == now->forced &&
			  overlay_same_terms(&p->overlay, now)))
		return;
	overlay_copy(&p->overlay, now);
	/* Before the records that follow: who has acknowledged them has this, too. */
	peer_on_nodes(c->peer, pool, now);
	/* Before anything is served, and where a successor takes acknowledgements of records for those of nodes, at once. */
	if (c->yielded || !c->store_ready) {
		obey(p, c->nodes);
	} else {
		p->overlay_due = true;
		nodes_obey_soon(p);
	}
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
		bool is_ready = b->host == NULL || nodes_wish_by(p, next, b->host) == NODE_READY;

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
			if (s->config->colors[color].port == 0 || (s->known && record_share(&s->record, color) == 0) ||
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
pool_new(struct nodes *n, const struct pool_config *config)
{
	struct node_pool *p = must_alloc(sizeof(*p));

	*p = (struct node_pool){ .nodes = n, .config = config };
	/* In a reload the thread reads what is kept. */
	if (n->control->nodes == NULL)
		nodes_watch_load(p);
	return p;
}

void
nodes_pool_unhold(struct node_pool *p)
{
	if (p->held > 0 || p->config != NULL)
		return;
	kube_watch_free(&p->watch.thread, 0);
	watched_free(&p->watch.set);
	overlay_free(&p->overlay);
	node_acks_free(&p->acks);
	free(p->views);
	free(p->spare);
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
		const struct pool_config *config = &to->pools[i], *was;

		for (size_t k = 0; k < were && n->pools[i] == NULL; k++)
			if (before[k] != NULL && strcmp(before[k]->config->name, config->name) == 0) {
				n->pools[i] = before[k];
				before[k] = NULL;
			}
		was = n->pools[i] != NULL ? n->pools[i]->config : NULL;
		changed[i] = was != NULL && !same_hosts(was, config);
		if (n->pools[i] == NULL)
			n->pools[i] = pool_new(n, config);
		n->pools[i]->config = config;
		changed[i] |= nodes_watch_configure(n->pools[i], was) && was != NULL;
	}
	for (size_t k = 0; k < were; k++)
		if (before[k] != NULL) {
			nodes_on_obeyed(before[k]);
			nodes_lease_end(before[k], true);
			kube_watch_free(&before[k]->watch.thread, 0);
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
	nodes_watch_init(n);
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
	for (size_t i = 0; i < n->n; i++)
		if (n->pools[i]->overlay_due)
			return true;
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
	nodes_watch_close(n);
	nodes_changes_end(n);
	node_drains_end(n);
	for (size_t i = 0; i < n->n; i++) {
		n->pools[i]->config = NULL;
		nodes_pool_unhold(n->pools[i]);
	}
	free(n->pools);
	free(n);
}
