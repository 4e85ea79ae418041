/* handed.c - listening sockets from those who started us.  Thread: main. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"
#include "net/handed.h"

/* sd_listen_fds(3): the first of them. */
#define FIRST 3

static struct handed {
	struct addr at;
	int fd;	/* -1: taken */
} * list;
static unsigned n_list;

/* Says no of what is no listening stream socket: that stays as it is. */
static bool
has_listener(int fd, struct addr *at)
{
	int listens = 0, type = 0;
	socklen_t len = sizeof(int);

	at->len = sizeof(at->u);
	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM &&
	       getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens != 0 &&
	       getsockname(fd, &at->u.sa, &at->len) == 0;
}

static unsigned
number(const char *name)
{
	const char *text = getenv(name);

	return text != NULL ? (unsigned)strtoul(text, NULL, 10) : 0;
}

void
handed_take_up(void)
{
	unsigned n = number("LISTEN_PID") == (unsigned)getpid() ? number("LISTEN_FDS") : 0;

	for (int fd = FIRST; fd < FIRST + (int)n; fd++) {
		struct handed h = { .fd = fd };
		int flags = fcntl(fd, F_GETFL);

		if (flags < 0)	/* there are fewer than was said */
			break;
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
		if (!has_listener(fd, &h.at)) {
			close(fd);
			continue;
		}
		(void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
		list = must_grow(list, n_list + 1, sizeof(*list));
		list[n_list++] = h;
	}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}

int
handed_take(const struct addr *at)
{
	for (unsigned i = 0; i < n_list; i++)
		if (list[i].fd >= 0 && addr_equal(&list[i].at, at)) {
			int fd = list[i].fd;

			list[i].fd = -1;
			return fd;
		}
	return -1;
}

unsigned
handed_drop_rest(void)
{
	unsigned dropped = 0;

	for (unsigned i = 0; i < n_list; i++)
		if (list[i].fd >= 0) {
			close(list[i].fd);
			dropped++;
		}
	free(list);
	list = NULL;
	n_list = 0;
	return dropped;
}
