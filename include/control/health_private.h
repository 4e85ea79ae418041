/* health_private.h - what health.c and health_agent.c share.  Thread: main. */
#ifndef CONTROL_HEALTH_PRIVATE_H
#define CONTROL_HEALTH_PRIVATE_H

#include "control/health.h"
#include "control/question.h"
#include "model/kube_health.h"

#define CHECK_MAGIC 0x6865616cu

struct group;

/* One backend and what is known about it. */
struct check {
	uint32_t magic;
	struct group *group;
	struct backend *backend;	/* one reference */
	struct target_user user;
	struct target_user agent;	/* of its agent, which the service may have */
	unsigned passed, failed;	/* in a row; one of them is 0 */
	unsigned declined, broken;	/* of those that failed, the last in a row that want nothing new, or are no
					 * answer to that; one of them is 0 */
	bool answered;	/* passed or failed once */
};

/* How answers are judged, beside the question itself. */
struct check_terms {
	enum health_type type;
	enum health_weight weight;
	double interval, fast_interval;
	unsigned rise, fall;
};

/* The checks of one service. */
struct group {
	struct health *health;
	struct service *service;
	struct check **checks;
	size_t n;
	size_t next;	/* behind the one that was looked for last: all of them are, one after the other */
	struct target_owner owner, agents;	/* of what is asked: by checks, and of agents */
	struct check_terms terms;	/* that its checks go by */
};

struct health {
	struct targets *targets;
	struct targets *agents;
	struct health_events events;
	struct group **groups;	/* by the services' index; NULL: it is not checked */
	size_t n;
	struct question question;	/* the last one asked */
	struct probe_told told;	/* by the probe whose answer is being heard */
	struct kube_health kube;	/* that answer, read once for all who share the check, while it is not fresh */
	double complained;	/* clock_now(): about a probe that could not begin */
};

static inline const struct health_config *
check_config_of(const struct check *c)
{
	return &c->group->service->config->health;
}

/* Its state, and who hears of it. */
void check_become(struct check *c, enum backend_state state);
/* teald lacks what a probe needs: it says so now and then. */
void check_complain(const struct check *c, const char *error);

struct targets *health_agents_new(struct ev_loop *loop);
/* The agent is asked as the service's configuration says now, or not at all: then nothing that it said counts. */
void health_agent_settle(struct check *c);

#endif
