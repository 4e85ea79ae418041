/* serve_answer.c - what the HTTP of `tealbench serve` answers: heads, small
 * bodies, and which path means what.  Thread: the peer's. */
#include <inttypes.h>
#include <stdio.h>

#include "app/tealbench/serve.h"

#define DELAY_MAX_MS (3600 * 1000)

static const char *
reason_phrase(unsigned status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 414:
		return "URI Too Long";
	case 431:
		return "Request Header Fields Too Large";
	case 500:
		return "Internal Server Error";
	case 501:
		return "Not Implemented";
	case 503:
		return "Service Unavailable";
	case 505:
		return "HTTP Version Not Supported";
	}
	return "As Asked";
}

/* The answer's head; length < 0: chunked, or until the close for 1.0. */
bool
answer_head(struct peer *p, unsigned status, const char *type, int64_t length)
{
	struct http_exchange *x = &p->http;
	struct str more = buf_str(&p->thread->config->headers);

	buf_printf(&p->out, "HTTP/1.1 %u %s\r\nX-Backend: %s\r\n", status, reason_phrase(status),
		   x->broken == BREAK_LIE ? p->thread->config->lie : p->thread->config->name);
	if (status == 204 || status == 304)
		length = 0;
	else if (length >= 0)
		buf_printf(&p->out, "Content-Type: %s\r\nContent-Length: %" PRId64 "\r\n", type, length);
	else
		buf_printf(&p->out, "Content-Type: %s\r\n%s", type,
			   x->chunked_out ? "Transfer-Encoding: chunked\r\n" : "");
	if (!x->keep)
		buf_printf(&p->out, "Connection: close\r\n");
	buf_append(&p->out, more.p, more.n);
	return buf_printf(&p->out, "\r\n");
}

bool
answer_text(struct peer *p, unsigned status, const char *type, struct str body)
{
	p->http.phase = HTTP_FLUSH;
	if (!answer_head(p, status, type, (int64_t)body.n))
		return false;
	if (p->http.head_only || status == 204 || status == 304)
		return true;
	return buf_append(&p->out, body.p, body.n);
}

bool
answer_who(struct peer *p, unsigned status)
{
	const struct serve_totals *totals = p->thread->config->totals;
	char text[ADDR_TEXT];
	struct buf body;
	struct json j;
	bool ok;

	buf_init(&body, 4096);
	json_init(&j, &body);
	json_object(&j, NULL);
	json_cstr(&j, "name", p->thread->config->name);
	json_cstr(&j, "address", addr_format(&p->listener->addr, text));
	json_u64(&j, "port", addr_port(&p->listener->addr));
	json_u64(&j, "connection", p->id);
	json_u64(&j, "request", p->requests);
	json_u64(&j, "connections", atomic_load_explicit(&totals->connections, memory_order_relaxed));
	json_u64(&j, "requests", atomic_load_explicit(&totals->requests, memory_order_relaxed));
	json_object_end(&j);
	json_line_end(&j);
	ok = answer_text(p, status, "application/json", buf_str(&body));
	buf_free(&body);
	return ok;
}

bool
answer_stats(struct peer *p)
{
	struct buf body;
	struct json j;
	bool ok;

	buf_init(&body, 65536);
	json_init(&j, &body);
	json_object(&j, NULL);
	serve_put_totals(&j, p->thread->config);
	json_object_end(&j);
	json_line_end(&j);
	ok = answer_text(p, 200, "application/json", buf_str(&body));
	buf_free(&body);
	return ok;
}

/* Promises more than it sends. */
bool
answer_short(struct peer *p)
{
	p->http.phase = HTTP_FLUSH;
	if (!answer_head(p, 200, "text/plain", 10))
		return false;
	p->http.keep = false;
	return buf_append(&p->out, "half\n", 5);
}

bool
answer_error(struct peer *p, unsigned status, const char *words)
{
	char text[160];
	int n = snprintf(text, sizeof(text), "%u %s: %s\n", status, reason_phrase(status), words);

	return answer_text(p, status, "text/plain", (struct str){ text, (size_t)n });
}

/* The number at *rest up to the next '/' or the end. */
static bool
path_number(struct str *rest, uint64_t max, uint64_t *out)
{
	const char *slash = memchr(rest->p, '/', rest->n);
	size_t n = slash != NULL ? (size_t)(slash - rest->p) : rest->n;

	if (!str_to_u64((struct str){ rest->p, n }, max, out))
		return false;
	n += slash != NULL;
	*rest = (struct str){ rest->p + n, rest->n - n };
	return true;
}

static bool
path_takes(struct str *path, const char *prefix)
{
	size_t n = strlen(prefix);

	if (path->n < n || memcmp(path->p, prefix, n) != 0)
		return false;
	*path = (struct str){ path->p + n, path->n - n };
	return true;
}

void
answer_route(struct http_exchange *x, struct str method, struct str path)
{
	const char *query = memchr(path.p, '?', path.n);

	if (query != NULL)
		path.n = (size_t)(query - path.p);
	x->head_only = str_eq(method, "HEAD");
	x->status = 404;
	x->delay_ms = x->budget = 0;
	if (str_eq(path, "/"))
		x->route = ROUTE_WHO;
	else if (str_eq(path, "/ws"))
		x->route = ROUTE_WS;
	else if (str_eq(path, "/stats"))
		x->route = ROUTE_STATS;
	else if (str_eq(path, "/headers"))
		x->route = ROUTE_HEADERS;
	else if (str_eq(path, "/echo"))
		x->route = ROUTE_ECHO;
	else if (path_takes(&path, "/bytes/") && path_number(&path, INT64_MAX, &x->number) && path.n == 0)
		x->route = ROUTE_BYTES;
	else if (path_takes(&path, "/delay/") && path_number(&path, DELAY_MAX_MS, &x->delay_ms) &&
		 path.n == 0)
		x->route = ROUTE_WHO;
	else if (path_takes(&path, "/slow/") && path_number(&path, UINT32_MAX, &x->number) && path.n == 0 &&
		 x->number > 0)
		x->route = ROUTE_SLOW;
	else if (path_takes(&path, "/die/") && path_number(&path, INT64_MAX - 1, &x->number) && path.n == 0)
		x->route = ROUTE_DIE;
	else if (path_takes(&path, "/status/") && path_number(&path, 599, &x->number) && path.n == 0 &&
		 x->number >= 200)
		x->route = ROUTE_STATUS;
	else if (path_takes(&path, "/stream/") && path_number(&path, UINT32_MAX, &x->number) &&
		 path_number(&path, DELAY_MAX_MS, &x->every_ms) && path.n == 0)
		x->route = ROUTE_STREAM;
	else
		x->route = ROUTE_ERROR;
	if (x->route == ROUTE_ERROR)
		return;
	if (x->route == ROUTE_ECHO || x->route == ROUTE_SLOW ?
		    !str_eq(method, "POST") && !str_eq(method, "PUT") :
		    !str_eq(method, "GET") && !x->head_only && !str_eq(method, "POST")) {
		x->route = ROUTE_ERROR;
		x->status = 405;
	}
}
