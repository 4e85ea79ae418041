/* supervised.h - the serving process's side of its supervisor: what it keeps for
 * us, and what it is told.  Without a supervisor none of it does anything.
 * Thread: main. */
#ifndef APP_TEALD_SUPERVISED_H
#define APP_TEALD_SUPERVISED_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "control/control.h"

/* First thing in main(): takes up the link from the environment, watches for
 * crashes, and adopts what was handed over. */
void supervised_join(void);

/* Once all is open: main's loop beats from now on, it is told that services are
 * served, or that all has begun to stop, and the end of the supervisor is a SIGTERM. */
void supervised_watch(struct control *c);
/* A reload begins, or is over: for the service manager, once it was told that teald serves. */
void supervised_reloading(bool begins);
/* The last start of this file failed, though it could be read: a restart that finds
 * another one in the copy takes that (fallback.h). */
void supervised_unfit(void);
/* Where the process before this one, which died, kept a copy of its configuration; *unfit: the
 * file has been tried since then.  NULL: there was none, or none died. */
const char *supervised_copy(bool *unfit);
/* A word of its own, and one with descriptors or zero bytes in it. */
void supervised_say(const char *word);
void supervised_say_bytes(struct str word);
/* What the process is about, for the service manager; NULL: it serves. */
void supervised_doing(const char *text);
/* What it says to us about an upgrade; *fd, -1: none, is the listener's where that puts -1 there.
 * NULL: there is no listener. */
typedef void supervised_word_fn(void *arg, struct str word, int *fd);
void supervised_on_word(supervised_word_fn *on_word, void *arg);
/* The process that we were to take over from has ended: we are alone. */
void supervised_on_alone(void (*on_alone)(void *arg), void *arg);
/* We take over from another process: until supervised_settle() nothing is said to be ready. */
void supervised_wait(void);
void supervised_settle(void);
/* The supervisor's process; 0: there is none. */
int supervised_by(void);
/* How often the serving process had died before this one was started, and when the
 * last one had, seconds since 1970; 0: never. */
unsigned supervised_restarts(void);
/* How often the program of before an upgrade was started again in place of the new one. */
unsigned supervised_fallbacks(void);
int64_t supervised_restarted_at(void);

#endif
