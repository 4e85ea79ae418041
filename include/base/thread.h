/* thread.h - how a thread begins: without signals, and with a name. */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>

#include "base/check.h"

/* Starts a thread that runs body(arg), to be joined by the caller.  All signals
 * are blocked in it, so that they reach the thread that handles them; the mask of
 * the calling thread is on return what it was.  name is copied and set before body
 * begins; it has at most 15 bytes, as pthread_setname_np(3) has it, and top(1), gdb
 * and /proc/PID/task/TID/comm show it.  Returns 0, or the error number of
 * pthread_create(3): EAGAIN without memory or at a limit on threads. */
int thread_start(pthread_t *id, const char *name, void *(*body)(void *), void *arg) MUST_USE;

/* What every thread that is started from now on does first; NULL: nothing.  Of the thread that
 * starts them. */
void thread_on_start(void (*hook)(void));

#endif
