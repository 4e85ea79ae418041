/* kube_stream.c - a request to an API server, on a thread that waits.  Thread: the watch's own. */
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/version.h"
#include "control/kube_stream.h"

#define HEAD_MAX (64 * 1024)
#define PIECE (64 * 1024)
/* Heads of the requests: a path, a token of at most 4 KiB, and what goes with them. */
#define REQUEST_MAX (64 * 1024)
/* A deadline is looked at as often as this, so that it is that of clock_now(). */
#define WAIT_SLICE 0.5

static const char stopped[] = "it was stopped";

/* -- waiting ------------------------------------------------------------------------- */

enum waited { WAITED_READY, WAITED_LATE, WAITED_STOP };

/* fd < 0: only for the time. */
static enum waited
wait_fd(int fd, short events, int stop_fd, double deadline)
{
	for (;;) {
		struct pollfd p[] = { { stop_fd, POLLIN, 0 }, { fd, events, 0 } };
		double left = deadline - clock_now();

		if (poll(p, 2, left <= 0 ? 0 : (int)ceil(fmin(left, WAIT_SLICE) * 1000)) < 0 && errno != EINTR)
			return WAITED_STOP;
		if (p[0].revents != 0)
			return WAITED_STOP;
		if (fd >= 0 && p[1].revents != 0)
			return WAITED_READY;
		if (left <= 0)
			return WAITED_LATE;
	}
}

bool
kube_wait(int stop_fd, double seconds)
{
	return wait_fd(-1, 0, stop_fd, clock_now() + seconds) != WAITED_STOP;
}

/* Until reading (EV_READ) or writing (EV_WRITE) goes on. */
static enum waited
wait_io(const struct kube_stream *s, int events, double deadline)
{
	int watched = io_is_tls(&s->io) ? tls_interest(s->io.tls, events) : events;
	short polled = 0;

	if (watched & EV_READ)
		polled |= POLLIN;
	if (watched & EV_WRITE)
		polled |= POLLOUT;
	return wait_fd(io_fd(&s->io), polled, s->stop_fd, deadline);
}

static enum err
not_waited(enum waited w, const char *what, struct why *why)
{
	return w == WAITED_STOP ? why_set(why, E_STORE, "%s", stopped) : why_set(why, E_STORE, "%s", what);
}

/* -- the way there ------------------------------------------------------------------- */

static enum err
connect_to(struct kube_stream *s, const struct addr *to, double deadline, struct why *why)
{
	const struct sock_connect options = { .user_timeout = 30,
					      .keepalive = { .on = true, .idle = 10, .interval = 5, .count = 3 } };
	char text[ADDR_TEXT];
	enum waited w;
	bool pending;
	int fd, rc;

	if ((fd = sock_connect(to, &options, &pending)) < 0)
		return why_set(why, E_STORE, "cannot connect to %s: %s", addr_format(to, text), strerror(errno));
	io_init(&s->io, fd, NULL);
	if (pending && (w = wait_io(s, EV_WRITE, deadline)) != WAITED_READY)
		return not_waited(w, "the connect timed out", why);
	if ((rc = sock_error(fd)) != 0)
		return why_set(why, E_STORE, "cannot connect to %s: %s", addr_format(to, text), strerror(rc));
	return OK;
}

/* The first address that answers. */
static enum err
connect_server(struct kube_stream *s, const struct kube_request *r, struct why *why)
{
	const struct redis_endpoint *at = &r->server->at;
	struct addr *list;
	enum err e;
	size_t n;

	if ((e = addr_resolve_all(at->host, &list, &n, why)) != OK)
		return e;
	for (size_t i = 0; i < n; i++) {
		double now = clock_now();

		addr_set_port(&list[i], at->port);
		if ((e = connect_to(s, &list[i], now + (r->deadline - now) / (double)(n - i), why)) == OK)
			break;
		kube_stream_close(s);
	}
	free(list);
	return e;
}

static enum err
shake_kube_hands(struct kube_stream *s, const struct kube_request *r, struct why *why)
{
	const char *name = r->server_name != NULL ? r->server_name : r->server->at.host;
	struct tls *tls = tls_connect(r->context, io_fd(&s->io), name, NULL);
	enum waited w;
	int rc;

	if (tls == NULL)
		return why_set(why, E_STORE, "memory is out");
	io_start_tls(&s->io, &tls);
	while ((rc = io_handshake(&s->io)) == 0)
		if ((w = wait_io(s, EV_READ, r->deadline)) != WAITED_READY)
			return not_waited(w, "the TLS handshake timed out", why);
	return rc > 0 ? OK : why_set(why, E_STORE, "TLS: %s", io_error(&s->io));
}

static enum err
send_kube_request(struct kube_stream *s, const struct kube_request *r, struct why *why)
{
	const char *base = r->server->target;
	char host[HTTP_URL_ORIGIN];
	size_t n = strlen(base);
	struct buf text;
	enum err e = OK;

	while (n > 0 && base[n - 1] == '/')
		n--;
	buf_init(&text, REQUEST_MAX);
	buf_printf(&text, "GET %.*s%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: teal/%s\r\nAccept: application/json\r\nConnection: close\r\n",
		   (int)n, base, r->path, http_url_authority(r->server, host), teal_version());
	if (r->token != NULL)
		buf_printf(&text, "Authorization: Bearer %s\r\n", r->token);
	buf_printf(&text, "\r\n");
	if (text.failed)
		e = why_set(why, E_STORE, "the request is too long");
	while (e == OK && buf_len(&text) > 0) {
		struct str left = buf_str(&text);
		ssize_t sent = io_write(&s->io, left.p, left.n, false);
		enum waited w;

		if (sent > 0)
			buf_consume(&text, (size_t)sent);
		else if (!io_would_block())
			e = why_set(why, E_STORE, "cannot send the request: %s", io_error(&s->io));
		else if ((w = wait_io(s, EV_WRITE, r->deadline)) != WAITED_READY)
			e = not_waited(w, "sending the request timed out", why);
	}
	if (text.data != NULL)
		explicit_bzero(text.data, text.cap);
	buf_free(&text);
	return e;
}

