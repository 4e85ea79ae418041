/* listening.h - the sockets of one listening address: bound or adopted, one for
 * each thread that accepts, and the file of a Unix socket.
 * Thread: main. */
#ifndef NET_LISTENING_H
#define NET_LISTENING_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "net/addr.h"

struct listening {
	struct addr at;	/* as asked for: the port may be 0 */
	int *fds;	/* each is its acceptor's to close */
	unsigned n;	/* at least as many as were asked for, more when they were adopted; of datagrams perhaps fewer then */
	unsigned adopted;	/* of them, the first ones: they are kept already */
	bool forgotten;	/* by the supervisor: it ends with us */
	bool datagram;
	int pin;	/* of our Unix socket's file (O_PATH), so that no other file gets its number; -1: none */
};

struct listening_terms {
	bool datagram;	/* UDP: what comes is queued from the bind on, and backlog means nothing */
	bool freebind;	/* the address need not be this machine's yet (ip(7), IP_FREEBIND) */
	int backlog;	/* 0: clients are refused until listening_start() */
	mode_t mode;	/* of a Unix socket's file, which has it from the first moment on */
	uid_t uid;	/* its owner; (uid_t)-1: as it comes */
	gid_t gid;
};

/* n sockets for one address, non-blocking and close-on-exec.  Those that were
 * handed to this process (net/handed.h) are adopted; the others are bound,
 * with SO_REUSEPORT, but for the first of all, so that an address that another
 * program listens on is refused rather than shared.  For a Unix path it is one
 * socket and n - 1 duplicates; a file that no process answers on is removed.  Of datagrams none is bound
 * beside those that were adopted, as many as they are: the kernel chooses one by the sender's address among all
 * that there are (udp(7), SO_REUSEPORT), and a sender is to stay with the one that it had.
 * E_USAGE with a sentence and nothing open on failure. */
MUST_USE enum err listening_open(struct listening *l, const struct addr *at, const struct listening_terms *terms,
				 unsigned n, struct why *why);

/* From here on the kernel queues clients, up to backlog of them.  E_USAGE when
 * another program has begun to listen since the bind. */
MUST_USE enum err listening_start(const struct listening *l, int backlog, struct why *why);
/* The same in two steps: listens, and has it kept for a successor. */
MUST_USE enum err listening_claim(const struct listening *l, int backlog, struct why *why);
void listening_keep(const struct listening *l);

/* Before the acceptors close: the kernel's queue ends with them, no successor gets it. */
void listening_forget(struct listening *l);

/* Once the acceptors are closed: removes the Unix socket's file if it is still
 * ours and nothing is kept for a successor; another process may have bound its own.  Harmless for one that is all zero. */
void listening_close(struct listening *l);

#endif
