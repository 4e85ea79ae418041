/* http2_tunnel.h - a WebSocket on a stream of HTTP/2 (RFC 8441): once the backend has switched, the stream is the
 * channel by which a session reaches its client.  Flow control, half-close and reset of the stream are those of the session's
 * socket.
 * Born with the request, ends with its stream.
 * Thread: the owning worker. */
#ifndef DATA_HTTP2_TUNNEL_H
#define DATA_HTTP2_TUNNEL_H

#include "data/http2/http2_stream.h"
#include "net/ws_key.h"

struct http2_tunnel {
	struct io_channel channel;	/* its io is a session's client; NULL: not yet, or not any more */
	struct http2_stream *st;
	int wants;	/* what the session waits for: EV_READ, EV_WRITE */
	bool reset;	/* the end is not a polite one */
	char key[WS_KEY];	/* that the backend was given */
};

/* Of a stream that asks for a WebSocket.  False without memory. */
MUST_USE bool http2_tunnel_new(struct http2_stream *st, const char key[WS_KEY]);
/* A session has it. */
bool http2_tunnel_is_open(const struct http2_stream *st);
/* Ends that session, and the stream with it. */
void http2_tunnel_end(struct http2_stream *st, enum ending ending);
/* Something has come, or windows have opened. */
void http2_tunnel_run(struct http2_stream *st, bool readable, bool writable);

/* `upgrade` and `release` of http2_stream_ops. */
const char *
http2_tunnel_upgrade(struct http_stream *s, const struct http1_head *h, const struct http1_edit_response *e,
		     struct str rest, struct session_legs *legs, size_t *bytes);
void http2_tunnel_release(struct http_stream *s);

#endif
