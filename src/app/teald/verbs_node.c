/* verbs_node.c - the admin command node: the pools' nodes, shown and changed.
 * Thread: main. */
#include <stdlib.h>
#include <string.h>

#include "app/teald/command.h"
#include "app/teald/rights.h"
#include "app/teald/status.h"
#include "control/nodes.h"

/* -- list ----------------------------------------------------------------------- */

/* What is listed of a pool: of all its nodes, and of each of its services that may be read on them. */
struct listing {
	const struct node_view *nodes;
	size_t n;
	struct node_sum *sums;	/* of n */
	const struct service **services;
	size_t n_services;
	struct node_sum *of_each;	/* n for each service */
};

static void
listing_make(struct listing *l, const struct command *cmd, const struct pool_config *pool)
{
	const struct control *c = cmd->admin->control;

	l->nodes = nodes_views(c, pool, &l->n);
	l->sums = status_sum_nodes(c, cmd->rights, pool);
	l->services = must_array(c->n + 1, sizeof(*l->services));
	l->n_services = 0;
	for (size_t k = 0; k < c->n; k++)
		if (status_uses_pool(c->services[k]->service, pool) && command_may_read(cmd, c->services[k]->service))
			l->services[l->n_services++] = c->services[k]->service;
	l->of_each = must_array(l->n_services * l->n + 1, sizeof(*l->of_each));
	for (size_t k = 0; k < l->n_services; k++)
		nodes_add_to_each(&l->of_each[k * l->n], l->n, l->services[k]);
}

static void
listing_free(struct listing *l)
{
	free(l->sums);
	free(l->services);
	free(l->of_each);
}

/* {"service":"shop","up":1,"total":2,"connections":7}: both colors. */
static void
service_json(struct json *j, const struct service *s, const struct node_sum *sum)
{
	json_object(j, NULL);
	json_cstr(j, "service", s->config->name);
	json_u64(j, "up", sum->up);
	json_u64(j, "total", sum->total);
	json_u64(j, "connections", sum->connections);
	json_object_end(j);
}

static void
node_json(struct json *j, const struct listing *l, size_t i, bool brief)
{
	/* Where nothing is up, that says it. */
	bool none = brief && l->nodes[i].sum.up == 0;

	json_object(j, NULL);
	status_node_json(j, &l->nodes[i], &l->sums[i]);
	json_array(j, "services");
	for (size_t k = 0; !none && k < l->n_services; k++) {
		const struct node_sum *sum = &l->of_each[k * l->n + i];

		if (!brief || sum->up != sum->total)
			service_json(j, l->services[k], sum);
	}
	json_array_end(j);
	json_object_end(j);
}

static void
pool_json(const struct command *cmd, struct json *j, const struct pool_config *pool)
{
	struct listing l;

	listing_make(&l, cmd, pool);
	json_object(j, NULL);
	json_cstr(j, "pool", pool->name);
	if (pool->kube != NULL)
		status_watch_json(j, "watch", cmd->admin->control, pool);
	json_array(j, "nodes");
	for (size_t i = 0; i < l.n; i++)
		node_json(j, &l, i, cmd->request.brief);
	json_array_end(j);
	json_object_end(j);
	listing_free(&l);
}

static void
no_pool(struct command *cmd)
{
	struct why why;

	command_fail(cmd,
		     why_set(&why, E_USAGE, "there is no node pool \"%.64s\"; node list shows them",
			     cmd->request.pool.p),
		     &why);
}

static void
run_node_list(struct command *cmd)
{
	const struct control *c = cmd->admin->control;
	const struct pool_config *one = NULL;
	struct buf text;
	struct json j;

	if (cmd->request.pool.n > 0) {
		one = nodes_pool(c, cmd->request.pool);
		if (one == NULL || !status_may_see_pool(cmd->rights, c, one)) {
			no_pool(cmd);
			return;
		}
	}
	nodes_look(cmd->admin->control);
	command_ok(&j, &text);
	json_array(&j, "pools");
	for (size_t i = 0; i < c->config->n_pools; i++) {
		const struct pool_config *pool = &c->config->pools[i];

		if (one == NULL ? status_may_see_pool(cmd->rights, c, pool) : pool == one)
			pool_json(cmd, &j, pool);
	}
	json_array_end(&j);
	command_done(cmd, &j);
}

/* -- changes ---------------------------------------------------------------------- */

static void
changed_json(struct json *j, enum err e, bool changed)
{
	if (e == E_UNKNOWN)
		json_null(j, "changed");
	else
		json_bool(j, "changed", changed);
}

static void
node_on_done(void *arg, enum err e, bool changed, const struct why *why)
{
	struct command *cmd = arg;
	struct outcome o = { .result = err_word(e), .message = e == OK ? NULL : why->text };
	struct buf text;
	struct json j;

	if (command_came_too_late(cmd))
		return;
	o.changed = e == E_UNKNOWN ? CHANGED_UNKNOWN : changed ? CHANGED_YES : CHANGED_NO;
	command_result(&j, &text, e, o.message);
	json_str(&j, "verb", cmd->request.node_verb);
	json_str(&j, "pool", cmd->request.pool);
	json_str(&j, "host", cmd->request.host);
	changed_json(&j, e, changed);
	command_result_done(cmd, &j, &o);
}

void
verb_node(struct command *cmd)
{
	static const struct {
		const char *word;
		enum node_verb verb;
	} verbs[] = {
		{ "add", NODE_ADD },        { "remove", NODE_REMOVE }, { "drain", NODE_DRAIN_IT },
		{ "ready", NODE_READY_IT }, { "reset", NODE_RESET },
	};
	const struct pool_config *pool;
	bool list = str_eq(cmd->request.node_verb, "list");
	struct why why;

	if (list ? cmd->request.force : cmd->request.brief && !cmd->request.node_wait) {
		command_fail(cmd,
			     list ? why_set(&why, E_USAGE, "node list takes no --force") :
				    why_set(&why, E_USAGE, "--brief is for node list, and for node drain --wait"),
			     &why);
		return;
	}
	if (list) {
		run_node_list(cmd);
		return;
	}
	if ((pool = nodes_pool(cmd->admin->control, cmd->request.pool)) == NULL) {
		no_pool(cmd);
		return;
	}
	if (cmd->request.node_wait) {
		verb_node_drain(cmd, pool);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		if (str_eq(cmd->request.node_verb, verbs[i].word)) {
			cmd->held = true;
			nodes_change(cmd->admin->control, pool, cmd->request.host.p, verbs[i].verb,
				     cmd->request.force, NULL, node_on_done, cmd);
			return;
		}
	CHECK(!"a verb of node that admin_command_parse() lets through");
}
