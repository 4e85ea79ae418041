/* handed.h - listening sockets that this process was given when it was started:
 * by a service manager (sd_listen_fds(3)).
 * Kept by their address until net/listening adopts them.
 * Thread: main. */
#ifndef NET_HANDED_H
#define NET_HANDED_H

#include "net/addr.h"

/* Takes up what the environment says (LISTEN_PID, LISTEN_FDS), once and before
 * any other descriptor is opened; the variables are unset. */
void handed_take_up(void);

/* A listening stream socket for that address, the caller's from now on; -1:
 * there is none, or none is left. */
int handed_take(const struct addr *at);

/* Closes what nobody has asked for; returns how many that were. */
unsigned handed_drop_rest(void);

#endif
