/* publish.c - builds snapshots and hands them to the engine.  Thread: main. */
#include "base/clock.h"
#include "control/engines.h"
#include "control/publish.h"
#include "control/slow_start.h"
#include "model/balance.h"

/* best: the best use of any backend of its color. */
static bool
is_usable(const struct service *s, const struct backend *b, enum backend_use best)
{
	switch (best) {
	case BACKEND_USED:
	case BACKEND_STANDBY:
		return backend_use(b) == best;
	case BACKEND_SPARE:
		/* No backend is known to be healthy.  Unless configured otherwise an answer from a
		 * backend that fails its checks is better than a refusal from us. */
		return backend_use(b) == best && s->config->when_all_down == ALL_DOWN_TRY;
	case BACKEND_NEVER:
		break;
	}
	return false;
}

/* Of on_down = "reset": a few, as a rule none, that still have connections. */
static void
list_down(const struct service *s, enum color color, enum backend_use best, struct snapshot_color *out)
{
	if (s->config->on_down != ON_DOWN_RESET)
		return;
	for (size_t i = 0; i < s->colors[color].n; i++) {
		struct backend *b = s->colors[color].backends[i];

		if (b->state != BACKEND_DOWN || is_usable(s, b, best))
			continue;
		out->down = must_grow(out->down, out->n_down + 1, sizeof(struct backend *));
		out->down[out->n_down++] = backend_ref(b);
	}
}

static void
add_leaving(const struct service *s, struct backend *b, struct snapshot *snap)
{
	struct snapshot_color *out = &snap->colors[b->color];
	const struct drain_config *d = &s->config->drain;
	double spread = b->terms.spread_us < 0 ? d->spread : (double)b->terms.spread_us / 1e6;

	if (!b->drain || b->terms.timeout_us < 0)
		return;
	out->leaving = must_grow(out->leaving, out->n_leaving + 1, sizeof(*out->leaving));
	out->leaving[out->n_leaving++] = (struct snapshot_leaving){
		.backend = backend_ref(b),
		.orders = { .at = b->drained_at,
			    .idle = d->idle,
			    .spread = spread,
			    .timeout = (double)b->terms.timeout_us / 1e6,
			    .ending = END_DRAINED },
	};
}

/* A color is well as long as one of its backends is up, if only a backup. */
static void
share_traffic(const struct service *s, const enum backend_use best[COLORS], struct snapshot *snap)
{
	const struct share *share = &s->record.share;

	if (share->idle == 0)
		return;
	snap->shared = true;
	snap->low = share->low;
	snap->threshold = share_threshold(share, s->record.color);
	snap->key = share->key;
	for (enum color c = GREEN; c <= BLUE; c++)
		if (!backend_use_is_well(best[c]) && backend_use_is_well(best[color_other(c)])) {
			snap->diverted = true;
			snap->from = c;
		}
}

struct snapshot *
publish_build(struct service *s)
{
	unsigned n[COLORS];
	enum backend_use best[COLORS];
	double now = clock_now();
	struct snapshot *snap;

	service_forget_parted(s);
	for (int c = 0; c < COLORS; c++) {
		best[c] = service_best(s, (enum color)c);
		n[c] = 0;
		for (size_t i = 0; i < s->colors[c].n; i++)
			n[c] += is_usable(s, s->colors[c].backends[i], best[c]);
	}
	snap = snapshot_new(++s->generation, s->record.epoch, s->record.color, n);
	for (int c = 0; c < COLORS; c++) {
		unsigned at = 0;

		for (size_t i = 0; i < s->colors[c].n; i++) {
			struct backend *b = s->colors[c].backends[i];

			add_leaving(s, b, snap);
			if (!is_usable(s, b, best[c]))
				continue;
			snap->colors[c].usable[at] = backend_ref(b);
			snap->colors[c].weights[at++] = slow_start_weight(s, b, now);
		}
		list_down(s, (enum color)c, best[c], &snap->colors[c]);
		balance_prepare(&snap->colors[c], s->config->balance == BALANCE_SOURCE_HASH ?
							  service_maglev(s, (enum color)c) :
							  NULL);
	}
	share_traffic(s, best, snap);
	for (size_t i = 0; i < s->n_parted; i++)
		add_leaving(s, s->parted[i].backend, snap);
	return snap;
}

/* That no other one is up is worth a line, and that one is again. */
static void
tell_of_backups(struct service_ctl *ctl)
{
	struct service *s = ctl->service;

	for (enum color color = GREEN; color <= BLUE; color++) {
		bool used = service_best(s, color) == BACKEND_STANDBY;

		if (used == s->colors[color].on_backup)
			continue;
		s->colors[color].on_backup = used;
		BUS_EMIT(&ctl->control->bus, used ? LOG_WARN_LEVEL : LOG_INFO_LEVEL, used ? "backup.used" : "backup.idle", s,
			 service_color_field(s->config, color));
	}
}

/* Where a color that shares the traffic has lost its last healthy backend, the other one serves its clients. */
static void
tell_of_diversion(struct service_ctl *ctl, const struct snapshot *snap)
{
	struct service *s = ctl->service;
	enum color from = snap->diverted ? snap->from : ctl->diverted_from;

	if (snap->diverted == ctl->diverted && from == ctl->diverted_from)
		return;
	ctl->diverted = snap->diverted;
	ctl->diverted_from = from;
	BUS_EMIT(&ctl->control->bus, snap->diverted ? LOG_WARN_LEVEL : LOG_INFO_LEVEL,
		 snap->diverted ? "share.diverted" : "share.restored", s, LS("color", color_word(from)),
		 LS("to", color_word(color_other(from))));
}

static struct snapshot *
build_due(struct service_ctl *ctl)
{
	struct snapshot *snap = publish_build(ctl->service);

	tell_of_backups(ctl);
	tell_of_diversion(ctl, snap);
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
