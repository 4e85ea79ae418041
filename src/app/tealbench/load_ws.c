/* load_ws.c - WebSockets (RFC 6455) as a load: a connection's first request is
 * the handshake, each further one a frame of SIZE bytes and its echo.
 * Thread: the flow's. */
#include "app/tealbench/load.h"
#include "app/tealbench/pattern.h"

#define FINAL_BINARY 0x82	/* FIN, opcode binary (section 5.2) */
#define MASKED 0x80
#define MASK_BYTES 4
#define SHORT_MAX 125
#define HEADER_MAX 14

/* Which request of its connection comes first is the handshake. */
static bool
is_handshake(const struct flow *f)
{
	return f->served == 0;
}

static uint64_t
frame_offset(const struct flow *f)
{
	return f->serial * 7919;
}

/* A frame's header; its length.  A client's has the mask 0, which leaves the
 * payload as it is: no intermediary here caches. */
static size_t
frame_header(uint64_t size, bool masked, unsigned char out[HEADER_MAX])
{
	unsigned bytes = size <= SHORT_MAX ? 0 : size <= UINT16_MAX ? 2 : 8;
	size_t n = 2 + bytes;

	out[0] = FINAL_BINARY;
	out[1] = (unsigned char)(bytes == 0 ? size : bytes == 2 ? 126 : 127);
	for (unsigned i = 0; i < bytes; i++)
		out[2 + i] = (unsigned char)(size >> 8 * (bytes - 1 - i));
	if (!masked)
		return n;
	out[1] |= MASKED;
	memset(out + n, 0, MASK_BYTES);
	return n + MASK_BYTES;
}

static void
ws_begin(struct flow *f)
{
	uint64_t size = f->thread->config->size;
	unsigned char header[HEADER_MAX];

	if (is_handshake(f)) {
		load_mode_http.begin(f);
		return;
	}
	f->to_send = frame_header(size, true, header) + size;
	f->to_take = frame_header(size, false, header) + size;
}

static const char *
ws_next(const struct flow *f, uint64_t *n)
{
	static _Thread_local unsigned char header[HEADER_MAX];
	uint64_t head;

	if (is_handshake(f))
		return load_mode_http.next(f, n);
	head = frame_header(f->thread->config->size, true, header);
	*n = f->sent < head ? head - f->sent : f->to_send - f->sent;
	if (f->sent < head)
		return (const char *)header + f->sent;
	*n = *n < PATTERN_PIECE ? *n : PATTERN_PIECE;
	return pattern_at(frame_offset(f) + f->sent - head);
}

/* The frame that was sent, unmasked; nothing else may come. */
static enum flow_verdict
take_frame(struct flow *f, const char *p, size_t n)
{
	unsigned char header[HEADER_MAX];
	uint64_t head = frame_header(f->thread->config->size, false, header);

	f->error = n == 0 ? LOAD_SHORT : LOAD_WRONG_BODY;
	if (n == 0 || n > f->to_take - f->taken)
		return FLOW_FAILED;
	for (; n > 0 && f->taken < head; f->taken++, p++, n--)
		if ((unsigned char)*p != header[f->taken])
			return FLOW_FAILED;
	if (f->thread->config->check && !pattern_matches(frame_offset(f) + f->taken - head, p, n))
		return FLOW_FAILED;
	f->taken += n;
	return f->taken == f->to_take ? FLOW_DONE : FLOW_MORE;
}

static enum flow_verdict
ws_take(struct flow *f, const char *p, size_t n)
{
	return is_handshake(f) ? load_http_take_upgrade(f, p, n) : take_frame(f, p, n);
}

const struct load_mode load_mode_ws = { .word = "ws",
					.http = true,
					.upgrade = true,
					.size = 64,
					.begin = ws_begin,
					.next = ws_next,
					.take = ws_take };
