/* http1_edit.h - the head that goes on: what a proxy takes out of a message,
 * what it adds, and everything else as it came, in its order, byte for byte.
 * Pure: from the parsed head into the caller's buffer.  Any thread. */
#ifndef PROTO_HTTP1_EDIT_H
#define PROTO_HTTP1_EDIT_H

#include "proto/http1_head.h"

/* What is told of the client, and what becomes of what it says itself. */
enum http1_forwarded {
	HTTP1_FORWARDED_OFF,	/* X-Forwarded-* and Forwarded pass as they are */
	/* a trusted proxy: ours behind what it says; its -Proto, -Host, -Port stay, in their own
	 * spelling */
	HTTP1_FORWARDED_APPEND,
	HTTP1_FORWARDED_REPLACE, /* any other client: every X-Forwarded-*, X-Real-IP and Forwarded of
					 * the client goes, in any spelling that servers fold; ours instead */
};

/* A header of the caller's own, added at the end. */
struct http1_line {
	/* Clean already: a token; no controls.  value.p NULL: only takes away. */
	struct str name, value;
	bool only;	/* what the message says under this name goes (X-Foo, x_foo …) */
};

/* Are two header names one for a server that folds case and '_' (CGI)? */
bool http1_same_name(struct str a, struct str b);

struct http1_edit {
	enum http1_forwarded forwarded;
	bool rfc7239;	/* Forwarded as well as X-Forwarded-* */
	struct str client;	/* the client's IP address as text, IPv6 without brackets */
	struct str proto;	/* "http" or "https": how the client came */
	struct str host;	/* X-Forwarded-Host: http1_host.authority; empty: none */
	uint16_t port;	/* X-Forwarded-Port; 0: none */
	/* Sent as X-Request-Id instead of what the client says: empty: the
	 * client's passes as it is.  See http1_edit_request_id(). */
	struct str request_id;
	bool id_passes;	/* the client's is taken for ours: in no other spelling beside it */
	/* What it says of a trace goes (W3C Trace Context); and that is said instead: empty: nothing. */
	bool no_trace;
	struct str traceparent;
	struct str via;	/* our name in Via (RFC 9110 section 7.6.3); empty: none */
	bool via_http2;	/* where the request came by that */
	/* Host for what has none (HTTP/1.0), and for an absolute target, which
	 * becomes a path: http1_host.authority, or the backend's address. */
	struct str authority;
	bool upgrade;	/* Upgrade goes on, with "Connection: Upgrade" */
	bool close;	/* "Connection: close": the backend connection is not kept */
	bool no_expect;	/* Expect is dropped: it was answered here */
	const struct http1_line *lines;
	unsigned n_lines;
};

/* Writes the request that goes to the backend: HTTP/1.1, in origin form (or
 * "*"), without hop-by-hop headers (RFC 9110 section 7.6.1); Content-Length and
 * Transfer-Encoding as they framed it, in their plain form.  h: a request that is DONE, whose host
 * and framing were found good; its bytes are read.  Returns how many bytes of
 * out are used, 0 when room is too small.  Not for CONNECT. */
size_t http1_edit_request(const struct http1_head *h, const struct http1_edit *e, char *out, size_t room);

/* The client's X-Request-Id when it is one that may be logged and passed on:
 * one line of 1 to 128 letters, digits and "-_.:/+=@,~"; otherwise empty, and
 * the caller makes one. */
struct str http1_edit_request_id(const struct http1_head *h);

enum http1_coding {
	HTTP1_CODING_PASS,	/* the body goes on as it is framed */
	HTTP1_CODING_REMOVE,	/* chunks are taken off: an HTTP/1.0 client, which closes at the end */
	HTTP1_CODING_ADD,	/* a body that lasted until the end of its connection is chunked now */
};

struct http1_edit_response {
	enum http1_coding coding;
	bool close;	/* "Connection: close" */
	bool keep_alive;	/* "Connection: keep-alive", as HTTP/1.0 clients need; close goes first */
	bool upgrade;	/* 101: "Connection: Upgrade", and Upgrade stays */
	bool bodyless;	/* nothing follows: what it says of a body was not judged yet */
	struct str via;	/* as above */
	struct str request_id;	/* X-Request-Id, unless the backend says one; empty: none */
	const struct http1_line *lines;
	unsigned n_lines;
};

/* The same for a response on its way to the client: HTTP/1.1, without
 * hop-by-hop headers; Date, Server and all else as the backend said them; what is
 * odd about it (http1_odd) in its plain form. */
size_t
http1_edit_response(const struct http1_head *h, const struct http1_edit_response *e, char *out, size_t room);

#endif
