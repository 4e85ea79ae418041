/* peer_fleet.c - a command that waits in the predecessor for the whole fleet asks the
 * successor, which has the store.  Thread: main. */
#include <stdlib.h>

#include "control/peer_private.h"
#include "store/store_successor.h"

/* A member of a fleet with one service takes at most so much of a message. */
#define ROOM 1024
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
take_member(struct peer *p, struct str row)
{
	struct fleet_member *m = heard_member(&p->fleet, row);
	struct str one;

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

/* Returns the place of the first service that had no room. */
static size_t
put_member(struct buf *b, struct peer *p, const struct fleet_member *m, size_t i)
{
	size_t row = tlv_open(b, PEER_T_MEMBER);

	peer_put_str(b, PEER_T_ADDRESS, m->host);
	tlv_u64(b, PEER_T_PID, (uint64_t)m->pid);
	tlv_u64(b, PEER_T_SELF, m->self);
	tlv_u64(b, PEER_T_MISSING, m->missing);
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
