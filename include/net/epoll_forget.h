/* epoll_forget.h - a descriptor that is closed here and lives on in another process.
 * close(2) takes a descriptor out of an epoll set only when it was the last of its file
 * (epoll(7)), and libev relies on that: without this it would be told of what happens to the
 * other process' connections, and make its whole set anew each time.
 * Thread: the loop's. */
#ifndef NET_EPOLL_FORGET_H
#define NET_EPOLL_FORGET_H

/* Takes fd, which is open and whose watchers are stopped, out of the loop's set.  *set is
 * the caller's note of where that is, -1 at first: libev does not tell. */
void epoll_forget(int *set, int fd);

#endif
