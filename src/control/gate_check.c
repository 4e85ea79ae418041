/* gate_check.c - the questions of a flip without a flip.
 * Thread: main.  Owns its gate and one reference of the service; ends when it has
 * answered, or at its next look when its client has left. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "control/flip_steps.h"
#include "control/gate_check.h"
#include "control/services.h"

struct check {
	struct link link;	/* on ctl's checks */
	struct service_ctl *ctl;	/* one reference */
	struct gate_check_request request;
	struct flip_watcher *watcher;	/* NULL: left */
	struct gate *gate;
	double healthy_until;	/* clock_now(): the gate is asked again until then */
	ev_timer again;
};

/* o: all but the service. */
static void
check_end(struct check *c, struct flip_outcome *o)
{
	struct service_ctl *ctl = c->ctl;

	ev_timer_stop(ctl->control->loop, &c->again);
	list_remove(&c->link);
	o->service = ctl->service;
	if (o->error != OK)
		o->changed = CHANGED_NO;
	/* It may have left when it was told of the gate. */
	flip_end(&c->watcher, o);
	gate_free(&c->gate);
	free(c);
	ctl_unref(&ctl);
}

static bool
check_end_if_refused(struct check *c)
{
	const struct record *r = &c->ctl->service->record;
	const struct gate_check_request *q = &c->request;
	char text[FLIP_TEXT];
	enum err e;

	if (q->has_at_epoch && q->at_epoch != r->epoch) {
		snprintf(text, sizeof(text), "%s: expected epoch %llu, found %s at epoch %llu",
			 c->ctl->service->config->name, (unsigned long long)q->at_epoch, color_word(r->color),
			 (unsigned long long)r->epoch);
		check_end(c, &(struct flip_outcome){ .error = E_CONFLICT, .message = text });
		return true;
	}
	if (r->color == q->to || (e = flip_barred(c->ctl, q->token, text)) == OK)
		return false;
	check_end(c, &(struct flip_outcome){ .error = e, .message = text });
	return true;
}

static void
refuse_closed_gate(struct check *c)
{
	struct buf text;
	char line[FLIP_TEXT];

	buf_init(&text, sizeof(line) - 1);
	buf_printf(&text, "%s -> %s: ", c->ctl->service->config->name, color_word(c->gate->color));
	gate_text(c->gate, &text);
	str_copy(line, sizeof(line), buf_str(&text));
	buf_free(&text);
	check_end(c, &(struct flip_outcome){ .error = E_UNHEALTHY, .message = line });
}

static void
check_on_gate(struct gate *g, void *arg)
{
	struct check *c = arg;

	if (!gate_is_open(g) && clock_now() + FLIP_GATE_AGAIN < c->healthy_until) {
		if (check_end_if_refused(c))
			return;
		health_kick(c->ctl->control->health, c->ctl->service);
		ev_timer_set(&c->again, FLIP_GATE_AGAIN, 0.0);
		ev_timer_start(c->ctl->control->loop, &c->again);
		return;
	}
	flip_tell(c->watcher, &(struct flip_event){ .kind = FLIP_EVENT_CHECKED, .gate = g });
	if (check_end_if_refused(c))
		return;
	if (gate_is_open(g))
		check_end(c, &(struct flip_outcome){ .changed = CHANGED_UNSAID, .gate = g });
	else
		refuse_closed_gate(c);
}

static void
check_on_again(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct check *c = container_of(t, struct check, again);

	(void)loop;
	(void)revents;
	if (c->watcher == NULL) {
		check_end(c, &(struct flip_outcome){ .error = OK });
		return;
	}
	gate_free(&c->gate);
	c->gate = gate_new(c->ctl, c->request.to, check_on_gate, c);
}

void
gate_check_start(struct service_ctl *ctl, const struct gate_check_request *request, struct flip_watcher *watcher)
{
	struct check *c = must_alloc(sizeof(*c));

	flip_watch(&c->watcher, watcher);
	c->ctl = ctl_ref(ctl);
	c->request = *request;
	c->healthy_until = request->wait_healthy > 0 ? clock_now() + request->wait_healthy : 0;
	ev_timer_init(&c->again, check_on_again, 0.0, 0.0);
	list_append(&ctl->checks, &c->link);
	c->gate = gate_new(ctl, request->to, check_on_gate, c);
}

void
gate_check_on_record(struct service_ctl *ctl)
{
	LIST_EACH(it, &ctl->checks) {
		struct check *c = list_entry(it, struct check, link);

		if (c->healthy_until > 0)
			(void)check_end_if_refused(c);
	}
}

void
gate_check_end_all(struct service_ctl *ctl, enum err error, const char *message)
{
	LIST_EACH(it, &ctl->checks)
		check_end(list_entry(it, struct check, link),
			  &(struct flip_outcome){ .error = error, .message = message });
}
