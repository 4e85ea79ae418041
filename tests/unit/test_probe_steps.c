/* test_probe_steps.c - what is said and heard, at every cut of what comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <string.h>

#include "control/probe_steps.h"

#define SAY(text) { .bytes = (char *)(uintptr_t)(text), .n = sizeof(text) - 1 }
#define HEAR(text) { .expect = true, .bytes = (char *)(uintptr_t)(text), .n = sizeof(text) - 1 }

static const struct check_step smtp[] = { HEAR("220 "), SAY("EHLO x\r\n"), HEAR("250 "), SAY("QUIT\r\n"), HEAR("221 ") };

/* Everything that is to be sent is, at once. */
static const struct check_step *
next_heard(struct probe_steps *s)
{
	const struct check_step *step;

	while ((step = probe_steps_next(s)) != NULL && !step->expect)
		s->sent = step->n;
	return step;
}

static void
test_a_conversation_at_every_cut(void **state)
{
	static const char heard[] = "220 here\r\n250-one\r\n250 two\r\n221 bye\r\n";

	(void)state;
	for (size_t cut = 0; cut <= strlen(heard); cut++) {
		struct probe_steps s;

		probe_steps_init(&s, smtp, ARRAY_LEN(smtp));
		assert_true(probe_steps_listen(&s));
		assert_ptr_equal(next_heard(&s), &smtp[0]);
		assert_true(probe_steps_hear(&s, heard, cut));
		(void)next_heard(&s);
		assert_true(probe_steps_hear(&s, heard + cut, strlen(heard) - cut));
		assert_null(next_heard(&s));
		probe_steps_clear(&s);
	}
}

static void
test_the_order_counts(void **state)
{
	struct probe_steps s;
	char text[80];

	(void)state;
	probe_steps_init(&s, smtp, ARRAY_LEN(smtp));
	/* What is before a step is no answer to the next. */
	assert_true(probe_steps_hear(&s, "250 221 220 ", 12));
	assert_ptr_equal(next_heard(&s), &smtp[2]);
	probe_steps_missing(&s, text, sizeof(text));
	assert_string_equal(text, "an answer without \"250 \"");
	probe_steps_clear(&s);
}

static void
test_bytes_of_any_kind(void **state)
{
	static const struct check_step steps[] = { SAY("\0\1"), HEAR("\0\xff") };
	struct probe_steps s;
	char text[80];

	(void)state;
	probe_steps_init(&s, steps, ARRAY_LEN(steps));
	assert_ptr_equal(next_heard(&s), &steps[1]);
	assert_true(probe_steps_hear(&s, "\0", 1));
	assert_ptr_equal(next_heard(&s), &steps[1]);
	probe_steps_missing(&s, text, sizeof(text));
	assert_string_equal(text, "an answer without \"..\"");
	assert_true(probe_steps_hear(&s, "\xff", 1));
	assert_null(next_heard(&s));
	probe_steps_clear(&s);
	probe_steps_init(&s, steps, 1);
	assert_false(probe_steps_listen(&s));
	probe_steps_clear(&s);
}

static void
test_no_more_is_kept_than_an_answer_may_have(void **state)
{
	static const char block[4096];
	struct probe_steps s;
	size_t n = 0;

	(void)state;
	probe_steps_init(&s, smtp, ARRAY_LEN(smtp));
	while (probe_steps_hear(&s, block, sizeof(block)))
		n += sizeof(block);
	assert_int_equal(n, STEPS_HEARD_MAX);
	probe_steps_clear(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_conversation_at_every_cut),
		cmocka_unit_test(test_the_order_counts),
		cmocka_unit_test(test_bytes_of_any_kind),
		cmocka_unit_test(test_no_more_is_kept_than_an_answer_may_have),
	};

	return cmocka_run_group_tests_name("probe_steps", tests, NULL, NULL);
}
