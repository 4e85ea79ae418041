/* prometheus.h - writes metrics into a buf, in the Prometheus text format,
 * version 0.0.4, or in OpenMetrics 1.0.
 * Families go one after the other, each announced once and followed by its
 * samples:
 *
 *	prom_init(&p, &out, PROM_TEXT);
 *	prom_family(&p, "teal_connections", PROM_GAUGE, "Open connections.");
 *	prom_u64(&p, NULL, labels, 2, n);
 *	prom_end(&p);
 *
 * Names and help are ours and are written as they are (help holds no quote, no
 * backslash); label values may hold anything.  Failure is sticky in the buf
 * (buf->failed).  Pure. */
#ifndef PROTO_PROMETHEUS_H
#define PROTO_PROMETHEUS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

enum prom_format { PROM_TEXT, PROM_OPENMETRICS };

enum prom_type {
	PROM_COUNTER,	/* its name ends in _total */
	PROM_GAUGE,
	PROM_HISTOGRAM,
	PROM_INFO,	/* always 1, all that matters is in its labels; _info */
	/* A counter whose name without _total is another family's too.  OpenMetrics
	 * leaves the ending out of a family's name, and would see one family
	 * twice: there it is of unknown type. */
	PROM_COUNTER_BESIDE
};

struct prom_label {
	const char *name;
	struct str value;
};

/* What was observed: counts[i] values in (bounds[i-1], bounds[i]], and in
 * counts[n] those above the last bound.  Not cumulative: the writer adds. */
#define PROM_BUCKETS_MAX 32
struct prom_histogram {
	const double *bounds;	/* n of them, ascending, finite, constant */
	const uint64_t *counts;	/* n + 1 of them */
	size_t n;	/* at most PROM_BUCKETS_MAX */
	double sum;	/* of all values */
};

struct prom {
	struct buf *out;
	enum prom_format format;
	struct str name;	/* of the family; borrowed until the next one */
	enum prom_type type;
	/* The bounds last written, as text: one after the other writes the same. */
	const double *bounds;
	char le[PROM_BUCKETS_MAX][24];
};

/* What a scraper that sent this Accept header ("" for none) is to be given. */
enum prom_format prom_negotiate(struct str accept);
const char *prom_content_type(enum prom_format format);

void prom_init(struct prom *p, struct buf *out, enum prom_format format);

/* Begins a family.  A name must not come twice in one exposition, and its
 * samples must not be mixed with another's: so the formats want it. */
void prom_family(struct prom *p, const char *name, enum prom_type type, const char *help);
/* The same, without announcing it again: what follows goes on with a family
 * that another prom began. */
void prom_go_on(struct prom *p, const char *name, enum prom_type type);

/* One sample of the family.  suffix is appended to its name, NULL for none;
 * labels may be NULL when there are 0.  Infinities come out as +Inf and -Inf. */
void prom_u64(struct prom *p, const char *suffix, const struct prom_label *labels, size_t n, uint64_t value);
void prom_double(struct prom *p, const char *suffix, const struct prom_label *labels, size_t n, double value);

/* All samples of one histogram: a cumulative _bucket for each bound and +Inf,
 * _sum and _count.  The family is a PROM_HISTOGRAM. */
void prom_observed(struct prom *p, const struct prom_label *labels, size_t n, const struct prom_histogram *h);

/* What the format wants after the last family. */
void prom_end(struct prom *p);

#endif
