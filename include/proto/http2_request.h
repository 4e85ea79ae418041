/* http2_request.h - the fields of a request on a stream into the head of an HTTP/1.1 request (RFC 9113 section 8.3),
 * which proto/http1_head then reads: what is strict there holds here, too.
 * Pure: into the caller's buffer.  Any thread. */
#ifndef PROTO_HTTP2_REQUEST_H
#define PROTO_HTTP2_REQUEST_H

#include "proto/hpack_decoder.h"

/* Bytes of a Sec-WebSocket-Key. */
#define HTTP2_WEBSOCKET_KEY 24

struct http2_request {
	/* Set by the caller. */
	bool end_stream;	/* HEADERS ended the stream: no body follows */
	bool connect_protocol;	/* SETTINGS_ENABLE_CONNECT_PROTOCOL was sent */
	/* Of a WebSocket: the Sec-WebSocket-Key that the HTTP/1.1 backend gets, HTTP2_WEBSOCKET_KEY characters of base64
	 * from random bytes.  NULL: a WebSocket is HTTP2_PROTOCOL_UNKNOWN. */
	const char *websocket_key;

	/* Filled in. */
	size_t n;	/* bytes of the head */
	uint64_t length;	/* that DATA must be in all, where it has_length */
	bool has_length;	/* it has a Content-Length */
	bool chunked;	/* the head says Transfer-Encoding: chunked: DATA is to be framed so */
	bool websocket;	/* extended CONNECT (RFC 8441): in HTTP/1.1 a GET that asks for an upgrade */
};

/* Writes the head into out.  fields: within their limits (over is HTTP2_FINE).  HTTP2_FINE, or why the stream is malformed: nothing of it
 * may go on then.  HTTP2_FIELDS_LARGE: room is too small; fields->used + HTTP2_REQUEST_EXTRA is always
 * enough.  What has several meanings in HTTP/1 is refused; http1_head_parse() judges the form of the target and its own
 * limits, http1_host_of() the Host. */
#define HTTP2_REQUEST_EXTRA 512
enum http2_reason
http2_request_write(const struct hpack_fields *fields, struct http2_request *r, char *out, size_t room);

/* Writes the trailers of a request as the lines between the last chunk's "0\r\n" and the final "\r\n"; *n: how many
 * bytes.  fields->used is always room enough (else HTTP2_FIELDS_LARGE).  end_stream: of their HEADERS. */
enum http2_reason
http2_trailers_write(const struct hpack_fields *fields, bool end_stream, char *out, size_t room, size_t *n);

#endif
