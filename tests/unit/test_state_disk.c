/* test_state_disk.c - the embedded store's folder: one teald at a time,
 * nothing foreign replaced, and whole after a kill at any moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "store/state_disk.h"
#include "store/state_file.h"
#include "store/store.h"
#include "wait.h"
#include "scaled.h"

static char dir[64], file[96], tmp[96];
static const struct state_owner nobody;	/* whoever runs this */

static int
set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/teal-disk-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(file, sizeof(file), "%s/" STATE_FILE, dir);
	snprintf(tmp, sizeof(tmp), "%s/" STATE_FILE ".tmp", dir);
	return 0;
}

static int
tear_down(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static void
put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void
assert_holds(const char *path, const char *text)
{
	char got[256] = "";
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_true(read(fd, got, sizeof(got) - 1) >= 0);
	close(fd);
	assert_string_equal(got, text);
}

static void
assert_says(const struct why *why, const char *text)
{
	if (strstr(why->text, text) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", why->text, text);
}

static void
test_one_teald_at_a_time(void **state)
{
	struct state_disk first, second;
	struct why why;
	char pid[32];

	(void)state;
	assert_int_equal(state_disk_open(&first, dir, &nobody, &why), OK);
	assert_int_equal(state_disk_open(&second, dir, &nobody, &why), E_USAGE);
	snprintf(pid, sizeof(pid), "(pid %ld)", (long)getpid());
	assert_says(&why, "in use by another teald");
	assert_says(&why, pid);
	assert_says(&why, dir);
	state_disk_close(&second);
	state_disk_close(&first);
	assert_int_equal(state_disk_open(&second, dir, &nobody, &why), OK);
	state_disk_close(&second);
}

static void
test_what_a_crash_left_half_written_is_removed(void **state)
{
	struct state_disk d;
	struct why why;
	struct stat st;

	(void)state;
	put(tmp, "half a fi");
	assert_int_equal(state_disk_open(&d, dir, &nobody, &why), OK);
	assert_int_not_equal(stat(tmp, &st), 0);
	assert_int_equal(state_disk_write(&d, STR("a\n"), STR("b"), &why), OK);
	assert_holds(file, "a\nb");
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777 & ~0640, 0);	/* nobody else's to read */
	state_disk_close(&d);
}

static void
test_only_the_last_part_of_the_folder_is_made(void **state)
{
	struct state_disk d;
	struct why why;
	struct stat st;
	char below[96], deep[128];

	(void)state;
	snprintf(below, sizeof(below), "%s/state", dir);
	snprintf(deep, sizeof(deep), "%s/no/state", dir);
	assert_int_equal(state_disk_open(&d, below, &nobody, &why), OK);
	assert_int_equal(stat(below, &st), 0);
	assert_int_equal(st.st_mode & 07777 & ~0750, 0);
	state_disk_close(&d);
	assert_int_equal(state_disk_open(&d, deep, &nobody, &why), E_USAGE);
	assert_says(&why, "the folder above it is missing too");
	state_disk_close(&d);
	put(file, "x");
	assert_int_equal(state_disk_open(&d, file, &nobody, &why), E_USAGE);
	assert_says(&why, "is not a folder");
	state_disk_close(&d);
}

static void
test_the_folder_must_be_its_later_owners(void **state)
{
	const struct state_owner teal = { "teal", 12345, 12345 };
	struct state_disk d;
	struct why why;
	struct stat st;
	char below[96];

	(void)state;
	if (geteuid() != 0)
		skip();	/* only root can give a folder away */
	snprintf(below, sizeof(below), "%s/state", dir);
	assert_int_equal(chmod(dir, 0755), 0);
	assert_int_equal(state_disk_open(&d, dir, &teal, &why), E_USAGE);
	assert_says(&why, "is not writable for user \"teal\"");
	state_disk_close(&d);
	assert_int_equal(state_disk_open(&d, below, &teal, &why), OK);	/* a new one is given to it */
	assert_int_equal(stat(below, &st), 0);
	assert_int_equal(st.st_uid, 12345);
	assert_int_equal(state_disk_write(&d, STR("a\n"), STR("b"), &why), OK);
	snprintf(below, sizeof(below), "%s/state/" STATE_FILE, dir);
	assert_int_equal(stat(below, &st), 0);
	assert_int_equal(st.st_uid, 12345);	/* with all in it */
	state_disk_close(&d);
}

/* A store on this folder; the jobs are the test's. */
static struct service_config service = { .name = "shop" };
static struct config config = { .state_dir = dir, .services = &service, .n_services = 1 };

static enum err
open_and_close(struct why *why)
{
	struct ev_loop *loop = ev_loop_new(0);
	struct jobs *jobs = jobs_new(loop, 1);
	struct store *store = store_file_new(&config, jobs);
	enum err e = store->open(store, why);

	store->close(&store);
	jobs_free(&jobs);
	ev_loop_destroy(loop);
	return e;
}

static void
test_a_file_that_is_not_ours_stops_the_start_and_stays(void **state)
{
	static const char *const contents[] = {
		"", "hello\n", "{\"format\":\"teal-state\",\"version\":9}\n",
		"{\"format\":\"teal-state\",\"version\":1,\"bytes\":99,\"hash\":\"0\"}\n{}",
	};
	static const char *const because[] = { "is empty", "is not a state file", "version 9", "is cut short" };
	struct why why;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(contents); i++) {
		put(file, contents[i]);
		assert_int_equal(open_and_close(&why), E_STORE);
		assert_says(&why, file);
		assert_says(&why, because[i]);
		assert_says(&why, "It is left as it is.");
		assert_says(&why, "move it away");
		assert_holds(file, contents[i]);
	}
	assert_int_equal(unlink(file), 0);
	assert_int_equal(open_and_close(&why), OK);	/* moved away: a new beginning */
}

