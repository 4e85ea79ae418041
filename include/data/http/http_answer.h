/* http_answer.h - the answers that Teal gives itself.
 * Thread: the owning worker. */
#ifndef DATA_HTTP_ANSWER_H
#define DATA_HTTP_ANSWER_H

#include "data/lane.h"
#include "proto/http1_head.h"

struct http_buffers;
struct http_conn;
struct http_stream;

/* An answer of Teal's own. */
struct http_answer {
	unsigned status;
	enum ending ending;	/* what the log and the counters say */
	const char *reason;	/* the same for people: on the page and in the log */
	unsigned retry_after;	/* seconds; 0: not said */
	const char *headers;	/* more header lines, each with CRLF; or NULL */
	const struct error_page *page;	/* of its body; NULL: ours */
	size_t bytes_in;	/* what came; 0: the head, or as much of one as there is */
	bool close;	/* nothing may follow */
};

/* By which a client of that service is told of such an end. */
struct http_answer http_answer_of(const struct service_config *sc, enum ending e, bool close);

/* What is known of the request that is answered. */
struct http_asker {
	const struct http1_head *head;	/* NULL: none that is whole */
	struct str id;
	bool head_request, minor0, json;
};

/* Writes it to a stream without an exchange, and the access line; h is NULL when
 * no head is whole.  Where the stream is to be closed instead the client is not kept.
 * False: the client does not take it. */
MUST_USE bool http_answer_give(struct http_conn *c, struct http_stream *s, struct lane *l, const struct http1_head *h,
			       const struct http_answer *a);
/* Its text, as HTTP/1.1 has it, in the worker's buffers; returns how many bytes. */
size_t http_answer_write(struct http_buffers *buffers, const struct http_answer *a, const struct http_asker *asker);
/* The status by which an HTTP client is told of such an end. */
unsigned http_answer_status(enum ending e);
/* Seconds after which it may come again, in Retry-After (RFC 9110 section 10.2.3): of the service's key,
 * or until source_rate lets it in; 0: nothing is said, for coming again would not help. */
unsigned http_answer_retry_after(const struct service_config *sc, enum ending e);
/* A request for server-sent events (events) gets no such answer but the end of its connection:
 * EventSource comes again after that, and gives up for good after any answer but 200. */
bool http_answer_is_closed(const struct service_config *sc, unsigned status, bool events);
/* The same in words. */
const char *http_answer_words(enum ending e);

#endif
