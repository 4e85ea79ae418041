/* http2_response.h - the head of an HTTP/1.1 response, or trailers, into a field block (RFC 9113 section 8.3.2).
 * Pure but for the encoder's table.  Any thread. */
#ifndef PROTO_HTTP2_RESPONSE_H
#define PROTO_HTTP2_RESPONSE_H

#include "proto/hpack_encoder.h"

/* Room that is enough for the block of a head, or of trailers, of n bytes. */
#define HTTP2_RESPONSE_ROOM(n) ((n) + (n) / 16 + 64)

/* head: as http1_edit_response() and http1_error_write() compose it, blank line included; what follows is not
 * looked at.  Its fields go on in lower case, without those of a connection (RFC 9113 section 8.2.2: Connection, Keep-Alive,
 * Proxy-Connection, Transfer-Encoding, Upgrade, TE).  101 becomes 200 without Sec-WebSocket-Accept (RFC 8441 section 5).  Returns the bytes of out used, which has HTTP2_RESPONSE_ROOM(); 0: it begins with no status line, and the encoder
 * is as it was. */
size_t http2_response_write(struct str head, struct hpack_encoder *encoder, char *out);

/* The same line by line. */
struct http2_response {
	struct str head;
	size_t at;	/* where its next line begins */
	struct hpack_encoder *encoder;
	bool switched;	/* 101 */
};
/* The status; the first byte behind it, NULL: it begins with no status line. */
char *http2_response_begin(struct http2_response *r, struct str head, struct hpack_encoder *encoder, char *out);
/* The next line; NULL: there is none. */
char *http2_response_line(struct http2_response *r, char *out);

/* Trailers: lines as http1_body_piece() passes them on (HTTP1_PIECE_TRAILER), each with its CRLF. */
size_t http2_trailers_encode(struct str lines, struct hpack_encoder *encoder, char *out);

#endif
