/* flow.h - the body of one HTTP message on its way from one socket to another:
 * a relay that knows where the message ends.
 * Bytes travel as they came, checked by proto/http1_body while they pass;
 * chunked ones lose their framing where the receiver would not understand it.
 * Holds nothing while nothing is blocked.
 * Thread: the owning worker. */
#ifndef DATA_FLOW_H
#define DATA_FLOW_H

#include "net/relay.h"
#include "proto/http1_body.h"

struct flow {
	struct relay relay;	/* .bytes: of the body, as they came */
	struct http1_body body;
	bool unchunk;	/* send on what is inside the chunks only */
};

enum flow_result {
	FLOW_OK,
	FLOW_SOURCE_FAILED,	/* errno says how */
	FLOW_SOURCE_ENDED,	/* before the message did */
	FLOW_DESTINATION_FAILED,	/* errno says how */
	FLOW_BAD,	/* no valid framing: body.reason */
	FLOW_NO_MEMORY
};

/* All of the message has come in. */
static inline bool
flow_has_all(const struct flow *f)
{
	return f->body.done;
}

/* ... and has gone out. */
static inline bool
flow_is_done(const struct flow *f)
{
	return f->body.done && !relay_is_blocked(&f->relay);
}

/* Bytes are waiting for the destination. */
static inline bool
flow_is_blocked(const struct flow *f)
{
	return relay_is_blocked(&f->relay);
}

/* Bytes that are in hand, p[0..*n), and begin with the body's next: how many
 * of them are to be sent on is stored to *n (p may be changed by unchunk), and
 * how many were the message's is returned.  FLOW_OK or FLOW_BAD in *result. */
size_t flow_take(struct flow *f, char *p, size_t *n, enum flow_result *result);

/* Sends p[0..n); what the destination does not take now is held.  more: further
 * bytes or the end follow at once. */
MUST_USE enum flow_result
flow_send(struct flow *f, const char *p, size_t n, struct io *destination, bool more);

/* So much is to come beyond the bytes in hand, and need not be looked at, that
 * a pipe is worth it, if it comes fast or surely. */
bool flow_is_bulk(const struct flow *f, size_t in_hand, const struct io *source, const struct io *destination);

/* Moves what can be moved now.  Bytes that were read but lie behind the
 * message's end are *surplus, in the room's buffer, whatever is returned: the
 * caller owes them to the source's next message before it does anything else,
 * or has to end the connection.  After FLOW_BAD nothing that follows has a
 * beginning, and the connection has to end. */
MUST_USE enum flow_result flow_move(struct flow *f, struct io *source, struct io *destination,
				    struct relay_room *room, struct str *surplus);

static inline void
flow_end(struct flow *f, struct relay_room *room)
{
	relay_end(&f->relay, room);
}

#endif
