/* probe.c - one connection attempt: begun, watched, spoken on, closed.
 * Thread: main.  Born in probe_start(), dies just before done is called, or in
 * probe_cancel().  Owns its socket. */
#include <ctype.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "control/probe.h"
#include "control/probe_answer.h"
#include "control/probe_grpc.h"
#include "control/probe_steps.h"
#include "net/io.h"
#include "net/sock.h"
#include "net/tls_client.h"
#include "proto/proxy_protocol.h"

#define PROBE_MAGIC 0x70726f62u
/* Even with no timeout a probe ends some day. */
#define PROBE_LONGEST 60.0
/* A status line longer than this is none. */
#define LINE_MAX_BYTES 512
/* What a probe whose answer was waiting gets to hear it out. */
#define REPRIEVE 0.05
#define PROBE_REASON 160
/* What a server has to say goodbye, in seconds; and to give the rest of its
 * answer, so much of it: the verdict is settled by then. */
#define GOODBYE 0.1
#define REST 0.5
#define REST_MAX (256 * 1024)

struct probe {
	uint32_t magic;
	struct ev_loop *loop;
	struct io io;
	ev_timer timer;
	bool reprieved;	/* its time was over, but an answer was there */
	int failed;	/* errno of a connect() that was refused at once, 0: it goes on */
	double timeout, started;
	probe_done_fn *done;
	void *arg;
	const struct status_set *expect;
	unsigned *status;	/* where it is told; NULL: nowhere */
	unsigned answered;	/* the status; 0: none yet */
	struct probe_told *told;	/* where more of it is; NULL: nowhere */
	const struct config *tree;	/* that expect is of; one reference, or NULL */
	char *send;	/* hello and request */
	size_t to_send, sent;
	size_t n_hello;	/* of it, what comes before TLS */
	struct ssl_ctx_st *context;	/* one reference; NULL: plain */
	char *server_name;
	bool handshake_done;
	bool leaving;	/* the verdict is settled; a polite end is under way */
	char verdict[PROBE_REASON];	/* then: "": all is well */
	double took;
	size_t rest;	/* bytes heard since */
	char line[LINE_MAX_BYTES];	/* what came back, until its first line is whole */
	size_t got;
	struct probe_answer *answer;	/* instead, where all of it is judged */
	struct probe_steps steps;	/* instead, where something else is spoken */
	struct probe_grpc *grpc;	/* instead: a call */
	bool wants_line;	/* instead: one line of text */
	bool datagram;
	bool waiting;	/* by UDP, all is sent and nothing is expected: silence is well */
};

/* "connection refused": the system's words, fit for the middle of a sentence. */
static const char *
reason_of(int error, char text[64])
{
	/* EAGAIN is a Unix socket's way to say so. */
	const char *words = error == EAGAIN ? "its queue of connections is full" : strerrordesc_np(error);

	snprintf(text, 64, "%s", words != NULL ? words : "unknown error");
	if (text[1] != '\0' && islower((unsigned char)text[1]))
		text[0] = (char)tolower((unsigned char)text[0]);
	return text;
}

static void
release(struct probe *p)
{
	CHECK(p->magic == PROBE_MAGIC);
	io_close(p->loop, &p->io);
	ev_timer_stop(p->loop, &p->timer);
	tls_context_free(&p->context);
	p->magic = 0;
	probe_answer_free(&p->answer);
	probe_grpc_free(&p->grpc);
	probe_steps_clear(&p->steps);
	config_unref(&p->tree);
	free(p->server_name);
	free(p->send);
	free(p);
}

static void
tell_answer(const struct probe *p)
{
	struct probe_told *told = p->told;
	struct str text;

	if (told == NULL)
		return;
	told->status = p->answered;
	told->kept[0] = '\0';
	told->n = 0;
	told->fresh = true;
	if (p->wants_line)
		memcpy(told->text, p->line, told->n = p->got);
	if (p->answer == NULL)
		return;
	memcpy(told->kept, p->answer->kept, sizeof(told->kept));
	text = buf_str(&p->answer->text);
	told->n = text.n < sizeof(told->text) ? text.n : sizeof(told->text);
	if (told->n > 0)
		memcpy(told->text, text.p, told->n);
}

static void
finish_probe(struct probe *p, const char *error)
{
	probe_done_fn *done = p->done;
	void *arg = p->arg;
	double seconds = clock_now() - p->started;

	tell_answer(p);
	release(p);
	done(arg, error, seconds);
}

/* With the verdict of before; of TLS a server wants to hear goodbye. */
static void
finish_leaving(struct probe *p)
{
	probe_done_fn *done = p->done;
	void *arg = p->arg;
	double seconds = p->took;
	char verdict[PROBE_REASON];

	(void)io_shutdown(&p->io);
	memcpy(verdict, p->verdict, sizeof(verdict));
	tell_answer(p);
	release(p);
	done(arg, verdict[0] != '\0' ? verdict : NULL, seconds);
}

