/* http_url.h - where an HTTP server is and what is asked of it, as people write
 * it.  Pure. */
#ifndef PROTO_HTTP_URL_H
#define PROTO_HTTP_URL_H

#include "proto/redis_url.h"

#define HTTP_URL_TARGET 2048

/* A value; owns nothing. */
struct http_url {
	bool tls;
	struct redis_endpoint at;	/* the port is 80 or 443 where none is written */
	char target[HTTP_URL_TARGET];	/* path and query, "/" at least; may hold a secret */
};

/* http://HOST[:PORT][/PATH][?QUERY] or https://… (RFC 9110 section 4.2).  E_USAGE
 * with the reason otherwise, and always where there is a user or password before the
 * host, or a fragment.  The reason never repeats what may be secret. */
MUST_USE enum err http_url_parse(const char *text, struct http_url *out, struct why *why);

/* "https://hooks.example:8443": scheme, host and port as people write them, without
 * what may be secret.  Returns text. */
#define HTTP_URL_ORIGIN 280
char *http_url_origin(const struct http_url *u, char text[HTTP_URL_ORIGIN]);
/* "hooks.example:8443": what a Host field says (RFC 9110 section 7.2).  Returns text. */
char *http_url_authority(const struct http_url *u, char text[HTTP_URL_ORIGIN]);

#endif
