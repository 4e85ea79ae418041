/* jobs.h - a helper thread for whatever may block: fsync, names, users.
 * Main's loop hands a job over and goes on; the answer comes as a letter. */
#ifndef NET_JOBS_H
#define NET_JOBS_H

#include "net/mailbox.h"

struct jobs;

struct job {
	struct mail mail;	/* the pool's */
	struct job *next;
	/* On the helper thread, all signals blocked: may block; touches only what
	 * the job owns; does not log. */
	void (*work)(struct job *j);
	/* Back on the loop's thread; owns the job from then on. */
	void (*done)(struct job *j);
};

/* Starts `threads` helpers that answer into loop.  Aborts when it cannot.
 * With one thread jobs are done in the order they were given. */
struct jobs *jobs_new(struct ev_loop *loop, unsigned threads);
/* The same, and up to most of them: one more starts whenever a job is given
 * while all have one, so that jobs that hang do not hold up the others. */
struct jobs *jobs_new_growing(struct ev_loop *loop, unsigned threads, unsigned most);
/* Waits until nothing is under way or queued: every done() has been called
 * when it returns, those of jobs that a done() added as well.  The loop's
 * thread only, and not from a done(). */
void jobs_wait(struct jobs *jobs);
/* Waits for what is under way and queued (their done() is called), then ends
 * the threads; *jp is NULL on return. */
void jobs_free(struct jobs **jp);
/* The same for a process that ends: what hangs for longer than so many seconds
 * is left behind, with the threads; its done() is never called, and what it
 * touches must stay as it is. */
void jobs_leave(struct jobs **jp, double seconds);
/* The loop's thread only. */
void jobs_add(struct jobs *jobs, struct job *j);
/* The same, and it waits for a helper that is there where all have one: each thread keeps a heap of its own. */
void jobs_add_behind(struct jobs *jobs, struct job *j);
/* Jobs given whose done() has not been called yet. */
unsigned jobs_pending(const struct jobs *jobs);
/* The loop that done() is called on. */
struct ev_loop *jobs_loop(const struct jobs *jobs);

#endif
