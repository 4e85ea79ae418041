/* observe_client.h - one HTTP connection of the observe listener.
 * Thread: main. */
#ifndef APP_TEALD_OBSERVE_CLIENT_H
#define APP_TEALD_OBSERVE_CLIENT_H

#include <sys/stat.h>

#include "app/teald/metrics.h"
#include "app/teald/observe.h"
#include "app/teald/observe_access.h"
#include "app/teald/observe_feed.h"
#include "base/buf.h"
#include "base/list.h"
#include "net/acceptor.h"
#include "net/io.h"
#include "net/listening.h"
#include "net/spare.h"
#include "proto/http1_head.h"

#define VISITOR_MAGIC 0x76697369u

/* What a connection counts as; each kind has a limit of its own, so that no
 * number of one kind keeps out another. */
enum observe_place {
	OBSERVE_WAITING,	/* no whole request yet, or all said */
	OBSERVE_REPLY,
	OBSERVE_PROBE,	/* a reply of /readyz or /healthz */
	OBSERVE_VIEWER,	/* limited in observe_stream.c */
	OBSERVE_PLACES
};

struct observe {
	const struct config *config;
	struct control *control;	/* NULL before observe_start() */
	struct ev_loop *loop;
	struct listening listening;	/* all zero: nowhere */
	struct acceptor acceptor;
	double complained;	/* clock_now() of the last line about that */
	bool yielded;	/* another process accepts */
	bool full;	/* accepting pauses because all waiting ones are within their grace */
	ev_prepare reap;	/* frees the dead when their callbacks are over */
	struct {
		struct link list;	/* struct visitor, longest without progress first */
		unsigned n;
	} places[OBSERVE_PLACES];
	struct spare spare;
	struct observe_access access;
	struct link dead;
	unsigned n;	/* over all places */

	/* The status page's. */
	struct history history;
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
	struct addr peer;
	enum visitor_state state;
	enum observe_place place;
	double touched;	/* clock_now() when it last made progress */
	bool probes;	/* asks for /readyz or /healthz */
	ev_timer deadline;	/* of the state */
	double began;	/* clock_now() when the reply began; 0: the first request has not come */
	bool keep;	/* another request may follow this one */
	/* Appends what comes next of a body that is made while it is sent, at
	 * least a byte; false: that was the last of it.  NULL: all is in out. */
	bool (*more)(struct visitor *v, struct buf *piece);
	bool chunked;	/* pieces have their length before them */
	struct metrics_cursor metrics;
	char *only;	/* owned: services that a scrape asks for; NULL: all */
	struct buf in, out;
	struct http1_head head;
	struct str query;	/* of the request that is answered; within in */
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

/* The one of the list that has made no progress for longest and is past its
 * grace is closed.  False: there is none. */
bool observe_make_room(struct observe *o, enum observe_place place);
/* A waiting place is free again. */
void observe_resume(struct observe *o);

/* Takes over fd. */
void visitor_new(struct observe *o, int fd, const struct addr *peer);
/* The memory stays until this turn of the loop is over. */
void visitor_close(struct visitor *v);

#endif
