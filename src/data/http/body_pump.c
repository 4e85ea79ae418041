/* body_pump.c - one message's body on its way.  Thread: owning worker. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "data/http/body_pump.h"

/* So many reads in one loop turn before others get theirs. */
#define TURNS 4
/* A known rest of this many bytes is worth a pipe. */
#define SPLICE_BYTES (64 * 1024)

static enum pump_result
failure_of(enum relay_result r)
{
	switch (r) {
	case RELAY_OK:
		return PUMP_OK;
	case RELAY_SOURCE_FAILED:
		return PUMP_SOURCE_FAILED;
	case RELAY_DESTINATION_FAILED:
		return PUMP_DESTINATION_FAILED;
	case RELAY_NO_MEMORY:
		break;
	}
	return PUMP_NO_MEMORY;
}

/* -- trailers ----------------------------------------------------------------- */

/* The last chunk and the lines behind it that go on. */
struct pump_trailers {
	struct buf bytes;
	size_t line;	/* where in them the line begins that is being read */
};

#define LAST_CHUNK "0\r\n"

static bool
goes_on(const struct body_pump *f, struct str line)
{
	const char *colon = memchr(line.p, ':', line.n);

	return !f->body.left_out && !http1_trailer_is_odd(line) &&
	       !http_own_has(f->own, (struct str){ line.p, (size_t)(colon - line.p) });
}

/* Another piece of a trailer line. */
static bool
take_trailer(struct body_pump *f, const char *p, size_t n)
{
	struct pump_trailers *t = f->trailers;

	if (t == NULL) {
		if ((t = malloc(sizeof(*t))) == NULL)
			return false;
		buf_init(&t->bytes, sizeof(LAST_CHUNK) + HTTP1_TRAILERS_MAX + 2);
		f->trailers = t;
		if (!buf_append(&t->bytes, LAST_CHUNK, sizeof(LAST_CHUNK) - 1))
			return false;
		t->line = buf_len(&t->bytes);
	}
	if (!buf_append(&t->bytes, p, n))
		return false;
	if (p[n - 1] != '\n')
		return true;
	if (!goes_on(f, (struct str){ t->bytes.data + t->line, buf_len(&t->bytes) - t->line }))
		buf_truncate(&t->bytes, t->line);
	t->line = buf_len(&t->bytes);
	return true;
}

/* What ends a chunked body. */
static bool
chunks_end(struct body_pump *f, struct str *end)
{
	if (f->trailers == NULL) {
		*end = STR(HTTP1_CHUNKS_END);
		return true;
	}
	if (!buf_append(&f->trailers->bytes, "\r\n", 2))
		return false;
	*end = buf_str(&f->trailers->bytes);
	return true;
}

struct str
pump_trailers(const struct body_pump *f)
{
	struct str all = f->trailers != NULL ? buf_str(&f->trailers->bytes) : STR(LAST_CHUNK);

	return (struct str){ all.p + sizeof(LAST_CHUNK) - 1, all.n - (sizeof(LAST_CHUNK) - 1) };
}

static void
drop_trailers(struct body_pump *f)
{
	if (f->trailers == NULL)
		return;
	buf_free(&f->trailers->bytes);
	free(f->trailers);
	f->trailers = NULL;
}

void
pump_end(struct body_pump *f, struct relay_buffers *buffers)
{
	relay_end(&f->relay, buffers);
	drop_trailers(f);
	pump_forget(f);
}

/* -- once more ------------------------------------------------------------------- */

void
pump_keep(struct body_pump *f, size_t most)
{
	if ((f->again = malloc(sizeof(*f->again))) != NULL)
		buf_init(f->again, most);
}

void
pump_forget(struct body_pump *f)
{
	if (f->again == NULL)
		return;
	buf_free(f->again);
	free(f->again);
	f->again = NULL;
}

/* -- bytes in hand -------------------------------------------------------------- */

/* As pump_take(); what ends the body is *end, if it has not found room among
 * the bytes that it stands for: those of a piece that came before are gone. */
static size_t
take_some(struct body_pump *f, char *p, size_t *n, struct str *end, enum pump_result *result)
{
	size_t taken = 0, kept = 0;

	*result = PUMP_OK;
	*end = STR("");
	while (taken < *n && !f->body.done) {
		enum http1_verdict verdict;
		enum http1_piece kind;
		size_t piece = http1_body_piece(&f->body, p + taken, *n - taken, &kind, &verdict);

		if (verdict == HTTP1_BAD) {
			*result = PUMP_BAD;
			break;
		}
		if (kind == HTTP1_PIECE_DATA || (kind == HTTP1_PIECE_FRAME && !f->unchunk)) {
			if (kept < taken)
				memmove(p + kept, p + taken, piece);
			kept += piece;
		} else if (kind == HTTP1_PIECE_TRAILER && (!f->unchunk || f->apart) && !take_trailer(f, p + taken, piece)) {
			*result = PUMP_NO_MEMORY;
		}
		taken += piece;
	}
	f->relay.bytes += taken;
	if (f->body.done && f->body.framing == HTTP1_BODY_CHUNKED && !f->unchunk && *result == PUMP_OK) {
		if (!chunks_end(f, end))
			*result = PUMP_NO_MEMORY;
		f->passed += end->n;
		if (end->n <= taken - kept) {
			memcpy(p + kept, end->p, end->n);
			f->passed -= end->n;
			kept += end->n;
			*end = STR("");
		}
	}
	f->passed += kept;
	*n = kept;
	return taken;
}

size_t
pump_take(struct body_pump *f, char *p, size_t *n, enum pump_result *result)
{
	struct str end;
	size_t taken = take_some(f, p, n, &end, result);

	/* The plain form is never longer, and nothing of it was sent before. */
	CHECK(end.n == 0);
	if (f->body.done && !f->apart)
		drop_trailers(f);
	return taken;
}

