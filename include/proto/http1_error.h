/* http1_error.h - the answers a proxy gives itself: small, complete, never
 * kept by a cache.  Pure but for the clock; any thread. */
#ifndef PROTO_HTTP1_ERROR_H
#define PROTO_HTTP1_ERROR_H

#include "proto/http1_head.h"

struct http1_error {
	unsigned status;	/* one that has a phrase: see http1_error_phrase() */
	const char *detail;	/* a sentence for people, or NULL; it is escaped */
	struct str request_id;	/* in the body and as X-Request-Id; empty: neither */
	bool json;	/* or HTML */
	bool head_only;	/* it answers a HEAD: the length, but no body */
	bool close;	/* "Connection: close"; otherwise HTTP/1.1 goes on */
	bool keep_alive;	/* "Connection: keep-alive", for an HTTP/1.0 client */
	unsigned retry_after;	/* seconds; 0: not said */
	/* A body instead of ours, with its Content-Type; page.p NULL: none. */
	struct str page;
	const char *type;
	/* More header lines, each with its CRLF: "Allow: …", "Location: …"; or NULL. */
	const char *headers;
};

/* "Bad Gateway"; of a status that has none here "Error". */
const char *http1_error_phrase(unsigned status);

/* The whole answer.  Returns how many bytes of out are used, 0 when room is
 * too small: HTTP1_ERROR_MAX and the lengths of the page or detail, twice the request id
 * and headers are enough.  Control characters and what HTML or JSON would take
 * for more than text are escaped, up to six bytes each. */
#define HTTP1_ERROR_MAX 1024
size_t http1_error_write(const struct http1_error *e, char *out, size_t room);

/* Would the client rather read JSON than HTML (RFC 9110 section 12.5.1)?  At
 * equal weight the one that is named more exactly; otherwise HTML. */
bool http1_accepts_json(const struct http1_head *h);
/* Is it a request as EventSource makes it (HTML, "Server-sent events"): a GET that accepts text/event-stream
 * and nothing else?  Programs that list other types as well read answers of other kinds. */
bool http1_wants_events(const struct http1_head *h);

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7), terminated. */
#define HTTP1_DATE_TEXT 30
void http1_date(int64_t seconds, char text[HTTP1_DATE_TEXT]);

#endif
