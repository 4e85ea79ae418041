/* session_handover.c - a session on its way to another process: one whose bytes move, or that
 * waits for a backend.  Thread: owning worker. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/handover.h"
#include "data/proxy_protocol_session.h"
#include "data/tcp/session_private.h"
#include "proto/ws_frames.h"

/* Of the fields: what is absent is 0, "" or none. */
enum {
	TAG_SERVICE = 1,	/* its name */
	TAG_LIVE,	/* 1: it has a backend, and two descriptors */
	TAG_PERMIT,	/* handover_pack_permit() */
	TAG_COLOR,
	TAG_EPOCH,
	TAG_BORN,	/* CLOCK_MONOTONIC, as are the others: it is one for both processes */
	TAG_TOUCHED,
	TAG_BACKEND,	/* "10.0.0.1:80" */
	TAG_DIALED,
	TAG_CONNECT_SECONDS,
	TAG_RETRIES,
	TAG_TRIED,	/* one for each backend that failed */
	TAG_BACKENDS_TURN,
	TAG_NAME,	/* of its ClientHello */
	TAG_TICKET,	/* of one that waits (data/queue.h) */
	TAG_PEER,	/* struct endpoint: there was a PROXY header */
	TAG_DESTINATION,	/* the same */
	TAG_UP,	/* a row of its own: enum relay_tag */
	TAG_DOWN,
	TAG_QUEUED,	/* seconds */
	TAG_FIRST_BYTE,	/* likewise; absent: the backend has said nothing yet */
	TAG_FRAMES,	/* struct ws_frames: of a WebSocket */
};

enum relay_tag {
	RELAY_TAG_BYTES = 1,
	RELAY_TAG_FLAGS,	/* bits of enum relay_flag */
	RELAY_TAG_HELD,	/* bytes */
	RELAY_TAG_PIPE,	/* how many are in the pipe whose two descriptors come next */
};

enum relay_flag { RELAY_EOF = 1, RELAY_DONE = 2, RELAY_RESET = 4, RELAY_SPLICING = 8 };

static struct session *
session_in(struct link *object)
{
	struct session *s = list_entry(object, struct session, dial.link);

	CHECK(s->magic == SESSION_MAGIC);
	return s;
}

/* -- the old process ----------------------------------------------------------- */

/* Exchanges and HTTP clients are in some of these, too.  What holds a place comes before those who
 * wait for one, in the order of the queue. */
static struct link *
session_list(struct lane *l, unsigned i)
{
	struct link *const lists[] = { &l->live[WAITER_SESSION][GREEN], &l->live[WAITER_SESSION][BLUE],
				       &l->previews[WAITER_SESSION], &l->dialing, &l->waiting[LINE_PLACES] };

	return i < ARRAY_LEN(lists) ? lists[i] : NULL;
}

static bool
session_may(struct link *object)
{
	const struct waiter *w = list_entry(object, struct waiter, link);
	const struct session *s;

	if (w->kind != WAITER_SESSION)
		return false;
	s = session_in(object);
	return !s->kept && !io_is_tls(&s->client) && (s->dial.state != DIAL_REACHED || !io_is_tls(&s->server));
}

/* A connect that is under way is given up: the other process begins its own, and its backend
 * counts no failure.  Of one that waits the slot in the queue stays its. */
static void
session_freeze(struct link *object)
{
	struct session *s = session_in(object);
	struct dial *d = &s->dial;
	struct ev_loop *loop = d->lane->worker->loop;

	switch ((enum dial_state)d->state) {
	case DIAL_WAITING:
		queue_leave(d->lane, &d->waiter);
		d->state = DIAL_NEW;
		break;
	case DIAL_DIALING:
		io_close(loop, &s->server);
		dial_unchoose(d);
		break;
	case DIAL_REACHED:
		io_want(loop, &s->server, 0);
		break;
	case DIAL_NEW:
	case DIAL_ENDED:
		CHECK(false);
	}
	io_want(loop, &s->client, 0);
	deadline_disarm(&d->deadline);
	list_remove(object);
}

static void
pack_relay(const struct relay *r, uint16_t tag, struct buf *b, struct handover_fds *fds)
{
	size_t opened = tlv_open(b, tag);

	tlv_u64(b, RELAY_TAG_BYTES, r->bytes);
	tlv_u64(b, RELAY_TAG_FLAGS, (r->eof ? RELAY_EOF : 0) | (r->done ? RELAY_DONE : 0) |
		(r->reset ? RELAY_RESET : 0) | (r->splicing ? RELAY_SPLICING : 0));
	if (r->held != NULL)
		tlv_str(b, RELAY_TAG_HELD, relay_held_bytes(r));
	if (r->pipe != NULL) {
		tlv_u64(b, RELAY_TAG_PIPE, r->pipe->held);
		fds->fd[fds->n++] = r->pipe->rd;
		fds->fd[fds->n++] = r->pipe->wr;
	}
	tlv_close(b, opened);
}

