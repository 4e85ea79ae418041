/* wait.h - tests wait for events: the loop runs until something is true, and
 * the test fails when that takes a minute, as nothing does on any machine. */
#ifndef TESTS_UNIT_WAIT_H
#define TESTS_UNIT_WAIT_H

#include <ev.h>

#include "base/clock.h"

static inline void
wait_on_guard(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)revents;
	ev_timer_stop(loop, w);
}

#define WAIT_UNTIL(loop, condition) \
	do { \
		double wait_end = clock_now() + 60; \
		ev_timer wait_guard; \
		ev_timer_init(&wait_guard, wait_on_guard, 60.5, 0); \
		ev_timer_start((loop), &wait_guard); \
		while (!(condition)) { \
			if (clock_now() > wait_end) \
				fail_msg("waited a minute for: %s", #condition); \
			ev_run((loop), EVRUN_ONCE); \
		} \
		ev_timer_stop((loop), &wait_guard); \
	} while (0)

#endif
