/* pattern.c - the deterministic bytes of the bulk tests.  Written once by
 * main, read by every thread. */
#include <string.h>

#include "app/tealbench/pattern.h"
#include "base/hash.h"

static char bytes[PATTERN_PERIOD + PATTERN_PIECE];

void
pattern_init(void)
{
	uint64_t state = 20;

	for (size_t i = 0; i < PATTERN_PERIOD; i++)
		bytes[i] = (char)random_next(&state);
	for (size_t i = PATTERN_PERIOD; i < sizeof(bytes); i++)
		bytes[i] = bytes[i - PATTERN_PERIOD];
}

const char *
pattern_at(uint64_t offset)
{
	return bytes + offset % PATTERN_PERIOD;
}

bool
pattern_matches(uint64_t offset, const char *p, size_t n)
{
	size_t piece;

	for (; n > 0; p += piece, offset += piece, n -= piece) {
		piece = n < PATTERN_PIECE ? n : PATTERN_PIECE;
		if (memcmp(p, pattern_at(offset), piece) != 0)
			return false;
	}
	return true;
}
