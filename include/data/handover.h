/* handover.h - live connections that go from this process' workers to another process',
 * or come from there: descriptors, what was read and not yet written, and all that is
 * known of them.
 * Each worker of the old process has a channel, one end of a SOCK_SEQPACKET pair; the
 * other end is a worker's of the new one.  A connection is an object of some kind. It is
 * offered; until the answer is there the old process does not touch it:
 *   TAKEN    the new one has it.  Our descriptors are closed without another word on the
 *            wire, its places are given back, and it is no connection of ours any more.
 *   REFUSED  it goes on here as before; what lacked descriptors or memory is offered again.
 * The new process sends TAKEN before it moves the first byte: so
 * when one of them dies, the other one knows which of the two had the connection. */
#ifndef DATA_HANDOVER_H
#define DATA_HANDOVER_H

#include <stddef.h>

#include "base/list.h"
#include "base/tlv.h"
#include "data/endpoint.h"
#include "data/proxy.h"
#include "net/io.h"

struct permit;

/* Of the messages on a channel.  Processes that speak another one hand nothing over. */
#define HANDOVER_FORMAT 1

/* -- main's side ------------------------------------------------------------------ */

/* Workers accept no more, for good, and their listening sockets are closed: who is queued
 * there stays for the process that has them, too.  done: all have. */
void proxy_yield(struct proxy *p, void (*done)(void *arg), void *arg);
/* The old process: worker i gives what it has by channels[i], of n; all are consumed.  It
 * goes on as long as the channel is open: what cannot be given now is as soon as it can
 * (a client between two requests).  on_given, which may be NULL: each worker has looked at
 * all that it has, or lost its channel, and waits for no answer; once for each call.  Once
 * more with other channels after those before have broken. */
void proxy_give(struct proxy *p, const int *channels, unsigned n, void (*on_given)(void *arg), void *arg);
/* The new process: channels[i] is served by worker i modulo their number; all are consumed.
 * After the services have their first backends and are published. */
void proxy_take(struct proxy *p, const int *channels, unsigned n);

/* Since the start. */
struct handover_counts {
	uint64_t given, taken;	/* connections, and what else has a kind */
	uint64_t refused;	/* by the other process: offered again or not */
	uint64_t broken;	/* went on here because the other process was gone */
};
struct handover_counts proxy_handed(const struct proxy *p);

/* -- what is handed over: one table for each kind ---------------------------------- */

/* The numbers are those on the channel. */
enum handover_kind_id {
	HANDOVER_SESSION = 1,	/* data/tcp/session_handover.c */
	HANDOVER_HANDSHAKE = 2,	/* data/handshake_handover.c */
	HANDOVER_CLIENT = 3,	/* of HTTP: data/http */
	HANDOVER_UPSTREAM = 4,	/* the same: a kept connection to a backend */
	HANDOVER_FLOW = 5,	/* data/udp/udp_handover.c */
	HANDOVER_FLOWS_END = 6,	/* the same: of a socket where datagrams come all flows were offered */
	HANDOVER_KINDS
};

/* Descriptors that one object has at most: client, backend, and pipes with bytes in them. */
#define HANDOVER_FDS 8
struct handover_fds {
	int fd[HANDOVER_FDS];
	unsigned n;
};

/* Why it is not taken. */
enum handover_no {
	HANDOVER_NOT,	/* no such service, listener or kind here, or fields that make no sense */
	HANDOVER_LATER	/* for want of descriptors or memory, or of a snapshot */
};

/* Objects are known by the link that they have in their lane's lists. */
struct handover_kind {
	enum handover_kind_id id;

	/* In the old process. */

