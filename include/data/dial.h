/* dial.h - a client on its way to a backend: one is chosen and its place taken,
 * connected to, told who the client is, spoken to by TLS where that is asked for;
 * another one is tried when that fails, once more after retry_pause when all
 * refuse; while all are full it waits in the queue; and a flip makes it begin anew.
 * What wants a backend embeds a struct dial (a TCP session, an HTTP exchange), which
 * stays afterwards: it holds what the client has of lane and backend.
 * Thread: the owning worker. */
#ifndef DATA_DIAL_H
#define DATA_DIAL_H

#include "data/admit.h"
#include "data/lane.h"
#include "data/queue.h"
#include "data/tried.h"
#include "net/io.h"

struct dial;

/* WAITING: in the queue, of no color.  DIALING: a backend is being connected to, or
 * will be as soon as there is a descriptor, or retry_pause is over.  REACHED: it is
 * its owner's from here on, in the lane's list of its kind. */
enum dial_state { DIAL_NEW, DIAL_WAITING, DIAL_DIALING, DIAL_REACHED, DIAL_ENDED };

/* How a backend was got at: its connect is under way, or over already, or there was
 * a connection on which nothing is left to be said. */
enum dial_how { DIAL_PENDING, DIAL_CONNECTED, DIAL_REUSED };

struct dial_client {
	const struct io *io;
	const struct endpoint *destination;	/* where it had connected to; NULL or of family 0: to us */
};

/* What owners do, by their kind in lane->dial_ops; those that may be NULL say so. */
struct dial_ops {
	struct dial_client (*client)(struct dial *d);
	/* The client has left, so that dialing is in vain: asks its socket. */
	bool (*gone)(struct dial *d);
	/* A backend that goes before those whose turn it is, a place on it taken;
	 * or NULL.  May be NULL. */
	struct backend *(*first)(struct dial *d);
	/* Gets a connection to b.  NULL with errno. */
	struct io *(*open)(struct dial *d, struct backend *b, enum dial_how *how);
	/* By ALPN two protocols are offered to b: h2, and HTTP/1.1.  May be NULL: false. */
	bool (*offers_both)(const struct dial *d);
	/* That one, while it is open; or NULL. */
	struct io *(*io)(struct dial *d);
	/* Closes it, if it is open. */
	void (*close)(struct dial *d);
	/* The client has to wait, for whatever.  May be NULL. */
	void (*hold)(struct dial *d);
	/* The backend is reached, by a connection that is new or not; may have ended
	 * when this returns. */
	void (*reached)(struct dial *d, bool reused);
	/* Ends it for that reason, in whatever state. */
	void (*end)(struct dial *d, enum ending ending);
	/* What it has moved so far: bytes from the client, and to it. */
	void (*bytes)(const struct dial *d, uint64_t *in, uint64_t *out);
};

struct dial {
	union {
		/* Of a session all that it holds; of a request, whose client holds the
		 * rest, a slot in the queue. */
		struct permit permit;
		struct {	/* its first members */
			struct lane *lane;
			struct endpoint peer;
		};
	};
	struct backend *backend;	/* one reference and a place; NULL before the first try */
	struct tried *tried;	/* whose connects failed; NULL: none yet */
	struct deadline deadline;	/* queue, connect or retry; the owner's once it is reached */
	union {
		struct link link;	/* lane->dialing, live or previews, or the worker's ended */
		struct waiter waiter;	/* WAITING, in the same place; its kind is the owner's */
	};
	uint64_t epoch;	/* of the snapshot that chose the backend */
	double born;	/* worker->now, as the owner says */
	float dialing;	/* seconds from birth to when it last began to dial, ... */
	float dialed;	/* ... and to the last connect */
	float connect_seconds;	/* it dialed so long until a new connection was there; < 0: not yet */
	float queued;	/* seconds that it waited in the queue so far */
	uint8_t state;	/* enum dial_state */
	uint8_t entrance;
	uint8_t color;
	uint8_t tries;	/* connects begun on the present color */
	uint32_t diverted : 1;	/* its own color has no healthy backend */
	uint32_t retries : 22;	/* all connects but the first */
	uint32_t pauses : 8;	/* of retry_pause so far */
	uint32_t pausing : 1;	/* DIALING: every backend refused, and is tried again later */
};
_Static_assert(offsetof(struct dial, peer) == offsetof(struct dial, permit.client), "one and the same");

