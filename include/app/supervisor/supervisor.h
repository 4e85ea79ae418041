/* supervisor.h - the parent of the process that serves: starts it, keeps its
 * listening sockets, and starts another one when it dies.
 * Nothing but libc and base: what parses, decrypts or listens to strangers is
 * in the child (build/teald-serve).  One thread. */
#ifndef APP_SUPERVISOR_SUPERVISOR_H
#define APP_SUPERVISOR_SUPERVISOR_H

#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/check.h"
#include "base/log.h"

#define EXIT_FAILED 1
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
/* A program that dies within so many seconds after it took over is replaced by the former one. */
#define FALL_BACK_SECONDS 60.0

/* -- the sockets that are kept (sockets.c) ---------------------------------------- */

/* Takes up what a service manager gave (LISTEN_FDS); they are kept as the child's. */
void sockets_adopt(void);
/* fds are consumed.  of: a successor that has not taken over yet; 0: for good. */
void sockets_keep(const int *fds, unsigned n, pid_t of);
/* What that successor keeps: for good, or closed with it. */
void sockets_settle(pid_t of, bool keep);
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

/* -- the program (program.c) --------------------------------------------------------------- */

struct program {
	int fd;	/* O_PATH: this very file, whatever has its name later; -1: none */
	char *path, *config;
	bool assume_initial;
};

/* The program that serves, for a teald at that path, which has a slash; NULL: there is
 * none.  The caller frees it. */
char *program_beside(const char *teald);
/* binary: a teald or teald-serve; config: its file; "": those of now.  False: *why says why. */
bool program_open(struct program *p, const struct program *now, const char *binary, const char *config,
		  char *why, size_t size);
/* Harmless when closed. */
void program_close(struct program *p);
/* In the child: returns only when it cannot, and has said so. */
void program_exec(const struct program *p, bool successor);

/* -- a child (child.c) ---------------------------------------------------------------------- */

/* Longest message to it. */
#define CHILD_WORD_MAX 1500

enum child_end {
	CHILD_LINK,	/* its messages */
	CHILD_LAST_WORDS,	/* what its crash handler writes */
	CHILD_LINE,	/* its predecessor's end of the line to it, until that has it */
	CHILD_ERR,	/* what a successor writes to stderr; others have ours */
	CHILD_ENDS
};

struct child {
	pid_t pid;	/* 0: none */
	int ends[CHILD_ENDS];	/* ours; -1: none */
	char said[601];	/* the end of that, a text */
	size_t n_said;
	double born;	/* CLOCK_MONOTONIC */
	double deadline;	/* by when it is prepared; 0: none */
	bool unfit;	/* it cannot serve its configuration */
	bool late;	/* it was not, and is being ended */
	bool ready;
	bool leaving;	/* it has yielded */
	bool beats;	/* main's loop runs: from now on it is missed when it does not */
	unsigned silent;	/* ticks since the last beat */
	char doing[256];	/* its last word about that */
};

/* What a child is told about those before it. */
struct past {
	unsigned restarts;	/* since the start */
	int64_t restarted_at;	/* the last one, seconds since 1970 */
	unsigned fallbacks;	/* to a former program */
	bool crashed;	/* it is started because the last one died */
	bool unfit;	/* that could not serve the configuration */
	char copy[PATH_MAX];	/* of the last that could be served; "": none yet */
};

/* predecessor: it is to take over from that process; 0: there is none.  False: no process or descriptor is left. */
bool child_start(struct child *c, const struct program *p, const struct past *past, pid_t predecessor);
/* So many of its ends. */
void child_close(int *ends, unsigned n);
/* One message, with a descriptor unless fd is -1. */
bool child_tell(const struct child *c, const char *text, int fd);
/* Reads what it says.  text: n bytes and a zero byte; fds are the callee's. */
void child_read(struct child *c, void (*on_message)(struct child *c, const char *text, size_t n,
						    const int *fds, unsigned n_fds));
/* Passes on what it wrote to its stderr, and remembers the end. */
void child_read_err(struct child *c);
/* After waitpid(): its descriptors are closed.  *words gets up to size - 1 bytes of
 * its last words. */
void child_bury(struct child *c, char *words, size_t size);

/* -- their lives (generations.c) --------------------------------------------------------------- */

/* Consumes p.  Starts the first one. */
void generations_begin(struct program *p, unsigned restarts_max, unsigned hang_ticks);
#define GENERATIONS_FDS 4
/* What to poll for; returns until when, that or sooner, as clock_now(). */
double generations_watch(struct pollfd p[GENERATIONS_FDS], double until);
/* What they said, and what is due; ends this process once both have ended for good. */
void generations_turn(double now);
/* Once a second. */
void generations_tick(void);
void generations_reap(void);
void generations_signal(int number);

/* -- the log (say.c) -------------------------------------------------------------------- */

/* One line on stdout, as LOG_WARN() and LOG_ERROR() write them (base/log.h). */
#define SAY(level, event, ...) say(level, event, (const struct log_field[]){ __VA_ARGS__, LOG_FIELDS_END })
void say(enum log_level level, const char *event, const struct log_field *fields);

#endif