static void
want(struct probe *p, int events)
{
	io_want(p->loop, &p->io, events);
}

/* What the last call failed of. */
static const char *
failure(const struct probe *p, char text[PROBE_REASON])
{
	if (!io_is_tls(&p->io))
		return reason_of(errno, text);
	snprintf(text, PROBE_REASON, "%s", io_error(&p->io));
	return text;
}

/* With n more bytes of its answer there is nothing left to hear; by TLS there is:
 * its goodbye. */
static bool
is_whole(struct probe *p, const char *rest, size_t n)
{
	return p->answer != NULL && !io_is_tls(&p->io) && probe_answer_rest(p->answer, rest, n);
}

/* Waits until the other side has ended the connection as well: what was left
 * unread would make a reset of the close, which servers log (the rest of an
 * answer; tickets, RFC 8446 section 4.6.1). */
static void
leave_probed(struct probe *p)
{
	char rest[4096];
	ssize_t n;

	do {
		n = io_read(&p->io, rest, sizeof(rest));
		p->rest += n > 0 ? (size_t)n : 0;
	} while (n > 0 && p->rest < REST_MAX && !is_whole(p, rest, (size_t)n));
	if (n < 0 && io_would_block())
		want(p, EV_READ);
	else
		finish_leaving(p);
}

/* The verdict is known: error, or NULL. */
static void
begin_to_leave(struct probe *p, const char *error)
{
	p->leaving = true;
	p->took = clock_now() - p->started;
	snprintf(p->verdict, sizeof(p->verdict), "%s", error != NULL ? error : "");
	ev_timer_stop(p->loop, &p->timer);
	ev_timer_set(&p->timer, p->expect != NULL ? REST : GOODBYE, 0);
	ev_timer_start(p->loop, &p->timer);
	if (is_whole(p, NULL, 0))
		finish_leaving(p);
	else
		leave_probed(p);
}

/* "HTTP/1.1 200 OK": the code, or 0 for a line that is no status line
 * (RFC 9112 section 4). */
static unsigned
status_of(struct str line)
{
	uint64_t code;

	if (line.n < 12 || memcmp(line.p, "HTTP/1.", 7) != 0 || (line.p[7] != '0' && line.p[7] != '1') ||
	    line.p[8] != ' ' || (line.n > 12 && line.p[12] != ' ') ||
	    !str_to_u64((struct str){ line.p + 9, 3 }, 599, &code) || code < 100)
		return 0;
	return (unsigned)code;
}

/* Done with an answer of HTTP. */
static void
finish_with(struct probe *p, unsigned status)
{
	char text[64];

	p->answered = status;
	if (p->status != NULL)
		*p->status = status;
	snprintf(text, sizeof(text), "HTTP status %u", status);
	begin_to_leave(p, status_set_has(p->expect, status) ? NULL : text);
}

/* n more bytes, 0: the end. */
static bool
judge_whole(struct probe *p, size_t n)
{
	const char *error;
	unsigned status;

	if (!probe_answer_take(p->answer, n, &status, &error))
		return false;
	/* Of one that is refused by its status that is said, whatever its body has. */
	if (error == NULL || (status != 0 && !status_set_has(p->expect, status))) {
		finish_with(p, status);
		return true;
	}
	begin_to_leave(p, error);
	return true;
}

/* Looks at what came back; true when that settled it. */
static bool
judge_probe(struct probe *p, bool ended)
{
	const char *end = memchr(p->line, '\n', p->got);
	unsigned status;

	if (end == NULL && !ended && p->got < sizeof(p->line))
		return false;
	if (end == NULL) {
		finish_probe(p, p->got == 0 ? "closed the connection without an answer" : "did not answer in HTTP");
		return true;
	}
	status = status_of(
		(struct str){ p->line, (size_t)(end - p->line) - (end > p->line && end[-1] == '\r') });
	if (status == 0)
		finish_probe(p, "did not answer in HTTP");
	else
		finish_with(p, status);
	return true;
}

static void
listen_to_it(struct probe *p)
{
	char text[PROBE_REASON];

	for (;;) {
		size_t most = sizeof(p->line) - p->got;
		char *room = p->answer != NULL ? probe_answer_room(p->answer, &most) : p->line + p->got;
		ssize_t n;

		if (room == NULL) {
			finish_probe(p, "out of memory");
			return;
		}
		n = io_read(&p->io, room, most);
		if (n < 0 && io_would_block()) {
			want(p, EV_READ);
			return;
		}
		if (n < 0) {
			finish_probe(p, failure(p, text));
			return;
		}
		p->got += p->answer == NULL ? (size_t)n : 0;
		if (p->answer != NULL ? judge_whole(p, (size_t)n) : judge_probe(p, n == 0))
			return;
	}
}

