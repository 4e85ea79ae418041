/* nodes_change.c - a command that changes a node: what it makes of the
 * overlay, the write, and the wait for the workers.  Thread: main. */
#include <stdlib.h>
#include <string.h>

#include "control/nodes_private.h"
#include "control/resolve.h"
#include "control/ring.h"

/* A change that meets another one is tried again so many times. */
#define TRIES 5

/* A command on its way. */
struct node_change {
	struct link link;
	struct nodes *nodes;
	struct node_pool *pool;
	char host[NODE_HOST];
	enum node_verb verb;
	bool force;	/* no judgement, neither here nor elsewhere */
	struct node_terms *terms;	/* of a drain that ends connections; NULL: of none */
	unsigned tries;
	const struct hostname *name;	/* is being looked up */
	bool written;	/* stored; waits until it is obeyed, and for the workers */
	struct node_acks acks;
	node_done_fn *done;
	void *arg;
};

static void
change_end(struct node_change *ch, enum err e, bool changed, const struct why *why)
{
	list_remove(&ch->link);
	ch->done(ch->arg, e, changed, why);
	if (ch->pool != NULL) {
		ch->pool->held--;
		nodes_pool_unhold(ch->pool);
	}
	node_acks_free(&ch->acks);
	free(ch);
}

void
node_acks_begin(struct node_acks *a, const struct control *c)
{
	node_acks_free(a);
	a->want = must_array(c->n + 1, sizeof(*a->want));
	for (size_t i = 0; i < c->n; i++) {
		const struct service_ctl *ctl = c->services[i];

		if (!ctl_is_published(ctl))
			continue;
		a->want[a->n].ctl = ctl;
		a->want[a->n++].generation = ctl->service->generation + ctl->dirty;
	}
}

bool
node_acks_are_in(const struct node_acks *a)
{
	for (size_t i = 0; i < a->n; i++)
		if (a->want[i].ctl->service->acked < a->want[i].generation)
			return false;
	return true;
}

void
node_acks_free(struct node_acks *a)
{
	free(a->want);
	*a = (struct node_acks){ NULL, 0 };
}

static void
acks_forget(struct node_acks *a, const struct service_ctl *ctl)
{
	for (size_t i = a->n; i-- > 0;)
		if (a->want[i].ctl == ctl)
			a->want[i] = a->want[--a->n];
}

/* Stored: the answer comes when it is obeyed, and the workers have it as well. */
static void
change_wait(struct node_change *ch)
{
	ch->written = true;
	if (ch->pool->overlay_due)
		return;
	node_acks_begin(&ch->acks, ch->nodes->control);
	if (node_acks_are_in(&ch->acks))
		change_end(ch, OK, true, NULL);
}

void
nodes_on_obeyed(struct node_pool *p)
{
	struct nodes *n = p->nodes;

	if (!p->overlay_due)
		return;
	p->overlay_due = false;
	node_acks_begin(&p->acks, n->control);
	LIST_EACH(l, &n->changes)
	{
		struct node_change *ch = list_entry(l, struct node_change, link);

		if (ch->pool == p && ch->written)
			node_acks_begin(&ch->acks, n->control);
	}
	nodes_on_acked(n);
}

void
nodes_on_acked(struct nodes *n)
{
	bool news = false;

	for (size_t i = 0; i < n->n; i++) {
		struct node_pool *p = n->pools[i];

		if (p->overlay_due || p->applied == p->overlay.version || !node_acks_are_in(&p->acks))
			continue;
		p->applied = p->overlay.version;
		node_acks_free(&p->acks);
		news = true;
	}
	if (news && n->control->store_ready)
		control_announce(n->control);
	LIST_EACH(l, &n->changes)
	{
		struct node_change *ch = list_entry(l, struct node_change, link);

		if (ch->written && !ch->pool->overlay_due && node_acks_are_in(&ch->acks))
			change_end(ch, OK, true, NULL);
	}
}

void
nodes_leave(struct nodes *n, const struct service_ctl *ctl)
{
	LIST_EACH(l, &n->changes)
	{
		acks_forget(&list_entry(l, struct node_change, link)->acks, ctl);
	}
	for (size_t i = 0; i < n->n; i++)
		acks_forget(&n->pools[i]->acks, ctl);
	nodes_on_acked(n);
}

