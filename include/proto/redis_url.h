/* redis_url.h - where a Redis server is, as people write it.  Pure. */
#ifndef PROTO_REDIS_URL_H
#define PROTO_REDIS_URL_H

#include <stdbool.h>

#include "base/err.h"

#define REDIS_PORT 6379
#define SENTINEL_PORT 26379

/* A value; owns nothing. */
struct redis_endpoint {
	char host[254];	/* a name or an IP address, IPv6 without brackets */
	unsigned port;
};

struct redis_url {
	bool tls;
	struct redis_endpoint at;	/* host "" when path is set */
	char path[108];	/* of a Unix socket, absolute; "" otherwise */
	char user[128];	/* "": the default user */
	unsigned database;
};

/* redis://[USER@]HOST[:PORT][/DB], rediss://… for TLS, or
 * unix://[USER@]/PATH[?db=DB]; the user may be percent-encoded.  E_USAGE with
 * the reason otherwise, and always when there is a password: those belong
 * into a file of their own.  The reason never repeats what may be secret. */
MUST_USE enum err redis_url_parse(const char *text, struct redis_url *out, struct why *why);

/* HOST[:PORT], [IPV6][:PORT]; E_USAGE with the reason otherwise. */
MUST_USE enum err
redis_endpoint_parse(const char *text, unsigned default_port, struct redis_endpoint *out, struct why *why);

#endif
