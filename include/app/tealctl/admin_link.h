/* admin_link.h - tealctl's connection to teald's admin socket.
 * Blocks, but never longer than it is told to. */
#ifndef APP_TEALCTL_ADMIN_LINK_H
#define APP_TEALCTL_ADMIN_LINK_H

#include <stdbool.h>
#include <stddef.h>

#include "app/tealctl/admin_way.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct ssl_ctx_st;
struct tls;

struct admin_link {
	int fd;	/* -1: not connected */
	struct buf in;
	size_t scanned;	/* bytes of in known to hold no newline */
	size_t taken;	/* the line handed out last; forgotten at the next read */
	struct tls *tls;	/* NULL: plain */
	struct ssl_ctx_st *context;	/* of that */
	int caller;	/* at its end of file the reply is no longer wanted; -1: none */
};

enum admin_link_read {
	ADMIN_LINK_LINE,	/* one line, without its newline */
	ADMIN_LINK_QUIET,	/* no whole line within the time */
	ADMIN_LINK_GONE,	/* the other side closed; half a line is thrown away */
	ADMIN_LINK_TOO_LONG,	/* a line longer than anything teald says */
	ADMIN_LINK_UNWANTED,	/* the caller has left */
};

/* Is it "tls://…"? */
bool admin_link_is_tls(const char *socket);
/* Connects within so many seconds to the Unix socket, or by TLS, and says who we are.  On failure
 * E_INTERNAL, or E_DENIED: the other side refuses us, or E_USAGE: of a file of ours, or of the address; a
 * sentence on what to look at, and nothing to close. */
MUST_USE enum err admin_link_open(struct admin_link *c, const struct admin_way *way, double seconds, struct why *why);
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
bool admin_link_probe(const struct admin_way *way, double seconds);

/* For admin_link_tls.c: waits for what TLS needs to read (EV_READ) or write (EV_WRITE); false at the deadline. */
bool admin_link_wait(const struct admin_link *c, int events, double deadline);

#endif
