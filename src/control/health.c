/* health.c - asks every backend again and again, and makes verdicts of the
 * answers.
 *
 * Each backend has one check: a timer says when it is due, then it stands in
 * line until few enough are under way, so that a thousand backends do not open a
 * thousand sockets in one turn of the loop.  There are three lines, each with
 * places of its own, and in each of them the services take their turns: however
 * many backends let their probes hang, one that answers, or refuses, is asked in
 * its own time.
 *
 * Thread: main. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "base/version.h"
#include "control/health.h"
#include "control/probe.h"

#define CHECK_MAGIC 0x6865616cu
/* A probe that took this share of its timeout hung. */
#define HUNG 0.9
/* No backend is asked more often than this, seconds. */
#define SHORTEST 0.05
/* Seconds between two extra rounds of one service, at least. */
#define KICK_EVERY 0.1
#define JITTER 0.1

struct group;

enum line {
	LINE_PROMPT,	/* the last probe did not hang */
	LINE_UNSURE,	/* it did, or there was none yet; the verdict may change */
	LINE_HANGING,	/* it did, and the backend is known to be down */
	LINES
};

/* One backend and what is known about it. */
struct check {
	uint32_t magic;
	struct group *group;
	struct backend *backend;	/* one reference */
	ev_timer due;
	struct link waiting;	/* in the group's line for a probe */
	struct probe *probe;	/* under way */
	enum line line;	/* where it waits, or has its place from */
	bool prompt;	/* the last probe did not hang */
	double started;	/* clock_now() of the last probe */
	unsigned passed, failed;	/* in a row; one of them is 0 */
	bool answered;	/* passed or failed once */
	char *ask;	/* a PROXY header, an HTTP request, both or nothing */
	size_t n_ask, n_hello;	/* all of it; the PROXY header */
};

/* The checks of one service. */
struct group {
	struct health *health;
	struct service *service;
	struct check **checks;
	size_t n;
	struct turn {
		struct link checks;	/* that wait */
		struct link link;	/* in health's line while there are any */
	} lines[LINES];
	ev_timer kick;	/* a round was asked for too soon after the last */
	double kicked;	/* clock_now() of the last extra round */
};

struct health {
	struct ev_loop *loop;
	struct health_events events;
	struct group **groups;	/* by the services' index; NULL: it is not checked */
	size_t n;
	struct {
		struct link groups;	/* struct turn, with checks that wait; the next in turn first */
		unsigned under_way;
	} lines[LINES];
	double complained;	/* clock_now(): about a probe that could not begin */
	uint64_t random;
};

static const struct health_config *
check_config_of(const struct check *c)
{
	return &c->group->service->config->health;
}

static void
check_become(struct check *c, enum backend_state state)
{
	struct health *h = c->group->health;
	enum backend_state was = c->backend->state;

	CHECK(state != was);
	c->backend->state = state;
	c->backend->since_us = clock_wall_us();
	h->events.changed(h->events.arg, c->group->service, c->backend, was);
}

/* The table of verdicts. */
static void
judge_check(struct check *c)
{
	const struct health_config *hc = check_config_of(c);

	switch (c->backend->state) {
	case BACKEND_CHECKING:
		if (c->passed > 0)
			check_become(c, BACKEND_UP);
		else if (c->failed >= hc->fall)
			check_become(c, BACKEND_DOWN);
		return;
	case BACKEND_UP:
		if (c->failed > 0 && c->failed >= hc->fall)
			check_become(c, BACKEND_DOWN);
		return;
	case BACKEND_DOWN:
		if (c->passed > 0 && c->passed >= hc->rise)
			check_become(c, BACKEND_UP);
		return;
	}
}

/* The last answer speaks against the verdict, or there is none yet. */
static bool
is_changing(const struct check *c)
{
	switch (c->backend->state) {
	case BACKEND_CHECKING:
		return true;
	case BACKEND_UP:
		return c->failed > 0;
	case BACKEND_DOWN:
		return c->passed > 0;
	}
	return false;
}

static void
due_in(struct check *c, double seconds)
{
	struct ev_loop *loop = c->group->health->loop;

	ev_timer_stop(loop, &c->due);
	ev_timer_set(&c->due, seconds > 0 ? seconds : 0, 0);
	ev_timer_start(loop, &c->due);
}

/* Counted from the beginning of the last probe: a slow answer does not make
 * checks rarer. */
static void
plan_check(struct check *c)
{
	double every = check_config_of(c)->interval;

	if (is_changing(c))
		every /= 4;
	if (every < SHORTEST)
		every = SHORTEST;
	every *= 1 + JITTER * (2 * random_unit(&c->group->health->random) - 1);
	due_in(c, c->started + every - clock_now());
}

