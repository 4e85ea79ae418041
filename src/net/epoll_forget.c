/* epoll_forget.c - takes a descriptor out of the set of a loop.  Thread: the loop's. */
#include <errno.h>
#include <stdbool.h>
#include <sys/epoll.h>

#include "net/epoll_forget.h"

/* Loops are made at the start, so their descriptors have low numbers. */
#define SETS_BELOW 1024

/* To the kernel each descriptor is in sets of its own loop alone: asking another one
 * (ENOENT), or what is no set (EINVAL), changes nothing. */
static bool
is_removed_from(int set, int fd)
{
	struct epoll_event unused = { 0 };

	return set != fd && epoll_ctl(set, EPOLL_CTL_DEL, fd, &unused) == 0;
}

void
epoll_forget(int *set, int fd)
{
	if (*set >= 0) {
		struct epoll_event unused = { 0 };

		/* ENOENT: it was never watched. */
		if (epoll_ctl(*set, EPOLL_CTL_DEL, fd, &unused) == 0 || errno == ENOENT)
			return;
	}
	for (*set = SETS_BELOW; --*set >= 0;)
		if (is_removed_from(*set, fd))
			return;
}
