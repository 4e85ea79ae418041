/* notify.c - what the service manager is told (sd_notify(3), the protocol alone). */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "app/supervisor/supervisor.h"

static int notify_fd = -1;
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
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int) * 253)];
	} control = { .room = { 0 } };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text) };
	struct msghdr m = { .msg_name = &to, .msg_namelen = to_len, .msg_iov = &iov, .msg_iovlen = 1 };

	if (notify_fd < 0)
		return;
	if (n > 0) {
		m.msg_control = control.room;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * n);
		control.head = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
						 .cmsg_type = SCM_RIGHTS,
						 .cmsg_len = CMSG_LEN(sizeof(int) * n) };
		memcpy(CMSG_DATA(&control.head), fds, sizeof(int) * n);
	}
	/* A manager that does not listen changes nothing about what is served. */
	(void)!sendmsg(notify_fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void
notify_say(const char *text)
{
	send_with(text, NULL, 0);
}

/* The files of Unix sockets (O_PATH) are no sockets: a manager could not poll them. */
void
notify_keep(const int *fds, unsigned n)
{
	int type;
	socklen_t len = sizeof(type);

	if (n > 0 && getsockopt(fds[0], SOL_SOCKET, SO_TYPE, &type, &len) == 0)
		send_with("FDSTORE=1\nFDNAME=listen", fds, n);
}
