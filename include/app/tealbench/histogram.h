/* histogram.h - counts of values in log-linear buckets, as HDR histograms
 * do: 128 buckets for each power of two, so that what is read back differs
 * from what was recorded by less than 1 %, from nanoseconds to hours, in
 * 37 KiB and without allocation.  One writer; merge when it is done. */
#ifndef APP_TEALBENCH_HISTOGRAM_H
#define APP_TEALBENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 7
/* Values of 2^43 (2.4 hours of nanoseconds) and above share the last bucket;
 * min, max and sum stay exact. */
#define HISTOGRAM_TOP_BITS 43
#define HISTOGRAM_BUCKETS ((HISTOGRAM_TOP_BITS - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
	uint64_t count, sum;
	uint64_t min, max;	/* exact; 0 while empty */
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_init(struct histogram *h);
void histogram_record(struct histogram *h, uint64_t value);
/* Adds what `from` counted to `to`. */
void histogram_merge(struct histogram *to, const struct histogram *from);

/* The smallest value that at least that fraction of the counted ones do not
 * exceed: 0.99 for p99; 1 is exactly max.  0 while empty. */
uint64_t histogram_quantile(const struct histogram *h, double fraction);
double histogram_mean(const struct histogram *h);

#endif
