/* peer.c - the other generation of teald as an engine: what it is told, what it
 * answers, and its end.  Thread: main. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "control/engines.h"
#include "control/flip.h"
#include "control/nodes.h"
#include "control/peer_private.h"
#include "control/publish.h"
#include "control/reload.h"
#include "store/store_successor.h"

/* Between two looks at what has changed, seconds. */
#define TICK 0.05
/* Ticks between two accounts of backends, and of everything. */
#define BACKENDS_EVERY 4
#define TALLIES_EVERY 20
/* A holder in a message takes at most so much. */
#define HOLDER_ROOM 512
#define HOLDERS_MAX 100000

/* -- finding -------------------------------------------------------------------- */

struct service_ctl *
peer_ctl(const struct peer *p, const struct peer_service *ps)
{
	const struct control *c = p->control;
	size_t i = control_from(c, ps->serial);

	return i < c->n && c->services[i]->serial == ps->serial ? c->services[i] : NULL;
}

static int
by_name(const void *a, const void *b)
{
	const struct peer_service *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

void
peer_sort(struct peer *p)
{
	free(p->by_name);
	p->by_name = must_array(p->n + 1, sizeof(struct peer_service *));
	for (size_t i = 0; i < p->n; i++)
		p->by_name[i] = &p->services[i];
	qsort(p->by_name, p->n, sizeof(struct peer_service *), by_name);
}

struct peer_service *
peer_find(const struct peer *p, struct str name)
{
	struct peer_service key, *it = &key, **found;

	if (memchr(name.p, '\0', name.n) != NULL || !str_copy(key.name, sizeof(key.name), name) || p->n == 0)
		return NULL;
	found = bsearch(&it, p->by_name, p->n, sizeof(struct peer_service *), by_name);
	return found != NULL ? *found : NULL;
}

struct peer_service *
peer_find_by_service(const struct peer *p, const struct service *s)
{
	size_t low = 0, high = p->n;
	uint64_t serial = s->ctl->serial;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (p->services[middle].serial < serial)
			low = middle + 1;
		else
			high = middle;
	}
	return low < p->n && p->services[low].serial == serial ? &p->services[low] : NULL;
}

static struct peer *
peer_of_engine(const struct engine *e)
{
	return (struct peer *)((uintptr_t)e - offsetof(struct peer, engine));
}

/* -- sending ----------------------------------------------------------------------- */

void
peer_row(struct buf *b)
{
	buf_init(b, 4 * PEER_MESSAGE_MAX);
}

void
peer_say(struct peer *p, enum peer_type type, struct buf *row)
{
	if (!row->failed)
		p->send(p->send_arg, type, row);
	buf_free(row);
}

static void
row_of(struct buf *b, const struct peer_service *ps)
{
	peer_row(b);
	peer_put_str(b, PEER_T_SERVICE, ps->name);
}

/* -- who holds a color ---------------------------------------------------------------- */

static void
peer_holders(struct engine *e, struct service *s, enum color color, unsigned max, holders_fn *done, void *arg)
{
	static const struct holders none;
	struct peer *p = peer_of_engine(e);
	struct peer_service *ps = peer_find_by_service(p, s);
	struct peer_question *q;
	struct buf b;

	if (!p->active || ps == NULL) {
		done(arg, &none);
		return;
	}
	q = must_alloc(sizeof(*q));
	*q = (struct peer_question){ .number = ++p->last_question, .done = done, .arg = arg };
	list_init(&q->link);
	list_append(&p->questions, &q->link);
	row_of(&b, ps);
	peer_put_str(&b, PEER_T_COLOR, color_word(color));
	tlv_u64(&b, PEER_T_QUESTION, q->number);
	tlv_u64(&b, PEER_T_MOST, max);
	peer_say(p, PEER_WHO, &b);
}

static void
answer_holders(struct peer_question *q)
{
	list_remove(&q->link);
	q->done(q->arg, &q->all);
	free(q->all.list);
	free(q);
}

static void
take_holder(struct peer_question *q, struct str row)
{
	struct holder h = {
		.age = peer_double(row, PEER_T_AGE),
		.idle = peer_double(row, PEER_T_IDLE_FOR),
		.bytes_in = peer_u64(row, PEER_T_BYTES_IN),
		.bytes_out = peer_u64(row, PEER_T_BYTES_OUT),
	};
	char client[ADDR_TEXT];
	struct why why;

	if (!str_copy(client, sizeof(client), peer_str(row, PEER_T_CLIENT)) ||
	    addr_parse(client, 0, &h.client, &why) != OK)
		return;
	str_copy(h.backend, sizeof(h.backend), peer_str(row, PEER_T_ADDRESS));
	q->all.list = must_grow(q->all.list, q->all.n + 1, sizeof(h));
	q->all.list[q->all.n++] = h;
}

