/* jobs.c - helper threads, one queue towards them, one mailbox back.
 * Thread: the loop's owns the pool; helpers see the queue under its lock and
 * the job they were given, nothing else. */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/slice.h"
#include "base/thread.h"
#include "net/jobs.h"

struct jobs {
	struct mailbox box;
	unsigned pending;	/* the loop's thread only */
	bool delivering;

	pthread_mutex_t lock;	/* over what follows */
	pthread_cond_t work;	/* a job was queued, or it is time to end */
	pthread_cond_t answered;	/* a job has been posted back */
	struct job *first, *last;
	unsigned unanswered;	/* queued or being worked on */
	bool ending;
	bool left;	/* the owner is gone: results are discarded */
	struct job *orphans;	/* what came too late then */
	struct jobs *next_left;

	unsigned n, most;	/* threads now, and at most */
	pthread_t threads[];
};

/* Those that were left: not lost, only never heard of again. */
static struct jobs *all_left;

static void
job_on_answer(struct mail *m, void *receiver)
{
	struct jobs *jobs = receiver;
	struct job *j = container_of(m, struct job, mail);
	bool outer = jobs->delivering;

	CHECK(jobs->pending > 0);
	jobs->pending--;
	jobs->delivering = true;
	j->done(j);
	jobs->delivering = outer;
}

/* Under the lock: waits for a job and takes it; NULL when it is time to end. */
static struct job *
next_job(struct jobs *jobs)
{
	struct job *j;

	while (jobs->first == NULL && !jobs->ending)
		pthread_cond_wait(&jobs->work, &jobs->lock);
	if ((j = jobs->first) != NULL && (jobs->first = j->next) == NULL)
		jobs->last = NULL;
	return j;
}

static void *
helper(void *arg)
{
	struct jobs *jobs = arg;
	struct job *j;

	slice_shorten();
	pthread_mutex_lock(&jobs->lock);
	while ((j = next_job(jobs)) != NULL) {
		pthread_mutex_unlock(&jobs->lock);
		j->work(j);
		pthread_mutex_lock(&jobs->lock);
		if (jobs->left) {
			j->next = jobs->orphans;
			jobs->orphans = j;
			break;
		}
		mailbox_send(&jobs->box, &j->mail);
		jobs->unanswered--;
		pthread_cond_signal(&jobs->answered);
	}
	pthread_mutex_unlock(&jobs->lock);
	return NULL;
}

static bool
add_thread(struct jobs *jobs)
{
	if (thread_start(&jobs->threads[jobs->n], "teal-helper", helper, jobs) != 0)
		return false;
	jobs->n++;
	return true;
}

struct jobs *
jobs_new(struct ev_loop *loop, unsigned threads)
{
	return jobs_new_growing(loop, threads, threads);
}

struct jobs *
jobs_new_growing(struct ev_loop *loop, unsigned threads, unsigned most)
{
	pthread_condattr_t attr;
	struct jobs *jobs;

	CHECK(threads > 0 && most >= threads);
	jobs = must_alloc(sizeof(*jobs) + most * sizeof(jobs->threads[0]));
	jobs->most = most;
	mailbox_init(&jobs->box, loop, jobs);
	CHECK(pthread_mutex_init(&jobs->lock, NULL) == 0);
	CHECK(pthread_cond_init(&jobs->work, NULL) == 0);
	/* The machine's clock may be set meanwhile. */
	CHECK(pthread_condattr_init(&attr) == 0 && pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_cond_init(&jobs->answered, &attr) == 0);
	pthread_condattr_destroy(&attr);
	while (jobs->n < threads)
		CHECK(add_thread(jobs));
	return jobs;
}

/* Returns whether it has to wait for another one. */
static bool
queue_job(struct jobs *jobs, struct job *j)
{
	bool all_busy;

	j->mail.deliver = job_on_answer;
	j->next = NULL;
	jobs->pending++;
	pthread_mutex_lock(&jobs->lock);
	if (jobs->last != NULL)
		jobs->last->next = j;
	else
		jobs->first = j;
	jobs->last = j;
	jobs->unanswered++;
	all_busy = jobs->unanswered > jobs->n;
	pthread_cond_signal(&jobs->work);
	pthread_mutex_unlock(&jobs->lock);
	return all_busy;
}

void
jobs_add(struct jobs *jobs, struct job *j)
{
	/* Without one more it waits for one of those that are there. */
	if (queue_job(jobs, j) && jobs->n < jobs->most)
		(void)add_thread(jobs);
}

void
jobs_add_behind(struct jobs *jobs, struct job *j)
{
	(void)queue_job(jobs, j);
}

void
jobs_wait(struct jobs *jobs)
{
	CHECK(!jobs->delivering);
	while (jobs->pending > 0) {
		pthread_mutex_lock(&jobs->lock);
		while (jobs->unanswered > 0)
			pthread_cond_wait(&jobs->answered, &jobs->lock);
		pthread_mutex_unlock(&jobs->lock);
		mailbox_empty(&jobs->box);
	}
}

void
jobs_free(struct jobs **jp)
{
	struct jobs *jobs = *jp;

	*jp = NULL;
	if (jobs == NULL)
		return;
	jobs_wait(jobs);
	pthread_mutex_lock(&jobs->lock);
	jobs->ending = true;
	pthread_cond_broadcast(&jobs->work);
	pthread_mutex_unlock(&jobs->lock);
	for (unsigned i = 0; i < jobs->n; i++)
		pthread_join(jobs->threads[i], NULL);
	mailbox_close(&jobs->box);
	pthread_cond_destroy(&jobs->answered);
	pthread_cond_destroy(&jobs->work);
	pthread_mutex_destroy(&jobs->lock);
	free(jobs);
}

/* Under the lock: false when it took too long. */
static bool
wait_answered(struct jobs *jobs, double seconds)
{
	struct timespec end;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += (time_t)seconds;
	end.tv_nsec += (long)((seconds - (double)(time_t)seconds) * 1e9);
	if (end.tv_nsec >= 1000000000) {
		end.tv_sec++;
		end.tv_nsec -= 1000000000;
	}
	while (jobs->unanswered > 0 && rc == 0)
		rc = pthread_cond_timedwait(&jobs->answered, &jobs->lock, &end);
	return jobs->unanswered == 0;
}

void
jobs_leave(struct jobs **jp, double seconds)
{
	struct jobs *jobs = *jp;
	bool answered;

	if (jobs == NULL)
		return;
	pthread_mutex_lock(&jobs->lock);
	answered = wait_answered(jobs, seconds);
	/* Under the lock, so that either a letter is there or none will come. */
	jobs->left = !answered;
	jobs->ending = !answered;
	pthread_cond_broadcast(&jobs->work);
	pthread_mutex_unlock(&jobs->lock);
	if (answered) {
		jobs_free(jp);
		return;
	}
	*jp = NULL;
	/* No thread joins them. */
	for (unsigned i = 0; i < jobs->n; i++)
		pthread_detach(jobs->threads[i]);
	mailbox_close(&jobs->box);
	jobs->next_left = all_left;
	all_left = jobs;
}

unsigned
jobs_pending(const struct jobs *jobs)
{
	return jobs->pending;
}

struct ev_loop *
jobs_loop(const struct jobs *jobs)
{
	return jobs->box.loop;
}
