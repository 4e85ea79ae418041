/* probe_steps.h - the conversation of a check: bytes that are sent, and bytes that have to
 * come somewhere in what is heard.
 * Thread: main. */
#ifndef CONTROL_PROBE_STEPS_H
#define CONTROL_PROBE_STEPS_H

#include "base/buf.h"
#include "model/config.h"

/* Heard without what is expected: more is no answer. */
#define STEPS_HEARD_MAX 65536

struct probe_steps {
	const struct check_step *list;	/* the configuration's */
	size_t n, at;	/* the next one */
	size_t sent;	/* bytes of it */
	struct buf heard;	/* what no step has used yet */
};

void probe_steps_init(struct probe_steps *s, const struct check_step *list, size_t n);
void probe_steps_clear(struct probe_steps *s);
/* NULL: all is said and heard.  What is expected and heard already is used up by this. */
const struct check_step *probe_steps_next(struct probe_steps *s);
/* n bytes have come; false: too many, and what is expected is not among them. */
bool probe_steps_hear(struct probe_steps *s, const char *p, size_t n);
/* Any step that is expected? */
bool probe_steps_listen(const struct probe_steps *s);
/* "an answer without \"PONG\"", as far as it can be shown. */
void probe_steps_missing(const struct probe_steps *s, char *out, size_t n);

#endif
