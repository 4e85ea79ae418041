/* verbs_node.c - the admin command node: the pools' nodes, shown and changed.
 * Thread: main. */
#include <stdlib.h>
#include <string.h>

#include "app/teald/command.h"
#include "app/teald/rights.h"
#include "control/nodes.h"

static bool
uses_pool(const struct service *s, const struct pool_config *pool)
{
	return s->config->pool != NULL && strcmp(s->config->pool, pool->name) == 0;
}

/* A user who may read a service may know of its nodes. */
static bool
may_see(const struct command *cmd, const struct pool_config *pool)
{
	const struct control *c = cmd->admin->control;

	for (size_t i = 0; i < c->n; i++)
		if (uses_pool(c->services[i]->service, pool) && command_may_read(cmd, c->services[i]->service))
			return true;
	return rights_have(cmd->rights, ADMIN_RIGHT_READ, RIGHTS_EVERYWHERE);
}

/* -- list ----------------------------------------------------------------------- */

static const char *
state_of(const struct node_view *v)
{
	switch (v->wish) {
	case NODE_READY:
		return "ready";
	case NODE_DRAIN:
		return "draining";
	case NODE_REMOVED:
		return "removed";
	}
	return "";
}

/* {"service":"shop","up":1,"total":2,"connections":7}: both colors. */
static void
service_json(struct json *j, const struct service *s, const char *host)
{
	uint64_t up = 0, total = 0, connections = 0;

	for (int color = 0; color < COLORS; color++)
		for (size_t i = 0; i < s->colors[color].n; i++) {
			const struct backend *b = s->colors[color].backends[i];

			if (b->host == NULL || !node_same_host(b->host, host))
				continue;
			total++;
			up += b->state == BACKEND_UP;
			connections += atomic_load_explicit(&b->connections, memory_order_relaxed);
		}
	json_object(j, NULL);
	json_cstr(j, "service", s->config->name);
	json_u64(j, "up", up);
	json_u64(j, "total", total);
	json_u64(j, "connections", connections);
	json_object_end(j);
}

static void
node_json(const struct command *cmd, struct json *j, const struct pool_config *pool,
	  const struct node_view *v)
{
	const struct control *c = cmd->admin->control;

	json_object(j, NULL);
	json_cstr(j, "host", v->host);
	json_cstr(j, "origin", v->configured ? "configured" : "added");
	json_cstr(j, "state", state_of(v));
	json_bool(j, "changed", v->said);
	json_cstr(j, "problem", v->problem[0] != '\0' ? v->problem : NULL);
	json_array(j, "services");
	for (size_t i = 0; i < c->n; i++)
		if (uses_pool(c->services[i]->service, pool) && command_may_read(cmd, c->services[i]->service))
			service_json(j, c->services[i]->service, v->host);
	json_array_end(j);
	json_object_end(j);
}

static void
pool_json(const struct command *cmd, struct json *j, const struct pool_config *pool)
{
	size_t n;
	struct node_view *list = nodes_list(cmd->admin->control, pool, &n);

	json_object(j, NULL);
	json_cstr(j, "pool", pool->name);
	json_array(j, "nodes");
	for (size_t i = 0; i < n; i++)
		node_json(cmd, j, pool, &list[i]);
	json_array_end(j);
	json_object_end(j);
	free(list);
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
		if (one == NULL || !may_see(cmd, one)) {
			no_pool(cmd);
			return;
		}
	}
	command_ok(&j, &text);
	json_array(&j, "pools");
	for (size_t i = 0; i < c->config->n_pools; i++) {
		const struct pool_config *pool = &c->config->pools[i];

		if (one == NULL ? may_see(cmd, pool) : pool == one)
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
	buf_init(&text, CLIENT_REPLY_MAX);
	json_init(&j, &text);
	json_object(&j, NULL);
	json_bool(&j, "ok", e == OK);
	if (e != OK) {
		json_cstr(&j, "error", err_word(e));
		json_cstr(&j, "message", why->text);
	}
	json_str(&j, "verb", cmd->request.node_verb);
	json_str(&j, "pool", cmd->request.pool);
	json_str(&j, "host", cmd->request.host);
	changed_json(&j, e, changed);
	json_object_end(&j);
	json_line_end(&j);
	command_relay(cmd, &o, buf_str(&text));
	buf_free(&text);
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

	if (str_eq(cmd->request.node_verb, "list")) {
		struct why why;

		if (cmd->request.force)
			command_fail(cmd, why_set(&why, E_USAGE, "node list takes no --force"), &why);
		else
			run_node_list(cmd);
		return;
	}
	if ((pool = nodes_pool(cmd->admin->control, cmd->request.pool)) == NULL) {
		no_pool(cmd);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		if (str_eq(cmd->request.node_verb, verbs[i].word)) {
			cmd->held = true;
			nodes_change(cmd->admin->control, pool, cmd->request.host.p, verbs[i].verb,
				     cmd->request.force, node_on_done, cmd);
			return;
		}
	CHECK(!"a verb of node that admin_command_parse() lets through");
}
