/* http1_body.h - where a message ends: its framing (RFC 9112 section 6), and
 * the bytes of its body as they come.
 * Pure, incremental, small: the verdict does not depend on how the bytes are
 * cut, and nothing is kept but counters.  A proxy passes on the pieces of the
 * plain form; who must take the chunks off uses the data. */
#ifndef PROTO_HTTP1_BODY_H
#define PROTO_HTTP1_BODY_H

#include "proto/http1_head.h"

/* Chunk extensions in sight at once: each byte of one counts, and is paid off
 * by two bytes of data.  What goes beyond is no stream but a burden. */
#define HTTP1_EXTENSIONS_MAX 8192
/* Bytes of the trailer section. */
#define HTTP1_TRAILERS_MAX 8192

enum http1_framing {
	HTTP1_BODY_NONE,
	HTTP1_BODY_LENGTH,
	HTTP1_BODY_CHUNKED,
	HTTP1_BODY_CLOSE,	/* a response that lasts until its connection ends */
};

struct http1_body {
	uint64_t left;	/* data bytes to come: of the body (LENGTH), of this chunk (CHUNKED) */
	uint64_t total;	/* data bytes taken so far */
	uint64_t most;	/* data bytes that chunks may have in all, 0: any number; the caller's */
	uint16_t extensions, trailers;	/* bytes, against their limits */
	uint8_t framing;	/* enum http1_framing */
	uint8_t reason;	/* enum http1_reason, after HTTP1_BAD */
	bool done;	/* nothing of the message is to come */
	bool response;	/* a trailer that may not be one is left out, not refused, unless it frames */
	bool left_out;	/* this trailer line is such a one */
	bool lenient;	/* of a response whose head was read so */
	uint8_t odd;	/* HTTP1_ODD_BIT() of what of the framing is odd */

	/* The parser's own. */
	uint8_t state;
	uint8_t digits;	/* of this chunk's size */
	uint8_t row, matched;	/* the trailer's name so far, in the table of forbidden ones */
};

/* What follows a request's head; HTTP1_DONE, or HTTP1_BAD with the reason. */
enum http1_verdict http1_body_of_request(struct http1_body *b, const struct http1_head *h);
/* What follows a response's; head_request: it answers a HEAD.  That, 1xx, 204 and
 * 304 end with their head, whatever framing it claims (RFC 9112 section 6.3, rule
 * 1); http1_response_drops() says what of the claim does not go on. */
enum http1_verdict
http1_body_of_response(struct http1_body *b, const struct http1_head *h, bool head_request);

/* Of a response's Content-Length and Transfer-Encoding, HTTP1_BIT() of each that
 * says nothing, or nothing that goes together with the other. */
uint64_t http1_response_drops(const struct http1_head *h);

/* Takes one piece of p[0..n): returns how many bytes belong to the message
 * (never beyond its end), with the payload among them in *data.  *v:
 * HTTP1_NEED_MORE there may be more, here or to come; HTTP1_DONE that was the
 * end of the message; HTTP1_BAD the byte after the returned ones is wrong.
 * To be called until n bytes are taken or *v is not HTTP1_NEED_MORE. */
size_t
http1_body_take(struct http1_body *b, const char *p, size_t n, struct str *data, enum http1_verdict *v);

/* The plain form of a body: sizes without leading zeros, no extensions, and at
 * the end "0\r\n", the trailers that go on, and "\r\n", which the caller puts
 * there once the body is done. */
enum http1_piece {
	HTTP1_PIECE_NOTHING,	/* is no part of it */
	HTTP1_PIECE_FRAME,	/* of a chunk's size line, or behind its data */
	HTTP1_PIECE_DATA,
	HTTP1_PIECE_TRAILER,	/* of one trailer line, which it ends when its last byte is LF */
};

/* As http1_body_take(), one piece of one kind at a time. */
size_t http1_body_piece(struct http1_body *b, const char *p, size_t n, enum http1_piece *kind,
			enum http1_verdict *v);

/* May a field of that name not come after the body, because it had to be known before (RFC 9110 section 6.5.1)? */
bool http1_trailer_is_forbidden(struct str name);

/* A trailer line, CRLF and all, that a peer which does not know trailers could
 * take for a request line: its last word is a version. */
bool http1_trailer_is_odd(struct str line);

/* The connection has ended: HTTP1_DONE where that is how the body ends or it
 * had ended before, HTTP1_BAD (HTTP1_BODY_CUT) where it is cut short. */
enum http1_verdict http1_body_finish(struct http1_body *b);

/* How many of the next bytes are data for certain, so that they may pass
 * without being looked at; UINT64_MAX until the connection ends. */
uint64_t http1_body_skippable(const struct http1_body *b);
/* That many of them have passed; returns HTTP1_DONE when they were the last. */
enum http1_verdict http1_body_skip(struct http1_body *b, uint64_t n);

/* The line before a chunk of n bytes, n > 0, in out (not terminated); after
 * the data comes "\r\n", after the last chunk HTTP1_CHUNKS_END. */
#define HTTP1_CHUNK_LINE 18
#define HTTP1_CHUNKS_END "0\r\n\r\n"
size_t http1_chunk_line(uint64_t n, char out[HTTP1_CHUNK_LINE]);

#endif
