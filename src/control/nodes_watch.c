/* nodes_watch.c - pools whose nodes a Kubernetes API tells: what main makes of the news, and the end of nodes that the
 * API has no more.  Thread: main.
 *
 * Thousands of nodes come and go in steps: no turn of the loop is held for longer than STEP. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "control/nodes_private.h"
#include "control/publish.h"
#include "store/watched_file.h"

/* Seconds. */
#define STEP 0.002
/* How often it is looked whether a node that the API has no more still has connections; seconds. */
#define FADE_EVERY 1.0
/* Of the thread's end, when the process stops. */
#define END_BY 1.0
/* Changes of one news that are told each. */
#define TOLD_EACH 50

/* -- what is obeyed, step by step ---------------------------------------------------------- */

static void
plan_step(struct nodes *n)
{
	if (!ev_is_active(&n->step)) {
		ev_timer_set(&n->step, 0.0, 0.0);
		ev_timer_start(n->control->loop, &n->step);
	}
}

void
nodes_obey_soon(struct node_pool *p)
{
	p->obeying = true;
	p->next_serial = 0;
	plan_step(p->nodes);
}

/* False: there is more to do. */
static bool
obey_some(struct nodes *n, struct node_pool *p, double until)
{
	struct control *c = n->control;

	for (size_t i = control_from(c, p->next_serial); i < c->n; i = control_from(c, p->next_serial)) {
		struct service_ctl *ctl = c->services[i];
		const char *pool = ctl->service->config->pool;

		if (pool != NULL && strcmp(pool, p->config->name) == 0 && !nodes_obey_until(ctl, until))
			return false;
		p->next_serial = ctl->serial + 1;
		if (clock_now() >= until)
			return false;
	}
	p->obeying = false;
	p->watch.wait_told &= p->watch.waiting;
	nodes_on_obeyed(p);
	if (c->store_ready)
		control_announce(c);
	return true;
}

static void
nodes_on_step(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct nodes *n = container_of(t, struct nodes, step);
	double until = clock_now() + STEP;

	(void)loop;
	(void)revents;
	for (size_t i = 0; i < n->n; i++)
		if (n->pools[i]->obeying && !obey_some(n, n->pools[i], until)) {
			plan_step(n);
			return;
		}
}

/* -- nodes that the API has no more ---------------------------------------------------------- */

static bool
is_fading(const struct watched *w)
{
	return w->why == WATCHED_DELETED && w->wish != NODE_REMOVED;
}

static void
plan_fading(struct nodes *n)
{
	bool any = false;

	for (size_t i = 0; i < n->n; i++)
		any |= n->pools[i]->watch.waiting;
	for (size_t i = 0; i < n->n; i++)
		for (size_t k = 0; k < n->pools[i]->watch.set.n && !any; k++)
			any = is_fading(&n->pools[i]->watch.set.list[k]);
	if (any && !ev_is_active(&n->fade)) {
		ev_timer_set(&n->fade, FADE_EVERY, 0.0);
		ev_timer_start(n->control->loop, &n->fade);
	}
}

void
nodes_watch_wait(struct node_pool *p, const char *host)
{
	if (!p->watch.wait_told)
		LOG_INFO("nodes.drain_waits", LS("pool", p->config->name), LS("node", host));
	p->watch.waiting = p->watch.wait_told = true;
	plan_fading(p->nodes);
}

/* Those on which no connection is left are nodes no more. */
static void
fade_pool(struct nodes *n, struct node_pool *p)
{
	bool any = false;

	for (size_t k = 0; k < p->watch.set.n; k++) {
		struct watched *w = &p->watch.set.list[k];
		const struct node_view *v = is_fading(w) ? nodes_find_view(p, w->node.host) : NULL;

		/* What was only just looked at for the first time has not drained yet. */
		if (v == NULL || v->wish == NODE_READY || v->sum.connections > 0 || p->watch.waiting)
			continue;
		w->wish = NODE_REMOVED;
		any = true;
		BUS_EMIT(&n->control->bus, LOG_INFO_LEVEL, "node.gone", NULL, LS("pool", p->config->name), LS("node", w->node.host),
			 LS("name", w->node.name));
	}
	if (any || p->watch.waiting)
		nodes_obey_soon(p);
	p->watch.waiting = false;
}

static void
nodes_on_fade(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct nodes *n = container_of(t, struct nodes, fade);

	(void)loop;
	(void)revents;
	nodes_look(n->control);
	for (size_t i = 0; i < n->n; i++)
		fade_pool(n, n->pools[i]);
	plan_fading(n);
}

/* -- news ------------------------------------------------------------------------------------ */

static void
tell_node(const struct nodes *n, const struct node_pool *p, const struct watched *now, const struct watched *was)
{
	enum log_level level = now->why == WATCHED_CORDON_IGNORED || now->why == WATCHED_LAST ? LOG_WARN_LEVEL : LOG_INFO_LEVEL;

	BUS_EMIT(&n->control->bus, level, "node.watched", NULL, LS("pool", p->config->name), LS("node", now->node.host),
		 LS("name", now->node.name), LS("from", was != NULL ? watched_why_word(was->why) : "none"),
		 LS("to", watched_why_word(now->why)), LS("reason", now->node.taint));
}

