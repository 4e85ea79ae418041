/* test_thread.c - a thread begins without signals and with a name, and the one
 * that starts it stays as it was. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/thread.h"

struct seen {
	sigset_t mask;
	char name[16];
};

static void *
look(void *arg)
{
	struct seen *s = arg;

	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &s->mask), 0);
	assert_int_equal(pthread_getname_np(pthread_self(), s->name, sizeof(s->name)), 0);
	return s;
}

static void
it_takes_no_signal_and_has_its_name(void **state)
{
	struct seen s;
	pthread_t id;
	void *end;

	(void)state;
	assert_int_equal(thread_start(&id, "fifteen-letters", look, &s), 0);
	assert_int_equal(pthread_join(id, &end), 0);
	assert_ptr_equal(end, &s);
	assert_string_equal(s.name, "fifteen-letters");
	assert_int_equal(sigismember(&s.mask, SIGTERM), 1);
	assert_int_equal(sigismember(&s.mask, SIGPIPE), 1);
	assert_int_equal(sigismember(&s.mask, SIGRTMAX), 1);
}

static void
the_starter_keeps_its_signals(void **state)
{
	struct seen s;
	sigset_t mine, after;
	pthread_t id;

	(void)state;
	sigemptyset(&mine);
	sigaddset(&mine, SIGUSR2);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, &mine, NULL), 0);
	assert_int_equal(thread_start(&id, "short", look, &s), 0);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
	assert_int_equal(pthread_join(id, NULL), 0);
	for (int n = 1; n < SIGRTMIN; n++)
		assert_int_equal(sigismember(&after, n), n == SIGUSR2);
	sigemptyset(&mine);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, &mine, NULL), 0);
}

static void
name_one_too_long(void)
{
	struct rlimit none = { 0 };
	pthread_t id;

	/* cmocka's handler would call it a failed test. */
	signal(SIGABRT, SIG_DFL);
	setrlimit(RLIMIT_CORE, &none);
	dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
	if (thread_start(&id, "sixteen--letters", look, NULL) == 0)
		_exit(0);
}

static void
a_name_that_does_not_fit_is_a_mistake_of_the_program(void **state)
{
	int status;
	pid_t child = fork();

	(void)state;
	if (child == 0) {
		name_one_too_long();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_takes_no_signal_and_has_its_name),
		cmocka_unit_test(the_starter_keeps_its_signals),
		cmocka_unit_test(a_name_that_does_not_fit_is_a_mistake_of_the_program),
	};

	return cmocka_run_group_tests_name("thread", tests, NULL, NULL);
}
