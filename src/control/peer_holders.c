/* peer_holders.c - who holds a color, asked of the other generation and answered to it.
 * Thread: main. */
#include <stdlib.h>

#include "control/engines.h"
#include "control/peer_private.h"

#define HOLDERS_MAX 100000

void
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
	peer_service_row(&b, ps);
	peer_put_str(&b, PEER_T_COLOR, color_word(color));
	tlv_u64(&b, PEER_T_QUESTION, q->number);
	tlv_u64(&b, PEER_T_MOST, max);
	peer_say(p, PEER_WHO, &b);
}

void
peer_answer_holders(struct peer_question *q)
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

void
peer_take_holders(struct peer *p, struct str row)
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
			peer_answer_holders(q);
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
		while (i < holders->n && buf_len(&b) + PEER_HOLDER_ROOM < PEER_MESSAGE_MAX)
			put_holder(&b, &holders->list[i++]);
		tlv_u64(&b, PEER_T_TRUNCATED, holders->truncated);
		tlv_u64(&b, PEER_T_LAST, i == holders->n);
		peer_say(p, PEER_HOLDERS, &b);
	} while (i < holders->n);
	free(a);
}

void
peer_take_who(struct peer *p, struct str row)
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
