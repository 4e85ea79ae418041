/* http_request.c - from the head of a request to an exchange, or to an answer
 * that says why not.  Thread: owning worker. */
#include <stdio.h>
#include <stdlib.h>

#include "data/http/exchange.h"
#include "data/http/http_answer.h"
#include "data/http/http_request.h"
#include "proto/http1_host.h"

static void
answer_own(struct http_conn *c, struct http_stream *s, struct lane *l, const struct http1_head *h, enum ending ending, bool close)
{
	const struct http_answer a = http_answer_of(l->config, ending, close);

	http_conn_answer(c, s, l, h, &a);
}

/* What is malformed is not guessed at: nothing that follows can be trusted to
 * begin where it seems to. */
static void
refuse_head(struct http_conn *c, struct http_stream *s, struct lane *l, const struct http1_head *h, unsigned status, const char *reason)
{
	const struct http_answer a = {
		.status = status,
		.ending = END_BAD_REQUEST,
		.reason = reason,
		.close = true,
	};

	http_conn_answer(c, s, l, h, &a);
}

void
http_request_bad(struct http_conn *c, struct http_stream *s, const struct http1_head *h, size_t n)
{
	const struct http_answer a = {
		.status = http1_reason_status(h->reason),
		.ending = END_BAD_REQUEST,
		.reason = http1_reason_words(h->reason),
		.close = true,
		.bytes_in = n,
	};

	s->requests++;
	/* What was read before the wrong byte is good: it tells what to log. */
	http_conn_answer(c, s, c->lane, h, &a);
}

/* OPTIONS or TRACE that wants to know who stands here (RFC 9110 section 7.6.2):
 * it goes no further. */
static bool
ends_here(const struct http1_head *h)
{
	uint64_t n;

	return (h->verb == HTTP1_OPTIONS || h->verb == HTTP1_TRACE) &&
	       http1_head_has(h, HTTP1_MAX_FORWARDS) &&
	       str_to_u64(http1_head_get(h, HTTP1_MAX_FORWARDS), UINT64_MAX, &n) && n == 0;
}

/* A TRACE is not sent back: scripts could read what they may not see of it,
 * cookies for one. */
static void
answer_for_itself(struct http_conn *c, struct http_stream *s, struct lane *l, const struct http1_head *h, bool close)
{
	bool options = h->verb == HTTP1_OPTIONS;
	const struct http_answer a = {
		.status = options ? 200 : 405,
		.ending = options ? END_DONE : END_BAD_REQUEST,
		.reason = "Max-Forwards is 0: the load balancer answers for itself",
		.headers = options ? NULL : "Allow: OPTIONS\r\n",
		.close = close,
	};

	http_conn_answer(c, s, l, h, &a);
}

/* Where the client came to, as it sees it; a PROXY header says it better. */
static unsigned
tls_port(const struct http_conn *c, const struct lane *l)
{
	struct addr here = { .len = sizeof(here.u) };

	if (c->stream.destination.family != 0)
		endpoint_get(&c->stream.destination, &here);
	else if (getsockname(io_fd(&c->io), &here.u.sa, &here.len) != 0)
		here = c->listener->binding->addr;
	return listener_tls_port(l, &here);
}

/* The path and query of a target; without a path it is to begin with a slash. */
static struct str
path_of(const struct http1_head *h)
{
	struct str target = http1_text(h, h->target);
	const char *at;

	if (h->form == HTTP1_ABSOLUTE) {
		at = (const char *)memchr(target.p, ':', target.n) + 3;
		while (at < target.p + target.n && *at != '/' && *at != '?')
			at++;
		return (struct str){ at, (size_t)(target.p + target.n - at) };
	}
	return h->form == HTTP1_ORIGIN ? target : STR("");
}

/* The site has moved, or that part of it: path and query are kept. */
static void
send_on(struct http_conn *c, struct http_stream *s, struct lane *l, const struct http1_head *h, bool close)
{
	const struct reply_config *r = &l->config->http.reply;
	struct str path = path_of(h);
	size_t size = strlen(r->redirect) + path.n + 32;
	char *headers = malloc(size);
	struct http_answer a = {
		.status = r->redirect_status,
		.ending = END_REDIRECTED,
		.reason = "this service is elsewhere now",
		.headers = headers,
		.close = close,
	};

	if (headers == NULL) {
		answer_own(c, s, l, h, END_MEMORY, close);
		return;
	}
	snprintf(headers, size, "Location: %s%s%.*s\r\n", r->redirect, path.n > 0 && path.p[0] == '/' ? "" : "/",
		 (int)path.n, path.p);
	http_conn_answer(c, s, l, h, &a);
	free(headers);
}

