/* peer_fleet.c - a command that waits in the predecessor for the whole fleet asks the
 * successor, which has the store.  Thread: main. */
#include <stdlib.h>

#include "control/peer_private.h"
#include "store/store_successor.h"

/* A member of a fleet with one service takes at most so much of a message. */
#define ROOM 1024
/* A node with all that is said of it. */
#define NODE_ROOM 1280
#define MEMBERS_MAX 4096
#define OF_MEMBER_MAX 100000

/* -- in the predecessor --------------------------------------------------------- */

void
peer_ask_fleet(void *arg)
{
	struct peer *p = arg;
	struct buf b;

	fleet_free(&p->fleet);
	peer_row(&b);
	tlv_u64(&b, PEER_T_QUESTION, ++p->last_refresh);
	peer_say(p, PEER_REFRESH, &b);
}

/* One may come in several parts. */
static struct fleet_member *
heard_member(struct fleet *f, struct str row)
{
	uint64_t pid = peer_u64(row, PEER_T_PID);
	struct fleet_member *m;

	for (size_t i = 0; i < f->n; i++)
		if ((uint64_t)f->members[i].pid == pid && str_eq(peer_str(row, PEER_T_ADDRESS), f->members[i].host))
			return &f->members[i];
	if (f->n == MEMBERS_MAX)
		return NULL;
	f->members = must_grow(f->members, f->n + 1, sizeof(*f->members));
	m = &f->members[f->n++];
	*m = (struct fleet_member){ .pid = (int32_t)(pid & INT32_MAX),
				    .self = peer_u64(row, PEER_T_SELF) != 0,
				    .missing = peer_u64(row, PEER_T_MISSING) != 0 };
	str_copy(m->host, sizeof(m->host), peer_str(row, PEER_T_ADDRESS));
	return m;
}

static void
take_fleet_node(struct fleet_node *n, struct str row)
{
	struct str one;

	n->connections = peer_u64(row, PEER_T_CONNECTIONS);
	n->cut = peer_u64(row, PEER_T_CUT);
	str_copy(n->host, sizeof(n->host), peer_str(row, PEER_T_ADDRESS));
	while (n->n_services < FLEET_NODE_SERVICES && peer_each(&row, PEER_T_APPLIED, &one)) {
		str_copy(n->services[n->n_services].name, RECORD_NAME, peer_str(one, PEER_T_SERVICE));
		n->services[n->n_services++].connections = peer_u64(one, PEER_T_COUNT);
	}
}

static void
take_pools(struct fleet_member *m, struct str row)
{
	struct str rest = row, one;

	if (!peer_has(row, PEER_T_POOLS))
		return;
	fleet_pools_free(m);
	m->tells_pools = true;
	while (m->n_pools < OF_MEMBER_MAX && peer_each(&rest, PEER_T_POOL_STATE, &one)) {
		struct str nodes = one, node;
		struct fleet_pool *p;

		m->pools = must_grow(m->pools, m->n_pools + 1, sizeof(*m->pools));
		p = &m->pools[m->n_pools++];
		*p = (struct fleet_pool){ .applied = peer_u64(one, PEER_T_VERSION),
					  .refused = peer_u64(one, PEER_T_FORCED) != 0,
					  .more = peer_u64(one, PEER_T_TRUNCATED) != 0 };
		str_copy(p->name, sizeof(p->name), peer_str(one, PEER_T_POOL));
		while (p->n < FLEET_POOL_NODES && peer_each(&nodes, PEER_T_NODE, &node)) {
			p->nodes = must_grow(p->nodes, p->n + 1, sizeof(*p->nodes));
			p->nodes[p->n] = (struct fleet_node){ .n_services = 0 };
			take_fleet_node(&p->nodes[p->n++], node);
		}
	}
}

static void
take_member(struct peer *p, struct str row)
{
	struct fleet_member *m = heard_member(&p->fleet, row);
	struct str one;

	if (m != NULL)
		take_pools(m, row);
	while (m != NULL && m->n < OF_MEMBER_MAX && peer_each(&row, PEER_T_APPLIED, &one)) {
		struct fleet_service *s;

		if (peer_find(p, peer_str(one, PEER_T_SERVICE)) == NULL)
			continue;
		m->services = must_grow(m->services, m->n + 1, sizeof(*m->services));
		s = &m->services[m->n++];
		*s = (struct fleet_service){ .applied = peer_u64(one, PEER_T_EPOCH),
					     .holding = (unsigned)peer_u64(one, PEER_T_COUNT),
					     .cut = peer_u64(one, PEER_T_CUT) };
		str_copy(s->name, sizeof(s->name), peer_str(one, PEER_T_SERVICE));
	}
}

void
peer_take_fleet(struct peer *p, struct str row)
{
	struct str rest = row, one;

	/* The question has been given up. */
	if (peer_u64(row, PEER_T_QUESTION) != p->last_refresh || p->control->store->fleet == NULL)
		return;
	while (peer_each(&rest, PEER_T_MEMBER, &one))
		take_member(p, one);
	if (peer_u64(row, PEER_T_LAST) != 0)
		store_successor_read(p->control->store, str_eq(peer_str(row, PEER_T_WORD), err_word(OK)) ? OK : E_STORE,
				     &p->fleet);
}

