/* test_syslog_line.c - lines of the log as messages of syslog. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/syslog_line.h"
#include "guarded.h"

static const struct syslog_self self = { "lb-1", 4711 };
static char out[SYSLOG_MESSAGE_MAX + 1];

static size_t
message(const struct log_syslog *s, const char *line)
{
	size_t cut, n = syslog_message(s, &self, str_from(line), out, &cut);

	out[n] = '\0';
	return cut;
}

#define LINE "{\"time\":\"2026-11-22T14:02:11.123456Z\",\"level\":\"%s\",\"event\":\"flip.applied\",\"service\":\"shop\"}\n"

static void
test_the_head_is_of_rfc5424(void **state)
{
	static const struct {
		const char *level;
		unsigned priority;
	} levels[] = { { "debug", 7 }, { "info", 6 }, { "warn", 4 }, { "error", 3 }, { "odd", 6 } };
	struct log_syslog s = { .facility = 16, .max_message = 8192 };
	char line[256], want[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
		snprintf(line, sizeof(line), LINE, levels[i].level);
		assert_int_equal(message(&s, line), 0);
		snprintf(want, sizeof(want), "<%u>1 2026-11-22T14:02:11.123456Z lb-1 teald 4711 flip.applied - %.*s",
			 128 + levels[i].priority, (int)strlen(line) - 1, line);
		assert_string_equal(out, want);
	}
}

static void
test_the_old_form(void **state)
{
	struct log_syslog s = { .format = LOG_RFC3164, .transport = LOG_SYSLOG_UDP, .facility = 3, .max_message = 8192 };
	char line[256], month[4], rest[32];
	int day, at = 0;

	(void)state;
	snprintf(line, sizeof(line), LINE, "info");
	(void)message(&s, line);
	assert_int_equal(sscanf(out, "<30>%3[A-Z a-z] %2d %8[0-9:] lb-1 teald[4711]: %n", month, &day, rest, &at), 3);
	assert_memory_equal(out + at, line, strlen(line) - 1);
	/* To a daemon of the same machine without the host. */
	s.transport = LOG_SYSLOG_UNIX;
	(void)message(&s, line);
	assert_non_null(strstr(out, rest));
	assert_null(strstr(out, "lb-1"));
}

static void
test_what_is_no_line_of_ours_is_sent_as_it_is(void **state)
{
	struct log_syslog s = { .facility = 3, .max_message = 8192 };

	(void)state;
	assert_int_equal(message(&s, "hello"), 0);
	assert_string_equal(out, "<30>1 - lb-1 teald 4711 - - hello");
	assert_int_equal(message(&s, ""), 0);
	assert_string_equal(out, "<30>1 - lb-1 teald 4711 - - ");
	assert_int_equal(message(&s, "{\"time\":\"x"), 0);
	assert_string_equal(out, "<30>1 - lb-1 teald 4711 - - {\"time\":\"x");
}

static void
test_a_long_event_is_cut_to_a_message_id(void **state)
{
	struct log_syslog s = { .facility = 3, .max_message = 8192 };

	(void)state;
	(void)message(&s, "{\"time\":\"t\",\"level\":\"info\",\"event\":\"0123456789012345678901234567890123456789\"}");
	assert_non_null(strstr(out, " 01234567890123456789012345678901 - {"));
}

/* Whatever the limit, it is kept, no character is cut in two, and the end says what is missing. */
static void
test_a_cut_is_said(void **state)
{
	struct log_syslog s = { .facility = 3 };
	size_t n = 3000;
	char *line = must_alloc(n + 2);

	(void)state;
	for (size_t i = 0; i < n; i += 2)
		memcpy(line + i, "\xc3\xa4", 2);
	line[n] = '\n';
	for (s.max_message = 480; s.max_message < 3100; s.max_message++) {
		size_t cut = message(&s, line), head = strlen("<30>1 - lb-1 teald 4711 - - "), room = strlen(out) - head;
		char mark[48];

		assert_true(strlen(out) <= s.max_message);
		if (head + n <= s.max_message) {
			assert_int_equal(cut, 0);
			continue;
		}
		snprintf(mark, sizeof(mark), "...[%zu bytes cut]", cut);
		assert_true(room > strlen(mark));
		assert_string_equal(out + strlen(out) - strlen(mark), mark);
		assert_int_equal(room - strlen(mark) + cut, n);
		assert_int_equal((room - strlen(mark)) % 2, 0);
	}
	free(line);
}

/* At every cut of a line, beside memory that must not be read. */
static void
test_every_cut_of_a_line(void **state)
{
	struct log_syslog s = { .facility = 23, .max_message = 8192 };
	char line[256];
	size_t n = (size_t)snprintf(line, sizeof(line), LINE, "warn"), cut;

	(void)state;
	for (size_t i = 0; i <= n; i++) {
		assert_true(syslog_message(&s, &self, (struct str){ guarded(line, i), i }, out, &cut) > 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_head_is_of_rfc5424),
		cmocka_unit_test(test_the_old_form),
		cmocka_unit_test(test_what_is_no_line_of_ours_is_sent_as_it_is),
		cmocka_unit_test(test_a_long_event_is_cut_to_a_message_id),
		cmocka_unit_test(test_a_cut_is_said),
		cmocka_unit_test(test_every_cut_of_a_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