static void begin_waiting(struct health *h);

static void
check_on_answer(void *arg, const char *error, double seconds)
{
	struct check *c = arg;
	struct health *h = c->group->health;

	CHECK(c->magic == CHECK_MAGIC && h->lines[c->line].under_way > 0);
	c->probe = NULL;
	h->lines[c->line].under_way--;
	c->prompt = error == NULL || seconds < HUNG * check_config_of(c)->timeout;
	c->answered = true;
	c->backend->checks[error == NULL]++;
	if (error == NULL) {
		c->failed = 0;
		c->passed += c->passed < UINT32_MAX;
		c->backend->error[0] = '\0';
	} else {
		c->passed = 0;
		c->failed += c->failed < UINT32_MAX;
		str_copy(c->backend->error, sizeof(c->backend->error), str_from(error));
	}
	judge_check(c);
	plan_check(c);
	begin_waiting(h);
}

/* Out of descriptors or memory: our trouble, and no answer of the backend's. */
static void
complain_of_check(struct check *c, const char *error)
{
	struct health *h = c->group->health;
	double now = clock_now();

	if (h->complained > 0 && now - h->complained < 10)
		return;
	h->complained = now;
	LOG_WARN("health.cannot_check", LS("service", c->group->service->config->name),
		 LR(NULL, str_from(c->group->service->config->labels_json)),
		 LS("backend", c->backend->text), LS("reason", error));
}

/* A port of its own belongs to another program, unless health.tls says otherwise. */
static bool
speaks_tls(const struct check *c)
{
	/* It was to be spoken to plainly before a reload. */
	if (c->backend->server_name == NULL)
		return false;
	switch (check_config_of(c)->tls) {
	case HEALTH_TLS_AUTO:
		return addr_equal(&c->backend->health_address, &c->backend->address);
	case HEALTH_TLS_OFF:
		return false;
	case HEALTH_TLS_ON:
		return true;
	}
	return false;
}

static void
begin_check(struct check *c)
{
	struct health *h = c->group->health;
	const struct service_config *sc = c->group->service->config;
	bool http = sc->health.type == HEALTH_HTTP;
	const struct probe_request request = {
		.to = &c->backend->health_address,
		.source = &sc->source_address,
		.timeout = sc->health.timeout,
		.hello = { c->ask, c->n_hello },
		.tls = speaks_tls(c) ? c->group->service->backend_tls : NULL,
		.server_name = c->backend->server_name,
		.send = { c->ask + c->n_hello, c->n_ask - c->n_hello },
		.expect = http ? &sc->health.expect : NULL,
		.http = sc->mode == MODE_HTTP ? &sc->http : NULL,
		.tree = c->group->service->held,
	};
	const char *error;

	c->started = clock_now();
	c->probe = probe_start(h->loop, &request, check_on_answer, c, &error);
	if (c->probe != NULL) {
		h->lines[c->line].under_way++;
		return;
	}
	complain_of_check(c, error);
	plan_check(c);
}

static void
leave_line(struct check *c)
{
	struct group *g = c->group;

	list_remove(&c->waiting);
	if (list_empty(&g->lines[c->line].checks))
		list_remove(&g->lines[c->line].link);
}

static void
check_get_in_line(struct check *c)
{
	struct group *g = c->group;

	c->line = c->prompt ? LINE_PROMPT : c->backend->state == BACKEND_DOWN ? LINE_HANGING : LINE_UNSURE;
	list_append(&g->lines[c->line].checks, &c->waiting);
	if (list_empty(&g->lines[c->line].link))
		list_append(&g->health->lines[c->line].groups, &g->lines[c->line].link);
}

static bool
has_place(const struct health *h, enum line line)
{
	static const unsigned most[LINES] = { HEALTH_PROBES_PROMPT, HEALTH_PROBES_UNSURE, HEALTH_PROBES_HANGING };

	return h->lines[line].under_way < most[line];
}

static void
begin_waiting(struct health *h)
{
	struct link *l;

	for (enum line line = LINE_PROMPT; line < LINES; line++)
		while (has_place(h, line) && (l = list_first(&h->lines[line].groups)) != NULL) {
			struct turn *t = list_entry(l, struct turn, link);
			struct check *c = list_entry(list_first(&t->checks), struct check, waiting);

			leave_line(c);
			/* Behind the other services with its next one. */
			if (!list_empty(l)) {
				list_remove(l);
				list_append(&h->lines[line].groups, l);
			}
			begin_check(c);
		}
}

