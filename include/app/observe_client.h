/* observe_client.h - one HTTP connection of the observe listener.
 * Thread: main. */
#ifndef APP_OBSERVE_CLIENT_H
#define APP_OBSERVE_CLIENT_H

#include <sys/stat.h>

#include "app/metrics.h"
#include "app/observe.h"
#include "app/observe_feed.h"
#include "base/buf.h"
#include "base/list.h"
#include "net/io.h"
#include "proto/http1_head.h"

#define VISITOR_MAGIC 0x76697369u

struct observe {
	const struct config *config;
	struct control *control;	/* NULL before observe_start() */
	struct ev_loop *loop;
	struct io listener;
	struct stat file;	/* of a Unix listener, to know it again */
	ev_timer pause;	/* until accepting is tried again */
	double complained;	/* clock_now() of the last line about that */
	ev_prepare reap;	/* frees the dead when their callbacks are over */
	struct link visitors;	/* longest idle first */
	struct link dead;
	unsigned n;

	/* The status page's. */
	struct past past;
	struct feed feed;
	struct page *page;
	struct link viewers;	/* struct viewer */
	unsigned n_viewers;
	ev_timer tick;	/* the next delta; runs while there are viewers */
	double told;	/* clock_now() of the last one */
};

enum visitor_state {
	VISITOR_IDLE,	/* not a byte of the next request yet */
	VISITOR_READING,	/* within a request's head */
	VISITOR_WRITING,	/* the reply is not taken yet */
	VISITOR_VIEWING,	/* gets events until it leaves */
	VISITOR_LINGERING	/* said all; its bytes are thrown away until it closes */
};

struct visitor {
	uint32_t magic;
	struct observe *observe;
	struct link link;
	struct io io;	/* closed: dead */
	enum visitor_state state;
	ev_timer deadline;	/* of the state */
	double began;	/* clock_now() when the reply began */
	bool keep;	/* another request may follow this one */
	/* Appends what comes next of a body that is made while it is sent, at
	 * least a byte; false: that was the last of it.  NULL: all is in out. */
	bool (*more)(struct visitor *v, struct buf *piece);
	bool chunked;	/* pieces have their length before them */
	struct metrics_cursor metrics;
	struct buf in, out;
	struct http1_head head;
	bool views;	/* the head that goes out is that of a stream */
	struct viewer *viewer;	/* NULL unless VIEWING */
};

/* A status and what goes with it; a page changes what is not as usual. */
struct reply_head {
	unsigned status;
	const char *type;
	char extra[1024];	/* header lines, "" for none */
};
#define TEXT_PLAIN "text/plain; charset=utf-8"

/* Waits for what the state waits for, so long at most. */
void visitor_enter(struct visitor *v, enum visitor_state state, double seconds);

/* Takes over fd. */
void visitor_new(struct observe *o, int fd);
/* The memory stays until this turn of the loop is over. */
void visitor_close(struct visitor *v);

#endif
