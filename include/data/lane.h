/* lane.h - one worker's part of one service: its snapshot and its sessions.
 * Thread: the owning worker. */
#ifndef DATA_LANE_H
#define DATA_LANE_H

#include "data/listener.h"
#include "data/mode.h"
#include "data/queue.h"
#include "data/worker.h"
#include "model/balance.h"

#define LANE_CLOCKS 9

struct dial_ops;
struct http_lane;
struct udp_lane;

struct lane_drain {
	bool on;
	bool ordered;	/* and what comes late (from another process) is drained by the same orders */
	struct drain_orders orders;
	double started;	/* orders.at */
};

struct lane {
	struct worker *worker;
	struct service *service;
	const struct mode *mode;	/* the service's, for good */
	const struct service_config *config;	/* what this worker obeys: its own, not the service's */
	struct tally *tally;	/* ours alone to write */
	struct snapshot *snapshot;	/* NULL until the first: nothing is accepted */
	struct balance_round rounds[COLORS];
	struct link handshaking;	/* data/handshake.h */
	struct link waiting[LINES];	/* struct waiter, first come first (data/queue.h) */
	/* What sessions, clients and exchanges do: data/queue.h, data/dial.h. */
	const struct waiter_ops *waiter_ops[WAITER_KINDS];
	const struct dial_ops *dial_ops[DIAL_KINDS];
	struct link dialing;	/* struct dial, sessions or exchanges whose backend is not reached yet */
	struct link live[DIAL_KINDS][COLORS];	/* those that have reached one, main entrance */
	struct link previews[DIAL_KINDS];	/* ... and preview entrance */
	struct lane_drain drain[COLORS];
	bool stopping;	/* the drains are those of the end: no flip changes them */
	bool leaving;	/* its service was removed from the configuration */
	bool queues;	/* clients may wait, or still do from when they might */
	struct tls_site *site;	/* what its TLS clients are shown; one reference, or NULL */
	struct ssl_ctx_st *backend_tls;	/* what its backends are spoken to with; the same */
	unsigned tls_turn;	/* that has changed so often */
	union {
		struct {
			struct deadline_list *header_clock, *queue_clock, *connect_clock, *retry_clock;
			struct deadline_list *handshake_clock, *goodbye_clock, *again_clock;	/* of struct handshake */
			/* Of live ones: who is waited for, the client [0] or the backend [1].
			 * The same list twice, unless turns makes a difference. */
			struct deadline_list *idle_clock[2];
		};
		struct deadline_list *clocks[LANE_CLOCKS];	/* all of them */
	};
	bool turns;
	struct http_lane *http;	/* owned; NULL but in HTTP mode */
	struct udp_lane *udp;	/* likewise, in UDP mode */
	unsigned freed[LINES];	/* that came free and are not handed on yet */
	ev_timer hand_on;	/* at the loop's next turn */
	unsigned pauses;	/* the most that one client goes through (retry_pause) */
	double user_timeout;	/* of connections to backends, where the configuration has none */
	unsigned handed;	/* in none of the lists: on their way to another process, or from there */
	bool refused;	/* a backend refused us since the last tick */
};

_Static_assert(offsetof(struct lane, idle_clock[1]) == offsetof(struct lane, clocks[LANE_CLOCKS - 1]),
	       "clocks[] has each of them");

/* Aborts when memory is out. */
struct lane *lane_new(struct worker *w, struct service *s, const struct service_config *config);
/* From now on the service's terms are those of config; what has begun goes on, and
 * its next deadline is a new one.  changed: not only the place where they stand is
 * another one. */
void lane_obey(struct lane *l, const struct service_config *config, bool changed);
/* Of one that is leaving: no connection, client or listener has it any more, and with the
 * next turn of the loop nothing of the worker knows it. */
bool lane_is_empty(struct lane *l);
/* Cuts what is left. */
void lane_end(struct lane *l);
/* One that was ended, or has nothing left; *lp is NULL on return. */
void lane_free(struct lane **lp);

/* Consumes the snapshot.  From here on nothing new starts on another color;
 * what is still dialing is dialed anew where it must be. */
void lane_take_snapshot(struct lane *l, struct snapshot **snapshot);
void lane_start_drain(struct lane *l, enum color color, const struct drain_orders *orders);
/* Takes the caller's references, or NULLs: for connections that come from now on. */
void lane_take_tls(struct lane *l, struct tls_site *site, struct ssl_ctx_st *backend);
/* Begins to connect to b, as the service wants it: as sock_connect(). */
int lane_connect(const struct lane *l, const struct backend *b, bool *pending);
/* sock_connect() failed for want of a port of ours, or of source_address: that is
 * no fault of b's.  Counts it and tells the log. */
void lane_has_no_port(struct lane *l, enum entrance entrance, const struct backend *b);
/* As snapshot_color(); and before the first snapshot, when nothing is served, the
 * color that refused clients are counted for: what `initial` says. */
enum color lane_color(const struct lane *l, enum entrance entrance);
/* A connection of that color has come from another process: the color may be draining. */
void lane_drain_late(struct lane *l, enum color color);
/* Past the drain's deadline. */
bool lane_drain_is_over(const struct lane_drain *d, double now);
/* True with *ending past the deadline of the service's end: what is left is cut so, and
 * no place is handed over. */
bool lane_must_end(const struct lane *l, enum ending *ending);
/* One round of the running drains, bounded in work; false when there is
 * nothing left to do. */
bool lane_drain_step(struct lane *l, double now);

#endif
