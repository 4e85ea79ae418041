/* admin.h - the admin socket: one command a line, one JSON object a line back.
 * Thread: main. */
#ifndef APP_TEALD_ADMIN_H
#define APP_TEALD_ADMIN_H

#include "base/err.h"
#include "control/control.h"

/* More clients than this at a time: the longest idle one makes way. */
#define ADMIN_CLIENTS_MAX 256
/* A client that has not taken a byte of its reply for so long is closed. */
#define ADMIN_STUCK_SECONDS 30.0

struct admin;
struct admin_caller;
struct upgrade;

/* Binds config->admin.socket with its mode and group and listens; accepts from
 * admin_start() on.  Needs root to give the file away, so it comes before privileges
 * are dropped.  config must outlive it.  NULL with a sentence when the folder is
 * missing, another process answers there, or the path is not a socket. */
struct admin *admin_bind(const struct config *config, struct why *why);

/* Before a reload: listens on what is new in admin.listen; or gives that up again.  E_CONFIG: nothing
 * was changed. */
MUST_USE enum err admin_prepare(struct admin *a, const struct config *to, struct why *why);
void admin_abandon(struct admin *a);
/* Roles are those of another configuration from now on, for peers that are there
 * already too.  What it says of the socket itself changes nothing. */
void admin_reconfigure(struct admin *a, const struct config *config);

/* Begins to serve; after privileges were dropped, because the user teald runs
 * as now is the one that may do everything.  c must outlive it. */
void admin_start(struct admin *a, struct control *c);

/* Both at once; NULL on error. */
struct admin *admin_open(struct control *c, struct why *why);

/* Which can be asked for by `upgrade`. */
void admin_set_upgrade(struct admin *a, struct upgrade *u);
/* Until thawed nothing is begun but what is answered at once; what was begun goes on. */
void admin_hush(struct admin *a);
/* No client is accepted and no further command is read until thawed; what was read goes on. */
void admin_freeze(struct admin *a);
void admin_thaw(struct admin *a);
/* Hushed, and peer_is_settled(): is no command under way that another process could not know of?
 * Streams of events, and those that only wait for a drain or for an upgrade, do not count. */
bool admin_is_settled(const struct admin *a);

/* A connection between two commands, which another process takes over: fd is its own; in: what was
 * read and is not executed, out: what the peer has not taken yet; caller: who it is, NULL: a user of this
 * machine, which the kernel knows. */
typedef void admin_give_fn(void *arg, int fd, struct str in, struct str out, const struct admin_caller *caller);
/* Of a frozen one: accepts no more, and gives its clients away, now and whenever a command has
 * been answered. */
void admin_yield(struct admin *a, admin_give_fn *give, void *arg);
/* Takes one over that another process gave; fd is consumed, *caller too. */
void admin_take_over(struct admin *a, int fd, struct str in, struct str out, struct admin_caller **caller);
/* Before it: commands that have not begun are another process's to carry out. */
void admin_take_back(struct admin *a);
/* Commands under way, of clients or without one; and clients. */
unsigned admin_commands(const struct admin *a);
unsigned admin_clients(const struct admin *a);
/* Connections of the admin listener whose client is there. */
unsigned admin_relayed(const struct admin *a);

/* Tells waiting clients that teald ends, closes everything and removes the socket
 * file if it is still ours; *ap is NULL on return. */
void admin_close(struct admin **ap);

#endif
