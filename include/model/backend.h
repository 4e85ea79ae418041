/* backend.h - one address that serves one color of one service.
 * Refcounted, because a session pins the backend it was given while the
 * configuration, the nodes and the snapshots move on.  Survives snapshots
 * while (service, color, address) stays. */
#ifndef MODEL_BACKEND_H
#define MODEL_BACKEND_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "model/backend_account.h"
#include "model/color.h"
#include "model/node.h"
#include "net/addr.h"
#include "net/tls_client.h"

#define BACKEND_MAGIC 0x6261636bu

#define BACKEND_WEIGHT_MAX 256

/* What the health checks say.  CHECKING: no verdict yet, not usable.  DRAINING: it answers, and
 * says that it wants nothing new (kube-proxy's 503); its connections stay, whatever on_down says. */
enum backend_state { BACKEND_CHECKING, BACKEND_UP, BACKEND_DRAINING, BACKEND_DOWN };

/* May a new connection go there?  The truth table of the two states a backend
 * has: what its owner wants (by weight and by `node`), and how it does (by the checks and,
 * where it is up, by the connects of the workers):
 *
 *	              up     ejected    checking   draining   down
 *	ready         USED   SPARE      SPARE      SPARE      SPARE
 *	drain         NEVER  NEVER      NEVER      NEVER      NEVER
 *	removed       is no backend of the service any more
 *
 * ready: weight and share above 0, and neither its node nor its agent drains it.  A backend whose host name
 * is not resolved yet is NEVER.  A backup that is up is STANDBY in place of USED: only
 * while no backend of the color is USED.  SPARE: only while none is USED or STANDBY,
 * and unless the service says when_all_down = "reject".  Existing connections stay
 * in any case. */
enum backend_use { BACKEND_NEVER, BACKEND_SPARE, BACKEND_STANDBY, BACKEND_USED };

/* It is up, if only a backup. */
static inline bool
backend_use_is_well(enum backend_use use)
{
	return use == BACKEND_STANDBY || use == BACKEND_USED;
}

/* What the agent of a backend has said; what it does not say again stays. */
struct backend_agent {
	unsigned percent;	/* of the weight; 100 */
	bool drain, down;
	bool silent;	/* it did not answer when it was asked last */
	char said[64];	/* its last line, "": none has come */
};

struct backend {
	uint32_t magic;
	_Atomic uint32_t refs;
	/* Immutable. */
	enum color color;
	struct addr address;	/* where traffic goes; len 0: the name is not resolved yet */
	struct addr health_address;	/* where checks go; the same unless health_port or health_at */
	struct addr health_at;	/* the address that checks go to, whatever its own is; len 0: its own */
	char text[ADDR_TEXT];	/* address, as users see it */
	char *name;	/* what was looked up for the address; NULL: nothing was */
	unsigned port, health_port;	/* of the addresses */
	char *server_name;	/* what its certificate must say; NULL: it is spoken to plainly */
	struct backend_account *account;	/* what it has served; one reference, NULL: it is no service's yet */

	/* Any thread reads it, main changes it.  0: gets nothing new; at most BACKEND_WEIGHT_MAX. */
	_Atomic unsigned weight;
	/* The same of what its checks make of that, in hundredths of the weight: 100 unless they say
	 * anything.  backend_weigh() makes it. */
	_Atomic unsigned share;

	/* Main's. */
	char *host;	/* the node it is on, as written; NULL: it is on none */
	bool drain;	/* its node is: gets nothing new */
	struct node_terms terms;	/* of that */
	double drained_at;	/* clock_now() from which the timeout of the terms counts */
	uint64_t cut_before;	/* of cut, before that */
	/* As last looked at (control/nodes.h). */
	unsigned node_at;	/* one more than the node's place in the pool's views; 0: it is on none */
	bool node_down;	/* no backend on the node is up */
	bool backup;	/* for when no other one is up */
	struct backend_agent agent;
	unsigned endpoints;	/* behind it, as its check counts them; 0: not told */
	bool late;	/* came while others were serving: starts slowly */
	bool leaving;	/* its name means another address now; goes when that one was judged */

	/* Main's: the verdict of the checks.  Workers see it only as presence
	 * in a snapshot. */
	enum backend_state state;
	int64_t since_us;	/* wall clock of the last change of state */
	char error[96];	/* why the last check failed; "" after a passed one */
	double ejected_until;	/* clock_now(); 0: it is not ejected */
	double ramp_from;	/* clock_now() of its return, of slow_start; 0: fully back */
	uint64_t ejections;	/* since the start */
	uint64_t checks[2];	/* that failed [0] and passed [1], since the start */

	/* What each worker knows of it to come back by TLS; NULL without TLS. */
	struct tls_memory *memories;
	unsigned n_memories;

