/* supervisor.h - the parent of the process that serves: starts it, keeps its
 * listening sockets, and starts another one when it dies.
 * Nothing but libc and base: what parses, decrypts or listens to strangers is
 * in the child (build/teald-serve).  One thread. */
#ifndef APP_SUPERVISOR_SUPERVISOR_H
#define APP_SUPERVISOR_SUPERVISOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "base/json.h"

/* A restart within so many seconds counts for the limit. */
#define RESTART_WINDOW 60.0
#define RESTARTS_DEFAULT 5
/* One that did not serve, or died within EARLY seconds, is followed at once by another;
 * the n-th such in a row by one that waits BACKOFF_FIRST * 2^(n - 2) seconds. */
#define EARLY 1.0
#define BACKOFF_FIRST 0.1
#define BACKOFF_MAX 5.0
/* So many ticks of the supervisor, one a second, without one of main's beats: main
 * hangs.  Ticks are counted, not time: a machine that slept has not missed any. */
#define TICK_SECONDS 1.0
#define HANG_TICKS 30
/* After SIGABRT, which leaves a backtrace, SIGKILL. */
#define KILL_TICKS 3

/* -- the sockets that are kept (sockets.c) ---------------------------------------- */

/* Takes up what a service manager gave (LISTEN_FDS); they are kept as the child's. */
void sockets_adopt(void);
/* fds are consumed. */
void sockets_keep(const int *fds, unsigned n);
/* Closes those of that address (a struct sockaddr; len 0: all). */
void sockets_forget(const void *address, socklen_t len);
unsigned sockets_count(void);
/* In the child, before exec: they are its descriptors from 3 on, and the environment says so. */
bool sockets_hand_over(void);

/* -- the service manager (notify.c) -------------------------------------------------- */

/* Reads NOTIFY_SOCKET and WATCHDOG_USEC, and unsets them for the child. */
void notify_open(void);
/* Newline-separated assignments of sd_notify(3); nothing where there is no manager. */
void notify_say(const char *text);
/* The manager keeps these, which are of one address, until they are forgotten. */
void notify_keep(const int *fds, unsigned n);
/* All of the address of that one: the manager would hold it open for ever. */
void notify_forget(int fd);

/* -- privileges (privileges.c) -------------------------------------------------------- */

/* Gives up what a parent does not need, but not what its child is to have. */
void privileges_drop(void);
/* In the child, before exec: what was kept for it. */
void privileges_restore(void);

/* -- the child (child.c) ---------------------------------------------------------------- */

/* Longest message to it. */
#define CHILD_WORD_MAX 1500

struct child {
	pid_t pid;	/* 0: none */
	int link;	/* its messages; -1: none */
	int last_words;	/* what its crash handler writes; -1: none */
	double born;	/* CLOCK_MONOTONIC */
	bool ready;
	bool beats;	/* main's loop runs: from now on it is missed when it does not */
	unsigned silent;	/* ticks since the last beat */
	char doing[256];	/* its last word about that */
};

/* argv[0] is the program.  False with errno. */
bool child_start(struct child *c, char **argv, unsigned restarts, int64_t restarted_at);
/* Reads what it says; calls these. */
struct child_calls {
	void (*ready)(void);
	void (*said)(const char *text);	/* STATUS and others of sd_notify(3), as they are */
};
void child_read(struct child *c, const struct child_calls *calls);
/* After waitpid(): its descriptors are closed.  *words gets up to size - 1 bytes of
 * its last words. */
void child_bury(struct child *c, char *words, size_t size);

/* -- the log (say.c) -------------------------------------------------------------------- */

/* One line of teald's log on stdout: begins with time, level and event. */
void say_begin(struct json *j, struct buf *b, const char *level, const char *event);
void say_end(struct json *j);

#endif
