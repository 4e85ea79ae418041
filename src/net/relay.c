/* relay.c - one direction of bytes.  Thread: the owning worker. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "net/relay.h"

/* So many reads in one loop turn before others get theirs. */
#define TURNS 4
/* So many full reads in a row turn a direction to splicing, ... */
#define SPLICE_AFTER 3
/* ... and so many turns in a row below this many bytes turn it back. */
#define QUIET_AFTER 8
#define QUIET_BYTES (16 * 1024)
/* The most that one record of TLS carries (RFC 8446 section 5.1). */
#define TLS_RECORD (16 * 1024)

struct relay_held {
	size_t start, end, room;
	char data[];
};

enum flow { FLOW_ON, FLOW_BLOCKED, FLOW_FAILED };

static enum flow
flush_held(struct relay *r, struct io *to)
{
	struct relay_held *h = r->held;
	ssize_t n = io_write(to, h->data + h->start, h->end - h->start, false);

	if (n < 0)
		return io_would_block() ? FLOW_BLOCKED : FLOW_FAILED;
	h->start += (size_t)n;
	if (h->start < h->end)
		return FLOW_BLOCKED;
	free(h);
	r->held = NULL;
	return FLOW_ON;
}

static enum flow
flush_pipe(struct relay *r, struct io *to, struct pipes *pipes)
{
	struct pipe *p = r->pipe;

	while (p->held > 0) {
		ssize_t n = splice(p->rd, NULL, io_fd(to), NULL, p->held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

		if (n < 0)
			return io_would_block() ? FLOW_BLOCKED : FLOW_FAILED;
		if (n == 0)
			return FLOW_BLOCKED;
		p->held -= (size_t)n;
	}
	/* An empty pipe belongs to the pool: an idle stream keeps none. */
	r->pipe = NULL;
	pipes_give(pipes, p);
	return FLOW_ON;
}

bool
relay_hold(struct relay *r, const char *p, size_t n)
{
	size_t before = r->held != NULL ? r->held->end - r->held->start : 0, room;
	struct relay_held *h = r->held;

	if (h != NULL && h->room - h->end >= n) {
		memcpy(h->data + h->end, p, n);
		h->end += n;
		return true;
	}
	/* What comes alone gets what it needs.  What comes in many small pieces, as
	 * a flood of interim answers does, is not copied again for each of them. */
	room = before > 0 ? 2 * (before + n) : n;
	h = malloc(sizeof(*h) + room);
	if (h == NULL)
		return false;
	h->start = 0;
	h->room = room;
	h->end = before + n;
	if (before > 0)
		memcpy(h->data, r->held->data + r->held->start, before);
	memcpy(h->data + before, p, n);
	free(r->held);
	r->held = h;
	return true;
}

enum relay_result
relay_flush(struct relay *r, struct io *destination, struct relay_buffers *buffers)
{
	enum flow flow = FLOW_ON;

	if (r->held != NULL)
		flow = flush_held(r, destination);
	else if (r->pipe != NULL)
		flow = flush_pipe(r, destination, &buffers->pipes);
	return flow == FLOW_FAILED ? RELAY_DESTINATION_FAILED : RELAY_OK;
}

enum relay_result
relay_splice(struct relay *r, struct io *source, struct io *destination, struct pipes *pipes, uint64_t most,
	     uint64_t *moved)
{
	ssize_t n;

	*moved = 0;
	if ((r->pipe = pipes_take(pipes)) == NULL) {
		r->splicing = false;
		r->streak = 0;
		return RELAY_OK;
	}
	n = splice(io_fd(source), NULL, r->pipe->wr, NULL,
		   most < r->pipe->capacity ? most : r->pipe->capacity, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	if (n <= 0) {
		int saved = errno;

		pipes_give(pipes, r->pipe);
		r->pipe = NULL;
		errno = saved;
		/* By the kernel's TLS: what is no data, and whether the end is a whole
		 * one, only a read can tell. */
		if (io_is_tls(source) && (n == 0 || saved == EINVAL)) {
			r->splicing = false;
			r->streak = 0;
			return RELAY_OK;
		}
		if (n == 0)
			return relay_at_eof(r);
		return io_would_block() ? RELAY_OK : RELAY_SOURCE_FAILED;
	}
	r->pipe->held = (size_t)n;
	r->bytes += (uint64_t)n;
	*moved = (uint64_t)n;
	return flush_pipe(r, destination, pipes) == FLOW_FAILED ? RELAY_DESTINATION_FAILED : RELAY_OK;
}

static enum relay_result
relay_by_splice(struct relay *r, struct io *from, struct io *to, struct pipes *pipes)
{
	uint64_t all = 0;

	for (int turn = 0; turn < TURNS; turn++) {
		uint64_t moved;
		enum relay_result result = relay_splice(r, from, to, pipes, UINT64_MAX, &moved);

		if (result != RELAY_OK || !r->splicing)
			return result;
		all += moved;
		if (relay_is_blocked(r)) {
			r->streak = 0;
			return RELAY_OK;
		}
		if (moved < QUIET_BYTES)
			break;
	}
	if (all >= QUIET_BYTES) {
		r->streak = 0;
	} else if (++r->streak >= QUIET_AFTER) {
		r->splicing = false;
		r->streak = 0;
	}
	return RELAY_OK;
}

/* TLS hands out a record at a time; a full one, or what is here already, has
 * company. */
static ssize_t
read_some(struct io *from, char *p, size_t size)
{
	ssize_t n = io_read(from, p, size), more = n;
	size_t got = 0;

	if (!io_is_tls(from))
		return n;
	while (more > 0) {
		got += (size_t)more;
		if (got == size || (more < TLS_RECORD && !io_pending(from)))
			break;
		more = io_read(from, p + got, size - got);
	}
	/* What ended it is told once more, behind the bytes. */
	return got > 0 ? (ssize_t)got : n;
}

static enum relay_result
relay_by_copy(struct relay *r, struct io *from, struct io *to, struct relay_buffers *buffers, bool other_done)
{
	for (int turn = 0; turn < TURNS; turn++) {
		ssize_t n = read_some(from, buffers->buffer, buffers->size), sent;
		int failed = 0;
		size_t got;

		if (n < 0)
			return io_would_block() ? RELAY_OK : RELAY_SOURCE_FAILED;
		if (n == 0)
			return relay_at_eof(r);
		got = (size_t)n;
		/* Where the destination has ended its own direction, and after the
		 * first bytes, which are often the only ones, this end is likely to
		 * be here already: one more look (170 ns) lets the last bytes leave
		 * together with the FIN (some microseconds for a packet saved). */
		if ((other_done || r->bytes == 0) && got < buffers->size) {
			n = io_read(from, buffers->buffer + got, buffers->size - got);
			if (n > 0)
				got += (size_t)n;
			else if (n == 0 ? relay_at_eof(r) != RELAY_OK : !io_would_block())
				failed = errno;	/* told once; the bytes before it count */
		}
		r->bytes += got;
		sent = io_write(to, buffers->buffer, got, r->eof);
		if (sent < 0) {
			if (!io_would_block())
				return RELAY_DESTINATION_FAILED;
			sent = 0;
		}
		if (failed != 0) {
			errno = failed;
			return RELAY_SOURCE_FAILED;
		}
		if ((size_t)sent < got)
			return relay_hold(r, buffers->buffer + sent, got - (size_t)sent) ? RELAY_OK :
											RELAY_NO_MEMORY;
		if (got < buffers->size) {
			r->streak = 0;
			return RELAY_OK;
		}
		if (r->streak < SPLICE_AFTER && ++r->streak == SPLICE_AFTER && io_can_splice(from, to)) {
			r->splicing = true;
			r->streak = 0;
			return RELAY_OK;
		}
	}
	return RELAY_OK;
}

enum relay_result
relay_move(struct relay *r, struct io *source, struct io *destination, struct relay_buffers *buffers,
	   bool other_done)
{
	enum relay_result result = relay_flush(r, destination, buffers);

	if (result != RELAY_OK || relay_is_blocked(r))
		return result;
	if (!r->eof)
		result = r->splicing ? relay_by_splice(r, source, destination, &buffers->pipes) :
				       relay_by_copy(r, source, destination, buffers, other_done);
	if (result == RELAY_OK && r->eof && !r->done && !relay_is_blocked(r)) {
		/* Both directions over: the close that follows says it all, but for
		 * TLS's goodbye, which would get no second chance. */
		int said = other_done && !io_is_tls(destination) ? 1 : io_shutdown(destination);

		if (said < 0)
			return RELAY_DESTINATION_FAILED;
		r->done = said == 1;
	}
	return result;
}

void
relay_rescue(struct relay *r, struct io *source, struct io *destination, struct relay_buffers *buffers)
{
	if (r->eof || (r->held != NULL && flush_held(r, destination) != FLOW_ON) ||
	    (r->pipe != NULL && flush_pipe(r, destination, &buffers->pipes) != FLOW_ON))
		return;
	for (int turn = 0; turn < TURNS; turn++) {
		ssize_t n = io_read(source, buffers->buffer, buffers->size);

		if (n <= 0)
			return;
		r->bytes += (uint64_t)n;
		/* Not "more": what is held back for the end is lost in a reset. */
		if (io_write(destination, buffers->buffer, (size_t)n, false) < n)
			return;
	}
}

uint64_t
relay_waiting(const struct relay *r)
{
	return (r->held != NULL ? r->held->end - r->held->start : 0) + (r->pipe != NULL ? r->pipe->held : 0);
}

struct str
relay_held_bytes(const struct relay *r)
{
	const struct relay_held *h = r->held;

	return h != NULL ? (struct str){ h->data + h->start, h->end - h->start } : STR("");
}

void
relay_end(struct relay *r, struct relay_buffers *buffers)
{
	free(r->held);
	r->held = NULL;
	if (r->pipe != NULL)
		pipes_give(&buffers->pipes, r->pipe);
	r->pipe = NULL;
}
