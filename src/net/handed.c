/* handed.c - listening sockets from those who started us.  Thread: main. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fds.h"
#include "base/str.h"
#include "net/handed.h"

/* sd_listen_fds(3): the first of them. */
#define FIRST 3
#define FORGET_MS 1000

static struct handed {
	struct addr at;
	int fd;	/* -1: taken */
	bool datagram;
	bool file;	/* no socket, but the file of one */
} * list;
static unsigned n_list;
static int supervisor = -1;
static bool all_forgotten, yielded, borrowed;
static struct handed *unwanted;	/* what the supervisor keeps for no purpose */
static unsigned n_unwanted;

/* Says no of what is neither a listening stream socket nor a bound one of datagrams that is
 * connected to no peer: that stays as it is. */
static bool
has_listener(int fd, struct handed *h)
{
	struct addr *at = &h->at, peer = { .len = sizeof(peer.u) };
	int listens = 0, type = 0;
	socklen_t len = sizeof(int);

	at->len = sizeof(at->u);
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0 || getsockname(fd, &at->u.sa, &at->len) != 0)
		return false;
	h->datagram = type == SOCK_DGRAM;
	if (h->datagram)
		return addr_family(at) != AF_UNIX && addr_port(at) != 0 &&
		       getpeername(fd, &peer.u.sa, &peer.len) != 0;
	return type == SOCK_STREAM && getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens != 0;
}

/* What O_PATH opened has no socket behind it, only a name. */
static bool
has_file(int fd, struct addr *at)
{
	char name[32], path[sizeof(at->u.un.sun_path)];
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) != 0 || !S_ISSOCK(st.st_mode))
		return false;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	n = readlink(name, path, sizeof(path));
	if (n <= 0 || n >= (ssize_t)sizeof(path))
		return false;
	*at = (struct addr){ .len = sizeof(at->u.un), .u.un.sun_family = AF_UNIX };
	memcpy(at->u.un.sun_path, path, (size_t)n);
	return true;
}

static unsigned
env_number(const char *name)
{
	const char *text = getenv(name);

	return text != NULL ? (unsigned)strtoul(text, NULL, 10) : 0;
}

void
handed_take_up(void)
{
	unsigned n = env_number("LISTEN_PID") == (unsigned)getpid() ? env_number("LISTEN_FDS") : 0;

	for (int fd = FIRST; fd < FIRST + (int)n; fd++) {
		struct handed h = { .fd = fd };
		int flags = fcntl(fd, F_GETFL);

		if (flags < 0)	/* there are fewer than was said */
			break;
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
		if (has_listener(fd, &h)) {
			(void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
		} else if (has_file(fd, &h.at)) {
			h.file = true;
		} else {
			close(fd);
			continue;
		}
		list = must_grow(list, n_list + 1, sizeof(*list));
		list[n_list++] = h;
	}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}

static int
take_handed_at(const struct addr *at, bool datagram, bool file)
{
	for (unsigned i = 0; i < n_list; i++)
		if (list[i].fd >= 0 && list[i].file == file && list[i].datagram == datagram && addr_equal(&list[i].at, at)) {
			int fd = list[i].fd;

			list[i].fd = -1;
			return fd;
		}
	return -1;
}

int
handed_take(const struct addr *at, bool datagram)
{
	return take_handed_at(at, datagram, false);
}

int
handed_take_file(const struct addr *at)
{
	return take_handed_at(at, false, true);
}

void
handed_join(int link)
{
	supervisor = link;
}

bool
handed_keeps(void)
{
	return supervisor >= 0 && !all_forgotten;
}

void
handed_keep(const int *fds, unsigned n)
{
	struct iovec iov = { .iov_base = "keep", .iov_len = 4 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (!handed_keeps() || yielded)
		return;
	for (unsigned done = 0, some; done < n; done += some) {
		some = n - done < FDS_MAX ? n - done : FDS_MAX;
		(void)fds_send(supervisor, &m, fds + done, some, 0);
	}
}

/* One byte more than the address is: of datagrams (app/supervisor/sockets.c). */
static bool
send_forget(const struct addr *at, bool datagram)
{
	char text[9 + sizeof(at->u)] = "forget ";
	size_t n = 7;

	if (at != NULL) {
		memcpy(text + n, &at->u, at->len);
		n += at->len + datagram;
	}
	return send(supervisor, text, n, MSG_NOSIGNAL) > 0;
}

void
handed_forget(const struct addr *at, bool datagram)
{
	static const char answer[] = "forgot";
	struct pollfd p = { .fd = supervisor, .events = POLLIN };
	char text[sizeof(answer) - 1];

	if (!handed_keeps() || yielded)
		return;
	all_forgotten = at == NULL;
	/* Another word that came before is left to those who listen to it. */
	if (send_forget(at, datagram) && poll(&p, 1, FORGET_MS) == 1 &&
	    recv(supervisor, text, sizeof(text), MSG_DONTWAIT | MSG_PEEK) == sizeof(text) &&
	    memcmp(text, answer, sizeof(text)) == 0)
		(void)!recv(supervisor, text, sizeof(text), MSG_DONTWAIT);
}

void
handed_forget_rest(void)
{
	for (unsigned i = 0; i < n_unwanted && handed_keeps() && !yielded; i++)
		(void)send_forget(&unwanted[i].at, unwanted[i].datagram);
	free(unwanted);
	unwanted = NULL;
	n_unwanted = 0;
}

void
handed_yield(void)
{
	yielded = true;
}

void
handed_borrow(void)
{
	borrowed = true;
}

void
handed_settle(void)
{
	borrowed = false;
}

bool
handed_is_borrowed(void)
{
	return borrowed;
}

unsigned
handed_drop_rest(void)
{
	unsigned dropped = 0;

	for (unsigned i = 0; i < n_list; i++)
		if (list[i].fd >= 0) {
			close(list[i].fd);
			dropped += !list[i].file;
			if (handed_keeps()) {
				unwanted = must_grow(unwanted, n_unwanted + 1, sizeof(*unwanted));
				unwanted[n_unwanted++] = list[i];
			}
		}
	free(list);
	list = NULL;
	n_list = 0;
	return dropped;
}
