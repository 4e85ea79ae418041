/* node_drain.c - a node is drained and waited for; see the header.  Thread: main. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "control/node_drain.h"
#include "control/nodes_private.h"

#define TICK 0.1
/* Between two readings of the others. */
#define READ_EVERY 0.25
#define TELL_EVERY 1.0
/* From when the deadline is seen to have passed, for the workers to cut a great many and for the others to tell. */
#define GRACE 5.0

struct node_drain {
	struct link link;	/* nodes->drains */
	struct control *control;
	struct node_pool *pool;	/* held */
	char host[NODE_HOST];
	struct node_terms terms;	/* as they were written */
	bool no_cut, changed;
	uint64_t version;	/* that every member has to obey */
	double started, deadline;	/* clock_now() */
	double late_at;	/* the deadline was seen to have passed; 0: not yet. Main may have stood still until then */
	bool asking;	/* for a reading of the store: a callback will come */
	double asked_at;
	char unread[512];	/* why the last reading has failed; "": it has not */
	uint64_t told_connections;
	size_t told_unsure;
	double told_at;	/* 0: not yet */
	node_drain_progress_fn *progress;
	node_drain_done_fn *done;	/* NULL: answered, and only the reading is waited for */
	void *arg;
	ev_timer tick;
};

const char *
node_drain_state_word(enum node_drain_state s)
{
	switch (s) {
	case NODE_DRAIN_OBEYS:
		return "obeys";
	case NODE_DRAIN_LATE:
		return "late";
	case NODE_DRAIN_REFUSES:
		return "refuses";
	case NODE_DRAIN_MISSING:
		return "missing";
	case NODE_DRAIN_MUTE:
		return "silent";
	}
	return "";
}

double
node_drain_default(const struct control *c, const struct pool_config *pool)
{
	double most = 0;

	for (size_t i = 0; i < c->n; i++) {
		const struct service_config *sc = c->services[i]->service->config;

		if (sc->pool != NULL && strcmp(sc->pool, pool->name) == 0 && sc->drain.timeout > most)
			most = sc->drain.timeout;
	}
	return most;
}

/* -- what is known -------------------------------------------------------------------- */

static size_t
find_place(const struct node_pool *p, const char *host)
{
	size_t i = 0;

	while (i < p->n_views && !node_same_host(p->views[i].host, host))
		i++;
	return i;
}

/* What was seen last is of a moment ago (nodes_look_soon()); that nothing is left has to have been seen since
 * the drain is obeyed. */
static bool
is_seen(const struct node_drain *d, size_t place)
{
	const struct node_view *v = &d->pool->views[place];

	return place < d->pool->n_views && node_terms_same(&v->terms, &d->terms) &&
	       (v->sum.connections > 0 || v->emptied_us == d->terms.since_us);
}

static struct node_drain_member
look_at_self(const struct node_drain *d)
{
	const struct node_pool *p = d->pool;
	struct node_drain_member m = { .machine = "", .pid = getpid(), .self = true, .state = NODE_DRAIN_LATE };
	size_t place = find_place(p, d->host);

	if (p->applied < d->version)
		return m;
	if (!is_seen(d, place)) {
		nodes_look(d->control);
		place = find_place(p, d->host);
	}
	if (place == p->n_views)
		return m;
	nodes_describe_node(d->control, p, place, &m.left);
	m.state = NODE_DRAIN_OBEYS;
	return m;
}

static struct node_drain_member
look_at_other(const struct node_drain *d, const struct fleet_member *f, const struct fleet_pool *p)
{
	const struct fleet_node *n = p != NULL ? fleet_node_of(p, d->host) : NULL;
	struct node_drain_member m = { .machine = f->host, .pid = f->pid, .self = f->self, .state = NODE_DRAIN_OBEYS };

	if (f->missing)
		m.state = NODE_DRAIN_MISSING;
	else if (p == NULL)
		m.state = NODE_DRAIN_MUTE;
	else if (p->refused)
		m.state = NODE_DRAIN_REFUSES;
	else if (p->applied < d->version)
		m.state = NODE_DRAIN_LATE;
	else if (n != NULL)
		m.left = *n;
	else if (p->more)
		m.state = NODE_DRAIN_MUTE;
	return m;
}