	/* The lane's i-th list of them; NULL: it has no more. */
	struct link *(*list)(struct lane *l, unsigned i);
	/* May it be given just now?  Called for all in those lists, again and again. */
	bool (*may)(struct link *object);
	/* It is out of its list from here on, its watchers are stopped, its deadline is
	 * disarmed: nothing but the hand-over knows it.  It stays counted in its color. */
	void (*freeze)(struct link *object);
	/* Frozen: appends its fields (tags of the kind's own) and its descriptors, which stay the
	 * object's.  False: it cannot be given after all, and is resumed. */
	bool (*pack)(struct link *object, struct buf *fields, struct handover_fds *fds);
	/* Goes on here, or begins: into its list, its deadline as old as it was, its watchers
	 * started.  It may end.  kept: never to be offered again. */
	void (*resume)(struct link *object, bool kept);
	/* Frozen, and the other process has it: handover_forget() closes its descriptors,
	 * permit_give_up() gives its places back; no line in the log, no ending counted, no bytes.
	 * Of one that unpack() made as well. */
	void (*gone)(struct link *object);
	/* Whose it is. */
	struct lane *(*lane)(struct link *object);

	/* In the new one. */

	/* Makes it, frozen: it counts for its color, but is in no list and has no watcher.  The
	 * descriptors that it has taken over are -1 in *fds afterwards, also where it fails; the
	 * others are closed.  NULL: *no says why, and nothing is left of it.  Then TAKEN is sent,
	 * and resume() begins it. */
	struct link *(*unpack)(struct worker *w, struct str fields, struct handover_fds *fds, enum handover_no *no);
};

extern const struct handover_kind session_handover, handshake_handover, http_conn_handover, upstream_handover,
	udp_flow_handover, udp_end_handover;
/* [enum handover_kind_id]; NULL: that kind is not handed over.  In
 * handover_main.c. */
extern const struct handover_kind *const handover_kinds[HANDOVER_KINDS];

/* -- a worker's --------------------------------------------------------------------- */

/* The object, which may be given just now, is offered at once, if that can be: then it is frozen.
 * It may be resumed before this returns. */
void handover_offer(struct worker *w, enum handover_kind_id id, struct link *object);
/* The lane that is the service's of that name, in this worker; NULL: none. */
struct lane *handover_lane(struct worker *w, struct str service);
/* The worker's listener at that address, of that entrance; NULL: none. */
struct listener *handover_listener(struct worker *w, const struct addr *address, enum entrance entrance);
/* The backend of the lane's service; one that is no backend of the service any more is made
 * as of one that was removed.  One reference, the caller's.  NULL without memory. */
struct backend *handover_backend(struct lane *l, enum color color, struct str address);
/* What a permit holds, and for whom, as a row of its own; the one that is read (HANDOVER_PERMIT) has flags and
 * client, for permit_adopt(), and no lane and no listener. */
void handover_pack_permit(struct buf *b, uint16_t tag, const struct permit *p);
/* How the fields of a kind are read: each row of the table puts those of its tag into the parcel, a struct of the kind's own. */
enum handover_as {
	HANDOVER_TEXT,	/* struct str, of the row's bytes; what is absent stays as it is, as of all others */
	HANDOVER_NUMBER,	/* uint64_t */
	HANDOVER_COLOR,	/* the same, of a color */
	HANDOVER_SECONDS,	/* double */
	HANDOVER_ENDPOINT,	/* struct endpoint */
	HANDOVER_ADDRESS,	/* char [ADDR_TEXT] */
	HANDOVER_PERMIT,	/* struct permit, of handover_pack_permit() */
	HANDOVER_PRESENT	/* bool: there is one */
};
struct handover_field {
	uint16_t tag;
	uint16_t as;	/* enum handover_as */
	uint32_t at;	/* offset in the parcel */
};
#define HANDOVER_FIELD(parcel, tag, as, member) { tag, HANDOVER_##as, offsetof(struct parcel, member) }
/* False: a field makes no sense, or the row is none. */
bool handover_read_fields(struct str row, const struct handover_field *fields, size_t n, void *parcel);
/* The i-th descriptor is taken out of them; -1: there is none. */
int handover_take_fd(struct handover_fds *fds, unsigned i);

/* All that a worker does in this is over: at the end of its thread, before its lanes end.
 * What was offered and not answered for is the other process', which is told of it by the
 * kernel; what was made here and not answered for is given back. */
void handover_end(struct worker *w);
/* Ten times a second. */
void handover_tick(struct worker *w);
/* Closes io, of which another process has a copy: as io_close(), but the loop must be told,
 * for to the kernel the socket is still open. */
void handover_forget(struct worker *w, struct io *io);

#endif
