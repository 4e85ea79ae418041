/* flows_drain.c - drains: who is idle, whose time has come.
 * Thread: the flows thread. */
#include "base/clock.h"
#include "kernel/flows_private.h"

/* Idleness is looked at a few times in its length; the kernel's clock of it
 * ticks in seconds, so not more often than is of use. */
#define LOOK_MIN 0.5
#define LOOK_MAX 2.0
/* Clients whose port still belongs to a connection of the color wait for the next look. */
#define REUSED_EVERY 1.0
/* No flow begins on a color so long after it was left. */
#define SETTLED 2.0

void
flows_drain_begin(struct flows *f, unsigned id, enum color color, const struct drain_orders *orders)
{
	struct watch *w = f->watched[id];

	if (w == NULL)
		return;
	w->drains[color] = (struct flows_drain_state){ .on = true, .orders = *orders, .started = orders->at };
	f->next_drain = 0;
	flows_kick(f);
}

static bool
drain_is_over(const struct flows_drain_state *d, double now)
{
	return d->orders.timeout >= 0 && now - d->started >= d->orders.timeout;
}

/* The key is random, and stays. */
double
flows_place(const struct flow *flow)
{
	return (double)(flow->key >> 11) / (double)(UINT64_C(1) << 53);
}

bool
flows_drain_judge(void *arg, const struct flow *flow, const struct flow_fact *fact, enum ending *ending,
		  bool *enough)
{
	struct flows *f = arg;
	const struct watch *w = f->watched[mark_service(flow->mark)];
	const struct flows_drain_state *d;

	(void)enough;
	if (w == NULL || mark_entrance(flow->mark) != ENTRANCE_MAIN)
		return false;
	d = &w->drains[mark_color(flow->mark)];
	if (!d->on)
		return false;
	if (drain_is_over(d, f->now)) {
		*ending = d->orders.ending;
		return true;
	}
	if (d->orders.idle <= 0 || flows_idle(f, flow, fact) < d->orders.idle ||
	    f->now - d->started < flows_place(flow) * d->orders.spread)
		return false;
	*ending = END_DRAIN_IDLE;
	return true;
}

/* When the drain is to be looked at again.  A look that takes long is made less
 * often, but the deadline is kept. */
static double
next_look(const struct flows_drain_state *d, double now, double took)
{
	double left = d->orders.timeout >= 0 ? d->started + d->orders.timeout - now : 3600.0;
	double look = d->orders.idle > 0 ? d->orders.idle / 4 : REUSED_EVERY;

	/* What could not be cut is tried again. */
	if (left <= 0)
		return now + LOOK_MIN + 10 * took;
	look = look < LOOK_MIN ? LOOK_MIN : look > LOOK_MAX ? LOOK_MAX : look;
	if (look < 10 * took)
		look = 10 * took;
	return now + (look < left ? look : left);
}

/* The look has just counted, so nothing is left when it says so; but for what
 * was on its way when the color changed. */
static bool
is_done(const struct flows *f, unsigned id, enum color color)
{
	return flows_count(f, id, ENTRANCE_MAIN, color) == 0 &&
	       f->now - f->watched[id]->drains[color].started >= SETTLED;
}

double
flows_drain_step(struct flows *f)
{
	const uint32_t mask = MARK_TAG | MARK_SERVICE | MARK_COLOR | MARK_ENTRANCE;
	double started, took, next = f->now + 3600.0;
	bool all = f->next_drain == 0;
	uint32_t mark = 0;
	unsigned n = 0;

	flows_look_at_clock(f);

	for (unsigned id = 1; id <= MARK_SERVICES; id++)
		for (int c = 0; f->watched[id] != NULL && c < COLORS; c++)
			if (f->watched[id]->drains[c].on) {
				const struct flows_drain_state *d = &f->watched[id]->drains[c];

				all |= d->orders.idle > 0 || drain_is_over(d, f->now);
				if (n++ == 0)
					mark = mark_make(f->tag, id, (enum color)c, ENTRANCE_MAIN, 0);
			}
	if (n == 0)
		return next;
	started = f->now;
	/* One alone is asked for alone; several by one look at all; and where none has anything due,
	 * those whose client's port has come again. */
	if (!all)
		flows_round(f, f->tag << 24 | MARK_OVER, MARK_TAG | MARK_LEFT | MARK_OVER, NULL, NULL);
	else if (n == 1)
		flows_round(f, mark, mask, flows_drain_judge, f);
	else
		flows_count_all(f);
	flows_look_at_clock(f);
	took = f->now - started;
	for (unsigned id = 1; id <= MARK_SERVICES; id++)
		for (int c = 0; f->watched[id] != NULL && c < COLORS; c++) {
			struct flows_drain_state *d = &f->watched[id]->drains[c];
			double at;

			if (d->on && all && is_done(f, id, (enum color)c))
				d->on = false;
			if (d->on && (at = next_look(d, f->now, took)) < next)
				next = at;
		}
	return next;
}
