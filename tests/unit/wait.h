/* wait.h - tests wait for events: the loop runs until something is true, and the
 * test fails after PATIENCE, which only what hangs reaches. */
#ifndef TESTS_UNIT_WAIT_H
#define TESTS_UNIT_WAIT_H

#include <ev.h>
#include <time.h>

#include "base/clock.h"
#include "moved_clock.h"

/* Seconds of the machine's clock, whatever the test did to its own. */
#define PATIENCE 120

static inline void
wait_on_look(struct ev_loop *loop, ev_timer *w, int revents)
{
	/* So that the condition is asked again. */
	(void)loop, (void)w, (void)revents;
}

/* Turns the loop until the condition is true; asks it again at each turn, and
 * now and then for what the loop does not hear of. */
#define WAIT_UNTIL(loop, condition) \
	do { \
		double wait_end = clock_of_machine() + PATIENCE; \
		double wait_every = clock_passes() ? 1 : 0.005; \
		ev_timer wait_look; \
		ev_timer_init(&wait_look, wait_on_look, wait_every, wait_every); \
		ev_timer_start((loop), &wait_look); \
		while (!(condition)) { \
			if (clock_of_machine() > wait_end) { \
				ev_timer_stop((loop), &wait_look); \
				fail_msg("waited %d s for: %s", PATIENCE, #condition); \
			} \
			ev_run((loop), EVRUN_ONCE); \
		} \
		ev_timer_stop((loop), &wait_look); \
	} while (0)

/* The same without a loop: looks every millisecond at what another thread or
 * process does. */
#define POLL_UNTIL(condition) \
	do { \
		double wait_end = clock_of_machine() + PATIENCE; \
		while (!(condition)) { \
			if (clock_of_machine() > wait_end) \
				fail_msg("waited %d s for: %s", PATIENCE, #condition); \
			nanosleep(&(struct timespec){ 0, 1000000 }, NULL); \
		} \
	} while (0)

#endif
