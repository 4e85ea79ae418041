/* handshake_handover.c - a connection that has yet to say who or whose it is, on its way to another
 * process.  What it has said lies in the kernel, but for a part of a PROXY header; TLS that has
 * begun stays.  Thread: owning worker. */
#include <stdlib.h>
#include <string.h>

#include "data/handover.h"
#include "data/handshake_private.h"
#include "data/proxy_protocol_session.h"
#include "proto/proxy_protocol.h"

/* Of the fields: what is absent is 0 or none. */
enum {
	TAG_LISTENER = 1,	/* its address */
	TAG_STAGE,	/* 0: the PROXY header comes, 1: the ClientHello */
	TAG_PERMIT,	/* handover_pack_permit() */
	TAG_ACCEPTED,	/* CLOCK_MONOTONIC, as is the other */
	TAG_TOUCHED,
	TAG_PEER,	/* struct endpoint: there was a PROXY header */
	TAG_DESTINATION,	/* the same */
	TAG_PART,	/* of a PROXY header */
};

static struct handshake *
handshake_in(struct link *object)
{
	struct handshake *hs = list_entry(object, struct handshake, link);

	CHECK(hs->magic == HANDSHAKE_MAGIC);
	return hs;
}

/* -- the old process ----------------------------------------------------------- */

static struct link *
handshake_list(struct lane *l, unsigned i)
{
	return i == 0 ? &l->handshaking : NULL;
}

static bool
handshake_may(struct link *object)
{
	const struct handshake *hs = handshake_in(object);

	return !hs->kept && (hs->stage == HANDSHAKE_PROXY || hs->stage == HANDSHAKE_HELLO);
}

