/* threads.c - counts the threads that a test program starts (linked with --wrap=pthread_create),
 * for tools/unit: one that starts none is not run under ThreadSanitizer.  Any thread. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static _Atomic unsigned started;

int __real_pthread_create(pthread_t *id, const pthread_attr_t *attributes, void *(*run)(void *), void *arg);
int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attributes, void *(*run)(void *), void *arg);

int
__wrap_pthread_create(pthread_t *id, const pthread_attr_t *attributes, void *(*run)(void *), void *arg)
{
	atomic_fetch_add_explicit(&started, 1, memory_order_relaxed);
	return __real_pthread_create(id, attributes, run, arg);
}

__attribute__((destructor)) static void
tell_threads(void)
{
	if (getenv("UNTHREADED") != NULL)
		fprintf(stderr, "[  THREADS ] %u\n", atomic_load_explicit(&started, memory_order_relaxed));
}