/* r->members is the caller's to free. */
static void
make_report(const struct node_drain *d, struct node_drain_report *r)
{
	const struct control *c = d->control;
	const struct fleet *f = c->store->fleet != NULL ? c->store->fleet(c->store) : NULL;
	struct node_drain_member *list = must_array((f != NULL ? f->n : 0) + 1, sizeof(*list));

	*r = (struct node_drain_report){ .members = list, .fleet = f != NULL, .seconds = clock_now() - d->started };
	/* One that has handed over hears what is here, too, from its successor. */
	if (!c->yielded)
		list[r->n++] = look_at_self(d);
	for (size_t i = 0; f != NULL && i < f->n; i++) {
		const struct fleet_member *m = &f->members[i];
		const struct fleet_pool *p = fleet_pool_of(m, d->pool->config->name);

		if (m->self && !c->yielded)
			list[0].machine = m->host;
		/* It has no such pool. */
		else if (p != NULL || !m->tells_pools || m->missing)
			list[r->n++] = look_at_other(d, m, p);
	}
	for (size_t i = 0; i < r->n; i++) {
		r->unsure += list[i].state != NODE_DRAIN_OBEYS;
		r->connections += list[i].left.connections;
		r->cut += list[i].left.cut;
	}
}

/* -- the end ------------------------------------------------------------------------------ */

static void
drain_free(struct node_drain *d)
{
	list_remove(&d->link);
	ev_timer_stop(d->control->loop, &d->tick);
	d->pool->held--;
	nodes_pool_unhold(d->pool);
	free(d);
}

static void
drain_end(struct node_drain *d, enum err e, const struct node_drain_report *r, const struct why *why)
{
	node_drain_done_fn *done = d->done;

	ev_timer_stop(d->control->loop, &d->tick);
	d->done = NULL;
	done(d->arg, e, d->changed, r, e == OK ? NULL : why);
	if (!d->asking)
		drain_free(d);
}

static void
name_services(struct buf *b, const struct fleet_node *n)
{
	for (unsigned i = 0; i < n->n_services; i++)
		buf_printf(b, "%s%s %llu", i > 0 ? ", " : " (", n->services[i].name,
			   (unsigned long long)n->services[i].connections);
	if (n->n_services > 0)
		buf_printf(b, ")");
}

/* "lb2 pid 7 has 5 (shop 4, pay 1); lb3 pid 9 is missing" */
static void
name_members(struct buf *b, const struct node_drain_report *r)
{
	static const char *const says[] = {
		[NODE_DRAIN_OBEYS] = "has",
		[NODE_DRAIN_LATE] = "has not said that it obeys",
		[NODE_DRAIN_REFUSES] = "refuses: it would lose the last usable backend of a color; --force overrides",
		[NODE_DRAIN_MISSING] = "is missing",
		[NODE_DRAIN_MUTE] = "does not tell its nodes",
	};
	bool any = false;

	for (size_t i = 0; i < r->n; i++) {
		const struct node_drain_member *m = &r->members[i];

		if (m->state == NODE_DRAIN_OBEYS && m->left.connections == 0)
			continue;
		buf_printf(b, "%s%s%spid %d %s", any ? "; " : "", m->machine, m->machine[0] != '\0' ? " " : "", m->pid,
			   says[m->state]);
		any = true;
		if (m->state != NODE_DRAIN_OBEYS)
			continue;
		buf_printf(b, " %llu", (unsigned long long)m->left.connections);
		name_services(b, &m->left);
	}
}

