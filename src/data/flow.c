/* flow.c - one message's body on its way.  Thread: owning worker. */
#include "data/flow.h"

/* So many reads in one loop turn before others get theirs. */
#define TURNS 4
/* A known rest of this many bytes is worth a pipe. */
#define SPLICE_BYTES (64 * 1024)

static enum flow_result
failure_of(enum relay_result r)
{
	switch (r) {
	case RELAY_OK:
		return FLOW_OK;
	case RELAY_SOURCE_FAILED:
		return FLOW_SOURCE_FAILED;
	case RELAY_DESTINATION_FAILED:
		return FLOW_DESTINATION_FAILED;
	case RELAY_NO_MEMORY:
		break;
	}
	return FLOW_NO_MEMORY;
}

size_t
flow_take(struct flow *f, char *p, size_t *n, enum flow_result *result)
{
	size_t taken = 0, kept = 0;

	*result = FLOW_OK;
	while (taken < *n && !f->body.done) {
		enum http1_verdict verdict;
		struct str data;
		size_t piece = http1_body_take(&f->body, p + taken, *n - taken, &data, &verdict);

		if (verdict == HTTP1_BAD) {
			*result = FLOW_BAD;
			break;
		}
		if (f->unchunk) {
			memmove(p + kept, data.p, data.n);
			kept += data.n;
		}
		taken += piece;
	}
	f->relay.bytes += taken;
	*n = f->unchunk ? kept : taken;
	return taken;
}

enum flow_result
flow_send(struct flow *f, const char *p, size_t n, struct io *destination, bool more)
{
	ssize_t sent = 0;

	if (n == 0)
		return FLOW_OK;
	if (!relay_is_blocked(&f->relay)) {
		sent = io_write(destination, p, n, more);
		if (sent < 0 && !io_would_block())
			return FLOW_DESTINATION_FAILED;
		if (sent < 0)
			sent = 0;
	}
	if ((size_t)sent < n && !relay_hold(&f->relay, p + sent, n - (size_t)sent))
		return FLOW_NO_MEMORY;
	return FLOW_OK;
}

/* The source has ended: for some messages that is their end. */
static enum flow_result
at_eof(struct flow *f)
{
	return http1_body_finish(&f->body) == HTTP1_DONE ? FLOW_OK : FLOW_SOURCE_ENDED;
}

bool
flow_is_bulk(const struct flow *f, size_t in_hand, const struct io *source, const struct io *destination)
{
	uint64_t ahead = http1_body_skippable(&f->body);

	return ahead >= in_hand && ahead - in_hand >= SPLICE_BYTES && !f->unchunk && !io_is_tls(source) &&
	       !io_is_tls(destination);
}

static enum flow_result
move_by_copy(struct flow *f, struct io *from, struct io *to, struct relay_room *room, struct str *surplus)
{
	for (int turn = 0; turn < TURNS; turn++) {
		size_t most = room->size, got, kept, taken;
		enum flow_result result;
		ssize_t n;

		/* Of a known length nothing is read that is the next message's. */
		if (!f->unchunk && f->body.framing == HTTP1_BODY_LENGTH && f->body.left < most)
			most = (size_t)f->body.left;
		n = io_read(from, room->buffer, most);
		if (n < 0)
			return io_would_block() ? FLOW_OK : FLOW_SOURCE_FAILED;
		if (n == 0)
			return at_eof(f);
		got = kept = (size_t)n;
		taken = flow_take(f, room->buffer, &kept, &result);
		/* Whatever becomes of the body, these are the next message's. */
		if (taken < got)
			*surplus = (struct str){ room->buffer + taken, got - taken };
		if (result == FLOW_OK)
			result = flow_send(f, room->buffer, kept, to, false);
		if (result != FLOW_OK)
			return result;
		if (f->body.done || flow_is_blocked(f) || (got < most && !io_pending(from)))
			return FLOW_OK;
		if (flow_is_bulk(f, 0, from, to)) {
			f->relay.splicing = true;
			return FLOW_OK;
		}
	}
	return FLOW_OK;
}

static enum flow_result
move_by_splice(struct flow *f, struct io *from, struct io *to, struct relay_room *room)
{
	for (int turn = 0; turn < TURNS && f->relay.splicing; turn++) {
		uint64_t ahead = http1_body_skippable(&f->body), moved;
		enum relay_result r;

		/* The end of a chunk has to be looked at. */
		if (ahead == 0)
			f->relay.splicing = false;
		if (ahead == 0)
			return FLOW_OK;
		r = relay_splice(&f->relay, from, to, &room->pipes, ahead, &moved);
		http1_body_skip(&f->body, moved);
		if (r != RELAY_OK)
			return failure_of(r);
		if (f->relay.eof) {
			f->relay.eof = false;
			return at_eof(f);
		}
		if (f->body.done || flow_is_blocked(f) || moved == 0)
			return FLOW_OK;
	}
	return FLOW_OK;
}

enum flow_result
flow_move(struct flow *f, struct io *source, struct io *destination, struct relay_room *room,
	  struct str *surplus)
{
	enum relay_result flushed = relay_flush(&f->relay, destination, room);

	*surplus = (struct str){ NULL, 0 };
	if (flushed != RELAY_OK)
		return failure_of(flushed);
	if (flow_is_blocked(f) || f->body.done)
		return FLOW_OK;
	if (f->relay.splicing)
		return move_by_splice(f, source, destination, room);
	return move_by_copy(f, source, destination, room, surplus);
}
