/* prometheus.h - writes the Prometheus text format, version 0.0.4, into a buf.
 * Families go one after the other, each announced once and followed by its
 * samples:
 *
 *	prom_family(&p, "teal_connections", PROM_GAUGE, "Open connections.");
 *	prom_u64(&p, NULL, labels, 2, n);
 *
 * Names and help are ours and are written as they are; label values may hold
 * anything.  Failure is sticky in the buf (buf->failed).  Pure. */
#ifndef PROTO_PROMETHEUS_H
#define PROTO_PROMETHEUS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

#define PROM_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum prom_type { PROM_COUNTER, PROM_GAUGE, PROM_HISTOGRAM };

struct prom_label {
	const char *name;
	struct str value;
};

/* What was observed: counts[i] values in (bounds[i-1], bounds[i]], and in
 * counts[n] those above the last bound.  Not cumulative: the writer adds. */
struct prom_histogram {
	const double *bounds;	/* n of them, ascending, finite */
	const uint64_t *counts;	/* n + 1 of them */
	size_t n;
	double sum;	/* of all values */
};

struct prom {
	struct buf *out;
	const char *name;	/* of the family; borrowed until the next one */
	enum prom_type type;
};

void prom_init(struct prom *p, struct buf *out);

/* Begins a family.  A name must not come twice in one exposition, and its
 * samples must not be mixed with another's: so the format wants it. */
void prom_family(struct prom *p, const char *name, enum prom_type type, const char *help);

/* One sample of the family.  suffix is appended to its name, NULL for none;
 * labels may be NULL when there are 0.  Infinities come out as +Inf and -Inf. */
void prom_u64(struct prom *p, const char *suffix, const struct prom_label *labels, size_t n, uint64_t value);
void prom_double(struct prom *p, const char *suffix, const struct prom_label *labels, size_t n, double value);

/* All samples of one histogram: a cumulative _bucket for each bound and +Inf,
 * _sum and _count.  The family is a PROM_HISTOGRAM. */
void prom_observed(struct prom *p, const struct prom_label *labels, size_t n, const struct prom_histogram *h);

#endif
