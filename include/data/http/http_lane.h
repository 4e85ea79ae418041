/* http_lane.h - what a lane of a service of HTTP has besides: clients, exchanges, and kept
 * connections to backends; and the table of its mode, http_mode.
 * Thread: the owning worker. */
#ifndef DATA_HTTP_LANE_H
#define DATA_HTTP_LANE_H

#include "data/http/http_own.h"
#include "data/lane.h"

#define HTTP_CLOCKS 12
/* Buckets of the table of pools. */
#define HTTP_POOLS 64
/* In a tick of the worker so many first requests of clients get a connection to a
 * backend of their own, though others are kept. */
#define HTTP_FRESH 5
/* Seconds without a request after which a connection of HTTP/2 gives back memory. */
#define HTTP_TRIM 1.0
/* Seconds that a client has to read our last answer. */
#define HTTP_LINGER 2.0
/* Seconds in all in which a client may still send after our last word: an upload
 * that was refused is read on for so long, or the reset that answers it would
 * take our words from a client that reads only when it has sent everything. */
#define HTTP_LINGER_MAX 30.0
/* Seconds without a request after which the next is not on its way most likely. */
#define HTTP_IDLE_BRIEF 1.0
/* Seconds that a process which ends waits for such a pause; then a client that is never without a request is told, too. */
#define HTTP_PAUSE_WAIT 5.0

struct exchange;

/* Connections to backends that requests share: the functions of those names in data/http2/http2_upstream.h, which is above
 * the exchange that asks. */
struct http_calls {
	bool (*has)(const struct lane *l, const struct backend *b);
	struct upstream *(*call)(struct lane *l, struct backend *b, bool *pending);
	bool (*adopt)(struct upstream *u);
};

struct http_lane {
	struct link clients[ENTRANCES];
	struct http_own own_requests, own_answers;	/* names */
	union {
		struct {
			struct deadline_list *request_clock, *keepalive_clock, *linger_clock,
				*client_queue_clock;
			struct deadline_list *response_clock, *idle_clock, *pace_clock, *stall_clock,
				*rest_clock, *trim_clock, *look_clock, *pool_clock;
		};
		struct deadline_list *clocks[HTTP_CLOCKS];	/* all of them */
	};
	struct link pools[HTTP_POOLS];	/* data/http/upstream.h */
	struct link shared[HTTP_POOLS];	/* data/http2/http2_upstream.h */
	unsigned idle_upstreams;
	double leaving_since;	/* the first tick at which this process ends or another follows it; 0: neither */
	unsigned fresh_left;	/* new connections that clients' first requests may still have in this tick */
	bool bulky;	/* the last large answer went through a pipe: read less before looking */
	void (*on_upstream)(struct exchange *x, int revents);
	const struct http_calls *calls;
};

_Static_assert(offsetof(struct http_lane, pool_clock) == offsetof(struct http_lane, clocks[HTTP_CLOCKS - 1]),
	       "clocks[] has each of them");

#endif
