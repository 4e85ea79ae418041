/* queue.h - clients that wait: for a place in the service, or because every
 * backend of the active color is full.
 * Each worker has a queue; a newcomer takes a ticket, and the lowest of all workers
 * is served first.  What waits embeds a struct waiter.
 * Thread: the owning worker. */
#ifndef DATA_QUEUE_H
#define DATA_QUEUE_H

#include <stdint.h>

#include "base/list.h"
#include "model/ending.h"

struct lane;
struct waiter;

struct waiter_ops {
	/* Asked now and then: has the client left, so that the wait is over? */
	bool (*gone)(const struct waiter *w);
	/* In the first line a place in the service is its.  It takes one on a backend of the color
	 * that is active now, calls queue_leave() and begins, and may have ended
	 * when this returns.  False, and nothing has changed: all are full. */
	bool (*begin)(struct waiter *w);
	/* Ends it for that reason; it calls queue_leave(). */
	void (*end)(struct waiter *w, enum ending ending);
};

/* For a place in the service, or on a backend.  Sessions need both, and wait in
 * the first line; the clients of HTTP mode wait there too, and their requests,
 * which have one in the service, in the second. */
enum line { LINE_PLACES, LINE_BACKENDS, LINES };

enum waiter_kind { WAITER_SESSION, WAITER_REQUEST, WAITER_FLOW, WAITER_CLIENT };
#define WAITER_KINDS 4
#define DIAL_KINDS 3	/* the first of them are struct dial (data/dial.h) */

extern const struct waiter_ops http_conn_waiting_ops, dial_waiting_ops;

struct waiter {
	struct link link;	/* the queue's while it waits; before and after that the owner's */
	uint64_t kind : 2;	/* enum waiter_kind, which has no more values: set by the owner */
	uint64_t ticket : 62;
};

/* AGAIN: where its ticket says, which it has from before, perhaps of another process. */
enum queue_end { QUEUE_FRONT, QUEUE_BACK, QUEUE_AGAIN };

/* The lane's queue, empty. */
void queue_init(struct lane *l);
void queue_free(struct lane *l);
/* Whether the service lets clients wait. */
bool queue_is_on(const struct lane *l);
bool queue_is_empty(const struct lane *l);
/* A client waits in that line, on any worker: newcomers must not overtake it. */
bool queue_has(const struct lane *l, enum line line);
/* It is in no list, and its permit has a slot in the queue and, in the first
 * line, no place in the service.  FRONT: it was let in before those who wait.  Its deadline, of
 * queue_timeout, is the owner's to arm first and to disarm. */
void queue_join(struct lane *l, struct waiter *w, enum queue_end end);
/* As it begins or ends: in line no longer; the slot is the owner's to give back. */
void queue_leave(struct lane *l, struct waiter *w);
/* Ends all who wait. */
void queue_end(struct lane *l, enum ending ending);
/* Places may have come free unnoticed: by another color, another backend.  Begins
 * the clients that get them: not to be called in the middle of other work. */
void queue_look(struct lane *l);
/* A place on a backend came free, and none in the service with it: for the first in
 * the second line, on any worker, at the loop's next turn. */
void queue_wake(struct lane *l);
/* Every 100 ms: as queue_look(), and clients that left. */
void queue_tick(struct lane *l);
/* Consumes one place of the service: it is for the first that waits, on any worker,
 * at the loop's next turn; without one, or where more are in than may be, it is free. */
void queue_give(struct lane *l);

#endif
