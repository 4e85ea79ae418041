/* probe_talk.c - what a probe says once it is connected, and what it makes of what comes back: a status line, an answer, a
 * line, steps, a call, silence.  Thread: main. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/probe_private.h"
#include "net/tls_client.h"

static void
want(struct probe *p, int events)
{
	io_want(p->loop, &p->io, events);
}

/* What a read or a write returned; false: it comes again when there is more, or has failed and is told. */
static bool
has_gone_well(struct probe *p, ssize_t n, int events)
{
	char text[PROBE_REASON];

	if (n >= 0)
		return true;
	if (io_would_block())
		want(p, events);
	else
		probe_finish(p, probe_failure(p, text));
	return false;
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
	probe_begin_to_leave(p, status_set_has(p->expect, status) ? NULL : text);
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
	probe_begin_to_leave(p, error);
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
		probe_finish(p, p->got == 0 ? "closed the connection without an answer" : "did not answer in HTTP");
		return true;
	}
	status = status_of(
		(struct str){ p->line, (size_t)(end - p->line) - (end > p->line && end[-1] == '\r') });
	if (status == 0)
		probe_finish(p, "did not answer in HTTP");
	else
		finish_with(p, status);
	return true;
}

static void
listen_to_it(struct probe *p)
{
	for (;;) {
		size_t most = sizeof(p->line) - p->got;
		char *room = p->answer != NULL ? probe_answer_room(p->answer, &most) : p->line + p->got;
		ssize_t n;

		if (room == NULL) {
			probe_finish(p, "out of memory");
			return;
		}
		n = io_read(&p->io, room, most);
		if (!has_gone_well(p, n, EV_READ))
			return;
		p->got += p->answer == NULL ? (size_t)n : 0;
		if (p->answer != NULL ? judge_whole(p, (size_t)n) : judge_probe(p, n == 0))
			return;
	}
}

static void
hear_line(struct probe *p)
{
	for (;;) {
		ssize_t n = io_read(&p->io, p->line + p->got, sizeof(p->line) - p->got);

		if (!has_gone_well(p, n, EV_READ))
			return;
		p->got += (size_t)n;
		if (n == 0 && p->got == 0) {
			probe_finish(p, "closed the connection without an answer");
			return;
		}
		if (n == 0 || memchr(p->line, '\n', p->got) != NULL || memchr(p->line, '\r', p->got) != NULL ||
		    p->got == sizeof(p->line)) {
			probe_begin_to_leave(p, NULL);
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

	if (!has_gone_well(p, n, EV_READ))
		return false;
	if (n == 0 && !p->datagram) {
		probe_finish(p, buf_len(&p->steps.heard) == 0 ? "closed the connection without an answer" :
								"closed the connection before it said what is expected");
		return false;
	}
	if (probe_steps_hear(&p->steps, bytes, (size_t)n))
		return true;
	probe_steps_missing(&p->steps, text, sizeof(text));
	probe_finish(p, text);
	return false;
}

static bool
send_step(struct probe *p, const struct check_step *step)
{
	ssize_t n = io_write(&p->io, step->bytes + p->steps.sent, step->n - p->steps.sent, false);

	if (!has_gone_well(p, n, EV_WRITE))
		return false;
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
		probe_finish(p, NULL);
	} else if (!io_would_block()) {
		probe_finish(p, probe_failure(p, text));
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
		probe_begin_to_leave(p, NULL);
	else if (probe_steps_listen(&p->steps))
		probe_finish(p, NULL);
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
	probe_begin_to_leave(p, error);
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
			probe_finish(p, probe_failure(p, text));
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
			probe_finish(p, "out of memory");
			return;
		}
		n = io_read(&p->io, room, most);
		if (n < 0 && io_would_block()) {
			if (send_replies(p))
				want(p, EV_READ | (probe_grpc_reply(p->grpc).n > 0 ? EV_WRITE : 0));
			return;
		}
		if (n < 0) {
			probe_finish(p, probe_failure(p, text));
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
	while (p->sent < end) {
		ssize_t n = io_write(&p->io, p->send + p->sent, end - p->sent, false);

		if (!has_gone_well(p, n, EV_WRITE))
			return false;
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
			probe_finish(p, "out of memory");
			return false;
		}
		if (p->grpc != NULL && !tls_offer(t, "h2")) {
			tls_free(&t);
			probe_finish(p, "out of memory");
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
		probe_begin_to_leave(p, "does not agree to HTTP/2 (\"h2\" by ALPN)");
		return false;
	}
	probe_finish(p, probe_failure(p, text));
	return false;
}

void
probe_speak(struct probe *p)
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
		probe_begin_to_leave(p, NULL);
	} else if (p->expect == NULL)
		probe_finish(p, NULL);
	else
		listen_to_it(p);
}
