/* udp_handover.c - a flow on its way to another process, with the socket by which it reaches its backend; and the
 * word that a listening socket's flows have all gone there, before which the other process reads none of its datagrams.
 * What comes meanwhile, on either side, waits in the sockets.  Thread: owning worker. */
#include <stdlib.h>
#include <string.h>

#include "data/handover.h"
#include "data/udp/udp_flow.h"
#include "data/udp/udp_lane.h"

/* Of the fields: what is absent is 0, "" or none. */
enum {
	TAG_SERVICE = 1,	/* its name */
	TAG_COOKIE,	/* of the listening socket */
	TAG_PERMIT,	/* handover_pack_permit() */
	TAG_LOCAL,	/* struct endpoint: which of our addresses the client speaks to */
	TAG_SCOPE,
	TAG_COLOR,
	TAG_EPOCH,
	TAG_BORN,	/* CLOCK_MONOTONIC, as the next one */
	TAG_TOUCHED,
	TAG_BACKEND,	/* "10.0.0.1:53" */
	TAG_RETRIES,
	TAG_LASTING,
	TAG_FIRST_BYTE,	/* seconds; absent: there was no answer yet */
	TAG_BYTES_IN,
	TAG_BYTES_OUT,
	TAG_DATAGRAMS_IN,
	TAG_DATAGRAMS_OUT,
};

static struct udp_flow *
flow_in(struct link *object)
{
	struct udp_flow *f = list_entry(object, struct udp_flow, dial.link);

	CHECK(f->magic == UDP_FLOW_MAGIC);
	return f;
}

/* -- the old process ----------------------------------------------------------- */

static struct link *
flow_list(struct lane *l, unsigned i)
{
	struct link *const lists[] = { &l->live[WAITER_FLOW][GREEN], &l->live[WAITER_FLOW][BLUE],
				       &l->previews[WAITER_FLOW] };

	return l->udp != NULL && i < ARRAY_LEN(lists) ? lists[i] : NULL;
}

static bool
flow_may(struct link *object)
{
	const struct udp_flow *f = flow_in(object);

	return !f->kept && f->socket->yielded;
}

static void
flow_freeze(struct link *object)
{
	struct udp_flow *f = flow_in(object);

	udp_flow_unwatch(f);
	deadline_disarm(&f->dial.deadline);
	list_remove(object);
}

static bool
flow_pack(struct link *object, struct buf *b, struct handover_fds *fds)
{
	const struct udp_flow *f = flow_in(object);

	tlv_str(b, TAG_SERVICE, str_from(f->dial.lane->config->name));
	tlv_u64(b, TAG_COOKIE, f->socket->cookie);
	handover_pack_permit(b, TAG_PERMIT, &f->dial.permit);
	tlv_bytes(b, TAG_LOCAL, &f->key.local, sizeof(f->key.local));
	tlv_u64(b, TAG_SCOPE, f->key.scope);
	tlv_u64(b, TAG_COLOR, f->dial.color);
	tlv_u64(b, TAG_EPOCH, f->dial.epoch);
	tlv_double(b, TAG_BORN, f->dial.born);
	tlv_double(b, TAG_TOUCHED, f->dial.deadline.touched);
	tlv_str(b, TAG_BACKEND, str_from(f->dial.backend->text));
	tlv_u64(b, TAG_RETRIES, f->dial.retries);
	tlv_u64(b, TAG_LASTING, f->lasting);
	if (f->first_byte >= 0)
		tlv_double(b, TAG_FIRST_BYTE, (double)f->first_byte);
	tlv_u64(b, TAG_BYTES_IN, f->bytes_in);
	tlv_u64(b, TAG_BYTES_OUT, f->bytes_out);
	tlv_u64(b, TAG_DATAGRAMS_IN, f->datagrams_in);
	tlv_u64(b, TAG_DATAGRAMS_OUT, f->datagrams_out);
	fds->fd[fds->n++] = io_fd(&f->server);
	return true;
}

static void
flow_gone(struct link *object)
{
	struct udp_flow *f = flow_in(object);

	handover_forget(f->dial.lane->worker, &f->server);
	udp_flow_leave(f);
	permit_give_up(&f->dial.permit);
}

static struct lane *
flow_lane(struct link *object)
{
	return flow_in(object)->dial.lane;
}

/* -- both ------------------------------------------------------------------------ */

