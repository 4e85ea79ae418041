/* thread.c - see thread.h.  Any thread. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"

/* With its end, as the kernel keeps it. */
#define NAME_SIZE 16

static void (*on_start)(void);

struct beginning {
	void (*hook)(void);
	void *(*body)(void *);
	void *arg;
	char name[NAME_SIZE];
};

static void *
begin_thread(void *arg)
{
	struct beginning b = *(struct beginning *)arg;

	free(arg);
	/* By itself: another thread would need /proc, which is closed to a process
	 * that cannot be dumped. */
	pthread_setname_np(pthread_self(), b.name);
	if (b.hook != NULL)
		b.hook();
	return b.body(b.arg);
}

int
thread_start(pthread_t *id, const char *name, void *(*body)(void *), void *arg)
{
	struct beginning *b;
	sigset_t all, before;
	int e;

	CHECK(strlen(name) < NAME_SIZE);
	if ((b = malloc(sizeof(*b))) == NULL)
		return EAGAIN;
	*b = (struct beginning){ .hook = on_start, .body = body, .arg = arg };
	strcpy(b->name, name);
	/* A thread inherits the mask of the one that starts it. */
	sigfillset(&all);
	CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
	e = pthread_create(id, NULL, begin_thread, b);
	CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
	if (e != 0)
		free(b);
	return e;
}

void
thread_on_start(void (*hook)(void))
{
	on_start = hook;
}