static void
end_late(struct node_drain *d, const struct node_drain_report *r)
{
	bool unread = r->fleet && d->unread[0] != '\0';
	struct buf names;
	struct why why;
	enum err e;

	buf_init(&names, sizeof(why.text) / 2);
	name_members(&names, r);
	if (unread)
		e = why_set(&why, E_UNKNOWN, "%s: %llu connections here after %.3g s, and of the others nothing is known: %s; "
			    "the drain goes on", d->host, (unsigned long long)(r->n > 0 ? r->members[0].left.connections : 0),
			    r->seconds, d->unread);
	else
		e = why_set(&why, r->unsure > 0 ? E_PARTIAL_FLEET : E_TIMEOUT,
			    "%s: %llu connections after %.3g s%s%.*s; the drain goes on", d->host,
			    (unsigned long long)r->connections, r->seconds, buf_len(&names) > 0 ? ": " : "",
			    (int)buf_len(&names), buf_str(&names).p);
	buf_free(&names);
	drain_end(d, e, r, &why);
}

static void
end_empty(struct node_drain *d, const struct node_drain_report *r)
{
	struct why why;

	if (d->no_cut && r->cut > 0)
		drain_end(d,
			  why_set(&why, E_TIMEOUT, "%s: drained, but %llu connections had to be cut at the drain's deadline",
				  d->host, (unsigned long long)r->cut),
			  r, &why);
	else
		drain_end(d, OK, r, NULL);
}

static bool
is_superseded(struct node_drain *d)
{
	const struct node_pool *p = d->pool;
	const struct node *said = p->config != NULL ? overlay_find(&p->overlay, d->host) : NULL;
	struct why why;

	if (said != NULL && node_ends(said) && node_terms_same(&said->terms, &d->terms))
		return false;
	if (p->config == NULL)
		(void)why_set(&why, E_CONFLICT, "%s: the configuration has that pool no more", d->host);
	else if (said != NULL && said->wish == NODE_DRAIN)
		(void)why_set(&why, E_CONFLICT, "%s: it was drained anew by another command, by whose terms it goes on", d->host);
	else
		(void)why_set(&why, E_CONFLICT,
			      "%s is %s in %s again: another command ended the drain, and the connections that are left stay",
			      d->host, said != NULL && said->wish == NODE_REMOVED ? "removed" : "ready", p->config->name);
	drain_end(d, E_CONFLICT, NULL, &why);
	return true;
}

/* -- waiting ---------------------------------------------------------------------------------- */

static void
tell(struct node_drain *d, const struct node_drain_report *r)
{
	double now = clock_now();

	if (d->told_at > 0 && (now - d->told_at < TELL_EVERY ||
			       (r->connections == d->told_connections && r->unsure == d->told_unsure)))
		return;
	d->told_at = now;
	d->told_connections = r->connections;
	d->told_unsure = r->unsure;
	d->progress(d->arg, r);
}

static bool
is_given_up(struct node_drain *d)
{
	double now = clock_now();

	if (now <= d->deadline)
		return false;
	if (d->late_at == 0)
		d->late_at = now;
	return now > d->late_at + GRACE;
}

/* news: the others were read, or there are none. */
static void
judge(struct node_drain *d, bool news)
{
	struct node_drain_report r;

	if (is_superseded(d))
		return;
	make_report(d, &r);
	if (news && r.n > 0 && r.unsure == 0 && r.connections == 0) {
		end_empty(d, &r);
	} else if (is_given_up(d)) {
		end_late(d, &r);
	} else {
		tell(d, &r);
	}
	free((void *)(uintptr_t)r.members);
}

static void
drain_on_read(void *arg, enum err e, const struct why *why)
{
	struct node_drain *d = arg;

	d->asking = false;
	if (d->done == NULL) {
		drain_free(d);
		return;
	}
	str_copy(d->unread, sizeof(d->unread), str_from(e == OK ? "" : why->text));
	judge(d, e == OK);
}

