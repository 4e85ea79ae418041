/* peer_successor.c - the successor, as an engine of every service of the predecessor: what it
 * says is obeyed here, and it is told what is counted.
 * Thread: main. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "control/engines.h"
#include "control/peer_private.h"
#include "control/publish.h"
#include "control/reload.h"

/* What is published here was told by it. */
static void
successor_publish(struct engine *e, struct service *s, struct snapshot **snapshot)
{
	uint64_t generation = (*snapshot)->generation;

	snapshot_unref(snapshot);
	e->on_acked(e->arg, e, s, 0, generation);
}

/* It gives the orders. */
static void
successor_drain(struct engine *e, struct service *s, enum color color, const struct drain_orders *orders)
{
	(void)e;
	(void)s;
	(void)color;
	(void)orders;
}

static void
ask_counts(struct peer *p, struct peer_service *ps, const struct service_ctl *ctl)
{
	struct buf b;

	if (ps->asking)
		return;
	ps->asking = true;
	for (enum color color = GREEN; color <= BLUE; color++)
		ps->asked_with[color] = engines_count_but(ctl, &p->engine, color);
	peer_service_row(&b, ps);
	peer_say(p, PEER_ASK, &b);
}

/* Its connections are asked for whenever they are counted.  A 0 is believed only if it was
 * asked for when none were here: those that were may be there now. */
static uint64_t
successor_count(struct engine *e, const struct service *s, enum color color)
{
	struct peer *p = peer_of_engine(e);
	struct peer_service *ps = peer_find_by_service(p, s);
	bool moved;

	if (!p->active || ps == NULL)
		return 0;
	moved = !ps->answered || (ps->theirs[color] == 0 && ps->own[color] > 0);
	ask_counts(p, ps, s->ctl);
	return moved && engines_count_but(s->ctl, e, color) == 0 ? 1 : ps->theirs[color];
}

static const struct engine_class successor_class = { ENGINE_PROXY, .name = "successor" };
const struct engine peer_successor = {
	.class = &successor_class,
	.n_threads = 1,
	.publish = successor_publish,
	.drain = successor_drain,
	.holders = peer_holders,
	.count = successor_count,
};

void
peer_take_counts(struct peer *p, struct str row)
{
	struct peer_service *ps = peer_find(p, peer_str(row, PEER_T_SERVICE));
	struct str rest = row, one;
	enum color color;

	if (ps == NULL || !ps->asking)
		return;
	ps->asking = false;
	ps->answered = true;
	memcpy(ps->own, ps->asked_with, sizeof(ps->own));
	while (peer_each(&rest, PEER_T_SIDE, &one))
		if (peer_color(one, &color))
			ps->theirs[color] = peer_u64(one, PEER_T_ACTIVE);
}

static void
ack_if_obeyed(struct peer *p, struct peer_service *ps, const struct service_ctl *ctl)
{
	const struct service *s = ctl->service;
	struct buf b;

	if (ps->wanted == 0 || s->acked < ps->due || s->applied_epoch < s->record.epoch)
		return;
	peer_service_row(&b, ps);
	tlv_u64(&b, PEER_T_GENERATION, ps->wanted);
	ps->wanted = 0;
	peer_say(p, PEER_ACKED, &b);
}

void
peer_on_acked(struct peer *p, struct service_ctl *ctl)
{
	struct peer_service *ps;

	if (p == NULL || !p->active || p->other != PEER_IS_SUCCESSOR)
		return;
	if ((ps = peer_find_by_service(p, ctl->service)) != NULL)
		ack_if_obeyed(p, ps, ctl);
}

void
peer_obey_record(struct peer *p, struct str row)
{
	struct peer_service *ps = peer_find(p, peer_str(row, PEER_T_SERVICE));
	struct service_ctl *ctl = ps != NULL ? peer_ctl(p, ps) : NULL;
	struct control *c = p->control;
	bool refuse = peer_u64(row, PEER_T_REFUSE) != 0;
	struct record r;

	if (ctl == NULL || !ps->joined || !peer_take_record(row, &r))
		return;
	c->stale = refuse;
	c->store->on_record(c->store->arg, ctl->service->config->name, &r);
	if (refuse != ps->refuse)
		publish_now(ctl);
	ps->refuse = refuse;
	ps->wanted = peer_u64(row, PEER_T_GENERATION);
	ps->due = ctl->service->generation;
	ack_if_obeyed(p, ps, ctl);
}

