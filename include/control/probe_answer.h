/* probe_answer.h - what an HTTP server says to a check, read as it would be for a
 * client: by the parser of the data path and within the service's limits, so that
 * no backend is up whose answers no client gets.
 * Judged are the head, the framing, and what of the body comes along with it.
 * Thread: main. */
#ifndef CONTROL_PROBE_ANSWER_H
#define CONTROL_PROBE_ANSWER_H

#include "base/buf.h"
#include "model/config.h"
#include "proto/http1_body.h"

/* A longer value of a header is none that is kept. */
#define PROBE_KEPT 64

struct probe_answer {
	const struct http_config *http;
	struct buf bytes;
	uint64_t interim;	/* bytes of the interim heads so far */
	struct http1_head head;
	struct http1_body body;	/* once the head is whole */
	bool over;	/* nothing of the body is to come, or nothing that makes sense */
	bool headed;	/* the final head is whole */
	bool is_head;	/* it answers a HEAD */
	const char *expect;	/* what the body must hold; NULL: anything */
	struct buf text;	/* the body so far, without its framing, where that is looked for or kept */
	/* A header whose value is kept, and with it the body, to PROBE_BODY_MAX: they are told;
	 * NULL: none. */
	const char *keep;
	char kept[PROBE_KEPT];
};

/* What of a body is looked at for what it must hold. */
#define PROBE_BODY_MAX 65536

/* http, expect_body and keep, which may be NULL, have to live as long as it. */
struct probe_answer *probe_answer_new(const struct http_config *http, const char *expect_body, bool is_head,
				      const char *keep);
void probe_answer_free(struct probe_answer **ap);

/* Where the next bytes go, *n at most; NULL: memory is out. */
char *probe_answer_room(struct probe_answer *a, size_t *n);
/* So many have come there, 0: the server has ended.  False: more is to come.  True
 * with the final answer's *status, or with *error, which stays good: why it is no
 * answer; with both where its body lacks what is expected (*status 0: there is none). */
bool probe_answer_take(struct probe_answer *a, size_t n, unsigned *status, const char **error);
/* Behind that: n more bytes have come, of which nothing is judged.  True once no
 * more of the answer are to come; only the server's end tells, of some. */
bool probe_answer_rest(struct probe_answer *a, const char *p, size_t n);

#endif