/* What differs, one by one where that are not too many; and what is gone already stays so. */
static void
compare_sets(const struct nodes *n, const struct node_pool *p, struct watched_set *now)
{
	size_t changes = 0;

	for (size_t i = 0; i < now->n; i++) {
		struct watched *w = &now->list[i];
		const struct watched *was = watched_at_host(&p->watch.set, w->node.host);

		if (was != NULL && was->why == w->why) {
			if (was->wish == NODE_REMOVED && w->why == WATCHED_DELETED)
				w->wish = NODE_REMOVED;
		} else if (p->watch.begun && ++changes <= TOLD_EACH) {
			tell_node(n, p, w, was);
		}
	}
	if (changes > TOLD_EACH)
		BUS_EMIT(&n->control->bus, LOG_INFO_LEVEL, "nodes.watched", NULL, LS("pool", p->config->name), LU("count", changes),
			 LU("total", now->n));
}

static void
take_set(struct nodes *n, struct node_pool *p, struct watched_set *set)
{
	compare_sets(n, p, set);
	/* They point there. */
	for (size_t i = 0; i < p->n_views; i++)
		p->views[i].watched = NULL;
	watched_free(&p->watch.set);
	p->watch.set = *set;
	*set = (struct watched_set){ 0 };
	nodes_obey_soon(p);
	plan_fading(n);
}

static void
tell_trouble(struct nodes *n, struct node_pool *p, const struct kube_news *news)
{
	bool was_failing = p->watch.problem[0] != '\0';

	if (news->problem[0] != '\0' && news->watch_ended) {
		LOG_INFO("nodes.watch_ended", LS("pool", p->config->name), LS("where", news->server), LS("reason", news->problem));
		return;
	}
	if (news->problem[0] == '\0' && !news->fresh)
		return;
	/* Of several servers each has a reason of its own: one event for all of them. */
	if (was_failing && news->problem[0] != '\0' && strcmp(p->watch.problem, news->problem) != 0)
		LOG_INFO("nodes.watch_failed", LS("pool", p->config->name), LS("where", news->server), LS("error", news->problem));
	else if (!was_failing && news->problem[0] != '\0')
		BUS_EMIT(&n->control->bus, LOG_WARN_LEVEL, "nodes.watch_failed", NULL, LS("pool", p->config->name),
			 LS("where", news->server), LS("error", news->problem), LU("total", p->watch.set.n),
			 LS("hint", "the last known nodes count until the API answers"));
	else if (news->problem[0] == '\0' && was_failing)
		BUS_EMIT(&n->control->bus, LOG_INFO_LEVEL, "nodes.watch_recovered", NULL, LS("pool", p->config->name),
			 LS("where", news->server), LU("total", p->watch.set.n));
	memcpy(p->watch.problem, news->problem, sizeof(p->watch.problem));
}

static void
pool_on_news(void *arg, struct kube_news *news)
{
	struct node_pool *p = arg;
	struct nodes *n = p->nodes;

	if (news->fresh)
		p->watch.seen_at = clock_now();
	memcpy(p->watch.server, news->server, sizeof(p->watch.server));
	if (news->changed)
		take_set(n, p, &news->by_host);
	if (news->listed && !p->watch.listed)
		LOG_INFO("nodes.listed", LS("pool", p->config->name), LS("where", news->server), LU("total", p->watch.set.n));
	p->watch.listed |= news->listed;
	tell_trouble(n, p, news);
	nodes_lease_on_news(p, news);
}

void
nodes_watch_take(struct node_pool *p, struct watched_set *by_host, double seen_at)
{
	take_set(p->nodes, p, by_host);
	p->watch.seen_at = seen_at;
	p->watch.listed = p->watch.begun = true;
}

void
nodes_watch_trouble(struct node_pool *p, const char *where, const char *what, const char *text)
{
	struct kube_news news = { .fresh = text[0] == '\0' };

	if (text[0] != '\0')
		snprintf(news.problem, sizeof(news.problem), "%s%s", what, text);
	str_copy(news.server, sizeof(news.server), str_from(where));
	tell_trouble(p->nodes, p, &news);
}

/* -- life -------------------------------------------------------------------------------------- */

void
nodes_watch_start(struct node_pool *p)
{
	struct control *c = p->nodes->control;

	p->watch.begun = true;
	p->watch.thread = kube_watch_new(c->loop, c->config, p->config, p->watch.set.n > 0 ? &p->watch.set : NULL, p->lease.on,
					 pool_on_news, p);
}

void
nodes_watch_stop(struct node_pool *p)
{
	kube_watch_free(&p->watch.thread, 0);
	p->watch.server[0] = '\0';
}

