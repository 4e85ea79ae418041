/* test_drill_verdict.c - which color may have answered, the timeline, the
 * silence, the verdict. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "app/tealbench/drill_verdict.h"
#include "base/check.h"

enum { GREEN, BLUE };

/* Green first; to blue asked at 100 and applied at 110; back asked at 200,
 * applied at 210. */
static struct drill_flip list[4];
static struct drill_flips flips;

static void
flip(unsigned color, uint64_t asked, uint64_t applied)
{
	struct drill_flip *f = &list[flips.n];

	f->color = color;
	f->asked = asked;
	f->applied = applied;
	f->made = applied != 0;
	flips.n++;
}

static int
setup(void **state)
{
	(void)state;
	memset(list, 0, sizeof(list));
	memset(&flips, 0, sizeof(flips));
	flips.first = GREEN;
	flips.list = list;
	return 0;
}

static void
without_a_flip_only_the_first_color_answers(void **state)
{
	(void)state;
	assert_true(drill_may_answer(&flips, 1, 2, GREEN));
	assert_false(drill_may_answer(&flips, 1, 2, BLUE));
	flips.first = BLUE;
	assert_true(drill_may_answer(&flips, 1, 2, BLUE));
	assert_false(drill_may_answer(&flips, 1, 2, GREEN));
}

static void
around_a_flip_both_may_and_after_applied_only_the_new_one(void **state)
{
	(void)state;
	flip(BLUE, 100, 110);
	/* Ended before it was asked for. */
	assert_true(drill_may_answer(&flips, 90, 99, GREEN));
	assert_false(drill_may_answer(&flips, 90, 99, BLUE));
	/* Under way meanwhile. */
	assert_true(drill_may_answer(&flips, 90, 100, BLUE));
	assert_true(drill_may_answer(&flips, 90, 100, GREEN));
	assert_true(drill_may_answer(&flips, 90, 500, GREEN));
	/* Begun between the command and its answer: either. */
	assert_true(drill_may_answer(&flips, 109, 120, GREEN));
	assert_true(drill_may_answer(&flips, 109, 120, BLUE));
	/* Begun after applied: the promise. */
	assert_true(drill_may_answer(&flips, 110, 120, BLUE));
	assert_false(drill_may_answer(&flips, 110, 120, GREEN));
}

static void
a_request_over_several_flips_may_go_anywhere(void **state)
{
	(void)state;
	flip(BLUE, 100, 110);
	flip(GREEN, 200, 210);
	assert_true(drill_may_answer(&flips, 150, 250, GREEN));
	assert_true(drill_may_answer(&flips, 150, 250, BLUE));
	assert_false(drill_may_answer(&flips, 150, 199, GREEN));
	assert_true(drill_may_answer(&flips, 210, 220, GREEN));
	assert_false(drill_may_answer(&flips, 210, 220, BLUE));
	/* Begun before both: the second, or what was there before. */
	assert_true(drill_may_answer(&flips, 50, 250, BLUE));
}

static void
a_flip_without_an_answer_leaves_both_open_and_a_refused_one_changes_nothing(void **state)
{
	(void)state;
	flip(BLUE, 100, 0);
	assert_true(drill_may_answer(&flips, 500, 510, GREEN));
	assert_true(drill_may_answer(&flips, 500, 510, BLUE));
	list[0].refused = true;
	assert_true(drill_may_answer(&flips, 500, 510, GREEN));
	assert_false(drill_may_answer(&flips, 500, 510, BLUE));
	flip(BLUE, 600, 610);
	assert_false(drill_may_answer(&flips, 700, 710, GREEN));
}

static uint64_t
sum(const struct timeline *t, unsigned lane)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < TIMELINE_SLOTS; i++)
		n += t->count[lane][i];
	return n;
}

