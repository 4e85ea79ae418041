/* observe_client.h - one HTTP connection of the observe listener.
 * Thread: main. */
#ifndef APP_OBSERVE_CLIENT_H
#define APP_OBSERVE_CLIENT_H

#include <sys/stat.h>

#include "app/metrics.h"
#include "app/observe.h"
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
};

enum visitor_state {
	VISITOR_IDLE,	/* not a byte of the next request yet */
	VISITOR_READING,	/* within a request's head */
	VISITOR_WRITING,	/* the reply is not taken yet */
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
};

/* Takes over fd. */
void visitor_new(struct observe *o, int fd);
/* The memory stays until this turn of the loop is over. */
void visitor_close(struct visitor *v);

#endif
