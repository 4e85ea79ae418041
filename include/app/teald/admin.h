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

/* Binds config->admin.socket with its mode and group and listens; accepts from
 * admin_start() on.  Needs root to give the file away, so it comes before privileges
 * are dropped.  config must outlive it.  NULL with a sentence when the folder is
 * missing, another process answers there, or the path is not a socket. */
struct admin *admin_bind(const struct config *config, struct why *why);

/* Roles are those of another configuration from now on, for peers that are there
 * already too.  What it says of the socket itself changes nothing. */
void admin_reconfigure(struct admin *a, const struct config *config);

/* Begins to serve; after privileges were dropped, because the user teald runs
 * as now is the one that may do everything.  c must outlive it. */
void admin_start(struct admin *a, struct control *c);

/* Both at once; NULL on error. */
struct admin *admin_open(struct control *c, struct why *why);

/* Tells waiting clients that teald ends, closes everything and removes the socket
 * file if it is still ours; *ap is NULL on return. */
void admin_close(struct admin **ap);

#endif
