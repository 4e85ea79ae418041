/* moved_clock.h - the clock of a unit test, which the test can move or stop.
 *
 * clock_gettime(), time() and epoll_wait() of the whole program, libraries included,
 * pass through moved_clock.c.  As long as a test calls nothing of this, they are the
 * machine's.  Monotonic and wall clock move together; the clocks of CPU time do
 * not.  What the kernel or another process times by itself (poll(2), timerfd,
 * pthread_cond_timedwait(3), a server) stays with the machine's clock. */
#ifndef TESTS_UNIT_MOVED_CLOCK_H
#define TESTS_UNIT_MOVED_CLOCK_H

#include <stdbool.h>

/* Both clocks jump forward by so many seconds; for every thread.  A loop notices
 * in its next turn. */
void clock_move(double seconds);

/* From here on time passes by clock_move() alone, and by a microsecond when a loop
 * has looked without waiting, so that a timer of 0 fires: no timeout does because
 * the machine is slow.  Loops go on taking what is ready. */
void clock_stop(void);

/* As clock_stop(), and a loop of the calling thread does not wait: once nothing
 * has been ready for a millisecond of the machine's, the clock moves to the loop's
 * next timer, at most a second at a time.  Minutes of timers so take milliseconds,
 * and each is exactly on time.  What answers from another thread or process still
 * takes its time; a timeout that such an answer must not meet is NEVER. */
void clock_pass(void);

bool clock_passes(void);

/* A timeout in seconds that clock_pass() does not come to while a test is patient. */
#define NEVER 1e6

/* Time passes again by itself, from where it stands: it never goes back. */
void clock_go(void);

/* The machine's monotonic clock, in seconds: for a limit that only a hang reaches. */
double clock_of_machine(void);

#endif
