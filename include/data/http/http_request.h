/* http_request.h - what becomes of a request whose head is there: refused,
 * redirected, or an exchange.
 * Thread: the owning worker. */
#ifndef DATA_HTTP_REQUEST_H
#define DATA_HTTP_REQUEST_H

#include "data/http/http_conn.h"

/* A request of that stream of the client's at p[0..n), its head h DONE, with what came behind it;
 * returns how many bytes were its.  The stream has an exchange then, or was answered, or
 * has ended, perhaps with the client. */
size_t http_request_take(struct http_conn *c, struct http_stream *s, const struct http1_head *h, char *p, size_t n);
/* Its head is BAD; n bytes came of it, and perhaps of what follows. */
void http_request_bad(struct http_conn *c, struct http_stream *s, const struct http1_head *h, size_t n);

#endif
