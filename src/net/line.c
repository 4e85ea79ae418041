/* line.c - messages with descriptors between two processes.  Thread: the loop's. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fds.h"
#include "base/str.h"
#include "net/line.h"

/* Messages before others have their turn. */
#define MESSAGES_A_TURN 32
/* Until it is tried again whether the kernel lets more descriptors be on their way
 * (unix(7), ETOOMANYREFS), seconds. */
#define AGAIN 0.005

struct head {
	uint16_t type, fds;
	uint32_t unused;
};

struct message {
	struct link link;
	struct head head;
	int *fds;
	size_t n;
	char row[];
};

static void
line_watch(struct peer_line *l)
{
	int events = EV_READ | (list_empty(&l->waiting) || ev_is_active(&l->again) ? 0 : EV_WRITE);

	if (l->watcher.events == events && ev_is_active(&l->watcher))
		return;
	ev_io_stop(l->loop, &l->watcher);
	ev_io_set(&l->watcher, l->watcher.fd, events);
	ev_io_start(l->loop, &l->watcher);
}

/* 0, or why not. */
static int
line_send_now(int fd, struct head *head, const char *row, size_t n, const int *fds)
{
	struct iovec iov[] = { { head, sizeof(*head) }, { (void *)(uintptr_t)row, n } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = n > 0 ? 2 : 1 };

	return fds_send(fd, &m, fds, head->fds, MSG_DONTWAIT) < 0 ? errno : 0;
}

static void
message_free(struct message *m)
{
	list_remove(&m->link);
	fds_close(m->fds, m->head.fds);
	free(m->fds);
	free(m);
}

/* Not now, but perhaps later. */
static bool
line_may_wait(struct peer_line *l, int e)
{
	if (e == ETOOMANYREFS || e == ENOBUFS || e == ENOMEM) {
		ev_timer_set(&l->again, AGAIN, 0.0);
		ev_timer_start(l->loop, &l->again);
		return true;
	}
	return e == EAGAIN || e == EWOULDBLOCK;
}

static void
line_flush(struct peer_line *l)
{
	struct link *first;

	while (!ev_is_active(&l->again) && (first = list_first(&l->waiting)) != NULL) {
		struct message *m = list_entry(first, struct message, link);
		int e = line_send_now(l->watcher.fd, &m->head, m->row, m->n, m->fds);

		if (e != 0 && line_may_wait(l, e))
			break;
		/* Any other error is the end of the line, which is read. */
		message_free(m);
	}
	line_watch(l);
}

static void
line_on_again(struct ev_loop *loop, ev_timer *t, int revents)
{
	(void)loop;
	(void)revents;
	line_flush(container_of(t, struct peer_line, again));
}

/* False: nothing is there, or the line is closed. */
static bool
line_read(struct peer_line *l)
{
	struct iovec iov = { l->room, sizeof(struct head) + LINE_ROW_MAX };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fds[FDS_MAX];
	struct head head;
	unsigned n_fds;
	ssize_t n = fds_receive(l->watcher.fd, &m, fds, &n_fds);

	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0) {
		line_close(l);
		l->calls->on_end(l);
		return false;
	}
	if ((size_t)n >= sizeof(head) && (m.msg_flags & MSG_TRUNC) == 0) {
		memcpy(&head, l->room, sizeof(head));
		l->calls->on_message(l, head.type,
				     (struct str){ l->room + sizeof(head), (size_t)n - sizeof(head) }, fds,
				     n_fds, (m.msg_flags & MSG_CTRUNC) != 0);
	}
	fds_close(fds, n_fds);
	return line_is_open(l);
}

static void
line_on_event(struct ev_loop *loop, ev_io *w, int revents)
{
	struct peer_line *l = container_of(w, struct peer_line, watcher);

	(void)loop;
	if ((revents & EV_WRITE) != 0)
		line_flush(l);
	for (int i = 0; (revents & EV_READ) != 0 && i < MESSAGES_A_TURN && line_read(l); i++)
		continue;
}

void
line_open(struct peer_line *l, struct ev_loop *loop, int fd, const struct line_calls *calls, void *arg)
{
	*l = (struct peer_line){ .loop = loop, .calls = calls, .arg = arg };
	list_init(&l->waiting);
	l->room = must_alloc(sizeof(struct head) + LINE_ROW_MAX);
	sock_set_int(fd, SOL_SOCKET, SO_SNDBUF, 4 * LINE_ROW_MAX);
	ev_io_init(&l->watcher, line_on_event, fd, EV_READ);
	ev_timer_init(&l->again, line_on_again, 0.0, 0.0);
	ev_io_start(loop, &l->watcher);
}

void
line_close(struct peer_line *l)
{
	if (!line_is_open(l))
		return;
	LIST_EACH(it, &l->waiting)
		message_free(list_entry(it, struct message, link));
	ev_timer_stop(l->loop, &l->again);
	ev_io_stop(l->loop, &l->watcher);
	close(l->watcher.fd);
	l->watcher.fd = -1;
	free(l->room);
	l->room = NULL;
}

static bool
line_enqueue(struct peer_line *l, const struct head *head, struct str row, const int *fds)
{
	struct message *m = calloc(1, sizeof(*m) + row.n);

	if (m == NULL)
		return false;
	m->head = *head;
	m->n = row.n;
	if (row.n > 0)
		memcpy(m->row, row.p, row.n);
	if (head->fds > 0) {
		m->fds = must_array(head->fds, sizeof(int));
		memcpy(m->fds, fds, head->fds * sizeof(int));
	}
	list_append(&l->waiting, &m->link);
	return true;
}

bool
line_send(struct peer_line *l, uint16_t type, const struct buf *row, const int *fds, unsigned n)
{
	struct head head = { .type = type, .fds = (uint16_t)n };
	struct str text = row != NULL ? buf_str(row) : (struct str){ "", 0 };
	bool good =
		line_is_open(l) && n <= FDS_MAX && text.n <= LINE_ROW_MAX && (row == NULL || !row->failed);
	int e = EAGAIN;

	if (good && list_empty(&l->waiting)) {
		e = line_send_now(l->watcher.fd, &head, text.p, text.n, fds);
		if (e != 0 && !line_may_wait(l, e))
			good = false;
	}
	if (good && e != 0 && line_enqueue(l, &head, text, fds)) {
		line_watch(l);
		return true;
	}
	fds_close(fds, n);
	return good && e == 0;
}
