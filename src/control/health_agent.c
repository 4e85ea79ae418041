/* health_agent.c - asks the agents of backends, and does what they say.
 *
 * An agent speaks for its server beside the checks: a share of its weight, that it is to get
 * nothing new, or that it is down whatever the checks say.  One that does not answer has said
 * nothing: the checks are there to find out how the server does.
 *
 * Thread: main. */
#include <stdio.h>

#include "base/check.h"
#include "base/log.h"
#include "control/health_private.h"
#include "proto/agent_check.h"

static struct check *
check_of_agent(const struct target_user *u)
{
	struct check *c = container_of((struct target_user *)(uintptr_t)u, struct check, agent);

	CHECK(c->magic == CHECK_MAGIC);
	return c;
}

static void
agent_question(struct target_user *u, struct probe_request *out)
{
	struct check *c = check_of_agent(u);
	struct question *q = &c->group->health->question;

	question_clear(q);
	question_make_agent(q, c->group->service, c->backend);
	*out = q->request;
	out->told = &c->group->health->told;
}

/* Up again as far as the agent is concerned: what the checks have found meanwhile. */
static void
end_agent_down(struct check *c)
{
	if (check_config_of(c)->type != HEALTH_NONE && c->passed == 0) {
		str_copy(c->backend->error, sizeof(c->backend->error), STR("its agent said down; no check has passed since"));
		return;
	}
	c->backend->error[0] = '\0';
	if (c->backend->state != BACKEND_UP)
		check_become(c, BACKEND_UP);
}

static void
obey_agent(struct check *c, const struct backend_agent *now)
{
	const struct health_events *events = &c->group->health->events;
	struct backend *b = c->backend;
	bool drain = b->agent.drain != now->drain, down = b->agent.down != now->down;

	b->agent = *now;
	if (backend_weigh(b) && events->weighed != NULL)
		events->weighed(events->arg, c->group->service, b);
	if ((drain || down) && events->agent != NULL)
		events->agent(events->arg, c->group->service, b);
	if (down && now->down) {
		snprintf(b->error, sizeof(b->error), "its agent says: %s", now->said);
		if (b->state != BACKEND_DOWN)
			check_become(c, BACKEND_DOWN);
	} else if (down) {
		end_agent_down(c);
	}
}

/* A line of the agent's, fit to be shown. */
static void
keep_line(struct backend_agent *to, struct str line)
{
	size_t n = 0;

	while (n < line.n && n + 1 < sizeof(to->said) && line.p[n] != '\n' && line.p[n] != '\r' && line.p[n] != '\0') {
		to->said[n] = line.p[n] == '\t' ? ' ' : line.p[n] >= ' ' && line.p[n] < 0x7f ? line.p[n] : '.';
		n++;
	}
	to->said[n] = '\0';
}

static void
agent_on_answer(struct target_user *u, const char *error, bool prompt)
{
	struct check *c = check_of_agent(u);
	const struct probe_told *told = &c->group->health->told;
	const struct str line = { told->text, told->n };
	struct backend_agent now = c->backend->agent;
	struct agent_say say;

	(void)prompt;
	now.silent = error != NULL || !agent_say_parse(line, &say);
	if (now.silent != c->backend->agent.silent)
		LOG_INFO(now.silent ? "agent.silent" : "agent.answers", LS("service", c->group->service->config->name),
			 LR(NULL, str_from(c->group->service->config->labels_json)), LS("backend", c->backend->text),
			 LS("reason", error != NULL ? error : ""));
	if (!now.silent) {
		keep_line(&now, line);
		if (say.unknown.n > 0 && strcmp(now.said, c->backend->agent.said) != 0)
			LOG_WARN("agent.unknown", LS("service", c->group->service->config->name),
				 LR(NULL, str_from(c->group->service->config->labels_json)),
				 LS("backend", c->backend->text), LS("message", now.said));
		if (say.has_percent)
			now.percent = say.percent;
		if (say.wish != AGENT_WISH_NONE)
			now.drain = say.wish == AGENT_WISH_DRAIN;
		if (say.state != AGENT_STATE_NONE)
			now.down = say.state == AGENT_STATE_DOWN;
	}
	obey_agent(c, &now);
}

static void
agent_on_trouble(struct target_user *u, const char *error)
{
	check_complain(check_of_agent(u), error);
}

static double
agent_every(const struct target_user *u)
{
	const struct health_config *hc = check_config_of(check_of_agent(u));

	return hc->agent.interval > 0 ? hc->agent.interval : hc->interval;
}

static bool
agent_is_silent(const struct target_user *u)
{
	return check_of_agent(u)->backend->agent.silent;
}

struct targets *
health_agents_new(struct ev_loop *loop)
{
	static const struct targets_ops ops = {
		.question = agent_question,
		.answered = agent_on_answer,
		.not_asked = agent_on_trouble,
		.every = agent_every,
		.is_down = agent_is_silent,
	};

	return targets_new(loop, &ops);
}

void
health_agent_settle(struct check *c)
{
	static const struct backend_agent none = { .percent = 100 };
	struct targets *all = c->group->health->agents;
	struct target *before = c->agent.target;
	struct question q;
	struct str key;

	if (check_config_of(c)->agent.port == 0) {
		target_leave(&c->agent);
		obey_agent(c, &none);
		return;
	}
	question_make_agent(&q, c->group->service, c->backend);
	key = question_key(&q, c->group->service);
	if (before == NULL || !target_is(before, key)) {
		target_leave(&c->agent);
		target_join(all, &c->agent, key);
	}
	question_clear(&q);
}
