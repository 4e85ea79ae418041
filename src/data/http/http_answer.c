/* http_answer.c - what Teal answers itself.  Thread: owning worker. */
#include <math.h>

#include "data/http/http_answer.h"
#include "data/http/http_buffers.h"
#include "data/http/http_conn.h"
#include "data/http/http_log.h"
#include "data/http/http_trace.h"
#include "proto/http1_edit.h"
#include "proto/http1_error.h"
#include "proto/http1_host.h"

#define AGAIN true

/* How an HTTP client is told; what is not here never becomes an answer.  AGAIN: time alone
 * may change it, so coming again helps.  It does not where a body is too large, where
 * the client itself holds the places that it lacks, or where a preview would
 * go on with a color that its tester did not mean. */
static const struct {
	unsigned status;
	const char *words;
	bool again;
} told[ENDINGS] = {
	[END_CONNECT] = { 502, "no backend could be reached", false },
	[END_BACKEND_TLS] = { 502, "no backend could be reached by TLS", false },
	[END_CONNECT_TIMEOUT] = { 504, "no backend could be reached within connect_timeout", false },
	[END_BACKEND_RESET] = { 502, "the backend closed the connection without an answer", false },
	[END_BACKEND_HTTP2] = { 502, "no backend could be reached by HTTP/2", false },
	[END_BAD_RESPONSE] = { 502, "the backend's answer is malformed or ambiguous", false },
	[END_RESPONSE_TIMEOUT] = { 504, "the backend gave no answer within response_timeout", false },
	[END_IDLE] = { 504, "nothing moved for idle_timeout", false },
	[END_LIMIT] = { 503, "the service is at max_connections", AGAIN },
	[END_BACKEND_LIMIT] = { 503, "every backend is at backend_max_connections", AGAIN },
	[END_QUEUE_TIMEOUT] = { 503, "no place came free within queue_timeout", AGAIN },
	[END_NO_BACKEND] = { 503, "no usable backend", AGAIN },
	[END_STALE] = { 503, "the active color is not known for certain", AGAIN },
	[END_MEMORY] = { 503, "out of memory or descriptors", AGAIN },
	[END_NO_PORT] = { 503, "no port is free to reach a backend from", AGAIN },
	[END_BACKEND_DOWN] = { 502, "the backend failed its checks before there was an answer", false },
	[END_DRAINED] = { 503, "the drain's time was over before there was an answer", AGAIN },
	[END_PREVIEW] = { 503, "a flip ended this preview", false },
	[END_STOP] = { 503, "this load balancer is being stopped", AGAIN },
	[END_INTERNAL] = { 502, "a fault inside", false },
	[END_DENIED] = { 403, "this client is not allowed here", false },
	[END_SOURCE_LIMIT] = { 429, "too many connections from one address", false },
	[END_SOURCE_RATE] = { 429, "too many connections a second from one address", AGAIN },
	[END_NO_PATH] = { 404, "no service here is for that path", false },
	[END_MAINTENANCE] = { 503, "the service is in maintenance", AGAIN },
	[END_MISDIRECTED] = { 421, "no service here is for that host", false },
	[END_TOO_LARGE] = { 413, "the request's body is larger than max_body", false },
	[END_HEADER_TIMEOUT] = { 408, "the request's head did not come within header_timeout", false },
	[END_BODY_TIMEOUT] = { 408, "the request's body came slower than body_min_rate", false },
};

unsigned
http_answer_status(enum ending e)
{
	return told[e].status != 0 ? told[e].status : 502;
}

const char *
http_answer_words(enum ending e)
{
	return told[e].words != NULL ? told[e].words : ending_word(e);
}

unsigned
http_answer_retry_after(const struct service_config *sc, enum ending e)
{
	double rate = sc->limits.source_rate.per_second, token = e == END_SOURCE_RATE && rate > 0 ? 1 / rate : 0;

	if (!told[e].again || sc->http.retry_after == 0)
		return 0;
	return token > sc->http.retry_after ? (unsigned)ceil(token) : sc->http.retry_after;
}