static void
flow_resume(struct link *object, bool kept)
{
	struct udp_flow *f = flow_in(object);
	struct lane *l = f->dial.lane;
	enum ending ending;

	f->kept |= kept;
	if (l->stopping)
		for (int c = 0; c < COLORS; c++)
			lane_drain_late(l, (enum color)c);
	list_append(dial_home(&f->dial), object);
	deadline_go_on(l->idle_clock[!f->lasting], &f->dial.deadline);
	if (dial_must_end_late(&f->dial, &ending)) {
		udp_flow_end(f, ending);
		return;
	}
	lane_drain_late(l, (enum color)f->dial.color);
	udp_flow_watch(f);
}

/* -- the new process --------------------------------------------------------------- */

/* As it came, and what it is to become. */
struct flow_parcel {
	struct str service, backend;
	struct permit permit;	/* what it held */
	struct endpoint local;
	uint64_t cookie, scope, color, epoch, retries, lasting, bytes_in, bytes_out, datagrams_in,
		datagrams_out;
	double born, touched, first_byte;
};

static const struct handover_field flow_fields[] = {
	HANDOVER_FIELD(flow_parcel, TAG_SERVICE, TEXT, service),
	HANDOVER_FIELD(flow_parcel, TAG_COOKIE, NUMBER, cookie),
	HANDOVER_FIELD(flow_parcel, TAG_PERMIT, PERMIT, permit),
	HANDOVER_FIELD(flow_parcel, TAG_LOCAL, ENDPOINT, local),
	HANDOVER_FIELD(flow_parcel, TAG_SCOPE, NUMBER, scope),
	HANDOVER_FIELD(flow_parcel, TAG_COLOR, COLOR, color),
	HANDOVER_FIELD(flow_parcel, TAG_EPOCH, NUMBER, epoch),
	HANDOVER_FIELD(flow_parcel, TAG_BORN, SECONDS, born),
	HANDOVER_FIELD(flow_parcel, TAG_TOUCHED, SECONDS, touched),
	HANDOVER_FIELD(flow_parcel, TAG_BACKEND, TEXT, backend),
	HANDOVER_FIELD(flow_parcel, TAG_RETRIES, NUMBER, retries),
	HANDOVER_FIELD(flow_parcel, TAG_LASTING, NUMBER, lasting),
	HANDOVER_FIELD(flow_parcel, TAG_FIRST_BYTE, SECONDS, first_byte),
	HANDOVER_FIELD(flow_parcel, TAG_BYTES_IN, NUMBER, bytes_in),
	HANDOVER_FIELD(flow_parcel, TAG_BYTES_OUT, NUMBER, bytes_out),
	HANDOVER_FIELD(flow_parcel, TAG_DATAGRAMS_IN, NUMBER, datagrams_in),
	HANDOVER_FIELD(flow_parcel, TAG_DATAGRAMS_OUT, NUMBER, datagrams_out),
};

static bool
read_flow_parcel(struct str fields, struct flow_parcel *p)
{
	*p = (struct flow_parcel){ .first_byte = -1, .service = STR(""), .backend = STR("") };
	return handover_read_fields(fields, flow_fields, ARRAY_LEN(flow_fields), p) && p->permit.client.family != 0 &&
	       p->backend.n > 0;
}

/* Adopted, but in no list; NULL without memory, descriptors or backend. */
static struct udp_flow *
make_flow(struct lane *l, struct udp_socket *s, const struct flow_parcel *p, const struct udp_key *key)
{
	struct admission *flows = &l->worker->proxy->flows;
	struct udp_flow *f = udp_flow_alloc(s, key, udp_socket_hash(s, key));
	struct backend *b = f != NULL ? handover_backend(l, (enum color)p->color, p->backend) : NULL;

	if (b == NULL)
		goto fail;
	f->dial.permit = p->permit;
	f->dial.permit.lane = l;
	if (!permit_adopt(&f->dial.permit, 1))
		goto fail;
	admission_adopt(flows, 1);
	dial_init(&f->dial, f->dial.permit.preview ? ENTRANCE_PREVIEW : ENTRANCE_MAIN, WAITER_FLOW);
	f->dial.color = (uint8_t)p->color;
	f->dial.epoch = p->epoch;
	f->dial.born = p->born;
	f->dial.deadline.touched = p->touched;
	f->dial.retries = (uint32_t)p->retries & 0x7fffff;
	f->dial.backend = b;
	(void)backend_enter(b, 0);
	f->lasting = p->lasting != 0;
	f->first_byte = (float)p->first_byte;
	f->bytes_in = p->bytes_in;
	f->bytes_out = p->bytes_out;
	f->datagrams_in = p->datagrams_in;
	f->datagrams_out = p->datagrams_out;
	return f;
fail:
	backend_unref(&b);
	free(f);
	return NULL;
}

