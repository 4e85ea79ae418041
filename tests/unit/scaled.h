/* scaled.h - how often tests of many random cases go round. */
#ifndef TESTS_UNIT_SCALED_H
#define TESTS_UNIT_SCALED_H

#include <stdlib.h>

/* usual, or full with TEAL_SOAK=1 in the environment. */
static inline unsigned
scaled(unsigned usual, unsigned full)
{
	return getenv("TEAL_SOAK") != NULL ? full : usual;
}

#endif
