/* test_jobs.c - helper threads: work elsewhere, answers at home, nothing lost
 * when it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "base/check.h"
#include "net/jobs.h"
#include "wait.h"

struct task {
	struct job job;
	/* What work() is to do. */
	pthread_barrier_t *meet;	/* wait here, if any */
	struct jobs *follow;	/* done() adds this task again, once */
	/* What was seen. */
	unsigned number, *counter, order;	/* order: counter when done */
	pthread_t worked_on, done_on;
	bool signals_open;
	unsigned works, dones;
};

static void
task_work(struct job *j)
{
	struct task *t = container_of(j, struct task, job);
	sigset_t mask;

	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	t->signals_open = !sigismember(&mask, SIGTERM) || !sigismember(&mask, SIGCHLD);
	t->worked_on = pthread_self();
	t->works++;
	if (t->meet != NULL)
		pthread_barrier_wait(t->meet);
}

static void
task_done(struct job *j)
{
	struct task *t = container_of(j, struct task, job);
	struct jobs *follow = t->follow;

	t->done_on = pthread_self();
	t->dones++;
	if (t->counter != NULL)
		t->order = (*t->counter)++;
	t->follow = NULL;
	if (follow != NULL)
		jobs_add(follow, &t->job);
}

static struct task
task(void)
{
	return (struct task){ .job = { .work = task_work, .done = task_done } };
}

static void
test_work_happens_elsewhere_and_the_answer_at_home(void **state)
{
	struct ev_loop *loop = ev_loop_new(0);
	struct jobs *jobs = jobs_new(loop, 1);
	struct task t = task();

	(void)state;
	assert_ptr_equal(jobs_loop(jobs), loop);
	jobs_add(jobs, &t.job);
	assert_int_equal(jobs_pending(jobs), 1);
	assert_int_equal(t.dones, 0);
	WAIT_UNTIL(loop, t.dones == 1);
	assert_int_equal(t.works, 1);
	assert_int_equal(jobs_pending(jobs), 0);
	assert_false(pthread_equal(t.worked_on, pthread_self()));
	assert_true(pthread_equal(t.done_on, pthread_self()));
	assert_false(t.signals_open);
	jobs_free(&jobs);
	assert_null(jobs);
	ev_loop_destroy(loop);
}

static void
test_one_thread_keeps_the_order(void **state)
{
	enum { N = 500 };
	struct ev_loop *loop = ev_loop_new(0);
	struct jobs *jobs = jobs_new(loop, 1);
	static struct task tasks[N];
	unsigned counter = 0;

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		tasks[i] = task();
		tasks[i].counter = &counter;
		jobs_add(jobs, &tasks[i].job);
	}
	WAIT_UNTIL(loop, counter == N);
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(tasks[i].order, i);
	jobs_free(&jobs);
	ev_loop_destroy(loop);
}

/* Were adding to wait for the worker, or two threads to work one after the
 * other, nobody would ever meet. */
static void
test_adding_never_waits_and_threads_work_side_by_side(void **state)
{
	struct ev_loop *loop = ev_loop_new(0);
	struct jobs *jobs = jobs_new(loop, 2);
	struct task a = task(), b = task(), c = task();
	pthread_barrier_t meet;

	(void)state;
	pthread_barrier_init(&meet, NULL, 3);
	a.meet = b.meet = &meet;
	jobs_add(jobs, &a.job);
	jobs_add(jobs, &b.job);
	jobs_add(jobs, &c.job);
	assert_int_equal(jobs_pending(jobs), 3);
	pthread_barrier_wait(&meet);
	WAIT_UNTIL(loop, a.dones + b.dones + c.dones == 3);
	assert_false(pthread_equal(a.worked_on, b.worked_on));
	jobs_free(&jobs);
	pthread_barrier_destroy(&meet);
	ev_loop_destroy(loop);
}

static void
test_waiting_includes_what_an_answer_adds(void **state)
{
	struct ev_loop *loop = ev_loop_new(0);
	struct jobs *jobs = jobs_new(loop, 1);
	struct task t = task();

	(void)state;
	t.follow = jobs;
	jobs_add(jobs, &t.job);
	jobs_wait(jobs);	/* the loop does not run */
	assert_int_equal(t.works, 2);
	assert_int_equal(t.dones, 2);
	jobs_wait(jobs);	/* nothing left: returns at once */
	jobs_free(&jobs);
	ev_loop_destroy(loop);
}

static void
test_freeing_answers_what_was_given(void **state)
{
	enum { N = 100 };
	struct ev_loop *loop = ev_loop_new(0);
	struct jobs *jobs = jobs_new(loop, 3);
	static struct task tasks[N];
	unsigned counter = 0;

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		tasks[i] = task();
		tasks[i].counter = &counter;
		tasks[i].follow = i % 10 == 0 ? jobs : NULL;
		jobs_add(jobs, &tasks[i].job);
	}
	jobs_free(&jobs);
	assert_int_equal(counter, N + N / 10);
	ev_loop_destroy(loop);
}

