/* turn.c - the order of a loop's callbacks.  Thread: the loop's. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "net/turn.h"

/* What is always pending: the check watcher that reads the clock.  With one
 * more there is nothing to be put in order. */
#define ALWAYS_PENDING 1

struct turn_noted {
	ev_io *watcher;
	int revents;
};

static bool
grow_heap(struct turn *t)
{
	unsigned room = t->room > 0 ? 2 * t->room : 64;
	struct turn_noted *noted = realloc(t->noted, room * sizeof(*noted));

	if (noted == NULL)
		return false;
	t->noted = noted;
	t->room = room;
	return true;
}

/* The last that was noted is called last. */
static void
feed_again(struct turn *t, struct ev_loop *loop)
{
	t->noting = false;
	for (unsigned i = 0; i < t->n; i++)
		ev_feed_event(loop, t->noted[i].watcher, t->noted[i].revents);
	t->n = 0;
}

void
turn_io_call(struct ev_loop *loop, ev_io *w, int revents)
{
	turn_fn *on_event;

	memcpy(&on_event, &w->data, sizeof(on_event));
	on_event(loop, w, revents);
}

static void
turn_on_event(struct ev_loop *loop, ev_io *w, int revents)
{
	struct turn *t = ev_userdata(loop);

	if (t != NULL && t->noting) {
		if (t->n < t->room || grow_heap(t)) {
			t->noted[t->n++] = (struct turn_noted){ w, revents };
			return;
		}
		/* Out of memory: those that were not noted come as libev has them. */
		feed_again(t, loop);
	}
	turn_io_call(loop, w, revents);
}

static void
invoke(struct ev_loop *loop)
{
	struct turn *t = ev_userdata(loop);

	if (ev_pending_count(loop) > ALWAYS_PENDING + 1) {
		t->noting = true;
		ev_invoke_pending(loop);
		feed_again(t, loop);
	}
	ev_invoke_pending(loop);
}

void
turn_init(struct turn *t, struct ev_loop *loop)
{
	ev_set_userdata(loop, t);
	ev_set_invoke_pending_cb(loop, invoke);
}

void
turn_free(struct turn *t)
{
	free(t->noted);
	*t = (struct turn){ 0 };
}

void
turn_io_init(ev_io *w, turn_fn *on_event, int fd, int events)
{
	_Static_assert(sizeof(on_event) == sizeof(w->data), "a function fits into a watcher's data (POSIX)");
	ev_io_init(w, turn_on_event, fd, events);
	memcpy(&w->data, &on_event, sizeof(on_event));
}
