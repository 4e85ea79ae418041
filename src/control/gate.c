/* gate.c - asks every backend of a color before a flip.  Thread: main. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "control/gate.h"
#include "control/question.h"

/* Connects under way at a time; enough for speed, few enough for descriptors. */
#define AT_ONCE 64
/* How soon it is tried again without descriptors, seconds. */
#define SHORT_AGAIN 0.05
/* Backends named in a refusal; the rest are counted. */
#define NAMED 8

/* From the loop, not from our stack. */
static void
go_on_in(struct gate *g, double seconds)
{
	struct ev_loop *loop = g->ctl->control->loop;

	ev_timer_stop(loop, &g->start);
	ev_timer_set(&g->start, seconds, 0.0);
	ev_timer_start(loop, &g->start);
}

static void
wake_next(struct control *c)
{
	struct link *next = list_first(&c->gates);

	if (next == NULL || c->gate_probes >= GATE_PROBES_MAX)
		return;
	list_remove(next);
	go_on_in(list_entry(next, struct gate, waiting), 0.0);
}

static void
give_place(struct gate *g)
{
	struct control *c = g->ctl->control;

	CHECK(c->gate_probes > 0);
	c->gate_probes--;
	wake_next(c);
}

/* Behind the gates that wait already, also with a place that is free: a gate of
 * many backends takes its turns with the others. */
static void
gate_get_in_line(struct gate *g)
{
	if (list_empty(&g->waiting))
		list_append(&g->ctl->control->gates, &g->waiting);
}

/* Nothing calls it again once it is done. */
static void
finish_gate(struct gate *g)
{
	ev_timer_stop(g->ctl->control->loop, &g->start);
	list_remove(&g->waiting);
	g->done(g, g->arg);
}

static double
gate_timeout_of(const struct gate *g)
{
	double timeout = g->ctl->service->config->health.timeout;

	return timeout > 0 ? timeout : 1.0;
}

/* No descriptor for the connect: that says nothing about the backend, and may
 * be over soon.  False when it has lasted too long. */
static bool
wait_for_descriptor(struct gate *g)
{
	if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
		return false;
	if (g->short_since == 0)
		g->short_since = clock_now();
	if (clock_now() - g->short_since > gate_timeout_of(g))
		return false;
	go_on_in(g, SHORT_AGAIN);
	return true;
}

static void
verdict(struct gate_backend *gb, const char *connect_error)
{
	struct gate *g = gb->gate;
	const struct backend *b = gb->backend;

	if (connect_error != NULL)
		str_copy(gb->error, sizeof(gb->error), str_from(connect_error));
	else if (b->state == BACKEND_CHECKING)
		str_copy(gb->error, sizeof(gb->error), STR("not checked yet"));
	else if (b->state == BACKEND_DOWN || b->state == BACKEND_DRAINING)
		snprintf(gb->error, sizeof(gb->error), "health check: %s", b->error[0] != '\0' ? b->error : backend_state_word(b->state));
	gb->ok = gb->error[0] == '\0';
	g->healthy += gb->ok;
	g->finished++;
}

static void
gate_on_probe(void *arg, const char *error, double seconds)
{
	struct gate_backend *gb = arg;
	struct gate *g = gb->gate;

	(void)seconds;
	gb->probe = NULL;
	verdict(gb, error);
	if (g->begun < g->n && !ev_is_active(&g->start))
		gate_get_in_line(g);
	give_place(g);
	if (g->finished == g->n)
		finish_gate(g);
}

