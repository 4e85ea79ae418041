/* watch_lease.h - in a fleet one teald watches the nodes of a pool and writes them into the store, the others take what it
 * wrote: one exchange with the store about that, struct store's watch().
 * The one that watches has a lease, which ends by the store's clock unless it is renewed.  Each lease has a token of its
 * own, and only its holder writes: one that slept, or was cut off, finds another's token and changes nothing.
 * Thread: main. */
#ifndef STORE_WATCH_LEASE_H
#define STORE_WATCH_LEASE_H

#include "base/err.h"
#include "base/str.h"

/* Of a set's stamp, "TOKEN.NUMBER"; with NUL. */
#define WATCH_STAMP 48
/* Of a teald's host, and of what a holder says is wrong; with NUL. */
#define WATCH_HOST 64
#define WATCH_PROBLEM 256

enum watch_wish {
	WATCH_LOOK,	/* only to hear */
	WATCH_HOLD,	/* to take the lease if no other one holds it, or to renew it */
	WATCH_LEAVE	/* to give it back */
};

/* Everything is borrowed for the call. */
struct watch_ask {
	const char *key;	/* the pool and a digest of what decides about its nodes: "main:1a2b3c4d" */
	enum watch_wish wish;
	uint64_t token;	/* of the lease that is held; 0: none */
	double life;	/* of the lease, seconds */
	const char *stamp;	/* of the set that is known already; "": none */
	struct str set;	/* to be written; n 0: nothing.  Only with a lease that is held */
	double api_age;	/* seconds since the API's last word; < 0: it has said nothing */
	const char *problem;	/* why it says nothing now; "": it does */
};

/* Borrowed until the callback returns. */
struct watch_told {
	bool ours;	/* the lease is this teald's */
	bool held;	/* it is anyone's */
	bool written;	/* set is in the store */
	uint64_t token;	/* of the lease, if ours */
	const char *holder;	/* its host; "": there never was one */
	int64_t since_us;	/* by the store's clock: since when it has been the holder's; 0: there never was one */
	const char *stamp;	/* of the set that the store has; "": none */
	struct str set;	/* if it has another stamp than that which is known; n 0: nothing new */
	double api_age;	/* seconds since the API's last word to a holder; < 0: there was none */
	const char *problem;	/* as the holder says it */
};

/* OK: *told is filled in.  E_STORE, E_UNKNOWN: the store did not say.  Maybe called from inside watch(). */
typedef void store_watch_fn(void *arg, enum err e, const struct watch_told *told, const struct why *why);

#endif