/* Of a node that an API tells: a drain is said though the cluster drains it as well, and goes on after it; ready
 * takes that back, and goes against the cluster only by force. */
static enum err
apply_watched(const struct node_change *ch, const struct watched *w, enum node_wish wish, const struct node_terms *terms,
	      struct overlay *next, struct why *why)
{
	const char *pool = ch->pool->config->name;
	const struct node *said = overlay_find(next, ch->host);

	if (wish == NODE_READY && w->wish != NODE_READY && !ch->force)
		return why_set(why, E_USAGE,
			       "the cluster drains %s (%s): end that there, or --force, which counts until node reset",
			       ch->host, watched_why_word(w->why));
	if (wish == NODE_READY && w->wish == NODE_READY)
		overlay_unset(next, ch->host);
	else if (said != NULL && said->wish == wish && ch->terms == NULL)
		return OK;
	else if (!overlay_set(next, ch->host, wish))
		return why_set(why, E_USAGE, "%s: more than %d nodes were changed; node reset some", pool, NODES_MAX);
	else
		overlay_set_terms(next, ch->host, ch->terms != NULL ? ch->terms : terms);
	return OK;
}

/* What the change makes of the overlay.  *next is the caller's to free; the
 * same as before when there is nothing to do.  An overlay keeps only what
 * differs from the configuration. */
static enum err
apply(struct node_change *ch, const struct overlay *base, struct overlay *next, struct why *why)
{
	const struct node_pool *p = ch->pool;
	const char *host = ch->host, *pool = p->config->name;
	bool configured = nodes_configured(p, host), said = overlay_find(base, host) != NULL;
	const struct watched *watched = watched_at_host(&p->watch.set, host);
	enum node_wish is = nodes_wish_by(p, base, host), wish = NODE_READY;
	struct node_terms terms = NODE_NO_TERMS;

	terms.since_us = store_now(ch->nodes->control->store);
	if (ch->terms != NULL)
		ch->terms->since_us = terms.since_us;

	overlay_copy(next, base);
	if (is == NODE_REMOVED && !said && !configured && ch->verb != NODE_ADD)
		return why_set(why, E_USAGE, "%s is no node of %s; node list shows them", host, pool);
	switch (ch->verb) {
	case NODE_ADD:
		if (is == NODE_DRAIN)
			return why_set(why, E_USAGE,
				       "%s is a node of %s already, and drained: node ready undoes that",
				       host, pool);
		break;
	case NODE_REMOVE:
		wish = NODE_REMOVED;
		break;
	case NODE_DRAIN_IT:
	case NODE_READY_IT:
		if (is == NODE_REMOVED)
			return why_set(why, E_USAGE, "%s was removed from %s: node add brings it back", host,
				       pool);
		wish = ch->verb == NODE_DRAIN_IT ? NODE_DRAIN : NODE_READY;
		if (watched != NULL)
			return apply_watched(ch, watched, wish, &terms, next, why);
		break;
	case NODE_RESET:
		overlay_unset(next, host);
		return OK;
	}
	/* A drain that ends connections is given anew, with a deadline of its own. */
	if (wish == is && !(wish == NODE_DRAIN && ch->terms != NULL))
		return OK;
	if (wish == (configured ? NODE_READY : NODE_REMOVED))
		overlay_unset(next, host);
	else if (!overlay_set(next, host, wish))
		return why_set(why, E_USAGE, "%s: more than %d nodes were changed; node reset some", pool,
			       NODES_MAX);
	else
		overlay_set_terms(next, host, ch->terms != NULL ? ch->terms : &terms);
	return OK;
}

/* Would an added node make a service of the pool lead back to itself?  Then every connection would circle for ever. */
static bool
closes_ring(const struct node_change *ch, struct why *why)
{
	const struct control *c = ch->nodes->control;
	const struct hostname *name = hosts_find(c->hosts, ch->host);
	size_t n = name != NULL ? name->n : 1;
	const struct service *by;
	struct addr a;

	for (size_t i = 0; i < c->n; i++) {
		const struct service *s = c->services[i]->service;

		if (s->config->pool == NULL || strcmp(s->config->pool, ch->pool->config->name) != 0)
			continue;
		for (int color = GREEN; color < COLORS; color++)
			for (size_t k = 0; k < n; k++) {
				if (name != NULL)
					a = name->list[k];
				else if (!addr_parse_ip(ch->host, 0, &a))
					continue;
				addr_unmap(&a);
				addr_set_port(&a, s->config->colors[color].port);
				if (addr_port(&a) == 0 || !ring_leads_back(c, s, &a, &by))
					continue;
				(void)why_set(why, E_USAGE,
					      "port %u of %s is where service \"%s\" listens, which leads back to \"%s\": what comes in would circle for ever; nothing was changed",
					      addr_port(&a), ch->host, by->config->name, s->config->name);
				return true;
			}
	}
	return false;
}

