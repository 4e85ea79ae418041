/* probe_end.c - the verdict of a probe, and how its connection ends.  Thread: main. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "control/probe_private.h"
#include "net/tls_client.h"

/* What a server has to say goodbye, in seconds; and to give the rest of its
 * answer, so much of it: the verdict is settled by then. */
#define GOODBYE 0.1
#define REST 0.5
#define REST_MAX (256 * 1024)

/* "connection refused": the system's words, fit for the middle of a sentence. */
const char *
probe_reason_of(int error, char text[64])
{
	/* EAGAIN is a Unix socket's way to say so. */
	const char *words = error == EAGAIN ? "its queue of connections is full" : strerrordesc_np(error);

	snprintf(text, 64, "%s", words != NULL ? words : "unknown error");
	if (text[1] != '\0' && islower((unsigned char)text[1]))
		text[0] = (char)tolower((unsigned char)text[0]);
	return text;
}

void
probe_release(struct probe *p)
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

void
probe_finish(struct probe *p, const char *error)
{
	probe_done_fn *done = p->done;
	void *arg = p->arg;
	double seconds = clock_now() - p->started;

	tell_answer(p);
	probe_release(p);
	done(arg, error, seconds);
}

/* With the verdict of before; of TLS a server wants to hear goodbye. */
void
probe_finish_leaving(struct probe *p)
{
	probe_done_fn *done = p->done;
	void *arg = p->arg;
	double seconds = p->took;
	char verdict[PROBE_REASON];

	(void)io_shutdown(&p->io);
	memcpy(verdict, p->verdict, sizeof(verdict));
	tell_answer(p);
	probe_release(p);
	done(arg, verdict[0] != '\0' ? verdict : NULL, seconds);
}

/* What the last call failed of. */
const char *
probe_failure(const struct probe *p, char text[PROBE_REASON])
{
	if (!io_is_tls(&p->io))
		return probe_reason_of(errno, text);
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
void
probe_leave(struct probe *p)
{
	char rest[4096];
	ssize_t n;

	do {
		n = io_read(&p->io, rest, sizeof(rest));
		p->rest += n > 0 ? (size_t)n : 0;
	} while (n > 0 && p->rest < REST_MAX && !is_whole(p, rest, (size_t)n));
	if (n < 0 && io_would_block())
		io_want(p->loop, &p->io, EV_READ);
	else
		probe_finish_leaving(p);
}

/* The verdict is known: error, or NULL. */
void
probe_begin_to_leave(struct probe *p, const char *error)
{
	p->leaving = true;
	p->took = clock_now() - p->started;
	snprintf(p->verdict, sizeof(p->verdict), "%s", error != NULL ? error : "");
	ev_timer_stop(p->loop, &p->timer);
	ev_timer_set(&p->timer, p->expect != NULL ? REST : GOODBYE, 0);
	ev_timer_start(p->loop, &p->timer);
	if (is_whole(p, NULL, 0))
		probe_finish_leaving(p);
	else
		probe_leave(p);
}
