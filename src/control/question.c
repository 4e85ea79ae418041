/* question.c - composes what a check says, and to whom.  Thread: main. */
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/version.h"
#include "control/probe_grpc.h"
#include "control/question.h"
#include "model/kube_health.h"

/* Beyond what any configuration says. */
#define SAY_MAX ((size_t)64 << 20)

/* A port of its own belongs to something else, which knows nothing of what the
 * traffic's port expects. */
static bool
has_own_port(const struct backend *b)
{
	return !addr_equal(&b->health_address, &b->address);
}

/* By terms of its own a check expects a name of its own, that of the backend or the address. */
static const char *
expected_server(struct question *q, const struct health_config *hc, const struct backend *b)
{
	const struct addr *a = &b->health_address;

	if (hc->own_tls.server_name != NULL)
		return hc->own_tls.server_name;
	if (b->name != NULL && b->health_at.len == 0)
		return b->name;
	return addr_family(a) == AF_INET ? inet_ntop(AF_INET, &a->u.in.sin_addr, q->server, sizeof(q->server)) :
					   inet_ntop(AF_INET6, &a->u.in6.sin6_addr, q->server, sizeof(q->server));
}

static void
choose_tls(struct question *q, const struct service *s, const struct backend *b)
{
	const struct health_config *hc = &s->config->health;

	if (health_has_own_tls(hc)) {
		q->request.tls = s->check_tls;
		q->request.server_name = expected_server(q, hc, b);
		return;
	}
	/* It was to be spoken to plainly before a reload. */
	if (hc->type == HEALTH_UDP || b->server_name == NULL || hc->tls == HEALTH_TLS_OFF || (hc->tls == HEALTH_TLS_AUTO && has_own_port(b)))
		return;
	q->request.tls = s->backend_tls;
	q->request.server_name = b->server_name;
}

static bool
has_header(const struct health_config *hc, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < hc->n_headers; i++)
		if (strncasecmp(hc->headers[i], name, n) == 0 && hc->headers[i][n] == ':')
			return true;
	return false;
}

static void
put_http(struct buf *say, const struct health_config *hc, const struct backend *b)
{
	char where[ADDR_TEXT];

	buf_printf(say, "%s %s HTTP/1.1\r\nHost: %s\r\n", hc->method != NULL ? hc->method : "GET", hc->path,
		   hc->host != NULL ? hc->host : addr_format(&b->health_address, where));
	if (!has_header(hc, "User-Agent"))
		buf_printf(say, "User-Agent: teald/%s\r\n", teal_version());
	if (!has_header(hc, "Accept"))
		buf_printf(say, "Accept: */*\r\n");
	for (size_t i = 0; i < hc->n_headers; i++)
		buf_printf(say, "%s\r\n", hc->headers[i]);
	if (hc->body != NULL)
		buf_printf(say, "Content-Length: %zu\r\n", strlen(hc->body));
	buf_printf(say, "Connection: close\r\n\r\n%s", hc->body != NULL ? hc->body : "");
}

static void
put_grpc(struct buf *say, const struct health_config *hc, const struct backend *b, bool tls)
{
	char where[ADDR_TEXT];
	const struct grpc_call call = {
		.service = hc->service != NULL ? hc->service : "",
		.authority = hc->host != NULL ? hc->host : addr_format(&b->health_address, where),
		.tls = tls,
		.timeout = hc->timeout,
	};

	probe_grpc_ask(say, &call);
}

static const struct status_set kube_proxy_well = { .n = 1, .ranges = { { 200, 200 } } };

static void
put_kube_proxy(struct buf *say, const struct backend *b)
{
	char where[ADDR_TEXT];

	buf_printf(say, "GET " KUBE_HEALTH_PATH " HTTP/1.1\r\nHost: %s\r\nUser-Agent: teald/%s\r\nAccept: */*\r\nConnection: close\r\n\r\n",
		   addr_format(&b->health_address, where), teal_version());
}

/* By HTTP, with which answers; NULL: by something else. */
static const struct status_set *
expected_status(const struct health_config *hc)
{
	return hc->type == HEALTH_HTTP ? &hc->expect : hc->type == HEALTH_KUBE_PROXY ? &kube_proxy_well : NULL;
}

static enum proxy_send
proxy_header_of(const struct service_config *sc, const struct backend *b)
{
	switch (sc->health.send_proxy) {
	case CHECK_PROXY_AUTO:
		return has_own_port(b) || sc->health.type == HEALTH_UDP ? SEND_NONE : sc->proxy_protocol.send;
	case CHECK_PROXY_NONE:
		break;
	case CHECK_PROXY_V1:
		return SEND_V1;
	case CHECK_PROXY_V2:
		return SEND_V2;
	}
	return SEND_NONE;
}

