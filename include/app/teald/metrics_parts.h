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

/* The service, and its color, as labels.  Preview traffic has series of its own; the main entrance's have no label,
 * so that a sum over a service's colors is its users' traffic. */
struct labels metrics_of_service(const struct service *s);
struct labels metrics_of_color(const struct service *s, enum entrance entrance, enum color color);
struct labels labels_with(struct labels l, const char *name, const char *value);

/* One series, or a few, of one color. */
typedef void metrics_color_fn(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color);
/* In metrics_color.c. */
metrics_color_fn metrics_put_active, metrics_put_share, metrics_put_diverted, metrics_put_connections, metrics_put_endings, metrics_put_bytes, metrics_put_retries,
	metrics_put_datagrams, metrics_put_datagrams_dropped, metrics_put_no_port, metrics_put_connect_seconds,
	metrics_put_request_seconds, metrics_put_first_byte_seconds, metrics_put_requests, metrics_put_grpc, metrics_put_odd_answers,
	metrics_put_draining, metrics_put_overdue, metrics_put_flips;
void metrics_put_ramp_held(struct prom *p, const struct service_ctl *ctl);
/* In metrics_bake.c. */
metrics_color_fn metrics_put_bake_clients, metrics_put_bake_troubles, metrics_put_bake_active, metrics_put_bake_verdicts;
void metrics_put_bake_failures(struct prom *p, const struct service_ctl *ctl);
/* Of its backends, in metrics_backend.c. */
metrics_color_fn metrics_put_backups_used, metrics_put_backend_up, metrics_put_backend_admin_state, metrics_put_backend_places,
	metrics_put_backend_checks, metrics_put_backend_connections, metrics_put_backend_failures, metrics_put_bad_answers,
	metrics_put_backend_requests, metrics_put_backend_first_bytes, metrics_put_backend_bytes, metrics_put_backend_retries,
	metrics_put_backend_ejections, metrics_put_backend_ejected, metrics_put_healthy, metrics_put_needed;

/* Does the service speak HTTP, so that requests are counted? */
bool metrics_counts_requests(const struct service *s);

/* The families that are not of a service, but for process_*. */
void metrics_whole(struct prom *p, const struct control *c);

#endif
