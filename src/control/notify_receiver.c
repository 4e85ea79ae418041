/* notify_receiver.c - delivers events to one receiver over HTTP.
 * Thread: main, but for context_work().
 *
 * One event at a time, in their order: each is tried until an answer of 2xx, or one
 * that says no for good, or until it is too old.  Redirects are not followed, for a
 * signed request would go where the configuration does not say. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "control/notify_receiver.h"
#include "net/tls_client.h"

/* Pauses between attempts, seconds: doubled from the first to the longest. */
#define PAUSE_FIRST 1.0
#define PAUSE_LONGEST 60.0
#define JITTER 0.2
/* "notify.lost" at most this often. */
#define TELL_LOST_EVERY 1.0

/* -- certificates, read on a helper ----------------------------------------------------- */

struct context_job {
	struct job job;
	struct receiver *receiver;	/* NULL: it is gone, or its terms are others */
	char *ca;
	bool verify;
	struct ssl_ctx_st *context;
	struct why why;
};

static void attempt_failed(struct receiver *r, const char *error);
static void continue_attempt(struct receiver *r);

/* Helper. */
static void
context_work(struct job *j)
{
	struct context_job *cj = container_of(j, struct context_job, job);
	const struct tls_client_options options = { .ca = cj->ca, .blind = !cj->verify, .alpn = "http/1.1" };

	if (tls_client_context(&options, &cj->context, &cj->why) != OK)
		cj->context = NULL;
}

static void
context_done(struct job *j)
{
	struct context_job *cj = container_of(j, struct context_job, job);
	struct receiver *r = cj->receiver;

	if (r != NULL) {
		r->loading = NULL;
		r->context = cj->context;
		cj->context = NULL;
		if (r->context != NULL)
			continue_attempt(r);
		else
			attempt_failed(r, cj->why.text);
	}
	tls_context_free(&cj->context);
	free(cj->ca);
	free(cj);
}

static void
load_context(struct receiver *r)
{
	struct context_job *cj = must_alloc(sizeof(*cj));

	*cj = (struct context_job){ .job = { .work = context_work, .done = context_done },
				    .receiver = r,
				    .ca = r->config->ca != NULL ? must_strdup(r->config->ca) : NULL,
				    .verify = r->config->verify };
	r->loading = cj;
	r->state = RECEIVER_LOADING;
	jobs_add(r->jobs, &cj->job);
}

/* -- the queue -------------------------------------------------------------------------------- */

void
notify_event_free(struct notify_event **ep)
{
	struct notify_event *e = *ep;

	*ep = NULL;
	if (e == NULL)
		return;
	free((void *)(uintptr_t)e->body.p);
	free(e);
}

static struct notify_event *
oldest(const struct receiver *r)
{
	struct link *l = list_first(&r->events);

	return l != NULL ? list_entry(l, struct notify_event, link) : NULL;
}

static void
remove_oldest(struct receiver *r)
{
	struct notify_event *e = oldest(r);

	list_remove(&e->link);
	r->n--;
	notify_event_free(&e);
}

uint64_t
receiver_lost(const struct receiver *r)
{
	return r->counts.refused + r->counts.expired + r->counts.dropped;
}

/* Says that events are lost, not for each of a flood. */
static void
tell_lost(struct receiver *r, const char *why)
{
	uint64_t lost = receiver_lost(r);
	double now = clock_now();

	if (lost == r->lost_told || now - r->lost_told_at < TELL_LOST_EVERY)
		return;
	LOG_WARN("notify.lost", LS("name", r->config->name), LU("count", lost - r->lost_told), LU("total", lost),
		 LS("reason", why), LS("error", r->problem));
	r->lost_told = lost;
	r->lost_told_at = now;
}

/* -- attempts ------------------------------------------------------------------------------------- */

static void
plan_attempt(struct receiver *r, double after)
{
	r->state = after > 0 ? RECEIVER_PAUSED : RECEIVER_DUE;
	ev_timer_stop(r->loop, &r->timer);
	/* The loop's clock stands still within a turn. */
	ev_now_update(r->loop);
	ev_timer_set(&r->timer, after, 0.0);
	ev_timer_start(r->loop, &r->timer);
}

static void
next_event(struct receiver *r)
{
	if (r->held || list_empty(&r->events))
		r->state = RECEIVER_IDLE;
	else
		plan_attempt(r, 0);
}

