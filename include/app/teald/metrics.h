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
	size_t stage;
	uint64_t next;	/* serial of the next service of this stage: they come and go meanwhile */
	bool over;
};

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
