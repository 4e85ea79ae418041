/* http1_host.h - who a request is for (RFC 9112 sections 3.2 and 3.3): what is
 * compared with a service's hosts.  Pure; any thread. */
#ifndef PROTO_HTTP1_HOST_H
#define PROTO_HTTP1_HOST_H

#include "proto/http1_head.h"

/* A DNS name has 253 characters at most (RFC 1035); longer ones are refused. */
#define HTTP1_HOST_MAX 255

struct http1_host {
	/* In lower case, without port and without the dot that may end a name;
	 * an IPv6 address as "[::1]", in its shortest form.  Terminated.
	 * Empty: HTTP/1.0 without Host. */
	char name[HTTP1_HOST_MAX + 1];
	uint8_t n;
	uint16_t port;	/* 0: none was given */
	/* As sent, port and all: what X-Forwarded-Host tells, and what Host
	 * becomes when the target was absolute.  Borrowed from the head's bytes. */
	struct str authority;
};

/* Reads it from a request that is DONE.  HTTP1_FINE, or why it is refused:
 * HTTP/1.1 without Host, Host twice, or malformed; all the same when the target
 * is absolute, whose authority then counts instead of Host. */
enum http1_reason http1_host_of(const struct http1_head *h, struct http1_host *out);

/* The same for a piece of text such as "shop.example:8080": HTTP1_HOST_BAD when
 * it is no uri-host [":" port] (RFC 3986 section 3.2), is empty or holds user
 * information. */
enum http1_reason http1_host_parse(struct str authority, struct http1_host *out);

/* Does a pattern of a service's hosts cover that name: "shop.example" exactly,
 * "*.shop.example" anything below it, however deep, but not itself?  The
 * pattern is in lower case. */
bool http1_host_matches(const char *pattern, const struct http1_host *host);

#endif
