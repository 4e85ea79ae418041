/* fds.c - messages with descriptors.  Any thread. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fds.h"

union control {
	struct cmsghdr head;
	char room[CMSG_SPACE(sizeof(int) * FDS_MAX)];
};

ssize_t
fds_send(int socket, struct msghdr *m, const int *fds, unsigned n, int flags)
{
	union control control = { .room = { 0 } };
	ssize_t sent;

	CHECK(n <= FDS_MAX);
	if (n > 0) {
		control.head = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
						 .cmsg_type = SCM_RIGHTS,
						 .cmsg_len = CMSG_LEN(sizeof(int) * n) };
		memcpy(CMSG_DATA(&control.head), fds, sizeof(int) * n);
		m->msg_control = &control;
		m->msg_controllen = CMSG_SPACE(sizeof(int) * n);
	}
	do
		sent = sendmsg(socket, m, MSG_NOSIGNAL | flags);
	while (sent < 0 && errno == EINTR);
	m->msg_control = NULL;
	m->msg_controllen = 0;
	return sent;
}

ssize_t
fds_receive(int socket, struct msghdr *m, int fds[FDS_MAX], unsigned *n)
{
	union control control;
	ssize_t got;

	*n = 0;
	do {
		m->msg_control = &control;
		m->msg_controllen = sizeof(control);
		got = recvmsg(socket, m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (got < 0 && (errno == EINTR || errno == ECONNRESET));
	for (struct cmsghdr *h = got >= 0 ? CMSG_FIRSTHDR(m) : NULL; h != NULL; h = CMSG_NXTHDR(m, h))
		if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS) {
			*n = (unsigned)((h->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(fds, CMSG_DATA(h), *n * sizeof(int));
		}
	m->msg_control = NULL;
	m->msg_controllen = 0;
	return got;
}

void
fds_close(const int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}
