/* http_conn_handover.c - a client of HTTP on its way to another process: between two requests, with
 * part of a head, or waiting for a place.  A request under way is served where it was begun, and its
 * client follows.  Thread: owning worker. */
#include "data/handover.h"
#include "data/http/http_conn.h"
#include "data/http/http_lane.h"
#include "data/http/upstream.h"

/* Of the fields: what is absent is 0 or none. */
enum {
	TAG_SERVICE = 1,	/* of its last request, or its listener's: the name */
	TAG_LISTENER,	/* its address */
	TAG_PERMIT,	/* handover_pack_permit() */
	TAG_DESTINATION,	/* struct endpoint */
	TAG_REQUESTS,
	TAG_BORN,	/* CLOCK_MONOTONIC, as are the others */
	TAG_BEGUN,
	TAG_TOUCHED,
	TAG_TIMED,	/* 1: the deadline is that of a head that began */
	TAG_BYTES,	/* read, and of no request that was begun */
	TAG_TICKET,	/* of one that waits (data/queue.h) */
	TAG_LOGIN,	/* a row of its own: enum login_tag */
	TAG_QUEUED,	/* seconds that it waited, not told yet */
};

/* Of the connection to a backend that it has logged in by: the second descriptor. */
enum login_tag { LOGIN_TAG_COLOR = 1, LOGIN_TAG_BACKEND, LOGIN_TAG_SINCE };

static struct http_conn *
conn_in(struct link *object)
{
	struct http_conn *c = list_entry(object, struct http_conn, link);

	CHECK(c->magic == HTTP_CONN_MAGIC);
	return c;
}

/* -- the old process ----------------------------------------------------------- */

/* Those who wait come first, in the order of the queue: the places of the others are not for them
 * here. */
static struct link *
conn_list(struct lane *l, unsigned i)
{
	if (l->http == NULL || i > ENTRANCES)
		return NULL;
	return i == 0 ? &l->waiting[LINE_PLACES] : &l->http->clients[i - 1];
}

static bool
conn_may(struct link *object)
{
	return http_conn_may_go(conn_in(object));
}

static struct upstream *
login_of(const struct http_conn *c)
{
	return c->stream.own != NULL && c->stream.own->bound ? c->stream.own : NULL;
}

static void
conn_freeze(struct link *object)
{
	struct http_conn *c = conn_in(object);
	struct lane *l = c->lane;

	if (c->state == HTTP_CONN_WAITING)
		queue_leave(l, &c->waiter);
	list_remove(object);
	if (list_empty(&c->deadline.link))
		c->deadline.touched = l->worker->now;
	deadline_disarm(&c->deadline);
	io_want(l->worker->loop, &c->io, 0);
	/* Else it might be closed while its descriptor is on the way. */
	if (login_of(c) != NULL)
		upstream_freeze(c->stream.own);
	c->state = HTTP_CONN_FROZEN;
}

static bool
conn_pack(struct link *object, struct buf *b, struct handover_fds *fds)
{
	const struct http_conn *c = conn_in(object);
	const struct upstream *login = login_of(c);
	char address[ADDR_TEXT];
	size_t opened;

	tlv_str(b, TAG_SERVICE, str_from(c->lane->config->name));
	tlv_str(b, TAG_LISTENER, str_from(addr_format(&c->listener->binding->addr, address)));
	handover_pack_permit(b, TAG_PERMIT, &c->permit);
	if (c->stream.destination.family != 0)
		tlv_bytes(b, TAG_DESTINATION, &c->stream.destination, sizeof(c->stream.destination));
	tlv_u64(b, TAG_REQUESTS, c->stream.requests);
	tlv_double(b, TAG_BORN, c->born);
	tlv_double(b, TAG_BEGUN, c->stream.begun);
	tlv_double(b, TAG_TOUCHED, c->deadline.touched);
	tlv_u64(b, TAG_TIMED, c->timed);
	tlv_str(b, TAG_BYTES, buf_str(&c->in));
	tlv_u64(b, TAG_TICKET, c->waiter.ticket);
	if (c->stream.queued > 0)
		tlv_double(b, TAG_QUEUED, (double)c->stream.queued);
	fds->fd[fds->n++] = io_fd(&c->io);
	if (login == NULL)
		return true;
	opened = tlv_open(b, TAG_LOGIN);
	tlv_u64(b, LOGIN_TAG_COLOR, login->backend->color);
	tlv_str(b, LOGIN_TAG_BACKEND, str_from(login->backend->text));
	tlv_double(b, LOGIN_TAG_SINCE, login->since);
	tlv_close(b, opened);
	fds->fd[fds->n++] = io_fd(&login->io);
	return true;
}

