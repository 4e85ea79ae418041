/* observe_stream.c - sends frames to those who watch.  Thread: main. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/teald/observe_page.h"
#include "app/teald/observe_stream.h"
#include "base/clock.h"

/* Between two deltas. */
#define TICK 0.5
/* A flip does not wait for that; but news that come together go together, and
 * a storm of them does not make a storm of frames. */
#define NEWS_SOON 0.02
#define NEWS_GAP 0.1
/* Without a byte taken while there are some to take. */
#define STALLED_SECONDS 10.0
/* A machine that has gone to sleep frees its place. */
#define VANISHED_SECONDS 20
/* How soon a page that lost us is to try again, in milliseconds. */
#define RETRY_MS 1000

static void
forget_frames(struct viewer *w)
{
	while (w->n > 0)
		frame_unref(&w->frames[--w->n]);
}

void
stream_leave(struct visitor *v)
{
	struct viewer *w = v->viewer;
	struct observe *o = v->observe;

	v->viewer = NULL;
	if (w == NULL)
		return;
	forget_frames(w);
	list_remove(&w->link);
	free(w);
	if (--o->n_viewers == 0)
		ev_timer_stop(o->loop, &o->tick);
}

/* What the socket takes now.  False: the visitor is closed. */
static bool
send_some_news(struct viewer *w)
{
	struct visitor *v = w->visitor;
	struct ev_loop *loop = v->observe->loop;
	bool moved = false;

	while (w->n > 0) {
		struct str bytes = buf_str(&w->frames[0]->bytes);
		ssize_t n = io_write(&v->io, bytes.p + w->sent, bytes.n - w->sent, false);

		if (n < 0 && io_would_block())
			break;
		if (n <= 0) {
			visitor_close(v);
			return false;
		}
		moved = true;
		w->sent += (size_t)n;
		if (w->sent < bytes.n)
			continue;
		frame_unref(&w->frames[0]);
		memmove(w->frames, w->frames + 1, --w->n * sizeof(w->frames[0]));
		w->sent = 0;
	}
	io_want(loop, &v->io, EV_READ | (w->n > 0 ? EV_WRITE : 0));
	if (w->n == 0) {
		ev_timer_stop(loop, &v->deadline);
	} else if (moved || !ev_is_active(&v->deadline)) {
		ev_timer_stop(loop, &v->deadline);
		ev_timer_set(&v->deadline, STALLED_SECONDS, 0.0);
		ev_timer_start(loop, &v->deadline);
	}
	return true;
}

/* Takes over the reference. */
static void
give(struct viewer *w, struct frame *frame)
{
	struct visitor *v = w->visitor;

	if (frame == NULL || w->n == VIEWER_FRAMES) {
		LOG_WARN(
			"observe.viewer_cut",
			LS("why", frame == NULL ? "out of memory" : "events came faster than it reads them"));
		frame_unref(&frame);
		visitor_close(v);
		return;
	}
	w->frames[w->n++] = frame;
	send_some_news(w);
}

static void
tell_everybody(struct observe *o)
{
	struct frame *frame = feed_delta(&o->feed);

	o->told = clock_now();
	LIST_EACH(link, &o->viewers) {
		struct viewer *w = list_entry(link, struct viewer, link);

		if (frame != NULL)
			frame->refs++;
		give(w, frame);
	}
	frame_unref(&frame);
}

static void
wait_for_tick(struct observe *o, double seconds)
{
	if (o->n_viewers == 0)
		return;
	ev_timer_stop(o->loop, &o->tick);
	ev_timer_set(&o->tick, seconds, 0.0);
	ev_timer_start(o->loop, &o->tick);
}

static void
stream_on_tick(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct observe *o = container_of(t, struct observe, tick);

	(void)loop;
	(void)revents;
	tell_everybody(o);
	wait_for_tick(o, TICK);
}

static void
stream_on_news(void *arg)
{
	struct observe *o = arg;
	double wait = o->told + NEWS_GAP - clock_now();

	wait = wait > NEWS_SOON ? wait : NEWS_SOON;
	if (o->n_viewers > 0 && ev_is_active(&o->tick) && ev_timer_remaining(o->loop, &o->tick) > wait)
		wait_for_tick(o, wait);
}

static void
stream_on_sample(void *arg, unsigned points)
{
	struct observe *o = arg;

	o->feed.points += points;
}

/* -- who makes way ------------------------------------------------------------ */

static void
peer_of(const struct visitor *v, struct addr *peer)
{
	*peer = (struct addr){ .len = sizeof(peer->u) };
	if (getpeername(io_fd(&v->io), &peer->u.sa, &peer->len) != 0 || addr_family(peer) == AF_UNIX)
		*peer = (struct addr){ .len = 0 };
	else
		addr_set_port(peer, 0);
}

