/* test_store_file.c - the embedded store on a real disk: nothing is said
 * before it is durable, nothing durable is lost, and nothing foreign is
 * replaced.  fsync() and rename() pass through this file, which notes them
 * and can make them fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/state_disk.h"
#include "store/state_file.h"
#include "store/store.h"
#include "wait.h"

/* What the disk was asked, to be looked at while no job is pending: f: fsync of a file, d: of a folder, r: rename. */
static char asked[4096];
static unsigned n_asked;
static bool fail_file_sync, fail_dir_sync, fail_rename;

static bool
ask(char what, bool fail)
{
	if (n_asked < sizeof(asked) - 1)
		asked[n_asked++] = what;
	asked[n_asked] = '\0';
	if (fail)
		errno = EIO;
	return fail;
}

int
fsync(int fd)
{
	struct stat st;
	bool dir = fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);

	if (ask(dir ? 'd' : 'f', dir ? fail_dir_sync : fail_file_sync))
		return -1;
	return (int)syscall(SYS_fsync, fd);
}

int
rename(const char *from, const char *to)
{
	if (ask('r', fail_rename))
		return -1;
	return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

/* A place to keep state in, a configuration of two services, and a store. */
static char dir[64], file[96], tmp[96];
static struct service_config services[3];
static struct config config;
static struct ev_loop *loop;
static struct jobs *jobs;
static struct store *store;

/* What the store said. */
static struct record shop, api;	/* by on_record() */
static unsigned told, ready;
static struct why why;

static void
on_record(void *arg, const char *service, const struct record *r)
{
	(void)arg;
	*(strcmp(service, "shop") == 0 ? &shop : &api) = *r;
	told++;
}

static void
on_ready(void *arg)
{
	(void)arg;
	ready++;
}

static struct pool_config pool = { .name = "main" };
static struct overlay nodes;	/* by on_nodes() */
static unsigned nodes_told;

static void
on_nodes(void *arg, const char *name, const struct overlay *now)
{
	(void)arg;
	assert_string_equal(name, "main");
	overlay_copy(&nodes, now);
	nodes_told++;
}

static enum err
open_store(void)
{
	told = ready = 0;
	store = store_file_new(&config, jobs);
	store->on_record = on_record;
	store->on_ready = on_ready;
	store->on_nodes = on_nodes;
	return store->open(store, &why);
}

static void
reopen_store(void)
{
	store->close(&store);
	assert_null(store);
	assert_int_equal(open_store(), OK);
}

static int
set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/teal-store-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(file, sizeof(file), "%s/" STATE_FILE, dir);
	snprintf(tmp, sizeof(tmp), "%s/" STATE_FILE ".tmp", dir);
	memset(services, 0, sizeof(services));
	services[0].name = "shop";
	services[0].initial = GREEN;
	services[1].name = "api";
	services[1].initial = BLUE;
	services[2].name = "late";
	services[2].initial = BLUE;
	config = (struct config){ .state_dir = dir, .services = services, .n_services = 2, .pools = &pool, .n_pools = 1 };
	loop = ev_loop_new(0);
	jobs = jobs_new(loop, 1);
	store = NULL;
	n_asked = 0;
	fail_file_sync = fail_dir_sync = fail_rename = false;
	return 0;
}