static double
pause_of(struct receiver *r)
{
	double pause = PAUSE_FIRST * pow(2, r->failures < 16 ? r->failures - 1 : 15), longest = r->config->retry_for / 4;

	/* An event that is born while the receiver is away finds it back within its own retry_for. */
	if (longest > PAUSE_LONGEST)
		longest = PAUSE_LONGEST;
	if (longest < PAUSE_FIRST)
		longest = PAUSE_FIRST;
	if (pause > longest)
		pause = longest;
	return pause * (1 + JITTER * (2 * random_unit(&r->random) - 1));
}

/* No repetition changes such an answer (RFC 9110 section 15): redirects, which are not
 * followed, and what the client is to blame for but for 408, 425 and 429. */
static bool
is_final(unsigned status)
{
	return status >= 300 && status < 500 && status != 408 && status != 425 && status != 429;
}

static const char *
hint_of(unsigned status)
{
	if (status >= 300 && status < 400)
		return "redirects are not followed: put the address that it names into url";
	if (status == 401 || status == 403)
		return "the receiver wants another token_file or secret_file";
	if (is_final(status))
		return "the receiver does not take this: look at url and format";
	return "it is tried again until retry_for is over";
}

static void
tell_failing(struct receiver *r)
{
	char origin[HTTP_URL_ORIGIN];

	if (r->told)
		return;
	r->told = true;
	LOG_WARN("notify.failing", LS("name", r->config->name), LS("where", http_url_origin(&r->config->url, origin)),
		 LS("error", r->problem), LS("hint", hint_of(r->status)));
}

/* Those that will be too old when the pause is over; with a retry_for of 0 only the
 * one that was tried, for each has one attempt. */
static void
expire_events(struct receiver *r, double pause)
{
	double now = clock_now(), all = r->config->retry_for;

	do {
		if (now + pause - oldest(r)->born <= all)
			return;
		r->counts.expired++;
		remove_oldest(r);
		tell_lost(r, "the receiver took none of them within retry_for");
	} while (all > 0 && !list_empty(&r->events));
}

static void
attempt_failed(struct receiver *r, const char *error)
{
	struct notify_event *e = oldest(r);
	bool final = is_final(r->status);
	double pause;

	str_copy(r->problem, sizeof(r->problem), str_from(error));
	r->counts.failed++;
	r->failures++;
	e->attempts++;
	/* A certificate that was replaced is found by the next attempt. */
	tls_context_free(&r->context);
	tell_failing(r);
	pause = pause_of(r);
	if (final) {
		r->counts.refused++;
		remove_oldest(r);
		tell_lost(r, "the receiver refused them");
		next_event(r);
		return;
	}
	expire_events(r, pause);
	if (list_empty(&r->events))
		r->state = RECEIVER_IDLE;
	else
		plan_attempt(r, pause);
}

static void
delivered(struct receiver *r)
{
	r->counts.delivered++;
	r->delivered_at_us = clock_wall_us();
	r->problem[0] = '\0';
	r->failures = 0;
	if (r->told)
		LOG_INFO("notify.recovered", LS("name", r->config->name), LU("count", r->n - 1));
	r->told = false;
	remove_oldest(r);
	next_event(r);
}

static void
receiver_on_answer(void *arg, const char *error, double seconds)
{
	struct receiver *r = arg;

	(void)seconds;
	r->probe = NULL;
	if (error == NULL)
		delivered(r);
	else
		attempt_failed(r, error);
}

static void
send_to(struct receiver *r, const struct addr *to)
{
	static const struct status_set good = { .n = 1, .ranges = { { 200, 299 } } };
	/* Of an answer the status is what counts. */
	static const struct http_config http = { .max_header_size = 32 * 1024, .answers = ANSWERS_LENIENT };
	const struct notify_event *e = oldest(r);
	struct probe_request request = {
		.to = to,
		.timeout = r->config->timeout,
		.tls = r->config->url.tls ? r->context : NULL,
		.server_name = r->config->url.at.host,
		.expect = &good,
		.http = &http,
		.status = &r->status,
	};
	const char *error;
	struct buf text;

	buf_init(&text, NOTIFY_BODY_MAX + 16 * 1024);
	notify_request(&text, r->config, e->id, e->event, e->body, clock_wall_us() / 1000000);
	request.send = buf_str(&text);
	r->state = RECEIVER_SENDING;
	r->probe = probe_start(r->loop, &request, receiver_on_answer, r, &error);
	explicit_bzero(text.data, text.cap);
	buf_free(&text);
	if (r->probe == NULL)
		attempt_failed(r, error);
}

