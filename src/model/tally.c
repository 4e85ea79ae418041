/* tally.c - single-writer counters.  Written by their worker, read by main. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "model/tally.h"

const double tally_bounds[TALLY_BUCKETS] = {
	0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
};

void
tally_observe(struct tally_histogram *h, double seconds)
{
	unsigned i = 0;

	while (i < TALLY_BUCKETS && seconds > tally_bounds[i])
		i++;
	tally_add(&h->count[i], 1);
	tally_add(&h->sum_us, (uint64_t)(seconds * 1e6));
}

struct tally *
tally_array(unsigned n)
{
	struct tally *t = aligned_alloc(64, n * sizeof(*t));

	CHECK(t != NULL);
	memset(t, 0, n * sizeof(*t));
	return t;
}