/* Gets in line, unless it is there or being asked already. */
static void
check_now(struct check *c)
{
	struct health *h = c->group->health;

	if (c->probe != NULL || !list_empty(&c->waiting) || !backend_has_address(c->backend))
		return;
	ev_timer_stop(h->loop, &c->due);
	check_get_in_line(c);
	begin_waiting(h);
}

static void
check_on_due(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct check *c = container_of(w, struct check, due);

	(void)loop;
	(void)revents;
	CHECK(c->magic == CHECK_MAGIC);
	check_now(c);
}

static void
kick_now(struct group *g)
{
	if (g->service->config->health.type == HEALTH_NONE)
		return;
	g->kicked = clock_now();
	for (size_t i = 0; i < g->n; i++)
		check_now(g->checks[i]);
}

static void
group_on_kick(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop;
	(void)revents;
	kick_now(container_of(w, struct group, kick));
}

/* What is said, the same every time; the connection ends with the answer. */
static void
prepare_question(struct check *c, const struct service_config *sc, const struct backend *b)
{
	/* A port of its own belongs to something else, which knows nothing of what
	 * the traffic's port expects. */
	bool own_port = !addr_equal(&b->health_address, &b->address);
	char where[ADDR_TEXT], hello[PROBE_HELLO_MAX], *request = NULL;
	size_t n = probe_hello(own_port ? SEND_NONE : sc->proxy_protocol.send, hello), n_request = 0;

	if (sc->health.type == HEALTH_HTTP) {
		request = must_printf("GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: teald/%s\r\nAccept: */*\r\n"
				      "Connection: close\r\n\r\n",
				      sc->health.path,
				      sc->health.host != NULL ? sc->health.host :
								addr_format(&b->health_address, where),
				      teal_version());
		n_request = strlen(request);
	}
	c->n_hello = n;
	c->n_ask = n + n_request;
	c->ask = must_alloc(c->n_ask + 1);
	memcpy(c->ask, hello, n);
	memcpy(c->ask + n, request != NULL ? request : "", n_request);
	free(request);
}

static struct check *
check_new(struct group *g, struct backend *b)
{
	struct check *c = must_alloc(sizeof(*c));

	c->magic = CHECK_MAGIC;
	c->group = g;
	c->backend = backend_ref(b);
	prepare_question(c, g->service->config, b);
	list_init(&c->waiting);
	ev_timer_init(&c->due, check_on_due, 0, 0);
	return c;
}

static void
check_free(struct check *c)
{
	struct health *h = c->group->health;

	if (c->probe != NULL) {
		probe_cancel(&c->probe);
		h->lines[c->line].under_way--;
	}
	ev_timer_stop(h->loop, &c->due);
	leave_line(c);
	backend_unref(&c->backend);
	free(c->ask);
	c->magic = 0;
	free(c);
}

static void
check_begin(struct check *c)
{
	if (check_config_of(c)->type != HEALTH_NONE || !backend_has_address(c->backend)) {
		check_now(c);
		return;
	}
	c->answered = true;
	if (c->backend->state != BACKEND_UP)
		check_become(c, BACKEND_UP);
}

static struct group *
group_new(struct health *h, struct service *s)
{
	struct group *g = must_alloc(sizeof(*g));
	size_t k = 0;

	*g = (struct group){ .health = h, .service = s, .n = s->colors[GREEN].n + s->colors[BLUE].n };
	ev_timer_init(&g->kick, group_on_kick, 0, 0);
	for (int line = 0; line < LINES; line++) {
		list_init(&g->lines[line].checks);
		list_init(&g->lines[line].link);
	}
	g->checks = must_array(g->n, sizeof(*g->checks));
	for (int color = 0; color < COLORS; color++)
		for (size_t i = 0; i < s->colors[color].n; i++)
			g->checks[k++] = check_new(g, s->colors[color].backends[i]);
	return g;
}

static void
group_start(struct group *g)
{
	for (size_t i = 0; i < g->n; i++)
		check_begin(g->checks[i]);
}

static void
group_free(struct group *g)
{
	if (g == NULL)
		return;
	ev_timer_stop(g->health->loop, &g->kick);
	for (size_t i = 0; i < g->n; i++)
		check_free(g->checks[i]);
	free(g->checks);
	free(g);
}

static void
group_put(struct health *h, struct group *g)
{
	unsigned index = g->service->index;

	if (index >= h->n) {
		h->groups = must_grow(h->groups, index + 1, sizeof(*h->groups));
		while (h->n <= index)
			h->groups[h->n++] = NULL;
	}
	CHECK(h->groups[index] == NULL);
	h->groups[index] = g;
}

