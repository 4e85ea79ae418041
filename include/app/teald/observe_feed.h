/* observe_feed.h - what the status page is told: one snapshot, then only what
 * has changed, as server-sent events (HTML Living Standard, section 9.2).
 * A frame is made once and shared by all who watch.
 * Thread: main. */
#ifndef APP_TEALD_OBSERVE_FEED_H
#define APP_TEALD_OBSERVE_FEED_H

#include "app/teald/observe_history.h"
#include "base/buf.h"

/* Bytes of all frames in memory; at the limit no new watcher is admitted. */
#define FEED_BYTES_MAX ((size_t)128 << 20)

struct feed;

/* Immutable bytes that at least one client still has to send. */
struct frame {
	unsigned refs;
	struct feed *feed;
	struct buf bytes;
};
/* *fp is NULL on return. */
void frame_unref(struct frame **fp);

/* What a service looked like in the last frame, as hashes. */
struct feed_seen {
	uint64_t settled;	/* all but what moves all the time */
	uint64_t numbers, backends, quality;	/* what does */
};

struct feed {
	struct control *control;
	struct history *history;
	struct feed_seen *seen;	/* by place in the list of services */
	uint64_t list_changes;	/* control's, when that list was told */
	uint64_t teald, store, kernel, fleet, nodes;	/* hashes of those parts */
	uint64_t flips;	/* history.changes as last told */
	unsigned points;	/* sampled since */
	struct frame *snapshot;	/* made since the last delta; NULL: none */
	size_t bytes;	/* of all frames alive */
};

/* control and history outlive it. */
void feed_open(struct feed *f, struct control *c, struct history *history);
void feed_close(struct feed *f);

/* Deltas count from now: to be called when the first watcher comes. */
void feed_begin(struct feed *f);
/* Everything, for a new watcher.  The caller's reference; NULL when
 * memory is out or FEED_BYTES_MAX is passed. */
struct frame *feed_snapshot(struct feed *f);
/* The past is another one now: who watches is told everything anew. */
void feed_renew(struct feed *f);
/* What has changed since the last delta; everything anew where services have come
 * or gone.  Never empty: it says at least what time it is.  The caller's
 * reference; NULL when memory is out, and then what it would have said is lost:
 * who watches must begin anew. */
struct frame *feed_delta(struct feed *f);

/* Appends one event.  name: of the event, plain.  data: may have lines. */
void sse_event(struct buf *out, const char *name, struct str data);

#endif
