/* verbs_node.c - the admin command node: the pools' nodes, shown and changed.
 * Thread: main. */
#include <stdlib.h>
#include <string.h>

#include "app/teald/command.h"
#include "app/teald/rights.h"
#include "app/teald/status.h"
#include "control/nodes.h"

/* -- list ----------------------------------------------------------------------- */

/* {"service":"shop","up":1,"total":2,"connections":7}: both colors. */
static void
service_json(const struct command *cmd, struct json *j, const struct service *s, size_t node)
{
	struct node_sum sum = { 0 };

	nodes_add_service(&sum, s, node);
	if (cmd->request.brief && sum.up == sum.total)
		return;
	json_object(j, NULL);
	json_cstr(j, "service", s->config->name);
	json_u64(j, "up", sum.up);
	json_u64(j, "total", sum.total);
	json_u64(j, "connections", sum.connections);
	json_object_end(j);
}

static void
node_json(const struct command *cmd, struct json *j, const struct pool_config *pool,
	  const struct node_view *list, size_t i)
{
	const struct control *c = cmd->admin->control;
	/* Where nothing is up, that says it. */
	bool none = cmd->request.brief && list[i].sum.up == 0;
	struct node_sum sum;

	status_sum_node(c, cmd->rights, pool, i, &sum);
	json_object(j, NULL);
	status_node_json(j, &list[i], &sum);
	json_array(j, "services");
	for (size_t k = 0; !none && k < c->n; k++)
		if (status_uses_pool(c->services[k]->service, pool) && command_may_read(cmd, c->services[k]->service))
			service_json(cmd, j, c->services[k]->service, i);
	json_array_end(j);
	json_object_end(j);
}

/* Whether what is known of the pool's nodes is of now. */
static void
watch_json(const struct command *cmd, struct json *j, const struct pool_config *pool)
{
	struct nodes_watch_view w;

	nodes_watch_look(cmd->admin->control, pool, &w);
	json_object(j, "watch");
	json_bool(j, "up", w.up);
	if (w.age >= 0)
		json_u64(j, "age", (uint64_t)w.age);
	else
		json_null(j, "age");
	json_cstr(j, "server", w.server[0] != '\0' ? w.server : NULL);
	json_cstr(j, "problem", w.problem[0] != '\0' ? w.problem : NULL);
	json_object_end(j);
}

static void
pool_json(const struct command *cmd, struct json *j, const struct pool_config *pool)
{
	size_t n;
	const struct node_view *list = nodes_views(cmd->admin->control, pool, &n);

	json_object(j, NULL);
	json_cstr(j, "pool", pool->name);
	if (pool->kube != NULL)
		watch_json(cmd, j, pool);
	json_array(j, "nodes");
	for (size_t i = 0; i < n; i++)
		node_json(cmd, j, pool, list, i);
	json_array_end(j);
	json_object_end(j);
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
