/* test_certs_watch.c - what the kernel tells of files, and what it does not: that
 * we have looked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "control/certs_watch.h"

struct stage {
	struct ev_loop *loop;
	struct certs_watch *watch;
	char folder[64], other[80], file[96];
	unsigned changes;
};

static void
count(void *arg)
{
	struct stage *s = arg;

	s->changes++;
}

static void
put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void
name_all(struct stage *s)
{
	certs_watch_begin(s->watch);
	certs_watch_add(s->watch, s->file);
	certs_watch_end(s->watch);
}

/* How often it was told since the last time. */
static unsigned
told(struct stage *s)
{
	s->changes = 0;
	for (int i = 0; i < 5; i++)
		ev_run(s->loop, EVRUN_NOWAIT);
	return s->changes;
}

static int
set_up(void **state)
{
	struct stage *s = must_alloc(sizeof(*s));

	snprintf(s->folder, sizeof(s->folder), "/tmp/test_certs_watch.XXXXXX");
	assert_non_null(mkdtemp(s->folder));
	snprintf(s->other, sizeof(s->other), "%s/inner", s->folder);
	snprintf(s->file, sizeof(s->file), "%s/a.pem", s->other);
	assert_int_equal(mkdir(s->other, 0700), 0);
	put(s->file, "one");
	s->loop = ev_loop_new(EVFLAG_AUTO);
	s->watch = certs_watch_new(s->loop, count, s);
	assert_non_null(s->watch);
	name_all(s);
	*state = s;
	return 0;
}

static int
tear_down(void **state)
{
	struct stage *s = *state;

	certs_watch_free(&s->watch);
	ev_loop_destroy(s->loop);
	unlink(s->file);
	rmdir(s->other);
	rmdir(s->folder);
	free(s);
	return 0;
}

static void
test_changes_are_told(void **state)
{
	struct stage *s = *state;

	assert_int_equal(told(s), 0);
	put(s->file, "two");
	assert_true(told(s) > 0);
}

static void
test_naming_them_again_is_no_change(void **state)
{
	struct stage *s = *state;

	for (int i = 0; i < 3; i++) {
		name_all(s);
		assert_int_equal(told(s), 0);
	}
	put(s->file, "two");
	assert_true(told(s) > 0);
}

static void
test_what_is_named_no_more_is_not_watched(void **state)
{
	struct stage *s = *state;

	certs_watch_begin(s->watch);
	certs_watch_end(s->watch);
	assert_int_equal(told(s), 0);
	put(s->file, "two");
	assert_int_equal(told(s), 0);
}

static void
test_a_folder_that_goes_is_told(void **state)
{
	struct stage *s = *state;

	unlink(s->file);
	(void)told(s);
	rmdir(s->other);
	assert_true(told(s) > 0);
	assert_int_equal(mkdir(s->other, 0700), 0);
	name_all(s);
	put(s->file, "three");
	assert_true(told(s) > 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_changes_are_told, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_naming_them_again_is_no_change, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_named_no_more_is_not_watched, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_folder_that_goes_is_told, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
