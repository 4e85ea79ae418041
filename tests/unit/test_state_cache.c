/* test_state_cache.c - the last known state on disk: what was put in is there at
 * the next start, an identity is kept, and nothing foreign is replaced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "store/state_cache.h"
#include "store/state_disk.h"
#include "wait.h"

static char dir[64];
static struct config config;
static struct ev_loop *loop;
static struct jobs *jobs;
static struct state_cache *cache;
static struct why why;

static int
set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/teal-cache-XXXXXX");
	assert_non_null(mkdtemp(dir));
	config = (struct config){ .state_dir = dir };
	loop = ev_loop_new(0);
	jobs = jobs_new(loop, 1);
	cache = NULL;
	return 0;
}

static int
tear_down(void **state)
{
	char command[128];

	(void)state;
	state_cache_close(&cache);
	jobs_free(&jobs);
	ev_loop_destroy(loop);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static void
open_it(void)
{
	if ((cache = state_cache_open(&config, jobs, &why)) == NULL)
		fail_msg("%s", why.text);
}

static void
reopen(void)
{
	state_cache_close(&cache);
	assert_null(cache);
	open_it();
}

static struct record
record(enum color color, uint64_t epoch)
{
	return (struct record){ .color = color, .epoch = epoch, .change = CHANGE_FLIP, .at_us = 5, .by = "ci" };
}

static bool
exists(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

static void
spoil(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void
what_was_put_in_is_there_at_the_next_start(void **state)
{
	struct record r = record(BLUE, 7);

	(void)state;
	open_it();
	assert_null(state_cache_find(cache, "shop"));
	state_cache_put(cache, "shop", &r);
	assert_int_equal(state_cache_find(cache, "shop")->epoch, 7);
	/* Written by itself, soon, also without an orderly end. */
	WAIT_UNTIL(loop, exists(STATE_FILE));
	reopen();
	assert_int_equal(state_cache_find(cache, "shop")->epoch, 7);
	assert_int_equal(state_cache_find(cache, "shop")->color, BLUE);
	assert_string_equal(state_cache_find(cache, "shop")->by, "ci");
	assert_null(state_cache_find(cache, "api"));
}

static void
an_end_writes_what_is_not_written_yet(void **state)
{
	(void)state;
	open_it();
	for (uint64_t epoch = 1; epoch <= 200; epoch++) {
		struct record r = record(epoch % 2 ? GREEN : BLUE, epoch);

		state_cache_put(cache, "shop", &r);
		state_cache_put(cache, "api", &r);
	}
	reopen();
	assert_int_equal(state_cache_find(cache, "shop")->epoch, 200);
	assert_int_equal(state_cache_find(cache, "api")->epoch, 200);
}

static void
a_record_that_could_not_be_read_back_is_not_kept(void **state)
{
	struct record r = record(BLUE, 0);

	(void)state;
	open_it();
	state_cache_put(cache, "shop", &r);
	assert_null(state_cache_find(cache, "shop"));
	r = record(GREEN, 1);
	memcpy(r.by, "\xff\xfe", 3);
	state_cache_put(cache, "shop", &r);
	reopen();
	assert_non_null(state_cache_find(cache, "shop"));
}

static void
the_identity_is_kept_and_differs_elsewhere(void **state)
{
	char first[TEAL_ID], second[TEAL_ID];

	(void)state;
	open_it();
	str_copy(first, sizeof(first), str_from(state_cache_id(cache)));
	assert_int_equal(strlen(first), 16);
	reopen();
	assert_string_equal(state_cache_id(cache), first);
	state_cache_close(&cache);
	/* One that was cut short is made anew. */
	spoil("teal.id", "abc");
	open_it();
	str_copy(second, sizeof(second), str_from(state_cache_id(cache)));
	assert_int_equal(strlen(second), 16);
	assert_string_not_equal(first, second);
	reopen();
	assert_string_equal(state_cache_id(cache), second);
}

static void
a_folder_in_use_is_refused(void **state)
{
	(void)state;
	open_it();
	assert_null(state_cache_open(&config, jobs, &why));
	assert_non_null(strstr(why.text, dir));
}

static void
a_foreign_file_is_refused_and_left_alone(void **state)
{
	char text[32] = "";
	FILE *f;
	char path[128];

	(void)state;
	spoil(STATE_FILE, "green\n");
	assert_null(state_cache_open(&config, jobs, &why));
	assert_non_null(strstr(why.text, STATE_FILE));
	snprintf(path, sizeof(path), "%s/" STATE_FILE, dir);
	f = fopen(path, "r");
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	assert_string_equal(text, "green\n");
}

/* The disk fails for a while: nobody waits for it, and it is tried again. */
static void
a_folder_that_vanished_does_not_stop_anybody(void **state)
{
	struct record r = record(BLUE, 3);
	char command[192];

	(void)state;
	open_it();
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	assert_int_equal(system(command), 0);
	state_cache_put(cache, "shop", &r);
	WAIT_UNTIL(loop, jobs_pending(jobs) > 0);
	WAIT_UNTIL(loop, jobs_pending(jobs) == 0);
	assert_int_equal(state_cache_find(cache, "shop")->epoch, 3);
	state_cache_close(&cache);	/* does not wait for ever */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_put_in_is_there_at_the_next_start, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_end_writes_what_is_not_written_yet, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_record_that_could_not_be_read_back_is_not_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_identity_is_kept_and_differs_elsewhere, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_folder_in_use_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_foreign_file_is_refused_and_left_alone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_folder_that_vanished_does_not_stop_anybody, set_up, tear_down),
	};

	log_set_level(LOG_ERROR_LEVEL + 1);
	return cmocka_run_group_tests_name("state_cache", tests, NULL, NULL);
}
