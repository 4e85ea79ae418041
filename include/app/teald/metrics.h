/* metrics.h - everything countable, as Prometheus reads it.
 * Thread: main. */
#ifndef APP_TEALD_METRICS_H
#define APP_TEALD_METRICS_H

#include "base/buf.h"
#include "control/control.h"
#include "proto/prometheus.h"

/* How far an exposition has come: it is written piece by piece, so that
 * however many services there are, main never does nothing else for long.
 * Begin with the format alone set. */
struct metrics_cursor {
	enum prom_format format;
	const char *only;	/* borrowed: what metrics_only() gave; NULL: everything */
	size_t stage;
	uint64_t next;	/* serial of the next service of this stage: they come and go meanwhile */
	bool over;
};

/* From the query of a request, the services that it asks for ("service=shop&service=pay-*"): names and patterns, each with its NUL,
 * the last one empty, for the caller to free; NULL: it names none.  *wrong: NULL, or words: there is no such service, it is no text, or they are too many;
 * the result is NULL then. */
char *metrics_only(struct str query, const struct control *c, const char **wrong);
/* Is that one among them? */
bool metrics_wanted(const char *only, const char *service);

/* Appends until the buf holds `enough` bytes or there is nothing more (then
 * at->over); sticky failure in the buf when it is full. */
void metrics_some(struct buf *out, struct control *c, struct metrics_cursor *at, size_t enough);
/* Appends all at once. */
void metrics_write(struct buf *out, struct control *c, enum prom_format format);

/* The process_* families, as Prometheus clients name them; what the kernel
 * does not tell is left out.  In metrics_process.c. */
/* before: CPU time that the tealds before this one have used. */
void metrics_process(struct prom *p, double before);

#endif