static struct link *
flow_unpack(struct worker *w, struct str fields, struct handover_fds *fds, enum handover_no *no)
{
	struct udp_socket *s;
	struct flow_parcel p;
	struct udp_key key;
	struct udp_flow *f;
	struct lane *l;

	*no = HANDOVER_NOT;
	if (!read_flow_parcel(fields, &p) || fds->n < 1 || (l = handover_lane(w, p.service)) == NULL ||
	    l->udp == NULL || (s = udp_socket_find(w, p.cookie)) == NULL)
		return NULL;
	memset(&key, 0, sizeof(key));
	key.client = p.permit.client;
	key.local = p.local;
	key.scope = (uint32_t)p.scope;
	/* The wait for it was over, and its client has another one by now. */
	if (udp_socket_flow(s, &key, udp_socket_hash(s, &key)) != NULL)
		return NULL;
	*no = HANDOVER_LATER;
	if ((f = make_flow(l, s, &p, &key)) == NULL)
		return NULL;
	io_init(&f->server, handover_take_fd(fds, 0), udp_flow_on_server);
	udp_socket_add(s, f);
	dial_adopt(&f->dial);
	list_remove(&f->dial.link);
	return &f->dial.link;
}

const struct handover_kind udp_flow_handover = {
	.id = HANDOVER_FLOW,
	.list = flow_list,
	.may = flow_may,
	.freeze = flow_freeze,
	.pack = flow_pack,
	.resume = flow_resume,
	.gone = flow_gone,
	.lane = flow_lane,
	.unpack = flow_unpack,
};

/* -- the last word about a socket ------------------------------------------------------ */

static struct udp_socket *
socket_in(struct link *object)
{
	return list_entry(object, struct udp_socket, farewell);
}

static struct link *
farewell_list(struct lane *l, unsigned i)
{
	return l->udp != NULL && i == 0 ? &l->udp->farewells : NULL;
}

/* All others have been offered before; an answer is on its way that brings one back, perhaps. */
static bool
farewell_may(struct link *object)
{
	const struct udp_socket *s = socket_in(object);

	for (unsigned i = 0; flow_list(s->lane, i) != NULL; i++)
		LIST_EACH(it, flow_list(s->lane, i))
			if (flow_may(it))
				return false;
	return true;
}

static void
farewell_freeze(struct link *object)
{
	list_remove(object);
}

static bool
farewell_pack(struct link *object, struct buf *b, struct handover_fds *fds)
{
	(void)fds;
	tlv_u64(b, TAG_COOKIE, socket_in(object)->cookie);
	return true;
}

static void
farewell_resume(struct link *object, bool kept)
{
	struct udp_socket *s = socket_in(object);

	s->parting = s->yielded && !kept;
	if (!s->yielded)
		udp_socket_waits_no_more(s);
	else if (!kept)
		list_append(&s->lane->udp->farewells, object);
}

static void
farewell_gone(struct link *object)
{
	socket_in(object)->parting = false;
}

static struct lane *
farewell_lane(struct link *object)
{
	return socket_in(object)->lane;
}

static struct link *
farewell_unpack(struct worker *w, struct str fields, struct handover_fds *fds, enum handover_no *no)
{
	static const struct handover_field cookie_field = HANDOVER_FIELD(flow_parcel, TAG_COOKIE, NUMBER, cookie);
	struct flow_parcel p = { .cookie = 0 };
	struct udp_socket *s;

	(void)fds;
	*no = HANDOVER_NOT;
	if (!handover_read_fields(fields, &cookie_field, 1, &p) || (s = udp_socket_find(w, p.cookie)) == NULL)
		return NULL;
	s->parting = true;
	return &s->farewell;
}

const struct handover_kind udp_end_handover = {
	.id = HANDOVER_FLOWS_END,
	.list = farewell_list,
	.may = farewell_may,
	.freeze = farewell_freeze,
	.pack = farewell_pack,
	.resume = farewell_resume,
	.gone = farewell_gone,
	.lane = farewell_lane,
	.unpack = farewell_unpack,
};