static void
begin_some(struct gate *g)
{
	const struct service_config *sc = g->ctl->service->config;
	struct control *c = g->ctl->control;
	char text[128];

	while (g->begun < g->n && g->begun - g->finished < AT_ONCE) {
		struct gate_backend *gb = &g->backends[g->begun];

		if (c->gate_probes >= GATE_PROBES_MAX) {
			gate_get_in_line(g);
			break;
		}
		g->begun++;
		const char *error = NULL;

		if (!backend_has_address(gb->backend)) {
			verdict(gb, gb->backend->error[0] != '\0' ? gb->backend->error : "its name is being looked up");
			continue;
		}
		/* A UDP port cannot be connected to: its health checks have to do. */
		if (sc->mode == MODE_UDP && sc->health.type == HEALTH_NONE) {
			verdict(gb, NULL);
			continue;
		}
		struct question q = { 0 };
		struct probe_request request = {
			.to = sc->mode == MODE_UDP ? &gb->backend->health_address : &gb->backend->address,
			.source = &sc->source_address,
			.timeout = gate_timeout_of(g),
			.proxy = sc->proxy_protocol.send,
			/* One of before a reload may have to be spoken to plainly. */
			.tls = gb->backend->server_name != NULL ? g->ctl->service->backend_tls : NULL,
			.server_name = gb->backend->server_name,
		};

		/* The one that is made again and again, for it is what can be asked of it. */
		if (sc->mode == MODE_UDP && sc->health.type == HEALTH_UDP) {
			question_make(&q, g->ctl->service, gb->backend);
			request = q.request;
		}
		gb->probe = probe_start(g->ctl->control->loop, &request, gate_on_probe, gb, &error);
		question_clear(&q);
		if (gb->probe != NULL) {
			c->gate_probes++;
			g->short_since = 0;
			continue;
		}
		if (wait_for_descriptor(g)) {
			g->begun--;
			break;
		}
		snprintf(text, sizeof(text), "not asked, teald itself lacks what a connect needs: %s", error);
		verdict(gb, text);
	}
	if (g->begun == g->n)
		list_remove(&g->waiting);
	/* What it left is the next one's. */
	wake_next(c);
	if (g->finished == g->n)
		finish_gate(g);
}

static void
gate_on_start(struct ev_loop *loop, ev_timer *t, int revents)
{
	(void)loop;
	(void)revents;
	begin_some(container_of(t, struct gate, start));
}

struct gate *
gate_new(struct service_ctl *ctl, enum color color, void (*done)(struct gate *g, void *arg), void *arg)
{
	struct service *s = ctl->service;
	struct gate *g = must_alloc(sizeof(*g));

	g->ctl = ctl;
	g->color = color;
	g->done = done;
	g->arg = arg;
	g->needed = service_needed(s, color);
	g->backends = must_array(s->colors[color].n, sizeof(struct gate_backend));
	/* Who gets no traffic has no say, nor who gets some only when others do not.  Where all want
	 * nothing new themselves, that is the reason for the refusal. */
	for (int all = 0; all < 2 && g->n == 0; all++)
		for (size_t i = 0; i < s->colors[color].n; i++) {
			struct backend *b = s->colors[color].backends[i];

			if (all ? !backend_is_wanted(b) || b->backup : !backend_counts(b))
				continue;
			g->backends[g->n].gate = g;
			g->backends[g->n++].backend = backend_ref(b);
		}
	list_init(&g->waiting);
	ev_timer_init(&g->start, gate_on_start, 0.0, 0.0);
	ev_timer_start(ctl->control->loop, &g->start);
	return g;
}

void
gate_free(struct gate **gp)
{
	struct gate *g = *gp;

	*gp = NULL;
	if (g == NULL)
		return;
	ev_timer_stop(g->ctl->control->loop, &g->start);
	list_remove(&g->waiting);
	for (size_t i = 0; i < g->n; i++) {
		if (g->backends[i].probe != NULL) {
			probe_cancel(&g->backends[i].probe);
			give_place(g);
		}
		backend_unref(&g->backends[i].backend);
	}
	/* It may have been woken for a place that it does not take any more. */
	wake_next(g->ctl->control);
	free(g->backends);
	free(g);
}

void
gate_text(const struct gate *g, struct buf *out)
{
	size_t named = 0, bad = 0;

	buf_printf(out, "%zu/%zu backends healthy, %zu needed", g->healthy, g->n, g->needed);
	for (size_t i = 0; i < g->n; i++) {
		const struct gate_backend *gb = &g->backends[i];

		if (gb->ok)
			continue;
		bad++;
		if (named < NAMED) {
			buf_printf(out, "; %s %s", gb->backend->text, gb->error);
			named++;
		}
	}
	if (bad > named)
		buf_printf(out, "; and %zu more", bad - named);
}
