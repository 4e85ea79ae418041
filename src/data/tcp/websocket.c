/* websocket.c - the frames of a WebSocket on their way to the client, and one of Teal's own at the end.
 * Thread: owning worker. */
#include "data/tcp/websocket.h"
#include "data/lane.h"
#include "proto/ws_frames.h"

/* So many reads in one loop turn before others get theirs. */
#define TURNS 4
/* What a client has said meanwhile, at most, that is read so that the close is no reset. */
#define UNREAD_MAX 16
#define UNREAD_PIECE 4096

static enum relay_result
copy_frames(struct session *s, struct relay_buffers *buffers, size_t *got)
{
	ssize_t n = io_read(&s->server, buffers->buffer, buffers->size), sent;

	*got = 0;
	if (n < 0)
		return io_would_block() ? RELAY_OK : RELAY_SOURCE_FAILED;
	if (n == 0)
		return relay_at_eof(&s->down);
	*got = (size_t)n;
	s->down.bytes += *got;
	ws_frames_follow(s->frames, buffers->buffer, *got);
	sent = io_write(&s->client, buffers->buffer, *got, false);
	if (sent < 0 && !io_would_block())
		return RELAY_DESTINATION_FAILED;
	sent = sent < 0 ? 0 : sent;
	return (size_t)sent == *got || relay_hold(&s->down, buffers->buffer + sent, *got - (size_t)sent) ?
		       RELAY_OK :
		       RELAY_NO_MEMORY;
}

/* False: nothing was, and it has to be read. */
static bool
splice_payload(struct session *s, struct relay_buffers *buffers, enum relay_result *result)
{
	uint64_t payload = ws_frames_payload(s->frames), moved;

	if (payload < buffers->size || !io_can_splice(&s->server, &s->client))
		return false;
	s->down.splicing = true;
	*result = relay_splice(&s->down, &s->server, &s->client, &buffers->pipes, payload, &moved);
	s->frames->left -= moved;
	s->down.splicing = false;
	return *result != RELAY_OK || moved > 0;
}

enum relay_result
websocket_move(struct session *s, bool other_done)
{
	struct relay_buffers *buffers = &s->dial.lane->worker->buffers;
	enum relay_result result = relay_flush(&s->down, &s->client, buffers);
	size_t got = buffers->size;

	for (int turn = 0; turn < TURNS && result == RELAY_OK && !relay_is_blocked(&s->down) && !s->down.eof; turn++) {
		if (splice_payload(s, buffers, &result))
			continue;
		result = copy_frames(s, buffers, &got);
		/* TLS hands out a record at a time. */
		if (got == 0 || (got < buffers->size && !io_pending(&s->server)))
			break;
	}
	/* Nothing is left to be read: it tells the end. */
	return result == RELAY_OK && s->down.eof ?
		       relay_move(&s->down, &s->server, &s->client, buffers, other_done) :
		       result;
}

/* Neither of the two wants it. */
static bool
is_told(enum ending ending)
{
	return ending == END_DRAINED || ending == END_DRAIN_IDLE || ending == END_STOP || ending == END_PREVIEW ||
	       ending == END_BACKEND_DOWN;
}

bool
websocket_tell(struct session *s, enum ending ending)
{
	char unread[UNREAD_PIECE];
	ssize_t n;

	if (s->frames == NULL || !is_told(ending) || !ws_frames_may_add(s->frames) || relay_is_blocked(&s->down) ||
	    s->down.eof)
		return false;
	n = io_write(&s->client, WS_GOING_AWAY_FRAME, WS_GOING_AWAY_BYTES, false);
	if (n < WS_GOING_AWAY_BYTES) {
		/* Half of one is worse than none. */
		if (n > 0)
			io_reset_on_close(&s->client);
		return false;
	}
	s->down.bytes += WS_GOING_AWAY_BYTES;
	(void)io_shutdown(&s->client);
	for (int i = 0; i < UNREAD_MAX && io_read(&s->client, unread, sizeof(unread)) > 0; i++)
		;
	return true;
}