/* To where TLS is spoken: the same host and path, and that port. */
static void
redirect(struct http_conn *c, struct http_stream *s, struct lane *l, const struct http1_head *h, const struct http1_host *host,
	 bool close)
{
	unsigned port = tls_port(c, l);
	struct str path = path_of(h);
	bool safe = h->verb == HTTP1_GET || h->verb == HTTP1_HEAD;
	size_t size = path.n + host->n + 64;
	char *headers = malloc(size);
	char suffix[8] = "";
	struct http_answer a = {
		.status = safe ? 301 : 308,
		.ending = END_REDIRECTED,
		.reason = "this service is reached by TLS",
		.close = close,
	};

	if (headers == NULL || host->n == 0) {
		free(headers);
		refuse_head(c, s, l, h, 400, "no Host");
		return;
	}
	if (port != 443)
		snprintf(suffix, sizeof(suffix), ":%u", port);
	snprintf(headers, size, "Location: https://%s%s%s%.*s\r\n", host->name, suffix,
		 path.n > 0 && path.p[0] == '/' ? "" : "/", (int)path.n, path.p);
	a.headers = headers;
	http_conn_answer(c, s, l, h, &a);
	free(headers);
}

static bool
wants_preview(const struct http_conn *c, const struct lane *l, const struct http1_head *h)
{
	const struct http_config *hc = &l->config->http;
	struct addr client;

	if (hc->preview_header == NULL || http1_head_find(h, hc->preview_header, NULL) == 0)
		return false;
	endpoint_get(&c->peer, &client);
	return cidr_set_match(&hc->preview_allow, &client);
}

size_t
http_request_take(struct http_conn *c, struct http_stream *s, const struct http1_head *h, char *p, size_t n)
{
	enum entrance entrance = (enum entrance)s->entrance;
	struct http1_body body;
	struct http1_host host;
	enum http1_reason reason = http1_host_of(h, &host);
	enum ending why = END_INTERNAL;
	const struct http_config *hc;
	size_t length = h->length;
	struct lane *l = c->lane;
	int route = ROUTE_NONE;
	bool close;

	if (h->verb == HTTP1_CONNECT) {
		refuse_head(c, s, l, h, 501, "CONNECT is not supported");
		return n;
	}
	if (reason == HTTP1_FINE && http1_body_of_request(&body, h) == HTTP1_BAD)
		reason = (enum http1_reason)body.reason;
	if (reason != HTTP1_FINE) {
		refuse_head(c, s, l, h, http1_reason_status(reason), http1_reason_words(reason));
		return n;
	}
	/* Where a body follows, an answer before its end has to be the last. */
	close = !body.done;
	l = listener_lane_by_path(c->listener, (struct str){ host.name, host.n }, path_of(h), &route);
	if (l == NULL && route == ROUTE_AMBIGUOUS) {
		refuse_head(c, s, c->lane, h, 400, "the path may be read as one of another service's");
		return n;
	}
	if (l == NULL) {
		answer_own(c, s, c->lane, h, route == ROUTE_NO_PATH ? END_NO_PATH : END_MISDIRECTED, close);
		return length;
	}
	/* The certificate that was shown is another service's: the client meant that one. */
	if (c->shown != NULL && !listener_lets_ask(c->listener, (struct str){ host.name, host.n }, c->shown, l)) {
		answer_own(c, s, c->lane, h, END_MISDIRECTED, close);
		return length;
	}
	if (listener_redirects(c->listener, l)) {
		redirect(c, s, l, h, &host, close);
		return length;
	}
	if (l->snapshot == NULL || l->snapshot->refuse)
		why = END_STALE;
	else if (http_conn_enter(c, l, &why))
		why = END_DONE;
	if (why != END_DONE) {
		answer_own(c, s, l, h, why, close);
		return length;
	}
	hc = &l->config->http;
	if (host.authority.n == 0 && hc->default_host != NULL && hc->default_host[0] == '\0') {
		refuse_head(c, s, l, h, 400, http1_reason_words(HTTP1_HOST_MISSING));
		return n;
	}
	if (http1_head_expect(h) == HTTP1_EXPECT_UNKNOWN) {
		refuse_head(c, s, l, h, 417, "Expect asks for something unknown");
		return n;
	}
	if (h->verb == HTTP1_TRACE && !body.done) {
		refuse_head(c, s, l, h, 400, "TRACE with a body");
		return n;
	}
	if (hc->max_body > 0 && body.framing == HTTP1_BODY_LENGTH && body.left > hc->max_body) {
		answer_own(c, s, l, h, END_TOO_LARGE, true);
		return n;
	}
	if (ends_here(h)) {
		answer_for_itself(c, s, l, h, close);
		return length;
	}
	if (hc->reply.redirect != NULL) {
		send_on(c, s, l, h, close);
		return length;
	}
	if (hc->reply.maintenance && entrance == ENTRANCE_MAIN && !wants_preview(c, l, h)) {
		answer_own(c, s, l, h, END_MAINTENANCE, close);
		return length;
	}
	if (entrance == ENTRANCE_MAIN && wants_preview(c, l, h))
		entrance = ENTRANCE_PREVIEW;
	s->ops->begins(s);
	return exchange_begin(s, &c->peer, l, h, &host, &body, entrance, p, n);
}
