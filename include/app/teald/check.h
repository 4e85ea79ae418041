/* check.h - what teald needs beside what its configuration says: files that the user who serves can read, and
 * its folder.  Before it serves, and of -t.
 * Thread: main, alone. */
#ifndef APP_TEALD_CHECK_H
#define APP_TEALD_CHECK_H

#include "model/config.h"

/* This process is that user's from now on, for good.  E_USAGE: there is none, or only root may. */
MUST_USE enum err check_as_user(const char *user, struct why *why);

/* Of -t: beside what a start reads, what a reload reads again, and state_dir. */
struct check {
	const char *path;	/* of the configuration; NULL: no -t, certificates and keys alone */
	const char *user;	/* the process is that user's, as the one that will be started; NULL: any user's */
};

/* As the configuration's user where root asks, else as this process is.  Errors and warnings go to standard error.
 * E_USAGE: something is wrong; E_INTERNAL: it may be otherwise at the next start. */
MUST_USE enum err check_as_served(const struct config *config, const struct check *check);

#endif
