/* probe.c - one connection attempt: begun, watched, given up.
 * Thread: main.  Born in probe_start(), dies just before done is called, or in
 * probe_cancel().  Owns its socket. */
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "control/probe_private.h"
#include "net/sock.h"
#include "net/tls_client.h"
#include "proto/proxy_protocol.h"

/* Even with no timeout a probe ends some day. */
#define PROBE_LONGEST 60.0
/* What a probe whose answer was waiting gets to hear it out. */
#define REPRIEVE 0.05

/* The connect is over, one way or the other: which? */
static void
continue_probe(struct probe *p)
{
	int error = p->failed;
	socklen_t len = sizeof(error);
	char text[64];

	if (error == 0 && getsockopt(io_fd(&p->io), SOL_SOCKET, SO_ERROR, &error, &len) != 0)
		error = errno;
	if (error != 0)
		probe_finish(p, probe_reason_of(error, text));
	else
		probe_speak(p);
}

static void
probe_on_event(struct ev_loop *loop, ev_io *w, int revents)
{
	struct probe *p = container_of(w, struct probe, io.watcher);

	(void)loop;
	(void)revents;
	CHECK(p->magic == PROBE_MAGIC);
	if (p->leaving)
		probe_leave(p);
	else
		continue_probe(p);
}

static void
probe_on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct probe *p = container_of(w, struct probe, timer);
	bool asked = (p->to_send > 0 && p->sent == p->to_send) || p->steps.at > 0;
	bool listens = asked && (p->expect != NULL || p->steps.n > 0 || p->grpc != NULL);
	struct pollfd now = { .fd = io_fd(&p->io), .events = listens ? POLLIN : POLLOUT };
	char text[64];

	(void)revents;
	CHECK(p->magic == PROBE_MAGIC);
	if (p->leaving) {
		probe_finish_leaving(p);
		return;
	}
	/* Had this thread been held up, the answer may be waiting: a stall of
	 * ours is no fault of the backend's.  Once; a trickle does not count. */
	if (p->failed != 0 || (!p->reprieved && poll(&now, 1, 0) > 0)) {
		p->reprieved = true;
		ev_timer_set(w, REPRIEVE, 0);
		ev_timer_start(loop, w);
		continue_probe(p);
		return;
	}
	if (p->waiting) {
		probe_finish(p, NULL);
		return;
	}
	snprintf(text, sizeof(text), "%s after %g s", asked ? "no answer" : "timed out", p->timeout);
	probe_finish(p, text);
}

/* errno, or 0 when it is under way or done; -1: no port of ours is free, which
 * says nothing about the other side. */
static int
begin_connect(int fd, const struct addr *to, const struct addr *source, bool silent)
{
	int on = 1, off = 0;

	/* A server counts, logs or forks for a connection that says nothing, and
	 * may shut us out for it (MySQL: max_connect_errors).  The handshake's last
	 * ACK is held back (tcp(7), TCP_QUICKACK), and the reset of close() comes
	 * in its place: whether it listens is known, and accept() never sees it,
	 * unless this thread is held up for 200 ms, when the kernel sends it. */
	if (silent) {
		(void)setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof(off));
		sock_reset_on_close(fd);
	}

	if (source != NULL && source->len > 0 && addr_family(source) == addr_family(to)) {
		/* The port is chosen at connect(), so that it need only be
		 * unique for this destination. */
		if (addr_family(to) != AF_UNIX)
			(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
		if (bind(fd, &source->u.sa, source->len) != 0)
			return errno;
	}
	if (connect(fd, &to->u.sa, to->len) == 0 || errno == EINPROGRESS || errno == EINTR)
		return 0;
	return errno == EADDRNOTAVAIL ? -1 : errno;
}

/* An address of a socket, as the PROXY protocol writes it. */
static void
put_end(struct proxy_end *end, const struct addr *a)
{
	if (addr_family(a) == AF_INET)
		memcpy(end->ip, &a->u.in.sin_addr, sizeof(a->u.in.sin_addr));
	else
		memcpy(end->ip, &a->u.in6.sin6_addr, sizeof(a->u.in6.sin6_addr));
	end->port = (uint16_t)addr_port(a);
}

