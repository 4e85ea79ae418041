/* slow_start.c - a growing share for a backend that was away.  Thread: main. */
#include "base/clock.h"
#include "control/publish.h"
#include "control/slow_start.h"

/* Of its weight a backend begins with so much after it was away. */
#define RAMP_FROM 0.1
/* So often growing weights are told to the workers, seconds; a short
 * slow_start goes in quarters. */
#define RAMP_STEP 1.0

uint32_t
slow_start_weight(const struct service *s, const struct backend *b, double now)
{
	double whole = backend_weight(b), share = 1;

	if (b->ramp_from > 0 && s->config->slow_start > 0)
		share = RAMP_FROM + (1 - RAMP_FROM) * (now - b->ramp_from) / s->config->slow_start;
	if (share > 1)
		share = 1;
	return share * whole >= 1 ? (uint32_t)(share * whole) : 1;
}

static double
ramp_step(const struct service *s)
{
	return s->config->slow_start / 4 < RAMP_STEP ? s->config->slow_start / 4 : RAMP_STEP;
}

/* The next step is due so soon, unless one is due before. */
static void
hasten(struct control *c, double seconds)
{
	ev_timer *t = &c->slow_start_timer;

	if (ev_is_active(t) && ev_timer_remaining(c->loop, t) <= seconds)
		return;
	ev_timer_stop(c->loop, t);
	ev_timer_set(t, seconds, 0.0);
	ev_timer_start(c->loop, t);
}

void
slow_start_begin(struct service_ctl *ctl, struct backend *b)
{
	const struct service_config *sc = ctl->service->config;

	if (sc->slow_start <= 0 || sc->balance == BALANCE_SOURCE_HASH)
		return;
	b->ramp_from = clock_now();
	hasten(ctl->control, ramp_step(ctl->service));
}

/* Seconds until the service's weights grow again; 0: all have grown. */
static double
grow(struct service_ctl *ctl, double now)
{
	struct service *s = ctl->service;
	bool changed = false, grows = false;

	for (int color = 0; color < COLORS; color++)
		for (size_t i = 0; i < s->colors[color].n; i++) {
			struct backend *b = s->colors[color].backends[i];

			if (b->ramp_from <= 0)
				continue;
			changed = true;
			if (now - b->ramp_from >= s->config->slow_start)
				b->ramp_from = 0;
			else
				grows = true;
		}
	if (changed && ctl_is_published(ctl))
		publish_soon(ctl);
	return grows ? ramp_step(s) : 0;
}

void
slow_start_adopt(struct service_ctl *ctl)
{
	double seconds = grow(ctl, clock_now());

	if (seconds > 0)
		hasten(ctl->control, seconds);
}

static void
control_on_slow_start(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct control *c = container_of(t, struct control, slow_start_timer);
	double now = clock_now();

	(void)loop;
	(void)revents;
	for (size_t i = 0; i < c->n; i++) {
		double seconds = grow(c->services[i], now);

		if (seconds > 0)
			hasten(c, seconds);
	}
}

void
slow_start_init(struct control *c)
{
	ev_timer_init(&c->slow_start_timer, control_on_slow_start, 0.0, 0.0);
}
