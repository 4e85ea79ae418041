/* epoll_forget.c - takes a descriptor out of the set of a loop.  Thread: the loop's. */
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "net/epoll_forget.h"

/* The set is the first that a new loop opens, so it gets the lowest number that is free. */
struct ev_loop *
epoll_loop_new(unsigned flags, int *set)
{
	struct epoll_event unused = { 0 };
	int next = open("/dev/null", O_RDONLY | O_CLOEXEC), pair[2];
	struct ev_loop *loop;

	if (next >= 0)
		close(next);
	loop = ev_loop_new(flags | EVBACKEND_EPOLL);
	*set = -1;
	if (loop == NULL || next < 0 || pipe2(pair, O_CLOEXEC) != 0)
		return loop;
	/* Only a set says that something is not in it. */
	if (epoll_ctl(next, EPOLL_CTL_DEL, pair[0], &unused) != 0 && errno == ENOENT)
		*set = next;
	close(pair[0]);
	close(pair[1]);
	return loop;
}

void
epoll_forget(int set, int fd)
{
	struct epoll_event unused = { 0 };

	if (set >= 0)
		(void)epoll_ctl(set, EPOLL_CTL_DEL, fd, &unused);
}
