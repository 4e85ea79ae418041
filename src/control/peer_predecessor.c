/* peer_predecessor.c - the predecessor, as an engine of every service of the successor that
 * both have: what it is told, and what it answers.
 * Thread: main. */
#include "control/engines.h"
#include "control/peer_private.h"

static void
predecessor_publish(struct engine *e, struct service *s, struct snapshot **snapshot)
{
	struct peer *p = peer_of_engine(e);
	struct peer_service *ps = peer_find_by_service(p, s);
	struct buf b;

	if (p->active && ps != NULL) {
		peer_service_row(&b, ps);
		tlv_u64(&b, PEER_T_GENERATION, (*snapshot)->generation);
		tlv_u64(&b, PEER_T_REFUSE, control_refuses(p->control));
		peer_put_record(&b, &s->record);
		peer_say(p, PEER_RECORD, &b);
	}
	snapshot_unref(snapshot);
}

static void
predecessor_drain(struct engine *e, struct service *s, enum color color, const struct drain_orders *orders)
{
	struct peer *p = peer_of_engine(e);
	struct peer_service *ps = peer_find_by_service(p, s);
	struct buf b;

	if (!p->active || ps == NULL)
		return;
	peer_service_row(&b, ps);
	peer_put_str(&b, PEER_T_COLOR, color_word(color));
	peer_put_orders(&b, orders);
	peer_say(p, PEER_DRAIN, &b);
}

/* It says at once when it is 0; before, a connection on its way to us may be counted twice,
 * but never not at all. */
static uint64_t
predecessor_count(struct engine *e, const struct service *s, enum color color)
{
	(void)e;
	return tally_read(&s->inherited->colors[ENTRANCE_MAIN][color].active);
}

static const struct engine_class predecessor_class = { ENGINE_PROXY, .name = "predecessor" };
const struct engine peer_predecessor = {
	.class = &predecessor_class,
	.n_threads = 1,
	.publish = predecessor_publish,
	.drain = predecessor_drain,
	.holders = peer_holders,
	.count = predecessor_count,
};

void
peer_take_acked(struct peer *p, struct str row)
{
	struct peer_service *ps = peer_find(p, peer_str(row, PEER_T_SERVICE));
	struct service_ctl *ctl = ps != NULL && ps->joined ? peer_ctl(p, ps) : NULL;
	uint64_t generation = peer_u64(row, PEER_T_GENERATION);

	if (ctl != NULL && generation <= ctl->service->generation)
		p->engine.on_acked(p->engine.arg, &p->engine, ctl->service, 0, generation);
}

void
peer_add_difference(_Atomic uint32_t *ours, uint32_t *before, uint64_t now)
{
	uint32_t n = now < UINT32_MAX / 2 ? (uint32_t)now : UINT32_MAX / 2;

	/* Over the limit, too: they are here already. */
	atomic_fetch_add_explicit(ours, n - *before, memory_order_relaxed);
	*before = n;
}

void
peer_take_account(struct peer *p, struct str row)
{
	struct peer_service *ps = peer_find(p, peer_str(row, PEER_T_SERVICE));
	struct service_ctl *ctl = ps != NULL ? peer_ctl(p, ps) : NULL;

	if (ctl == NULL)
		return;
	peer_take_tally(ctl->service, row);
	peer_add_difference(&ctl->service->admission.held, &ps->held, peer_u64(row, PEER_T_HELD));
	peer_add_difference(&ctl->service->queue.held, &ps->queued, peer_u64(row, PEER_T_QUEUED));
}

/* Before our engines obey, one that finds its connections in the kernel may not have counted
 * them: there may be some. */
static uint64_t
known_count(const struct peer *p, const struct service_ctl *ctl, enum color color)
{
	uint64_t n = engines_count_but(ctl, &p->engine, color);

	return n == 0 && ctl->rollout.state < ROLLOUT_APPLIED ? 1 : n;
}

void
peer_answer_ask(struct peer *p, struct str row)
{
	struct peer_service *ps = peer_find(p, peer_str(row, PEER_T_SERVICE));
	struct service_ctl *ctl = ps != NULL ? peer_ctl(p, ps) : NULL;
	struct buf b;

	peer_row(&b);
	tlv_str(&b, PEER_T_SERVICE, peer_str(row, PEER_T_SERVICE));
	for (enum color color = GREEN; color <= BLUE; color++) {
		size_t side = tlv_open(&b, PEER_T_SIDE);

		peer_put_str(&b, PEER_T_COLOR, color_word(color));
		tlv_u64(&b, PEER_T_ACTIVE, ctl != NULL ? known_count(p, ctl, color) : 0);
		tlv_close(&b, side);
	}
	peer_say(p, PEER_COUNTS, &b);
}
