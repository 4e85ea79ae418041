/* test_hosts.c - names that are tried, watched, and forgotten.  "localhost" is of
 * every machine's own list; what ends in .invalid is nobody's (RFC 6761). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/log.h"
#include "control/hosts.h"
#include "wait.h"

struct rig {
	struct ev_loop *loop;
	struct hosts *hosts;
	unsigned answers;
	bool wanted;
};

static void
on_answered(void *arg, const struct hostname *name)
{
	(void)name;
	((struct rig *)arg)->answers++;
}

static bool
is_wanted(void *arg, const struct hostname *name)
{
	(void)name;
	return ((struct rig *)arg)->wanted;
}

static int
setup(void **state)
{
	static struct rig rig;
	struct hosts_events events = { .answered = on_answered, .wanted = is_wanted, .arg = &rig };

	rig = (struct rig){ .loop = ev_loop_new(EVFLAG_AUTO), .wanted = true };
	rig.hosts = hosts_new(rig.loop, &events);
	*state = &rig;
	return 0;
}

static int
teardown(void **state)
{
	struct rig *r = *state;

	hosts_free(&r->hosts);
	ev_loop_destroy(r->loop);
	return 0;
}

static void
test_a_name_that_nothing_uses_is_forgotten(void **state)
{
	struct rig *r = *state;

	/* Once it is found it is looked up no more: no timer of its own ends it. */
	(void)hosts_watch(r->hosts, "localhost", 0);
	hosts_review_begin(r->hosts);
	hosts_review_end(r->hosts);
	/* Nothing can use it before the first answer. */
	assert_non_null(hosts_find(r->hosts, "localhost"));
	WAIT_UNTIL(r->loop, r->answers == 1);
	hosts_review_begin(r->hosts);
	hosts_use(r->hosts, "LocalHost", 0);
	hosts_review_end(r->hosts);
	assert_non_null(hosts_find(r->hosts, "localhost"));
	hosts_review_begin(r->hosts);
	hosts_review_end(r->hosts);
	assert_null(hosts_find(r->hosts, "localhost"));
}

static void
test_the_interval_is_that_of_those_who_are_left(void **state)
{
	struct rig *r = *state;
	const struct hostname *name = hosts_watch(r->hosts, "localhost", 600);

	(void)hosts_watch(r->hosts, "localhost", 5);
	WAIT_UNTIL(r->loop, r->answers == 1);
	assert_float_equal(name->interval, 5, 0);
	hosts_review_begin(r->hosts);
	hosts_use(r->hosts, "localhost", 0);
	hosts_use(r->hosts, "localhost", 600);
	hosts_use(r->hosts, "localhost", 700);
	hosts_review_end(r->hosts);
	assert_float_equal(name->interval, 600, 0);
	assert_true(ev_timer_remaining(r->loop, (ev_timer *)&name->due) > 400);
}

static void
test_what_is_tried_is_neither_told_of_nor_kept(void **state)
{
	struct rig *r = *state;
	const struct hostname *name = hosts_try(r->hosts, "no-such-name.invalid");

	assert_non_null(name);
	WAIT_UNTIL(r->loop, r->answers == 1);
	assert_true(name->problem[0] != '\0');
	assert_int_equal(hosts_failing(r->hosts), 0);
	/* Who tries again may have mended it meanwhile. */
	assert_ptr_equal(hosts_try(r->hosts, "no-such-name.invalid"), name);
	WAIT_UNTIL(r->loop, r->answers == 2);
	clock_pass();
	WAIT_UNTIL(r->loop, hosts_find(r->hosts, "no-such-name.invalid") == NULL);
	clock_go();
}

static void
test_what_is_watched_after_it_was_tried_stays(void **state)
{
	struct rig *r = *state;
	const struct hostname *name = hosts_try(r->hosts, "localhost");

	assert_ptr_equal(hosts_watch(r->hosts, "localhost", 7), name);
	assert_null(hosts_try(r->hosts, "LOCALHOST"));
	WAIT_UNTIL(r->loop, r->answers == 1);
	clock_pass();
	WAIT_UNTIL(r->loop, r->answers >= 12);
	clock_go();
	assert_ptr_equal(hosts_find(r->hosts, "localhost"), name);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_a_name_that_nothing_uses_is_forgotten),
		T(test_the_interval_is_that_of_those_who_are_left),
		T(test_what_is_tried_is_neither_told_of_nor_kept),
		T(test_what_is_watched_after_it_was_tried_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
