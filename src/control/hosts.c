/* hosts.c - host names, looked up off the loop; see the header.
 *
 * getaddrinfo() may hang for as long as resolv.conf allows, so there are as many
 * helpers as hang, within reason, and names that took long the last time have
 * helpers of their own: they wait for each other alone. At the end those that
 * hang are left behind with all they own.
 *
 * Thread: main, but for hosts_work(). */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "control/hosts.h"
#include "net/jobs.h"

#define HELPERS 4
#define HELPERS_MAX 64
/* For names that took longer than this the last time, seconds. */
#define SLOW 1.0
#define SLOW_HELPERS_MAX 16
/* What was not found is asked for again after so long at most, seconds. */
#define AGAIN 5.0
#define JITTER 0.1
/* How long the end waits for those that hang. */
#define GOODBYE 0.2

struct hosts_job {
	struct job job;
	struct hostname *name;
	char host[NODE_HOST];
	struct addr *list;
	size_t n;
	enum err result;
	struct why why;
	double seconds;	/* that it took */
};

struct hosts {
	struct ev_loop *loop;
	struct hosts_events events;
	struct jobs *jobs;	/* made when the first name is asked for */
	struct jobs *slow_jobs;	/* and the first slow one */
	struct link list;
	uint64_t random;
	bool closing;
};

static void
hosts_work(struct job *j)
{
	struct hosts_job *nj = container_of(j, struct hosts_job, job);

	struct timespec began, ended;

	/* The kernel's: tests move our clock. */
	clock_gettime(CLOCK_MONOTONIC, &began);
	nj->result = addr_resolve_all(nj->host, &nj->list, &nj->n, &nj->why);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	nj->seconds = (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) / 1e9;
}

static void
plan_lookup(struct hostname *name)
{
	double after = name->interval;

	if (name->n > 0 && name->problem[0] == '\0' && after <= 0)
		return;
	if (name->problem[0] != '\0' && (after <= 0 || after > AGAIN))
		after = AGAIN;
	after *= 1 + JITTER * (2 * random_unit(&name->hosts->random) - 1);
	ev_timer_stop(name->hosts->loop, &name->due);
	ev_timer_set(&name->due, after, 0.0);
	ev_timer_start(name->hosts->loop, &name->due);
}

/* Tells only what is new. */
static void
tell_of_host(const struct hostname *name, const struct hosts_job *nj)
{
	if (nj->result != OK && name->problem[0] == '\0')
		LOG_WARN("name.failed", LS("where", name->host), LS("reason", nj->why.text),
			 LS("hint", name->n > 0 ? "the last good answer stays in use" :
						  "its backends are down until it is found"));
	else if (nj->result == OK && name->problem[0] != '\0')
		LOG_INFO("name.found", LS("where", name->host));
}

static void
hosts_done(struct job *j)
{
	struct hosts_job *nj = container_of(j, struct hosts_job, job);
	struct hostname *name = nj->name;
	struct hosts *n = name->hosts;

	name->asking = NULL;
	if (n->closing) {
		free(nj->list);
		free(nj);
		return;
	}
	name->slow = nj->seconds > SLOW;
	tell_of_host(name, nj);
	if (nj->result == OK) {
		free(name->list);
		name->list = nj->list;
		name->n = nj->n;
		name->problem[0] = '\0';
	} else {
		str_copy(name->problem, sizeof(name->problem), str_from(nj->why.text));
	}
	free(nj);
	plan_lookup(name);
	n->events.answered(n->events.arg, name);
}

static void
ask_resolver(struct hostname *name)
{
	struct hosts *n = name->hosts;
	struct hosts_job *nj;
	struct jobs **jobs;

	if (name->asking != NULL)
		return;
	ev_timer_stop(n->loop, &name->due);
	jobs = name->slow ? &n->slow_jobs : &n->jobs;
	if (*jobs == NULL)
		*jobs = jobs_new_growing(n->loop, HELPERS, name->slow ? SLOW_HELPERS_MAX : HELPERS_MAX);
	nj = must_alloc(sizeof(*nj));
	nj->job = (struct job){ .work = hosts_work, .done = hosts_done };
	nj->name = name;
	memcpy(nj->host, name->host, sizeof(nj->host));
	name->asking = nj;
	jobs_add(*jobs, &nj->job);
}

static void
forget(struct hostname *name)
{
	ev_timer_stop(name->hosts->loop, &name->due);
	list_remove(&name->link);
	free(name->list);
	free(name);
}

static void
hosts_on_due(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct hostname *name = container_of(t, struct hostname, due);
	struct hosts *n = name->hosts;

	(void)loop;
	(void)revents;
	if (n->events.wanted(n->events.arg, name))
		ask_resolver(name);
	else
		forget(name);
}

const struct hostname *
hosts_find(const struct hosts *n, const char *host)
{
	for (const struct link *l = n->list.next; l != &n->list; l = l->next) {
		const struct hostname *name = list_entry(l, struct hostname, link);

		if (node_same_host(name->host, host))
			return name;
	}
	return NULL;
}

const struct hostname *
hosts_watch(struct hosts *n, const char *host, double interval)
{
	const struct hostname *found = hosts_find(n, host);
	struct hostname *name;

	if (found == NULL) {
		name = must_alloc(sizeof(*name));
		name->hosts = n;
		str_copy(name->host, sizeof(name->host), str_from(host));
		ev_timer_init(&name->due, hosts_on_due, 0.0, 0.0);
		list_append(&n->list, &name->link);
		name->interval = interval;
		ask_resolver(name);
		return name;
	}
	name = container_of(&found->link, struct hostname, link);
	/* The shortest interval of all that use the name. */
	if (interval > 0 && (name->interval <= 0 || interval < name->interval)) {
		name->interval = interval;
		if (name->asking == NULL)
			plan_lookup(name);
	}
	return name;
}

void
hosts_ask(struct hosts *n, const struct hostname *name)
{
	(void)n;
	ask_resolver(container_of(&name->link, struct hostname, link));
}

size_t
hosts_failing(const struct hosts *n)
{
	size_t failing = 0;

	for (const struct link *l = n->list.next; l != &n->list; l = l->next)
		failing += list_entry(l, struct hostname, link)->problem[0] != '\0';
	return failing;
}

struct hosts *
hosts_new(struct ev_loop *loop, const struct hosts_events *events)
{
	struct hosts *n = must_alloc(sizeof(*n));

	n->loop = loop;
	n->events = *events;
	n->random = (uint64_t)clock_wall_us();
	list_init(&n->list);
	return n;
}

void
hosts_free(struct hosts **np)
{
	struct hosts *n = *np;

	*np = NULL;
	if (n == NULL)
		return;
	n->closing = true;
	LIST_EACH(l, &n->list)
	{
		ev_timer_stop(n->loop, &list_entry(l, struct hostname, link)->due);
	}
	/* What is left behind owns itself: a helper writes to its job only. */
	jobs_leave(&n->jobs, GOODBYE);
	jobs_leave(&n->slow_jobs, GOODBYE);
	LIST_EACH(l, &n->list)
	{
		forget(list_entry(l, struct hostname, link));
	}
	free(n);
}