static void
test_what_is_no_plain_file_stops_the_start(void **state)
{
	struct why why;

	(void)state;
	assert_int_equal(mkdir(file, 0700), 0);
	assert_int_equal(open_and_close(&why), E_STORE);
	assert_says(&why, "is not a plain file");
	assert_int_equal(rmdir(file), 0);
	assert_int_equal(mkfifo(file, 0600), 0);
	assert_int_equal(open_and_close(&why), E_STORE);	/* and does not hang */
	assert_says(&why, "is not a plain file");
	assert_int_equal(unlink(file), 0);
	assert_int_equal(mkdir(tmp, 0700), 0);
	assert_int_equal(open_and_close(&why), E_USAGE);
	assert_says(&why, "is in the way");
}

static void
test_without_a_folder_it_does_not_begin(void **state)
{
	struct why why;

	(void)state;
	config.state_dir = NULL;
	assert_int_equal(open_and_close(&why), E_USAGE);
	assert_says(&why, "state_dir is not set");
	config.state_dir = dir;
}

/* The victim: flips as fast as it can, and tells each epoch it was told is
 * durable.  Never returns. */
struct victim {
	struct store *store;
	struct record record;
	int tell;
};

static void flip_again(struct victim *v);

static void
victim_on_record(void *arg, const char *name, const struct record *r)
{
	(void)name;
	((struct victim *)arg)->record = *r;
}

static void
victim_on_done(void *arg, enum err e, const struct record *now, const struct why *why)
{
	struct victim *v = arg;

	(void)why;
	if (e != OK || write(v->tell, &now->epoch, sizeof(now->epoch)) != sizeof(now->epoch))
		_exit(1);
	flip_again(v);
}

static void
flip_again(struct victim *v)
{
	struct store_write w = { .service = "shop", .expect_epoch = v->record.epoch, .next = v->record };

	w.next.color = color_other(w.next.color);
	w.next.epoch++;
	w.next.change = CHANGE_FLIP;
	strcpy(w.entry.service, "shop");
	w.entry.epoch = w.next.epoch;
	v->store->write(v->store, &w, victim_on_done, v);
}