static void
pack_live(struct session *s, struct buf *b, struct handover_fds *fds)
{
	const struct tried *t = s->dial.tried;

	tlv_u64(b, TAG_LIVE, 1);
	tlv_u64(b, TAG_COLOR, s->dial.color);
	tlv_u64(b, TAG_EPOCH, s->dial.epoch);
	tlv_str(b, TAG_BACKEND, str_from(s->dial.backend->text));
	tlv_double(b, TAG_DIALED, (double)s->dial.dialed);
	tlv_double(b, TAG_CONNECT_SECONDS, (double)s->dial.connect_seconds);
	tlv_u64(b, TAG_BACKENDS_TURN, s->backends_turn);
	for (unsigned i = 0; t != NULL && i < t->n; i++)
		tlv_str(b, TAG_TRIED, str_from(t->list[i]->text));
	fds->fd[fds->n++] = io_fd(&s->server);
	pack_relay(&s->up, TAG_UP, b, fds);
	pack_relay(&s->down, TAG_DOWN, b, fds);
	if (s->frames != NULL)
		tlv_bytes(b, TAG_FRAMES, s->frames, sizeof(*s->frames));
}

static bool
session_pack(struct link *object, struct buf *b, struct handover_fds *fds)
{
	struct session *s = session_in(object);
	const struct proxy_protocol_facts *facts = proxy_protocol_of(s);

	tlv_str(b, TAG_SERVICE, str_from(s->dial.lane->config->name));
	handover_pack_permit(b, TAG_PERMIT, &s->dial.permit);
	tlv_double(b, TAG_BORN, s->dial.born);
	tlv_double(b, TAG_TOUCHED, s->dial.deadline.touched);
	tlv_u64(b, TAG_RETRIES, s->dial.retries);
	tlv_double(b, TAG_QUEUED, (double)s->dial.queued);
	if (s->first_byte >= 0)
		tlv_double(b, TAG_FIRST_BYTE, s->first_byte);
	tlv_u64(b, TAG_TICKET, s->dial.waiter.ticket);
	if (s->named)
		tlv_str(b, TAG_NAME, str_from(session_server_name(s)));
	if (facts != NULL) {
		tlv_bytes(b, TAG_PEER, &facts->peer, sizeof(facts->peer));
		tlv_bytes(b, TAG_DESTINATION, &facts->destination, sizeof(facts->destination));
	}
	fds->fd[fds->n++] = io_fd(&s->client);
	if (s->dial.state == DIAL_REACHED)
		pack_live(s, b, fds);
	return true;
}

static void
session_gone(struct link *object)
{
	struct session *s = session_in(object);
	struct worker *w = s->dial.lane->worker;

	handover_forget(w, &s->client);
	handover_forget(w, &s->server);
	relay_end(&s->up, &w->buffers);
	relay_end(&s->down, &w->buffers);
	free(s->frames);
	dial_end(&s->dial);
	permit_give_up(&s->dial.permit);
}

static struct lane *
session_lane(struct link *object)
{
	return session_in(object)->dial.lane;
}

/* -- both ------------------------------------------------------------------------ */

static void
resume_live(struct session *s)
{
	struct lane *l = s->dial.lane;
	enum ending ending;

	list_append(dial_home(&s->dial), &s->dial.link);
	deadline_go_on(l->idle_clock[s->backends_turn], &s->dial.deadline);
	if (dial_must_end_late(&s->dial, &ending)) {
		session_end(s, ending);
		return;
	}
	lane_drain_late(l, (enum color)s->dial.color);
	session_watch(s);
}

static void
session_resume(struct link *object, bool kept)
{
	struct session *s = session_in(object);
	struct dial *d = &s->dial;
	double touched = d->deadline.touched;

	s->kept |= kept;
	if (d->lane->stopping)
		for (int c = 0; c < COLORS; c++)
			lane_drain_late(d->lane, (enum color)c);
	switch ((enum dial_state)d->state) {
	case DIAL_NEW:
		dial_join(d, QUEUE_AGAIN);
		deadline_disarm(&d->deadline);
		d->deadline.touched = touched;
		deadline_go_on(d->lane->queue_clock, &d->deadline);
		return;
	case DIAL_DIALING:
		list_append(&d->lane->dialing, object);
		dial_next(d);
		return;
	case DIAL_REACHED:
		resume_live(s);
		return;
	case DIAL_WAITING:
	case DIAL_ENDED:
		CHECK(false);
	}
}

