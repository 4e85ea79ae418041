/* http2_client.h - the client's role: the head of an HTTP/1.1 request into a field block, and the fields of an answer
 * into the head of an HTTP/1.1 answer (RFC 9113 section 8.3), which proto/http1_head then reads.
 * Pure but for the encoder's table.  Any thread. */
#ifndef PROTO_HTTP2_CLIENT_H
#define PROTO_HTTP2_CLIENT_H

#include "proto/hpack_decoder.h"
#include "proto/hpack_encoder.h"

/* What a request's head says of itself. */
struct http2_asked {
	size_t n;	/* bytes of the block */
	uint64_t length;	/* of its body, unless chunked; 0: it has none */
	bool chunked;
	bool head;	/* HEAD: the answer has no body */
};

/* head: as http1_edit_request() composes it, in origin form, blank line included; what follows is not looked at.  tls: :scheme is
 * https.  Fields go on in lower case, without those of a connection; of TE only "trailers".  out has
 * HTTP2_RESPONSE_ROOM(head.n) bytes (proto/http2_response.h). */
void http2_request_encode(struct str head, bool tls, struct hpack_encoder *encoder, char *out,
			  struct http2_asked *asked);

struct http2_answer {
	/* Set by the caller. */
	bool head_request;	/* it answers HEAD */
	bool end_stream;	/* HEADERS ended the stream */
	bool trailers;	/* who reads it wants trailers: it is chunked also where its length is known, which is not in the head then */

	/* Filled in. */
	size_t n;	/* bytes of the head */
	unsigned status;
	uint64_t length;	/* that DATA must be in all, where it has_length */
	bool has_length;
	bool bodyless;	/* whatever it says of a body, none follows: 1xx, 204, 304, and what answers HEAD */
	bool chunked;	/* the head says Transfer-Encoding: chunked: DATA is to be framed so */
};

/* Writes the head of an answer, interim or final, into out.  fields: within their limits (over is HTTP2_FINE).  HTTP2_FINE, or why it is
 * malformed.  HTTP2_FIELDS_LARGE: room is too small; fields->used + HTTP2_ANSWER_EXTRA is always enough. */
#define HTTP2_ANSWER_EXTRA 128
enum http2_reason
http2_answer_write(const struct hpack_fields *fields, struct http2_answer *a, char *out, size_t room);

/* Writes the trailers of an answer as the lines between the last chunk's "0\r\n" and the final "\r\n"; *n: how many
 * bytes, fields->used at most.  Those that may be none are left to proto/http1_body.  end_stream: of their HEADERS. */
enum http2_reason
http2_answer_trailers(const struct hpack_fields *fields, bool end_stream, char *out, size_t room, size_t *n);

#endif
