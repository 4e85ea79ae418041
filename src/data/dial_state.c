/* dial_state.c - the states of a struct dial, with their lists and counters, and what
 * is done to all that dial.  Thread: owning worker. */
#include "base/hash.h"
#include "data/dial.h"

/* Seconds of dialing, about, after which a client is asked whether it is still there:
 * a watcher would cost every connection. */
#define ASK_AFTER 0.1

/* Connections looked at in one round of a node's drain, in each list: see DRAIN_BATCH. */
#define LEAVE_BATCH 2048
/* The last in any spread: 1 is none. */
#define LAST_PLACE 0.9999999999

static bool
is_counted(enum dial_state s)
{
	return s == DIAL_DIALING || s == DIAL_REACHED;
}

/* Of a service between its colors. */
static enum color
dial_shared_color(const struct dial *d)
{
	const struct snapshot *s = d->lane->snapshot;
	size_t n;
	const uint8_t *source = endpoint_source(&d->peer, &n);

	return snapshot_share_color(s, share_point(&s->key, source, n));
}

/* Where the color is not the client's own, that is counted once, as dialing begins. */
static enum color
dial_color(const struct dial *d, bool *diverted)
{
	const struct snapshot *s = d->lane->snapshot;
	enum color color;

	*diverted = false;
	if (!s->shared || d->entrance != ENTRANCE_MAIN)
		return snapshot_color(s, (enum entrance)d->entrance);
	color = dial_shared_color(d);
	*diverted = s->diverted && color == s->from;
	return *diverted ? color_other(color) : color;
}

void
dial_recolor(struct dial *d)
{
	const struct snapshot *now = d->lane->snapshot;
	bool counted = is_counted((enum dial_state)d->state);
	bool diverted;
	enum color color = dial_color(d, &diverted);

	d->epoch = now->epoch;
	if (diverted && !d->diverted)
		tally_add(&d->lane->tally->colors[d->entrance][color_other(color)].diverted, 1);
	d->diverted = diverted;
	if (d->color == color)
		return;
	if (counted)
		tally_add(&dial_tally(d)->active, (uint64_t)-1);
	d->color = (uint8_t)color;
	if (counted)
		tally_add(&dial_tally(d)->active, 1);
}

struct link *
dial_home(const struct dial *d)
{
	struct lane *l = d->lane;

	return d->entrance == ENTRANCE_MAIN ? &l->live[d->waiter.kind][d->color] : &l->previews[d->waiter.kind];
}

/* Its deadline was armed as it got in line. */
static void
end_wait(struct dial *d)
{
	struct lane *l = d->lane;
	double waited = l->worker->now - d->deadline.touched;

	queue_leave(l, &d->waiter);
	tally_queued(l->tally, waited);
	d->queued += (float)waited;
}

void
dial_become(struct dial *d, enum dial_state to, enum queue_end end)
{
	struct lane *l = d->lane;

	CHECK(d->state != DIAL_ENDED && (to != DIAL_WAITING || d->state <= DIAL_DIALING));
	if (d->state == DIAL_WAITING) {
		end_wait(d);
		permit_leave_queue(&d->permit);
	} else {
		list_remove(&d->link);
	}
	deadline_disarm(&d->deadline);
	if (is_counted((enum dial_state)d->state) && !is_counted(to))
		tally_add(&dial_tally(d)->active, (uint64_t)-1);
	/* One that begins, or whose turn has come, is judged by what is true now. */
	if (to == DIAL_DIALING) {
		dial_recolor(d);
		d->dialing = (float)(l->worker->now - d->born);
	}
	if (!is_counted((enum dial_state)d->state) && is_counted(to))
		tally_add(&dial_tally(d)->active, 1);
	d->state = (uint8_t)to;
	switch (to) {
	case DIAL_NEW:
		break;
	case DIAL_WAITING:
		deadline_arm(l->queue_clock, &d->deadline, l->worker->now);
		queue_join(l, &d->waiter, end);
		break;
	case DIAL_DIALING:
		list_append(&l->dialing, &d->link);
		break;
	case DIAL_REACHED:
		list_append(dial_home(d), &d->link);
		break;
	case DIAL_ENDED:
		list_append(&l->worker->ended[d->waiter.kind], &d->link);
		break;
	}
}