/* -- the new process --------------------------------------------------------------- */

/* As it came, and what it is to become. */
struct session_parcel {
	struct str service, backend, name, up, down, frames, tried;	/* tried: the whole row of fields */
	struct permit permit;	/* what it held */
	struct endpoint peer, destination;
	uint64_t live, ticket, color, epoch, retries, backends_turn;
	double born, touched, dialed, connect_seconds, queued, first_byte;
	bool proxy_header;
};

static const struct handover_field session_fields[] = {
	HANDOVER_FIELD(session_parcel, TAG_SERVICE, TEXT, service),
	HANDOVER_FIELD(session_parcel, TAG_LIVE, NUMBER, live),
	HANDOVER_FIELD(session_parcel, TAG_PERMIT, PERMIT, permit),
	HANDOVER_FIELD(session_parcel, TAG_COLOR, COLOR, color),
	HANDOVER_FIELD(session_parcel, TAG_EPOCH, NUMBER, epoch),
	HANDOVER_FIELD(session_parcel, TAG_BORN, SECONDS, born),
	HANDOVER_FIELD(session_parcel, TAG_TOUCHED, SECONDS, touched),
	HANDOVER_FIELD(session_parcel, TAG_BACKEND, TEXT, backend),
	HANDOVER_FIELD(session_parcel, TAG_DIALED, SECONDS, dialed),
	HANDOVER_FIELD(session_parcel, TAG_CONNECT_SECONDS, SECONDS, connect_seconds),
	HANDOVER_FIELD(session_parcel, TAG_RETRIES, NUMBER, retries),
	HANDOVER_FIELD(session_parcel, TAG_BACKENDS_TURN, NUMBER, backends_turn),
	HANDOVER_FIELD(session_parcel, TAG_NAME, TEXT, name),
	HANDOVER_FIELD(session_parcel, TAG_TICKET, NUMBER, ticket),
	HANDOVER_FIELD(session_parcel, TAG_PEER, ENDPOINT, peer),
	HANDOVER_FIELD(session_parcel, TAG_PEER, PRESENT, proxy_header),
	HANDOVER_FIELD(session_parcel, TAG_DESTINATION, ENDPOINT, destination),
	HANDOVER_FIELD(session_parcel, TAG_UP, TEXT, up),
	HANDOVER_FIELD(session_parcel, TAG_DOWN, TEXT, down),
	HANDOVER_FIELD(session_parcel, TAG_QUEUED, SECONDS, queued),
	HANDOVER_FIELD(session_parcel, TAG_FIRST_BYTE, SECONDS, first_byte),
	HANDOVER_FIELD(session_parcel, TAG_FRAMES, TEXT, frames),
};

static bool
read_session_parcel(struct str fields, struct session_parcel *p)
{
	*p = (struct session_parcel){ .first_byte = -1, .tried = fields, .service = STR(""), .backend = STR(""), .name = STR(""), .up = STR(""), .down = STR(""), .frames = STR("") };
	return handover_read_fields(fields, session_fields, ARRAY_LEN(session_fields), p) && p->permit.client.family != 0 && (!p->live || p->backend.n > 0);
}

static bool
unpack_pipe(struct relay *r, size_t held, struct handover_fds *fds, unsigned *at, struct pipes *pipes)
{
	unsigned i = *at;

	*at += 2;
	if (*at > fds->n || (r->pipe = pipes_adopt(pipes, fds->fd[i], fds->fd[i + 1], held)) == NULL)
		return false;
	(void)handover_take_fd(fds, i);
	(void)handover_take_fd(fds, i + 1);
	return true;
}

static bool
unpack_relay(struct relay *r, struct str row, struct handover_fds *fds, unsigned *at, struct pipes *pipes)
{
	uint64_t flags = 0, held;
	struct tlv f;

	while (tlv_next(&row, &f)) {
		bool good = true;

		switch (f.tag) {
		case RELAY_TAG_BYTES:
			good = tlv_as_u64(&f, &r->bytes);
			break;
		case RELAY_TAG_FLAGS:
			good = tlv_as_u64(&f, &flags);
			break;
		case RELAY_TAG_HELD:
			good = f.value.n > 0 && relay_hold(r, f.value.p, f.value.n);
			break;
		case RELAY_TAG_PIPE:
			good = tlv_as_u64(&f, &held) && unpack_pipe(r, held, fds, at, pipes);
			break;
		}
		if (!good)
			return false;
	}
	r->eof = (flags & RELAY_EOF) != 0;
	r->done = (flags & RELAY_DONE) != 0;
	r->reset = (flags & RELAY_RESET) != 0;
	r->splicing = (flags & RELAY_SPLICING) != 0;
	return true;
}

