/* test_turn.c - what is ready together is served first come, first served, and
 * what a callback stops is not called any more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "net/turn.h"

/* More than is noted at first (64). */
#define MANY 200

struct seat {
	ev_io watcher;
	int fds[2];
	unsigned number;
	struct stage *stage;
};

struct stage {
	struct ev_loop *loop;
	struct turn turn;
	ev_check always;	/* as a worker's, which reads the clock */
	struct seat seats[MANY];
	unsigned served[2 * MANY], n;
	int stops;	/* whoever is served first stops this seat; -1: none */
	int calls;	/* and makes this one ready once more */
};

static void
on_check(struct ev_loop *loop, ev_check *w, int revents)
{
	(void)loop;
	(void)w;
	(void)revents;
}

static void
on_ready(struct ev_loop *loop, ev_io *w, int revents)
{
	struct seat *s = container_of(w, struct seat, watcher);
	struct stage *g = s->stage;
	char byte;

	assert_true(revents & EV_READ);
	assert_true(ev_is_active(w));
	if (read(s->fds[0], &byte, 1) == 1)
		g->served[g->n++] = s->number;
	if (g->stops >= 0 && g->n == 1)
		ev_io_stop(loop, &g->seats[g->stops].watcher);
	if (g->calls >= 0 && g->n == 1)
		assert_int_equal(write(g->seats[g->calls].fds[1], "x", 1), 1);
}

static int
setup(void **state)
{
	struct stage *g = calloc(1, sizeof(*g));

	g->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	g->stops = g->calls = -1;
	turn_init(&g->turn, g->loop);
	ev_check_init(&g->always, on_check);
	ev_set_priority(&g->always, EV_MAXPRI);
	ev_check_start(g->loop, &g->always);
	for (unsigned i = 0; i < MANY; i++) {
		struct seat *s = &g->seats[i];

		s->number = i;
		s->stage = g;
		assert_int_equal(pipe(s->fds), 0);
		turn_io_init(&s->watcher, on_ready, s->fds[0], EV_READ);
		ev_io_start(g->loop, &s->watcher);
	}
	ev_run(g->loop, EVRUN_NOWAIT);	/* tells the kernel of all of them */
	*state = g;
	return 0;
}

static int
teardown(void **state)
{
	struct stage *g = *state;

	for (unsigned i = 0; i < MANY; i++) {
		close(g->seats[i].fds[0]);
		close(g->seats[i].fds[1]);
	}
	ev_loop_destroy(g->loop);
	turn_free(&g->turn);
	free(g);
	return 0;
}

static void
run(struct stage *g)
{
	/* libev asks the kernel for 64 events at first, and for more when there were so many. */
	for (int i = 0; i < MANY; i++)
		ev_run(g->loop, EVRUN_NOWAIT);
}

/* The order in which they become ready is not that of their descriptors. */
static unsigned
shuffled(unsigned i)
{
	return i * 77 % MANY;
}

static void
test_first_come_first_served(void **state)
{
	struct stage *g = *state;

	for (unsigned some = 1; some <= MANY; some += some < 5 ? 1 : 65) {
		g->n = 0;
		for (unsigned i = 0; i < some; i++)
			assert_int_equal(write(g->seats[shuffled(i)].fds[1], "x", 1), 1);
		run(g);
		assert_int_equal(g->n, some);
		for (unsigned i = 0; i < some; i++)
			assert_int_equal(g->served[i], shuffled(i));
	}
}

static void
test_one_that_is_stopped_is_not_called(void **state)
{
	struct stage *g = *state;

	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(write(g->seats[i].fds[1], "x", 1), 1);
	g->stops = 4;
	run(g);
	assert_int_equal(g->n, 9);
	for (unsigned i = 0; i < 9; i++)
		assert_int_equal(g->served[i], i < 4 ? i : i + 1);
	g->stops = -1;
	ev_io_start(g->loop, &g->seats[4].watcher);
	run(g);
	assert_int_equal(g->n, 10);
	assert_int_equal(g->served[9], 4);
}

static void
test_one_that_is_ready_again_waits_for_the_others(void **state)
{
	struct stage *g = *state;

	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(write(g->seats[i].fds[1], "x", 1), 1);
	g->calls = 0;
	run(g);
	assert_int_equal(g->n, 11);
	for (unsigned i = 0; i < 11; i++)
		assert_int_equal(g->served[i], i % 10);
}

static void
test_in_another_loop_it_is_a_watcher_like_any_other(void **state)
{
	struct ev_loop *loop = ev_loop_new(EVFLAG_NOENV);
	struct stage *g = *state;
	struct seat *s = &g->seats[0];

	ev_io_stop(g->loop, &s->watcher);
	turn_io_init(&s->watcher, on_ready, s->fds[0], EV_READ);
	ev_io_start(loop, &s->watcher);
	assert_int_equal(write(s->fds[1], "x", 1), 1);
	ev_run(loop, EVRUN_NOWAIT);
	assert_int_equal(g->n, 1);
	ev_io_stop(loop, &s->watcher);
	ev_loop_destroy(loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_first_come_first_served, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_that_is_stopped_is_not_called, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_that_is_ready_again_waits_for_the_others, setup, teardown),
		cmocka_unit_test_setup_teardown(test_in_another_loop_it_is_a_watcher_like_any_other, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
