/* turn.h - the order of a loop's callbacks: descriptors that are ready together
 * are served in the order in which the kernel reports them, which is the order
 * in which they became ready (epoll(7)).
 * libev calls the pending watchers of a turn last first, so that of two clients
 * the later one would be served before the earlier one.
 *
 * A watcher of turn_io_init() is called twice: first all are noted, then fed
 * again (ev_feed_event), which reverses them once more.  Between the two nothing
 * else runs as long as every watcher of the loop that may stop another one has a
 * priority above that of these, TURN_FIRST.  In the second round libev itself
 * forgets what a callback stops.
 * Thread: the loop's. */
#ifndef NET_TURN_H
#define NET_TURN_H

#include <ev.h>
#include <stdbool.h>

typedef void turn_fn(struct ev_loop *loop, ev_io *w, int revents);

/* The least priority of what is no watcher of turn_io_init(). */
#define TURN_FIRST 1

struct turn {
	struct turn_noted *noted;
	unsigned n, room;
	bool noting;
};

/* From here on `loop` works in order; it uses the loop's userdata.  t is to be
 * zero and to outlive the loop. */
void turn_init(struct turn *t, struct ev_loop *loop);
/* Once the loop does not run any more. */
void turn_free(struct turn *t);

/* As ev_io_init(); uses the watcher's data.  In a loop without turn_init() it is
 * an ev_io like any other. */
void turn_io_init(ev_io *w, turn_fn *on_event, int fd, int events);
/* Calls it now. */
void turn_io_call(struct ev_loop *loop, ev_io *w, int revents);

#endif