static void
test_what_hangs_is_left_behind(void **state)
{
	struct ev_loop *loop = ev_loop_new(0);
	struct jobs *jobs = jobs_new(loop, 2);
	static pthread_barrier_t meet;
	static struct task hanging, well;

	(void)state;
	pthread_barrier_init(&meet, NULL, 2);
	hanging = task();
	hanging.meet = &meet;
	well = task();
	jobs_add(jobs, &hanging.job);
	jobs_add(jobs, &well.job);
	jobs_leave(&jobs, 0.3);
	assert_null(jobs);
	assert_int_equal(well.dones, 1);
	assert_int_equal(hanging.dones, 0);
	ev_loop_destroy(loop);
	/* It ends, and nobody is there any more: nothing is written to. */
	pthread_barrier_wait(&meet);
	assert_int_equal(hanging.dones, 0);
}

static void
test_what_hangs_holds_up_nobody_else(void **state)
{
	enum { HANGING = 5 };
	struct ev_loop *loop = ev_loop_new(0);
	struct jobs *jobs = jobs_new_growing(loop, 1, HANGING + 1);
	static pthread_barrier_t meet;
	struct task hanging[HANGING], well[3];

	(void)state;
	pthread_barrier_init(&meet, NULL, HANGING + 1);
	for (int i = 0; i < HANGING; i++) {
		hanging[i] = task();
		hanging[i].meet = &meet;
		jobs_add(jobs, &hanging[i].job);
	}
	for (int i = 0; i < 3; i++) {
		well[i] = task();
		jobs_add(jobs, &well[i].job);
	}
	while (well[0].dones + well[1].dones + well[2].dones < 3)
		ev_run(loop, EVRUN_ONCE);
	for (int i = 0; i < HANGING; i++)
		assert_int_equal(hanging[i].dones, 0);
	pthread_barrier_wait(&meet);
	jobs_free(&jobs);
	for (int i = 0; i < HANGING; i++)
		assert_int_equal(hanging[i].dones, 1);
	pthread_barrier_destroy(&meet);
	ev_loop_destroy(loop);
}

/* Each thread has a heap of its own: what waits a moment shares one. */
static void
test_what_is_added_behind_starts_no_thread(void **state)
{
	struct ev_loop *loop = ev_loop_new(0);
	struct jobs *jobs = jobs_new_growing(loop, 1, 3);
	static pthread_barrier_t meet;
	struct task first = task(), behind = task(), other = task();

	(void)state;
	pthread_barrier_init(&meet, NULL, 2);
	first.meet = &meet;
	jobs_add(jobs, &first.job);
	jobs_add_behind(jobs, &behind.job);
	assert_int_equal(jobs_pending(jobs), 2);
	pthread_barrier_wait(&meet);
	while (behind.dones == 0)
		ev_run(loop, EVRUN_ONCE);
	assert_true(pthread_equal(first.worked_on, behind.worked_on));
	/* While the first hangs it is done all the same, once another thread has come. */
	first.dones = behind.dones = 0;
	jobs_add(jobs, &first.job);
	jobs_add_behind(jobs, &behind.job);
	jobs_add(jobs, &other.job);
	while (behind.dones + other.dones < 2)
		ev_run(loop, EVRUN_ONCE);
	assert_int_equal(first.dones, 0);
	pthread_barrier_wait(&meet);
	jobs_free(&jobs);
	assert_int_equal(first.dones, 1);
	pthread_barrier_destroy(&meet);
	ev_loop_destroy(loop);
}

static void
test_leaving_what_is_done_is_freeing(void **state)
{
	struct ev_loop *loop = ev_loop_new(0);
	struct jobs *jobs = jobs_new(loop, 2);
	struct task t = task();

	(void)state;
	jobs_add(jobs, &t.job);
	jobs_leave(&jobs, 60);
	assert_null(jobs);
	assert_int_equal(t.dones, 1);
	ev_loop_destroy(loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_work_happens_elsewhere_and_the_answer_at_home),
		cmocka_unit_test(test_one_thread_keeps_the_order),
		cmocka_unit_test(test_adding_never_waits_and_threads_work_side_by_side),
		cmocka_unit_test(test_waiting_includes_what_an_answer_adds),
		cmocka_unit_test(test_freeing_answers_what_was_given),
		cmocka_unit_test(test_what_hangs_is_left_behind),
		cmocka_unit_test(test_what_hangs_holds_up_nobody_else),
		cmocka_unit_test(test_what_is_added_behind_starts_no_thread),
		cmocka_unit_test(test_leaving_what_is_done_is_freeing),
	};

	return cmocka_run_group_tests_name("jobs", tests, NULL, NULL);
}
