/* pattern.h - the bytes every bulk test sends: deterministic, so that the
 * other end can tell a lost, doubled or moved byte from a good one, and with
 * a prime period, so that a lost or doubled buffer of any usual size shows. */
#ifndef APP_TEALBENCH_PATTERN_H
#define APP_TEALBENCH_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATTERN_PERIOD 65521
/* pattern_at() always has at least this many bytes in one piece. */
#define PATTERN_PIECE (256 * 1024)

/* Call once, before any thread starts. */
void pattern_init(void);
/* The bytes of the pattern from that offset on; PATTERN_PIECE of them. */
const char *pattern_at(uint64_t offset);
bool pattern_matches(uint64_t offset, const char *p, size_t n);

#endif
