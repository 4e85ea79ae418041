/* ws_frames.c - the lengths of WebSocket frames.  Pure; any thread. */
#include "proto/ws_frames.h"

#define OPCODE 0x0f
#define CLOSE 0x8
#define MASKED 0x80
#define LENGTH 0x7f

static void
take_byte(struct ws_frames *f, uint8_t byte)
{
	if (f->have == 0) {
		f->closed |= (byte & OPCODE) == CLOSE;
		f->have = 1;
		return;
	}
	if (f->have == 1) {
		f->have = 2;
		f->mask = byte & MASKED ? 4 : 0;
		f->left = byte & LENGTH;
		f->extended = f->left == 126 ? 2 : f->left == 127 ? 8 : 0;
		if (f->extended > 0)
			f->left = 0;
	} else if (f->extended > 0) {
		f->extended--;
		f->left = f->left << 8 | byte;
	} else {
		f->mask--;
	}
	if (f->extended == 0 && f->mask == 0)
		f->have = 0;
}

void
ws_frames_follow(struct ws_frames *f, const char *p, size_t n)
{
	while (n > 0) {
		size_t k = ws_frames_payload(f) < n ? (size_t)ws_frames_payload(f) : n;

		if (k > 0) {
			f->left -= k;
		} else {
			take_byte(f, (uint8_t)*p);
			k = 1;
		}
		p += k;
		n -= k;
	}
}
