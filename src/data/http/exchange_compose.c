/* exchange_compose.c - a request as the backend gets it.  Thread: owning worker. */
#include <stdlib.h>
#include <string.h>

#include "data/http/exchange.h"
#include "data/http/http_buffers.h"
#include "data/http/http_trace.h"
#include "data/proxy.h"
#include "proto/http1_edit.h"
#include "proto/http1_host.h"

static struct http1_slice
append(char *text, size_t *at, struct str s)
{
	struct http1_slice slice = { (uint32_t)*at, (uint32_t)s.n };

	if (s.n > 0)
		memcpy(text + *at, s.p, s.n);
	*at += s.n;
	return slice;
}

struct trace {
	char text[TRACE_PARENT];	/* of one that begins here */
	struct str id;
};

/* The head as the backend gets it, in the worker's buffers. */
static size_t
compose_request(struct exchange *x, const struct http1_head *h, const struct http1_host *host, struct str id,
		struct trace *trace)
{
	const struct service_config *sc = x->dial.lane->config;
	struct http_buffers *buffers = x->dial.lane->worker->http;
	const struct http_stream *s = x->stream;
	struct addr peer;
	const struct http_own *own = &x->dial.lane->http->own_requests;
	struct http1_line lines[HTTP_OWN_MAX];
	struct tls_facts tls;
	struct http1_edit e = {
		.rfc7239 = sc->http.forwarded_header,
		.client = str_from(s->ip),
		.proto = s->tls ? STR("https") : STR("http"),
		.host = host->authority,
		.request_id = sc->http.request_id ? id : STR(""),
		.id_passes = sc->http.request_id,
		.via = sc->http.via ? STR("teal") : STR(""),
		.via_http2 = s->ops->framed,
		.authority = host->authority.n > 0	  ? host->authority :
			     sc->http.default_host != NULL ? str_from(sc->http.default_host) :
							     str_from(sc->name),
		.upgrade = x->upgrade,
		.close = sc->proxy_protocol.send != SEND_NONE,
	};

	e.lines = own->lines;
	e.n_lines = own->n;
	if (sc->tls.client_ca != NULL && s->tls) {
		http_own_copy(own, lines);
		e.lines = lines;
		tls_facts(s->ops->io(s)->tls, &tls);
		if (tls.peer != NULL) {
			lines[HTTP_OWN_SUBJECT].value = str_from(tls.peer->subject);
			lines[HTTP_OWN_FINGERPRINT].value = str_from(tls.peer->fingerprint);
		}
	}
	if (sc->http.forwarded) {
		endpoint_get(&x->dial.peer, &peer);
		e.forwarded = cidr_set_match(&sc->http.forwarded_trust, &peer) ? HTTP1_FORWARDED_APPEND :
										 HTTP1_FORWARDED_REPLACE;
	}
	trace->id = STR("");
	if (http_trace_concerns(&sc->http, h))
		http_trace_pass(&sc->http, &x->dial.peer, h, buffers, &e, trace->text, &trace->id);
	return http1_edit_request(h, &e, buffers->out, buffers->size);
}

/* All lines of Upgrade, as one list. */
static void
append_protocols(struct exchange *x, const struct http1_head *h, size_t *at)
{
	x->protocols.at = (uint32_t)*at;
	for (unsigned i = 0; i < h->header_count; i++) {
		if (h->headers[i].id != HTTP1_UPGRADE)
			continue;
		append(x->text, at, http1_text(h, h->headers[i].value));
		append(x->text, at, STR(","));
	}
	x->protocols.n = (uint32_t)*at - x->protocols.at;
}

/* Bytes that need room for that; at most those of the head. */
static size_t
room_for_protocols(const struct exchange *x, const struct http1_head *h)
{
	return x->upgrade ? h->length : 0;
}

void
exchange_drop_text(struct exchange *x)
{
	if (x->text != x->room)
		free(x->text);
	x->text = NULL;
}

bool
exchange_compose(struct exchange *x, const struct http1_head *h, const struct http1_host *host, const char *body,
		 size_t n)
{
	struct http_buffers *buffers = x->dial.lane->worker->http;
	struct str agent = http1_head_get(h, HTTP1_USER_AGENT), id = http1_edit_request_id(h);
	char made[HTTP_ID];
	struct trace trace;
	size_t head, all, at = 0;
	const char *space;

	if (id.n == 0) {
		http_buffers_id(buffers, made);
		id = (struct str){ made, sizeof(made) };
		head = compose_request(x, h, host, id, &trace);
	} else {
		head = compose_request(x, h, host, STR(""), &trace);
	}
	if (head == 0)
		return false;
	all = head + n + agent.n + id.n + host->authority.n + trace.id.n + room_for_protocols(x, h);
	x->text = all <= sizeof(x->room) ? x->room : malloc(all);
	if (x->text == NULL)
		return false;
	append(x->text, &at, (struct str){ buffers->out, head });
	append(x->text, &at, (struct str){ body, n });
	x->n_text = at;
	x->agent = append(x->text, &at, agent);
	x->id = append(x->text, &at, id);
	x->host = append(x->text, &at, host->authority);
	x->trace = append(x->text, &at, trace.id);
	if (x->upgrade)
		append_protocols(x, h, &at);
	x->method = (struct http1_slice){ 0, h->method.n };
	space = memchr(x->text + h->method.n + 1, ' ', head);
	x->path = (struct http1_slice){ h->method.n + 1,
					(uint32_t)(space - x->text) - (uint32_t)h->method.n - 1 };
	return true;
}

bool
exchange_compose_again(struct exchange *x)
{
	struct http1_slice *behind[] = { &x->agent, &x->id, &x->host, &x->trace, &x->protocols };
	struct str kept = buf_str(x->up.again);
	size_t end = x->n_text;
	char *text;

	for (unsigned i = 0; i < ARRAY_LEN(behind); i++)
		if (behind[i]->at + behind[i]->n > end)
			end = behind[i]->at + behind[i]->n;
	text = malloc(end + kept.n);
	if (text == NULL)
		return false;
	memcpy(text, x->text, x->n_text);
	memcpy(text + x->n_text, kept.p, kept.n);
	memcpy(text + x->n_text + kept.n, x->text + x->n_text, end - x->n_text);
	exchange_drop_text(x);
	x->text = text;
	for (unsigned i = 0; i < ARRAY_LEN(behind); i++)
		behind[i]->at += (uint32_t)kept.n;
	x->n_text += kept.n;
	relay_end(&x->up.relay, &x->dial.lane->worker->buffers);
	pump_forget(&x->up);
	x->streamed = false;
	return true;
}
