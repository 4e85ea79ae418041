/* crash.c - last words.  Any thread, in a signal handler: async-signal-safe
 * calls only (signal-safety(7)). */
#include <execinfo.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/check.h"
#include "base/crash.h"

#define FRAMES 40

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static int to = -1;
/* Of main: a stack that has overflown has no room for a handler. */
static char stack[64 * 1024] __attribute__((aligned(16)));

static void
say(const char *text)
{
	(void)!write(to, text, strlen(text));
}

static void
crash_on_signal(int number)
{
	char name[17] = "";
	void *frames[FRAMES];

	(void)prctl(PR_GET_NAME, name);
	say("thread ");
	say(name);
	say("\n");
	backtrace_symbols_fd(frames, backtrace(frames, FRAMES), to);
	/* SA_RESETHAND: now it is what it would have been. */
	(void)raise(number);
}
#endif

void
crash_watch(int fd)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	static const int deadly[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS };
	struct sigaction act = { .sa_handler = crash_on_signal, .sa_flags = (int)SA_RESETHAND | SA_ONSTACK };
	stack_t own = { .ss_sp = stack, .ss_size = sizeof(stack) };
	void *first[1];

	to = fd;
	/* The first call loads a library, which a handler must not. */
	(void)backtrace(first, 1);
	(void)sigaltstack(&own, NULL);
	sigemptyset(&act.sa_mask);
	for (size_t i = 0; i < ARRAY_LEN(deadly); i++)
		(void)sigaction(deadly[i], &act, NULL);
#else
	(void)fd;
#endif
}
