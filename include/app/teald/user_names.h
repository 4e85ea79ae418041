/* user_names.h - user names for user ids, looked up where it may block and kept
 * for a minute.
 * Thread: main; the look-up itself runs on a helper. */
#ifndef APP_TEALD_USER_NAMES_H
#define APP_TEALD_USER_NAMES_H

#include <stdbool.h>
#include <ev.h>
#include <sys/types.h>

#include "base/list.h"
#include "model/record.h"
#include "net/jobs.h"

/* A name is believed for so long. */
#define USER_NAMES_VALID 60.0
/* The longest wait for a name: a directory that hangs must not hold up a flip. */
#define USER_NAMES_PATIENCE 2.0

struct user_names;

/* A wait for a name.  known is called once, never from inside user_names_wait(); the wait
 * is off all lists by then. */
struct user_name_wait {
	struct link link;
	ev_timer patience;
	struct user_names *names;
	uid_t uid;
	void (*known)(struct user_name_wait *w, const char *name);
};

/* loop and jobs outlive it.  Looks up root and the own user at once. */
struct user_names *user_names_new(struct ev_loop *loop, struct jobs *jobs);
/* There must be no waits left.  Look-ups under way end by themselves; *np is NULL on
 * return. */
void user_names_free(struct user_names **np);

/* The name, when it is known and fresh; "uid:1234" for a user without one. */
bool user_names_get(struct user_names *n, uid_t uid, char name[RECORD_NAME]);
/* Sets all of *w. */
void user_names_wait(struct user_names *n, uid_t uid, struct user_name_wait *w,
		void (*known)(struct user_name_wait *w, const char *name));
/* Harmless after known was called. */
void user_names_cancel(struct user_name_wait *w);

#endif