/* The other process does not know that the socket was told how much is worth waking us for. */
static void
handshake_freeze(struct link *object)
{
	struct handshake *hs = handshake_in(object);
	int one = 1;

	if (hs->slow)
		(void)setsockopt(io_fd(&hs->io), SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
	hs->slow = false;
	hs->wanted = 0;
	io_want(hs->listener->worker->loop, &hs->io, 0);
	deadline_disarm(&hs->deadline);
	deadline_disarm(&hs->again);
	list_remove(object);
}

static bool
handshake_pack(struct link *object, struct buf *b, struct handover_fds *fds)
{
	const struct handshake *hs = handshake_in(object);
	char address[ADDR_TEXT];

	tlv_str(b, TAG_LISTENER, str_from(addr_format(&hs->listener->binding->addr, address)));
	tlv_u64(b, TAG_STAGE, hs->stage == HANDSHAKE_HELLO);
	handover_pack_permit(b, TAG_PERMIT, &hs->facts.permit);
	tlv_double(b, TAG_ACCEPTED, hs->facts.accepted);
	tlv_double(b, TAG_TOUCHED, hs->deadline.touched);
	if (hs->facts.proxy_header) {
		tlv_bytes(b, TAG_PEER, &hs->facts.peer, sizeof(hs->facts.peer));
		tlv_bytes(b, TAG_DESTINATION, &hs->facts.destination, sizeof(hs->facts.destination));
	}
	if (hs->n_part > 0)
		tlv_bytes(b, TAG_PART, hs->part, hs->n_part);
	fds->fd[fds->n++] = io_fd(&hs->io);
	return true;
}

static void
handshake_gone(struct link *object)
{
	struct handshake *hs = handshake_in(object);

	handover_forget(hs->listener->worker, &hs->io);
	handshake_uncount(hs);
	permit_give_up(&hs->facts.permit);
	handshake_free(hs);
}

static struct lane *
handshake_lane_of(struct link *object)
{
	return handshake_in(object)->facts.permit.lane;
}

static void
handshake_resume(struct link *object, bool kept)
{
	struct handshake *hs = handshake_in(object);
	struct lane *l = hs->facts.permit.lane;

	hs->kept |= kept;
	if (l->stopping)
		for (int c = 0; c < COLORS; c++)
			lane_drain_late(l, (enum color)c);
	handshake_go_on(hs);
}

/* -- the new process --------------------------------------------------------------- */

struct handshake_parcel {
	char listener[ADDR_TEXT];
	struct permit permit;	/* what it held */
	struct endpoint peer, destination;
	uint64_t hello;
	double accepted, touched;
	bool proxy_header;
	struct str part;
};

static const struct handover_field handshake_fields[] = {
	HANDOVER_FIELD(handshake_parcel, TAG_LISTENER, ADDRESS, listener),
	HANDOVER_FIELD(handshake_parcel, TAG_STAGE, NUMBER, hello),
	HANDOVER_FIELD(handshake_parcel, TAG_PERMIT, PERMIT, permit),
	HANDOVER_FIELD(handshake_parcel, TAG_ACCEPTED, SECONDS, accepted),
	HANDOVER_FIELD(handshake_parcel, TAG_TOUCHED, SECONDS, touched),
	HANDOVER_FIELD(handshake_parcel, TAG_PEER, ENDPOINT, peer),
	HANDOVER_FIELD(handshake_parcel, TAG_PEER, PRESENT, proxy_header),
	HANDOVER_FIELD(handshake_parcel, TAG_DESTINATION, ENDPOINT, destination),
	HANDOVER_FIELD(handshake_parcel, TAG_PART, TEXT, part),
};

static bool
read_handshake_parcel(struct str row, struct handshake_parcel *p)
{
	*p = (struct handshake_parcel){ .part = STR("") };
	return handover_read_fields(row, handshake_fields, ARRAY_LEN(handshake_fields), p) && p->permit.client.family != 0;
}

/* The listener there that expects the same of its clients. */
static struct listener *
listener_for(struct worker *w, const struct handshake_parcel *p)
{
	enum entrance entrance = p->permit.preview ? ENTRANCE_PREVIEW : ENTRANCE_MAIN;
	struct listener *li;
	struct addr at;
	struct why why;

	if (addr_parse(p->listener, ADDR_PORT_0, &at, &why) != OK || (li = handover_listener(w, &at, entrance)) == NULL)
		return NULL;
	return (p->hello ? handshake_looks_at_hello(li) : proxy_protocol_is_on(li->lane)) ? li : NULL;
}

static bool
unpack_part(struct handshake *hs, struct str part)
{
	if (part.n == 0)
		return true;
	if ((hs->part = malloc(part.n)) == NULL)
		return false;
	memcpy(hs->part, part.p, part.n);
	hs->n_part = part.n;
	return true;
}

static struct link *
handshake_unpack(struct worker *w, struct str fields, struct handover_fds *fds, enum handover_no *no)
{
	struct handshake_parcel p;
	struct handshake *hs;
	struct listener *li;

	*no = HANDOVER_NOT;
	if (!read_handshake_parcel(fields, &p) || fds->n < 1 || p.part.n >= PROXY_V2_MAX || (li = listener_for(w, &p)) == NULL ||
	    (p.permit.queued && !queue_is_on(li->lane)))
		return NULL;
	*no = HANDOVER_LATER;
	if (li->lane->snapshot == NULL || (hs = handshake_alloc(li)) == NULL)
		return NULL;
	hs->stage = p.hello ? HANDSHAKE_HELLO : HANDSHAKE_PROXY;
	hs->facts = (struct handshake_facts){
		.permit = p.permit,
		.accepted = p.accepted,
		.proxy_header = p.proxy_header,
		.peer = p.peer,
		.destination = p.destination,
	};
	hs->facts.permit.lane = li->lane;
	hs->facts.permit.listener = li->slot & (PERMIT_LISTENERS - 1);
	hs->deadline.touched = p.touched;
	if (!permit_adopt(&hs->facts.permit, 1) || !unpack_part(hs, p.part)) {
		permit_give_up(&hs->facts.permit);
		handshake_free(hs);
		return NULL;
	}
	handshake_count(hs);
	list_remove(&hs->link);
	ev_io_set(&hs->io.watcher, handover_take_fd(fds, 0), 0);
	return &hs->link;
}

const struct handover_kind handshake_handover = {
	.id = HANDOVER_HANDSHAKE,
	.list = handshake_list,
	.may = handshake_may,
	.freeze = handshake_freeze,
	.pack = handshake_pack,
	.resume = handshake_resume,
	.gone = handshake_gone,
	.lane = handshake_lane_of,
	.unpack = handshake_unpack,
};
