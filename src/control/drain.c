/* drain.c - watches the old color run empty.  Thread: main. */
#include <stdlib.h>

#include "base/clock.h"
#include "control/drain.h"
#include "control/engines.h"
#include "control/flip.h"

#define POLL 0.02
#define TELL_EVERY 1.0
/* How long past the deadline the workers may take to cut a great many.  Counted in
 * polls: after a stop of the whole process (SIGSTOP, a machine's pause) this thread
 * may look at the clock before they have run at all. */
#define GRACE_POLLS 250	/* of POLL: 5 s */

static void
finish_drain(struct drain *d)
{
	struct service_ctl *ctl = d->ctl;
	struct control *c = ctl->control;
	double now = clock_now();
	uint64_t cut = service_ended(ctl->service, ENTRANCE_MAIN, d->color, END_DRAINED) - d->cut_before;
	double seconds = now - d->started;

	BUS_EMIT(&c->bus, cut > 0 ? LOG_WARN_LEVEL : LOG_INFO_LEVEL, "flip.drained", ctl->service,
		 service_color_field(ctl->service->config, d->color), LU("epoch", d->epoch), LF("seconds", seconds), LU("cut", cut));
	ev_timer_stop(c->loop, &d->poll);
	ctl->drain = NULL;
	ctl->cut = cut;
	ctl->cut_epoch = d->epoch;
	free(d);
	rollout_on_drained(ctl);
	flip_on_drained(ctl, seconds, cut);
}

static void
drain_on_poll(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct drain *d = container_of(t, struct drain, poll);
	struct service_ctl *ctl = d->ctl;
	double now = clock_now();
	uint64_t left = engines_count(ctl, d->color);

	(void)loop;
	(void)revents;
	if (left == 0) {
		finish_drain(d);
		return;
	}
	if (left != d->last_told && now - d->told_at >= TELL_EVERY) {
		d->last_told = left;
		d->told_at = now;
		BUS_EMIT(&ctl->control->bus, LOG_DEBUG_LEVEL, "flip.draining", ctl->service,
			 service_color_field(ctl->service->config, d->color), LU("remaining", left));
		flip_on_drain_progress(ctl, left);
	}
	if (now > d->deadline && ++d->late_polls > GRACE_POLLS) {
		BUS_EMIT(&ctl->control->bus, LOG_ERROR_LEVEL, "flip.drain_stuck", ctl->service,
			 service_color_field(ctl->service->config, d->color), LU("remaining", left));
		d->deadline = now;
		d->late_polls = 0;
	}
}

void
drain_resume(struct service_ctl *ctl, const struct drain_legacy *legacy)
{
	struct control *c = ctl->control;
	struct drain *d = must_alloc(sizeof(*d));

	drain_cancel(ctl);
	d->ctl = ctl;
	d->color = legacy->color;
	d->epoch = legacy->epoch;
	d->orders = legacy->orders;
	d->started = d->orders.at;
	d->deadline = d->due = d->started + d->orders.timeout;
	d->at_start = legacy->at_start;
	d->last_told = engines_count(ctl, d->color);
	d->told_at = clock_now();
	d->cut_before = legacy->cut_before;
	ctl->drain = d;
	engines_drain(ctl, d->color, &d->orders);
	BUS_EMIT(&c->bus, LOG_INFO_LEVEL, "flip.draining", ctl->service, service_color_field(ctl->service->config, d->color),
		 LU("epoch", d->epoch), LU("remaining", d->last_told), LF("timeout", d->orders.timeout));
	flip_on_drain_progress(ctl, d->last_told);
	ev_timer_init(&d->poll, drain_on_poll, 0.0, POLL);
	ev_timer_start(c->loop, &d->poll);
}

void
drain_start(struct service_ctl *ctl, enum color color, double timeout)
{
	const struct drain_config *config = &ctl->service->config->drain;
	const struct drain_legacy begun = {
		.color = color,
		.epoch = ctl->service->record.epoch,
		.orders = { .at = clock_now(),
			    .idle = config->idle,
			    .spread = config->spread,
			    .timeout = timeout < 0 ? config->timeout : timeout,
			    .ending = END_DRAINED },
		.at_start = engines_count(ctl, color),
		.cut_before = service_ended(ctl->service, ENTRANCE_MAIN, color, END_DRAINED),
	};

	drain_resume(ctl, &begun);
}

void
drain_cancel(struct service_ctl *ctl)
{
	struct drain *d = ctl->drain;

	if (d == NULL)
		return;
	ev_timer_stop(ctl->control->loop, &d->poll);
	ctl->drain = NULL;
	BUS_EMIT(&ctl->control->bus, LOG_INFO_LEVEL, "flip.drain_cancelled", ctl->service,
		 service_color_field(ctl->service->config, d->color), LU("epoch", d->epoch), LU("remaining", d->last_told));
	free(d);
}
