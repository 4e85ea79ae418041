/* outlier.c - ejection by what workers experience.  Thread: main. */
#include "base/clock.h"
#include "control/outlier.h"
#include "control/publish.h"
#include "control/slow_start.h"

/* -- when to look again -------------------------------------------------------- */

/* An ejection ends at that time; the timer is for the first of them. */
static void
due_at(struct control *c, double at)
{
	ev_timer *t = &c->outlier_timer;
	double seconds = at - clock_now();

	if (seconds < 0)
		seconds = 0;
	if (ev_is_active(t) && ev_timer_remaining(c->loop, t) <= seconds)
		return;
	ev_timer_stop(c->loop, t);
	ev_timer_set(t, seconds, 0.0);
	ev_timer_start(c->loop, t);
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
	due_at(ctl->control, b->ejected_until);
	b->ramp_from = 0;
	b->ejections++;
	b->since_us = clock_wall_us();
	BUS_EMIT(&ctl->control->bus, LOG_WARN_LEVEL, "backend.ejected", ctl->service,
		 service_color_field(ctl->service->config, b->color), LS("backend", b->text), LS("reason", reason), LU("failures", failures),
		 LF("seconds", seconds));
}

void
outlier_look(struct service_ctl *ctl)
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
	if (changed && ctl_is_published(ctl))
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
	slow_start_begin(ctl, b);
	BUS_EMIT(&ctl->control->bus, LOG_INFO_LEVEL, "backend.readmitted", ctl->service,
		 service_color_field(ctl->service->config, b->color), LS("backend", b->text));
}

void
outlier_on_health(struct service_ctl *ctl, struct backend *b, enum backend_state was)
{
	/* At the start no backend has been away. */
	b->ramp_from = 0;
	if (b->state == BACKEND_UP && (was == BACKEND_DOWN || was == BACKEND_DRAINING || b->late) && b->ejected_until <= 0) {
		b->late = false;
		atomic_store_explicit(&b->failed_in_row, 0, memory_order_relaxed);
		atomic_store_explicit(&b->bad_in_row, 0, memory_order_relaxed);
		slow_start_begin(ctl, b);
	}
}

/* Readmits those whose time is over. */
static void
look_at_ejected(struct service_ctl *ctl, double now)
{
	struct service *s = ctl->service;
	bool changed = false;

	for (int color = 0; color < COLORS; color++)
		for (size_t i = 0; i < s->colors[color].n; i++) {
			struct backend *b = s->colors[color].backends[i];

			if (b->ejected_until <= 0)
				continue;
			if (b->ejected_until > now) {
				due_at(ctl->control, b->ejected_until);
				continue;
			}
			readmit(ctl, b);
			changed = true;
		}
	if (changed && ctl_is_published(ctl))
		publish_soon(ctl);
}

static void
control_on_outlier(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct control *c = container_of(t, struct control, outlier_timer);
	double now = clock_now();

	(void)loop;
	(void)revents;
	for (size_t i = 0; i < c->n; i++)
		look_at_ejected(c->services[i], now);
}

void
outlier_adopt(struct service_ctl *ctl)
{
	look_at_ejected(ctl, clock_now());
}

void
outlier_init(struct control *c)
{
	ev_timer_init(&c->outlier_timer, control_on_outlier, 0.0, 0.0);
}