	/* Any thread, relaxed; on a line of their own. */
	_Alignas(64) _Atomic uint32_t connections;	/* now, all entrances */
	_Atomic uint64_t connect_failures;	/* since the start */
	_Atomic uint64_t cut;	/* connections that the deadline of its node's drain ended, since the start */
	_Atomic uint32_t failed_in_row;	/* connects, since the last that succeeded */
	_Atomic uint64_t bad_answers;	/* of HTTP, since the start: see backend_answered() */
	_Atomic uint32_t bad_in_row;	/* since the last good one */
};

/* One reference, the caller's; of weight 1.  Aborts when memory is out. */
struct backend *backend_new(enum color color, const struct addr *address, const struct addr *health_address);
/* The same; NULL without memory. */
struct backend *backend_try_new(enum color color, const struct addr *address, const struct addr *health_address);
/* As backend_new(), of a name: address is what was found, or NULL, and then it cannot be
 * used.  health_port 0: port. */
struct backend *backend_new_named(enum color color, const char *name, unsigned port, unsigned health_port,
				  const struct addr *address);
/* Checks go there, port included.  Before b is the service's. */
void backend_check_at(struct backend *b, const struct addr *at);
static inline bool
backend_has_address(const struct backend *b)
{
	return b->address.len > 0;
}
/* Both are what the same name stands for. */
bool backend_same_name(const struct backend *a, const struct backend *b);
struct backend *backend_ref(struct backend *b);
/* b is the same server as another one: it begins with what main knows of that.  Before b is the service's. */
void backend_succeed(struct backend *b, const struct backend *old);
/* It is spoken to by TLS, and expected to be of that name, by so many workers.
 * Before any other thread knows it. */
void backend_expect(struct backend *b, const char *server_name, unsigned workers);
/* Consumes the caller's reference: *bp is NULL on return. */
void backend_unref(struct backend **bp);

const char *backend_state_word(enum backend_state s);	/* "checking" "up" "draining" "down" */
/* The same and "ejected": how it does, as users see it. */
const char *backend_word(const struct backend *b);
/* Its node is as that of another one: it is that other one's by another address or other terms. */
void backend_share_node(struct backend *b, const struct backend *other);
/* What its owner wants: "ready", or "drain" when it gets nothing new. */
const char *backend_admin_word(const struct backend *b);
/* Its owner wants it to get something, if it is well.  Thread: main. */
bool backend_is_wanted(const struct backend *b);
/* The same, and it counts among those of which a flip wants some: neither a backup, nor one
 * that wants nothing new itself, as nodes without an endpoint of the service do.  Thread: main. */
bool backend_counts(const struct backend *b);
/* What of the weights its checks say comes to, after endpoints or agent has changed.  True: share is another
 * one.  Thread: main. */
bool backend_weigh(struct backend *b);
/* Its weight as it counts now, in hundredths; 0: it gets nothing new.  Any thread. */
static inline uint32_t
backend_weight(const struct backend *b)
{
	return atomic_load_explicit(&b->weight, memory_order_relaxed) *
	       atomic_load_explicit(&b->share, memory_order_relaxed);
}
/* The truth table above.  Thread: main. */
enum backend_use backend_use(const struct backend *b);

/* Takes a place, unless the backend has `limit` connections already (0: no
 * limit); never passed, not even for a moment.  Any thread. */
static inline bool
backend_enter(struct backend *b, uint32_t limit)
{
	uint32_t now;

	if (limit == 0) {
		atomic_fetch_add_explicit(&b->connections, 1, memory_order_relaxed);
		return true;
	}
	now = atomic_load_explicit(&b->connections, memory_order_relaxed);
	do {
		if (now >= limit)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&b->connections, &now, now + 1, memory_order_relaxed,
							memory_order_relaxed));
	return true;
}

static inline void
backend_leave(struct backend *b)
{
	atomic_fetch_sub_explicit(&b->connections, 1, memory_order_relaxed);
}

/* How a connect went, for the counters. */
static inline void
backend_connected(struct backend *b)
{
	if (atomic_load_explicit(&b->failed_in_row, memory_order_relaxed) != 0)
		atomic_store_explicit(&b->failed_in_row, 0, memory_order_relaxed);
}

static inline void
backend_failed(struct backend *b)
{
	atomic_fetch_add_explicit(&b->connect_failures, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&b->failed_in_row, 1, memory_order_relaxed);
}

/* How it answered a request, apart from that: bad is an answer that says that the
 * server has failed, or that is none. */
static inline void
backend_answered(struct backend *b, bool bad)
{
	if (bad) {
		atomic_fetch_add_explicit(&b->bad_answers, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&b->bad_in_row, 1, memory_order_relaxed);
	} else if (atomic_load_explicit(&b->bad_in_row, memory_order_relaxed) != 0) {
		atomic_store_explicit(&b->bad_in_row, 0, memory_order_relaxed);
	}
}

#endif