/* -- in the successor -------------------------------------------------------------- */

struct asked_fleet {
	struct control *control;
	struct peer *peer;	/* it may be another one by then */
	uint64_t number;
};

static void
begin_part(struct buf *b, const struct asked_fleet *a, enum err e)
{
	peer_row(b);
	tlv_u64(b, PEER_T_QUESTION, a->number);
	peer_put_str(b, PEER_T_WORD, err_word(e));
}

static void
put_applied(struct buf *b, struct peer *p, const struct fleet_service *f)
{
	struct service_ctl *ctl = control_find(p->control, str_from(f->name));
	struct peer_service *ps = ctl != NULL ? peer_find_by_service(p, ctl->service) : NULL;
	size_t row;

	if (ps == NULL)
		return;
	row = tlv_open(b, PEER_T_APPLIED);
	peer_put_str(b, PEER_T_SERVICE, ps->name);
	tlv_u64(b, PEER_T_EPOCH, f->applied);
	tlv_u64(b, PEER_T_COUNT, f->holding);
	tlv_u64(b, PEER_T_CUT, f->cut);
	tlv_close(b, row);
}

static void
put_fleet_node(struct buf *b, const struct fleet_node *n)
{
	size_t row = tlv_open(b, PEER_T_NODE);

	peer_put_str(b, PEER_T_ADDRESS, n->host);
	tlv_u64(b, PEER_T_CONNECTIONS, n->connections);
	tlv_u64(b, PEER_T_CUT, n->cut);
	for (unsigned i = 0; i < n->n_services; i++) {
		size_t one = tlv_open(b, PEER_T_APPLIED);

		peer_put_str(b, PEER_T_SERVICE, n->services[i].name);
		tlv_u64(b, PEER_T_COUNT, n->services[i].connections);
		tlv_close(b, one);
	}
	tlv_close(b, row);
}

/* All of them, or nothing: then nothing is known of that member's nodes. */
static void
put_pools(struct buf *b, const struct fleet_member *m)
{
	size_t room = ROOM;

	for (size_t i = 0; i < m->n_pools; i++)
		room += NODE_ROOM * (m->pools[i].n + 1);
	if (!m->tells_pools || buf_len(b) + room > PEER_MESSAGE_MAX)
		return;
	tlv_u64(b, PEER_T_POOLS, 1);
	for (size_t i = 0; i < m->n_pools; i++) {
		const struct fleet_pool *p = &m->pools[i];
		size_t row = tlv_open(b, PEER_T_POOL_STATE);

		peer_put_str(b, PEER_T_POOL, p->name);
		tlv_u64(b, PEER_T_VERSION, p->applied);
		tlv_u64(b, PEER_T_FORCED, p->refused);
		tlv_u64(b, PEER_T_TRUNCATED, p->more);
		for (unsigned k = 0; k < p->n; k++)
			put_fleet_node(b, &p->nodes[k]);
		tlv_close(b, row);
	}
}

/* Returns the place of the first service that had no room. */
static size_t
put_member(struct buf *b, struct peer *p, const struct fleet_member *m, size_t i)
{
	size_t row = tlv_open(b, PEER_T_MEMBER);

	peer_put_str(b, PEER_T_ADDRESS, m->host);
	tlv_u64(b, PEER_T_PID, (uint64_t)m->pid);
	tlv_u64(b, PEER_T_SELF, m->self);
	tlv_u64(b, PEER_T_MISSING, m->missing);
	if (i == 0)
		put_pools(b, m);
	while (i < m->n && buf_len(b) + ROOM < PEER_MESSAGE_MAX)
		put_applied(b, p, &m->services[i++]);
	tlv_close(b, row);
	return i;
}

static void
tell_fleet(const struct asked_fleet *a, enum err e, const struct fleet *f)
{
	struct peer *p = a->peer;
	struct buf b;

	begin_part(&b, a, e);
	for (size_t i = 0; f != NULL && i < f->n; i++)
		for (size_t k = 0, n = f->members[i].n; k <= n; k += k == n) {
			k = put_member(&b, p, &f->members[i], k);
			if (buf_len(&b) + ROOM < PEER_MESSAGE_MAX)
				continue;
			peer_say(p, PEER_FLEET, &b);
			begin_part(&b, a, e);
		}
	tlv_u64(&b, PEER_T_LAST, 1);
	peer_say(p, PEER_FLEET, &b);
}

static void
asked_on_refreshed(void *arg, enum err e, const struct why *why)
{
	struct asked_fleet *a = arg;
	struct control *c = a->control;

	(void)why;
	if (c->peer == a->peer && a->peer->active)
		tell_fleet(a, e, e == OK ? c->store->fleet(c->store) : NULL);
	free(a);
}

void
peer_answer_fleet(struct peer *p, struct str row)
{
	const struct store *store = p->control->store;
	struct asked_fleet *a = must_alloc(sizeof(*a));
	static const struct why none = { "" };

	*a = (struct asked_fleet){ p->control, p, peer_u64(row, PEER_T_QUESTION) };
	if (store->refresh == NULL || store->fleet == NULL || !p->control->begun)
		asked_on_refreshed(a, E_STORE, &none);
	else
		store->refresh(p->control->store, asked_on_refreshed, a);
}
