/* test_acceptor.c - accepting: in batches, paused and resumed, without places
 * and without descriptors. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "base/check.h"
#include "net/acceptor.h"
#include "net/listening.h"

#define CLIENTS 20
#define BATCH 4

struct stage {
	struct acceptor acceptor;
	struct listening listening;
	struct addr at;
	struct ev_loop *loop;
	int clients[CLIENTS], taken[CLIENTS];
	unsigned n_clients, n_taken, places;
	unsigned in_turn, most_in_turn, turn;
	unsigned found_empty;
	int failed, spare;	/* errno of the last failure; a descriptor to be given up */
};

static bool
has_place(struct acceptor *a)
{
	return container_of(a, struct stage, acceptor)->places > 0;
}

static void
take(struct acceptor *a, int fd, const struct addr *peer)
{
	struct stage *s = container_of(a, struct stage, acceptor);
	unsigned turn = ev_iteration(s->loop);

	assert_int_equal(addr_family(peer), AF_INET);
	s->places--;
	s->taken[s->n_taken++] = fd;
	s->in_turn = turn == s->turn ? s->in_turn + 1 : 1;
	s->turn = turn;
	if (s->in_turn > s->most_in_turn)
		s->most_in_turn = s->in_turn;
}

static bool
none(struct acceptor *a, int e)
{
	struct stage *s = container_of(a, struct stage, acceptor);

	s->found_empty += e == 0;
	if (e == 0)
		return false;
	s->failed = e;
	if (s->spare >= 0) {
		close(s->spare);
		s->spare = -1;
		return true;
	}
	acceptor_pause(a, 0.01);
	return false;
}

static const struct acceptor_calls calls = { 1, BATCH, has_place, take, none };

static int
set_up(void **state)
{
	static const struct listening_terms terms = {
		.backlog = CLIENTS, .mode = 0666, .uid = (uid_t)-1, .gid = (gid_t)-1
	};
	struct stage *s = must_alloc(sizeof(*s));
	struct addr any;
	struct why why;

	s->places = CLIENTS;
	s->spare = -1;
	s->loop = ev_loop_new(EVFLAG_NOENV);
	assert_int_equal(addr_parse("127.0.0.1:0", ADDR_PORT_0, &any, &why), OK);
	assert_int_equal(listening_open(&s->listening, &any, &terms, 1, &why), OK);
	s->at.len = sizeof(s->at.u);
	assert_int_equal(getsockname(s->listening.fds[0], &s->at.u.sa, &s->at.len), 0);
	acceptor_init(&s->acceptor, s->loop, s->listening.fds[0], &calls);
	*state = s;
	return 0;
}

static int
tear_down(void **state)
{
	struct stage *s = *state;

	acceptor_close(&s->acceptor);
	acceptor_close(&s->acceptor);
	listening_close(&s->listening);
	for (unsigned i = 0; i < s->n_clients; i++)
		close(s->clients[i]);
	for (unsigned i = 0; i < s->n_taken; i++)
		close(s->taken[i]);
	ev_loop_destroy(s->loop);
	free(s);
	return 0;
}

static void
dial(struct stage *s, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		assert_int_equal(connect(fd, &s->at.u.sa, s->at.len), 0);
		s->clients[s->n_clients++] = fd;
	}
}

static void
turns_until(struct stage *s, unsigned taken)
{
	while (s->n_taken < taken)
		ev_run(s->loop, EVRUN_ONCE);
}

static void
test_all_are_taken_in_bounded_batches(void **state)
{
	struct stage *s = *state;

	dial(s, CLIENTS);
	ev_run(s->loop, EVRUN_NOWAIT);
	assert_int_equal(s->n_taken, 0);	/* not resumed yet */
	acceptor_resume(&s->acceptor);
	turns_until(s, CLIENTS);
	assert_in_range(s->most_in_turn, 2, BATCH);
	assert_true(acceptor_is_open(&s->acceptor));
}

static void
test_paused_they_wait_in_the_kernel(void **state)
{
	struct stage *s = *state;

	acceptor_resume(&s->acceptor);
	dial(s, 1);
	turns_until(s, 1);
	acceptor_pause(&s->acceptor, 0);
	dial(s, 2);
	for (int i = 0; i < 10; i++)
		ev_run(s->loop, EVRUN_NOWAIT);
	assert_int_equal(s->n_taken, 1);
	/* For a while only, too: it resumes by itself. */
	acceptor_pause(&s->acceptor, 0.001);
	turns_until(s, 3);
}

static void
test_without_a_place_nothing_is_accepted(void **state)
{
	struct stage *s = *state;

	s->places = 2;
	dial(s, 3);
	acceptor_resume(&s->acceptor);
	turns_until(s, 2);
	for (int i = 0; i < 10; i++)
		ev_run(s->loop, EVRUN_NOWAIT);
	assert_int_equal(s->n_taken, 2);
	s->places = 1;
	turns_until(s, 3);
}

static void
test_a_descriptor_given_up_is_used_at_once_and_then_it_pauses(void **state)
{
	struct stage *s = *state;
	struct rlimit limit, none_left;

	dial(s, 2);
	s->spare = dup(0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none_left = limit;
	none_left.rlim_cur = (rlim_t)s->spare + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none_left), 0);
	acceptor_resume(&s->acceptor);
	while (!ev_is_active(&s->acceptor.pause))
		ev_run(s->loop, EVRUN_ONCE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(s->n_taken, 1);
	assert_int_equal(s->spare, -1);
	assert_int_equal(s->failed, EMFILE);
	turns_until(s, 2);
}

static void
test_the_end_takes_what_is_queued_and_no_more(void **state)
{
	struct stage *s = *state;

	dial(s, 5);
	acceptor_take_queued(&s->acceptor, 3);
	assert_int_equal(s->n_taken, 3);
	acceptor_take_queued(&s->acceptor, CLIENTS);
	assert_int_equal(s->n_taken, 5);
	assert_int_equal(s->found_empty, 1);
	acceptor_close(&s->acceptor);
	assert_false(acceptor_is_open(&s->acceptor));
	acceptor_resume(&s->acceptor);	/* harmless */
	ev_run(s->loop, EVRUN_NOWAIT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_all_are_taken_in_bounded_batches, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_paused_they_wait_in_the_kernel, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_without_a_place_nothing_is_accepted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_descriptor_given_up_is_used_at_once_and_then_it_pauses, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_the_end_takes_what_is_queued_and_no_more, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
