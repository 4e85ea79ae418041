/* test_slice.c - short slices: asked for by normal threads, of which nothing
 * else changes, and by no others. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/slice.h"

/* As sched_setattr(2) has it; the C library's headers and the kernel's do not go
 * together. */
struct attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

struct seen {
	uint32_t policy;	/* to be had before */
	struct attr before, after;
};

static void *
thread(void *arg)
{
	struct seen *s = arg;
	struct attr a = { .size = sizeof(a), .policy = s->policy, .nice = 3 };

	assert_int_equal(syscall(SYS_sched_setattr, 0, &a, 0), 0);
	assert_int_equal(syscall(SYS_sched_getattr, 0, &s->before, sizeof(s->before), 0), 0);
	slice_shorten();
	assert_int_equal(syscall(SYS_sched_getattr, 0, &s->after, sizeof(s->after), 0), 0);
	return NULL;
}

static struct seen
tried(uint32_t policy)
{
	struct seen s = { .policy = policy };
	pthread_t id;

	assert_int_equal(pthread_create(&id, NULL, thread, &s), 0);
	assert_int_equal(pthread_join(id, NULL), 0);
	assert_int_equal(s.after.policy, policy);
	assert_int_equal(s.after.nice, 3);
	return s;
}

static void
a_normal_thread_has_a_shorter_slice(void **state)
{
	struct seen s = tried(SCHED_OTHER);

	(void)state;
	/* Kernels without slices of a thread's own report 0. */
	if (s.before.runtime == 0)
		skip();
	assert_true(s.after.runtime < s.before.runtime);
}

static void
one_that_was_given_another_policy_keeps_it(void **state)
{
	struct seen s = tried(SCHED_BATCH);

	(void)state;
	assert_int_equal(s.after.runtime, s.before.runtime);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_normal_thread_has_a_shorter_slice),
		cmocka_unit_test(one_that_was_given_another_policy_keeps_it),
	};

	return cmocka_run_group_tests_name("slice", tests, NULL, NULL);
}
