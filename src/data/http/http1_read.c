/* http1_read.c - requests of HTTP/1 as a client's connection brings them: a head in pieces, several at once, or the first
 * bytes of another version.  Thread: owning worker. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "data/handover.h"
#include "data/http/http_buffers.h"
#include "data/http/http_conn.h"
#include "data/http/http_request.h"
#include "data/proxy.h"

static const struct http_config *
http_config_of(const struct http_conn *c)
{
	return &c->lane->config->http;
}

static size_t
ahead_max(const struct http_conn *c)
{
	size_t most = http_config_of(c)->max_header_size;

	return most > HTTP_AHEAD_MAX ? most : HTTP_AHEAD_MAX;
}

bool
http_conn_stash(struct http_conn *c, const char *p, size_t n)
{
	if (n == 0)
		return true;
	c->in.max = ahead_max(c);
	return buf_append(&c->in, p, n);
}

bool
http_conn_put_back(struct http_conn *c, const char *p, size_t n)
{
	if (n == 0)
		return true;
	/* What is there is of the request that is just being taken (feed), and
	 * goes; nothing that was read may be refused for its sake. */
	c->in.max = buf_len(&c->in) + n;
	if (c->in.max < ahead_max(c))
		c->in.max = ahead_max(c);
	return buf_append(&c->in, p, n);
}

struct http1_limits
http_conn_head_limits(const struct http_conn *c)
{
	const struct http_config *hc = http_config_of(c);

	return (struct http1_limits){
		.head = (uint32_t)hc->max_header_size,
		.target = (uint32_t)hc->max_uri,
		.headers = (uint16_t)hc->max_headers,
		.utf8_target = hc->target_utf8 == TARGET_UTF8_PASS,
	};
}

struct http1_head *
http_conn_begin_head(struct http_conn *c)
{
	struct http1_head *h = &c->lane->worker->http->request;
	const struct http1_limits limits = http_conn_head_limits(c);

	http1_head_init(h, limits.head);
	http1_head_limit(h, &limits);
	c->stream.begun = c->lane->worker->now;
	return h;
}

/* What came first, p[0..n), begins another version of HTTP, or may do so: then more has to come. */
static bool
is_preface(const struct http_conn *c, const char *p, size_t n, bool *whole)
{
	const struct http_version *v = http_conn_version(c);

	*whole = n >= v->preface_bytes;
	return memcmp(p, v->preface, *whole ? v->preface_bytes : n) == 0;
}

/* It is one that speaks HTTP/2 and said so by its first bytes, or by ALPN. */
static void
change_version(struct http_conn *c)
{
	free(c->head);
	c->head = NULL;
	if (http_conn_version(c)->begin(c))
		http_conn_version(c)->on_event(c, EV_READ);
	else
		http_conn_end(c, END_MEMORY);
}

/* Bytes of one request and perhaps of what follows; returns how many were its.
 * Those left over have to be kept. */
static size_t
feed(struct http_conn *c, char *p, size_t n)
{
	struct http1_head *h = c->head != NULL ? c->head : http_conn_begin_head(c);
	const struct http_config *hc = http_config_of(c);
	size_t used = n;
	bool whole;

	if (hc->h2c && c->stream.requests == 0 && !c->stream.tls && is_preface(c, p, n, &whole)) {
		c->state = whole ? HTTP_CONN_VERSED : c->state;
		if (!whole && c->head == NULL && (c->head = malloc(sizeof(*h))) != NULL)
			memcpy(c->head, h, sizeof(*h));
		if (!whole && c->head == NULL)
			http_conn_end(c, END_MEMORY);
		return 0;
	}
	switch (http1_head_parse(h, p, n)) {
	case HTTP1_NEED_MORE:
		/* No request has begun: the clock of waiting runs on. */
		if (http1_head_is_blank(h)) {
			free(c->head);
			c->head = NULL;
			c->blank = true;
			return n;
		}
		if (c->head == NULL && (c->head = malloc(sizeof(*h))) != NULL)
			memcpy(c->head, h, sizeof(*h));
		if (c->head == NULL)
			http_conn_end(c, END_MEMORY);
		return 0;
	case HTTP1_BAD:
		http_request_bad(c, &c->stream, h, n);
		return n;
	case HTTP1_DONE:
		break;
	}
	deadline_disarm(&c->deadline);
	c->timed = c->offered = false;
	c->stream.requests++;
	c->stream.close_requested = !http1_head_keep_alive(h);
	c->stream.keep = !c->stream.close_requested && (hc->max_requests == 0 || c->stream.requests < hc->max_requests) &&
		  !http_stream_must_leave(&c->stream, c->lane->worker) && http_conn_follow(c);
	used = http_request_take(c, &c->stream, h, p, n);
	free(c->head);
	c->head = NULL;
	return used;
}