static bool
is_same_peer(const struct addr *a, const struct addr *b)
{
	return a->len == 0 || b->len == 0 ? a->len == b->len : addr_equal(a, b);
}

static unsigned
count_of(const struct observe *o, const struct addr *peer)
{
	unsigned n = 0;

	for (const struct link *l = o->viewers.next; l != &o->viewers; l = l->next)
		n += is_same_peer(&list_entry(l, const struct viewer, link)->peer, peer);
	return n;
}

/* The one that a newcomer from there would take the place of; NULL: it is to be
 * turned away. */
static struct viewer *
makes_way(const struct observe *o, const struct addr *newcomer)
{
	unsigned own = count_of(o, newcomer), most = own + 1;
	struct viewer *found = NULL;

	/* The first of an address is the one that has watched for longest. */
	LIST_EACH(link, &o->viewers) {
		struct viewer *w = list_entry(link, struct viewer, link);
		unsigned n = count_of(o, &w->peer);

		if (n > most) {
			most = n;
			found = w;
		}
	}
	return found;
}

static bool
stream_is_full(const struct observe *o)
{
	return o->n_viewers >= VIEWERS_MAX;
}

bool
stream_answer(struct visitor *v, struct reply_head *head, struct buf *body)
{
	struct observe *o = v->observe;
	struct addr peer;

	if (!page_may_be_seen(o->page, v, head, body))
		return false;
	/* Came by a connection that was accepted before another process serves: what is to be seen is there now. */
	if (o->yielded) {
		head->status = 503;
		snprintf(head->extra, sizeof(head->extra), "Retry-After: 1\r\n");
		buf_printf(body, "another teald serves now\n");
		return false;
	}
	peer_of(v, &peer);
	if ((stream_is_full(o) && makes_way(o, &peer) == NULL) || o->feed.bytes >= FEED_BYTES_MAX) {
		head->status = 503;
		snprintf(head->extra, sizeof(head->extra), "Retry-After: 5\r\n");
		buf_printf(body, "%u are watching already\n", o->n_viewers);
		return false;
	}
	head->type = "text/event-stream; charset=utf-8";
	/* nginx would keep the events to itself. */
	snprintf(
		head->extra, sizeof(head->extra),
		"X-Accel-Buffering: no\r\nX-Content-Type-Options: nosniff\r\nCross-Origin-Resource-Policy: same-origin\r\n");
	return true;
}

/* Small frames must not wait, and a client that vanished must be noticed. */
static void
tune(int fd)
{
	static const int one = 1, vanished = VANISHED_SECONDS * 1000;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &vanished, sizeof(vanished));
}

void
stream_begin(struct visitor *v)
{
	struct observe *o = v->observe;
	struct viewer *w = calloc(1, sizeof(*w)), *other;

	if (w == NULL) {
		visitor_close(v);
		return;
	}
	peer_of(v, &w->peer);
	/* Others may have come since its head was promised a place. */
	if (stream_is_full(o) && (other = makes_way(o, &w->peer)) != NULL)
		visitor_close(other->visitor);
	if (stream_is_full(o)) {
		free(w);
		visitor_close(v);
		return;
	}
	tune(io_fd(&v->io));
	w->visitor = v;
	v->viewer = w;
	visitor_enter(v, VISITOR_VIEWING, STALLED_SECONDS);
	list_append(&o->viewers, &w->link);
	if (o->n_viewers++ == 0) {
		feed_begin(&o->feed);
		wait_for_tick(o, TICK);
	}
	give(w, feed_snapshot(&o->feed));
}

void
stream_on_event(struct visitor *v, int revents)
{
	char trash[4096];
	ssize_t n;

	if (revents & EV_READ) {
		n = io_read(&v->io, trash, sizeof(trash));
		if (n == 0 || (n < 0 && !io_would_block())) {
			visitor_close(v);
			return;
		}
	}
	if (revents & EV_WRITE)
		send_some_news(v->viewer);
}

void
stream_open(struct observe *o)
{
	list_init(&o->viewers);
	history_open(&o->history, o->control);
	feed_open(&o->feed, o->control, &o->history);
	o->page = page_new(o->config);
	ev_timer_init(&o->tick, stream_on_tick, 0.0, 0.0);
	o->history.on_news = stream_on_news;
	o->history.on_sample = stream_on_sample;
	o->history.arg = o;
}

/* After the last visitor has gone. */
void
stream_close(struct observe *o)
{
	history_close(&o->history);
	feed_close(&o->feed);
	page_free(&o->page);
}
