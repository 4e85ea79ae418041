/* sockets.c - the listening sockets of the process that serves, which outlive it. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "app/supervisor/supervisor.h"

/* sd_listen_fds(3) */
#define FIRST 3

static struct kept {
	int fd;
	pid_t of;	/* a successor that has not taken over yet; 0: none */
} * kept;
static unsigned n_kept;

void
sockets_keep(const int *fds, unsigned n, pid_t of)
{
	kept = must_grow(kept, n_kept + n, sizeof(*kept));
	for (unsigned i = 0; i < n; i++)
		kept[n_kept++] = (struct kept){ fds[i], of };
	/* The manager forgets by address alone: it is not told before they are to stay. */
	if (of == 0)
		notify_keep(fds, n);
}

void
sockets_settle(pid_t of, bool keep)
{
	unsigned left = 0;

	for (unsigned i = 0; i < n_kept; i++) {
		if (of != 0 && kept[i].of == of) {
			kept[i].of = 0;
			if (!keep) {
				close(kept[i].fd);
				continue;
			}
			notify_keep(&kept[i].fd, 1);
		}
		kept[left++] = kept[i];
	}
	n_kept = left;
}

void
sockets_adopt(void)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	bool ours = pid != NULL && count != NULL && strtol(pid, NULL, 10) == (long)getpid();
	long end = FIRST + (ours ? strtol(count, NULL, 10) : 0);

	for (int fd = FIRST; fd < end && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0; fd++)
		sockets_keep(&fd, 1, 0);
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}

static bool
is_datagram(int fd)
{
	int type = 0;
	socklen_t len = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_DGRAM;
}

/* A Unix socket's file, opened with O_PATH, has its path for a name.  Of datagrams the address is followed by
 * one byte. */
static bool
socket_is_at(int fd, const void *address, socklen_t len)
{
	struct sockaddr_storage own = { 0 };
	struct sockaddr_un wanted = { 0 }, *un = (struct sockaddr_un *)&own;
	socklen_t own_len = sizeof(own);
	char name[32], path[sizeof(wanted.sun_path) + 1] = "";

	/* As it came in a message it is not aligned. */
	memcpy(&wanted, address, len < sizeof(wanted) ? len : sizeof(wanted));
	if (getsockname(fd, (struct sockaddr *)&own, &own_len) == 0) {
		if (own.ss_family != AF_UNIX)
			return own_len + is_datagram(fd) == len && memcmp(&own, address, own_len) == 0;
		return wanted.sun_family == AF_UNIX &&
		       memcmp(un->sun_path, wanted.sun_path, sizeof(wanted.sun_path)) == 0;
	}
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	return wanted.sun_family == AF_UNIX && readlink(name, path, sizeof(path) - 1) > 0 &&
	       strncmp(path, wanted.sun_path, sizeof(wanted.sun_path)) == 0;
}

void
sockets_forget(const void *address, socklen_t len)
{
	unsigned left = 0;

	for (unsigned i = 0; i < n_kept; i++)
		if (len == 0 || socket_is_at(kept[i].fd, address, len)) {
			notify_forget(kept[i].fd);
			close(kept[i].fd);
		} else {
			kept[left++] = kept[i];
		}
	n_kept = left;
}

unsigned
sockets_count(void)
{
	return n_kept;
}

bool
sockets_hand_over(void)
{
	char text[24];

	/* Out of the way first: one may lie where another has to go. */
	for (unsigned i = 0; i < n_kept; i++) {
		int fd = fcntl(kept[i].fd, F_DUPFD_CLOEXEC, FIRST + (int)n_kept);

		if (fd < 0)
			return false;
		close(kept[i].fd);
		kept[i].fd = fd;
	}
	for (unsigned i = 0; i < n_kept; i++)
		if (dup2(kept[i].fd, FIRST + (int)i) < 0)
			return false;
	if (n_kept == 0)
		return true;
	snprintf(text, sizeof(text), "%d", (int)getpid());
	setenv("LISTEN_PID", text, 1);
	snprintf(text, sizeof(text), "%u", n_kept);
	setenv("LISTEN_FDS", text, 1);
	return true;
}
