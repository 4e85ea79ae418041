/* http_request.h - what becomes of a request whose head is there: refused,
 * redirected, or an exchange; and the answers that Teal gives itself.
 * Thread: the owning worker. */
#ifndef DATA_HTTP_REQUEST_H
#define DATA_HTTP_REQUEST_H

#include "data/http/http_conn.h"

/* A request at p[0..n), its head h DONE, with what came behind it; returns how
 * many bytes were its.  The client is BUSY with it then, or was answered, or has
 * ended. */
size_t http_request_take(struct http_conn *c, const struct http1_head *h, char *p, size_t n);
/* Its head is BAD; n bytes came of it, and perhaps of what follows. */
void http_request_bad(struct http_conn *c, const struct http1_head *h, size_t n);

/* An answer of Teal's own. */
struct http_answer {
	unsigned status;
	enum ending ending;	/* what the log and the counters say */
	const char *reason;	/* the same for people: on the page and in the log */
	unsigned retry_after;	/* seconds; 0: not said */
	const char *headers;	/* more header lines, each with CRLF; or NULL */
	size_t bytes_in;	/* what came; 0: the head, or as much of one as there is */
	bool close;	/* nothing may follow */
};

/* What is known of the request that is answered. */
struct http_asker {
	const struct http1_head *head;	/* NULL: none that is whole */
	struct str id;
	bool head_request, minor0, json;
};

/* Writes it to a client without an exchange, and the access line; h is NULL when
 * no head is whole.  False: the client does not take it. */
MUST_USE bool http_answer_give(struct http_conn *c, struct lane *l, const struct http1_head *h, const struct http_answer *a);
/* Writes it, no more; *bytes: how many.  False: the client does not take it. */
MUST_USE bool http_answer_write(struct http_conn *c, const struct http_answer *a, const struct http_asker *asker,
				size_t *bytes);
/* The status by which an HTTP client is told of such an end. */
unsigned http_answer_status(enum ending e);
/* Seconds after which it may try again, with that status; 0: nothing is said. */
unsigned http_answer_retry_after(unsigned status);
/* The same in words. */
const char *http_answer_words(enum ending e);

#endif
