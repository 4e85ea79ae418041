/* ws_frames.h - where the frames of a WebSocket end (RFC 6455 section 5.2): lengths only, whatever is
 * in them.  One direction, from its first byte; pure: it never allocates and judges nothing. */
#ifndef PROTO_WS_FRAMES_H
#define PROTO_WS_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero is a stream that has not begun. */
struct ws_frames {
	uint64_t left;	/* bytes of the payload to come; while its length is read, what is known of that */
	uint8_t have;	/* bytes of the first two of a header that have come; 0: none, or the header is whole */
	uint8_t extended;	/* bytes of the extended length to come */
	uint8_t mask;	/* and of the mask */
	bool closed;	/* a Close frame has begun: no other may follow (section 5.5.1) */
};

/* The next n bytes of the stream. */
void ws_frames_follow(struct ws_frames *f, const char *p, size_t n);

/* Bytes of the stream that are certain to be payload: they need not be looked at, only taken off f->left. */
static inline uint64_t
ws_frames_payload(const struct ws_frames *f)
{
	return f->have == 0 ? f->left : 0;
}

/* A frame may be added here. */
static inline bool
ws_frames_may_add(const struct ws_frames *f)
{
	return f->have == 0 && f->left == 0 && !f->closed;
}

/* A Close frame of a server, which is never masked: 1001, "going away" (section 7.4.1). */
#define WS_GOING_AWAY 1001
#define WS_GOING_AWAY_FRAME "\x88\x02\x03\xe9"
#define WS_GOING_AWAY_BYTES 4

#endif
