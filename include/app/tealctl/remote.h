/* remote.h - a tealctl on another machine, run there by ssh.
 *
 *	ssh ... ci-shop@lb tealctl --remote flip shop blue --reason='deploy 1'
 *
 * It prints teald's objects, which are shown here.  Before a command that
 * changes something it says that teald is there, {"event":"reached"}, and waits
 * for a line: so it is known for certain whether a command was sent when the
 * way there breaks. */
#ifndef APP_TEALCTL_REMOTE_H
#define APP_TEALCTL_REMOTE_H

#include <sys/types.h>

#include "app/tealctl/admin_link.h"
#include "app/tealctl/options.h"

/* ssh's own way to say that it failed. */
#define REMOTE_SSH_FAILED 255
/* The shell's, that there is no tealctl. */
#define REMOTE_NOT_THERE 127

/* What is said to a tealctl that waits. */
#define REMOTE_GO "go\n"

struct remote {
	pid_t pid;	/* of ssh; 0: none */
	char where[320];	/* user@host, for messages */
};

bool remote_is_url(const char *socket);

/* Runs ssh, or what TEAL_SSH says, for o->socket and o's command, and connects
 * c to it.  E_USAGE: the address is none.  E_INTERNAL: ssh cannot be run.
 * Otherwise remote_end() is due. */
MUST_USE enum err remote_open(struct remote *r, const struct options *o, struct admin_link *c, struct why *why);

/* Closes c, waits a little for ssh's end and returns its exit status, or -1
 * when it was killed or had to be.  Harmless twice, and without a remote. */
int remote_end(struct remote *r, struct admin_link *c);

/* Appends a word so that a shell there, of whatever kind, reads it back as it
 * is.  False when out is full. */
MUST_USE bool remote_quote(struct buf *out, struct str word);

#endif
