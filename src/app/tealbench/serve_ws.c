/* serve_ws.c - WebSocket (RFC 6455) in `tealbench serve`: what comes goes
 * back, frame by frame; a ping is answered, a close is too.  Payloads of any
 * size stream.  Thread: the peer's. */
#include "app/tealbench/serve.h"
#include "net/ws_key.h"

#define PIECE_MAX (32 * 1024)
#define CONTROL 0x8
#define CLOSE 0x8
#define PING 0x9
#define PONG 0xa

bool
ws_wanted(const struct http1_head *h, struct str *key)
{
	return h->minor == 1 && http1_head_has_token(h, "connection", "upgrade") &&
	       http1_head_has_token(h, "upgrade", "websocket") &&
	       http1_head_find(h, "sec-websocket-key", key) == 1 && key->n == WS_KEY;
}

bool
ws_answer(struct peer *p, struct str key)
{
	char accept[WS_ACCEPT];

	if (!ws_accept(key.p, accept))
		return false;
	p->http.ws = (struct ws){ 0 };
	p->http.phase = HTTP_WS;
	return buf_printf(&p->out,
			  "HTTP/1.1 101 Switching Protocols\r\nX-Backend: %s\r\nUpgrade: websocket\r\n"
			  "Connection: Upgrade\r\nSec-WebSocket-Accept: %.*s\r\n\r\n",
			  p->http.broken == BREAK_LIE ? p->thread->config->lie : p->thread->config->name,
			  WS_ACCEPT, accept);
}

/* A client's frame header (section 5.2), turned into ours for the echo. */
static enum ws_verdict
take_header(struct peer *p)
{
	struct ws *ws = &p->http.ws;
	struct str in = buf_str(&p->in);
	const unsigned char *b = (const unsigned char *)in.p;
	unsigned char out[10];
	size_t extra, n;

	if (in.n < 2)
		return WS_MORE;
	extra = (b[1] & 0x7f) == 126 ? 2 : (b[1] & 0x7f) == 127 ? 8 : 0;
	if (!(b[1] & 0x80))	/* a client masks */
		return WS_BAD;
	if (in.n < 2 + extra + 4)
		return WS_MORE;
	ws->opcode = b[0] & 0x0f;
	ws->left = extra > 0 ? 0 : b[1] & 0x7f;
	for (n = 0; n < extra; n++)
		ws->left = ws->left << 8 | b[2 + n];
	if ((ws->opcode & CONTROL) && (ws->left > 125 || !(b[0] & 0x80)))
		return WS_BAD;
	memcpy(ws->mask, b + 2 + extra, 4);
	ws->at = 0;
	ws->in_frame = true;
	memcpy(out, b, 2 + extra);
	out[0] = ws->opcode == PING ? (unsigned char)((out[0] & 0xf0) | PONG) : out[0];
	out[1] &= 0x7f;
	buf_consume(&p->in, 2 + extra + 4);
	/* A pong needs no answer. */
	return ws->opcode == PONG || buf_append(&p->out, out, 2 + extra) ? WS_ON : WS_BAD;
}

enum ws_verdict
ws_step(struct peer *p)
{
	struct ws *ws = &p->http.ws;
	struct str in;
	size_t n;
	char *out;

	if (!ws->in_frame)
		return take_header(p);
	in = buf_str(&p->in);
	n = in.n < ws->left ? in.n : (size_t)ws->left;
	n = n < PIECE_MAX ? n : PIECE_MAX;
	if (n == 0 && ws->left > 0)
		return WS_MORE;
	if (n > 0 && ws->opcode != PONG) {
		if ((out = buf_reserve(&p->out, n)) == NULL)
			return WS_BAD;
		for (size_t i = 0; i < n; i++)
			out[i] = in.p[i] ^ (char)ws->mask[(ws->at + i) & 3];
		buf_commit(&p->out, n);
	}
	buf_consume(&p->in, n);
	ws->at += n;
	ws->left -= n;
	if (ws->left > 0)
		return WS_ON;
	ws->in_frame = false;
	return ws->opcode == CLOSE ? WS_OVER : WS_ON;
}
