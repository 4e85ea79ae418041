/* admin_link.c - a blocking connection with deadlines.  One thread. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <ev.h>

#include "app/tealctl/admin_link.h"
#include "app/tealctl/admin_link_tls.h"
#include "base/clock.h"
#include "net/tls_client.h"

/* No reply line of teald comes near it. */
#define LINE_LIMIT (64u << 20)
#define READ_SIZE 65536

static enum err
explain(int error, const char *path, struct why *why)
{
	switch (error) {
	case ENOENT:
		return why_set(why, E_INTERNAL,
			       "no socket at %s: is teald running, and is this its admin.socket? "
			       "(-s SOCKET or TEAL_SOCKET names another)",
			       path);
	case ECONNREFUSED:
		return why_set(why, E_INTERNAL,
			       "no answer on %s: the socket is there, but teald is not running", path);
	case EACCES:
	case EPERM:
		return why_set(why, E_INTERNAL,
			       "no permission for %s: see its owner, group and mode (ls -l), and "
			       "admin.group and admin.mode in teald's configuration",
			       path);
	case EAGAIN:
	case ETIMEDOUT:
		return why_set(why, E_INTERNAL, "teald takes no connection on %s: it hangs or is overrun",
			       path);
	case ENOTSOCK:
	case EPROTOTYPE:
		return why_set(why, E_INTERNAL, "%s is not teald's admin socket", path);
	}
	return why_set(why, E_INTERNAL, "cannot connect to %s: %s", path, strerror(error));
}

/* What the caller sends is ignored; only its end counts. */
static bool
caller_has_left(const struct admin_link *c)
{
	char nothing[256];

	return read(c->caller, nothing, sizeof(nothing)) == 0;
}

/* Returns what happened, 0 when nothing did; POLLHUP: the caller has left.  events: EV_READ, EV_WRITE. */
static short
wait_for_link(const struct admin_link *c, int wanted, double deadline)
{
	int interest = c->tls != NULL ? tls_interest(c->tls, wanted) : wanted;
	short events = (short)((interest & EV_READ ? POLLIN : 0) | (interest & EV_WRITE ? POLLOUT : 0));
	struct pollfd p[2] = { { c->fd, events, 0 }, { c->caller, POLLIN, 0 } };
	double left;
	int n;

	do {
		left = deadline - clock_now();
		n = poll(p, 2, left <= 0 ? 0 : left > 1e6 ? 1000000000 : (int)(left * 1000) + 1);
		if (n > 0 && p[0].revents == 0 && p[1].revents != 0 && caller_has_left(c))
			return POLLHUP;
	} while (n < 0 ? errno == EINTR : n > 0 && p[0].revents == 0);
	return n > 0 ? events : 0;
}

bool
admin_link_wait(const struct admin_link *c, int events, double deadline)
{
	short happened = wait_for_link(c, events, deadline);

	return happened != 0 && happened != POLLHUP;
}

/* A full backlog answers EAGAIN at once, and nothing tells when it empties. */
static int
connect_patiently(int fd, const struct sockaddr_un *a, double deadline)
{
	const struct timespec pause = { 0, 20000000 };

	while (connect(fd, (const struct sockaddr *)a, sizeof(*a)) != 0) {
		if (errno == EISCONN)
			return 0;
		if ((errno != EAGAIN && errno != EINTR) || clock_now() >= deadline)
			return errno;
		nanosleep(&pause, NULL);
	}
	return 0;
}

static enum err
link_open_path(struct admin_link *c, const char *path, double seconds, struct why *why)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int error;

	if (!str_copy(a.sun_path, sizeof(a.sun_path), str_from(path)))
		return why_set(why, E_INTERNAL, "a socket's path has at most %zu bytes: %.200s",
			       sizeof(a.sun_path) - 1, path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		return why_set(why, E_INTERNAL, "socket: %s", strerror(errno));
	error = connect_patiently(c->fd, &a, clock_now() + seconds);
	if (error != 0) {
		close(c->fd);
		c->fd = -1;
		return explain(error, path, why);
	}
	return OK;
}

enum err
admin_link_open(struct admin_link *c, const struct admin_way *way, double seconds, struct why *why)
{
	enum err e;

	*c = (struct admin_link){ .fd = -1, .caller = -1 };
	buf_init(&c->in, LINE_LIMIT);
	if (!admin_link_is_tls(way->socket))
		return link_open_path(c, way->socket, seconds, why);
	if ((e = admin_link_open_tls(c, way, seconds, why)) != OK)
		admin_link_close(c);
	return e;
}

void
admin_link_take(struct admin_link *c, int fd)
{
	*c = (struct admin_link){ .fd = fd, .caller = -1 };
	buf_init(&c->in, LINE_LIMIT);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

void
admin_link_close(struct admin_link *c)
{
	tls_free(&c->tls);
	tls_context_free(&c->context);
	if (c->fd < 0)
		return;
	close(c->fd);
	c->fd = -1;
	buf_free(&c->in);
}

bool
admin_link_send(struct admin_link *c, struct str text, double seconds)
{
	double deadline = clock_now() + seconds;
	ssize_t n;

	while (text.n > 0) {
		n = c->tls != NULL ? tls_write(c->tls, text.p, text.n, false) : send(c->fd, text.p, text.n, MSG_NOSIGNAL);
		if (n > 0) {
			text.p += n;
			text.n -= (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			if (!admin_link_wait(c, EV_WRITE, deadline))
				return false;
		} else if (n >= 0 || errno != EINTR) {
			return false;
		}
	}
	return true;
}

enum admin_link_read
admin_link_read_line(struct admin_link *c, double seconds, struct str *line)
{
	double deadline = clock_now() + seconds;
	struct str all;
	const char *end;
	short happened;
	char *room;
	ssize_t n;

	buf_consume(&c->in, c->taken);
	c->taken = 0;
	for (;;) {
		all = buf_str(&c->in);
		end = memchr(all.p + c->scanned, '\n', all.n - c->scanned);
		if (end != NULL) {
			*line = (struct str){ all.p, (size_t)(end - all.p) };
			c->taken = line->n + 1;
			c->scanned = 0;
			return ADMIN_LINK_LINE;
		}
		c->scanned = all.n;
		if ((room = buf_reserve(&c->in, READ_SIZE)) == NULL)
			return ADMIN_LINK_TOO_LONG;
		n = c->tls != NULL ? tls_read(c->tls, room, READ_SIZE) : recv(c->fd, room, READ_SIZE, 0);
		if (n > 0)
			buf_commit(&c->in, (size_t)n);
		else if (n == 0)
			return ADMIN_LINK_GONE;
		else if (errno == EAGAIN) {
			if ((happened = wait_for_link(c, EV_READ, deadline)) == 0)
				return ADMIN_LINK_QUIET;
			if (happened == POLLHUP)
				return ADMIN_LINK_UNWANTED;
		} else if (errno != EINTR)
			return ADMIN_LINK_GONE;
	}
}

bool
admin_link_probe(const struct admin_way *way, double seconds)
{
	struct admin_link c;
	struct str line;
	enum admin_link_read read;
	bool answers = false;

	if (admin_link_open(&c, way, seconds, NULL) != OK)
		return false;
	if (admin_link_send(&c, STR("version\n"), seconds)) {
		read = admin_link_read_line(&c, seconds, &line);
		answers = read == ADMIN_LINK_LINE || read == ADMIN_LINK_GONE;
	}
	admin_link_close(&c);
	return answers;
}
