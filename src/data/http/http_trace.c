/* http_trace.c - whose trace a request belongs to.  Thread: owning worker. */
#include "data/http/http_trace.h"

static bool
trusts(const struct http_config *hc, const struct endpoint *client)
{
	struct addr a;

	endpoint_get(client, &a);
	return cidr_set_match(&hc->trace_trust, &a);
}

struct str
http_trace_id(const struct http_config *hc, const struct endpoint *client, const struct http1_head *h)
{
	uint64_t field = HTTP1_BIT(HTTP1_TRACEPARENT);

	/* Of two it is not known which counts. */
	if (hc->trace == TRACE_OFF || !(h->seen & field) || (h->repeated & field) || !trusts(hc, client))
		return STR("");
	return trace_id_of(http1_head_get(h, HTTP1_TRACEPARENT));
}

/* Its digits are as evenly spread as those of any other: a share of them is a share of all traces. */
static bool
is_sampled(const struct http_config *hc, uint64_t random)
{
	return (double)(random >> 11) < hc->trace_sample * 0x1p53;
}

static struct str
begin_trace(const struct http_config *hc, struct http_buffers *buffers, char text[TRACE_PARENT])
{
	char id[HTTP_ID], parent[HTTP_ID];

	http_buffers_id(buffers, parent);
	http_buffers_id(buffers, id);
	trace_parent_write(text, id, parent + HTTP_ID - TRACE_PARENT_ID, is_sampled(hc, buffers->id[1]));
	return trace_id_of((struct str){ text, TRACE_PARENT });
}

void
http_trace_pass(const struct http_config *hc, const struct endpoint *client, const struct http1_head *h,
		struct http_buffers *buffers, struct http1_edit *e, char text[TRACE_PARENT], struct str *id)
{
	*id = http_trace_id(hc, client, h);
	if (hc->trace == TRACE_OFF || id->n > 0)
		return;
	if (hc->trace == TRACE_BEGIN) {
		*id = begin_trace(hc, buffers, text);
		e->traceparent = (struct str){ text, TRACE_PARENT };
	}
	/* What belongs to no trace that counts would be taken for a part of one. */
	e->no_trace = hc->trace == TRACE_BEGIN || ((h->seen & HTTP_TRACE_FIELDS) && !trusts(hc, client));
}