enum pump_result
pump_send(struct body_pump *f, const char *p, size_t n, struct io *destination, bool more)
{
	ssize_t sent = 0;

	if (n == 0)
		return PUMP_OK;
	if (f->again != NULL && !buf_append(f->again, p, n))
		pump_forget(f);
	if (!relay_is_blocked(&f->relay)) {
		sent = io_write(destination, p, n, more);
		if (sent < 0 && !io_would_block())
			return PUMP_DESTINATION_FAILED;
		if (sent < 0)
			sent = 0;
	}
	if ((size_t)sent < n && !relay_hold(&f->relay, p + sent, n - (size_t)sent))
		return PUMP_NO_MEMORY;
	return PUMP_OK;
}

/* The source has ended: for some messages that is their end. */
static enum pump_result
source_at_eof(struct body_pump *f)
{
	if (relay_at_eof(&f->relay) != RELAY_OK)
		return PUMP_SOURCE_FAILED;
	f->relay.eof = false;
	return http1_body_finish(&f->body) == HTTP1_DONE ? PUMP_OK : PUMP_SOURCE_ENDED;
}

bool
pump_is_bulk(const struct body_pump *f, size_t in_hand, const struct io *source, bool splices)
{
	uint64_t ahead = http1_body_skippable(&f->body);

	return ahead >= in_hand && ahead - in_hand >= SPLICE_BYTES && !f->unchunk && io_is_plain(source) &&
	       splices;
}

enum pump_result
pump_pass(struct body_pump *f, char *p, size_t n, struct io *destination, size_t *taken)
{
	enum pump_result result;
	struct str end;

	*taken = take_some(f, p, &n, &end, &result);
	if (result == PUMP_OK)
		result = pump_send(f, p, n, destination, end.n > 0);
	if (result == PUMP_OK)
		result = pump_send(f, end.p, end.n, destination, false);
	if (f->body.done)
		drop_trailers(f);
	return result;
}

enum pump_result
pump_read(struct body_pump *f, struct io *source, char *p, size_t most, struct str *data, struct str *surplus)
{
	enum pump_result result;
	struct str end;
	size_t taken;
	ssize_t n;

	*data = *surplus = (struct str){ p, 0 };
	if (f->body.framing == HTTP1_BODY_LENGTH && f->body.left < most)
		most = (size_t)f->body.left;
	n = io_read(source, p, most);
	if (n < 0)
		return io_would_block() ? PUMP_OK : PUMP_SOURCE_FAILED;
	if (n == 0)
		return source_at_eof(f);
	data->n = (size_t)n;
	taken = take_some(f, p, &data->n, &end, &result);
	CHECK(end.n == 0);	/* the chunks come off */
	*surplus = (struct str){ p + taken, (size_t)n - taken };
	return result;
}

static enum pump_result
move_by_copy(struct body_pump *f, struct io *from, struct io *to, struct relay_buffers *buffers, struct str *surplus)
{
	for (int turn = 0; turn < TURNS; turn++) {
		size_t most = buffers->size, got, taken;
		enum pump_result result;
		ssize_t n;

		/* Of a known length nothing is read that is the next message's. */
		if (!f->unchunk && f->body.framing == HTTP1_BODY_LENGTH && f->body.left < most)
			most = (size_t)f->body.left;
		n = io_read(from, buffers->buffer, most);
		if (n < 0)
			return io_would_block() ? PUMP_OK : PUMP_SOURCE_FAILED;
		if (n == 0)
			return source_at_eof(f);
		got = (size_t)n;
		result = pump_pass(f, buffers->buffer, got, to, &taken);
		/* Whatever becomes of the body, these are the next message's. */
		if (taken < got)
			*surplus = (struct str){ buffers->buffer + taken, got - taken };
		if (result != PUMP_OK)
			return result;
		if (f->body.done || pump_is_blocked(f) || (got < most && !io_pending(from)))
			return PUMP_OK;
		if (pump_is_bulk(f, 0, from, io_is_plain(to))) {
			f->relay.splicing = true;
			return PUMP_OK;
		}
	}
	return PUMP_OK;
}

static enum pump_result
move_by_splice(struct body_pump *f, struct io *from, struct io *to, struct relay_buffers *buffers)
{
	for (int turn = 0; turn < TURNS && f->relay.splicing; turn++) {
		uint64_t ahead = http1_body_skippable(&f->body), moved;
		enum relay_result r;

		/* The end of a chunk has to be looked at. */
		if (ahead == 0)
			f->relay.splicing = false;
		if (ahead == 0)
			return PUMP_OK;
		r = relay_splice(&f->relay, from, to, &buffers->pipes, ahead, &moved);
		http1_body_skip(&f->body, moved);
		f->passed += moved;
		if (r != RELAY_OK)
			return failure_of(r);
		if (f->relay.eof)
			return source_at_eof(f);
		if (f->body.done || pump_is_blocked(f) || moved == 0)
			return PUMP_OK;
	}
	return PUMP_OK;
}

enum pump_result
pump_move(struct body_pump *f, struct io *source, struct io *destination, struct relay_buffers *buffers,
	  struct str *surplus)
{
	enum relay_result flushed = relay_flush(&f->relay, destination, buffers);

	*surplus = (struct str){ NULL, 0 };
	if (flushed != RELAY_OK)
		return failure_of(flushed);
	if (pump_is_blocked(f) || f->body.done)
		return PUMP_OK;
	if (f->relay.splicing)
		return move_by_splice(f, source, destination, buffers);
	return move_by_copy(f, source, destination, buffers, surplus);
}