struct health *
health_new(struct ev_loop *loop, struct service **services, size_t n, const struct health_events *events)
{
	struct health *h = must_alloc(sizeof(*h));

	h->loop = loop;
	h->events = *events;
	for (int line = 0; line < LINES; line++)
		list_init(&h->lines[line].groups);
	h->random = (uint64_t)clock_wall_us();
	for (size_t i = 0; i < n; i++)
		group_put(h, group_new(h, services[i]));
	for (size_t i = 0; i < h->n; i++)
		if (h->groups[i] != NULL)
			group_start(h->groups[i]);
	return h;
}

void
health_free(struct health **hp)
{
	struct health *h = *hp;

	*hp = NULL;
	if (h == NULL)
		return;
	for (size_t i = 0; i < h->n; i++)
		group_free(h->groups[i]);
	free(h->groups);
	free(h);
}

static struct group *
group_of(const struct health *h, const struct service *s)
{
	CHECK(s->index < h->n && h->groups[s->index] != NULL && h->groups[s->index]->service == s);
	return h->groups[s->index];
}

void
health_add_service(struct health *h, struct service *s)
{
	struct group *g = group_new(h, s);

	group_put(h, g);
	group_start(g);
}

void
health_remove_service(struct health *h, struct service *s)
{
	struct group *g = group_of(h, s);

	h->groups[s->index] = NULL;
	group_free(g);
	begin_waiting(h);
}

/* By new terms from now on: what is under way was asked by the old ones. */
static void
check_renew(struct check *c, const struct service_config *sc)
{
	struct health *h = c->group->health;

	if (c->probe != NULL) {
		probe_cancel(&c->probe);
		h->lines[c->line].under_way--;
	}
	ev_timer_stop(h->loop, &c->due);
	leave_line(c);
	free(c->ask);
	prepare_question(c, sc, c->backend);
	c->passed = c->failed = 0;
	if (sc->health.type != HEALTH_NONE || !backend_has_address(c->backend)) {
		check_now(c);
		return;
	}
	c->answered = true;
	c->backend->error[0] = '\0';
	if (c->backend->state != BACKEND_UP)
		check_become(c, BACKEND_UP);
}

void
health_reconfigure(struct health *h, struct service *s)
{
	struct group *g = group_of(h, s);

	for (size_t i = 0; i < g->n; i++)
		check_renew(g->checks[i], s->config);
	begin_waiting(h);
}

void
health_add(struct health *h, struct service *s, struct backend *b)
{
	struct group *g = group_of(h, s);

	g->checks = must_grow(g->checks, g->n + 1, sizeof(*g->checks));
	g->checks[g->n] = check_new(g, b);
	check_begin(g->checks[g->n++]);
}

void
health_remove(struct health *h, struct service *s, struct backend *b)
{
	struct group *g = group_of(h, s);
	size_t i = 0;

	while (i < g->n && g->checks[i]->backend != b)
		i++;
	CHECK(i < g->n);
	check_free(g->checks[i]);
	g->checks[i] = g->checks[--g->n];
	begin_waiting(h);
}

void
health_give_up(struct health *h, struct service *s, struct backend *b, const char *why)
{
	struct group *g = group_of(h, s);
	size_t i = 0;

	while (i < g->n && g->checks[i]->backend != b)
		i++;
	CHECK(i < g->n && !backend_has_address(b));
	g->checks[i]->answered = true;
	str_copy(b->error, sizeof(b->error), str_from(why));
	if (b->state != BACKEND_DOWN)
		check_become(g->checks[i], BACKEND_DOWN);
}

void
health_kick(struct health *h, struct service *s)
{
	struct group *g = group_of(h, s);
	double rest = g->kicked + KICK_EVERY - clock_now();

	if (ev_is_active(&g->kick))
		return;
	if (rest <= 0) {
		kick_now(g);
		return;
	}
	/* Not forgotten, only put off. */
	ev_timer_set(&g->kick, rest, 0);
	ev_timer_start(h->loop, &g->kick);
}

void
health_adopt(struct health *h, const struct service *s, struct backend *b, enum backend_state state)
{
	struct group *g = group_of(h, s);
	size_t i = 0;

	while (i < g->n && g->checks[i]->backend != b)
		i++;
	CHECK(i < g->n);
	b->state = state;
	g->checks[i]->answered |= state != BACKEND_CHECKING;
}

bool
health_first_round(const struct health *h, const struct service *s)
{
	const struct group *g = group_of(h, s);

	for (size_t i = 0; i < g->n; i++)
		if (!g->checks[i]->answered)
			return false;
	return true;
}
