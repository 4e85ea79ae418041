/* http2_frame.h - the frames of HTTP/2 (RFC 9113 sections 4 and 6): their heads, what each may
 * look like by itself, and how the ones without a body are written.
 * Pure: bytes in, verdict out; what depends on streams and windows is the caller's. */
#ifndef PROTO_HTTP2_FRAME_H
#define PROTO_HTTP2_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "proto/http2_reason.h"

#define HTTP2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define HTTP2_PREFACE_BYTES 24
#define HTTP2_FRAME_HEAD 9
/* What every endpoint takes, and what SETTINGS_MAX_FRAME_SIZE may say at most. */
#define HTTP2_FRAME_DEFAULT 16384
#define HTTP2_FRAME_MOST 16777215
#define HTTP2_WINDOW_DEFAULT 65535
#define HTTP2_WINDOW_MOST 2147483647
#define HTTP2_STREAM_MOST 2147483647

enum http2_type {
	HTTP2_DATA = 0x0,
	HTTP2_HEADERS = 0x1,
	HTTP2_PRIORITY = 0x2,
	HTTP2_RST_STREAM = 0x3,
	HTTP2_SETTINGS = 0x4,
	HTTP2_PUSH = 0x5,	/* PUSH_PROMISE */
	HTTP2_PING = 0x6,
	HTTP2_GOAWAY = 0x7,
	HTTP2_WINDOW_UPDATE = 0x8,
	HTTP2_CONTINUATION = 0x9,
	HTTP2_TYPES,	/* these and all others are passed over (RFC 9113 section 5.5) */
};

/* "HEADERS"; "UNKNOWN". */
const char *http2_type_word(uint8_t type);

#define HTTP2_F_END_STREAM 0x1	/* DATA, HEADERS */
#define HTTP2_F_ACK 0x1	/* SETTINGS, PING */
#define HTTP2_F_END_HEADERS 0x4	/* HEADERS, CONTINUATION */
#define HTTP2_F_PADDED 0x8	/* DATA, HEADERS */
#define HTTP2_F_PRIORITY 0x20	/* HEADERS */

struct http2_frame {
	uint32_t length;	/* bytes of its payload */
	uint32_t stream;	/* 0: the connection */
	uint8_t type;	/* enum http2_type, or another */
	uint8_t flags;	/* HTTP2_F_…; those that the type does not know mean nothing */
};

/* -- reading ----------------------------------------------------------------------- */

/* p: HTTP2_FRAME_HEAD bytes.  The reserved bit of the stream is passed over. */
static inline struct http2_frame
http2_frame_read(const char *p)
{
	const unsigned char *b = (const unsigned char *)p;

	return (struct http2_frame){
		.length = (uint32_t)b[0] << 16 | (uint32_t)b[1] << 8 | b[2],
		.type = b[3],
		.flags = b[4],
		.stream = ((uint32_t)b[5] << 24 | (uint32_t)b[6] << 16 | (uint32_t)b[7] << 8 | b[8]) &
			  HTTP2_STREAM_MOST,
	};
}

/* What can be said of a frame by its head alone, before its payload has come: length, and whether it belongs to
 * a stream.  most: our SETTINGS_MAX_FRAME_SIZE.  Not HTTP2_FINE and of the stream: the payload is
 * passed over.  Unknown types are fine when they are not too long. */
enum http2_reason http2_frame_check(const struct http2_frame *f, uint32_t most);

/* Of DATA and HEADERS with HTTP2_F_PADDED, whose payload begins with the byte `padding`: *content is how many
 * bytes lie between that byte and the padding.  Without the flag, whatever padding is: all of the payload. */
enum http2_reason http2_frame_padding(const struct http2_frame *f, uint8_t padding, uint32_t *content);

/* The fragment of a field block that a HEADERS frame carries; payload: all of it.  HTTP2_PRIORITY_SELF is a fault of
 * the stream, and *fragment is to be decoded all the same. */
enum http2_reason http2_headers_read(const struct http2_frame *f, struct str payload, struct str *fragment);

/* Of a PRIORITY frame that http2_frame_check() took. */
enum http2_reason http2_priority_read(const struct http2_frame *f, const char *payload);

