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

static int *kept;
static unsigned n_kept;

void
sockets_keep(const int *fds, unsigned n)
{
	kept = must_grow(kept, n_kept + n, sizeof(int));
	for (unsigned i = 0; i < n; i++)
		kept[n_kept++] = fds[i];
}

void
sockets_adopt(void)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	long n = pid != NULL && count != NULL && strtol(pid, NULL, 10) == (long)getpid() ? strtol(count, NULL, 10) : 0;

	for (int fd = FIRST; fd < FIRST + n && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0; fd++)
		sockets_keep(&fd, 1);
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}

/* A Unix socket's file, opened with O_PATH, has its path for a name. */
static bool
is_at(int fd, const void *address, socklen_t len)
{
	const struct sockaddr_un *un = address;
	struct sockaddr_storage own = { 0 };
	socklen_t own_len = sizeof(own);
	char name[32], path[sizeof(un->sun_path) + 1] = "";
	size_t n;

	if (getsockname(fd, (struct sockaddr *)&own, &own_len) == 0) {
		if (own.ss_family != AF_UNIX)
			return own_len == len && memcmp(&own, address, len) == 0;
		n = strnlen(un->sun_path, sizeof(un->sun_path));
		return un->sun_family == AF_UNIX && strnlen(((struct sockaddr_un *)&own)->sun_path, n + 1) == n &&
		       memcmp(((struct sockaddr_un *)&own)->sun_path, un->sun_path, n) == 0;
	}
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	return un->sun_family == AF_UNIX && readlink(name, path, sizeof(path) - 1) > 0 &&
	       strncmp(path, un->sun_path, sizeof(un->sun_path)) == 0;
}

void
sockets_forget(const void *address, socklen_t len)
{
	unsigned left = 0;

	for (unsigned i = 0; i < n_kept; i++)
		if (len == 0 || is_at(kept[i], address, len)) {
			notify_forget(kept[i]);
			close(kept[i]);
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
		int fd = fcntl(kept[i], F_DUPFD_CLOEXEC, FIRST + (int)n_kept);

		if (fd < 0)
			return false;
		close(kept[i]);
		kept[i] = fd;
	}
	for (unsigned i = 0; i < n_kept; i++)
		if (dup2(kept[i], FIRST + (int)i) < 0)
			return false;
	if (n_kept == 0)
		return true;
	snprintf(text, sizeof(text), "%d", (int)getpid());
	setenv("LISTEN_PID", text, 1);
	snprintf(text, sizeof(text), "%u", n_kept);
	setenv("LISTEN_FDS", text, 1);
	return true;
}
