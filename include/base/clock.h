/* clock.h - two clocks: one that never jumps, for waiting and measuring, and
 * the wall's, for people and logs. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Seconds since some fixed past moment (CLOCK_MONOTONIC). */
double clock_now(void);

/* Microseconds since 1970 (CLOCK_REALTIME). */
int64_t clock_wall_us(void);

/* RFC 3339 in UTC, "2026-11-22T14:02:11.123456Z"; digits of the fraction: 3
 * or 6.  The shape that the wall's microseconds need. */
#define CLOCK_TEXT 32
/* The last microsecond of the year 9999: what is later, or before 0, is no time. */
#define CLOCK_US_MAX INT64_C(253402300799999999)
void clock_format(int64_t wall_us, int digits, char text[CLOCK_TEXT]);

#endif
