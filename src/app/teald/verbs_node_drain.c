/* verbs_node_drain.c - the admin command node drain --wait: what control tells of it becomes lines for the
 * client, and the outcome for the audit log.  Thread: main. */
#include "app/teald/command.h"
#include "control/node_drain.h"

static void
member_json(const struct command *cmd, struct json *j, const struct node_drain_member *m)
{
	struct control *c = cmd->admin->control;

	json_object(j, NULL);
	json_cstr(j, "host", m->machine[0] != '\0' ? m->machine : NULL);
	json_i64(j, "pid", m->pid);
	json_bool(j, "self", m->self);
	json_cstr(j, "state", node_drain_state_word(m->state));
	if (m->state != NODE_DRAIN_OBEYS) {
		json_null(j, "connections");
		json_object_end(j);
		return;
	}
	json_u64(j, "connections", m->left.connections);
	json_u64(j, "cut", m->left.cut);
	json_array(j, "services");
	for (unsigned i = 0; i < m->left.n_services; i++) {
		struct service_ctl *ctl = control_find(c, str_from(m->left.services[i].name));

		/* No user here has rights on a service that only another teald has. */
		if (ctl == NULL || !command_may_read(cmd, ctl->service))
			continue;
		json_object(j, NULL);
		json_cstr(j, "service", m->left.services[i].name);
		json_u64(j, "connections", m->left.services[i].connections);
		json_object_end(j);
	}
	json_array_end(j);
	json_object_end(j);
}

/* Members that have nothing left are told of one by one only where the whole is. */
static void
report_json(const struct command *cmd, struct json *j, const struct node_drain_report *r, bool whole)
{
	json_u64(j, "connections", r->connections);
	json_bool(j, "fleet", r->fleet);
	json_u64(j, "teals", r->n);
	json_u64(j, "unsure", r->unsure);
	json_u64(j, "cut", r->cut);
	json_double(j, "seconds", r->seconds);
	json_array(j, "members");
	for (size_t i = 0; i < r->n; i++)
		if (whole || r->members[i].state != NODE_DRAIN_OBEYS || r->members[i].left.connections > 0)
			member_json(cmd, j, &r->members[i]);
	json_array_end(j);
}

static void
drain_on_progress(void *arg, const struct node_drain_report *r)
{
	struct command *cmd = arg;
	struct buf text;
	struct json j;

	if (cmd->admin == NULL)
		return;
	buf_init(&text, CLIENT_REPLY_MAX);
	json_init(&j, &text);
	json_object(&j, NULL);
	json_cstr(&j, "event", "draining");
	json_str(&j, "pool", cmd->request.pool);
	json_str(&j, "host", cmd->request.host);
	json_u64(&j, "remaining", r->connections);
	report_json(cmd, &j, r, false);
	json_object_end(&j);
	json_line_end(&j);
	command_progress(cmd, buf_str(&text));
	buf_free(&text);
}

static void
drain_on_done(void *arg, enum err e, bool changed, const struct node_drain_report *r, const struct why *why)
{
	struct command *cmd = arg;
	struct outcome o = { .result = err_word(e), .message = e == OK ? NULL : why->text };
	/* After the change there is no doubt about it. */
	bool unknown = e == E_UNKNOWN && !changed;
	struct buf text;
	struct json j;

	if (command_came_too_late(cmd))
		return;
	o.changed = unknown ? CHANGED_UNKNOWN : changed ? CHANGED_YES : CHANGED_NO;
	command_result(&j, &text, e, o.message);
	json_str(&j, "verb", cmd->request.node_verb);
	json_str(&j, "pool", cmd->request.pool);
	json_str(&j, "host", cmd->request.host);
	if (unknown)
		json_null(&j, "changed");
	else
		json_bool(&j, "changed", changed);
	if (r != NULL)
		report_json(cmd, &j, r, !cmd->request.brief);
	command_result_done(cmd, &j, &o);
}

void
verb_node_drain(struct command *cmd, const struct pool_config *pool)
{
	const struct admin_request *r = &cmd->request;
	struct node_drain_request q = {
		.pool = pool,
		.host = r->host.p,
		.force = r->force,
		.timeout = r->has_node_timeout ? r->node_timeout : node_drain_default(cmd->admin->control, pool),
		.spread = r->has_spread ? r->spread : -1,
		.no_cut = r->no_cut,
	};
	struct why why;

	if (q.timeout > ADMIN_NODE_WAIT_MAX)
		q.timeout = ADMIN_NODE_WAIT_MAX;
	if (q.spread > q.timeout) {
		command_fail(cmd,
			     why_set(&why, E_USAGE, "--spread is longer than the %.3g s of the longest drain.timeout of %s; give --wait=SEC",
				     q.timeout, pool->name),
			     &why);
		return;
	}
	cmd->held = true;
	node_drain_start(cmd->admin->control, &q, drain_on_progress, drain_on_done, cmd);
}
