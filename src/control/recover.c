/* recover.c - out for a while, and slowly in again.  Thread: main. */
#include "base/clock.h"
#include "control/publish.h"
#include "control/recover.h"

/* Of its weight a backend begins with so much after it was away. */
#define RAMP_FROM 0.1
/* So often growing weights are told to the workers, seconds; a short
 * slow_start goes in quarters. */
#define RAMP_STEP 1.0

/* -- slow start ------------------------------------------------------------- */

uint32_t
recover_weight(const struct service *s, const struct backend *b, double now)
{
	double whole = 100.0 * b->weight, share = 1;

	if (b->ramp_from > 0 && s->config->slow_start > 0)
		share = RAMP_FROM + (1 - RAMP_FROM) * (now - b->ramp_from) / s->config->slow_start;
	if (share > 1)
		share = 1;
	return share * whole >= 1 ? (uint32_t)(share * whole) : 1;
}

static void
start_slowly(const struct service_ctl *ctl, struct backend *b)
{
	const struct service_config *sc = ctl->service->config;

	if (sc->slow_start > 0 && sc->balance != BALANCE_SOURCE_HASH)
		b->ramp_from = clock_now();
}

/* -- when to look again -------------------------------------------------------- */

static double
ramp_step(const struct service *s)
{
	return s->config->slow_start / 4 < RAMP_STEP ? s->config->slow_start / 4 : RAMP_STEP;
}

/* The timer is set to the next thing that is due, and off when nothing is. */
static void
plan(struct control *c)
{
	double now = clock_now(), due = 0;

	for (size_t i = 0; i < c->n; i++)
		for (int color = 0; color < COLORS; color++)
			for (size_t k = 0; k < c->entries[i].service->colors[color].n; k++) {
				const struct service *s = c->entries[i].service;
				const struct backend *b = s->colors[color].backends[k];
				double at = b->ramp_from > 0 ? now + ramp_step(s) : 0;

				if (b->ejected_until > 0 && (at <= 0 || b->ejected_until < at))
					at = b->ejected_until;
				if (at > 0 && (due <= 0 || at < due))
					due = at;
			}
	ev_timer_stop(c->loop, &c->recover_timer);
	if (due <= 0)
		return;
	ev_timer_set(&c->recover_timer, due > now ? due - now : 0, 0.0);
	ev_timer_start(c->loop, &c->recover_timer);
}

/* Something is due so soon; what was due before stays so.  Of any number of
 * backends: plan() would look at all of them for each. */
static void
hasten(struct control *c, double seconds)
{
	if (ev_is_active(&c->recover_timer) && ev_timer_remaining(c->loop, &c->recover_timer) <= seconds)
		return;
	ev_timer_stop(c->loop, &c->recover_timer);
	ev_timer_set(&c->recover_timer, seconds, 0.0);
	ev_timer_start(c->loop, &c->recover_timer);
}

/* -- ejection --------------------------------------------------------------------- */

static size_t
allowed(const struct service *s, enum color color)
{
	const struct quorum *q = &s->config->passive.max_ejected;

	return q->percent ? s->colors[color].n * q->value / 100 : q->value;
}

static bool
may_eject(const struct service *s, enum color color)
{
	size_t ejected = 0;

	for (size_t i = 0; i < s->colors[color].n; i++)
		ejected += s->colors[color].backends[i]->ejected_until > 0;
	/* Never the last one: connects that fail are no worse than none. */
	return ejected < allowed(s, color) && service_healthy(s, color) > 1;
}

/* reason: what failed so often. */
static void
eject(struct service_ctl *ctl, struct backend *b, const char *reason, uint32_t failures)
{
	double seconds = ctl->service->config->passive.eject;

	b->ejected_until = clock_now() + seconds;
	hasten(ctl->control, seconds);
	b->ramp_from = 0;
	b->ejections++;
	b->since_us = clock_wall_us();
	BUS_EMIT(&ctl->control->bus, LOG_WARN_LEVEL, "backend.ejected", ctl->service,
		 LS("color", color_word(b->color)), LS("backend", b->text), LS("reason", reason), LU("failures", failures),
		 LF("seconds", seconds));
}

void
recover_look(struct service_ctl *ctl)
{
	struct service *s = ctl->service;
	const struct passive_config *pc = &s->config->passive;
	bool changed = false;

	for (int color = 0; (pc->failures > 0 || pc->answers > 0) && color < COLORS; color++)
		for (size_t i = 0; i < s->colors[color].n; i++) {
			struct backend *b = s->colors[color].backends[i];
			uint32_t failures = atomic_load_explicit(&b->failed_in_row, memory_order_relaxed);
			uint32_t answers = atomic_load_explicit(&b->bad_in_row, memory_order_relaxed);
			bool by_answers = pc->answers > 0 && answers >= pc->answers;

			if (!(pc->failures > 0 && failures >= pc->failures) && !by_answers)
				continue;
			if (backend_use(b) != BACKEND_USED || !may_eject(s, (enum color)color))
				continue;
			if (by_answers)
				eject(ctl, b, "answers failed", answers);
			else
				eject(ctl, b, "connects failed", failures);
			changed = true;
		}
	if (changed && ctl->published)
		publish_soon(ctl);
}

/* A new chance: it is judged by what happens from now on. */
static void
readmit(struct service_ctl *ctl, struct backend *b)
{
	b->ejected_until = 0;
	atomic_store_explicit(&b->failed_in_row, 0, memory_order_relaxed);
	atomic_store_explicit(&b->bad_in_row, 0, memory_order_relaxed);
	if (b->state != BACKEND_UP)
		return;
	b->since_us = clock_wall_us();
	start_slowly(ctl, b);
	BUS_EMIT(&ctl->control->bus, LOG_INFO_LEVEL, "backend.readmitted", ctl->service,
		 LS("color", color_word(b->color)), LS("backend", b->text));
}

void
recover_on_health(struct service_ctl *ctl, struct backend *b, enum backend_state was)
{
	/* At the start nobody has been away. */
	b->ramp_from = 0;
	if (b->state == BACKEND_UP && (was == BACKEND_DOWN || b->late) && b->ejected_until <= 0) {
		b->late = false;
		atomic_store_explicit(&b->failed_in_row, 0, memory_order_relaxed);
		atomic_store_explicit(&b->bad_in_row, 0, memory_order_relaxed);
		start_slowly(ctl, b);
		if (b->ramp_from > 0)
			hasten(ctl->control, ramp_step(ctl->service));
	}
}

static bool
recover_service(struct service_ctl *ctl, double now)
{
	struct service *s = ctl->service;
	bool changed = false;

	for (int color = 0; color < COLORS; color++)
		for (size_t i = 0; i < s->colors[color].n; i++) {
			struct backend *b = s->colors[color].backends[i];

			if (b->ejected_until > 0 && b->ejected_until <= now) {
				readmit(ctl, b);
				changed = true;
			}
			if (b->ramp_from <= 0)
				continue;
			changed = true;
			if (now - b->ramp_from >= s->config->slow_start)
				b->ramp_from = 0;
		}
	return changed;
}

static void
control_on_recover(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct control *c = container_of(t, struct control, recover_timer);
	double now = clock_now();

	(void)loop;
	(void)revents;
	for (size_t i = 0; i < c->n; i++)
		if (recover_service(&c->entries[i], now) && c->entries[i].published)
			publish_soon(&c->entries[i]);
	plan(c);
}

void
recover_init(struct control *c)
{
	ev_timer_init(&c->recover_timer, control_on_recover, 0.0, 0.0);
}