bool
http_answer_is_closed(const struct service_config *sc, unsigned status, bool events)
{
	return events && sc->http.sse_unavailable == SSE_CLOSE &&
	       (status == 429 || status == 502 || status == 503 || status == 504);
}

struct http_answer
http_answer_of(const struct service_config *sc, enum ending e, bool close)
{
	return (struct http_answer){
		.status = http_answer_status(e),
		.ending = e,
		.reason = http_answer_words(e),
		.retry_after = http_answer_retry_after(sc, e),
		.close = close,
	};
}

size_t
http_answer_write(struct http_buffers *buffers, const struct http_answer *a, const struct http_asker *asker)
{
	const struct http1_error e = {
		.status = a->status,
		.detail = a->reason,
		.request_id = asker->id,
		.json = asker->json,
		.head_only = asker->head_request,
		.close = a->close,
		.keep_alive = asker->minor0 && !a->close,
		.retry_after = a->retry_after,
		.headers = a->headers,
		.page = a->page != NULL ? (struct str){ a->page->bytes, a->page->n } : (struct str){ NULL, 0 },
		.type = a->page != NULL ? a->page->type : NULL,
	};
	size_t n = http1_error_write(&e, buffers->out, buffers->size);

	CHECK(n > 0);
	return n;
}

/* What is malformed, too: it was refused for that. */
static struct str
host_asked_for(const struct http1_head *h)
{
	struct http1_host host;

	return h->verdict == HTTP1_DONE && http1_host_of(h, &host) == HTTP1_FINE ? host.authority :
										   http1_head_get(h, HTTP1_HOST);
}

bool
http_answer_give(struct http_conn *c, struct http_stream *s, struct lane *l, const struct http1_head *h,
		 const struct http_answer *answer)
{
	struct worker *w = l->worker;
	struct http_answer a = *answer;
	struct http_asker asker = { .head = h };
	struct http_record r;
	char made[HTTP_ID];
	size_t bytes = 0;
	bool closed = h != NULL && http_answer_is_closed(l->config, a.status, http1_wants_events(h));
	bool taken;

	s->keep &= !closed;
	a.close |= !s->keep;
	if (h != NULL) {
		asker.id = http1_edit_request_id(h);
		asker.head_request = h->verb == HTTP1_HEAD;
		asker.minor0 = h->minor == 0;
		asker.json = http1_accepts_json(h);
	}
	if (asker.id.n == 0) {
		http_buffers_id(w->http, made);
		asker.id = (struct str){ made, sizeof(made) };
	}
	a.page = reply_page(&l->config->http.reply, a.status, asker.json);
	taken = closed || s->ops->answer(s, &a, &asker, &bytes);
	r = (struct http_record){
		.grpc_status = -1,
		.lane = l,
		.client = c->peer,
		.tls = c->io.tls,
		.entrance = (enum entrance)s->entrance,
		.color = lane_color(l, (enum entrance)s->entrance),
		.epoch = l->snapshot != NULL ? l->snapshot->epoch : 0,
		.method = h != NULL ? http1_text(h, h->method) : STR(""),
		.host = h != NULL ? host_asked_for(h) : STR(""),
		.path = h != NULL ? http1_text(h, h->target) : STR(""),
		.http2 = s->ops->framed,
		.protocol = s->ops->framed ? s->ops->protocol : h == NULL || h->verdict != HTTP1_DONE ? "" : http_stream_protocol(s, h->minor == 0),
		.agent = h != NULL ? http1_head_get(h, HTTP1_USER_AGENT) : STR(""),
		.id = asker.id,
		.trace = h != NULL ? http_trace_id(&l->config->http, &c->peer, h) : STR(""),
		.status = a.status,
		.bytes_in = a.bytes_in > 0 ? a.bytes_in :
			    h != NULL      ? h->length :
					     buf_len(&c->in),
		.bytes_out = bytes,
		.seconds = w->now - s->begun,
		.first_byte_seconds = -1,
		.backend_seconds = -1,
		.ending = a.ending,
		.reason = a.reason,
	};
	http_stream_tell_waits(s, 0, &r);
	http_log(&r);
	return taken;
}
