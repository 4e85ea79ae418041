/* relay.h - one direction of a connection: bytes from a source to a
 * destination, with back-pressure and half-close.
 * Holds nothing while idle: bytes are read into the worker's shared buffer
 * and written at once; only what the destination would not take is kept, and
 * then the source is not read.  A bulk stream turns to splice(2) after a few
 * full reads and back when it is quiet. */
#ifndef NET_RELAY_H
#define NET_RELAY_H

#include <stdbool.h>
#include <stdint.h>

#include "net/io.h"
#include "net/pipes.h"

/* What the relays of one worker share. */
struct relay_buffers {
	char *buffer;
	size_t size;
	struct pipes pipes;
};

/* Bytes the destination would not take. */
struct relay_held;

struct relay {
	struct relay_held *held;	/* NULL: none */
	struct pipe *pipe;	/* NULL: not splicing just now */
	uint64_t bytes;	/* read from the source so far */
	uint8_t streak;	/* full reads in a row; quiet ones while splicing */
	bool splicing;
	bool eof;	/* the source has ended */
	bool done;	/* and the destination has been told */
	bool reset;	/* the source was, and a write to it was told so: see relay_source_failed() */
};

enum relay_result {
	RELAY_OK,
	RELAY_SOURCE_FAILED,	/* errno says how */
	RELAY_DESTINATION_FAILED,	/* errno says how */
	RELAY_NO_MEMORY
};

/* All zero is a relay that has not begun. */

/* Moves what can be moved now.  other_done: the opposite direction is done, so
 * that the end of this one ends the connection; then the last bytes travel
 * with the FIN of the close that follows. */
MUST_USE enum relay_result relay_move(struct relay *r, struct io *source, struct io *destination,
				      struct relay_buffers *buffers, bool other_done);

/* A write to the source has just failed, errno says how.  The kernel tells a reset
 * once: what reads next would take it for the end of the stream, and a stream that
 * is cut for one that is whole.  From now on that end is RELAY_SOURCE_FAILED with
 * ECONNRESET.  But EPIPE says that the source had ended before it was reset: that
 * end stands. */
static inline void
relay_source_failed(struct relay *r)
{
	r->reset |= errno != EPIPE && !io_would_block();
}

/* A read of the source has met its end.  Errors: RELAY_SOURCE_FAILED. */
static inline enum relay_result
relay_at_eof(struct relay *r)
{
	r->eof = !r->reset;
	if (r->eof)
		return RELAY_OK;
	errno = ECONNRESET;
	return RELAY_SOURCE_FAILED;
}

/* The source failed when it was written to, by the opposite direction: passes
 * on what it had said before, as far as that goes at once, but not its end,
 * which is known to be a broken one.  The connection is to be reset next. */
void relay_rescue(struct relay *r, struct io *source, struct io *destination, struct relay_buffers *buffers);

/* The parts of relay_move(), for callers that inspect the bytes: sends what is
 * held, ... */
MUST_USE enum relay_result relay_flush(struct relay *r, struct io *destination, struct relay_buffers *buffers);
/* ... holds p[0..n) behind what is held already; false when memory is out, ... */
MUST_USE bool relay_hold(struct relay *r, const char *p, size_t n);
/* ... and moves up to `most` bytes through a pipe, once, between plain sockets
 * while nothing is held; without a pipe to be had, splicing becomes false. */
MUST_USE enum relay_result relay_splice(struct relay *r, struct io *source, struct io *destination,
					struct pipes *pipes, uint64_t most, uint64_t *moved);

/* Bytes are waiting for the destination. */
static inline bool
relay_is_blocked(const struct relay *r)
{
	return r->held != NULL || r->pipe != NULL;
}

/* Bytes that are held. */
uint64_t relay_waiting(const struct relay *r);

/* For another process: what is kept in memory of one that holds something, or else ""; what is in a pipe goes with
 * that. */
struct str relay_held_bytes(const struct relay *r);

/* Drops what is held. */
void relay_end(struct relay *r, struct relay_buffers *buffers);

/* What to wait for at a socket that is `in`'s source and `out`'s
 * destination: back-pressure in full, a blocked input stops reading.  An end
 * that could not be told yet waits for room as bytes do. */
static inline int
relay_wants(const struct relay *in, const struct relay *out)
{
	return (!in->eof && !relay_is_blocked(in) ? EV_READ : 0) | (relay_is_blocked(out) || (out->eof && !out->done) ? EV_WRITE : 0);
}

#endif