static int
tear_down(void **state)
{
	char command[128];

	(void)state;
	if (store != NULL)
		store->close(&store);
	jobs_free(&jobs);
	overlay_free(&nodes);
	ev_loop_destroy(loop);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static int
set_up_open(void **state)
{
	set_up(state);
	assert_int_equal(open_store(), OK);
	n_asked = 0;
	return 0;
}

/* One write and its answer. */
struct answer {
	unsigned calls, told_then;	/* on_record() calls by then */
	enum err e;
	bool has_now;
	struct record now;
	struct why why;
};

static void
on_answer(void *arg, enum err e, const struct record *now, const struct why *w)
{
	struct answer *a = arg;

	a->calls++;
	a->told_then = told;
	a->e = e;
	a->has_now = now != NULL;
	if (now != NULL)
		a->now = *now;
	if (w != NULL)
		a->why = *w;
}

static struct audit_entry
entry(const char *service, const char *reason)
{
	struct audit_entry e = { .at_us = clock_wall_us(), .change = CHANGE_FLIP, .by = "ci", .result = "ok" };

	str_copy(e.service, sizeof(e.service), str_from(service));
	str_copy(e.reason, sizeof(e.reason), str_from(reason));
	return e;
}

static struct store_write
flip_of(const char *service, enum color to, uint64_t expect, const char *reason)
{
	struct store_write w = { .service = service, .expect_epoch = expect, .entry = entry(service, reason) };

	w.next = (struct record){ .color = to, .epoch = expect + 1, .change = CHANGE_FLIP,
				  .at_us = clock_wall_us(), .by = "ci" };
	w.entry.to = to;
	w.entry.epoch = expect + 1;
	str_copy(w.next.reason, sizeof(w.next.reason), str_from(reason));
	return w;
}

/* Asks, and sees to it that nobody was told from inside. */
static void
ask_for(struct answer *a, const struct store_write *w)
{
	*a = (struct answer){ 0 };
	store->write(store, w, on_answer, a);
	assert_int_equal(a->calls, 0);
}

static void
flip(struct answer *a, const char *service, enum color to, uint64_t expect)
{
	struct store_write w = flip_of(service, to, expect, "deploy");

	ask_for(a, &w);
	WAIT_UNTIL(loop, a->calls == 1);
}

/* The record as a reader of the file has it now. */
static struct record
on_disk(const char *service)
{
	struct state_disk d = { .file = file };
	struct buf text;
	struct state s;
	struct record r;
	bool exists;

	buf_init(&text, STATE_MAX);
	state_init(&s);
	assert_int_equal(state_disk_read(&d, &text, &exists, NULL), OK);
	assert_true(exists);
	assert_int_equal(state_decode(buf_str(&text), &s, &why), OK);
	assert_non_null(state_find(&s, service));
	r = state_find(&s, service)->record;
	state_free(&s);
	buf_free(&text);
	return r;
}

static bool
exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static struct store_status
status(void)
{
	struct store_status st;

	store->status(store, &st);
	return st;
}

static void
test_a_first_start_writes_the_initial_colors_down(void **state)
{
	(void)state;
	assert_int_equal(open_store(), OK);
	assert_int_equal(told, 2);
	assert_int_equal(ready, 1);
	assert_int_equal(shop.color, GREEN);
	assert_int_equal(shop.epoch, 1);
	assert_int_equal(shop.change, CHANGE_INITIAL);
	assert_string_equal(shop.by, "teald");
	assert_int_equal(api.color, BLUE);
	assert_string_equal(asked, "frd");
	assert_int_equal(on_disk("api").color, BLUE);
	assert_int_equal(on_disk("shop").epoch, 1);
	assert_string_equal(status().type, "file");
	assert_true(status().up);
}

/* Asked for at the same moment: the flip does not know of the lock, and must
 * not wipe it out with the record that it knew. */
static void
test_a_flip_does_not_wipe_out_a_lock_it_has_not_seen(void **state)
{
	struct store_write lock = { .service = "shop", .expect_epoch = 1, .entry = entry("shop", "freeze") };
	struct store_write w = flip_of("shop", BLUE, 1, "deploy");
	struct answer locked, flipped;

	(void)state;
	lock.next = shop;
	lock.next.lock.on = true;
	lock.next.lock.at_us = 5;
	strcpy(lock.next.lock.by, "anna");
	strcpy(lock.next.lock.reason, "freeze");
	lock.entry.change = CHANGE_LOCK;
	ask_for(&locked, &lock);
	ask_for(&flipped, &w);
	WAIT_UNTIL(loop, locked.calls == 1 && flipped.calls == 1);
	assert_int_equal(locked.e, OK);
	assert_int_equal(flipped.e, E_CONFLICT);
	assert_true(shop.lock.on);
	assert_int_equal(shop.color, GREEN);
	assert_true(on_disk("shop").lock.on);
}

#define MINE "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define OTHERS "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"

static struct store_write
claim_of(const char *service, const char *hash, int64_t until_us)
{
	struct store_write w = { .service = service,
				 .means = STORE_CLAIM,
				 .expect_epoch = 1,
				 .next = shop,
				 .entry = entry(service, "deploy") };

	w.next.claim.on = true;
	w.next.claim.epoch = 1;
	w.next.claim.at_us = 5;
	w.next.claim.until_us = until_us;
	strcpy(w.next.claim.by, "ci");
	strcpy(w.next.claim.token, hash);
	w.entry.change = CHANGE_CLAIM;
	return w;
}

static enum err
written(const struct store_write *w)
{
	struct answer a;

	ask_for(&a, w);
	WAIT_UNTIL(loop, a.calls == 1);
	return a.e;
}

static void
test_a_claim_is_for_its_token(void **state)
{
	int64_t later = clock_wall_us() + (int64_t)3600 * 1000000;
	struct store_write mine = claim_of("shop", MINE, later), others = claim_of("shop", OTHERS, later), w;
	struct answer first, second;
	struct record kept;

	(void)state;
	/* Of two at the same moment one gets it. */
	ask_for(&first, &mine);
	ask_for(&second, &others);
	WAIT_UNTIL(loop, first.calls == 1 && second.calls == 1);
	assert_int_equal(first.e, OK);
	assert_int_equal(second.e, E_CONFLICT);
	assert_string_equal(shop.claim.token, MINE);
	/* What knows of it and has no token, or another. */
	w = flip_of("shop", BLUE, 1, "deploy");
	assert_int_equal(written(&w), E_CONFLICT);
	w.token = OTHERS;
	assert_int_equal(written(&w), E_CONFLICT);
	others = claim_of("shop", OTHERS, later);
	assert_int_equal(written(&others), E_CONFLICT);
	kept = shop;
	reopen_store();
	assert_true(record_same(&shop, &kept) && shop.claim.on);
	/* A lock is no matter of claims, and leaves them. */
	w = (struct store_write){ .service = "shop", .means = STORE_LOCK, .expect_epoch = 1, .next = shop,
				  .entry = entry("shop", "freeze") };
	w.next.lock.on = true;
	w.next.lock.at_us = 5;
	assert_int_equal(written(&w), OK);
	assert_true(record_same_claim(&shop, &kept) && shop.lock.on);
	w = flip_of("shop", BLUE, 1, "deploy");
	w.next.lock = shop.lock;
	w.token = MINE;
	w.next.claim.on = false;
	assert_int_equal(written(&w), OK);
	assert_false(shop.claim.on);
	reopen_store();
	assert_false(shop.claim.on);
	assert_int_equal(shop.color, BLUE);
}

static struct store_write
hold_of(int64_t until_us, const char *name)
{
	struct store_write w = { .service = "shop", .means = STORE_HOLD, .token = name, .expect_epoch = shop.epoch,
				 .next = shop, .entry = entry("shop", "migrate") };

	memset(&w.next.hold, 0, sizeof(w.next.hold));
	w.entry.change = until_us > 0 ? CHANGE_HOLD : CHANGE_UNHOLD;
	w.next.hold.on = until_us > 0;
	if (!w.next.hold.on)
		return w;
	w.next.hold.epoch = shop.epoch;
	w.next.hold.at_us = 5;
	w.next.hold.until_us = until_us;
	strcpy(w.next.hold.by, "ci");
	return w;
}

static void
test_a_hold_is_one_at_a_time(void **state)
{
	int64_t later = clock_wall_us() + (int64_t)3600 * 1000000;
	struct store_write first = hold_of(later, NULL), second = hold_of(later + 1, NULL), w;
	struct answer a, b;
	struct record kept;
	char name[RECORD_HOLD_NAME];

	(void)state;
	ask_for(&a, &first);
	ask_for(&b, &second);
	WAIT_UNTIL(loop, a.calls == 1 && b.calls == 1);
	assert_int_equal(a.e, OK);
	assert_int_equal(b.e, E_CONFLICT);
	assert_int_equal(shop.hold.until_us, later);
	kept = shop;
	reopen_store();
	assert_true(record_same(&shop, &kept) && shop.hold.on);
	/* A flip ends it, and one that goes on beside a claim stays. */
	w = claim_of("shop", MINE, later);
	assert_int_equal(written(&w), OK);
	assert_true(shop.hold.on);
	record_hold_name(&shop, clock_wall_us(), name);
	w = hold_of(0, "7");
	assert_int_equal(written(&w), E_CONFLICT);
	w = hold_of(0, name);
	assert_int_equal(written(&w), OK);
	assert_true(!shop.hold.on && shop.claim.on);
	w = hold_of(later, NULL);
	assert_int_equal(written(&w), OK);
	w = flip_of("shop", BLUE, 1, "deploy");
	w.token = MINE;
	w.next.claim.on = false;
	w.next.hold = shop.hold;
	assert_int_equal(written(&w), OK);
	assert_false(record_held(&shop, clock_wall_us()));
	reopen_store();
	assert_false(record_held(&shop, clock_wall_us()));
}

static void
test_a_claim_whose_time_is_over_holds_nothing_up(void **state)
{
	struct store_write w = claim_of("shop", MINE, clock_wall_us() - 1);

	(void)state;
	assert_int_equal(written(&w), OK);
	w = flip_of("shop", BLUE, 1, "deploy");
	w.token = MINE;
	assert_int_equal(written(&w), E_CONFLICT);
	w.token = NULL;
	assert_int_equal(written(&w), OK);
	assert_int_equal(shop.epoch, 2);
}

static void
test_a_flip_survives_a_restart(void **state)
{
	struct store_write w = flip_of("shop", BLUE, 1, "deploy \"8812\" \xc3\xa9");
	struct answer a;

	(void)state;
	w.next.lock.on = true;
	w.next.lock.at_us = 5;
	strcpy(w.next.lock.by, "anna");
	strcpy(w.next.lock.reason, "freeze");
	ask_for(&a, &w);
	WAIT_UNTIL(loop, a.calls == 1);
	assert_int_equal(a.e, OK);
	assert_memory_equal(&a.now, &w.next, sizeof(w.next));
	assert_int_equal(a.told_then, 3);	/* two at open, and this one */
	reopen_store();
	assert_memory_equal(&shop, &w.next, sizeof(w.next));
	assert_int_equal(api.epoch, 1);
	/* Read, not written: the color is on the disk already. */
	n_asked = 0;
	reopen_store();
	assert_int_equal(n_asked, 0);
}

static void
test_nothing_is_said_before_the_folder_is_synced(void **state)
{
	struct answer a;

	(void)state;
	flip(&a, "shop", BLUE, 1);
	assert_string_equal(asked, "frd");
	assert_false(exists(tmp));
}

static void
test_a_wrong_epoch_is_a_conflict_and_tells_the_present(void **state)
{
	struct answer a;

	(void)state;
	flip(&a, "shop", BLUE, 7);
	assert_int_equal(a.e, E_CONFLICT);
	assert_true(a.has_now);
	assert_int_equal(a.now.epoch, 1);
	assert_int_equal(a.now.color, GREEN);
	assert_string_equal(a.why.text, "shop is green at epoch 1, not at epoch 7");
	assert_int_equal(told, 2);
	assert_int_equal(n_asked, 0);	/* nothing to write */
}

static void
test_what_must_not_be_written_is_refused(void **state)
{
	struct store_write w = flip_of("shop", BLUE, 1, "");
	struct answer a;

	(void)state;
	w.next.epoch = 0;
	ask_for(&a, &w);
	WAIT_UNTIL(loop, a.calls == 1);
	assert_int_equal(a.e, E_INTERNAL);	/* an epoch never goes down */
	w.next.epoch = 1;
	ask_for(&a, &w);
	WAIT_UNTIL(loop, a.calls == 1);
	assert_int_equal(a.e, E_INTERNAL);	/* nor does a color change without it */
	flip(&a, "nobody", BLUE, 1);
	assert_int_equal(a.e, E_UNKNOWN_SERVICE);
	assert_false(a.has_now);
	assert_int_equal(n_asked, 0);
	assert_int_equal(shop.epoch, 1);
}

static void
test_waiting_writes_take_their_turn_in_one_file(void **state)
{
	struct store_write first = flip_of("shop", BLUE, 1, "first"), late = flip_of("shop", BLUE, 1, "late"),
			   next = flip_of("shop", GREEN, 2, "next"), other = flip_of("api", GREEN, 1, "other");
	struct answer a[4];

	(void)state;
	ask_for(&a[0], &first);
	ask_for(&a[1], &late);
	ask_for(&a[2], &next);
	ask_for(&a[3], &other);
	WAIT_UNTIL(loop, a[3].calls == 1);
	assert_int_equal(a[0].e, OK);
	assert_int_equal(a[0].now.epoch, 2);
	assert_int_equal(a[1].e, E_CONFLICT);
	assert_int_equal(a[1].now.epoch, 2);
	assert_string_equal(a[1].now.reason, "first");
	assert_int_equal(a[2].e, OK);
	assert_int_equal(a[2].now.epoch, 3);
	assert_int_equal(a[3].e, OK);
	assert_string_equal(asked, "frd");
	assert_int_equal(on_disk("shop").epoch, 3);
	assert_int_equal(on_disk("api").color, GREEN);
	assert_int_equal(told, 5);
}

/* The disk takes no more; lifted by room(). */
static void
no_room(void)
{
	struct rlimit r;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
	r.rlim_cur = 100;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

static void
room(void)
{
	struct rlimit r;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
	r.rlim_cur = r.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

static void
test_a_full_disk_changes_nothing_and_is_tried_again(void **state)
{
	struct answer a;

	(void)state;
	no_room();
	flip(&a, "shop", BLUE, 1);
	room();
	assert_int_equal(a.e, E_NOT_DURABLE);
	assert_non_null(strstr(a.why.text, tmp));
	assert_non_null(strstr(a.why.text, "File too large"));
	assert_int_equal(a.now.epoch, 1);
	assert_int_equal(a.now.color, GREEN);
	assert_int_equal(told, 2);
	assert_false(exists(tmp));
	assert_int_equal(on_disk("shop").color, GREEN);
	assert_false(status().up);
	flip(&a, "shop", BLUE, 1);	/* the same, and now it works */
	assert_int_equal(a.e, OK);
	assert_true(status().up);
	assert_true(status().age == 0);
	reopen_store();
	assert_int_equal(shop.epoch, 2);
}

static void
test_a_failed_file_fails_all_who_built_on_it(void **state)
{
	struct store_write first = flip_of("shop", BLUE, 1, ""), late = flip_of("shop", BLUE, 1, ""),
			   next = flip_of("shop", GREEN, 2, ""), wrong = flip_of("api", GREEN, 9, "");
	struct answer a[4];

	(void)state;
	fail_file_sync = true;
	ask_for(&a[0], &first);
	ask_for(&a[1], &late);
	ask_for(&a[2], &next);
	ask_for(&a[3], &wrong);
	WAIT_UNTIL(loop, a[3].calls == 1);
	assert_int_equal(a[0].e, E_NOT_DURABLE);
	assert_non_null(strstr(a[0].why.text, "fsync"));
	assert_int_equal(a[1].e, E_NOT_DURABLE);	/* what it was in conflict with never was */
	assert_int_equal(a[2].e, E_NOT_DURABLE);
	assert_int_equal(a[2].now.epoch, 1);
	assert_int_equal(a[3].e, E_CONFLICT);	/* this one with the truth */
	fail_file_sync = false;
	flip(&a[0], "shop", BLUE, 1);
	assert_int_equal(a[0].e, OK);
}

static void
test_a_failed_rename_changes_nothing(void **state)
{
	struct answer a;

	(void)state;
	fail_rename = true;
	flip(&a, "shop", BLUE, 1);
	assert_int_equal(a.e, E_NOT_DURABLE);
	assert_false(exists(tmp));
	assert_int_equal(on_disk("shop").epoch, 1);
	assert_int_equal(shop.epoch, 1);
}

/* Whoever reads the file now sees blue: so must traffic; but it is not safe. */
static void
test_an_unsynced_folder_is_unknown_and_memory_follows_the_file(void **state)
{
	struct answer a;

	(void)state;
	fail_dir_sync = true;
	flip(&a, "shop", BLUE, 1);
	assert_int_equal(a.e, E_UNKNOWN);
	assert_int_equal(a.now.epoch, 2);
	assert_int_equal(shop.color, BLUE);
	assert_int_equal(on_disk("shop").color, BLUE);
	assert_false(status().up);
	fail_dir_sync = false;
	flip(&a, "shop", GREEN, 2);
	assert_int_equal(a.e, OK);
	assert_true(status().up);
}

static void
test_a_missing_folder_fails_writes_until_it_is_back(void **state)
{
	struct answer a;
	char away[80];

	(void)state;
	snprintf(away, sizeof(away), "%s.away", dir);
	assert_int_equal(renameat(AT_FDCWD, dir, AT_FDCWD, away), 0);
	flip(&a, "shop", BLUE, 1);
	assert_int_equal(a.e, E_NOT_DURABLE);
	assert_non_null(strstr(a.why.text, "No such file or directory"));
	assert_int_equal(renameat(AT_FDCWD, away, AT_FDCWD, dir), 0);
	flip(&a, "shop", BLUE, 1);
	assert_int_equal(a.e, OK);
}

static void
test_closing_finishes_what_waits(void **state)
{
	struct store_write w = flip_of("shop", BLUE, 1, ""), v = flip_of("shop", GREEN, 2, "");
	struct answer a, b;

	(void)state;
	ask_for(&a, &w);
	WAIT_UNTIL(loop, jobs_pending(jobs) == 1);	/* under way */
	ask_for(&b, &v);
	store->close(&store);
	assert_int_equal(a.e, OK);
	assert_int_equal(b.e, OK);
	assert_int_equal(on_disk("shop").epoch, 3);
}

static void
test_services_come_and_go_with_the_configuration(void **state)
{
	struct answer a;

	(void)state;
	flip(&a, "shop", BLUE, 1);
	services[0] = services[2];	/* late, instead of shop */
	reopen_store();
	assert_int_equal(on_disk("late").color, BLUE);
	assert_int_equal(on_disk("shop").epoch, 2);	/* kept for its return */
	services[0].name = "shop";
	services[0].initial = GREEN;
	reopen_store();
	assert_int_equal(shop.color, BLUE);
	assert_int_equal(shop.epoch, 2);
}

/* The history, as reasons joined by spaces. */
static void
on_history(void *arg, enum err e, const struct audit_entry *entries, size_t n, const struct why *w)
{
	char *joined = arg;

	(void)w;
	assert_int_equal(e, OK);
	joined[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		strcat(joined, i > 0 ? " " : "");
		strcat(joined, entries[i].reason);
	}
}

static void
assert_history(const char *service, unsigned last, const char *expected)
{
	char joined[4096] = "never answered";

	store->history(store, service, last, on_history, joined);
	assert_string_equal(joined, expected);
}

static void
note(const char *service, const char *reason)
{
	struct audit_entry e = entry(service, reason);

	store->note(store, &e);
}

static void
test_history_is_told_oldest_first_and_only_what_is_asked(void **state)
{
	struct store_write w = flip_of("shop", BLUE, 1, "one"), v = flip_of("shop", GREEN, 1, "never");
	struct answer a, b;

	(void)state;
	ask_for(&a, &w);
	ask_for(&b, &v);
	assert_history("shop", 10, "");	/* not before it is durable */
	WAIT_UNTIL(loop, b.calls == 1);
	note("shop", "two");
	note("api", "other");
	note("shop", "three");
	assert_history("shop", 10, "one two three");
	assert_history("shop", 2, "two three");
	assert_history("shop", 0, "");
	assert_history("nobody", 10, "");
	reopen_store();
	assert_history("shop", 10, "one two three");
	assert_history("api", 10, "other");
}

static void
test_a_note_reaches_the_disk_by_itself_once_a_second(void **state)
{
	double began;

	(void)state;
	clock_pass();
	note("shop", "first");
	WAIT_UNTIL(loop, jobs_pending(jobs) == 0 && n_asked == 3);
	began = clock_now();
	for (int i = 0; i < 50; i++)
		note("shop", "more");
	WAIT_UNTIL(loop, jobs_pending(jobs) == 0 && n_asked == 6);
	assert_true(clock_now() - began > 0.8);
	assert_string_equal(asked, "frdfrd");
	clock_go();
}

static void
test_a_note_during_a_write_is_not_lost(void **state)
{
	struct store_write w = flip_of("shop", BLUE, 1, "flip");
	struct answer a;

	(void)state;
	ask_for(&a, &w);
	WAIT_UNTIL(loop, jobs_pending(jobs) == 1);
	note("shop", "meanwhile");
	WAIT_UNTIL(loop, a.calls == 1);
	assert_history("shop", 10, "flip meanwhile");
	reopen_store();
	assert_history("shop", 10, "flip meanwhile");
}

static void
test_a_failed_flip_is_not_in_the_history(void **state)
{
	struct answer a;

	(void)state;
	fail_file_sync = true;
	flip(&a, "shop", BLUE, 1);
	assert_history("shop", 10, "");
	note("shop", "refused: not durable");
	fail_file_sync = false;
	flip(&a, "shop", BLUE, 1);
	assert_history("shop", 10, "refused: not durable deploy");
}

static void
on_nodes_written(void *arg, enum err e, const struct why *w)
{
	struct answer *a = arg;

	a->calls++;
	a->e = e;
	if (w != NULL)
		a->why = *w;
}

/* Says one thing more of the nodes than `from`. */
static void
say(struct answer *a, const struct overlay *from, const char *host, enum node_wish wish)
{
	struct overlay next = { 0 };

	*a = (struct answer){ 0 };
	overlay_copy(&next, from);
	next.version++;
	assert_true(overlay_set(&next, host, wish));
	store->write_nodes(store, "main", &next, on_nodes_written, a);
	assert_int_equal(a->calls, 0);
	overlay_free(&next);
}

static void
test_nodes_are_as_durable_as_flips(void **state)
{
	struct answer one, other;
	struct overlay none = { 0 };

	(void)state;
	nodes_told = 0;
	say(&one, &none, "10.0.0.1", NODE_DRAIN);
	say(&other, &none, "10.0.0.2", NODE_DRAIN);	/* did not know of the first */
	WAIT_UNTIL(loop, one.calls == 1 && other.calls == 1);
	assert_int_equal(one.e, OK);
	assert_int_equal(other.e, E_CONFLICT);
	assert_string_equal(asked, "frd");
	assert_int_equal(nodes_told, 1);
	assert_int_equal(nodes.version, 1);
	say(&one, &nodes, "10.0.0.2", NODE_READY);
	WAIT_UNTIL(loop, one.calls == 1);
	assert_int_equal(nodes.version, 2);
	overlay_free(&nodes);
	reopen_store();
	assert_int_equal(nodes.version, 2);
	assert_int_equal(nodes.n, 2);
	assert_int_equal(overlay_find(&nodes, "10.0.0.1")->wish, NODE_DRAIN);

	/* A disk that fails changes nothing, for those who built on it either. */
	fail_file_sync = true;
	say(&one, &nodes, "10.0.0.1", NODE_REMOVED);
	WAIT_UNTIL(loop, one.calls == 1);
	assert_int_equal(one.e, E_NOT_DURABLE);
	assert_int_equal(nodes.version, 2);
	fail_file_sync = false;
	say(&one, &nodes, "10.0.0.1", NODE_REMOVED);
	WAIT_UNTIL(loop, one.calls == 1);
	assert_int_equal(one.e, OK);
	flip(&one, "shop", BLUE, 1);
	assert_int_equal(one.e, OK);
	reopen_store();
	assert_int_equal(nodes.version, 3);
	assert_int_equal(overlay_find(&nodes, "10.0.0.1")->wish, NODE_REMOVED);
	assert_int_equal(shop.epoch, 2);
}

static void
test_services_come_go_and_come_back_with_their_epoch(void **state)
{
	struct service_config more[3] = { services[0], services[1], services[2] }, fewer[1] = { services[1] };
	struct config other = config;
	struct answer a;

	(void)state;
	flip(&a, "shop", BLUE, 1);
	told = 0;
	other.services = fewer;
	other.n_services = 1;
	store->reconfigure(store, &other);
	assert_int_equal(told, 0);	/* nothing of the one that stayed is new */
	more[0].initial = GREEN;
	other.services = more;
	other.n_services = 3;
	shop = api = (struct record){ 0 };
	n_asked = 0;
	store->reconfigure(store, &other);
	assert_int_equal(told, 2);
	assert_int_equal(shop.color, BLUE);
	assert_int_equal(shop.epoch, 2);
	assert_int_equal(api.color, BLUE);	/* the only other that was told: "late" */
	assert_int_equal(api.epoch, 1);
	/* The new one is written, without anybody waiting for it. */
	WAIT_UNTIL(loop, strcmp(asked, "frd") == 0 && jobs_pending(jobs) == 0);
	flip(&a, "late", GREEN, 1);
	assert_int_equal(a.e, OK);

	/* One whose colors went is told of once they are back. */
	told = 0;
	more[1].colorless = true;
	store->reconfigure(store, &other);
	assert_int_equal(told, 0);
	more[1].colorless = false;
	api = (struct record){ 0 };
	store->reconfigure(store, &other);
	assert_int_equal(told, 1);
	assert_int_equal(api.epoch, 1);

	/* By another name it is the same. */
	more[0].name = (char *)"store";
	more[0].rename = (char *)"shop";
	store->reconfigure(store, &other);
	flip(&a, "store", GREEN, 2);
	assert_int_equal(a.e, OK);
	more[0].name = (char *)"shop";
	more[0].rename = (char *)"store";
	store->reconfigure(store, &other);
	assert_int_equal(shop.epoch, 3);
	flip(&a, "shop", BLUE, 3);
	assert_int_equal(a.e, OK);
	config = other;
	reopen_store();
	assert_int_equal(api.epoch, 2);
	assert_int_equal(api.color, GREEN);
	assert_int_equal(shop.epoch, 4);
}

/* Both, by one question, with their answers. */
static void
flip_both(struct store_write w[2], struct answer a[2])
{
	void *args[2] = { &a[0], &a[1] };

	memset(a, 0, 2 * sizeof(*a));
	told = 0;
	store->write_all(store, w, 2, on_answer, args);
	assert_int_equal(a[0].calls + a[1].calls, 0);
	WAIT_UNTIL(loop, a[0].calls == 1 && a[1].calls == 1);
}

static void
test_several_are_written_as_one_or_not_at_all(void **state)
{
	struct store_write w[2];
	struct answer a[2];

	(void)state;
	w[0] = flip_of("shop", BLUE, 1, "both");
	w[1] = flip_of("api", GREEN, 1, "both");
	for (int i = 0; i < 2; i++) {
		strcpy(w[i].next.revision, "0123abcd");
		strcpy(w[i].entry.revision, "0123abcd");
	}
	/* One of another epoch. */
	w[1].expect_epoch = 7;
	flip_both(w, a);
	assert_int_equal(a[0].e, E_CONFLICT);
	assert_string_equal(a[0].why.text, "");
	assert_int_equal(a[1].e, E_CONFLICT);
	assert_non_null(strstr(a[1].why.text, "not at epoch 7"));
	assert_int_equal(told, 0);
	assert_int_equal(on_disk("shop").epoch, 1);

	/* The disk fails. */
	w[1].expect_epoch = 1;
	fail_file_sync = true;
	flip_both(w, a);
	assert_int_equal(a[0].e, E_NOT_DURABLE);
	assert_int_equal(a[1].e, E_NOT_DURABLE);
	assert_int_equal(shop.epoch + api.epoch, 2);
	fail_file_sync = false;

	/* Both records are told before the first answer, and one file has them. */
	n_asked = 0;
	flip_both(w, a);
	assert_int_equal(a[0].e, OK);
	assert_int_equal(a[0].told_then, 2);
	assert_string_equal(asked, "frd");
	assert_int_equal(shop.color, BLUE);
	assert_int_equal(api.color, GREEN);
	assert_string_equal(on_disk("shop").revision, "0123abcd");
	reopen_store();
	assert_string_equal(shop.revision, "0123abcd");
	assert_string_equal(api.revision, "0123abcd");

	/* One that is only compared stays what it is. */
	w[0] = flip_of("shop", GREEN, 2, "one");
	w[1] = (struct store_write){ .service = "api", .expect_epoch = 2, .next = api, .same = true };
	flip_both(w, a);
	assert_int_equal(a[0].e, OK);
	assert_int_equal(a[1].e, OK);
	assert_int_equal(told, 1);
	assert_int_equal(shop.epoch, 3);
	assert_int_equal(api.epoch, 2);
	w[0] = flip_of("shop", BLUE, 3, "one");
	w[1].expect_epoch = 1;
	flip_both(w, a);
	assert_int_equal(a[0].e, E_CONFLICT);
	assert_int_equal(shop.epoch, 3);
}

/* Of two at the same moment, over one service that both have, the first counts. */
static void
test_of_two_sets_that_meet_one_is_written(void **state)
{
	struct store_write first[2] = { flip_of("shop", BLUE, 1, "1"), flip_of("api", GREEN, 1, "1") };
	struct store_write second[2] = { flip_of("api", GREEN, 1, "2"), flip_of("shop", BLUE, 1, "2") };
	struct answer a[2] = { 0 }, b[2] = { 0 };
	void *a_args[] = { &a[0], &a[1] }, *b_args[] = { &b[0], &b[1] };

	(void)state;
	store->write_all(store, first, 2, on_answer, a_args);
	store->write_all(store, second, 2, on_answer, b_args);
	WAIT_UNTIL(loop, a[1].calls == 1 && b[1].calls == 1);
	assert_int_equal(a[0].e, OK);
	assert_int_equal(a[1].e, OK);
	assert_int_equal(b[0].e, E_CONFLICT);
	assert_int_equal(b[1].e, E_CONFLICT);
	assert_string_equal(shop.reason, "1");
	assert_string_equal(api.reason, "1");
}

int
main(void)
{
#define ON_EMPTY(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define ON_OPEN(test) cmocka_unit_test_setup_teardown(test, set_up_open, tear_down)
	const struct CMUnitTest tests[] = {
		ON_EMPTY(test_a_first_start_writes_the_initial_colors_down),
		ON_OPEN(test_a_claim_is_for_its_token),
		ON_OPEN(test_a_claim_whose_time_is_over_holds_nothing_up),
		ON_OPEN(test_a_hold_is_one_at_a_time),
		ON_OPEN(test_a_flip_survives_a_restart),
		ON_OPEN(test_a_flip_does_not_wipe_out_a_lock_it_has_not_seen),
		ON_OPEN(test_services_come_go_and_come_back_with_their_epoch),
		ON_OPEN(test_nothing_is_said_before_the_folder_is_synced),
		ON_OPEN(test_a_wrong_epoch_is_a_conflict_and_tells_the_present),
		ON_OPEN(test_what_must_not_be_written_is_refused),
		ON_OPEN(test_waiting_writes_take_their_turn_in_one_file),
		ON_OPEN(test_a_full_disk_changes_nothing_and_is_tried_again),
		ON_OPEN(test_a_failed_file_fails_all_who_built_on_it),
		ON_OPEN(test_a_failed_rename_changes_nothing),
		ON_OPEN(test_an_unsynced_folder_is_unknown_and_memory_follows_the_file),
		ON_OPEN(test_a_missing_folder_fails_writes_until_it_is_back),
		ON_OPEN(test_closing_finishes_what_waits),
		ON_OPEN(test_services_come_and_go_with_the_configuration),
		ON_OPEN(test_history_is_told_oldest_first_and_only_what_is_asked),
		ON_OPEN(test_a_note_reaches_the_disk_by_itself_once_a_second),
		ON_OPEN(test_a_note_during_a_write_is_not_lost),
		ON_OPEN(test_a_failed_flip_is_not_in_the_history),
		ON_OPEN(test_nodes_are_as_durable_as_flips),
		ON_OPEN(test_several_are_written_as_one_or_not_at_all),
		ON_OPEN(test_of_two_sets_that_meet_one_is_written),
	};

	log_set_level(LOG_ERROR_LEVEL + 1);
	return cmocka_run_group_tests_name("store_file", tests, NULL, NULL);
}
