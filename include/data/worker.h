/* worker.h - one thread that accepts connections and moves bytes.
 * Owns its loop, its listeners, its lanes and every session on them; shares
 * only letters, counters with one writer, and references.
 * Thread: its own, but for worker_init(), worker_start(), worker_join() and
 * worker_destroy(). */
#ifndef DATA_WORKER_H
#define DATA_WORKER_H

#include <ev.h>
#include <pthread.h>

#include "base/free_list.h"
#include "base/list.h"
#include "data/access.h"
#include "data/queue.h"
#include "model/engine.h"
#include "net/deadline.h"
#include "net/mailbox.h"
#include "net/relay.h"
#include "net/tls_site.h"
#include "net/turn.h"
#include "proto/tls_hello.h"

#define WORKER_MAGIC 0x776f726bu
/* Of the shared read buffer: a ClientHello that is looked at is in it whole, and
 * one byte shows that it is too long. */
#define WORKER_BUFFER (TLS_HELLO_MAX + 1)
/* What relays read at most. */
#define RELAY_READ_MAX (64 * 1024)

struct admit;
struct http2_buffers;
struct http_buffers;
struct udp_worker;
struct lane;
struct binding;
struct handover;
struct listener;
struct proxy;

struct worker_clock {
	struct deadline_list list;
	unsigned users;	/* lanes, each as often as it has it */
};

/* A poll that reports as many events may have left some out: libev asks for so
 * many at first, and for more from the next one on. */
#define WORKER_EVENTS 64

struct worker {
	uint32_t magic;
	unsigned index;
	struct proxy *proxy;
	struct access access;
	pthread_t thread;	/* main's handle */
	pthread_t self;	/* set by the thread itself */
	struct ev_loop *loop;
	struct turn turn;	/* first come, first served */
	/* Seconds, once a loop turn, of a clock that never jumps: libev's own
	 * ev_now() follows the wall clock's, and a step of that must end no connection. */
	double now;
	unsigned events;	/* that the turn began with */
	unsigned partial;	/* turns in a row that may have left some out */
	bool late;	/* the turn began so late that its poll may have been broken off */
	bool whole;	/* when this turn is over, all that had come by `now` is served */
	bool expire_due, drain_due;	/* their tick came; they run when a whole turn is over */
	ev_idle look_again;	/* until then the loop does not wait */
	struct mailbox mailbox;
	struct relay_buffers buffers;	/* its buffer has WORKER_BUFFER bytes */
	struct tls_tickets tickets;	/* by which TLS clients come back */
	struct lane **lanes;	/* [service's index]; NULL: no service of the proxy's has it */
	unsigned n_lanes;
	/* At least one of each address; [slot], NULL: free. */
	struct listener **listeners;
	unsigned n_listeners, free_slots, retired;
	struct worker_clock **clocks;	/* one for each duration and kind */
	unsigned n_clocks;
	unsigned idle_clocks;	/* of them, perhaps, those that no lane uses: freed once they are empty */
	ev_timer tick;	/* 100 ms: timeouts, retries of paused listeners */
	ev_timer drain_tick;	/* while something drains */
	bool draining;
	bool starved;	/* accepting pauses for want of descriptors, or at the process' max_connections */
	bool held;	/* accepting pauses after a stall */
	bool leaving;	/* teald is to stop: HTTP clients are told to come to another one */
	bool yielded;	/* another process follows: HTTP clients that cannot go there are told so */
	double ticked;	/* when the last tick came */
	struct tally_histogram lag;	/* how late; read by main */
	double held_since;
	double untold_stall;	/* held: seconds that main has yet to be told of, for want of memory */
	double no_port_told;	/* worker->now of the last line about that */
	double complained;	/* worker->now of the last line about it */
	struct handover *handover;	/* connections that go to another process or come from there; NULL: never yet */
	int epoll;	/* the loop's set: net/epoll_forget.h */
	struct http_buffers *http;	/* NULL: no service is of HTTP */
	struct http2_buffers *http2;	/* likewise */
	/* Of clients of HTTP, those of them that speak HTTP/2, and what these have under way; read by main. */
	_Atomic uint64_t http_connections, http2_connections, http2_streams;
	_Atomic uint64_t http2_upstreams;	/* connections to backends that speak HTTP/2; likewise */
	struct udp_worker *udp;	/* NULL: none is of UDP */
	struct link forgetting;	/* struct forget_letter, of lanes that are leaving */
	struct link ended[WAITER_KINDS];	/* sessions, exchanges, flows, clients to be freed when this turn is over */
	struct link ended_upstreams;	/* likewise */
	struct free_list spare_exchanges;
	ev_prepare reap;	/* last thing before waiting: timeouts, and what has ended is freed */
	ev_check wake;	/* first thing after waiting: what time is it? */
	uint64_t random;	/* for spread */
};