static void
conn_gone(struct link *object)
{
	struct http_conn *c = conn_in(object);
	struct worker *w = c->lane->worker;

	handover_forget(w, &c->io);
	if (login_of(c) != NULL) {
		handover_forget(w, &c->stream.own->io);
		upstream_close(c->stream.own);
	}
	permit_give_up(&c->permit);
	http_conn_release(c);
}

static struct lane *
conn_lane(struct link *object)
{
	return conn_in(object)->lane;
}

/* -- both ------------------------------------------------------------------------ */

static void
conn_resume(struct link *object, bool kept)
{
	struct http_conn *c = conn_in(object);
	struct lane *l = c->lane;
	double begun = c->stream.begun;

	CHECK(c->state == HTTP_CONN_FROZEN);
	c->stream.stays |= kept;
	c->offered = true;
	if (login_of(c) != NULL && c->stream.own->state == UPSTREAM_FROZEN)
		upstream_thaw(c->stream.own);
	if (l->stopping)
		for (int color = 0; color < COLORS; color++)
			lane_drain_late(l, (enum color)color);
	if (c->permit.queued) {
		c->state = HTTP_CONN_WAITING;
		deadline_go_on(l->http->client_queue_clock, &c->deadline);
		queue_join(l, &c->waiter, QUEUE_AGAIN);
		return;
	}
	c->state = HTTP_CONN_READING;
	list_append(&l->http->clients[c->stream.entrance], object);
	deadline_go_on(c->stream.requests == 0 || c->timed ? l->http->request_clock : l->http->keepalive_clock, &c->deadline);
	if (buf_len(&c->in) == 0) {
		io_want(l->worker->loop, &c->io, EV_READ);
		return;
	}
	http_conn_run(c);
	/* Part of a head that is read once more has not begun now. */
	if (c->state == HTTP_CONN_READING && c->head != NULL)
		c->stream.begun = begun;
}

/* -- the new process --------------------------------------------------------------- */

struct conn_parcel {
	struct str service, bytes, backend, login_row;
	char listener[ADDR_TEXT];
	struct permit permit;	/* what it held */
	struct endpoint destination;
	uint64_t requests, timed, ticket, color;
	double born, begun, touched, since, queued;
	bool login;
};

static const struct handover_field conn_fields[] = {
	HANDOVER_FIELD(conn_parcel, TAG_SERVICE, TEXT, service),
	HANDOVER_FIELD(conn_parcel, TAG_LISTENER, ADDRESS, listener),
	HANDOVER_FIELD(conn_parcel, TAG_PERMIT, PERMIT, permit),
	HANDOVER_FIELD(conn_parcel, TAG_DESTINATION, ENDPOINT, destination),
	HANDOVER_FIELD(conn_parcel, TAG_REQUESTS, NUMBER, requests),
	HANDOVER_FIELD(conn_parcel, TAG_BORN, SECONDS, born),
	HANDOVER_FIELD(conn_parcel, TAG_BEGUN, SECONDS, begun),
	HANDOVER_FIELD(conn_parcel, TAG_TOUCHED, SECONDS, touched),
	HANDOVER_FIELD(conn_parcel, TAG_TIMED, NUMBER, timed),
	HANDOVER_FIELD(conn_parcel, TAG_BYTES, TEXT, bytes),
	HANDOVER_FIELD(conn_parcel, TAG_TICKET, NUMBER, ticket),
	HANDOVER_FIELD(conn_parcel, TAG_QUEUED, SECONDS, queued),
	HANDOVER_FIELD(conn_parcel, TAG_LOGIN, TEXT, login_row),
	HANDOVER_FIELD(conn_parcel, TAG_LOGIN, PRESENT, login),
};

