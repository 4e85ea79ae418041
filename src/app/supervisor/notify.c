/* notify.c - what the service manager is told (sd_notify(3), the protocol alone). */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "app/supervisor/supervisor.h"
#include "base/fds.h"

#define NAME_MAX_LEN 24

static int notify_fd = -1;
static char forgotten[NAME_MAX_LEN];	/* the last name: one address has many sockets */
static struct sockaddr_un to = { .sun_family = AF_UNIX };
static socklen_t to_len;

void
notify_open(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t n = path != NULL ? strlen(path) : 0;

	if (n > 1 && n < sizeof(to.sun_path) && (path[0] == '/' || path[0] == '@')) {
		memcpy(to.sun_path, path, n);
		if (path[0] == '@')	/* the abstract namespace (unix(7)) */
			to.sun_path[0] = '\0';
		to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
		notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	}
	/* The child speaks through us. */
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

static void
send_with(const char *text, const int *fds, unsigned n)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text) };
	struct msghdr m = { .msg_name = &to, .msg_namelen = to_len, .msg_iov = &iov, .msg_iovlen = 1 };

	/* A manager that does not listen changes nothing about what is served. */
	if (notify_fd >= 0)
		(void)fds_send(notify_fd, &m, fds, n, MSG_DONTWAIT);
}

void
notify_say(const char *text)
{
	send_with(text, NULL, 0);
}

/* What the manager is to call those of an address: it removes by name.  False: no
 * socket but the file of one (O_PATH), which a manager could not poll. */
static bool
name_of(int fd, char name[NAME_MAX_LEN])
{
	struct sockaddr_storage at = { 0 };
	socklen_t len = sizeof(at);
	uint64_t hash = 14695981039346656037u;	/* FNV-1a: an address may be longer than a name */

	if (getsockname(fd, (struct sockaddr *)&at, &len) != 0)
		return false;
	for (socklen_t i = 0; i < len && i < sizeof(at); i++)
		hash = (hash ^ ((const unsigned char *)&at)[i]) * 1099511628211u;
	snprintf(name, NAME_MAX_LEN, "listen-%016llx", (unsigned long long)hash);
	return true;
}

void
notify_keep(const int *fds, unsigned n)
{
	char name[NAME_MAX_LEN], text[64];

	if (n == 0 || !name_of(fds[0], name))
		return;
	snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s", name);
	forgotten[0] = '\0';
	send_with(text, fds, n);
}

void
notify_forget(int fd)
{
	char name[NAME_MAX_LEN], text[64];

	if (!name_of(fd, name) || strcmp(name, forgotten) == 0)
		return;
	memcpy(forgotten, name, sizeof(forgotten));
	snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", name);
	send_with(text, NULL, 0);
}