static void
take_holders(struct peer *p, struct str row)
{
	uint64_t number = peer_u64(row, PEER_T_QUESTION);
	struct str rest = row, one;

	LIST_EACH(l, &p->questions) {
		struct peer_question *q = list_entry(l, struct peer_question, link);

		if (q->number != number)
			continue;
		while (q->all.n < HOLDERS_MAX && peer_each(&rest, PEER_T_HOLDER, &one))
			take_holder(q, one);
		q->all.truncated |= peer_u64(row, PEER_T_TRUNCATED) != 0;
		if (peer_u64(row, PEER_T_LAST) != 0)
			answer_holders(q);
		return;
	}
}

/* The other one's question, while our engines look for the answer. */
struct asked {
	struct control *control;
	struct peer *peer;	/* it may be another one by then */
	uint64_t number;
};

static void
put_holder(struct buf *b, const struct holder *h)
{
	char client[ADDR_TEXT];
	size_t row = tlv_open(b, PEER_T_HOLDER);

	peer_put_str(b, PEER_T_CLIENT, addr_format(&h->client, client));
	peer_put_str(b, PEER_T_ADDRESS, h->backend);
	tlv_double(b, PEER_T_AGE, h->age);
	tlv_double(b, PEER_T_IDLE_FOR, h->idle);
	tlv_u64(b, PEER_T_BYTES_IN, h->bytes_in);
	tlv_u64(b, PEER_T_BYTES_OUT, h->bytes_out);
	tlv_close(b, row);
}

static void
asked_on_holders(void *arg, const struct holders *holders)
{
	struct asked *a = arg;
	struct peer *p = a->control->peer;
	size_t i = 0;

	do {
		struct buf b;

		if (p == NULL || p != a->peer || !p->active)
			break;
		peer_row(&b);
		tlv_u64(&b, PEER_T_QUESTION, a->number);
		while (i < holders->n && buf_len(&b) + HOLDER_ROOM < PEER_MESSAGE_MAX)
			put_holder(&b, &holders->list[i++]);
		tlv_u64(&b, PEER_T_TRUNCATED, holders->truncated);
		tlv_u64(&b, PEER_T_LAST, i == holders->n);
		peer_say(p, PEER_HOLDERS, &b);
	} while (i < holders->n);
	free(a);
}

static void
take_who(struct peer *p, struct str row)
{
	struct peer_service *ps = peer_find(p, peer_str(row, PEER_T_SERVICE));
	struct service_ctl *ctl = ps != NULL ? peer_ctl(p, ps) : NULL;
	uint64_t most = peer_u64(row, PEER_T_MOST);
	static const struct holders none;
	struct asked *a = must_alloc(sizeof(*a));
	enum color color;

	*a = (struct asked){ p->control, p, peer_u64(row, PEER_T_QUESTION) };
	if (ctl == NULL || !peer_color(row, &color) || most == 0)
		asked_on_holders(a, &none);
	else
		engines_holders_but(ctl, &p->engine, color, most < HOLDERS_MAX ? (unsigned)most : HOLDERS_MAX,
				    asked_on_holders, a);
}

/* -- the predecessor, as an engine of the successor ------------------------------------ */