static void
unpack_tried(struct dial *d, struct str row)
{
	struct tlv f;

	while (tlv_next(&row, &f))
		if (f.tag == TAG_TRIED) {
			struct backend *b = handover_backend(d->lane, (enum color)d->color, f.value);

			if (b != NULL)
				tried_add(&d->tried, b);
			backend_unref(&b);
		}
}

/* Where it stands is not known to one that packs them otherwise: then it is a session like others. */
static void
unpack_frames(struct session *s, struct str frames)
{
	if (frames.n == sizeof(*s->frames) && (s->frames = malloc(sizeof(*s->frames))) != NULL)
		memcpy(s->frames, frames.p, sizeof(*s->frames));
}

/* Its backend, its second descriptor and what is on the way.  False without memory. */
static bool
unpack_live(struct session *s, const struct session_parcel *p, struct handover_fds *fds)
{
	struct dial *d = &s->dial;
	struct worker *w = d->lane->worker;
	unsigned at = 2;

	d->color = (uint8_t)p->color;
	d->epoch = p->epoch;
	d->dialed = (float)p->dialed;
	d->connect_seconds = (float)p->connect_seconds;
	s->backends_turn = p->backends_turn != 0;
	if ((d->backend = handover_backend(d->lane, (enum color)p->color, p->backend)) == NULL)
		return false;
	(void)backend_enter(d->backend, 0);
	if (!unpack_relay(&s->up, p->up, fds, &at, &w->buffers.pipes) ||
	    !unpack_relay(&s->down, p->down, fds, &at, &w->buffers.pipes))
		return false;
	unpack_tried(d, p->tried);
	unpack_frames(s, p->frames);
	return true;
}

static struct session *
make_session(struct lane *l, const struct session_parcel *p)
{
	char name[TLS_HELLO_NAME];
	struct session *s;

	(void)str_copy(name, sizeof(name), p->name);
	if ((s = session_alloc(p->proxy_header, name)) == NULL)
		return NULL;
	if (p->proxy_header)
		*proxy_protocol_of(s) = (struct proxy_protocol_facts){ p->peer, p->destination };
	s->dial.permit = p->permit;
	s->dial.permit.lane = l;
	if (!permit_adopt(&s->dial.permit, 2)) {
		free(s);
		return NULL;
	}
	dial_init(&s->dial, s->dial.permit.preview ? ENTRANCE_PREVIEW : ENTRANCE_MAIN, WAITER_SESSION);
	s->dial.born = p->born;
	s->dial.retries = (uint32_t)p->retries & 0x7fffff;
	s->dial.queued = (float)p->queued;
	s->first_byte = p->first_byte;
	s->dial.waiter.ticket = p->ticket & INT64_MAX >> 1;
	s->dial.deadline.touched = p->touched;
	io_init(&s->client, -1, session_on_client);
	io_init(&s->server, -1, session_on_server);
	return s;
}

/* Nothing of it is left; what it has of descriptors is not its own yet. */
static struct link *
unmake_session(struct session *s)
{
	struct worker *w = s->dial.lane->worker;

	relay_end(&s->up, &w->buffers);
	relay_end(&s->down, &w->buffers);
	free(s->frames);
	dial_end(&s->dial);
	permit_give_up(&s->dial.permit);
	return NULL;
}

static struct link *
session_unpack(struct worker *w, struct str fields, struct handover_fds *fds, enum handover_no *no)
{
	struct session_parcel p;
	struct session *s;
	struct lane *l;

	*no = HANDOVER_NOT;
	if (!read_session_parcel(fields, &p) || fds->n < (p.live ? 2 : 1) || (l = handover_lane(w, p.service)) == NULL ||
	    l->mode->datagrams != NULL ||
	    (p.permit.queued && !queue_is_on(l)))
		return NULL;
	*no = HANDOVER_LATER;
	if (!p.live && l->snapshot == NULL)
		return NULL;
	if ((s = make_session(l, &p)) == NULL)
		return NULL;
	if (p.live && !unpack_live(s, &p, fds))
		return unmake_session(s);
	io_init(&s->client, handover_take_fd(fds, 0), session_on_client);
	if (p.live) {
		io_init(&s->server, handover_take_fd(fds, 1), session_on_server);
		dial_adopt(&s->dial);
	} else if (!s->dial.permit.queued) {
		dial_begin(&s->dial);
	}
	list_remove(&s->dial.link);
	return &s->dial.link;
}

const struct handover_kind session_handover = {
	.id = HANDOVER_SESSION,
	.list = session_list,
	.may = session_may,
	.freeze = session_freeze,
	.pack = session_pack,
	.resume = session_resume,
	.gone = session_gone,
	.lane = session_lane,
	.unpack = session_unpack,
};