void
dial_init(struct dial *d, enum entrance entrance, enum waiter_kind kind)
{
	d->entrance = (uint8_t)entrance;
	d->connect_seconds = -1;
	d->waiter.kind = kind;
	deadline_init(&d->deadline);
	list_init(&d->link);
}

void
dial_begin(struct dial *d)
{
	dial_become(d, DIAL_DIALING, QUEUE_BACK);
}

void
dial_adopt(struct dial *d)
{
	dial_become(d, DIAL_REACHED, QUEUE_BACK);
}

void
dial_leave_queue(struct dial *d)
{
	if (d->state == DIAL_WAITING)
		dial_become(d, DIAL_DIALING, QUEUE_BACK);
}

void
dial_end(struct dial *d)
{
	dial_drop_backend(d);
	tried_free(&d->tried);
	dial_become(d, DIAL_ENDED, QUEUE_BACK);
}

void
dial_join(struct dial *d, enum queue_end end)
{
	if (dial_ops(d)->hold != NULL)
		dial_ops(d)->hold(d);
	dial_become(d, DIAL_WAITING, end);
}

bool
dial_wait(struct dial *d, enum queue_end end)
{
	if (d->entrance != ENTRANCE_MAIN || !permit_queue(&d->permit))
		return false;
	dial_drop_backend(d);
	if (d->permit.place)
		permit_drop_place(&d->permit);
	dial_join(d, end);
	return true;
}

/* -- all of a lane's ------------------------------------------------------------------- */

void
dial_all_anew(struct lane *l)
{
	LIST_EACH(it, &l->dialing)
		dial_anew(list_entry(it, struct dial, link));
}

void
dial_share_anew(struct lane *l)
{
	LIST_EACH(it, &l->dialing) {
		struct dial *d = list_entry(it, struct dial, link);
		bool diverted;

		if (dial_color(d, &diverted) != (enum color)d->color)
			dial_anew(d);
	}
}

static void
end_those_of_down(const struct lane *l, struct link *list)
{
	LIST_EACH(it, list) {
		struct dial *d = list_entry(it, struct dial, link);

		if (d->backend != NULL && snapshot_resets(l->snapshot, d->backend))
			dial_ops(d)->end(d, END_BACKEND_DOWN);
	}
}

void
dial_leave_down(struct lane *l)
{
	LIST_EACH(it, &l->dialing) {
		struct dial *d = list_entry(it, struct dial, link);

		if (dial_ops(d)->io(d) != NULL && (snapshot_resets(l->snapshot, d->backend) ||
						   snapshot_leaves(l->snapshot, d->backend) != NULL))
			dial_anew(d);
	}
	for (int k = 0; k < DIAL_KINDS; k++) {
		for (int c = 0; c < COLORS; c++)
			end_those_of_down(l, &l->live[k][c]);
		end_those_of_down(l, &l->previews[k]);
	}
}

bool
dial_must_end_late(const struct dial *d, enum ending *ending)
{
	const struct snapshot *now = d->lane->snapshot;

	if (now == NULL)
		return false;
	*ending = END_PREVIEW;
	if (d->entrance == ENTRANCE_PREVIEW && d->color == now->active)
		return true;
	*ending = END_BACKEND_DOWN;
	return snapshot_resets(now, d->backend);
}

double
dial_place(const struct dial *d)
{
	uint64_t seed = (uint64_t)(d->born * 1e6);

	return (double)(uint32_t)hash_bytes(&d->peer, sizeof(d->peer), seed) / 4294967296.0;
}

