/* test_snapshot.c - a snapshot lives as long as anybody holds it, and its
 * backends with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <string.h>

#include "model/snapshot.h"

static struct backend *
backend(enum color color, const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(text, 0, &a, NULL), OK);
	return backend_new(color, &a, &a);
}

static struct snapshot *
snapshot_of_one(struct backend *b)
{
	static const unsigned n[COLORS] = { 1, 0 };
	struct snapshot *s = snapshot_new(7, 42, BLUE, n);

	s->colors[GREEN].usable[0] = backend_ref(b);
	return s;
}

static void
test_a_backend_begins_unknown_and_says_its_address(void **state)
{
	struct backend *b = backend(BLUE, "[::1]:11080");

	(void)state;
	assert_string_equal(b->text, "[::1]:11080");
	assert_int_equal(b->color, BLUE);
	assert_int_equal(b->state, BACKEND_CHECKING);
	assert_string_equal(b->error, "");
	assert_int_equal(b->connections, 0);
	assert_true(b->since_us > 0);
	backend_unref(&b);
	assert_null(b);
	backend_unref(&b);	/* nobody: harmless */
}

static void
test_states_have_words(void **state)
{
	(void)state;
	assert_string_equal(backend_state_word(BACKEND_CHECKING), "checking");
	assert_string_equal(backend_state_word(BACKEND_UP), "up");
	assert_string_equal(backend_state_word(BACKEND_DOWN), "down");
}

static void
test_previews_get_the_other_color(void **state)
{
	static const unsigned n[COLORS] = { 0 };
	struct snapshot *s = snapshot_new(1, 1, BLUE, n);

	(void)state;
	assert_int_equal(snapshot_color(s, ENTRANCE_MAIN), BLUE);
	assert_int_equal(snapshot_color(s, ENTRANCE_PREVIEW), GREEN);
	snapshot_unref(&s);
}

static void
test_a_snapshot_keeps_its_backends(void **state)
{
	struct backend *b = backend(GREEN, "127.0.0.1:10080"), *kept = b;
	struct snapshot *s = snapshot_of_one(b), *other;

	(void)state;
	assert_int_equal(s->generation, 7);
	assert_int_equal(s->epoch, 42);
	assert_int_equal(s->active, BLUE);
	assert_int_equal(s->colors[BLUE].n, 0);
	backend_unref(&b);
	assert_int_equal(kept->refs, 1);	/* the snapshot's */
	other = snapshot_ref(s);
	snapshot_unref(&s);
	assert_null(s);
	assert_int_equal(kept->magic, BACKEND_MAGIC);
	assert_string_equal(other->colors[GREEN].usable[0]->text, "127.0.0.1:10080");
	backend_ref(kept);	/* a session's */
	snapshot_unref(&other);
	assert_int_equal(kept->refs, 1);
	backend_unref(&kept);
}

static void *
take_and_drop(void *arg)
{
	struct snapshot *s = arg;

	for (int i = 0; i < 20000; i++) {
		struct snapshot *mine = snapshot_ref(s);
		struct backend *b = backend_ref(mine->colors[GREEN].usable[0]);

		snapshot_unref(&mine);
		backend_unref(&b);
	}
	snapshot_unref(&s);
	return NULL;
}

static void
test_the_last_of_many_threads_frees_it(void **state)
{
	struct backend *b = backend(GREEN, "127.0.0.1:10080");
	struct snapshot *s = snapshot_of_one(b);
	pthread_t threads[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, take_and_drop, snapshot_ref(s)), 0);
	snapshot_unref(&s);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(b->refs, 1);	/* all of theirs came back */
	backend_unref(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_backend_begins_unknown_and_says_its_address),
		cmocka_unit_test(test_states_have_words),
		cmocka_unit_test(test_previews_get_the_other_color),
		cmocka_unit_test(test_a_snapshot_keeps_its_backends),
		cmocka_unit_test(test_the_last_of_many_threads_frees_it),
	};

	return cmocka_run_group_tests_name("snapshot", tests, NULL, NULL);
}
