/* http2_tunnel.c - the stream of a WebSocket as a session's channel.  Thread: owning worker. */
#include <stdlib.h>
#include <string.h>

#include "data/http/exchange.h"
#include "data/http/http_buffers.h"
#include "data/http2/http2_private.h"
#include "data/http2/http2_tunnel.h"
#include "data/proxy.h"
#include "data/tcp/session.h"

/* -- what a session does with its client ----------------------------------------------- */

static struct http2_tunnel *
tunnel_of(struct io_channel *ch)
{
	struct http2_tunnel *t = container_of(ch, struct http2_tunnel, channel);

	CHECK(t->st->magic == HTTP2_STREAM_MAGIC && t->st->tunnel == t);
	return t;
}

static ssize_t
read_tunnel(struct io_channel *ch, void *p, size_t n)
{
	struct http2_stream *st = tunnel_of(ch)->st;
	struct str all = buf_str(&st->in);

	if (st->peer_reset || (all.n == 0 && !st->recv_done)) {
		errno = st->peer_reset ? ECONNRESET : EAGAIN;
		return -1;
	}
	if (n > all.n)
		n = all.n;
	if (n > 0)
		memcpy(p, all.p, n);
	buf_consume(&st->in, n);
	if (n == all.n) {
		buf_free(&st->in);
		http2_credit_body(st);
	}
	return (ssize_t)n;
}

static ssize_t
write_tunnel(struct io_channel *ch, const void *p, size_t n)
{
	struct http2_stream *st = tunnel_of(ch)->st;
	ssize_t sent = -1;

	if (!st->peer_reset && !st->ended)
		sent = http2_send_some(st, p, n);
	if (sent < 0)
		errno = ECONNRESET;
	if (sent != 0 || n == 0)
		return sent;
	errno = EAGAIN;
	return -1;
}

static void
want_of_tunnel(struct io_channel *ch, int events)
{
	struct http2_tunnel *t = tunnel_of(ch);
	struct http2_stream *st = t->st;

	t->wants = events;
	if ((events & EV_READ) && (buf_len(&st->in) > 0 || st->recv_done)) {
		http2_stream_ready(st, true, false);
		http2_make_due(st->conn);
	}
}

/* RFC 8441 section 5: END_STREAM is what FIN is, and RST_STREAM with CANCEL what RST is. */
static void
shut_tunnel(struct io_channel *ch)
{
	(void)http2_send_end(tunnel_of(ch)->st);
}

static void
reset_tunnel_on_close(struct io_channel *ch)
{
	tunnel_of(ch)->reset = true;
}

static void
close_tunnel(struct io_channel *ch)
{
	struct http2_tunnel *t = tunnel_of(ch);
	struct http2_stream *st = t->st;

	if (st->peer_reset)
		http2_stream_close(st);
	else if (t->reset || !http2_send_end(st))
		http2_stream_reset(st, HTTP2_CANCEL);
	else if (st->conn->broken)	/* there is no time */
		http2_stream_close(st);
	else
		http2_finish_stream(st);
}

static const struct io_channel_ops tunnel_ops = {
	.read = read_tunnel,
	.write = write_tunnel,
	.want = want_of_tunnel,
	.shutdown = shut_tunnel,
	.reset_on_close = reset_tunnel_on_close,
	.close = close_tunnel,
};

/* -- what the stream does with its session ---------------------------------------------- */

bool
http2_tunnel_is_open(const struct http2_stream *st)
{
	return st->tunnel != NULL && st->tunnel->channel.io != NULL;
}

void
http2_tunnel_end(struct http2_stream *st, enum ending ending)
{
	CHECK(http2_tunnel_is_open(st));
	/* A connection that is gone is a reset to each of its streams. */
	session_end(container_of(st->tunnel->channel.io, struct session, client),
		    ending == END_CLIENT_GONE ? END_CLIENT_RESET : ending);
}

void
http2_tunnel_run(struct http2_stream *st, bool readable, bool writable)
{
	int revents = ((readable ? EV_READ : 0) | (writable ? EV_WRITE : 0)) & st->tunnel->wants;

	if (revents != 0)
		io_channel_tell(http2_worker(st->conn)->loop, &st->tunnel->channel, revents);
}

/* -- its begin ---------------------------------------------------------------------------- */

bool
http2_tunnel_new(struct http2_stream *st, const char key[WS_KEY])
{
	struct http2_tunnel *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return false;
	t->channel.ops = &tunnel_ops;
	t->channel.tls = st->conn->c->io.tls;
	t->st = st;
	memcpy(t->key, key, WS_KEY);
	st->tunnel = t;
	return true;
}

/* It has understood, and is no cache or the like that says 101 to everything (RFC 6455 section 4.1). */
static bool
accepts(const struct http1_head *h, const struct http2_tunnel *t)
{
	char accept[WS_ACCEPT];
	struct str said;

	return http1_head_find(h, "sec-websocket-accept", &said) == 1 && said.n == WS_ACCEPT &&
	       ws_accept(t->key, accept) && memcmp(said.p, accept, WS_ACCEPT) == 0;
}

const char *
http2_tunnel_upgrade(struct http_stream *s, const struct http1_head *h, const struct http1_edit_response *e,
		     struct str rest, struct session_legs *legs, size_t *bytes)
{
	struct http2_stream *st = http2_stream_of(s);
	struct http_buffers *b = http2_worker(st->conn)->http;

	*bytes = 0;
	if (!accepts(h, st->tunnel))
		return "101 with a Sec-WebSocket-Accept that is not of the key";
	*bytes =
		http1_edit_response(h, e, b->out, b->size);
	if (*bytes == 0 || (*bytes = http2_send_block(st, (struct str){ b->out, *bytes }, false, false)) == 0)
		return http1_reason_words(HTTP1_HEAD_LONG);
	st->headed = st->begun = true;
	io_init_channel(&legs->channel, &st->tunnel->channel, NULL);
	legs->client = &legs->channel;
	legs->permit = &s->exchange->dial.permit;
	legs->to_client = rest;
	legs->to_server = STR("");
	return NULL;
}

void
http2_tunnel_release(struct http_stream *s)
{
	upstream_disown(s);
}