/* Another one of several after each failure. */
static void
send_by_name(struct receiver *r, const struct hostname *name)
{
	struct addr to;

	if (name->n == 0) {
		attempt_failed(r, name->problem[0] != '\0' ? name->problem : "the host has no address");
		return;
	}
	to = name->list[oldest(r)->attempts % name->n];
	addr_set_port(&to, r->config->url.at.port);
	send_to(r, &to);
}

/* Certificates are there. */
static void
continue_attempt(struct receiver *r)
{
	const struct redis_endpoint *at = &r->config->url.at;
	const struct hostname *name;
	struct addr to;

	if (addr_parse_ip(at->host, at->port, &to)) {
		send_to(r, &to);
		return;
	}
	name = hosts_try(r->hosts, at->host);
	if (name == NULL) {
		send_by_name(r, hosts_find(r->hosts, at->host));
		return;
	}
	r->state = RECEIVER_LOOKING;
	r->asked = name;
	ev_timer_set(&r->timer, r->config->timeout, 0.0);
	ev_timer_start(r->loop, &r->timer);
}

void
receiver_on_name(struct receiver *r, const struct hostname *name)
{
	if (r->state != RECEIVER_LOOKING || r->asked != name)
		return;
	ev_timer_stop(r->loop, &r->timer);
	r->asked = NULL;
	send_by_name(r, name);
}

static void
receiver_on_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct receiver *r = container_of(t, struct receiver, timer);

	(void)loop;
	(void)revents;
	if (r->state == RECEIVER_LOOKING) {
		r->asked = NULL;
		attempt_failed(r, "the name server has not answered in time");
		return;
	}
	r->status = 0;
	if (r->config->url.tls && r->context == NULL)
		load_context(r);
	else
		continue_attempt(r);
}

/* What is under way is given up, and begins anew. */
static void
end_attempt(struct receiver *r)
{
	ev_timer_stop(r->loop, &r->timer);
	probe_cancel(&r->probe);
	r->asked = NULL;
	if (r->loading != NULL)
		r->loading->receiver = NULL;
	r->loading = NULL;
	tls_context_free(&r->context);
	r->state = RECEIVER_IDLE;
}

void
receiver_reconfigure(struct receiver *r, const struct notify_config *config)
{
	end_attempt(r);
	r->config = config;
	r->failures = 0;
	next_event(r);
}

void
receiver_hold(struct receiver *r, bool on)
{
	r->held = on;
	end_attempt(r);
	next_event(r);
}

void
receiver_add(struct receiver *r, struct notify_event **event)
{
	struct notify_event *e = *event;

	*event = NULL;
	if (r->n >= r->config->queue) {
		r->counts.dropped++;
		notify_event_free(&e);
		tell_lost(r, "the queue is full");
		return;
	}
	list_append(&r->events, &e->link);
	r->n++;
	if (r->state == RECEIVER_IDLE)
		next_event(r);
}

bool
receiver_is_busy(const struct receiver *r)
{
	return r->state != RECEIVER_IDLE && r->state != RECEIVER_PAUSED;
}

struct receiver *
receiver_new(const struct notify_config *config, struct ev_loop *loop, struct hosts *hosts, struct jobs *jobs)
{
	struct receiver *r = must_alloc(sizeof(*r));

	*r = (struct receiver){ .config = config,
				.loop = loop,
				.hosts = hosts,
				.jobs = jobs,
				.random = (uint64_t)clock_wall_us() ^ (uintptr_t)r };
	list_init(&r->link);
	list_init(&r->events);
	ev_timer_init(&r->timer, receiver_on_timer, 0.0, 0.0);
	return r;
}

void
receiver_free(struct receiver **rp)
{
	struct receiver *r = *rp;

	*rp = NULL;
	end_attempt(r);
	while (!list_empty(&r->events))
		remove_oldest(r);
	list_remove(&r->link);
	free(r);
}