/* -- the answer ---------------------------------------------------------------------- */

/* Once: *n bytes came into s->in, 0: the stream has ended. */
static enum err
receive(struct kube_stream *s, double deadline, size_t *n, bool *late, struct why *why)
{
	char *room = buf_reserve(&s->in, PIECE);
	enum waited w;
	ssize_t got;

	*late = false;
	if (room == NULL)
		return why_set(why, E_STORE, "the head of the answer is too long, or memory is out");
	while ((got = io_read(&s->io, room, PIECE)) < 0) {
		if (!io_would_block())
			return why_set(why, E_STORE, "the connection broke: %s", io_error(&s->io));
		if ((w = wait_io(s, EV_READ, deadline)) != WAITED_READY) {
			*late = w == WAITED_LATE;
			return not_waited(w, "the answer did not come in time", why);
		}
	}
	buf_commit(&s->in, (size_t)got);
	*n = (size_t)got;
	return OK;
}

static enum err
read_head(struct kube_stream *s, double deadline, struct why *why)
{
	http1_head_init_response(&s->head, HEAD_MAX);
	for (;;) {
		enum http1_verdict v = http1_head_parse(&s->head, buf_str(&s->in).p, buf_len(&s->in));
		bool late;
		size_t n;
		enum err e;

		if (v == HTTP1_BAD)
			return why_set(why, E_STORE, "the answer is no HTTP: %s", http1_reason_words(s->head.reason));
		if (v == HTTP1_DONE && s->head.status >= 200)
			return OK;
		if (v == HTTP1_DONE) {
			if (s->head.status == 101)
				return why_set(why, E_STORE, "101 without having been asked");
			buf_consume(&s->in, s->head.length);
			http1_head_init_response(&s->head, HEAD_MAX);
			continue;
		}
		if ((e = receive(s, deadline, &n, &late, why)) != OK)
			return e;
		if (n == 0)
			return why_set(why, E_STORE, "the connection ended without an answer");
	}
}

enum err
kube_stream_open(struct kube_stream *s, const struct kube_request *r, unsigned *status, struct why *why)
{
	enum err e;

	s->stop_fd = r->stop_fd;
	s->over = false;
	io_init(&s->io, -1, NULL);
	buf_init(&s->in, HEAD_MAX + PIECE);
	if ((e = connect_server(s, r, why)) != OK || (r->server->tls && (e = shake_kube_hands(s, r, why)) != OK) ||
	    (e = send_kube_request(s, r, why)) != OK || (e = read_head(s, r->deadline, why)) != OK) {
		kube_stream_close(s);
		return e;
	}
	*status = s->head.status;
	if (http1_body_of_response(&s->body, &s->head, false) == HTTP1_BAD) {
		kube_stream_close(s);
		return why_set(why, E_STORE, "the answer is no HTTP: %s", http1_reason_words((enum http1_reason)s->body.reason));
	}
	buf_consume(&s->in, s->head.length);
	s->over = s->body.done;
	return OK;
}

/* What is here of the body. */
static enum err
take_stream_body(struct kube_stream *s, struct buf *out, struct why *why)
{
	enum http1_verdict v = HTTP1_NEED_MORE;
	struct str all = buf_str(&s->in);
	size_t at = 0;

	while (v == HTTP1_NEED_MORE && at < all.n) {
		struct str data;

		at += http1_body_take(&s->body, all.p + at, all.n - at, &data, &v);
		if (data.n > 0 && !buf_append(out, data.p, data.n))
			return why_set(why, E_STORE, "the answer is longer than %zu bytes", out->max);
	}
	buf_consume(&s->in, buf_len(&s->in));
	s->over = v == HTTP1_DONE;
	return v != HTTP1_BAD ? OK : why_set(why, E_STORE, "the answer makes no sense: %s",
					     http1_reason_words((enum http1_reason)s->body.reason));
}

enum err
kube_stream_read(struct kube_stream *s, struct buf *out, double deadline, bool *ended, bool *late, struct why *why)
{
	size_t before = buf_len(out), n = 0;
	enum err e = OK;

	*late = false;
	while (!s->over && buf_len(out) == before) {
		if (buf_len(&s->in) == 0 && (e = receive(s, deadline, &n, late, why)) != OK)
			return e;
		if (buf_len(&s->in) > 0)
			e = take_stream_body(s, out, why);
		else if (http1_body_finish(&s->body) == HTTP1_DONE)
			s->over = true;
		else
			e = why_set(why, E_STORE, "the answer is cut short");
		if (e != OK)
			return e;
	}
	*ended = s->over;
	return OK;
}

void
kube_stream_close(struct kube_stream *s)
{
	if (io_is_open(&s->io)) {
		if (io_is_tls(&s->io))
			tls_free(&s->io.tls);
		close(io_fd(&s->io));
	}
	io_init(&s->io, -1, NULL);
	buf_free(&s->in);
}
