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
/* What was only tried is kept for so long. */
#define TRIED 60.0
#define BUCKETS 1024
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
	struct link buckets[BUCKETS];	/* struct hostname, by hash */
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

	if (name->tried)
		after = TRIED;
	else if (name->n > 0 && name->problem[0] == '\0' && after <= 0)
		return;
	else if (name->problem[0] != '\0' && (after <= 0 || after > AGAIN))
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
	if (name->tried)
		return;
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
	if (!name->tried && n->events.wanted(n->events.arg, name))
		ask_resolver(name);
	else
		forget(name);
}

/* Without regard to case, as node_same_host(). */
static size_t
name_bucket_of(const char *host)
{
	char lower[NODE_HOST];
	size_t n = 0;

	for (; host[n] != '\0' && n < sizeof(lower); n++)
		lower[n] = (char)(host[n] >= 'A' && host[n] <= 'Z' ? host[n] + 32 : host[n]);
	return (size_t)(hash_bytes(lower, n, 0) % BUCKETS);
}

/* A `node add` waits for the first answer before anything uses the name. */
static bool
is_answered_once(const struct hostname *name)
{
	return name->n > 0 || name->problem[0] != '\0';
}

const struct hostname *
hosts_find(const struct hosts *n, const char *host)
{
	const struct link *bucket = &n->buckets[name_bucket_of(host)];

	for (const struct link *l = bucket->next; l != bucket; l = l->next) {
		const struct hostname *name = list_entry(l, struct hostname, link);

		if (node_same_host(name->host, host))
			return name;
	}
	return NULL;
}

static struct hostname *
find_to_change(struct hosts *n, const char *host)
{
	const struct hostname *found = hosts_find(n, host);

	return found != NULL ? container_of(&found->link, struct hostname, link) : NULL;
}

static struct hostname *
add_hostname(struct hosts *n, const char *host)
{
	struct hostname *name = must_alloc(sizeof(*name));

	name->hosts = n;
	str_copy(name->host, sizeof(name->host), str_from(host));
	ev_timer_init(&name->due, hosts_on_due, 0.0, 0.0);
	list_append(&n->buckets[name_bucket_of(host)], &name->link);
	return name;
}

const struct hostname *
hosts_watch(struct hosts *n, const char *host, double interval)
{
	struct hostname *name = find_to_change(n, host);

	if (name == NULL) {
		name = add_hostname(n, host);
		name->interval = interval;
		ask_resolver(name);
		return name;
	}
	if (name->tried) {
		name->tried = false;
		name->interval = interval;
		ev_timer_stop(n->loop, &name->due);
		if (name->asking == NULL)
			plan_lookup(name);
		return name;
	}
	/* The shortest interval of all that use the name. */
	if (interval > 0 && (name->interval <= 0 || interval < name->interval)) {
		name->interval = interval;
		if (name->asking == NULL)
			plan_lookup(name);
	}
	return name;
}

const struct hostname *
hosts_try(struct hosts *n, const char *host)
{
	struct hostname *name = find_to_change(n, host);

	if (name != NULL && !name->tried)
		return NULL;
	if (name == NULL)
		name = add_hostname(n, host);
	name->tried = true;
	ask_resolver(name);
	return name;
}

/* -- those that are used no more -------------------------------------------------- */

void
hosts_review_begin(struct hosts *n)
{
	for (size_t i = 0; i < BUCKETS; i++)
		LIST_EACH(l, &n->buckets[i])
			list_entry(l, struct hostname, link)->used = false;
}

void
hosts_use(struct hosts *n, const char *host, double interval)
{
	struct hostname *name = find_to_change(n, host);

	if (name == NULL)
		return;
	if (!name->used || (interval > 0 && (name->least <= 0 || interval < name->least)))
		name->least = interval;
	name->used = true;
}

static void
review_name(struct hostname *name)
{
	if (name->tried)
		return;
	if (name->used && name->interval != name->least) {
		name->interval = name->least;
		ev_timer_stop(name->hosts->loop, &name->due);
		if (name->asking == NULL)
			plan_lookup(name);
	} else if (!name->used && name->asking == NULL) {
		forget(name);
	} else if (!name->used && is_answered_once(name)) {
		/* Not before its helper has come back. */
		name->tried = true;
	}
}

void
hosts_review_end(struct hosts *n)
{
	for (size_t i = 0; i < BUCKETS; i++)
		LIST_EACH(l, &n->buckets[i])
			review_name(list_entry(l, struct hostname, link));
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

	for (size_t i = 0; i < BUCKETS; i++)
		for (const struct link *l = n->buckets[i].next; l != &n->buckets[i]; l = l->next) {
			const struct hostname *name = list_entry(l, struct hostname, link);

			failing += !name->tried && name->problem[0] != '\0';
		}
	return failing;
}

struct hosts *
hosts_new(struct ev_loop *loop, const struct hosts_events *events)
{
	struct hosts *n = must_alloc(sizeof(*n));

	n->loop = loop;
	n->events = *events;
	n->random = (uint64_t)clock_wall_us();
	for (size_t i = 0; i < BUCKETS; i++)
		list_init(&n->buckets[i]);
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
	for (size_t i = 0; i < BUCKETS; i++)
		LIST_EACH(l, &n->buckets[i])
			ev_timer_stop(n->loop, &list_entry(l, struct hostname, link)->due);
	/* What is left behind owns itself: a helper writes to its job only. */
	jobs_leave(&n->jobs, GOODBYE);
	jobs_leave(&n->slow_jobs, GOODBYE);
	for (size_t i = 0; i < BUCKETS; i++)
		LIST_EACH(l, &n->buckets[i])
			forget(list_entry(l, struct hostname, link));
	free(n);
}
