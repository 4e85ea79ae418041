/* test_flip_group.c - two services flipped as one: what is asked of the store, and what is told of both, whatever it
 * answers, and whoever leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "world.h"

#include "base/log.h"
#include "control/flip_group.h"

/* The one question that the store was asked, kept until the test answers it. */
static struct {
	struct store_write w[FLIP_GROUP_MAX];
	void *args[FLIP_GROUP_MAX];
	store_done_fn *done;
	size_t n;
} asked;

static void
fake_write_all(struct store *s, const struct store_write *w, size_t n, store_done_fn *done, void *const *args)
{
	(void)s;
	assert_int_equal(asked.n, 0);
	memcpy(asked.w, w, n * sizeof(*w));
	memcpy(asked.args, args, n * sizeof(*args));
	asked.done = done;
	asked.n = n;
}

/* e[i]: of the i-th; a conflict of another's has no sentence. */
static void
answer_store(struct world *w, const enum err e[2], bool blames_first)
{
	static const struct why mine = { "it is another one" }, others = { "" };
	size_t n = asked.n;

	asked.n = 0;
	for (size_t i = 0; i < n; i++)
		if (e[i] == OK && !asked.w[i].same) {
			w->records[world_index(asked.w[i].service)] = asked.w[i].next;
			w->store.on_record(w->store.arg, asked.w[i].service, &asked.w[i].next);
		}
	for (size_t i = 0; i < n; i++)
		asked.done(asked.args[i], e[i], &w->records[world_index(asked.w[i].service)],
			   i == 0 && blames_first ? &mine : &others);
}

static struct {
	struct flip_watcher watcher;
	char events[256];
	unsigned ends;
	enum err error;
	enum changed changed;
	char message[2048];
} told;

static void
told_progress(struct flip_watcher *w, const struct flip_event *e)
{
	static const char *const words[] = { "checked ", "committed ", "applied ", "draining ", "drained " };

	(void)w;
	assert_true((e->group == NULL) == (e->kind == FLIP_EVENT_CHECKED));
	strcat(told.events, words[e->kind]);
}

static void
told_done(struct flip_watcher *w, const struct flip_outcome *o)
{
	(void)w;
	assert_non_null(o->group);
	told.ends++;
	told.error = o->error;
	told.changed = o->changed;
	str_copy(told.message, sizeof(told.message), str_from(o->message != NULL ? o->message : ""));
}

static void
begin_both(struct world *w, enum color to)
{
	const struct flip_target targets[] = { { .ctl = w->running[0]->ctl, .to = to },
					       { .ctl = w->running[1]->ctl, .to = to } };
	const struct flip_request q = {
		.kind = CHANGE_FLIP, .timeout = 0, .has_timeout = true, .by.user = "ci"
	};

	memset(&told, 0, sizeof(told));
	told.watcher = (struct flip_watcher){ .progress = told_progress, .done = told_done };
	w->store.write_all = fake_write_all;
	flip_group_start(&w->control, targets, 2, &q, &told.watcher);
}

static void
what_is_so_of_both_is_told_once(void **state)
{
	struct world *w = world_new();

	(void)state;
	begin_both(w, BLUE);
	WAIT_UNTIL(w->loop, asked.n == 2);
	assert_string_equal(told.events, "checked checked ");
	assert_string_equal(asked.w[0].next.revision, asked.w[1].next.revision);
	assert_string_not_equal(asked.w[0].next.revision, "");
	answer_store(w, (const enum err[]){ OK, OK }, false);
	WAIT_UNTIL(w->loop, told.ends == 1);
	assert_string_equal(told.events, "checked checked committed applied ");
	assert_int_equal(told.error, OK);
	assert_int_equal(told.changed, CHANGED_YES);

	/* There already: the store is asked nothing. */
	begin_both(w, BLUE);
	WAIT_UNTIL(w->loop, told.ends == 1);
	assert_int_equal(told.changed, CHANGED_NO);
	world_free(w);
}

static void
a_store_that_refuses_changes_neither(void **state)
{
	struct world *w = world_new();

	(void)state;
	begin_both(w, BLUE);
	WAIT_UNTIL(w->loop, asked.n == 2);
	answer_store(w, (const enum err[]){ E_CONFLICT, E_CONFLICT }, true);
	assert_int_equal(told.ends, 1);
	assert_int_equal(told.error, E_CONFLICT);
	assert_int_equal(told.changed, CHANGED_NO);
	/* Only the one that was another's is named. */
	assert_non_null(strstr(told.message, "shop: another command changed it first"));
	assert_null(strstr(told.message, "pay"));

	begin_both(w, BLUE);
	WAIT_UNTIL(w->loop, asked.n == 2);
	answer_store(w, (const enum err[]){ E_UNKNOWN, E_UNKNOWN }, true);
	assert_int_equal(told.ends, 1);
	assert_int_equal(told.error, E_UNKNOWN);
	assert_int_equal(told.changed, CHANGED_UNKNOWN);
	assert_string_equal(told.events, "checked checked ");
	world_free(w);
}

static void
whoever_leaves_is_told_nothing_and_it_goes_on(void **state)
{
	struct world *w = world_new();

	(void)state;
	begin_both(w, BLUE);
	WAIT_UNTIL(w->loop, asked.n == 2);
	flip_unwatch(&told.watcher);
	answer_store(w, (const enum err[]){ OK, OK }, false);
	WAIT_UNTIL(w->loop, w->running[0]->applied_epoch == 2 && w->running[1]->applied_epoch == 2);
	assert_int_equal(told.ends, 0);

	/* A service that goes while the gates are asked: neither is changed. */
	begin_both(w, GREEN);
	world_remove(w, 1);
	WAIT_UNTIL(w->loop, told.ends == 1);
	assert_int_equal(told.changed, CHANGED_NO);
	assert_int_equal(asked.n, 0);
	assert_int_equal(w->running[0]->record.color, BLUE);
	world_add(w, 1);

	/* And while the store is asked: that is not known to be undone. */
	begin_both(w, GREEN);
	WAIT_UNTIL(w->loop, asked.n == 2);
	world_remove(w, 1);
	assert_int_equal(told.ends, 0);
	asked.n = 1;	/* of the other one */
	answer_store(w, (const enum err[]){ OK, OK }, false);
	WAIT_UNTIL(w->loop, told.ends == 1);
	assert_int_equal(told.error, E_UNKNOWN_SERVICE);
	assert_int_equal(told.changed, CHANGED_UNKNOWN);
	asked.done(asked.args[1], E_STORE, NULL, &(struct why){ "gone" });
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_so_of_both_is_told_once),
		cmocka_unit_test(a_store_that_refuses_changes_neither),
		cmocka_unit_test(whoever_leaves_is_told_nothing_and_it_goes_on),
	};

	log_set_level(LOG_ERROR_LEVEL + 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