void
peer_obey_drain(struct peer *p, struct str row)
{
	struct peer_service *ps = peer_find(p, peer_str(row, PEER_T_SERVICE));
	struct service_ctl *ctl = ps != NULL ? peer_ctl(p, ps) : NULL;
	struct drain_orders orders;
	enum color color;

	peer_take_orders(row, &orders);
	if (ctl != NULL && peer_color(row, &color) && (orders.all || color != ctl->service->record.color))
		engines_drain_but(ctl, &p->engine, color, &orders);
}

/* Services that the successor does not have end here. */
static void
drain_unshared(struct peer *p, struct service_ctl *ctl)
{
	const struct drain_config *d = &ctl->service->config->drain;
	const struct drain_orders orders = { .at = clock_now(),
					     .idle = d->idle,
					     .spread = d->spread,
					     .timeout = d->timeout,
					     .ending = END_DRAINED,
					     .all = true };

	for (enum color color = GREEN; color <= BLUE; color++)
		engines_drain_but(ctl, &p->engine, color, &orders);
}

static bool
is_shared(const struct peer *p, const char *name)
{
	return p->n_shared > 0 && bsearch(name, p->shared, p->n_shared, sizeof(*p->shared),
					  (int (*)(const void *, const void *))strcmp) != NULL;
}

void
peer_take_shared(struct peer *p, struct str row)
{
	struct str rest = row, one;

	while (p->n_shared < p->n && peer_each(&rest, PEER_T_SERVICE, &one)) {
		p->shared = must_grow(p->shared, p->n_shared + 1, sizeof(*p->shared));
		p->n_shared += str_copy(p->shared[p->n_shared], RECORD_NAME, one);
	}
	if (peer_u64(row, PEER_T_LAST) == 0)
		return;
	if (p->n_shared > 0)
		qsort(p->shared, p->n_shared, sizeof(*p->shared), (int (*)(const void *, const void *))strcmp);
	for (size_t i = 0; i < p->n; i++) {
		struct service_ctl *ctl = peer_ctl(p, &p->services[i]);

		if (ctl != NULL && !is_shared(p, p->services[i].name))
			drain_unshared(p, ctl);
	}
	p->n_shared = 0;
}

/* Only what is not as it was told last. */
static void
tell_tally(struct peer *p, struct peer_service *ps, const struct service *s, bool brief)
{
	uint64_t *told = brief ? &ps->told_brief : &ps->told_tally, hash;
	struct buf b;

	peer_service_row(&b, ps);
	peer_put_tally(&b, s, brief);
	hash = hash_bytes(buf_str(&b).p, buf_len(&b), 1);
	if (hash != *told) {
		*told = hash;
		/* What has ended is known before it is gone: a drain that is over says how many it cut. */
		if (brief)
			tell_tally(p, ps, s, false);
		peer_say(p, PEER_TALLY, &b);
	} else {
		buf_free(&b);
	}
}

void
peer_tell_accounts(struct peer *p, bool backends, bool tallies)
{
	for (size_t i = 0; i < p->n; i++) {
		struct peer_service *ps = &p->services[i];
		struct service_ctl *ctl = peer_ctl(p, ps);
		uint64_t hash;

		if (ctl == NULL)
			continue;
		tell_tally(p, ps, ctl->service, true);
		if (tallies)
			tell_tally(p, ps, ctl->service, false);
		if (backends && (hash = peer_backends_hash(ctl->service)) != ps->told_backends) {
			ps->told_backends = hash;
			peer_send_backends(p, ps, ctl->service, false);
		}
	}
	peer_send_clients(p);
	if (tallies)
		peer_send_process(p);
}
