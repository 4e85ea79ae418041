/* handover.c - connections on their way from one process' worker to another's.
 * Thread: owning worker. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "data/handover_private.h"
#include "data/lane.h"

/* Offered and not answered for, of one channel: what is on its way has no other bound than
 * RLIMIT_NOFILE for the whole user. */
#define WINDOW 128
/* Offers, and messages read, in one turn of the loop. */
#define OFFERS_A_TURN 64
#define READS_A_TURN 64
/* A message is sent in pieces of so many bytes: what fits into a socket's buffer whatever
 * the system's limits (net.core.wmem_max). */
#define PIECE (32 * 1024)
/* Of all its pieces. */
#define MESSAGE_MAX (16 * 1024 * 1024)
/* More memory than that is not kept for the next one. */
#define KEPT_MAX (128 * 1024)
/* Seconds until what was refused for want of descriptors or memory is offered again. */
#define AGAIN_AFTER 1.0

enum frame_type { FRAME_OFFER = 1, FRAME_TAKEN = 2, FRAME_REFUSED = 3 };

/* In front of each message. */
struct frame {
	uint64_t id;
	uint16_t type;
	uint16_t kind;	/* of an offer; of a refusal, enum handover_no */
	uint32_t more;	/* further pieces follow; descriptors come with the last */
};

/* -- messages ---------------------------------------------------------------- */

/* SENT, no ROOM for it now, STUCK: not even then; BROKEN: the other end is closed. */
enum sent { SENT, SENT_NO_ROOM, SENT_STUCK, SENT_BROKEN };

