/* sock.h - opening sockets the way Teal wants them.
 * All are non-blocking and close-on-exec. */
#ifndef NET_SOCK_H
#define NET_SOCK_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/err.h"
#include "net/addr.h"

/* setsockopt(2) of a hint: one that the kernel does not know is not worth failing for. */
static inline void
sock_set_int(int fd, int level, int option, int value)
{
	(void)setsockopt(fd, level, option, &value, sizeof(value));
}

/* TCP keepalive (RFC 9293 section 3.8.4): seconds of silence before the first
 * probe, seconds between two, and how many are lost before the peer is; 0: the
 * system's. */
struct sock_keepalive {
	bool on;
	unsigned idle, interval, count;
};

/* What connections that are accepted from a listener begin with, which costs
 * no call for each; fastopen: how many may send data with the SYN before their
 * handshake is over, 0: none. */
void sock_listener_options(int fd, const struct sock_keepalive *keepalive, double user_timeout, int fastopen);

struct sock_connect {
	const struct addr *source;	/* NULL or empty: the kernel chooses */
	const char *congestion;	/* NULL: the system's */
	double user_timeout;	/* seconds that sent data may go unacknowledged; 0: the system's */
	struct sock_keepalive keepalive;
};

/* Begins to connect: returns the socket, and *pending says whether it is still
 * under way; -1 with errno when it failed at once. */
int sock_connect(const struct addr *to, const struct sock_connect *options, bool *pending);

/* The outcome of a connect that was under way: 0 or an errno. */
int sock_error(int fd);
/* Of a connection on which nothing is expected: nothing has come, not the end either. */
bool sock_is_quiet(int fd);
/* The end has come, or a reset, and nothing before it is unread. */
bool sock_has_ended(int fd);

/* Sends the handshake's last ACK, which sock_connect() holds back (for up to
 * 200 ms) in the hope of data to carry it. */
void sock_ack_now(int fd);

/* Sends what the kernel holds back because more was to follow (MSG_MORE). */
void sock_push(int fd);

/* The next close() resets the connection instead of ending it politely. */
void sock_reset_on_close(int fd);

#endif
