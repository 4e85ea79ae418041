/* observe_stream.h - those who watch: each gets a snapshot and then every
 * delta, at most two a second but for flips, which are told at once.  Who is
 * slow is cut off: it comes again and gets a snapshot.
 * Thread: main. */
#ifndef APP_TEALD_OBSERVE_STREAM_H
#define APP_TEALD_OBSERVE_STREAM_H

#include "app/teald/observe_client.h"

/* So many watch at a time: /metrics must find a place.  For one more, the client
 * address with the most of them gives up the one that has watched for longest,
 * unless that is the newcomer's own: it is turned away then. */
#define VIEWERS_MAX 32
/* Frames that wait for one viewer; more, and it is cut off. */
#define VIEWER_FRAMES 16

struct viewer {
	struct link link;
	struct visitor *visitor;
	struct addr peer;	/* its port is 0; a Unix client's has no length */
	struct frame *frames[VIEWER_FRAMES];	/* one reference each, the first is being sent */
	unsigned n;
	size_t sent;	/* bytes of the first */
};

void stream_open(struct observe *o);
void stream_close(struct observe *o);

/* What /events answers: fills the head; true when it is a stream, which
 * stream_begin() starts once the head is sent. */
bool stream_answer(struct visitor *v, struct reply_head *head, struct buf *body);
void stream_begin(struct visitor *v);
/* The visitor's socket takes bytes again, or had some for us. */
void stream_on_event(struct visitor *v, int revents);
/* The visitor is being closed. */
void stream_leave(struct visitor *v);

#endif
