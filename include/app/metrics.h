/* metrics.h - everything countable, in the Prometheus text format.
 * Thread: main. */
#ifndef APP_METRICS_H
#define APP_METRICS_H

#include "base/buf.h"
#include "control/control.h"
#include "proto/prometheus.h"

/* Appends all families; sticky failure in the buf when it is full. */
void metrics_write(struct buf *out, const struct control *c);

/* The process_* families, as Prometheus clients name them; what the kernel
 * does not tell is left out.  In metrics_process.c. */
void metrics_process(struct prom *p);

#endif
