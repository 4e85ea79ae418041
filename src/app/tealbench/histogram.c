/* histogram.c - log-linear buckets.  Any thread, one at a time. */
#include <math.h>
#include <string.h>

#include "app/tealbench/histogram.h"

#define SUB (1u << HISTOGRAM_SUB_BITS)

void
histogram_init(struct histogram *h)
{
	memset(h, 0, sizeof(*h));
}

/* Below 128 each value has a bucket of its own; from there on each power of
 * two is divided into 128. */
static unsigned
histogram_bucket(uint64_t value)
{
	unsigned exponent;

	if (value < SUB)
		return (unsigned)value;
	if (value >> HISTOGRAM_TOP_BITS != 0)
		return HISTOGRAM_BUCKETS - 1;
	exponent = 63 - (unsigned)__builtin_clzll(value);
	return ((exponent - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS) +
	       (unsigned)(value >> (exponent - HISTOGRAM_SUB_BITS) & (SUB - 1));
}

/* The middle of a bucket: at most half its width, 0.4 %, away from anything
 * in it. */
static uint64_t
bucket_middle(unsigned i)
{
	unsigned shift;

	if (i < SUB)
		return i;
	shift = (i >> HISTOGRAM_SUB_BITS) - 1;
	return ((uint64_t)(SUB + (i & (SUB - 1))) << shift) + (((uint64_t)1 << shift) >> 1);
}

void
histogram_record(struct histogram *h, uint64_t value)
{
	if (h->count == 0 || value < h->min)
		h->min = value;
	if (value > h->max)
		h->max = value;
	h->count++;
	h->sum += value;
	h->buckets[histogram_bucket(value)]++;
}

void
histogram_merge(struct histogram *to, const struct histogram *from)
{
	if (from->count == 0)
		return;
	if (to->count == 0 || from->min < to->min)
		to->min = from->min;
	if (from->max > to->max)
		to->max = from->max;
	to->count += from->count;
	to->sum += from->sum;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		to->buckets[i] += from->buckets[i];
}

uint64_t
histogram_quantile(const struct histogram *h, double fraction)
{
	/* The small number undoes what 0.999 * 1000 is too much by. */
	double exact = ceil(fraction * (double)h->count - 1e-6);
	uint64_t rank = exact < 1 ? 1 : (uint64_t)exact, seen = 0, value;

	if (rank >= h->count)
		return h->max;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->buckets[i];
		if (seen < rank)
			continue;
		/* The bucket's middle may lie outside of what was seen. */
		value = bucket_middle(i);
		return value < h->min ? h->min : value > h->max ? h->max : value;
	}
	return h->max;
}

double
histogram_mean(const struct histogram *h)
{
	return h->count > 0 ? (double)h->sum / (double)h->count : 0;
}
