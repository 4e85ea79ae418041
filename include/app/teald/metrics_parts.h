/* metrics_parts.h - what the files that write the metrics share; no other file
 * includes it.
 * Thread: main. */
#ifndef APP_TEALD_METRICS_PARTS_H
#define APP_TEALD_METRICS_PARTS_H

#include "app/teald/metrics.h"

/* Labels never carry anything a client sent: names come from the
 * configuration, words from our own tables. */
struct labels {
	struct prom_label list[6];
	size_t n;
};

/* Both are borrowed. */
void labels_add(struct labels *l, const char *name, const char *value);

void metrics_sample(struct prom *p, struct labels l, uint64_t value);

/* Adds what a thread has observed so far to counts and sum. */
void
metrics_add_histogram(const struct tally_histogram *h, uint64_t counts[TALLY_BUCKETS + 1], uint64_t *sum_us);
void metrics_put_histogram(struct prom *p, struct labels l, const double *bounds, const uint64_t *counts,
			   uint64_t sum_us);

/* The families of nodes; looks at them, so that what follows is of now, too. */
void metrics_nodes(struct prom *p, struct control *c);

/* What one backend has served: nothing where it has not served anything. */
typedef void metrics_backend_fn(struct prom *p, struct labels l, const struct backend_account *a);
metrics_backend_fn metrics_backend_requests, metrics_backend_first_bytes, metrics_backend_bytes, metrics_backend_retries;

/* The families that are not of a service, but for process_*. */
void metrics_whole(struct prom *p, const struct control *c);

#endif
