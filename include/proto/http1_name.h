/* http1_name.h - the header names that mean something to a proxy, and how to
 * tell them at once: by length and two letters, then one comparison.
 * Pure; any thread. */
#ifndef PROTO_HTTP1_NAME_H
#define PROTO_HTTP1_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*	enum                        first, last but one, all; in lower case */
#define HTTP1_NAME_TABLE(X) \
	X(HTTP1_CONNECTION,           'c', 'o', "connection") \
	X(HTTP1_CONTENT_LENGTH,       'c', 't', "content-length") \
	X(HTTP1_TRANSFER_ENCODING,    't', 'n', "transfer-encoding") \
	X(HTTP1_HOST,                 'h', 's', "host") \
	X(HTTP1_EXPECT,               'e', 'c', "expect") \
	X(HTTP1_UPGRADE,              'u', 'd', "upgrade") \
	X(HTTP1_TE,                   't', 't', "te") \
	X(HTTP1_TRAILER,              't', 'e', "trailer") \
	X(HTTP1_KEEP_ALIVE,           'k', 'v', "keep-alive") \
	X(HTTP1_PROXY_CONNECTION,     'p', 'o', "proxy-connection") \
	X(HTTP1_PROXY_AUTHENTICATE,   'p', 't', "proxy-authenticate") \
	X(HTTP1_PROXY_AUTHORIZATION,  'p', 'o', "proxy-authorization") \
	X(HTTP1_X_FORWARDED_FOR,      'x', 'o', "x-forwarded-for") \
	X(HTTP1_X_FORWARDED_PROTO,    'x', 't', "x-forwarded-proto") \
	X(HTTP1_X_FORWARDED_HOST,     'x', 's', "x-forwarded-host") \
	X(HTTP1_X_FORWARDED_PORT,     'x', 'r', "x-forwarded-port") \
	X(HTTP1_X_REAL_IP,            'x', 'i', "x-real-ip") \
	X(HTTP1_FORWARDED,            'f', 'e', "forwarded") \
	X(HTTP1_X_REQUEST_ID,         'x', 'i', "x-request-id") \
	X(HTTP1_VIA,                  'v', 'i', "via") \
	X(HTTP1_ACCEPT,               'a', 'p', "accept") \
	X(HTTP1_USER_AGENT,           'u', 'n', "user-agent") \
	X(HTTP1_DATE,                 'd', 't', "date") \
	X(HTTP1_SERVER,               's', 'e', "server") \
	X(HTTP1_MAX_FORWARDS,         'm', 'd', "max-forwards") \
	X(HTTP1_AUTHORIZATION,        'a', 'o', "authorization") \
	X(HTTP1_COOKIE,               'c', 'i', "cookie") \
	X(HTTP1_CONTENT_TYPE,         'c', 'p', "content-type") \
	X(HTTP1_HTTP2_SETTINGS,       'h', 'g', "http2-settings") \
	X(HTTP1_TRACEPARENT,          't', 'n', "traceparent") \
	X(HTTP1_TRACESTATE,           't', 't', "tracestate")

enum http1_name {
	HTTP1_OTHER,	/* none of these */
#define X(name, first, last_but_one, text) name,
	HTTP1_NAME_TABLE(X)
#undef X
		HTTP1_X_FORWARDED_OTHER,	/* any other that begins with "X-Forwarded-" */
	HTTP1_NAMES,
};
_Static_assert(HTTP1_NAMES <= 64, "a mask has 64 bits");

/* Its bit in a mask such as http1_head.seen. */
#define HTTP1_BIT(name) (UINT64_C(1) << (name))

/* Length, first letter and last but one (lower case) tell all of the table
 * apart; the compiler complains of two names in one place. */
#define HTTP1_NAME_SLOTS 64
#define HTTP1_NAME_SLOT(n, first, last_but_one) \
	((5 * (n) + 29 * (unsigned char)(first) + 7 * (unsigned char)(last_but_one)) % HTTP1_NAME_SLOTS)

struct http1_known {
	char text[22];	/* lower case */
	uint8_t n;	/* 0: no name here */
	uint8_t id;
};
extern const struct http1_known http1_known[HTTP1_NAME_SLOTS];

static inline uint64_t
http1_load8(const void *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return v;
}

static inline uint32_t
http1_load4(const void *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return v;
}

/* Are two names of n bytes the same, in any case?  p holds nothing but token
 * characters (else '\r' would pass for '-'), lower no capitals. */
static inline bool
http1_name_same(const char *p, const char *lower, size_t n)
{
	const uint64_t fold = UINT64_C(0x2020202020202020);

	if (n >= 8) {
		for (size_t i = 0; i + 8 < n; i += 8)
			if ((http1_load8(p + i) | fold) != http1_load8(lower + i))
				return false;
		return (http1_load8(p + n - 8) | fold) == http1_load8(lower + n - 8);
	}
	if (n >= 4)
		return (http1_load4(p) | (uint32_t)fold) == http1_load4(lower) &&
		       (http1_load4(p + n - 4) | (uint32_t)fold) == http1_load4(lower + n - 4);
	for (size_t i = 0; i < n; i++)
		if ((p[i] | 0x20) != lower[i])
			return false;
	return true;
}

/* The same for those that many servers hold for one: '_' counts as '-'. */
bool http1_name_folds(const char *p, const char *lower, size_t n);

/* For a name that is no known one: the one it would become in a server that
 * turns '-' into '_' (CGI, WSGI, PHP), as in "X_Forwarded_For"; otherwise
 * HTTP1_OTHER.  "X-Forwarded-Anything" is HTTP1_X_FORWARDED_OTHER. */
enum http1_name http1_name_alias(const char *p, size_t n, const struct http1_known *k);

/* The name's id; n >= 1 token characters.  *alias is another one only for
 * HTTP1_OTHER (see above). */
static inline enum http1_name
http1_name_of(const char *p, size_t n, enum http1_name *alias)
{
	const struct http1_known *k;

	*alias = HTTP1_OTHER;
	if (n < 2)
		return HTTP1_OTHER;
	k = &http1_known[HTTP1_NAME_SLOT((unsigned)n, p[0] | 0x20, p[n - 2] | 0x20)];
	if (k->n == n && http1_name_same(p, k->text, n))
		return (enum http1_name)k->id;
	if (k->n == n || (n > 12 && (p[0] | 0x20) == 'x'))
		*alias = http1_name_alias(p, n, k);
	return HTTP1_OTHER;
}

#endif
