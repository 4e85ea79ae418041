/* epoll_forget.h - a descriptor that is closed here and lives on in another process.
 * close(2) takes a descriptor out of an epoll set only when it was the last of its file
 * (epoll(7)), and libev relies on that: without this it would be told of what happens to the
 * other process' connections, and make its whole set anew each time.
 * Thread: the loop's. */
#ifndef NET_EPOLL_FORGET_H
#define NET_EPOLL_FORGET_H

struct ev_loop;

/* As ev_loop_new() of an epoll set; *set becomes the descriptor of that, which libev does not tell, or -1.
 * Before other threads open descriptors. */
struct ev_loop *epoll_loop_new(unsigned flags, int *set);
/* Takes fd, which is open and whose watchers are stopped, out of the set; harmless for one that
 * is not in it.  Where the set is not known, libev helps itself. */
void epoll_forget(int set, int fd);

#endif
