/* handed.h - listening sockets that this process was given when it was started:
 * by a service manager (sd_listen_fds(3)) or by the supervisor, which keeps those
 * that are opened here for a successor.
 * Kept by their address until net/listening adopts them.
 * Thread: main. */
#ifndef NET_HANDED_H
#define NET_HANDED_H

#include "net/addr.h"

/* Takes up what the environment says (LISTEN_PID, LISTEN_FDS), once and before
 * any other descriptor is opened; the variables are unset. */
void handed_take_up(void);

/* A listening stream socket for that address, or a bound one of datagrams, the caller's from now on; -1:
 * there is none, or none is left. */
int handed_take(const struct addr *at, bool datagram);

/* The file of a Unix socket that was handed over, opened with O_PATH; as
 * handed_take(). */
int handed_take_file(const struct addr *at);

/* Over the supervisor's link, which stays the caller's; before it nothing below
 * does anything. */
void handed_join(int link);
/* There is a supervisor, and what is open here is not to end with this process. */
bool handed_keeps(void);
/* These sockets are to outlive this process: its successor is handed them. */
void handed_keep(const int *fds, unsigned n);
/* Those of that kind and address are not any more; NULL: none is.  When it returns the
 * supervisor has closed its copies, so that a close here ends the queue; it waits
 * for that, a second at most. */
void handed_forget(const struct addr *at, bool datagram);

/* Closes what was not asked for; returns how many that were.  What keeps them for us is
 * told so by handed_forget_rest(). */
unsigned handed_drop_rest(void);
/* Once all is served: of the dropped ones no client is queued any more. */
void handed_forget_rest(void);

/* Another process has taken all of them over: to close one here ends nothing, and what is
 * said about them is for that process to say. */
void handed_yield(void);
/* Until handed_settle(), what is opened here ends with this process, and what was handed
 * over does not: the process that has it serves yet. */
void handed_borrow(void);
void handed_settle(void);
bool handed_is_borrowed(void);

#endif