static _Noreturn void
be_a_victim(int tell)
{
	struct ev_loop *loop = ev_loop_new(0);
	struct victim v = { .tell = tell };
	struct why why;

	v.store = store_file_new(&config, jobs_new(loop, 1));
	v.store->on_record = victim_on_record;
	v.store->arg = &v;
	if (v.store->open(v.store, &why) != OK)
		_exit(2);
	flip_again(&v);
	for (;;)
		ev_run(loop, EVRUN_ONCE);
}

/* The epoch in the file; 0 when there is none. */
static uint64_t
epoch_on_disk(void)
{
	const struct state_disk d = { .file = file };
	struct why why = { "" };
	struct buf text;
	struct state s;
	uint64_t epoch = 0;
	bool exists;

	buf_init(&text, STATE_MAX);
	state_init(&s);
	assert_int_equal(state_disk_read(&d, &text, &exists, &why), OK);
	if (exists && state_decode(buf_str(&text), &s, &why) != OK)
		fail_msg("the file %s", why.text);
	if (exists) {
		const struct state_service *v = state_find(&s, "shop");

		assert_non_null(v);
		epoch = v->record.epoch;
		/* A flip a step: the color tells whether it is that epoch's. */
		assert_int_equal(v->record.color, epoch % 2 == 1 ? GREEN : BLUE);
	}
	state_free(&s);
	buf_free(&text);
	return epoch;
}

/* Reads an epoch that the victim called durable, each one more than the last;
 * false when it is dead and all are read.  A new file begins at epoch 1. */
static bool
read_epoch(int from, uint64_t *acknowledged)
{
	uint64_t epoch;
	ssize_t n = read(from, &epoch, sizeof(epoch));

	if (n == 0)
		return false;
	assert_int_equal(n, sizeof(epoch));
	assert_int_equal(epoch, (*acknowledged > 0 ? *acknowledged : 1) + 1);
	*acknowledged = epoch;
	return true;
}

/* A life that ends so many microseconds after its birth, or after its first
 * flip.  Returns the last epoch it called durable, `before` if none. */
static uint64_t
live_and_die(useconds_t us, bool after_first, uint64_t before)
{
	uint64_t acknowledged = before;
	int pipes[2], how;
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	if ((pid = fork()) == 0) {
		close(pipes[0]);
		be_a_victim(pipes[1]);
	}
	assert_true(pid > 0);
	close(pipes[1]);
	if (after_first)
		assert_true(read_epoch(pipes[0], &acknowledged));
	usleep(us);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &how, 0), pid);
	assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
	while (read_epoch(pipes[0], &acknowledged))
		;
	close(pipes[0]);
	return acknowledged;
}

/* Many lives.  What was acknowledged is there, at most one more than that (the
 * write under way), and no epoch is ever lower than one seen before. */
static void
test_killed_at_any_moment_it_keeps_its_word(void **state)
{
	uint64_t random = (uint64_t)clock_wall_us(), before = 0, flips = 0;
	unsigned lives = scaled(20, 400);

	(void)state;
	for (unsigned life = 0; life < lives; life++) {
		useconds_t us = (useconds_t)(random_next(&random) % 12000);
		uint64_t acknowledged = live_and_die(us, life % 2 == 0, before), after = epoch_on_disk();

		assert_true(after >= acknowledged);
		assert_true(after <= (acknowledged > 0 ? acknowledged : 1) + 1);
		flips += after - before;
		before = after;
	}
	print_message("%llu flips in %u lives\n", (unsigned long long)flips, lives);
	assert_true(flips >= lives / 2);	/* they did live */
}

int
main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_one_teald_at_a_time),
		TEST(test_what_a_crash_left_half_written_is_removed),
		TEST(test_only_the_last_part_of_the_folder_is_made),
		TEST(test_the_folder_must_be_its_later_owners),
		TEST(test_a_file_that_is_not_ours_stops_the_start_and_stays),
		TEST(test_what_is_no_plain_file_stops_the_start),
		TEST(test_without_a_folder_it_does_not_begin),
		TEST(test_killed_at_any_moment_it_keeps_its_word),
	};

	log_set_level(LOG_ERROR_LEVEL + 1);
	return cmocka_run_group_tests_name("state_disk", tests, NULL, NULL);
}