/* In a fleet the store is asked first. */
static void
begin_watch(struct node_pool *p)
{
	if (!nodes_lease_begin(p))
		nodes_watch_start(p);
}

void
nodes_watch_begin(struct nodes *n)
{
	n->watching = true;
	for (size_t i = 0; i < n->n; i++)
		if (n->pools[i]->config->kube != NULL && n->pools[i]->watch.thread == NULL && !n->pools[i]->lease.on)
			begin_watch(n->pools[i]);
}

void
nodes_watch_end(struct nodes *n, bool stopping)
{
	n->watching = false;
	for (size_t i = 0; i < n->n; i++) {
		/* At the end of the process its store is gone already. */
		nodes_lease_end(n->pools[i], !stopping);
		kube_watch_free(&n->pools[i]->watch.thread, stopping ? END_BY : 0);
	}
}

void
nodes_watch_leave(struct nodes *n)
{
	for (size_t i = 0; i < n->n; i++)
		nodes_lease_end(n->pools[i], true);
}

void
nodes_watch_load(struct node_pool *p)
{
	struct watched_set kept;
	int64_t seen_us;
	double age;
	struct why why;

	if (p->config->kube == NULL)
		return;
	if (watched_file_read(p->nodes->control->config->state_dir, p->config->name, &kept, &seen_us, &why) != OK)
		LOG_WARN("nodes.not_read", LS("pool", p->config->name), LS("reason", why.text),
			 LS("hint", "until the API answers the pool has no nodes"));
	if (kept.n > 0) {
		age = (double)(clock_wall_us() - seen_us) / 1e6;
		p->watch.seen_at = clock_now() - (age > 0 ? age : 0);
	}
	watched_by_host(&p->watch.set, &kept);
	watched_free(&kept);
}

/* What the pool listed goes on until the API has told what it has. */
static void
seed_from_hosts(struct node_pool *p, const struct pool_config *before)
{
	int64_t now = clock_wall_us();
	struct watched_set s = { 0 };

	for (size_t i = 0; i < before->n_hosts; i++) {
		struct kube_node node = { .signals = 0 };

		if (kube_host_form(before->hosts[i], node.host) && str_copy(node.name, sizeof(node.name), str_from(before->hosts[i])))
			(void)watched_put(&s, &node, now);
	}
	watched_by_host(&p->watch.set, &s);
	watched_free(&s);
}

bool
nodes_watch_configure(struct node_pool *p, const struct pool_config *before)
{
	const struct kube_config *was = before != NULL ? before->kube : NULL, *now = p->config->kube;
	bool watched;

	if (was == now || (was != NULL && now != NULL && kube_config_same(was, now)))
		return false;
	watched = p->watch.thread != NULL;
	kube_watch_free(&p->watch.thread, 0);
	p->watch.problem[0] = '\0';
	if (now == NULL) {
		nodes_lease_end(p, true);
		for (size_t i = 0; i < p->n_views; i++)
			p->views[i].watched = NULL;
		watched_free(&p->watch.set);
		p->watch.listed = p->watch.begun = false;
		p->watch.seen_at = 0;
	} else if (was == NULL && before != NULL) {
		seed_from_hosts(p, before);
	}
	if (now != NULL && p->lease.on) {
		nodes_lease_configure(p);
		if (watched)
			nodes_watch_start(p);
	} else if (now != NULL && p->nodes->watching) {
		begin_watch(p);
	}
	return true;
}

void
nodes_watch_init(struct nodes *n)
{
	ev_timer_init(&n->step, nodes_on_step, 0.0, 0.0);
	ev_timer_init(&n->fade, nodes_on_fade, 0.0, 0.0);
}

void
nodes_watch_close(struct nodes *n)
{
	nodes_watch_end(n, true);
	ev_timer_stop(n->control->loop, &n->step);
	ev_timer_stop(n->control->loop, &n->fade);
}

bool
nodes_are_awaited(const struct control *c, const struct service *s)
{
	const struct node_pool *p = s->config->pool != NULL ? nodes_find_pool(c->nodes, s->config->pool) : NULL;

	return p != NULL && p->config->kube != NULL && ((p->watch.set.n == 0 && !p->watch.listed) || p->obeying);
}

void
nodes_watch_look(const struct control *c, const struct pool_config *pool, struct nodes_watch_view *out)
{
	const struct node_pool *p = nodes_find_pool(c->nodes, pool->name);

	*out = (struct nodes_watch_view){
		.role = p->lease.on ? p->lease.role : WATCH_ALONE,
		.shared = p->lease.on,
		.holder = p->lease.holder,
		.since_us = p->lease.since_us,
		.up = (p->watch.thread != NULL || p->lease.role == WATCH_FOLLOWS) && p->watch.listed && p->watch.problem[0] == '\0',
		.age = p->watch.seen_at != 0 ? clock_now() - p->watch.seen_at : -1,
		.problem = p->watch.problem,
		.server = p->watch.server,
	};
}
