/* http_trace.h - whose trace a request belongs to: read from its traceparent where the client is trusted, begun where the
 * service says so.
 * Thread: the owning worker. */
#ifndef DATA_HTTP_TRACE_H
#define DATA_HTTP_TRACE_H

#include "data/endpoint.h"
#include "data/http/http_buffers.h"
#include "proto/http1_edit.h"
#include "proto/trace_context.h"

/* The trace-id of the request, for its log line: borrowed from its head; empty where it has none that counts. */
struct str http_trace_id(const struct http_config *hc, const struct endpoint *client, const struct http1_head *h);

#define HTTP_TRACE_FIELDS (HTTP1_BIT(HTTP1_TRACEPARENT) | HTTP1_BIT(HTTP1_TRACESTATE))

/* Of most requests there is nothing to be done. */
static inline bool
http_trace_concerns(const struct http_config *hc, const struct http1_head *h)
{
	return hc->trace == TRACE_BEGIN || (h->seen & HTTP_TRACE_FIELDS) != 0;
}

/* The same for a request on its way to a backend; what the backend gets of it is written into e, in text where a trace begins
 * here.  *id is borrowed from the head, or from text. */
void http_trace_pass(const struct http_config *hc, const struct endpoint *client, const struct http1_head *h,
		     struct http_buffers *buffers, struct http1_edit *e, char text[TRACE_PARENT], struct str *id);

#endif
