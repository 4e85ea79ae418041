/* redis_number.h - the numbers of a store that only grow: epochs, versions of pools.
 *
 * Redis's scripts count in doubles, exact up to 2^53, and a program with write access to the store can write any number.
 * One that is obeyed stays: each Teal brings the store forward to it again.  So the greatest is never obeyed,
 * for it has no successor: what is read may be any number up to 2^52; beyond, only one that this fleet may have
 * come to by steps from what it knows. */
#ifndef STORE_REDIS_NUMBER_H
#define STORE_REDIS_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

/* Believed without a comparison; 2^52 more can follow. */
#define REDIS_NUMBER_FREE ((uint64_t)1 << 52)
/* So far ahead of what is known a number beyond that may be. */
#define REDIS_NUMBER_STEP ((uint64_t)1 << 20)
/* Neither read nor written beyond. */
#define REDIS_NUMBER_MAX (((uint64_t)1 << 53) - REDIS_NUMBER_STEP)

/* The end of a sentence. */
#define REDIS_NUMBER_TOO_GREAT \
	"so great that no change could follow: it is not obeyed; DEL the key, and what is served is written again"

/* known: the greatest this teald knows of, 0: none. */
static inline bool
redis_number_is_near(uint64_t known, uint64_t n)
{
	return n <= REDIS_NUMBER_FREE || (n <= REDIS_NUMBER_MAX && n <= known + REDIS_NUMBER_STEP);
}

#endif
