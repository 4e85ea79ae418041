/* metrics_nodes.c - the families about the nodes of pools.
 * Thread: main. */
#include "app/teald/metrics_parts.h"
#include "control/nodes.h"

typedef void node_fn(struct prom *p, struct labels l, const struct node_view *v);

static void
put_node_up(struct prom *p, struct labels l, const struct node_view *v)
{
	/* Without a backend nothing is known of it. */
	if (v->sum.total > 0)
		metrics_sample(p, l, v->does == NODE_UP);
}

static void
put_node_admin_state(struct prom *p, struct labels l, const struct node_view *v)
{
	metrics_sample(p, l, v->wish == NODE_READY);
}

static void
put_node_backends(struct prom *p, struct labels l, const struct node_view *v)
{
	const struct {
		const char *state;
		unsigned n;
	} counts[] = { { "up", v->sum.up - v->sum.ejected },
		       { "ejected", v->sum.ejected },
		       { "checking", v->sum.checking },
		       { "draining", v->sum.draining },
		       { "down", v->sum.down } };

	for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
		struct labels one = l;

		labels_add(&one, "state", counts[i].state);
		metrics_sample(p, one, counts[i].n);
	}
}

static void
put_node_connections(struct prom *p, struct labels l, const struct node_view *v)
{
	metrics_sample(p, l, v->sum.connections);
}

static const struct {
	const char *name;
	node_fn *put;
	const char *help;
} node_families[] = {
	{ "teal_node_up", put_node_up, "1 while a backend on the node, of any service of its pool, answers its checks." },
	{ "teal_node_admin_state", put_node_admin_state, "1 for a node that is ready, 0 for one that is drained." },
	{ "teal_node_backends", put_node_backends, "Backends on a node, by how they do." },
	{ "teal_node_connections", put_node_connections, "Open connections to the backends on a node." },
};

/* Of pools whose nodes a Kubernetes API tells. */
enum watch_family { WATCH_UP, WATCH_AGE, WATCH_LEADER };

static void
put_watches(struct prom *p, struct control *c, enum watch_family f)
{
	for (size_t i = 0; i < c->config->n_pools; i++) {
		struct labels l = { .n = 0 };
		struct nodes_watch_view w;

		if (c->config->pools[i].kube == NULL)
			continue;
		nodes_watch_look(c, &c->config->pools[i], &w);
		labels_add(&l, "pool", c->config->pools[i].name);
		switch (f) {
		case WATCH_UP:
			metrics_sample(p, l, w.up);
			break;
		case WATCH_AGE:
			if (w.age >= 0)
				metrics_sample(p, l, w.age);
			break;
		case WATCH_LEADER:
			if (w.shared)
				metrics_sample(p, l, w.role == WATCH_LEADS);
			break;
		}
	}
}

void
metrics_nodes(struct prom *p, struct control *c)
{
	nodes_look(c);
	for (size_t f = 0; f < ARRAY_LEN(node_families); f++) {
		prom_family(p, node_families[f].name, PROM_GAUGE, node_families[f].help);
		for (size_t i = 0; i < c->config->n_pools; i++) {
			const struct pool_config *pool = &c->config->pools[i];
			size_t n;
			const struct node_view *list = nodes_views(c, pool, &n);

			for (size_t k = 0; k < n; k++) {
				struct labels l = { .n = 0 };

				if (list[k].wish == NODE_REMOVED)
					continue;
				labels_add(&l, "pool", pool->name);
				labels_add(&l, "node", list[k].host);
				node_families[f].put(p, l, &list[k]);
			}
		}
	}
	prom_family(p, "teal_node_watch_up", PROM_GAUGE, "1 while the Kubernetes API of a pool tells of its nodes.");
	put_watches(p, c, WATCH_UP);
	prom_family(p, "teal_node_watch_age_seconds", PROM_GAUGE, "Seconds since that API's last word.");
	put_watches(p, c, WATCH_AGE);
	prom_family(p, "teal_node_watch_leader", PROM_GAUGE, "1 while this teald watches the nodes of a pool for its fleet.");
	put_watches(p, c, WATCH_LEADER);
}
