/* admin_link.h - tealctl's connection to teald's admin socket.
 * Blocks, but never longer than it is told to. */
#ifndef APP_TEALCTL_ADMIN_LINK_H
#define APP_TEALCTL_ADMIN_LINK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct admin_link {
	int fd;	/* -1: not connected */
	struct buf in;
	size_t scanned;	/* bytes of in known to hold no newline */
	size_t taken;	/* the line handed out last; forgotten at the next read */
	int caller;	/* at its end of file the reply is no longer wanted; -1: none */
};

enum admin_link_read {
	ADMIN_LINK_LINE,	/* one line, without its newline */
	ADMIN_LINK_QUIET,	/* no whole line within the time */
	ADMIN_LINK_GONE,	/* the other side closed; half a line is thrown away */
	ADMIN_LINK_TOO_LONG,	/* a line longer than anything teald says */
	ADMIN_LINK_UNWANTED,	/* the caller has left */
};

/* Connects to the Unix socket at path within so many seconds.  On failure
 * E_INTERNAL, a sentence on what to look at, and nothing to close. */
MUST_USE enum err admin_link_open(struct admin_link *c, const char *path, double seconds, struct why *why);
/* Takes over a socket that is connected already. */
void admin_link_take(struct admin_link *c, int fd);
void admin_link_close(struct admin_link *c);

/* Sends all of it; false when the other side is gone or takes nothing for so
 * many seconds.  What it said before may still be read. */
MUST_USE bool admin_link_send(struct admin_link *c, struct str text, double seconds);

/* The next line; valid until the next call. */
enum admin_link_read admin_link_read_line(struct admin_link *c, double seconds, struct str *line);

/* Does teald answer there?  Asks for the version on a connection of its own; a
 * refusal, or a close for want of a place, is an answer too. */
bool admin_link_probe(const char *path, double seconds);

#endif
