/* peer_notify.c - events that wait for receivers, and what was counted of those, from
 * one teald to the next.  Thread: main. */
#include <stdlib.h>
#include <string.h>

#include "control/notify.h"
#include "control/peer_private.h"

/* The words of counters, with their places. */
static const struct {
	const char *word;
	size_t at;
} counted[] = {
	{ "delivered", offsetof(struct notify_counts, delivered) },
	{ "refused", offsetof(struct notify_counts, refused) },
	{ "expired", offsetof(struct notify_counts, expired) },
	{ "dropped", offsetof(struct notify_counts, dropped) },
	{ "failed", offsetof(struct notify_counts, failed) },
};

static uint64_t *
notify_count(struct notify_counts *counts, size_t i)
{
	return (uint64_t *)(void *)((char *)counts + counted[i].at);
}

static void
send_counts(struct peer *p, struct receiver *r)
{
	struct buf b;

	peer_row(&b);
	peer_put_str(&b, PEER_T_RECEIVER, r->config->name);
	for (size_t i = 0; i < ARRAY_LEN(counted); i++) {
		size_t row = tlv_open(&b, PEER_T_COUNTER);

		peer_put_str(&b, PEER_T_WORD, counted[i].word);
		tlv_u64(&b, PEER_T_COUNT, *notify_count(&r->counts, i));
		tlv_close(&b, row);
	}
	peer_say(p, PEER_STATE_RECEIVER, &b);
}

static void
send_waiting(struct peer *p, const struct receiver *r, const struct notify_event *e)
{
	struct buf b;

	peer_row(&b);
	peer_put_str(&b, PEER_T_RECEIVER, r->config->name);
	peer_put_str(&b, PEER_T_EVENT_ID, e->id);
	peer_put_str(&b, PEER_T_EVENT, e->event);
	tlv_double(&b, PEER_T_BORN, e->born);
	tlv_str(&b, PEER_T_BODY, e->body);
	peer_say(p, PEER_STATE_EVENT, &b);
}

void
peer_send_notify(struct peer *p)
{
	struct notify *n = p->control->notify;

	notify_hold(n);
	LIST_EACH(l, &n->receivers) {
		struct receiver *r = list_entry(l, struct receiver, link);

		send_counts(p, r);
		LIST_EACH(k, &r->events)
			send_waiting(p, r, list_entry(k, struct notify_event, link));
	}
}

void
peer_take_receiver(struct peer *p, struct str row)
{
	struct receiver *r = notify_find(p->control->notify, peer_str(row, PEER_T_RECEIVER));
	struct str rest = row, one;

	while (r != NULL && peer_each(&rest, PEER_T_COUNTER, &one))
		for (size_t i = 0; i < ARRAY_LEN(counted); i++)
			if (str_eq(peer_str(one, PEER_T_WORD), counted[i].word))
				*notify_count(&r->counts, i) += peer_u64(one, PEER_T_COUNT);
}

void
peer_take_event(struct peer *p, struct str row)
{
	struct receiver *r = notify_find(p->control->notify, peer_str(row, PEER_T_RECEIVER));
	struct str body = peer_str(row, PEER_T_BODY);
	struct notify_event *e;

	/* Of a receiver that this file has no more. */
	if (r == NULL || body.n == 0 || body.n > NOTIFY_BODY_MAX)
		return;
	e = must_alloc(sizeof(*e));
	list_init(&e->link);
	e->born = peer_double(row, PEER_T_BORN);
	e->body = (struct str){ str_dup(body), body.n };
	if (e->body.p == NULL || !str_copy(e->id, sizeof(e->id), peer_str(row, PEER_T_EVENT_ID)) ||
	    !str_copy(e->event, sizeof(e->event), peer_str(row, PEER_T_EVENT)))
		notify_event_free(&e);
	else
		receiver_add(r, &e);
}