static void change_go(struct node_change *ch);

static void
change_on_written(void *arg, enum err e, const struct why *why)
{
	struct node_change *ch = arg;

	if (e == OK)
		change_wait(ch);
	else if (e == E_CONFLICT && ++ch->tries < TRIES)
		change_go(ch);	/* on top of what the other one made of it */
	else
		change_end(ch, e, false, why);
}

static void
change_go(struct node_change *ch)
{
	struct control *c = ch->nodes->control;
	struct store *store = c->store;
	const char *pool = ch->pool->config != NULL ? ch->pool->config->name : "";
	const struct overlay *disputed = store->disputed_nodes != NULL ? store->disputed_nodes(store, pool) : NULL;
	const struct overlay *base = disputed != NULL ? disputed : &ch->pool->overlay;
	struct overlay next = { 0 };
	struct why why;
	enum err e = ch->pool->config == NULL ?
			     why_set(&why, E_USAGE, "the configuration has that pool no more; nothing was changed") :
			     apply(ch, base, &next, &why);
	bool same = e == OK && overlay_same_terms(&next, base);

	if (e == OK && !same && ch->verb == NODE_ADD && closes_ring(ch, &why))
		e = E_USAGE;
	if (e == OK && !same && !ch->force && !nodes_may_obey(c, pool, &next, &why))
		e = E_UNHEALTHY;
	if (e != OK) {
		change_end(ch, e, false, &why);
	} else if (same && (!ch->force || next.forced || next.n == 0)) {
		change_end(ch, OK, false, NULL);
	} else {
		/* Forced and nothing new: some teald may refuse what there is. */
		next.version++;
		next.forced = ch->force;
		store->write_nodes(store, ch->pool->config->name, &next, change_on_written, ch);
	}
	overlay_free(&next);
}

void
nodes_on_name(struct nodes *n, const struct hostname *name)
{
	LIST_EACH(l, &n->changes)
	{
		struct node_change *ch = list_entry(l, struct node_change, link);
		struct why why;

		if (ch->name != name)
			continue;
		ch->name = NULL;
		if (name->n > 0)
			change_go(ch);
		else
			change_end(ch, why_set(&why, E_USAGE, "host %s", name->problem), false, &why);
	}
}

void
nodes_change(struct control *c, const struct pool_config *pool, const char *host, enum node_verb verb,
	     bool force, struct node_terms *terms, node_done_fn *done, void *arg)
{
	struct nodes *n = c->nodes;
	struct node_change *ch = must_alloc(sizeof(*ch));
	const struct hostname *name;
	struct addr addr;
	struct why why;

	list_init(&ch->link);
	ch->nodes = n;
	ch->pool = nodes_find_pool(n, pool->name);
	ch->verb = verb;
	ch->force = force;
	ch->terms = terms;
	ch->done = done;
	ch->arg = arg;
	list_append(&n->changes, &ch->link);
	CHECK(ch->pool != NULL);
	ch->pool->held++;
	if (!node_is_host(host) || !str_copy(ch->host, sizeof(ch->host), str_from(host))) {
		change_end(ch,
			   why_set(&why, E_USAGE, "\"%.64s\" is neither an address nor the name of a host",
				   host),
			   false, &why);
		return;
	}
	if (verb == NODE_ADD && !addr_parse_ip(host, 0, &addr) && !nodes_configured(ch->pool, host)) {
		name = hosts_watch(c->hosts, host, resolve_interval(c, pool));
		if (name->n == 0) {
			hosts_ask(c->hosts, name);
			ch->name = name;
			return;
		}
	}
	change_go(ch);
}

void
nodes_changes_end(struct nodes *n)
{
	static const struct why why = {
		"teald stopped before this was over; node list tells when it is back"
	};

	LIST_EACH(l, &n->changes)
	{
		change_end(list_entry(l, struct node_change, link), E_UNKNOWN, false, &why);
	}
}
