/* body_pump.h - the body of one HTTP message on its way from one socket to another:
 * a relay that knows where the message ends.
 * Bytes are checked by proto/http1_body while they pass.  Chunks travel in
 * their plain form, whatever they came with, or lose their framing where the
 * receiver would not understand it; trailers pass at the end, but those that
 * may not be any, or that are ours to say (data/http/http_own.h).
 * Holds nothing while nothing is blocked but the trailers that have come.
 * Thread: the owning worker. */
#ifndef DATA_BODY_PUMP_H
#define DATA_BODY_PUMP_H

#include "data/http/http_own.h"
#include "net/relay.h"
#include "proto/http1_body.h"

struct pump_trailers;

struct body_pump {
	struct relay relay;	/* .bytes: of the body, as they came */
	struct http1_body body;
	bool unchunk;	/* send on what is inside the chunks only */
	bool apart;	/* with unchunk: trailers stay here, for pump_trailers() */
	uint64_t passed;	/* bytes that went on, or are held for the destination */
	struct pump_trailers *trailers;	/* owned; NULL: none so far */
	struct buf *again;	/* owned: what went on since pump_keep(); NULL: it is not kept */
	const struct http_own *own;	/* names that no trailer says */
};

enum pump_result {
	PUMP_OK,
	PUMP_SOURCE_FAILED,	/* errno says how */
	PUMP_SOURCE_ENDED,	/* before the message did */
	PUMP_DESTINATION_FAILED,	/* errno says how */
	PUMP_BAD,	/* no valid framing, or more than body.most: body.reason */
	PUMP_NO_MEMORY
};

/* All of the message has come in. */
static inline bool
pump_has_all(const struct body_pump *f)
{
	return f->body.done;
}

/* ... and has gone out. */
static inline bool
pump_is_done(const struct body_pump *f)
{
	return f->body.done && !relay_is_blocked(&f->relay);
}

/* Bytes are waiting for the destination. */
static inline bool
pump_is_blocked(const struct body_pump *f)
{
	return relay_is_blocked(&f->relay);
}

/* The first bytes of a body, which are in hand at p[0..*n): how many are to be
 * sent on is stored to *n (p is changed where they are not as they were), and
 * how many were the message's is returned.  PUMP_OK, PUMP_BAD or PUMP_NO_MEMORY
 * in *result. */
size_t pump_take(struct body_pump *f, char *p, size_t *n, enum pump_result *result);

/* Sends p[0..n); what the destination does not take now is held.  more: further
 * bytes or the end follow at once. */
MUST_USE enum pump_result
pump_send(struct body_pump *f, const char *p, size_t n, struct io *destination, bool more);

/* The same of p[0..n), which is changed where it is not as it goes on; *taken: how many bytes were the message's. */
MUST_USE enum pump_result pump_pass(struct body_pump *f, char *p, size_t n, struct io *destination, size_t *taken);

/* Reads at most `most` bytes into p, once: *data, in there, is what is to be sent on, which the caller does.  surplus: as
 * below. */
MUST_USE enum pump_result pump_read(struct body_pump *f, struct io *source, char *p, size_t most, struct str *data,
				    struct str *surplus);
/* Of a body that has come whole, apart: the lines that go on, each with CRLF; good until pump_end(). */
struct str pump_trailers(const struct body_pump *f);

/* So much is to come beyond the bytes in hand, and need not be looked at, that
 * a pipe is worth it, if it comes fast or surely.  splices: into the destination a pipe may lead. */
bool pump_is_bulk(const struct body_pump *f, size_t in_hand, const struct io *source, bool splices);

/* Moves what can be moved now.  Bytes that were read but lie behind the
 * message's end are *surplus, in the relay's buffer, whatever is returned: the
 * caller owes them to the source's next message before it does anything else,
 * or has to end the connection.  After PUMP_BAD nothing that follows has a
 * beginning, and the connection has to end. */
MUST_USE enum pump_result pump_move(struct body_pump *f, struct io *source, struct io *destination,
				    struct relay_buffers *buffers, struct str *surplus);

/* From now on what goes on is kept, to be sent again: so many bytes at most, or nothing.  Without memory nothing is. */
void pump_keep(struct body_pump *f, size_t most);
void pump_forget(struct body_pump *f);

/* Drops what is held, and kept. */
void pump_end(struct body_pump *f, struct relay_buffers *buffers);

#endif
