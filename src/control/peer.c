/* peer.c - the other generation of teald as an engine: its messages, its ticks, its beginning
 * and its end.  Thread: main. */
#include <stdlib.h>
#include <string.h>

#include "control/engines.h"
#include "control/nodes.h"
#include "control/peer_private.h"
#include "control/reload.h"
#include "store/store_successor.h"

/* Between two looks at what has changed, seconds. */
#define TICK 0.05
/* Ticks between two accounts of backends, and of everything. */
#define BACKENDS_EVERY 4
#define TALLIES_EVERY 20

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

struct peer *
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

void
peer_service_row(struct buf *b, const struct peer_service *ps)
{
	peer_row(b);
	peer_put_str(b, PEER_T_SERVICE, ps->name);
}

/* -- accounts ------------------------------------------------------------------------ */

static void
peer_on_tick(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct peer *p = container_of(t, struct peer, tick);

	(void)loop;
	(void)revents;
	p->ticks++;
	peer_tell_accounts(p, p->ticks % BACKENDS_EVERY == 0, p->ticks % TALLIES_EVERY == 0);
}

void
peer_say_goodbye(struct peer *p)
{
	if (p->active && p->other == PEER_IS_SUCCESSOR)
		peer_tell_accounts(p, true, true);
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
		peer_take_acked(p, row);
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
		peer_answer_ask(p, row);
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
		peer_take_shared(p, row);
		break;
	case PEER_NODES:
		peer_take_nodes(p, row);
		break;
	case PEER_RECORD:
		peer_obey_record(p, row);
		break;
	case PEER_DRAIN:
		peer_obey_drain(p, row);
		break;
	case PEER_COUNTS:
		peer_take_counts(p, row);
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
		peer_take_who(p, row);
	else if (p->active && type == PEER_HOLDERS)
		peer_take_holders(p, row);
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
		else if (ctl->rollout.state == ROLLOUT_PUBLISHED && (ctl->rollout.flipped || ctl->rollout.shifted))
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
		if (buf_len(&b) < PEER_MESSAGE_MAX - PEER_HOLDER_ROOM)
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
		peer_answer_holders(q);
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
	*p = (struct peer){ .engine = other == PEER_IS_PREDECESSOR ? peer_predecessor : peer_successor,
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
