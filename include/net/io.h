/* io.h - a file descriptor and its one watcher, plain or TLS; or a channel, which is a part of another connection.
 * Everything above speaks to sockets through this, so that what travels on
 * them can change without session or relay noticing: they say whether they
 * want to read or to write, and what the descriptor must be watched for
 * because of it is settled here. */
#ifndef NET_IO_H
#define NET_IO_H

#include <errno.h>
#include <ev.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "net/sock.h"
#include "net/tls.h"
#include "net/turn.h"

struct io;
struct io_channel;

/* What has no descriptor of its own, for it is one of many on a connection (a stream of HTTP/2: data/http2/http2_tunnel.c).
 * Each does what the function of an io that is named like it says. */
struct io_channel_ops {
	ssize_t (*read)(struct io_channel *ch, void *p, size_t n);
	ssize_t (*write)(struct io_channel *ch, const void *p, size_t n);
	void (*want)(struct io_channel *ch, int events);
	bool (*pending)(const struct io_channel *ch);	/* NULL: never */
	/* Whether the connection is there: 1; 0: not yet; -1 with errno: it failed.  NULL: always. */
	int (*connected)(const struct io_channel *ch);
	void (*shutdown)(struct io_channel *ch);
	void (*reset_on_close)(struct io_channel *ch);
	void (*close)(struct io_channel *ch);
};

struct io_channel {
	const struct io_channel_ops *ops;
	struct io *io;	/* whose it is now: io_channel_tell() tells it of events; NULL: none's, or closed */
	struct tls *tls;	/* of the connection, borrowed; NULL: plain */
};

struct io {
	ev_io watcher;	/* watcher.fd is the descriptor, -1 when closed, or of a channel */
	struct tls *tls;	/* NULL: plain */
	struct io_channel *channel;	/* not owned; NULL: there is a descriptor */
};

typedef turn_fn io_fn;

static inline void
io_init(struct io *io, int fd, io_fn *on_event)
{
	turn_io_init(&io->watcher, on_event, fd, 0);
	io->tls = NULL;
	io->channel = NULL;
}

static inline bool
io_is_channel(const struct io *io)
{
	return __builtin_expect(io->channel != NULL, 0);
}

/* One of a channel. */
static inline void
io_init_channel(struct io *io, struct io_channel *ch, io_fn *on_event)
{
	io_init(io, -1, on_event);
	io->channel = ch;
	ch->io = io;
}

static inline void
io_channel_tell(struct ev_loop *loop, struct io_channel *ch, int revents)
{
	turn_io_call(loop, &ch->io->watcher, revents);
}

/* Plain sockets are the rule; TLS pays for the question. */
static inline bool
io_is_tls(const struct io *io)
{
	return __builtin_expect(io->tls != NULL, 0);
}

/* What travels is in the kernel's hands alone. */
static inline bool
io_is_plain(const struct io *io)
{
	return io->tls == NULL && io->channel == NULL;
}

/* The connection goes to another owner: *from is closed on return; no watcher runs
 * yet. */
static inline void
io_move(struct ev_loop *loop, struct io *from, struct io *to, io_fn *on_event)
{
	struct io_channel *ch = from->channel;
	struct tls *tls = from->tls;
	int fd = from->watcher.fd;

	if (ch != NULL) {
		from->channel = NULL;
		io_init_channel(to, ch, on_event);
		return;
	}
	if (tls != NULL)
		tls_remind(tls, loop, &from->watcher, false);
	ev_io_stop(loop, &from->watcher);
	from->watcher.fd = -1;
	from->tls = NULL;
	io_init(to, fd, on_event);
	to->tls = tls;
}

/* From now on what travels is TLS: *tp is consumed.  io_handshake() comes
 * first. */
static inline void
io_start_tls(struct io *io, struct tls **tp)
{
	io->tls = *tp;
	*tp = NULL;
}

/* As tls_handshake(): 1 done, 0 call again when it is readable (io_want(…,
 * EV_READ), whatever that takes), -1 failed.  What follows may be here with
 * its last bytes: read before waiting, or wait by io_want(). */
static inline int
io_handshake(struct io *io)
{
	return tls_handshake(io->tls);
}

static inline int
io_fd(const struct io *io)
{
	return io->watcher.fd;
}

static inline bool
io_is_open(const struct io *io)
{
	return io->watcher.fd >= 0 || io_is_channel(io);
}

/* What it is encrypted by, to be looked at; NULL: nothing. */
static inline struct tls *
io_tls(const struct io *io)
{
	return io_is_channel(io) ? io->channel->tls : io->tls;
}

/* Sets what is waited for (EV_READ, EV_WRITE, both or 0).  Free of cost when
 * nothing changes, which is the steady state.  With TLS the event that comes
 * may be the other one: ask io_events() what it stands for; and who wants to
 * read is told of bytes that are here already as well, in the next turn. */