/* The header of a probe that connects from fd; returns its length. */
static size_t
own_header(int fd, const struct addr *to, enum proxy_send send, char out[PROXY_WRITE_MAX])
{
	struct proxy_header h = { .version = send == SEND_V1 ? 1 : 2, .local = true };
	struct addr from = { .len = sizeof(from.u) };

	if (send == SEND_NONE)
		return 0;
	if (send == SEND_V1 && addr_family(to) != AF_UNIX && getsockname(fd, &from.u.sa, &from.len) == 0) {
		h.local = false;
		h.family = addr_family(to) == AF_INET ? PROXY_IP4 : PROXY_IP6;
		put_end(&h.source, &from);
		put_end(&h.destination, to);
	}
	return proxy_header_write(&h, out);
}

struct probe *
probe_start(struct ev_loop *loop, const struct probe_request *request, probe_done_fn *done, void *arg,
	    const char **error)
{
	static char text[64];	/* main's, until its next probe */
	double timeout = request->timeout;
	int type = request->datagram ? SOCK_DGRAM : SOCK_STREAM;
	int fd = socket(addr_family(request->to), type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	char header[PROXY_WRITE_MAX];
	struct probe *p;
	int failed;

	if (fd < 0) {
		int e = errno;

		*error = probe_reason_of(e, text);
		errno = e;
		return NULL;
	}
	failed = begin_connect(fd, request->to, request->source,
		       request->proxy == SEND_NONE && request->send.n + request->n_steps == 0 && request->tls == NULL &&
			       request->expect == NULL && !request->line &&
			       addr_family(request->to) != AF_UNIX);
	if (failed < 0) {
		close(fd);
		*error = "no port is free to connect from (net.ipv4.ip_local_port_range)";
		return NULL;
	}
	p = must_alloc(sizeof(*p));
	p->magic = PROBE_MAGIC;
	p->loop = loop;
	p->timeout = timeout > 0 && timeout < PROBE_LONGEST ? timeout : PROBE_LONGEST;
	p->started = clock_now();
	p->done = done;
	p->arg = arg;
	p->expect = request->expect;
	p->status = request->status;
	p->told = request->told;
	p->tree = request->tree != NULL ? config_ref(request->tree) : NULL;
	if (request->expect != NULL && request->http != NULL)
		p->answer = probe_answer_new(request->http, request->expect_body, request->head,
					     request->told != NULL ? request->keep : NULL);
	probe_steps_init(&p->steps, request->steps, request->n_steps);
	p->datagram = request->datagram;
	if (request->grpc)
		p->grpc = probe_grpc_new();
	p->wants_line = request->line;
	p->n_hello = own_header(fd, request->to, request->proxy, header);
	p->to_send = p->n_hello + request->send.n;
	p->send = must_alloc(p->to_send + 1);
	if (p->n_hello > 0)
		memcpy(p->send, header, p->n_hello);
	if (request->send.n > 0)
		memcpy(p->send + p->n_hello, request->send.p, request->send.n);
	if (request->tls != NULL) {
		p->context = tls_context_ref(request->tls);
		p->server_name = must_strdup(request->server_name);
	}
	p->failed = failed;
	io_init(&p->io, fd, probe_on_event);
	/* The loop's clock stands still within a turn: count from now, not from
	 * when the turn began.  What failed already is told next turn. */
	ev_now_update(loop);
	ev_timer_init(&p->timer, probe_on_timer, p->failed != 0 ? 0 : p->timeout, 0);
	ev_timer_start(loop, &p->timer);
	if (p->failed == 0)
		io_want(loop, &p->io, EV_WRITE);
	*error = NULL;
	return p;
}

void
probe_cancel(struct probe **pp)
{
	if (*pp != NULL)
		probe_release(*pp);
	*pp = NULL;
}