static const struct handover_field login_fields[] = {
	HANDOVER_FIELD(conn_parcel, LOGIN_TAG_COLOR, COLOR, color),
	HANDOVER_FIELD(conn_parcel, LOGIN_TAG_BACKEND, TEXT, backend),
	HANDOVER_FIELD(conn_parcel, LOGIN_TAG_SINCE, SECONDS, since),
};

static bool
read_conn_parcel(struct str row, struct conn_parcel *p)
{
	*p = (struct conn_parcel){ .service = STR(""), .bytes = STR(""), .backend = STR(""), .login_row = STR("") };
	return handover_read_fields(row, conn_fields, ARRAY_LEN(conn_fields), p) && p->requests <= UINT32_MAX &&
	       handover_read_fields(p->login_row, login_fields, ARRAY_LEN(login_fields), p) && p->permit.client.family != 0;
}

/* The listener there that has clients of this kind. */
static struct listener *
plain_http_listener(struct worker *w, const struct conn_parcel *p)
{
	enum entrance entrance = p->permit.preview ? ENTRANCE_PREVIEW : ENTRANCE_MAIN;
	struct listener *li;
	struct addr at;
	struct why why;

	if (addr_parse(p->listener, ADDR_PORT_0, &at, &why) != OK || (li = handover_listener(w, &at, entrance)) == NULL)
		return NULL;
	return li->lane->http != NULL && !li->tls ? li : NULL;
}

/* NULL without memory or descriptors. */
static struct http_conn *
make_conn(struct listener *li, struct lane *l, const struct conn_parcel *p, struct handover_fds *fds)
{
	struct permit permit = p->permit;
	struct http_conn *c;
	struct io io;

	permit.lane = l;
	permit.listener = li->slot & (PERMIT_LISTENERS - 1);
	if (!permit_adopt(&permit, 2))
		return NULL;
	io_init(&io, fds->fd[0], NULL);
	if ((c = http_conn_make(li, &io, &permit)) == NULL) {
		permit_give_up(&permit);
		return NULL;
	}
	(void)handover_take_fd(fds, 0);
	c->stream.keep = true;
	c->stream.requests = (uint32_t)p->requests;
	c->born = p->born;
	c->stream.begun = p->begun;
	c->stream.queued = (float)p->queued;
	c->deadline.touched = p->touched;
	c->timed = p->timed != 0;
	c->waiter.ticket = p->ticket & INT64_MAX >> 1;
	c->stream.destination = p->destination;
	if (http_conn_put_back(c, p->bytes.p, p->bytes.n))
		return c;
	conn_gone(&c->link);
	return NULL;
}

static bool
make_login(struct http_conn *c, const struct conn_parcel *p, struct handover_fds *fds)
{
	struct upstream *u = upstream_adopt(c->lane, (enum color)p->color, p->backend, fds->fd[1], p->since);

	if (u == NULL)
		return false;
	(void)handover_take_fd(fds, 1);
	u->bound = true;
	upstream_own(u, &c->stream);
	upstream_thaw(u);
	return c->stream.own != NULL;
}

static struct link *
conn_unpack(struct worker *w, struct str fields, struct handover_fds *fds, enum handover_no *no)
{
	struct conn_parcel p;
	struct listener *li;
	struct http_conn *c;
	struct lane *l;

	*no = HANDOVER_NOT;
	if (!read_conn_parcel(fields, &p) || fds->n < (p.login ? 2 : 1) || (li = plain_http_listener(w, &p)) == NULL ||
	    (l = handover_lane(w, p.service)) == NULL || l->http == NULL || (p.permit.queued && !queue_is_on(l)))
		return NULL;
	*no = HANDOVER_LATER;
	if (l->snapshot == NULL || (c = make_conn(li, l, &p, fds)) == NULL)
		return NULL;
	if (!p.login || make_login(c, &p, fds))
		return &c->link;
	/* It would have to log in again, which it cannot know: it stays where it has. */
	*no = HANDOVER_NOT;
	conn_gone(&c->link);
	return NULL;
}

const struct handover_kind http_conn_handover = {
	.id = HANDOVER_CLIENT,
	.list = conn_list,
	.may = conn_may,
	.freeze = conn_freeze,
	.pack = conn_pack,
	.resume = conn_resume,
	.gone = conn_gone,
	.lane = conn_lane,
	.unpack = conn_unpack,
};
