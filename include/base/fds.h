/* fds.h - messages with descriptors over a Unix socket (unix(7), SCM_RIGHTS).
 * Any thread. */
#ifndef BASE_FDS_H
#define BASE_FDS_H

#include <sys/socket.h>

/* Of one message (SCM_MAX_FD). */
#define FDS_MAX 253

/* sendmsg(2) of what m has but for its control data, with n of those, which stay the
 * caller's; never a SIGPIPE.  flags: MSG_DONTWAIT or 0. */
ssize_t fds_send(int socket, struct msghdr *m, const int *fds, unsigned n, int flags);

/* recvmsg(2) without waiting, into what m has for bytes; *n descriptors, close-on-exec,
 * are the caller's.  MSG_CTRUNC in m->msg_flags: some were lost.  0 at the end, -1 with
 * EAGAIN: nothing is there.
 * A peer that went without reading all is told of by an error first, and what it had
 * sent comes then: that error is left out here. */
ssize_t fds_receive(int socket, struct msghdr *m, int fds[FDS_MAX], unsigned *n);

/* Those that are not -1. */
void fds_close(const int *fds, unsigned n);

#endif
