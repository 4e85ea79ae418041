/* clock.c - monotonic and wall time.  Any thread. */
#include <stdio.h>
#include <time.h>

#include "base/clock.h"

double
clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int64_t
clock_wall_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

void
clock_format(int64_t wall_us, int digits, char text[CLOCK_TEXT])
{
	time_t seconds = (time_t)(wall_us / 1000000);
	unsigned us = (unsigned)(wall_us % 1000000);
	struct tm tm;
	size_t n;

	gmtime_r(&seconds, &tm);
	n = strftime(text, CLOCK_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
	if (digits == 3)
		snprintf(text + n, CLOCK_TEXT - n, ".%03uZ", us / 1000 % 1000);
	else
		snprintf(text + n, CLOCK_TEXT - n, ".%06uZ", us % 1000000);
}
