/* publish.c - builds snapshots and hands them to the engine.  Thread: main. */
#include "base/clock.h"
#include "control/engines.h"
#include "control/publish.h"
#include "control/slow_start.h"
#include "model/balance.h"

static bool
is_usable(const struct service *s, const struct backend *b, bool any_used)
{
	switch (backend_use(b)) {
	case BACKEND_USED:
		return true;
	case BACKEND_SPARE:
		/* No backend is known to be healthy.  Unless configured otherwise an answer from a
		 * backend that fails its checks is better than a refusal from us. */
		return !any_used && s->config->when_all_down == ALL_DOWN_TRY;
	case BACKEND_NEVER:
		break;
	}
	return false;
}

/* Of on_down = "reset": a few, as a rule none, that still have connections. */
static void
list_down(const struct service *s, enum color color, bool any_used, struct snapshot_color *out)
{
	if (s->config->on_down != ON_DOWN_RESET)
		return;
	for (size_t i = 0; i < s->colors[color].n; i++) {
		struct backend *b = s->colors[color].backends[i];

		if (b->state != BACKEND_DOWN || is_usable(s, b, any_used))
			continue;
		out->down = must_grow(out->down, out->n_down + 1, sizeof(struct backend *));
		out->down[out->n_down++] = backend_ref(b);
	}
}

struct snapshot *
publish_build(struct service *s)
{
	unsigned n[COLORS];
	bool any_used[COLORS];
	double now = clock_now();
	struct snapshot *snap;

	for (int c = 0; c < COLORS; c++) {
		any_used[c] = service_healthy(s, (enum color)c) > 0;
		n[c] = 0;
		for (size_t i = 0; i < s->colors[c].n; i++)
			n[c] += is_usable(s, s->colors[c].backends[i], any_used[c]);
	}
	snap = snapshot_new(++s->generation, s->record.epoch, s->record.color, n);
	for (int c = 0; c < COLORS; c++) {
		unsigned at = 0;

		for (size_t i = 0; i < s->colors[c].n; i++) {
			struct backend *b = s->colors[c].backends[i];

			if (!is_usable(s, b, any_used[c]))
				continue;
			snap->colors[c].usable[at] = backend_ref(b);
			snap->colors[c].weights[at++] = slow_start_weight(s, b, now);
		}
		list_down(s, (enum color)c, any_used[c], &snap->colors[c]);
		balance_prepare(&snap->colors[c], s->config->balance == BALANCE_SOURCE_HASH ?
							  service_maglev(s, (enum color)c) :
							  NULL);
	}
	return snap;
}

static struct snapshot *
build_due(struct service_ctl *ctl)
{
	struct snapshot *snap = publish_build(ctl->service);

	ctl->dirty = false;
	snap->refuse = control_refuses(ctl->control) && !ctl->service->colorless;
	return snap;
}

void
publish_now(struct service_ctl *ctl)
{
	struct snapshot *snap;

	/* Which color it is from now on, the store has not said yet. */
	if (ctl->control->committing || !ctl->service->known) {
		ctl->dirty = true;
		return;
	}
	snap = build_due(ctl);
	engines_publish(ctl, &snap);
}

struct snapshot *
publish_take(struct service_ctl *ctl)
{
	return ctl->dirty && ctl->service->known ? build_due(ctl) : NULL;
}

void
publish_soon(struct service_ctl *ctl)
{
	struct control *c = ctl->control;

	ctl->dirty = true;
	if (!ev_is_active(&c->publish_timer)) {
		ev_timer_set(&c->publish_timer, 0.0, 0.0);
		ev_timer_start(c->loop, &c->publish_timer);
	}
}
