/* line.h - what two serving processes tell each other while one takes over from
 * the other: messages with a type, a row of fields (base/tlv.h) and descriptors,
 * over a pair of SOCK_SEQPACKET sockets.
 * Nothing blocks: what the socket does not take waits here, in its order.
 * Thread: the loop's. */
#ifndef NET_LINE_H
#define NET_LINE_H

#include <ev.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/fds.h"
#include "base/list.h"
#include "net/sock.h"

/* Of one message. */
#define LINE_ROW_MAX (128 * 1024)

struct peer_line;

struct line_calls {
	/* row is the receiver's until it returns.  fds are its own where it puts -1 in
	 * their place; what it leaves is closed.  cut: descriptors were lost, for this
	 * process has no room for them.  It may close the line. */
	void (*on_message)(struct peer_line *l, uint16_t type, struct str row, int *fds, unsigned n,
			   bool cut);
	/* The other side has closed, or ended; once.  All that it sent has been read. */
	void (*on_end)(struct peer_line *l);
};

struct peer_line {
	ev_io watcher;	/* fd -1: closed */
	ev_timer again;	/* descriptors that are on their way are too many for now */
	struct ev_loop *loop;
	const struct line_calls *calls;
	struct link waiting;	/* messages that are not sent yet */
	char *room;	/* LINE_ROW_MAX and a head */
	void *arg;	/* the owner's */
};

/* Takes over fd.  calls must outlive it. */
void line_open(struct peer_line *l, struct ev_loop *loop, int fd, const struct line_calls *calls, void *arg);
/* Without what waits.  Harmless when closed, or all zero. */
void line_close(struct peer_line *l);
static inline bool
line_is_open(const struct peer_line *l)
{
	return l->loop != NULL && l->watcher.fd >= 0;
}

/* Sends it, now or later; row NULL: none.  fds are consumed.  False: the line is
 * closed, the row failed or is too long, or there is no memory. */
bool line_send(struct peer_line *l, uint16_t type, const struct buf *row, const int *fds, unsigned n);
/* Everything has been taken by the socket. */
static inline bool
line_is_flushed(const struct peer_line *l)
{
	return list_empty(&l->waiting);
}

#endif