static void
predecessor_publish(struct engine *e, struct service *s, struct snapshot **snapshot)
{
	struct peer *p = peer_of_engine(e);
	struct peer_service *ps = peer_find_by_service(p, s);
	struct buf b;

	if (p->active && ps != NULL) {
		row_of(&b, ps);
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
	row_of(&b, ps);
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
static const struct engine predecessor = {
	.class = &predecessor_class,
	.n_threads = 1,
	.publish = predecessor_publish,
	.drain = predecessor_drain,
	.holders = peer_holders,
	.count = predecessor_count,
};

static void
take_acked(struct peer *p, struct str row)
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

static void
answer_ask(struct peer *p, struct str row)
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

/* -- the successor, as an engine of the predecessor ------------------------------------- */

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
	row_of(&b, ps);
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
static const struct engine successor = {
	.class = &successor_class,
	.n_threads = 1,
	.publish = successor_publish,
	.drain = successor_drain,
	.holders = peer_holders,
	.count = successor_count,
};

static void
take_counts(struct peer *p, struct str row)
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
	row_of(&b, ps);
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

static void
take_record(struct peer *p, struct str row)
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

static void
take_drain(struct peer *p, struct str row)
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

static void
take_shared(struct peer *p, struct str row)
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

/* -- accounts ------------------------------------------------------------------------ */

/* Only what is not as it was told last. */
static void
tell_tally(struct peer *p, struct peer_service *ps, const struct service *s, bool brief)
{
	uint64_t *told = brief ? &ps->told_brief : &ps->told_tally, hash;
	struct buf b;

	row_of(&b, ps);
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

static void
tell_accounts(struct peer *p, bool backends, bool tallies)
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

static void
peer_on_tick(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct peer *p = container_of(t, struct peer, tick);

	(void)loop;
	(void)revents;
	p->ticks++;
	tell_accounts(p, p->ticks % BACKENDS_EVERY == 0, p->ticks % TALLIES_EVERY == 0);
}

void
peer_say_goodbye(struct peer *p)
{
	if (p->active && p->other == PEER_IS_SUCCESSOR)
		tell_accounts(p, true, true);
}

uint64_t
peer_left(const struct peer *p)
{
	const struct control *c = p->control;
	uint64_t sum = 0;

	for (size_t i = 0; i < c->n_engines; i++)
		if (c->engines[i]->left != NULL)
			sum += c->engines[i]->left(c->engines[i]);
	return sum;
}

void
peer_on_nodes(struct peer *p, const char *pool, const struct overlay *now)
{
	if (p != NULL && p->active && p->other == PEER_IS_PREDECESSOR)
		peer_send_nodes(p, PEER_NODES, pool, now);
}

/* -- messages ------------------------------------------------------------------------- */

static void
keep_message(struct peer *p, unsigned type, struct str row)
{
	char *copy = must_alloc(row.n + 1);

	memcpy(copy, row.p, row.n);
	p->messages = must_grow(p->messages, p->n_messages + 1, sizeof(*p->messages));
	p->messages[p->n_messages++] = (struct peer_message){ type, { copy, row.n } };
}

static void
forget_messages(struct peer *p)
{
	for (size_t i = 0; i < p->n_messages; i++)
		free((void *)(uintptr_t)p->messages[i].row.p);
	free(p->messages);
	p->messages = NULL;
	p->n_messages = 0;
}

static void
from_predecessor(struct peer *p, unsigned type, struct str row)
{
	if (!p->active) {
		if ((type >= PEER_STATE_PROCESS && type <= PEER_STATE_EVENT) || type == PEER_TALLY_PROCESS)
			keep_message(p, type, row);
		return;
	}
	switch (type) {
	case PEER_ACKED:
		take_acked(p, row);
		break;
	case PEER_TALLY:
		peer_take_account(p, row);
		break;
	case PEER_TALLY_BACKENDS:
		peer_take_backends(p, row, false);
		break;
	case PEER_TALLY_PROCESS:
		peer_take_process(p->control, row);
		peer_take_clients(p, row);
		break;
	case PEER_ASK:
		answer_ask(p, row);
		break;
	case PEER_REFRESH:
		peer_answer_fleet(p, row);
		break;
	default:
		break;
	}
}

static void
from_successor(struct peer *p, unsigned type, struct str row)
{
	switch (type) {
	case PEER_SERVICES:
		take_shared(p, row);
		break;
	case PEER_NODES:
		peer_take_nodes(p, row);
		break;
	case PEER_RECORD:
		take_record(p, row);
		break;
	case PEER_DRAIN:
		take_drain(p, row);
		break;
	case PEER_COUNTS:
		take_counts(p, row);
		break;
	case PEER_FLEET:
		peer_take_fleet(p, row);
		break;
	default:
		break;
	}
}

void
peer_on_message(struct peer *p, unsigned type, struct str row)
{
	if (p->active && type == PEER_WHO)
		take_who(p, row);
	else if (p->active && type == PEER_HOLDERS)
		take_holders(p, row);
	else if (p->other == PEER_IS_PREDECESSOR)
		from_predecessor(p, type, row);
	else if (p->active)
		from_successor(p, type, row);
}

/* -- life ------------------------------------------------------------------------------- */

bool
peer_is_settled(const struct control *c, const char **why)
{
	*why = NULL;
	for (size_t i = 0; i < c->n; i++) {
		const struct service_ctl *ctl = c->services[i];

		if (!list_empty(&ctl->flips) || !list_empty(&ctl->healing))
			*why = "a flip is under way";
		else if (ctl->rollout.state == ROLLOUT_PUBLISHED && ctl->rollout.flipped)
			*why = "a flip is not applied yet";
	}
	if (nodes_are_changing(c->nodes))
		*why = "a change of nodes is under way";
	else if (!reload_is_idle(c->reloads))
		*why = "a reload is under way";
	return *why == NULL;
}

void
peer_join(struct peer *p, struct peer_service *ps, struct service_ctl *ctl)
{
	ps->joined = true;
	engines_join(ctl, &p->engine);
}

void
peer_yield(struct peer *p)
{
	struct control *c = p->control;

	CHECK(p->other == PEER_IS_SUCCESSOR && !p->active);
	p->active = c->yielded = c->bus.quiet = true;
	nodes_watch_end(c->nodes, false);
	p->services = must_array(c->n + 1, sizeof(*p->services));
	p->n = c->n;
	for (size_t i = 0; i < p->n; i++) {
		struct service_ctl *ctl = c->services[i];
		struct peer_service *ps = &p->services[i];

		ps->serial = ctl->serial;
		ps->refuse = c->stale;
		str_copy(ps->name, sizeof(ps->name), str_from(ctl->service->config->name));
		if (!ctl_is_published(ctl))
			continue;
		peer_join(p, ps, ctl);
		p->engine.on_acked(p->engine.arg, &p->engine, ctl->service, 0, ctl->service->generation);
	}
	peer_sort(p);
	store_successor_hear(c->store, peer_ask_fleet, p);
	peer_write_state(p);
	ev_timer_set(&p->tick, TICK, TICK);
	ev_timer_start(c->loop, &p->tick);
}

static void
tell_services(struct peer *p)
{
	struct buf b;

	peer_row(&b);
	for (size_t i = 0; i < p->n; i++) {
		peer_put_str(&b, PEER_T_SERVICE, p->services[i].name);
		if (buf_len(&b) < PEER_MESSAGE_MAX - HOLDER_ROOM)
			continue;
		peer_say(p, PEER_SERVICES, &b);
		peer_row(&b);
	}
	tlv_u64(&b, PEER_T_LAST, 1);
	peer_say(p, PEER_SERVICES, &b);
}

void
peer_begin(struct peer *p)
{
	struct control *c = p->control;

	CHECK(p->other == PEER_IS_PREDECESSOR && !p->active && !c->begun);
	peer_take_state(p);
	forget_messages(p);
	p->active = true;
	/* What was too old there is so here. */
	if (c->store->fleet != NULL)
		control_look_at_age(c);
	tell_services(p);
	/* As if the store had been read: the first snapshots go out. */
	control_know_colorless(c);
	for (size_t i = 0; i < p->n; i++) {
		struct peer_service *ps = &p->services[i];
		struct service_ctl *ctl = peer_ctl(p, ps);

		if (ctl != NULL && ps->record != NULL)
			c->store->on_record(c->store->arg, ctl->service->config->name, ps->record);
		free(ps->record);
		ps->record = NULL;
	}
}

static void
leave_peer(struct peer *p, struct peer_service *ps)
{
	struct service_ctl *ctl = peer_ctl(p, ps);
	struct service *s = ctl != NULL ? ctl->service : NULL;

	for (size_t i = 0; i < ps->n_backends; i++) {
		struct peer_backend *b = &ps->backends[i];

		peer_add_difference(&b->backend->connections, &b->connections, 0);
		backend_unref(&b->backend);
	}
	free(ps->backends);
	free(ps->record);
	ps->backends = NULL;
	ps->n_backends = 0;
	ps->record = NULL;
	if (s == NULL)
		return;
	for (int e = 0; p->other == PEER_IS_PREDECESSOR && e < ENTRANCES; e++)
		for (int c = 0; c < COLORS; c++)
			atomic_store_explicit(&s->inherited->colors[e][c].active, 0, memory_order_relaxed);
	peer_add_difference(&s->admission.held, &ps->held, 0);
	peer_add_difference(&s->queue.held, &ps->queued, 0);
	if (ps->joined && engines_leave(ctl, &p->engine))
		control_on_progress(ctl);
	ps->joined = false;
}

void
peer_gone(struct peer *p)
{
	ev_timer_stop(p->control->loop, &p->tick);
	if (p->active && p->other == PEER_IS_SUCCESSOR)
		store_successor_hear(p->control->store, NULL, NULL);
	fleet_free(&p->fleet);
	p->active = false;
	forget_messages(p);
	LIST_EACH(l, &p->questions) {
		struct peer_question *q = list_entry(l, struct peer_question, link);

		/* What it would have said is not known. */
		q->all.truncated |= q->all.n > 0;
		answer_holders(q);
	}
	for (size_t i = 0; i < p->n; i++)
		leave_peer(p, &p->services[i]);
	peer_drop_clients(p);
	p->n = 0;
}

struct peer *
peer_new(struct control *c, enum peer_role other, peer_send_fn *send, void *arg)
{
	struct peer *p = must_alloc(sizeof(*p));

	CHECK(c->peer == NULL);
	*p = (struct peer){ .engine = other == PEER_IS_PREDECESSOR ? predecessor : successor,
			    .control = c,
			    .other = other,
			    .send = send,
			    .send_arg = arg };
	list_init(&p->questions);
	ev_timer_init(&p->tick, peer_on_tick, TICK, TICK);
	control_hear_engine(c, &p->engine);
	c->peer = p;
	return p;
}

void
peer_free(struct peer **pp)
{
	struct peer *p = *pp;

	*pp = NULL;
	if (p == NULL)
		return;
	peer_gone(p);
	p->control->peer = NULL;
	overlay_free(&p->overlay);
	free(p->services);
	free(p->by_name);
	free(p->shared);
	free(p);
}
