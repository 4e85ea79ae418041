/* test_clock.c - the clocks run, and times are written as RFC 3339 wants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <ev.h>

#include "base/clock.h"
#include "wait.h"

static void
test_monotonic_goes_forward(void **state)
{
	double before = clock_now(), last = before;
	struct timespec two_ms = { 0, 2000000 };

	(void)state;
	for (int i = 0; i < 1000; i++) {
		double now = clock_now();

		assert_true(now >= last);
		last = now;
	}
	nanosleep(&two_ms, NULL);
	assert_true(clock_now() - before >= 0.002);
}

static void
test_wall_is_now(void **state)
{
	int64_t seconds = time(NULL);
	int64_t us = clock_wall_us();

	(void)state;
	assert_true(us / 1000000 >= seconds - 1 && us / 1000000 <= seconds + 5);
}

static void
test_format(void **state)
{
	char text[CLOCK_TEXT];

	(void)state;
	clock_format(0, 6, text);
	assert_string_equal(text, "1970-01-01T00:00:00.000000Z");
	clock_format(1795356131123456, 6, text);
	assert_string_equal(text, "2026-11-22T14:02:11.123456Z");
	clock_format(1795356131123456, 3, text);
	assert_string_equal(text, "2026-11-22T14:02:11.123Z");
	clock_format(1795356131999999, 3, text);	/* cut, not rounded into the next second */
	assert_string_equal(text, "2026-11-22T14:02:11.999Z");
	clock_format(951782400000007, 6, text);	/* a leap day */
	assert_string_equal(text, "2000-02-29T00:00:00.000007Z");
}

static void
test_format_ignores_the_time_zone(void **state)
{
	char text[CLOCK_TEXT];

	(void)state;
	setenv("TZ", "America/St_Johns", 1);
	tzset();
	clock_format(0, 3, text);
	assert_string_equal(text, "1970-01-01T00:00:00.000Z");
}

/* The tests' own means: what is told the time asks the clock that they move. */

static void
on_minute(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop, (void)revents;
	*(unsigned *)w->data += 1;
}

static void
test_a_clock_that_stands_is_moved(void **state)
{
	struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL);
	unsigned minutes = 0;
	double began;
	int64_t wall;
	ev_timer t;

	(void)state;
	clock_stop();
	began = clock_now();
	wall = clock_wall_us();
	ev_now_update(loop);
	ev_timer_init(&t, on_minute, 60, 60);
	t.data = &minutes;
	ev_timer_start(loop, &t);
	for (int i = 0; i < 100; i++)
		ev_run(loop, EVRUN_NOWAIT);
	assert_in_range(clock_wall_us() - wall, 0, 10000);
	clock_move(59.8);
	ev_run(loop, EVRUN_NOWAIT);
	assert_int_equal(minutes, 0);
	clock_move(0.3);
	ev_run(loop, EVRUN_NOWAIT);
	assert_int_equal(minutes, 1);
	assert_in_range(clock_wall_us() - wall, 60100000, 60110000);
	/* By itself, from timer to timer. */
	clock_pass();
	WAIT_UNTIL(loop, minutes == 3);
	assert_true(clock_now() >= began + 180);
	began = clock_now();
	clock_go();
	assert_true(clock_now() >= began);
	ev_loop_destroy(loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_monotonic_goes_forward),
		cmocka_unit_test(test_wall_is_now),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_a_clock_that_stands_is_moved),
		cmocka_unit_test(test_format_ignores_the_time_zone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