static void
a_timeline_counts_where_it_happened_and_loses_nothing(void **state)
{
	static struct timeline t, other;

	(void)state;
	timeline_init(&t, 1000, 10);
	timeline_add(&t, 0, 1000);
	timeline_add(&t, 0, 1009);
	timeline_add(&t, 1, 1010);
	timeline_add(&t, 2, 900);	/* before the beginning: the first slot */
	assert_int_equal(t.count[0][0], 2);
	assert_int_equal(t.count[1][1], 1);
	assert_int_equal(t.count[2][0], 1);
	assert_int_equal(t.used, 2);
	/* The last slot, then one beyond: everything moves to half its place. */
	timeline_add(&t, 1, 1000 + 10 * TIMELINE_SLOTS - 1);
	assert_int_equal(t.width, 10);
	timeline_add(&t, 1, 1000 + 10 * TIMELINE_SLOTS);
	assert_int_equal(t.width, 20);
	assert_int_equal(t.count[0][0], 2);
	assert_int_equal(t.count[1][0], 1);
	assert_int_equal(t.count[1][TIMELINE_SLOTS / 2 - 1], 1);
	assert_int_equal(t.count[1][TIMELINE_SLOTS / 2], 1);
	/* Years later. */
	timeline_add(&t, 0, 1000 + 10ull * TIMELINE_SLOTS * 1000000);
	assert_int_equal(sum(&t, 0), 3);
	assert_int_equal(sum(&t, 1), 3);
	/* Fine and coarse become one, whichever is added to which. */
	timeline_init(&other, 1000, 10);
	for (unsigned i = 0; i < 100; i++)
		timeline_add(&other, 2, 1000 + 10 * i);
	timeline_merge(&other, &t);
	assert_int_equal(other.width, t.width);
	assert_int_equal(sum(&other, 0), 3);
	assert_int_equal(sum(&other, 2), 101);
	assert_int_equal(other.used, t.used);
}

static void
the_longest_silence_is_kept_with_its_beginning(void **state)
{
	struct silence s = { 0 };

	(void)state;
	silence_broken(&s, 1000);
	assert_int_equal(s.longest, 0);	/* nobody had been heard before */
	silence_broken(&s, 1010);
	silence_broken(&s, 1110);
	silence_broken(&s, 1105);	/* another thread, a little late */
	silence_broken(&s, 1150);
	assert_int_equal(s.longest, 100);
	assert_int_equal(s.since, 1010);
}

static void
the_verdict_names_every_fault(void **state)
{
	static const struct {
		struct drill_count count;
		const char *words;
	} cases[] = {
		{ { .right = 9, .flips_wanted = 2, .flips_made = 2 }, NULL },
		{ { .right = 9 }, NULL },
		{ { .right = 9, .failed = 1 }, "1 lost" },
		{ { .right = 9, .wrong = 2 }, "2 on the wrong color" },
		{ { .right = 9, .late = 3 }, "3 late" },
		{ { .right = 9, .unnamed = 4 }, "4 from unknown backends" },
		{ { .right = 9, .broken = 5 }, "5 streams broken" },
		{ { .right = 9, .flips_wanted = 7, .flips_made = 2, .turns = "reloads" }, "5 reloads not made" },
		{ { .right = 9, .interrupted = true }, "interrupted" },
		{ { .flips_wanted = 0 }, "nothing was answered" },
		{ { .right = 1,
		    .failed = UINT64_MAX,
		    .wrong = UINT64_MAX,
		    .late = UINT64_MAX,
		    .unnamed = UINT64_MAX,
		    .broken = UINT64_MAX,
		    .flips_wanted = UINT64_MAX,
		    .turns = "upgrades",
		    .interrupted = true },
		  "lost, " },
	};
	char text[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(drill_verdict(&cases[i].count, text), cases[i].words == NULL);
		if (cases[i].words != NULL)
			assert_non_null(strstr(text, cases[i].words));
		else
			assert_string_equal(text, "nothing was lost");
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(without_a_flip_only_the_first_color_answers, setup),
		cmocka_unit_test_setup(around_a_flip_both_may_and_after_applied_only_the_new_one, setup),
		cmocka_unit_test_setup(a_request_over_several_flips_may_go_anywhere, setup),
		cmocka_unit_test_setup(
			a_flip_without_an_answer_leaves_both_open_and_a_refused_one_changes_nothing, setup),
		cmocka_unit_test(a_timeline_counts_where_it_happened_and_loses_nothing),
		cmocka_unit_test(the_longest_silence_is_kept_with_its_beginning),
		cmocka_unit_test(the_verdict_names_every_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
