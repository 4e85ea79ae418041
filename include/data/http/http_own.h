/* http_own.h - the names that only Teal may say, in heads, trailers and interim
 * answers alike, in any spelling that servers fold ("X-Foo", "x_foo").
 * What a message says under one of them does not pass.  X-Forwarded-* and
 * X-Real-IP are not listed: in a head they pass where the client is a trusted
 * proxy (proto/http1_edit); in trailers never.
 * Made for a service's configuration, into which they point.  Any thread. */
#ifndef DATA_HTTP_OWN_H
#define DATA_HTTP_OWN_H

#include "model/config.h"
#include "proto/http1_edit.h"

/* The rows of http_own.lines where client_ca is set. */
enum { HTTP_OWN_SUBJECT, HTTP_OWN_FINGERPRINT };
#define HTTP_OWN_MAX 3

struct http_own {
	struct http1_line lines[HTTP_OWN_MAX];	/* .only, and without a value: names */
	unsigned n;
};

/* Of requests: the preview header, and what tells of the client's certificate. */
void http_own_of_requests(struct http_own *o, const struct service_config *config);
/* Of answers: the color's header. */
void http_own_of_answers(struct http_own *o, const struct service_config *config);

/* May no trailer have that name?  own may be NULL. */
bool http_own_has(const struct http_own *own, struct str name);

#endif
