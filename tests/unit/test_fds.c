/* test_fds.c - descriptors in messages. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "base/fds.h"

static int pair[2];

static ssize_t
give(const char *text, const int *fds, unsigned n)
{
	struct iovec iov = { (void *)(uintptr_t)text, strlen(text) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	return fds_send(pair[0], &m, fds, n, MSG_DONTWAIT);
}

static ssize_t
take(char text[16], int fds[FDS_MAX], unsigned *n)
{
	struct iovec iov = { text, 15 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t got = fds_receive(pair[1], &m, fds, n);

	text[got > 0 ? got : 0] = '\0';
	return got;
}

static void
open_pair(void)
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
}

static void
close_pair(void)
{
	close(pair[0]);
	close(pair[1]);
}

static void
test_as_many_as_a_message_takes(void **state)
{
	int mine[FDS_MAX], theirs[FDS_MAX];
	struct stat a, b;
	char text[16];
	unsigned n;

	(void)state;
	open_pair();
	for (unsigned i = 0; i < FDS_MAX; i++)
		mine[i] = pair[0];
	assert_int_equal(give("many", mine, FDS_MAX), 4);
	assert_int_equal(give("none", NULL, 0), 4);
	assert_int_equal(take(text, theirs, &n), 4);
	assert_string_equal(text, "many");
	assert_int_equal(n, FDS_MAX);
	assert_int_equal(fstat(pair[0], &a), 0);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(fstat(theirs[i], &b), 0);
		assert_int_equal(a.st_ino, b.st_ino);
		assert_int_equal(fcntl(theirs[i], F_GETFD), FD_CLOEXEC);
	}
	fds_close(theirs, n);
	assert_int_equal(take(text, theirs, &n), 4);
	assert_string_equal(text, "none");
	assert_int_equal(n, 0);
	assert_int_equal(take(text, theirs, &n), -1);
	assert_int_equal(errno, EAGAIN);
	close_pair();
}

/* The kernel tells first that a peer did not read all. */
static void
test_what_one_said_before_it_went_is_read(void **state)
{
	int fds[FDS_MAX];
	char text[16];
	unsigned n;

	(void)state;
	open_pair();
	assert_int_equal(send(pair[1], "unread", 6, 0), 6);
	assert_int_equal(give("last", pair, 1), 4);
	close(pair[0]);
	assert_int_equal(take(text, fds, &n), 4);
	assert_string_equal(text, "last");
	assert_int_equal(n, 1);
	fds_close(fds, n);
	assert_int_equal(take(text, fds, &n), 0);
	close(pair[1]);
}

static void
test_a_peer_that_went_is_an_error_not_a_signal(void **state)
{
	(void)state;
	open_pair();
	close(pair[1]);
	assert_int_equal(give("late", NULL, 0), -1);
	assert_int_equal(errno, EPIPE);
	close(pair[0]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_as_many_as_a_message_takes),
		cmocka_unit_test(test_what_one_said_before_it_went_is_read),
		cmocka_unit_test(test_a_peer_that_went_is_an_error_not_a_signal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
