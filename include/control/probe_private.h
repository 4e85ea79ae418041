/* probe_private.h - private to probe*.c: one that is under way.  probe.c connects and keeps its time, probe_talk.c says and
 * hears what is to be said and heard, probe_end.c gives its verdict and leaves.
 * Thread: main. */
#ifndef CONTROL_PROBE_PRIVATE_H
#define CONTROL_PROBE_PRIVATE_H

#include "control/probe.h"
#include "control/probe_grpc.h"
#include "control/probe_steps.h"
#include "net/io.h"

#define PROBE_MAGIC 0x70726f62u
/* A status line longer than this is none. */
#define PROBE_LINE_MAX 512
#define PROBE_REASON 160

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
	char line[PROBE_LINE_MAX];	/* what came back, until its first line is whole */
	size_t got;
	struct probe_answer *answer;	/* instead, where all of it is judged */
	struct probe_steps steps;	/* instead, where something else is spoken */
	struct probe_grpc *grpc;	/* instead: a call */
	bool wants_line;	/* instead: one line of text */
	bool datagram;
	bool waiting;	/* by UDP, all is sent and nothing is expected: silence is well */
};

/* "connection refused": the system's words, fit for the middle of a sentence.  Returns text. */
const char *probe_reason_of(int error, char text[64]);
/* What the last call on its connection failed of. */
const char *probe_failure(const struct probe *p, char text[PROBE_REASON]);
/* Closes and frees it; nothing is told. */
void probe_release(struct probe *p);
/* The verdict, NULL: well.  p is freed. */
void probe_finish(struct probe *p, const char *error);
/* The same verdict, of one that is better left with a goodbye: it goes on in probe_leave() until the other side
 * has ended as well, or has had its time (probe_finish_leaving). */
void probe_begin_to_leave(struct probe *p, const char *error);
void probe_leave(struct probe *p);
void probe_finish_leaving(struct probe *p);

/* Connected, and whenever its socket is ready: says the next, hears what there is. */
void probe_speak(struct probe *p);

#endif
