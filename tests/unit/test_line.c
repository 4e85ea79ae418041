/* test_line.c - messages between two processes: their order, their descriptors, and what happens
 * when the other side does not read, or ends. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "base/check.h"
#include "base/tlv.h"
#include "net/line.h"

#define MANY 500

static const char filling[4000];

struct end {
	struct peer_line line;
	unsigned n, fds, bytes;
	uint16_t last;
	bool ended, wrong;
	int kept;	/* a descriptor that came */
};

static struct ev_loop *loop;
static struct end a, b;

static void
on_message(struct peer_line *l, uint16_t type, struct str row, int *fds, unsigned n, bool cut)
{
	struct end *e = l->arg;
	struct tlv t;
	uint64_t number;

	e->wrong |= cut || (e->n > 0 && type != e->last + 1);
	e->last = type;
	e->n++;
	e->fds += n;
	if (row.n > 0)
		e->wrong |= !tlv_next(&row, &t) || !tlv_as_u64(&t, &number) || number != type;
	if (n > 0 && e->kept < 0) {
		e->kept = fds[0];
		fds[0] = -1;
	}
}

static void
on_end(struct peer_line *l)
{
	struct end *e = l->arg;

	e->ended = true;
}

static const struct line_calls calls = { on_message, on_end };

static int
set_up(void **state)
{
	int pair[2];

	(void)state;
	loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	a = b = (struct end){ .kept = -1 };
	line_open(&a.line, loop, pair[0], &calls, &a);
	line_open(&b.line, loop, pair[1], &calls, &b);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	line_close(&a.line);
	line_close(&b.line);
	if (b.kept >= 0)
		close(b.kept);
	ev_loop_destroy(loop);
	return 0;
}

static void
test_order_and_descriptors(void **state)
{
	int pipes[2];
	char byte = 0;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	/* More than a socket holds: the rest waits. */
	for (unsigned i = 1; i <= MANY; i++) {
		int fd = dup(pipes[0]);
		struct buf row;

		buf_init(&row, LINE_ROW_MAX);
		tlv_u64(&row, 1, i);
		tlv_bytes(&row, 2, filling, sizeof(filling));
		assert_true(line_send(&a.line, (uint16_t)i, &row, &fd, 1));
		buf_free(&row);
	}
	assert_false(line_is_flushed(&a.line));
	close(pipes[0]);
	while (b.n < MANY)
		ev_run(loop, EVRUN_ONCE);
	assert_false(b.wrong);
	assert_true(line_is_flushed(&a.line));
	assert_int_equal(b.fds, MANY);
	/* It is the one that was sent, and all the others are closed. */
	assert_int_equal(write(pipes[1], "x", 1), 1);
	assert_int_equal(read(b.kept, &byte, 1), 1);
	assert_int_equal(byte, 'x');
	close(b.kept);
	b.kept = -1;
	assert_int_equal(write(pipes[1], "x", 1), -1);
	close(pipes[1]);
}

static void
test_what_was_said_before_the_end_is_read(void **state)
{
	(void)state;
	for (uint16_t i = 1; i <= 100; i++)
		assert_true(line_send(&a.line, i, NULL, NULL, 0));
	line_close(&a.line);
	while (!b.ended)
		ev_run(loop, EVRUN_ONCE);
	assert_int_equal(b.n, 100);
	assert_false(b.wrong);
	assert_false(line_is_open(&b.line));
	assert_false(line_send(&b.line, 1, NULL, NULL, 0));
}

static void
test_what_is_too_long_is_refused(void **state)
{
	struct buf row;

	(void)state;
	buf_init(&row, 4 * LINE_ROW_MAX);
	assert_non_null(buf_reserve(&row, LINE_ROW_MAX + 1));
	memset(row.data, 0, LINE_ROW_MAX + 1);
	buf_commit(&row, LINE_ROW_MAX + 1);
	assert_false(line_send(&a.line, 1, &row, NULL, 0));
	buf_truncate(&row, LINE_ROW_MAX);
	/* The greatest that is allowed goes over. */
	assert_true(line_send(&a.line, 1, &row, NULL, 0));
	while (b.n < 1)
		ev_run(loop, EVRUN_ONCE);
	buf_free(&row);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order_and_descriptors, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_was_said_before_the_end_is_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_too_long_is_refused, set_up, tear_down),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