static void
hear_line(struct probe *p)
{
	char text[PROBE_REASON];

	for (;;) {
		ssize_t n = io_read(&p->io, p->line + p->got, sizeof(p->line) - p->got);

		if (n < 0 && io_would_block()) {
			want(p, EV_READ);
			return;
		}
		if (n < 0) {
			finish_probe(p, failure(p, text));
			return;
		}
		p->got += (size_t)n;
		if (n == 0 && p->got == 0) {
			finish_probe(p, "closed the connection without an answer");
			return;
		}
		if (n == 0 || memchr(p->line, '\n', p->got) != NULL || memchr(p->line, '\r', p->got) != NULL ||
		    p->got == sizeof(p->line)) {
			begin_to_leave(p, NULL);
			return;
		}
	}
}

/* Hears more for the step that is next; false: not yet, or it is over. */
static bool
hear_step(struct probe *p)
{
	char bytes[4096], text[PROBE_REASON];
	ssize_t n = io_read(&p->io, bytes, sizeof(bytes));

	if (n < 0 && io_would_block()) {
		want(p, EV_READ);
		return false;
	}
	if (n < 0) {
		finish_probe(p, failure(p, text));
		return false;
	}
	if (n == 0 && !p->datagram) {
		finish_probe(p, buf_len(&p->steps.heard) == 0 ? "closed the connection without an answer" :
								"closed the connection before it said what is expected");
		return false;
	}
	if (probe_steps_hear(&p->steps, bytes, (size_t)n))
		return true;
	probe_steps_missing(&p->steps, text, sizeof(text));
	finish_probe(p, text);
	return false;
}

static bool
send_step(struct probe *p, const struct check_step *step)
{
	char text[PROBE_REASON];
	ssize_t n = io_write(&p->io, step->bytes + p->steps.sent, step->n - p->steps.sent, false);

	if (n < 0 && io_would_block()) {
		want(p, EV_WRITE);
		return false;
	}
	if (n < 0) {
		finish_probe(p, failure(p, text));
		return false;
	}
	p->steps.sent += (size_t)n;
	return true;
}

/* By UDP a server that says nothing may be well; one that is not there has its host
 * say so (ICMP, which comes as ECONNREFUSED), and any answer is one. */
static void
wait_for_refusal(struct probe *p)
{
	char bytes[64], text[PROBE_REASON];
	ssize_t n = io_read(&p->io, bytes, sizeof(bytes));

	if (n >= 0) {
		finish_probe(p, NULL);
	} else if (!io_would_block()) {
		finish_probe(p, failure(p, text));
	} else {
		if (!p->waiting) {
			p->waiting = true;
			ev_timer_stop(p->loop, &p->timer);
			ev_timer_set(&p->timer, p->timeout / 2, 0);
			ev_timer_start(p->loop, &p->timer);
		}
		want(p, EV_READ);
	}
}

static void
hold_conversation(struct probe *p)
{
	const struct check_step *step;

	while ((step = probe_steps_next(&p->steps)) != NULL)
		if (!(step->expect ? hear_step(p) : send_step(p, step)))
			return;
	if (!p->datagram)
		begin_to_leave(p, NULL);
	else if (probe_steps_listen(&p->steps))
		finish_probe(p, NULL);
	else
		wait_for_refusal(p);
}

/* The verdict is known: the connection ends as one of HTTP/2. */
static void
end_call(struct probe *p, const char *error)
{
	char goodbye[PROBE_GRPC_GOODBYE];

	probe_grpc_goodbye(goodbye);
	(void)io_write(&p->io, goodbye, sizeof(goodbye), false);
	(void)io_shutdown(&p->io);
	begin_to_leave(p, error);
}

/* False: it is settled. */
static bool
send_replies(struct probe *p)
{
	struct str reply;
	char text[PROBE_REASON];

	while ((reply = probe_grpc_reply(p->grpc)).n > 0) {
		ssize_t n = io_write(&p->io, reply.p, reply.n, false);

		if (n < 0 && io_would_block())
			break;
		if (n < 0) {
			finish_probe(p, failure(p, text));
			return false;
		}
		probe_grpc_said(p->grpc, (size_t)n);
	}
	return true;
}

