/* test_agent_check.c - the words of an agent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/check.h"
#include "proto/agent_check.h"

static void
test_words(void **state)
{
	static const struct {
		const char *line;
		bool any;
		int percent;	/* -1: not said */
		enum agent_wish wish;
		enum agent_state state;
		const char *unknown;
	} cases[] = {
		{ "75%\n", true, 75, AGENT_WISH_NONE, AGENT_STATE_NONE, "" },
		{ "0%", true, 0, AGENT_WISH_NONE, AGENT_STATE_NONE, "" },
		{ "up ready 50%\r\n", true, 50, AGENT_WISH_READY, AGENT_STATE_UP, "" },
		{ "drain,200%\tup", true, 200, AGENT_WISH_DRAIN, AGENT_STATE_UP, "" },
		{ "MAINT\n", true, -1, AGENT_WISH_DRAIN, AGENT_STATE_NONE, "" },
		{ "down#disk, full up 5%\n", true, -1, AGENT_WISH_NONE, AGENT_STATE_DOWN, "" },
		{ "stopped\nup\n", true, -1, AGENT_WISH_NONE, AGENT_STATE_DOWN, "" },
		{ "failed", true, -1, AGENT_WISH_NONE, AGENT_STATE_DOWN, "" },
		{ "fail#", true, -1, AGENT_WISH_NONE, AGENT_STATE_DOWN, "" },
		{ "maxconn:30 up 1001%", true, -1, AGENT_WISH_NONE, AGENT_STATE_UP, "maxconn:30" },
		{ "-5% 5.5% % up#x", true, -1, AGENT_WISH_NONE, AGENT_STATE_NONE, "-5%" },
		{ " \t,\n up", false, -1, AGENT_WISH_NONE, AGENT_STATE_NONE, "" },
		{ "", false, -1, AGENT_WISH_NONE, AGENT_STATE_NONE, "" },
		{ "\n", false, -1, AGENT_WISH_NONE, AGENT_STATE_NONE, "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct agent_say say;

		assert_int_equal(agent_say_parse(str_from(cases[i].line), &say), cases[i].any);
		assert_int_equal(say.has_percent ? (int)say.percent : -1, cases[i].percent);
		assert_int_equal(say.wish, cases[i].wish);
		assert_int_equal(say.state, cases[i].state);
		assert_true(str_eq(say.unknown, cases[i].unknown));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_words) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
