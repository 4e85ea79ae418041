/* test_trace_context.c - what is a traceparent, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/check.h"
#include "guarded.h"
#include "proto/trace_context.h"

#define ID "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"

static bool
is_taken(const char *text)
{
	struct str id = trace_id_of((struct str){ guarded(text, strlen(text)), strlen(text) });

	if (id.n > 0) {
		assert_int_equal(id.n, TRACE_ID);
		assert_memory_equal(id.p, ID, TRACE_ID);
	}
	return id.n > 0;
}

static void
a_traceparent_has_a_trace_id(void **state)
{
	(void)state;
	assert_true(is_taken("00-" ID "-" PARENT "-01"));
	assert_true(is_taken("00-" ID "-" PARENT "-00"));
	assert_true(is_taken("00-" ID "-" PARENT "-ff"));
	/* A later version may say more. */
	assert_true(is_taken("01-" ID "-" PARENT "-01"));
	assert_true(is_taken("cc-" ID "-" PARENT "-01-what-the-future-will-be-like"));
	assert_true(is_taken("fe-" ID "-" PARENT "-01-"));
}

static void
what_is_not_exactly_one_is_none(void **state)
{
	static const char *const none[] = {
		"",
		"00",
		"00-" ID "-" PARENT "-0",
		"00-" ID "-" PARENT "-01-",	/* of version 00 nothing follows */
		"00-" ID "-" PARENT "-01x",
		"00-" ID "-" PARENT "-01 ",
		" 00-" ID "-" PARENT "-01",
		"cc-" ID "-" PARENT "-01.what",
		"ff-" ID "-" PARENT "-01",
		"FE-" ID "-" PARENT "-01",
		"0g-" ID "-" PARENT "-01",
		"00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01",
		"00-" ID "-00F067AA0BA902B7-01",
		"00-" ID "-" PARENT "-0A",
		"00-00000000000000000000000000000000-" PARENT "-01",
		"00-" ID "-0000000000000000-01",
		"00_" ID "-" PARENT "-01",
		"00-" ID "_" PARENT "-01",
		"00-" ID "-" PARENT "_01",
		"00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b70-01",
		"00-" ID "-" PARENT ",00-" ID "-" PARENT "-01",
		"00-\"bf92f3577b34da6a3ce929d0e0e4736-" PARENT "-01",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(none); i++)
		if (is_taken(none[i]))
			fail_msg("\"%s\" was taken", none[i]);
}

static void
each_cut_and_each_changed_byte_is_judged(void **state)
{
	static const char whole[] = "00-" ID "-" PARENT "-01";
	char text[sizeof(whole)];

	(void)state;
	for (size_t n = 0; n < TRACE_PARENT; n++) {
		memcpy(text, whole, n);
		text[n] = '\0';
		assert_false(is_taken(text));
	}
	for (size_t i = 0; i < TRACE_PARENT; i++)
		for (int c = 1; c < 256; c++) {
			bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'), dash = i == 2 || i == 35 || i == 52;
			struct str id;

			memcpy(text, whole, sizeof(whole));
			text[i] = (char)c;
			id = trace_id_of((struct str){ text, TRACE_PARENT });
			assert_int_equal(id.n > 0, dash ? c == '-' : hex);
		}
}

static void
what_is_written_is_read(void **state)
{
	char out[TRACE_PARENT];

	(void)state;
	trace_parent_write(out, ID, PARENT, true);
	assert_memory_equal(out, "00-" ID "-" PARENT "-01", TRACE_PARENT);
	trace_parent_write(out, ID, PARENT, false);
	assert_memory_equal(out, "00-" ID "-" PARENT "-00", TRACE_PARENT);
	assert_memory_equal(trace_id_of((struct str){ out, TRACE_PARENT }).p, ID, TRACE_ID);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_traceparent_has_a_trace_id),
		cmocka_unit_test(what_is_not_exactly_one_is_none),
		cmocka_unit_test(each_cut_and_each_changed_byte_is_judged),
		cmocka_unit_test(what_is_written_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
