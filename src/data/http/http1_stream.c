/* http1_stream.c - what an exchange asks of a client that speaks HTTP/1.
 * Thread: owning worker. */
#include <string.h>
#include <sys/ioctl.h>
#include <linux/sockios.h>

#include "data/http/http_answer.h"
#include "data/http/http_buffers.h"
#include "data/http/http_conn.h"
#include "data/proxy.h"
#include "data/tcp/session.h"
#include "net/sock.h"

static struct http_conn *
conn_of(const struct http_stream *s)
{
	struct http_conn *c = container_of(s, struct http_conn, stream);

	CHECK(c->magic == HTTP_CONN_MAGIC);
	return c;
}

static struct relay_buffers *
buffers_of(const struct http_conn *c)
{
	return &c->lane->worker->buffers;
}

/* -- the request ---------------------------------------------------------------- */

/* Puts back what was read of the next request, before the result is
 * judged.  Where there is no room for it the connection has lost its place among the bytes, and ends. */
static enum pump_result
read_http1_body(struct http_stream *s, struct body_pump *up, struct io *backend)
{
	struct http_conn *c = conn_of(s);
	struct str surplus;
	enum pump_result moved = pump_move(up, &c->io, backend, buffers_of(c), &surplus);
	int failed = errno;

	/* Only behind an end is there a next message; behind what is bad nothing is. */
	DCHECK(surplus.n == 0 || pump_has_all(up) || moved == PUMP_BAD);
	if (http_conn_put_back(c, surplus.p, surplus.n)) {
		errno = failed;
		return moved;
	}
	s->keep = s->close_requested = false;
	return PUMP_NO_MEMORY;
}

static enum pump_result
read_http1_ahead(struct http_stream *s)
{
	struct http_conn *c = conn_of(s);
	struct relay_buffers *buffers = buffers_of(c);
	size_t most = buf_room(&c->in) < buffers->size ? buf_room(&c->in) : buffers->size;
	ssize_t n;

	if (most == 0 || s->eof)
		return PUMP_OK;
	n = io_read(&c->io, buffers->buffer, most);
	if (n < 0)
		return io_would_block() ? PUMP_OK : PUMP_SOURCE_FAILED;
	/* It may have closed its half only, and want the answer. */
	s->eof = n == 0;
	return http_conn_stash(c, buffers->buffer, (size_t)n) ? PUMP_OK : PUMP_NO_MEMORY;
}

static void
begin_http1(struct http_stream *s)
{
	conn_of(s)->state = HTTP_CONN_BUSY;
}

static bool
is_last_of_http1(const struct http_stream *s)
{
	return s->eof && buf_len(&conn_of(s)->in) == 0;
}

static bool
http1_client_is_gone(struct http_stream *s, bool whole)
{
	struct io *io = &conn_of(s)->io;

	return sock_error(io_fd(io)) != 0 || (!whole && io_has_ended(io));
}

static void
want_of_http1(struct http_stream *s, bool body, bool ahead, bool room)
{
	struct http_conn *c = conn_of(s);

	http_conn_want(c, body || (ahead && !s->eof && buf_room(&c->in) > 0), room);
}

/* -- the answer ------------------------------------------------------------------ */

static enum pump_result
write_http1_head(struct http_stream *s, const struct http1_head *h, const struct http1_edit_response *e,
		 struct body_pump *down, struct str body, bool last, size_t *bytes)
{
	struct http_conn *c = conn_of(s);
	struct http_buffers *b = c->lane->worker->http;
	size_t head = *bytes = http1_edit_response(h, e, b->out, b->size);
	enum pump_result result;

	if (head == 0)
		return PUMP_BAD;
	if (head + body.n <= b->size) {
		memcpy(b->out + head, body.p, body.n);
		return pump_send(down, b->out, head + body.n, &c->io, last);
	}
	result = pump_send(down, b->out, head, &c->io, true);
	return result == PUMP_OK ? pump_send(down, body.p, body.n, &c->io, false) : result;
}

static enum pump_result
write_http1_body(struct http_stream *s, struct body_pump *down, struct io *from, struct str *surplus)
{
	struct http_conn *c = conn_of(s);

	if (from != NULL)
		return pump_move(down, from, &c->io, buffers_of(c), surplus);
	return relay_flush(&down->relay, &c->io, buffers_of(c)) == RELAY_OK ? PUMP_OK :
									      PUMP_DESTINATION_FAILED;
}

static bool
answer_http1(struct http_stream *s, const struct http_answer *a, const struct http_asker *asker,
	     size_t *bytes)
{
	struct http_conn *c = conn_of(s);
	struct http_buffers *b = c->lane->worker->http;
	size_t n = *bytes = http_answer_write(b, a, asker);

	/* It fits into any socket that is read at all. */
	return io_write(&c->io, b->out, n, false) == (ssize_t)n;
}

static uint64_t
untaken_by_http1(const struct http_stream *s)
{
	int queued = 0;

	return ioctl(io_fd(&conn_of(s)->io), SIOCOUTQ, &queued) == 0 ? (uint64_t)queued : 0;
}

/* -- the end ---------------------------------------------------------------------- */

static void
answered_http1(struct http_stream *s, bool taken, bool close)
{
	http_conn_answered(conn_of(s), taken, close);
}

static void
done_with_http1(struct http_stream *s)
{
	http_conn_next(conn_of(s));
}

static void
reset_http1(struct http_stream *s, enum ending ending, bool hard)
{
	struct http_conn *c = conn_of(s);

	if (hard)
		io_reset_on_close(&c->io);
	http_conn_end(c, ending);
}

static const struct io *
io_of_http1(const struct http_stream *s)
{
	return &conn_of(s)->io;
}

static const char *
upgrade_http1(struct http_stream *s, const struct http1_head *h, const struct http1_edit_response *e,
	      struct str rest, struct session_legs *legs, size_t *bytes)
{
	struct http_conn *c = conn_of(s);
	struct http_buffers *b = c->lane->worker->http;
	size_t head = *bytes = http1_edit_response(h, e, b->out, b->size);

	if (head == 0 || head + rest.n > b->size)
		return http1_reason_words(HTTP1_HEAD_LONG);
	memcpy(b->out + head, rest.p, rest.n);
	legs->to_client = (struct str){ b->out, head + rest.n };
	legs->to_server = buf_str(&c->in);
	legs->permit = &c->permit;
	legs->client = &c->io;
	return NULL;
}

static void
release_http1(struct http_stream *s)
{
	http_conn_release(conn_of(s));
}

const struct http_stream_ops http1_stream_ops = {
	.splices = true,
	.begins = begin_http1,
	.read_body = read_http1_body,
	.read_ahead = read_http1_ahead,
	.is_last = is_last_of_http1,
	.is_gone = http1_client_is_gone,
	.want = want_of_http1,
	.write_head = write_http1_head,
	.write_body = write_http1_body,
	.answer = answer_http1,
	.untaken = untaken_by_http1,
	.answered = answered_http1,
	.done = done_with_http1,
	.reset = reset_http1,
	.io = io_of_http1,
	.upgrade = upgrade_http1,
	.release = release_http1,
};
