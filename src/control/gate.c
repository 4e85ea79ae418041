/* gate.c - asks every backend of a color before a flip.  Thread: main. */
#include <stdio.h>
#include <stdlib.h>

#include "control/gate.h"

/* Connects under way at a time; enough for speed, few enough for descriptors. */
#define AT_ONCE 64
/* Backends named in a refusal; the rest are counted. */
#define NAMED 8

static void begin_some(struct gate *g);

static void
verdict(struct gate_backend *gb, const char *connect_error)
{
	struct gate *g = gb->gate;
	const struct backend *b = gb->backend;

	if (connect_error != NULL)
		str_copy(gb->error, sizeof(gb->error), str_from(connect_error));
	else if (b->state == BACKEND_CHECKING)
		str_copy(gb->error, sizeof(gb->error), STR("not checked yet"));
	else if (b->state == BACKEND_DOWN)
		snprintf(gb->error, sizeof(gb->error), "health check: %s", b->error[0] != '\0' ? b->error : "down");
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
	begin_some(g);
}

static void
begin_some(struct gate *g)
{
	const struct service_config *sc = g->entry->service->config;
	char hello[PROBE_HELLO_MAX];
	size_t n = probe_hello(sc->proxy_protocol.send, hello);

	while (g->begun < g->n && g->begun - g->finished < AT_ONCE) {
		struct gate_backend *gb = &g->backends[g->begun++];
		const char *error = NULL;

		if (!backend_has_address(gb->backend)) {
			verdict(gb, gb->backend->error[0] != '\0' ? gb->backend->error : "its name is being looked up");
			continue;
		}
		/* Of UDP nobody can say that it listens: what checks it has to do. */
		if (sc->mode == MODE_UDP && sc->health.type == HEALTH_NONE) {
			verdict(gb, NULL);
			continue;
		}
		const struct probe_request request = {
			.to = sc->mode == MODE_UDP ? &gb->backend->health_address : &gb->backend->address,
			.source = &sc->source_address,
			.timeout = sc->health.timeout > 0 ? sc->health.timeout : 1.0,
			.hello = { hello, n },
			.tls = g->entry->service->backend_tls,
			.server_name = gb->backend->server_name,
		};

		gb->probe = probe_start(g->entry->control->loop, &request, gate_on_probe, gb, &error);
		if (gb->probe == NULL)
			verdict(gb, error);
	}
	if (g->finished == g->n)
		g->done(g, g->arg);
}

static void
gate_on_start(struct ev_loop *loop, ev_timer *t, int revents)
{
	(void)loop;
	(void)revents;
	begin_some(container_of(t, struct gate, start));
}

struct gate *
gate_new(struct entry *e, enum color color, void (*done)(struct gate *g, void *arg), void *arg)
{
	struct service *s = e->service;
	struct gate *g = must_alloc(sizeof(*g));

	g->entry = e;
	g->color = color;
	g->done = done;
	g->arg = arg;
	g->needed = service_needed(s, color);
	g->backends = must_array(s->colors[color].n, sizeof(struct gate_backend));
	for (size_t i = 0; i < s->colors[color].n; i++) {
		/* Who gets no traffic has no say. */
		if (!backend_is_wanted(s->colors[color].backends[i]))
			continue;
		g->backends[g->n].gate = g;
		g->backends[g->n++].backend = backend_ref(s->colors[color].backends[i]);
	}
	ev_timer_init(&g->start, gate_on_start, 0.0, 0.0);
	ev_timer_start(e->control->loop, &g->start);
	return g;
}

void
gate_free(struct gate **gp)
{
	struct gate *g = *gp;

	*gp = NULL;
	if (g == NULL)
		return;
	ev_timer_stop(g->entry->control->loop, &g->start);
	for (size_t i = 0; i < g->n; i++) {
		if (g->backends[i].probe != NULL)
			probe_cancel(&g->backends[i].probe);
		backend_unref(&g->backends[i].backend);
	}
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