/* The lane's list of those that have reached a backend of its color. */
struct link *dial_home(const struct dial *d);

/* Of one that is zero but for its permit; born is the owner's to set. */
void dial_init(struct dial *d, enum entrance entrance, enum waiter_kind kind);
/* NEW: is DIALING, counted for the color that is active now; dial_next() follows. */
void dial_begin(struct dial *d);
/* NEW, with a backend that is connected already: color and the rest are set. */
void dial_adopt(struct dial *d);
/* Begins (again) to reach a backend by the lane's present snapshot. */
void dial_next(struct dial *d);
/* DIALING: gives up what it has begun, perhaps in the middle of a connect, and nothing of that counts.
 * dial_next() follows, or the end. */
void dial_unchoose(struct dial *d);
/* The same after another one, perhaps of a color that has lost its traffic, perhaps in the
 * middle of a connect: nothing of that counts. */
void dial_anew(struct dial *d);
/* REACHED, and the connection is closed: the backend was lost before it served.  Tries another one,
 * or ends for that reason. */
void dial_lost(struct dial *d, enum ending ending);
/* The connect failed, or what comes right after it: the backend is not tried again. */
void dial_blame(struct dial *d);

/* Something is tried again because that backend failed, NULL: it is not known which.  Counted for the request and its color, and
 * for the backend; or for that alone. */
void dial_count_retry(struct dial *d, struct backend *failed);
void dial_charge_retry(struct dial *d, struct backend *failed);

/* NEW, with a slot in the queue: gets in line. */
void dial_join(struct dial *d, enum queue_end end);
/* DIALING: the same, if the queue has one; false: nothing has changed. */
MUST_USE bool dial_wait(struct dial *d, enum queue_end end);
/* If it is WAITING, it is DIALING, of the color that is active now. */
void dial_leave_queue(struct dial *d);

/* An event of the connection, while DIALING. */
void dial_on_event(struct dial *d);
/* It is ENDED, has no backend any more, and is freed when the turn of the loop is over. */
void dial_end(struct dial *d);

/* -- all of a lane's that are DIALING -- */

/* The active color is another one. */
void dial_all_anew(struct lane *l);
/* The share is another one: those whose color that changes. */
void dial_share_anew(struct lane *l);
/* Leaves those backends whose connections are to end; so do those that have reached them. */
void dial_leave_down(struct lane *l);
/* Likewise those of nodes that are drained, in time: a round of it, bounded in work.  False: none has any
 * connection. */
bool dial_leave_nodes(struct lane *l);
/* The part of a drain's round of those of one kind that have reached a backend of the color, and where all of the
 * service is to end of its previews: ends those that are idle, or with over all, bounded in work.  False: none is left. */
bool dial_drain_step(struct lane *l, enum waiter_kind kind, enum color color, double now, bool over);
/* REACHED, and was in no list for a while (data/handover.h): a flip or a verdict of the checks came meanwhile, that
 * ends those that lane_take_snapshot() finds in one. */
bool dial_must_end_late(const struct dial *d, enum ending *ending);
/* Where in a spread its turn is to be ended, in [0, 1); by whom the client is and when it came. */
double dial_place(const struct dial *d);
/* Goes on with those that had no descriptor, until there is none again. */
void dial_resume(struct lane *l);
/* Ends those whose clients left. */
void dial_tick(struct lane *l);

/* Ends all of a list, whatever their state. */
void dial_end_all(struct link *list, enum ending ending);

/* -- between dial.c and dial_state.c -- */

/* The state, its list, its counter and its clock change together.  end: of the queue,
 * for WAITING. */
void dial_become(struct dial *d, enum dial_state to, enum queue_end end);
/* Gives its place on the backend back. */
void dial_drop_backend(struct dial *d);
/* By the present snapshot: of the active color, or of the one that has its share of clients; for previews of the
 * idle one. */
void dial_recolor(struct dial *d);

/* For lane->connect_clock, queue_clock and retry_clock. */
void dial_expired(struct deadline *deadline);

static inline const struct dial_ops *
dial_ops(const struct dial *d)
{
	return d->lane->dial_ops[d->waiter.kind];
}

static inline struct tally_color *
dial_tally(const struct dial *d)
{
	return &d->lane->tally->colors[d->entrance][d->color];
}

#endif