/* A request is never idle, and has all the time there is: those do not come at once. */
static bool
must_leave(const struct dial *d, const struct drain_orders *o, double now, enum ending *ending)
{
	double place = d->waiter.kind != WAITER_REQUEST ? dial_place(d) : LAST_PLACE;

	*ending = o->ending;
	if (drain_orders_cut(o, now, place))
		return true;
	*ending = END_DRAIN_IDLE;
	return d->waiter.kind != WAITER_REQUEST && drain_orders_close_idle(o, now, place, now - d->deadline.touched);
}

/* By rotation: safe when some leave, fair when there are more than fit into a round. */
static void
sweep_leaving(struct lane *l, struct link *list)
{
	struct link *first = NULL, *it;

	for (unsigned n = 0; n < LEAVE_BATCH && (it = list_first(list)) != NULL && it != first; n++) {
		struct dial *d = list_entry(it, struct dial, link);
		const struct drain_orders *o = d->backend != NULL ? snapshot_leaves(l->snapshot, d->backend) : NULL;
		enum ending ending;

		if (o != NULL && must_leave(d, o, l->worker->now, &ending)) {
			if (ending == o->ending)
				atomic_fetch_add_explicit(&d->backend->cut, 1, memory_order_relaxed);
			dial_ops(d)->end(d, ending);
			continue;
		}
		list_remove(it);
		list_append(list, it);
		if (first == NULL)
			first = it;
	}
}

bool
dial_leave_nodes(struct lane *l)
{
	if (l->snapshot == NULL || !snapshot_has_leaving(l->snapshot))
		return false;
	for (int k = 0; k < DIAL_KINDS; k++) {
		for (int c = 0; c < COLORS; c++)
			sweep_leaving(l, &l->live[k][c]);
		sweep_leaving(l, &l->previews[k]);
	}
	return true;
}

/* Connections looked at in one round of a drain, so that a round stays well below a millisecond or two whatever
 * their number. */
#define DRAIN_BATCH 2048

static bool
idles(const struct dial *d, const struct lane_drain *drain, double now)
{
	if (drain->orders.idle <= 0 || now - d->deadline.touched < drain->orders.idle)
		return false;
	return now - drain->started >= dial_place(d) * drain->orders.spread;
}

/* By rotation, as sweep_leaving(). */
static unsigned
sweep_draining(struct link *list, const struct lane_drain *drain, double now, bool over, unsigned batch)
{
	struct link *first = NULL, *it;

	while (batch > 0 && (it = list_first(list)) != NULL && it != first) {
		struct dial *d = list_entry(it, struct dial, link);

		batch--;
		if (over || idles(d, drain, now)) {
			dial_ops(d)->end(d, over ? drain->orders.ending : END_DRAIN_IDLE);
			continue;
		}
		list_remove(it);
		list_append(list, it);
		if (first == NULL)
			first = it;
	}
	return batch;
}

bool
dial_drain_step(struct lane *l, enum waiter_kind kind, enum color color, double now, bool over)
{
	const struct lane_drain *drain = &l->drain[color];
	struct link *live = &l->live[kind][color], *previews = &l->previews[kind];
	unsigned batch = sweep_draining(live, drain, now, over, DRAIN_BATCH);

	if (!drain->orders.all)
		return !list_empty(live);
	(void)sweep_draining(previews, drain, now, over, batch);
	return !list_empty(live) || !list_empty(previews);
}

void
dial_resume(struct lane *l)
{
	LIST_EACH(it, &l->dialing) {
		struct dial *d = list_entry(it, struct dial, link);

		if (dial_ops(d)->io(d) == NULL && !d->pausing)
			dial_next(d);
		if (l->worker->starved)
			return;
	}
}

void
dial_tick(struct lane *l)
{
	LIST_EACH(it, &l->dialing) {
		struct dial *d = list_entry(it, struct dial, link);

		if (l->worker->now - d->born >= ASK_AFTER && dial_ops(d)->gone(d))
			dial_ops(d)->end(d, END_CLIENT_GONE);
	}
}

void
dial_end_all(struct link *list, enum ending ending)
{
	LIST_EACH(it, list) {
		struct dial *d = list_entry(it, struct dial, link);

		dial_ops(d)->end(d, ending);
	}
}
