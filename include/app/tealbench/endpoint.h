/* endpoint.h - the sockets both ends of a test open. */
#ifndef APP_TEALBENCH_ENDPOINT_H
#define APP_TEALBENCH_ENDPOINT_H

#include "base/err.h"
#include "net/addr.h"

/* A congestion control that exists and may be used here, or NULL: the
 * kernel's default.  E_USAGE when the kernel refuses it. */
MUST_USE enum err endpoint_check_congestion(const char *congestion, struct why *why);

/* Opens n listening sockets (datagram: UDP sockets) on one address, fds[0..n),
 * non-blocking, for as many threads; a Unix path is opened once and the others are duplicates.
 * Port 0 is replaced in *addr by the kernel's choice.  The first bind is made
 * without SO_REUSEPORT, so that an address another process listens on is busy
 * instead of shared.  On failure nothing stays open. */
MUST_USE enum err endpoint_listen(struct addr *addr, bool datagram, const char *congestion, int *fds,
				  unsigned n, struct why *why);

/* Starts a non-blocking connect to `to` (datagram: by UDP, over at once), from `from` unless that is NULL.
 * Returns the descriptor, or -1 with errno. */
int endpoint_connect(const struct addr *to, bool datagram, const struct addr *from, const char *congestion);

/* Makes sure that many descriptors may be open, raising the limit as far as
 * this process is allowed. */
MUST_USE enum err endpoint_need_files(uint64_t n, struct why *why);

/* A loopback, private or link-local address, or a Unix path: never a stranger's
 * service on the internet. */
bool endpoint_is_private(const struct addr *addr);
bool endpoint_is_loopback(const struct addr *addr);

#endif