/* The process that follows this one has it, with what it has read: what is asked next is asked there. */
static bool
leave_for_successor(struct http_conn *c)
{
	struct worker *w = c->lane->worker;

	if (w->handover == NULL || c->offered || !http_conn_may_go(c))
		return false;
	handover_offer(w, HANDOVER_CLIENT, &c->link);
	return c->state == HTTP_CONN_FROZEN;
}

void
http_conn_run(struct http_conn *c)
{
	if (c->running)
		return;
	c->running = true;
	while (!leave_for_successor(c) && c->state == HTTP_CONN_READING && c->head == NULL && buf_len(&c->in) > 0) {
		struct str in = buf_str(&c->in);
		size_t used = feed(c, (char *)(uintptr_t)in.p, in.n);

		if (c->state == HTTP_CONN_ENDED || c->state == HTTP_CONN_LINGERING)
			break;
		buf_consume(&c->in, used);
	}
	c->running = false;
	if (c->state == HTTP_CONN_VERSED && c->versed == NULL)
		change_version(c);
	if (c->state != HTTP_CONN_READING)
		return;
	if (buf_len(&c->in) == 0)
		buf_free(&c->in);
	if (c->stream.eof) {
		http_conn_end(c, END_DONE);
		return;
	}
	/* The time of a first head runs from the accept, of others from their
	 * first byte. */
	if (c->head == NULL && c->stream.requests > 0 && (!c->blank || c->timed))
		deadline_arm(c->lane->http->keepalive_clock, &c->deadline, c->lane->worker->now);
	else if (c->head != NULL && !c->timed && c->stream.requests > 0)
		deadline_arm(c->lane->http->request_clock, &c->deadline, c->lane->worker->now);
	c->timed = c->head != NULL;
	c->blank = false;
	io_want(c->lane->worker->loop, &c->io, EV_READ);
}

/* A client that says nothing any more, in the middle of a head or before one. */
static void
client_at_eof(struct http_conn *c)
{
	c->stream.eof = true;
	http_conn_end(c, buf_len(&c->in) > 0 ? END_CLIENT_GONE : END_DONE);
}

/* The rest of a head that came in pieces. */
static ssize_t
read_on_head(struct http_conn *c)
{
	size_t most = http_config_of(c)->max_header_size, have = buf_len(&c->in);
	size_t room = have < most ? most - have : 1;
	ssize_t n;
	char *p;

	c->in.max = have + room > HTTP_AHEAD_MAX ? have + room : HTTP_AHEAD_MAX;
	if (room > 4096)
		room = 4096;
	p = buf_reserve(&c->in, room);
	if (p == NULL) {
		errno = ENOMEM;
		return -1;
	}
	n = io_read(&c->io, p, room);
	if (n > 0)
		buf_commit(&c->in, (size_t)n);
	return n;
}

void
http_conn_read(struct http_conn *c)
{
	struct relay_buffers *buffers = &c->lane->worker->buffers;
	ssize_t n = c->head != NULL ? read_on_head(c) : io_read(&c->io, buffers->buffer, buffers->size);
	struct str all;
	size_t used;

	if (n <= 0) {
		if (n == 0)
			client_at_eof(c);
		else if (!io_would_block())
			http_conn_end(c, END_CLIENT_RESET);
		return;
	}
	c->running = true;
	if (c->head != NULL) {
		all = buf_str(&c->in);
		used = feed(c, (char *)(uintptr_t)all.p, all.n);
		if (c->state < HTTP_CONN_LINGERING)
			buf_consume(&c->in, used);
	} else {
		used = feed(c, buffers->buffer, (size_t)n);
		if (c->state < HTTP_CONN_LINGERING && used < (size_t)n &&
		    !http_conn_stash(c, buffers->buffer + used, (size_t)n - used))
			http_conn_end(c, END_MEMORY);
	}
	c->running = false;
	if (c->state == HTTP_CONN_VERSED)
		change_version(c);
	else if (c->state == HTTP_CONN_READING)
		http_conn_run(c);
}

void
http_conn_begin_reading(struct http_conn *c)
{
	if (leave_for_successor(c))
		return;
	if (c->stream.tls && tls_speaks(c->io.tls, http_conn_version(c)->alpn)) {
		change_version(c);
		return;
	}
	http_conn_read(c);
	if (c->state == HTTP_CONN_READING)
		io_want(c->lane->worker->loop, &c->io, EV_READ);
}
