/* crash.h - what a process that dies of a signal says last: which signal, which
 * thread, and its stack (backtrace_symbols_fd(3)), for addr2line(1).
 * Thread: main, before any other; the handler runs on the thread that fails. */
#ifndef BASE_CRASH_H
#define BASE_CRASH_H

/* Writes it to that descriptor, which must not block.  Then the signal takes its
 * course, core file and all.  Nothing under sanitizers, which have their own. */
void crash_watch(int fd);

#endif
