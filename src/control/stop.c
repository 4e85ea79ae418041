/* stop.c - notice, close, drain, stopped.  Thread: main. */
#include "base/clock.h"
#include "control/control.h"
#include "control/engines.h"
#include "control/nodes.h"
#include "control/notify.h"
#include "control/stop.h"

#define STOP_POLL 0.02
/* Beyond the deadline the workers still need some turns to cut a great many, seconds. */
#define STOP_GRACE 3.0
/* How long the end waits for the store to hear it, seconds. */
#define GOODBYE 0.5
/* And for receivers of events, seconds. */
#define LAST_EVENTS 2.0

static uint64_t
of_one(const struct service_ctl *ctl, struct engine *e)
{
	return engines_count_of(ctl, e, GREEN) + engines_count_of(ctl, e, BLUE);
}

static uint64_t
of_main_entrances(const struct control *c, struct engine *e)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < c->n; i++)
		sum += of_one(c->services[i], e);
	for (const struct link *l = c->leaving.next; l != &c->leaving; l = l->next)
		sum += of_one(list_entry(l, const struct service_ctl, leaving), e);
	return sum;
}

static void
end_service(struct service_ctl *ctl)
{
	const struct drain_config *drain = &ctl->service->config->drain;
	const struct drain_orders orders = {
		.at = clock_now(),
		.idle = drain->idle,
		.spread = drain->spread,
		.timeout = ctl->control->config->stop.timeout,
		.ending = END_STOP,
		.all = true,
	};

	for (enum color color = GREEN; color <= BLUE; color++)
		engines_drain(ctl, color, &orders);
}

/* An engine without `left` knows of main entrances alone. */
static uint64_t
connections_left(const struct control *c)
{
	uint64_t sum = 0;

	for (size_t k = 0; k < c->n_engines; k++) {
		struct engine *e = c->engines[k];

		if (e->left != NULL)
			sum += e->left(e);
		else
			sum += of_main_entrances(c, e);
	}
	return sum;
}

static void
control_on_stop_poll(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct control *c = container_of(t, struct control, stop.poll);
	uint64_t left = connections_left(c);
	double now = clock_now();

	(void)revents;
	/* From when it is seen: a process that stood still lets the workers end what is due. */
	if (c->stop.late_at == 0 && now >= c->stop.deadline)
		c->stop.late_at = now;
	if (left > 0 && (c->stop.late_at == 0 || now < c->stop.late_at + STOP_GRACE))
		return;
	/* The fleet is told goodbye, if the store can be reached. */
	if (c->store->leave != NULL && !c->store->leave(c->store) && now < c->stop.closed_at + GOODBYE)
		return;
	if (!c->stop.told) {
		c->stop.told = true;
		c->stop.told_at = now;
		BUS_EMIT(&c->bus, left > 0 ? LOG_WARN_LEVEL : LOG_INFO_LEVEL, "teald.drained", NULL, LU("remaining", left));
	}
	/* Receivers are told what happened last, if they answer. */
	if (notify_is_busy(c->notify) && now < c->stop.told_at + LAST_EVENTS)
		return;
	ev_timer_stop(loop, t);
	c->life = LIFE_STOPPED;
	c->on_stopped(c->arg);
}

void
stop_on_closed(struct control *c)
{
	if (--c->stop.engines_open > 0 || c->life == LIFE_STOPPED)
		return;
	c->stop.closed_at = clock_now();
	c->stop.deadline = c->stop.closed_at + c->config->stop.timeout;
	nodes_watch_leave(c->nodes);
	if (c->store->leave != NULL)
		(void)c->store->leave(c->store);
	BUS_EMIT(&c->bus, LOG_INFO_LEVEL, "teald.draining", NULL, LU("remaining", connections_left(c)),
		 LF("timeout", c->config->stop.timeout));
	for (size_t i = 0; i < c->n; i++)
		end_service(c->services[i]);
	LIST_EACH(l, &c->leaving)
		end_service(list_entry(l, struct service_ctl, leaving));
	ev_timer_set(&c->stop.poll, 0.0, STOP_POLL);
	ev_timer_start(c->loop, &c->stop.poll);
}

static void
control_on_notice_over(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct control *c = container_of(t, struct control, stop.notice);

	(void)loop;
	(void)revents;
	c->life = LIFE_CLOSING;
	BUS_EMIT(&c->bus, LOG_INFO_LEVEL, "teald.closing", NULL, LU("connections", connections_left(c)));
	c->stop.engines_open = (unsigned)c->n_engines;
	if (c->n_engines == 0) {
		c->stop.engines_open = 1;
		stop_on_closed(c);
	}
	for (size_t k = 0; k < c->n_engines; k++)
		c->engines[k]->close(c->engines[k]);
}

void
stop_begin(struct control *c)
{
	/* Who has yielded is asked by no client whether it is ready. */
	double notice = c->life == LIFE_YIELDED ? 0.0 : c->config->stop.notice;

	if (c->life > LIFE_YIELDED)
		return;
	c->life = LIFE_NOTICE;
	BUS_EMIT(&c->bus, LOG_INFO_LEVEL, "teald.stopping", NULL, LF("notice", notice));
	for (size_t k = 0; k < c->n_engines; k++)
		if (c->engines[k]->notice != NULL)
			c->engines[k]->notice(c->engines[k]);
	ev_timer_set(&c->stop.notice, notice, 0.0);
	ev_timer_start(c->loop, &c->stop.notice);
}

void
stop_init(struct control *c)
{
	ev_timer_init(&c->stop.notice, control_on_notice_over, 0.0, 0.0);
	ev_timer_init(&c->stop.poll, control_on_stop_poll, 0.0, STOP_POLL);
}

void
stop_close(struct control *c)
{
	ev_timer_stop(c->loop, &c->stop.notice);
	ev_timer_stop(c->loop, &c->stop.poll);
}