/* 4 bytes: the error code of RST_STREAM, the increment of WINDOW_UPDATE with its reserved bit. */
static inline uint32_t
http2_u32(const char *p)
{
	const unsigned char *b = (const unsigned char *)p;

	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* The increment of a WINDOW_UPDATE frame: 1 to HTTP2_WINDOW_MOST, or HTTP2_WINDOW_ZERO, HTTP2_WINDOW_ZERO_ALL. */
enum http2_reason http2_window_read(const struct http2_frame *f, const char *payload, uint32_t *increment);

struct http2_goaway {
	uint32_t last;	/* streams above it were not and will not be looked at */
	uint32_t code;
	struct str debug;	/* borrowed from the payload; any bytes */
};
void http2_goaway_read(struct str payload, struct http2_goaway *g);

/* -- settings ----------------------------------------------------------------------- */

/* RFC 9113 section 6.5.2, RFC 8441 section 3, RFC 9218 section 2.1. */
enum http2_setting {
	HTTP2_S_HEADER_TABLE_SIZE = 0x1,
	HTTP2_S_ENABLE_PUSH = 0x2,
	HTTP2_S_MAX_CONCURRENT_STREAMS = 0x3,
	HTTP2_S_INITIAL_WINDOW_SIZE = 0x4,
	HTTP2_S_MAX_FRAME_SIZE = 0x5,
	HTTP2_S_MAX_HEADER_LIST_SIZE = 0x6,
	HTTP2_S_ENABLE_CONNECT_PROTOCOL = 0x8,
	HTTP2_S_NO_RFC7540_PRIORITIES = 0x9,
};

/* What an endpoint wants of its peer. */
struct http2_settings {
	uint32_t table;	/* HEADER_TABLE_SIZE */
	uint32_t
		table_least;	/* the smallest that it was within the last SETTINGS frame (RFC 7541 section 4.2) */
	uint32_t streams;	/* MAX_CONCURRENT_STREAMS; UINT32_MAX: any number */
	uint32_t window;	/* INITIAL_WINDOW_SIZE */
	uint32_t frame;	/* MAX_FRAME_SIZE */
	uint32_t fields;	/* MAX_HEADER_LIST_SIZE; UINT32_MAX: any size */
	bool push;	/* ENABLE_PUSH */
	bool connect;	/* ENABLE_CONNECT_PROTOCOL */
};
/* As they are before any frame has come. */
#define HTTP2_SETTINGS_INITIAL \
	((struct http2_settings){ .table = 4096, .table_least = 4096, .streams = UINT32_MAX, .window = HTTP2_WINDOW_DEFAULT, \
				  .frame = HTTP2_FRAME_DEFAULT, .fields = UINT32_MAX, .push = true })

/* Takes a SETTINGS frame (no ack) that http2_frame_check() took; payload: all of it.  from_server: a server sent it, which
 * may not enable push.  Unknown settings are passed over.  How a change of the window moves
 * those of the streams is the caller's. */
enum http2_reason http2_settings_read(struct http2_settings *s, bool from_server, struct str payload);

/* -- writing ------------------------------------------------------------------------ */
/* Each writes at out, which has room enough, and returns the first byte behind. */

static inline char *
http2_put_u32(char *out, uint32_t v)
{
	out[0] = (char)(v >> 24);
	out[1] = (char)(v >> 16);
	out[2] = (char)(v >> 8);
	out[3] = (char)v;
	return out + 4;
}

/* The head of any frame; the payload is the caller's.  HTTP2_FRAME_HEAD bytes. */
static inline char *
http2_put_head(char *out, uint32_t length, enum http2_type type, uint8_t flags, uint32_t stream)
{
	out[0] = (char)(length >> 16);
	out[1] = (char)(length >> 8);
	out[2] = (char)length;
	out[3] = (char)type;
	out[4] = (char)flags;
	return http2_put_u32(out + 5, stream);
}

#define HTTP2_RST_STREAM_BYTES 13
char *http2_put_rst_stream(char *out, uint32_t stream, uint32_t code);

#define HTTP2_WINDOW_UPDATE_BYTES 13
char *http2_put_window_update(char *out, uint32_t stream, uint32_t increment);

#define HTTP2_PING_BYTES 17
char *http2_put_ping(char *out, const char data[8], bool ack);

#define HTTP2_SETTINGS_ACK_BYTES HTTP2_FRAME_HEAD
char *http2_put_settings_ack(char *out);

/* Those of `ours` that differ from HTTP2_SETTINGS_INITIAL.  NO_RFC7540_PRIORITIES = 1 always, for priorities are not
 * looked at. */
#define HTTP2_SETTINGS_BYTES (HTTP2_FRAME_HEAD + 8 * 6)
char *http2_put_settings(char *out, const struct http2_settings *ours);

/* debug: at most HTTP2_FRAME_DEFAULT - 8 bytes. */
#define HTTP2_GOAWAY_BYTES(debug) (HTTP2_FRAME_HEAD + 8 + (debug).n)
char *http2_put_goaway(char *out, uint32_t last, uint32_t code, struct str debug);

/* Frames a field block of n bytes that was written at out + HTTP2_FRAME_HEAD: HEADERS, and CONTINUATION where the
 * peer takes no frame so large.  The block moves only then.  most: the peer's
 * SETTINGS_MAX_FRAME_SIZE.  Returns the bytes of all of them, of which out must
 * have HTTP2_HEADERS_BYTES(n, most). */
#define HTTP2_HEADERS_BYTES(n, most) ((n) + HTTP2_FRAME_HEAD * ((n) / (most) + 1))
size_t http2_frame_block(char *out, size_t n, uint32_t stream, bool end_stream, uint32_t most);

#endif