void
question_make(struct question *q, const struct service *s, const struct backend *b)
{
	const struct service_config *sc = s->config;
	const struct health_config *hc = &sc->health;
	buf_init(&q->say, SAY_MAX);
	buf_init(&q->key, SAY_MAX);
	q->request = (struct probe_request){ .tls = NULL };
	choose_tls(q, s, b);
	if (hc->type == HEALTH_GRPC)
		put_grpc(&q->say, hc, b, q->request.tls != NULL);
	else if (hc->type == HEALTH_HTTP)
		put_http(&q->say, hc, b);
	else if (hc->type == HEALTH_KUBE_PROXY)
		put_kube_proxy(&q->say, b);
	CHECK(!q->say.failed);
	q->request = (struct probe_request){
		.to = &b->health_address,
		.source = &sc->source_address,
		.timeout = hc->timeout,
		.tls = q->request.tls,
		.server_name = q->request.server_name,
		.proxy = proxy_header_of(sc, b),
		.send = buf_str(&q->say),
		.expect = expected_status(hc),
		.http = sc->mode == MODE_HTTP || hc->expect_body != NULL || hc->type == HEALTH_KUBE_PROXY ? &sc->http : NULL,
		.expect_body = hc->type == HEALTH_HTTP ? hc->expect_body : NULL,
		.head = hc->type == HEALTH_HTTP && hc->method != NULL && strcmp(hc->method, "HEAD") == 0,
		.keep = hc->type == HEALTH_KUBE_PROXY ? KUBE_WEIGHT_HEADER : NULL,
		.steps = expected_status(hc) == NULL ? hc->steps : NULL,
		.n_steps = expected_status(hc) == NULL ? hc->n_steps : 0,
		.datagram = hc->type == HEALTH_UDP,
		.grpc = hc->type == HEALTH_GRPC,
		.tree = s->held,
	};
}

void
question_make_agent(struct question *q, const struct service *s, const struct backend *b)
{
	const struct service_config *sc = s->config;

	buf_init(&q->say, SAY_MAX);
	buf_init(&q->key, SAY_MAX);
	q->agent_at = b->health_address;
	addr_set_port(&q->agent_at, sc->health.agent.port);
	q->request = (struct probe_request){
		.to = &q->agent_at,
		.source = &sc->source_address,
		.timeout = sc->health.timeout,
		.send = sc->health.agent.send != NULL ? str_from(sc->health.agent.send) : STR(""),
		.line = true,
		.tree = s->held,
	};
}

void
question_clear(struct question *q)
{
	buf_free(&q->say);
	buf_free(&q->key);
}

/* -- the key ------------------------------------------------------------------------ */

/* With its length, so that no two lists of parts are the same bytes. */
static void
put_part(struct buf *key, const void *p, size_t n)
{
	buf_append(key, &n, sizeof(n));
	buf_append(key, p, n);
}

static void
put_number(struct buf *key, double v)
{
	put_part(key, &v, sizeof(v));
}

static void
put_text_part(struct buf *key, const char *text)
{
	put_part(key, text, text != NULL ? strlen(text) + 1 : 0);
}

static void
put_address(struct buf *key, const struct addr *a)
{
	char text[ADDR_TEXT];

	put_text_part(key, a != NULL && a->len > 0 ? addr_format(a, text) : NULL);
}

static void
put_tls_terms(struct buf *key, const struct backend_tls_config *c, const char *server_name, bool http)
{
	put_number(key, http);
	put_number(key, c->verify);
	put_text_part(key, c->ca);
	put_text_part(key, c->cert);
	put_text_part(key, c->key);
	put_text_part(key, server_name);
}

struct str
question_key(struct question *q, const struct service *s)
{
	const struct probe_request *r = &q->request;
	struct buf *key = &q->key;

	buf_clear(key);
	put_address(key, r->to);
	put_address(key, r->source);
	put_number(key, r->timeout);
	put_number(key, r->proxy);
	put_part(key, r->send.p, r->send.n);
	put_number(key, r->tls != NULL);
	if (r->tls != NULL && r->tls == s->check_tls)
		put_tls_terms(key, &s->config->health.own_tls, r->server_name, r->expect != NULL);
	else if (r->tls != NULL)
		put_tls_terms(key, &s->config->backend_tls, r->server_name, s->config->mode == MODE_HTTP);
	put_number(key, r->expect != NULL ? (double)r->expect->n : -1);
	for (unsigned i = 0; r->expect != NULL && i < r->expect->n; i++) {
		put_number(key, r->expect->ranges[i].from);
		put_number(key, r->expect->ranges[i].to);
	}
	put_number(key, r->datagram);
	put_number(key, r->line);
	put_number(key, r->grpc);
	put_text_part(key, r->keep);
	put_text_part(key, r->expect != NULL ? r->expect_body : NULL);
	for (size_t i = 0; i < r->n_steps; i++) {
		put_number(key, r->steps[i].expect);
		put_part(key, r->steps[i].bytes, r->steps[i].n);
	}
	if (r->expect != NULL && r->http != NULL) {
		put_number(key, (double)r->http->max_header_size);
		put_number(key, r->http->answers);
	}
	CHECK(!key->failed);
	return buf_str(key);
}