static enum sent
send_frame(struct channel *ch, const struct frame *f, struct str bytes, const struct handover_fds *fds)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(fds->fd))];
	} control;
	struct iovec parts[2] = { { (void *)(uintptr_t)f, sizeof(*f) }, { (void *)(uintptr_t)bytes.p, bytes.n } };
	struct msghdr m = { .msg_iov = parts, .msg_iovlen = 2 };

	if (fds != NULL && fds->n > 0) {
		memset(&control, 0, sizeof(control));
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(fds->n * sizeof(int));
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(fds->n * sizeof(int));
		memcpy(CMSG_DATA(&control.head), fds->fd, fds->n * sizeof(int));
	}
	if (sendmsg(ch->watcher.fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
		return SENT;
	if (errno == EAGAIN || errno == EINTR)
		return SENT_NO_ROOM;
	return errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN ? SENT_BROKEN : SENT_STUCK;
}

/* Bytes of a message, 0 at the end, -1: none is there.  What lost some of its descriptors has
 * none left.  The kernel tells once that the other end went without reading all
 * (ECONNRESET), and only then hands out what came from there. */
static ssize_t
receive_frame(struct channel *ch, struct frame *f, char *bytes, size_t size, struct handover_fds *fds, bool *cut)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(fds->fd))];
	} control;
	struct iovec parts[2] = { { f, sizeof(*f) }, { bytes, size } };
	struct msghdr m;
	ssize_t n;

	do {
		m = (struct msghdr){ .msg_iov = parts, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = sizeof(control) };
		n = recvmsg(ch->watcher.fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	} while (n < 0 && (errno == ECONNRESET || errno == EINTR));
	fds->n = 0;
	for (struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL; c != NULL; c = CMSG_NXTHDR(&m, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
			fds->n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(fds->fd, CMSG_DATA(c), fds->n * sizeof(int));
		}
	*cut = n > 0 && (m.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) != 0;
	return n > 0 && n < (ssize_t)sizeof(*f) ? 0 : n;
}

static void
close_fds(struct handover_fds *fds)
{
	for (unsigned i = 0; i < fds->n; i++)
		if (fds->fd[i] >= 0)
			close(fds->fd[i]);
	fds->n = 0;
}

static void
forget_fields(struct channel *ch)
{
	if (ch->fields.cap > KEPT_MAX)
		buf_free(&ch->fields);
	buf_clear(&ch->fields);
	ch->fields.failed = false;
}

/* -- the old process: offers ---------------------------------------------------- */

static void
drop_offer(struct channel *ch, struct offer *o)
{
	o->kind->lane(o->object)->handed--;
	list_remove(&o->link);
	ch->n_offers--;
	if (ch->sending == o)
		ch->sending = NULL;
	free(o);
}

/* It goes on here. */
static void
take_back(struct channel *ch, struct offer *o, bool kept)
{
	const struct handover_kind *kind = o->kind;
	struct link *object = o->object;

	drop_offer(ch, o);
	kind->resume(object, kept);
}

/* The pieces that are left.  False: not all could be sent, or the channel is broken. */
static bool
send_pieces(struct channel *ch)
{
	struct offer *o = ch->sending;

	while (ch->sending != NULL) {
		size_t left = buf_len(&ch->fields) - ch->sent, n = left < PIECE ? left : PIECE;
		const struct frame f = { o->id, FRAME_OFFER, o->kind->id, n < left };
		struct str piece = { buf_str(&ch->fields).p + ch->sent, n };

		switch (send_frame(ch, &f, piece, f.more ? NULL : &ch->fds)) {
		case SENT:
			ch->sent += n;
			if (!f.more)
				ch->sending = NULL;
			break;
		case SENT_STUCK:
			ch->stuck = true;
			return false;
		case SENT_NO_ROOM:
		case SENT_BROKEN:	/* read: answers may have come before */
			return false;
		}
	}
	forget_fields(ch);
	return true;
}

/* False: nothing can be offered just now. */
static bool
offer_object(struct channel *ch, struct lane *l, const struct handover_kind *kind, struct link *object)
{
	struct offer *o = malloc(sizeof(*o));

	if (o == NULL) {
		ch->stuck = true;
		return false;
	}
	*o = (struct offer){ .id = ++ch->last_id, .kind = kind, .object = object };
	list_append(&ch->offers, &o->link);
	ch->n_offers++;
	l->handed++;
	kind->freeze(object);
	forget_fields(ch);
	ch->fds.n = 0;
	if (!kind->pack(object, &ch->fields, &ch->fds)) {
		take_back(ch, o, true);
		return true;
	}
	/* Without memory: later. */
	if (ch->fields.failed) {
		ch->not_before = ch->worker->now + AGAIN_AFTER;
		take_back(ch, o, false);
		return false;
	}
	ch->sending = o;
	ch->sent = 0;
	return send_pieces(ch);
}

static bool
may_offer(const struct channel *ch, unsigned offered)
{
	return ch->n_offers < WINDOW && offered < OFFERS_A_TURN;
}

/* Those of the lane of kinds in [from, to). */
static bool
offer_kinds(struct channel *ch, struct lane *l, unsigned from, unsigned to, unsigned *offered)
{
	struct link *list;

	for (unsigned k = from; k < to; k++)
		for (unsigned i = 0; ch->kinds[k] != NULL && (list = ch->kinds[k]->list(l, i)) != NULL; i++)
			LIST_EACH(it, list) {
				if (!ch->kinds[k]->may(it))
					continue;
				if (!may_offer(ch, (*offered)++) || !offer_object(ch, l, ch->kinds[k], it))
					return false;
			}
	return true;
}

/* Flows of datagrams first: the other process reads none before it has them.  True when all was looked at.  Those that stay are passed by again and again, which costs
 * little: some nanoseconds for each. */
static bool
offer_all(struct channel *ch)
{
	unsigned offered = 0;
	struct lane *l;

	for (unsigned slot = 0; (l = worker_next_lane(ch->worker, &slot)) != NULL;)
		if (!offer_kinds(ch, l, HANDOVER_FLOW, HANDOVER_KINDS, &offered))
			return false;
	for (unsigned slot = 0; (l = worker_next_lane(ch->worker, &slot)) != NULL;)
		if (!offer_kinds(ch, l, 0, HANDOVER_FLOW, &offered))
			return false;
	return true;
}

/* Main hears once that all was looked at and nothing is on its way. */
static void
tell_given(struct channel *ch)
{
	struct mail *told = ch->told;

	ch->told = NULL;
	if (told != NULL)
		mailbox_send(&ch->worker->proxy->mailbox, told);
}

static void
channel_give(struct channel *ch)
{
	bool all;

	ch->more = false;
	if (ch->stuck || ch->worker->now < ch->not_before || (ch->sending != NULL && !send_pieces(ch)))
		return;
	all = offer_all(ch);
	ch->more = !all && ch->sending == NULL && !ch->stuck && ch->n_offers < WINDOW;
	if (all && ch->n_offers == 0)
		tell_given(ch);
}

static void
count_handed(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* An answer; false: it makes no sense. */
static bool
take_answer(struct channel *ch, const struct frame *f)
{
	struct link *first = list_first(&ch->offers);
	struct offer *o = first != NULL ? list_entry(first, struct offer, link) : NULL;
	struct proxy *p = ch->worker->proxy;

	if (o == NULL || o->id != f->id || o == ch->sending)
		return false;
	if (f->type == FRAME_TAKEN) {
		struct link *object = o->object;
		const struct handover_kind *kind = o->kind;

		count_handed(&p->handed.given);
		drop_offer(ch, o);
		kind->gone(object);
		return true;
	}
	if (f->type != FRAME_REFUSED)
		return false;
	count_handed(&p->handed.refused);
	if (f->kind == HANDOVER_LATER)
		ch->not_before = ch->worker->now + AGAIN_AFTER;
	take_back(ch, o, f->kind != HANDOVER_LATER);
	return true;
}

/* -- the new process: what is made of them ---------------------------------------- */

/* Answers for it, and begins it.  False: no room; it is owed. */
static bool
answer(struct channel *ch, struct offer *o)
{
	const struct frame f = { o->id, o->object != NULL ? FRAME_TAKEN : FRAME_REFUSED,
				 o->object != NULL ? 0 : (uint16_t)o->no, 0 };
	enum sent sent = send_frame(ch, &f, STR(""), NULL);

	if (sent == SENT_NO_ROOM || sent == SENT_STUCK) {
		ch->stuck = sent == SENT_STUCK;
		ch->owes = true;
		ch->owed = *o;
		return false;
	}
	ch->owes = false;
	if (o->object == NULL)
		return true;
	/* Broken: the old process has ended, with its copies, and no other process has it. */
	count_handed(&ch->worker->proxy->handed.taken);
	o->kind->lane(o->object)->handed--;
	o->kind->resume(o->object, false);
	return true;
}

static struct link *
make(struct channel *ch, const struct frame *f, struct str fields, struct handover_fds *fds, enum handover_no *no)
{
	const struct handover_kind *kind = f->kind < HANDOVER_KINDS ? ch->kinds[f->kind] : NULL;
	struct link *object;

	*no = HANDOVER_NOT;
	if (kind == NULL)
		return NULL;
	object = kind->unpack(ch->worker, fields, fds, no);
	if (object != NULL)
		kind->lane(object)->handed++;
	return object;
}

/* A piece of an offer, or all of it. */
static bool
take_offer(struct channel *ch, const struct frame *f, struct str bytes, struct handover_fds *fds, bool cut)
{
	struct offer o = { .id = f->id, .no = HANDOVER_LATER };
	struct str fields = bytes;

	if (f->more || buf_len(&ch->fields) > 0) {
		(void)buf_append(&ch->fields, bytes.p, bytes.n);
		fields = buf_str(&ch->fields);
	}
	if (f->more)
		return true;
	o.kind = f->kind < HANDOVER_KINDS ? ch->kinds[f->kind] : NULL;
	if (!cut && !ch->fields.failed)
		o.object = make(ch, f, fields, fds, &o.no);
	close_fds(fds);
	forget_fields(ch);
	return answer(ch, &o);
}

/* -- a channel -------------------------------------------------------------------- */

static void
channel_close(struct channel *ch)
{
	ev_io_stop(ch->worker->loop, &ch->watcher);
	close(ch->watcher.fd);
	list_remove(&ch->link);
	tell_given(ch);
	buf_free(&ch->fields);
	free(ch);
}

/* The other process is gone, and all that it had said was read: what it has not taken is
 * ours. */
static void
channel_broken(struct channel *ch)
{
	struct worker *w = ch->worker;

	ch->stuck = true;	/* what goes on here is offered by another channel, if there is one */
	if (ch->gives && ch->n_offers > 0)
		LOG_WARN("handover.broken", LU("worker", w->index), LU("count", ch->n_offers));
	while (!list_empty(&ch->offers)) {
		count_handed(&w->proxy->handed.broken);
		take_back(ch, list_entry(list_first(&ch->offers), struct offer, link), false);
	}
	channel_close(ch);
}

/* False: the channel is gone. */
static bool
channel_read(struct channel *ch)
{
	char *buffer = ch->worker->buffers.buffer;

	for (unsigned i = 0; i < READS_A_TURN && !ch->owes; i++) {
		struct handover_fds fds;
		struct frame f;
		bool cut, sense;
		ssize_t n = receive_frame(ch, &f, buffer, PIECE, &fds, &cut);

		if (n < 0)
			return true;
		if (n == 0) {
			close_fds(&fds);
			channel_broken(ch);
			return false;
		}
		if (ch->gives) {
			close_fds(&fds);
			sense = take_answer(ch, &f);
		} else {
			struct str bytes = { buffer, (size_t)n - sizeof(f) };

			sense = f.type == FRAME_OFFER;
			if (sense)
				(void)take_offer(ch, &f, bytes, &fds, cut);
			else
				close_fds(&fds);
		}
		if (!sense) {
			LOG_ERROR("handover.nonsense", LU("worker", ch->worker->index), LU("got", f.type));
			channel_broken(ch);
			return false;
		}
	}
	return true;
}

static void
channel_want(struct channel *ch)
{
	bool blocked = ch->gives ? ch->sending != NULL : ch->owes;
	int events = (ch->owes ? 0 : EV_READ) | ((blocked && !ch->stuck) || ch->more ? EV_WRITE : 0);

	if (ev_is_active(&ch->watcher) && (ch->watcher.events & (EV_READ | EV_WRITE)) == events)
		return;
	ev_io_stop(ch->worker->loop, &ch->watcher);
	ev_io_set(&ch->watcher, ch->watcher.fd, events);
	ev_io_start(ch->worker->loop, &ch->watcher);
}

static void
channel_go_on(struct channel *ch)
{
	struct offer owed = ch->owed;

	if (ch->owes && !ch->stuck)
		(void)answer(ch, &owed);
	if (!channel_read(ch))
		return;
	if (ch->gives)
		channel_give(ch);
	channel_want(ch);
}

static void
channel_on_event(struct ev_loop *loop, ev_io *w, int revents)
{
	(void)loop;
	(void)revents;
	channel_go_on(container_of(w, struct channel, watcher));
}

struct channel *
channel_new(int fd, struct mail *told, const struct handover_kind *const *kinds)
{
	struct channel *ch = must_alloc(sizeof(*ch));

	ch->kinds = kinds;
	ch->gives = told != NULL;
	ch->told = told;
	list_init(&ch->offers);
	buf_init(&ch->fields, MESSAGE_MAX);
	turn_io_init(&ch->watcher, channel_on_event, fd, EV_READ | EV_WRITE);
	return ch;
}

void
handover_open(struct worker *w, struct channel *ch)
{
	ch->worker = w;
	ev_io_start(w->loop, &ch->watcher);
	list_append(&w->handover->channels, &ch->link);
}

void
handover_offer(struct worker *w, enum handover_kind_id id, struct link *object)
{
	if (w->handover == NULL)
		return;
	LIST_EACH(it, &w->handover->channels) {
		struct channel *ch = list_entry(it, struct channel, link);
		const struct handover_kind *kind = ch->kinds[id];

		if (!ch->gives || ch->sending != NULL || ch->stuck || ch->n_offers >= WINDOW || w->now < ch->not_before)
			continue;
		(void)offer_object(ch, kind->lane(object), kind, object);
		channel_want(ch);
		return;
	}
}

void
handover_tick(struct worker *w)
{
	if (w->handover == NULL)
		return;
	LIST_EACH(it, &w->handover->channels) {
		struct channel *ch = list_entry(it, struct channel, link);

		ch->stuck = false;
		channel_go_on(ch);
	}
}

static void
end_channel(struct channel *ch)
{
	ch->stuck = true;
	if (ch->owes && ch->owed.object != NULL) {
		ch->owed.kind->lane(ch->owed.object)->handed--;
		ch->owed.kind->gone(ch->owed.object);
	}
	while (!list_empty(&ch->offers)) {
		struct offer *o = list_entry(list_first(&ch->offers), struct offer, link);
		const struct handover_kind *kind = o->kind;
		struct link *object = o->object;
		bool whole = o != ch->sending;

		drop_offer(ch, o);
		if (whole)
			kind->gone(object);
		else
			kind->resume(object, true);
	}
	channel_close(ch);
}

void
handover_end(struct worker *w)
{
	if (w->handover == NULL)
		return;
	LIST_EACH(it, &w->handover->channels) {
		struct channel *ch = list_entry(it, struct channel, link);

		if (ch->owes) {
			struct offer owed = ch->owed;

			(void)answer(ch, &owed);
		}
		if (!ch->gives || channel_read(ch))
			end_channel(ch);
	}
	handover_forget_known(w->handover);
	free(w->handover);
	w->handover = NULL;
}
