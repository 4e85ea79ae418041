/* client.h - tealctl's connection to teald's admin socket.
 * Blocks, but never longer than it is told to. */
#ifndef APP_TEALCTL_CLIENT_H
#define APP_TEALCTL_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct client {
	int fd;	/* -1: not connected */
	struct buf in;
	size_t scanned;	/* bytes of in known to hold no newline */
	size_t taken;	/* the line handed out last; forgotten at the next read */
	int leash;	/* at its end of file the reply is no longer wanted; -1: none */
};

enum client_read {
	CLIENT_LINE,	/* one line, without its newline */
	CLIENT_QUIET,	/* no whole line within the time */
	CLIENT_GONE,	/* the other side closed; half a line is thrown away */
	CLIENT_TOO_LONG,	/* a line longer than anything teald says */
	CLIENT_UNLEASHED,	/* the leash has come to its end */
};

/* Connects to the Unix socket at path within so many seconds.  On failure
 * E_INTERNAL, a sentence on what to look at, and nothing to close. */
MUST_USE enum err client_open(struct client *c, const char *path, double seconds, struct why *why);
/* Takes over a socket that is connected already. */
void client_take(struct client *c, int fd);
void client_close(struct client *c);

/* Sends all of it; false when the other side is gone or takes nothing for so
 * many seconds.  What it said before may still be read. */
MUST_USE bool client_send(struct client *c, struct str text, double seconds);

/* The next line; valid until the next call. */
enum client_read client_read_line(struct client *c, double seconds, struct str *line);

/* Does teald answer there?  Asks for the version on a connection of its own; a
 * refusal, or a close for want of a place, is an answer too. */
bool client_probe(const char *path, double seconds);

#endif