static void
drain_on_tick(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct node_drain *d = container_of(t, struct node_drain, tick);
	struct store *store = d->control->store;
	struct why why;

	(void)loop;
	(void)revents;
	if (store->refresh == NULL && d->control->yielded) {
		drain_end(d,
			  why_set(&why, E_UNKNOWN, "%s: another process of teald has taken over, and goes on with the drain; "
				  "repeat the command to wait there", d->host),
			  NULL, &why);
	} else if (store->refresh == NULL || d->asking || clock_now() - d->asked_at < READ_EVERY) {
		judge(d, store->refresh == NULL);
	} else {
		d->asking = true;
		d->asked_at = clock_now();
		store->refresh(store, drain_on_read, d);
	}
}

static void
drain_on_changed(void *arg, enum err e, bool changed, const struct why *why)
{
	struct node_drain *d = arg;

	d->changed = changed;
	if (e != OK) {
		d->done(d->arg, e, changed, NULL, why);
		drain_free(d);
		return;
	}
	d->version = d->pool->overlay.version;
	d->deadline = clock_now() + (double)d->terms.timeout_us / 1e6;
	/* A reload may have taken the pool while that was written: the first tick says so. */
	if (d->pool->config != NULL)
		BUS_EMIT(&d->control->bus, LOG_INFO_LEVEL, "node.draining", NULL, LS("pool", d->pool->config->name),
			 LS("node", d->host), LF("timeout", (double)d->terms.timeout_us / 1e6));
	ev_timer_start(d->control->loop, &d->tick);
}

void
node_drain_start(struct control *c, const struct node_drain_request *q, node_drain_progress_fn *progress,
		 node_drain_done_fn *done, void *arg)
{
	struct node_drain *d = must_alloc(sizeof(*d));

	d->control = c;
	d->pool = nodes_find_pool(c->nodes, q->pool->name);
	CHECK(d->pool != NULL);
	d->pool->held++;
	/* Too long a name is refused by nodes_change(). */
	(void)str_copy(d->host, sizeof(d->host), str_from(q->host));
	d->terms = (struct node_terms){ 0, (int64_t)(q->timeout * 1e6), q->spread < 0 ? -1 : (int64_t)(q->spread * 1e6) };
	d->no_cut = q->no_cut;
	d->started = clock_now();
	d->progress = progress;
	d->done = done;
	d->arg = arg;
	list_init(&d->link);
	list_append(&c->nodes->drains, &d->link);
	ev_timer_init(&d->tick, drain_on_tick, 0.0, TICK);
	nodes_change(c, q->pool, q->host, NODE_DRAIN_IT, q->force, &d->terms, drain_on_changed, d);
}

static struct node_drain *
find_drain(const struct control *c, const void *arg)
{
	LIST_EACH(l, &c->nodes->drains)
	{
		struct node_drain *d = list_entry(l, struct node_drain, link);

		if (d->done != NULL && d->arg == arg && ev_is_active(&d->tick))
			return d;
	}
	return NULL;
}

bool
node_drain_waits(const struct control *c, const void *arg)
{
	return find_drain(c, arg) != NULL;
}

bool
node_drain_call_off(struct control *c, const void *arg)
{
	struct node_drain *d = find_drain(c, arg);

	if (d == NULL)
		return false;
	ev_timer_stop(c->loop, &d->tick);
	d->done = NULL;
	if (!d->asking)
		drain_free(d);
	return true;
}

void
node_drains_end(struct nodes *n)
{
	static const struct why why = { "teald stopped before this was over; the drain goes on: node list tells" };

	LIST_EACH(l, &n->drains)
	{
		struct node_drain *d = list_entry(l, struct node_drain, link);

		if (d->done != NULL)
			d->done(d->arg, E_UNKNOWN, d->changed, NULL, &why);
		drain_free(d);
	}
}