/* Thread assertion for everything a worker owns. */
#define ON_WORKER(w) DCHECK(pthread_equal(pthread_self(), (w)->self))

void worker_init(struct worker *w, unsigned index, struct proxy *proxy, struct service **services, unsigned n);
MUST_USE enum err worker_start(struct worker *w, struct why *why);
/* Ends the thread; its sessions are cut. */
void worker_join(struct worker *w);
/* Frees what it owned, once no other thread can write to it any more. */
void worker_destroy(struct worker *w);

/* One more listener, as listener_new(), for the worker to free.  Main, before the worker runs; then the
 * worker. */
struct listener *worker_add_listener(struct worker *w, struct binding *b, struct admit *admit, int fd);

/* *at becomes the list whose members expire after so many seconds, by this function, which
 * may arm them again; what is armed by the one before stays there.  expired
 * NULL: *at becomes NULL. */
void worker_set_clock(struct worker *w, struct deadline_list **at, double after, deadline_fn *expired);
/* As worker_next_lane(). */
static inline struct listener *
worker_next_listener(const struct worker *w, unsigned *slot)
{
	while (*slot < w->n_listeners) {
		struct listener *l = w->listeners[(*slot)++];

		if (l != NULL)
			return l;
	}
	return NULL;
}
struct worker_reload;
/* Makes its buffers large enough for the services of that configuration. */
void worker_fit(struct worker *w, const struct config *config);
/* Takes all of it at once. */
void worker_obey(struct worker *w, const struct worker_reload *r);
/* Frees what has gone: listeners without users, and tells of lanes that are empty.  At each tick. */
void worker_tidy(struct worker *w);
/* The lane at that slot, or the next one; *slot is then the one behind it.  NULL: that was the last. */
static inline struct lane *
worker_next_lane(const struct worker *w, unsigned *slot)
{
	while (*slot < w->n_lanes) {
		struct lane *l = w->lanes[(*slot)++];

		if (l != NULL)
			return l;
	}
	return NULL;
}
/* Begins the regular work of drains, if it is not under way. */
void worker_drain_begin(struct worker *w);
/* A descriptor came free: listeners that paused for want of one go on. */
void worker_kick(struct worker *w);
/* Accepting pauses until worker_release(), half a second at most. */
void worker_hold(struct worker *w, double stalled);
void worker_release(struct worker *w);
/* Clients wait in the kernel's queue, ... */
void worker_pause(struct worker *w);
/* ... until this: listeners that nothing stands in the way of accept. */
void worker_resume(struct worker *w);
/* All of them, for good: takes what is queued. */
void worker_close_listeners(struct worker *w);
/* n of those set aside for connections, to be given back to
 * proxy->descriptors; false: there are none, and the worker starves. */
MUST_USE bool worker_take_descriptors(struct worker *w, unsigned n);
/* What the process has for one client: one of its max_connections and two descriptors.
 * False: it has none, and the worker starves. */
MUST_USE bool worker_take_client(struct worker *w);
/* One that was not accepted after all. */
void worker_give_client(struct worker *w);
/* What the process has for one flow of datagrams: a place among its flows, one of its max_connections and one descriptor.
 * False: it has none, and nothing pauses for that. */
MUST_USE bool worker_take_flow(struct worker *w);
/* Out of descriptors or at the process' max_connections: accepting pauses until one comes free. */
void worker_starve(struct worker *w, const char *reason);

#endif
