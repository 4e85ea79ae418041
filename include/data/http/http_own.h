/* http_own.h - the names that only Teal may say, in heads, trailers and interim
 * answers alike, in any spelling that servers fold ("X-Foo", "x_foo"): its own, and those that
 * request_headers and response_headers set or remove.
 * What a message says under one of them does not pass.  X-Forwarded-* and
 * X-Real-IP are not listed: in a head they pass where the client is a trusted
 * proxy (proto/http1_edit); in trailers never.
 * Made for a service's configuration, into which they point.  Any thread. */
#ifndef DATA_HTTP_OWN_H
#define DATA_HTTP_OWN_H

#include "model/config.h"
#include "proto/http1_edit.h"

/* The rows of http_own.lines of requests where client_ca is set, ... */
enum { HTTP_OWN_SUBJECT, HTTP_OWN_FINGERPRINT };
/* ... and of answers with color_header. */
enum { HTTP_OWN_COLOR };
#define HTTP_OWN_MAX (3 + HEADERS_SET_MAX)

struct http_own {
	struct http1_line *lines;	/* owned; .only; without a value: names, whose value may be a single message's */
	unsigned n;	/* at most HTTP_OWN_MAX */
	bool trace;	/* of trailers also traceparent and tracestate; of heads data/http/http_trace.c decides */
};

/* Instead of what it had, if anything.  Of requests: the preview header, what tells of the client's certificate,
 * request_headers.  Aborts when memory is out. */
void http_own_of_requests(struct http_own *o, const struct service_config *config);
/* Of answers: the color's header, response_headers. */
void http_own_of_answers(struct http_own *o, const struct service_config *config);
void http_own_free(struct http_own *o);

/* May no trailer have that name?  own may be NULL. */
bool http_own_has(const struct http_own *own, struct str name);
/* For a message whose values are its own: the lines, copied. */
void http_own_copy(const struct http_own *own, struct http1_line lines[HTTP_OWN_MAX]);
/* And for one that gets no lines: the names alone. */
void http_own_names(const struct http_own *own, struct http1_line lines[HTTP_OWN_MAX]);

#endif