static void
hear_call(struct probe *p)
{
	char text[PROBE_REASON];
	const char *error;

	for (;;) {
		size_t most;
		char *room = probe_grpc_room(p->grpc, &most);
		ssize_t n;

		if (room == NULL) {
			finish_probe(p, "out of memory");
			return;
		}
		n = io_read(&p->io, room, most);
		if (n < 0 && io_would_block()) {
			if (send_replies(p))
				want(p, EV_READ | (probe_grpc_reply(p->grpc).n > 0 ? EV_WRITE : 0));
			return;
		}
		if (n < 0) {
			finish_probe(p, failure(p, text));
			return;
		}
		if (probe_grpc_take(p->grpc, (size_t)n, &error)) {
			end_call(p, error);
			return;
		}
	}
}

/* Connected: say what is to be said, and hear what must be heard. */
static bool
say_until(struct probe *p, size_t end)
{
	char text[PROBE_REASON];

	while (p->sent < end) {
		ssize_t n = io_write(&p->io, p->send + p->sent, end - p->sent, false);

		if (n < 0 && io_would_block()) {
			want(p, EV_WRITE);
			return false;
		}
		if (n < 0) {
			finish_probe(p, failure(p, text));
			return false;
		}
		p->sent += (size_t)n;
	}
	return true;
}

/* TLS, where it is wanted; false: not yet, or it failed. */
static bool
shake(struct probe *p)
{
	char text[PROBE_REASON];
	struct tls *t;

	if (p->context == NULL || p->handshake_done)
		return true;
	if (!io_is_tls(&p->io)) {
		if ((t = tls_connect(p->context, io_fd(&p->io), p->server_name, NULL)) == NULL) {
			finish_probe(p, "out of memory");
			return false;
		}
		if (p->grpc != NULL && !tls_offer(t, "h2")) {
			tls_free(&t);
			finish_probe(p, "out of memory");
			return false;
		}
		io_start_tls(&p->io, &t);
	}
	switch (io_handshake(&p->io)) {
	case 0:
		want(p, EV_READ);
		return false;
	case 1:
		p->handshake_done = true;
		if (p->grpc == NULL || tls_speaks(p->io.tls, "h2"))
			return true;
		(void)io_shutdown(&p->io);
		begin_to_leave(p, "does not agree to HTTP/2 (\"h2\" by ALPN)");
		return false;
	}
	finish_probe(p, failure(p, text));
	return false;
}

static void
speak(struct probe *p)
{
	if (!say_until(p, p->n_hello) || !shake(p) || !say_until(p, p->to_send))
		return;
	if (p->wants_line)
		hear_line(p);
	else if (p->steps.n > 0)
		hold_conversation(p);
	else if (p->grpc != NULL)
		hear_call(p);
	else if (p->expect == NULL && io_is_tls(&p->io)) {
		(void)io_shutdown(&p->io);
		begin_to_leave(p, NULL);
	} else if (p->expect == NULL)
		finish_probe(p, NULL);
	else
		listen_to_it(p);
}

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
		finish_probe(p, reason_of(error, text));
	else
		speak(p);
}

static void
probe_on_event(struct ev_loop *loop, ev_io *w, int revents)
{
	struct probe *p = container_of(w, struct probe, io.watcher);

	(void)loop;
	(void)revents;
	CHECK(p->magic == PROBE_MAGIC);
	if (p->leaving)
		leave_probed(p);
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
		finish_leaving(p);
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
		finish_probe(p, NULL);
		return;
	}
	snprintf(text, sizeof(text), "%s after %g s", asked ? "no answer" : "timed out", p->timeout);
	finish_probe(p, text);
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

size_t
probe_hello(enum proxy_send send, char out[PROBE_HELLO_MAX])
{
	struct proxy_header h = { .version = send == SEND_V1 ? 1 : 2, .local = true };

	_Static_assert(PROBE_HELLO_MAX >= PROXY_WRITE_MAX, "room for a header");
	return send == SEND_NONE ? 0 : proxy_header_write(&h, out);
}

struct probe *
probe_start(struct ev_loop *loop, const struct probe_request *request, probe_done_fn *done, void *arg,
	    const char **error)
{
	static char text[64];	/* main's, until its next probe */
	double timeout = request->timeout;
	int type = request->datagram ? SOCK_DGRAM : SOCK_STREAM;
	int fd = socket(addr_family(request->to), type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct probe *p;
	int failed;

	if (fd < 0) {
		int e = errno;

		*error = reason_of(e, text);
		errno = e;
		return NULL;
	}
	failed = begin_connect(fd, request->to, request->source,
		       request->hello.n + request->send.n + request->n_steps == 0 && request->tls == NULL && request->expect == NULL && !request->line &&
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
	p->n_hello = request->hello.n;
	p->to_send = p->n_hello + request->send.n;
	p->send = must_alloc(p->to_send + 1);
	if (p->n_hello > 0)
		memcpy(p->send, request->hello.p, p->n_hello);
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
		release(*pp);
	*pp = NULL;
}