static inline void
io_want(struct ev_loop *loop, struct io *io, int events)
{
	ev_io *w = &io->watcher;

	if (io_is_channel(io)) {
		io->channel->ops->want(io->channel, events);
		return;
	}
	if (io_is_tls(io)) {
		tls_remind(io->tls, loop, w, (events & EV_READ) != 0);
		events = tls_interest(io->tls, events);
	}
	if (ev_is_active(w) ? (w->events & (EV_READ | EV_WRITE)) == events : events == 0)
		return;
	ev_io_stop(loop, w);
	ev_io_set(w, w->fd, events);
	if (events != 0)
		ev_io_start(loop, w);
}

/* What an event of the watcher stands for: EV_READ, EV_WRITE or both. */
static inline int
io_events(const struct io *io, int revents)
{
	return io_is_tls(io) ? tls_allows(io->tls, revents) : revents;
}

/* Stops waiting and closes; harmless when closed already. */
static inline void
io_close(struct ev_loop *loop, struct io *io)
{
	struct io_channel *ch = io->channel;

	if (!io_is_open(io))
		return;
	if (ch != NULL) {
		io->channel = NULL;
		ch->io = NULL;
		ch->ops->close(ch);
		return;
	}
	ev_io_stop(loop, &io->watcher);
	if (io_is_tls(io))
		tls_free(&io->tls);
	close(io->watcher.fd);
	io->watcher.fd = -1;
}

/* As recv(2) and send(2): -1 with errno EAGAIN when it would block; 0 from
 * io_read() is the end of the stream.  more: further bytes or the end follow
 * at once, so the kernel may hold a partial segment back. */
static inline ssize_t
io_read(struct io *io, void *p, size_t n)
{
	if (io_is_tls(io))
		return tls_read(io->tls, p, n);
	if (io_is_channel(io))
		return io->channel->ops->read(io->channel, p, n);
	return recv(io->watcher.fd, p, n, 0);
}

static inline ssize_t
io_write(struct io *io, const void *p, size_t n, bool more)
{
	if (io_is_tls(io))
		return tls_write(io->tls, p, n, more);
	if (io_is_channel(io))
		return io->channel->ops->write(io->channel, p, n);
	return send(io->watcher.fd, p, n, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
}

/* There is more to read already, which the descriptor does not show; io_want()
 * minds it. */
static inline bool
io_pending(const struct io *io)
{
	if (io_is_channel(io))
		return io->channel->ops->pending != NULL && io->channel->ops->pending(io->channel);
	return io_is_tls(io) && tls_pending(io->tls);
}

/* Nothing has come that io_read() would return, nor the end: asks the socket.
 * What TLS says for itself (tickets, a new key) is taken in. */
static inline bool
io_is_quiet(struct io *io)
{
	if (!io_is_tls(io))
		return sock_is_quiet(io->watcher.fd);
	return !tls_pending(io->tls) &&
	       (sock_is_quiet(io->watcher.fd) || (tls_is_quiet(io->tls) && sock_is_quiet(io->watcher.fd)));
}

/* The other side has ended the stream, and all before that was read: asks the
 * socket. */
static inline bool
io_has_ended(struct io *io)
{
	return io_is_tls(io) ? tls_has_ended(io->tls) : sock_has_ended(io->watcher.fd);
}

/* Nothing more will be written; reading goes on.  1: said.  0: wait until there
 * is room to write, and call again.  -1 with errno. */
static inline int
io_shutdown(struct io *io)
{
	int rc = io_is_tls(io) ? tls_shutdown(io->tls) : 1;

	if (rc <= 0)
		return rc;
	if (io_is_channel(io)) {
		io->channel->ops->shutdown(io->channel);
		return 1;
	}
	return shutdown(io->watcher.fd, SHUT_WR) == 0 || errno == ENOTCONN ? 1 : -1;
}

/* io_close() is to reset the connection instead of ending it politely: what was
 * written so far must not look complete. */
static inline void
io_reset_on_close(struct io *io)
{
	if (io_is_channel(io)) {
		io->channel->ops->reset_on_close(io->channel);
		return;
	}
	if (io_is_tls(io))
		tls_abandon(io->tls);
	sock_reset_on_close(io->watcher.fd);
}

/* What travels from one to the other may be spliced past us. */
static inline bool
io_can_splice(const struct io *from, const struct io *to)
{
	if (io_is_channel(from) || io_is_channel(to))
		return false;
	return (!io_is_tls(from) || tls_can_splice_from(from->tls)) &&
	       (!io_is_tls(to) || tls_can_splice_to(to->tls));
}

/* What the last failed call failed of. */
static inline const char *
io_error(const struct io *io)
{
	return io_is_tls(io) && tls_why(io->tls)[0] != '\0' ? tls_why(io->tls) : strerror(errno);
}

static inline bool
io_would_block(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

#endif
