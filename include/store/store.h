/* store.h - where the truth about colors lives, behind one table: the
 * embedded file today, Redis for a fleet.
 * Thread: main; everything that may block happens elsewhere. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <ev.h>

#include "base/err.h"
#include "model/config.h"
#include "model/node.h"
#include "model/record.h"
#include "net/jobs.h"
#include "store/fleet.h"
#include "store/watch_lease.h"

struct store;

/* What a write means to change; every other field stays what the store has.  A color that
 * is written with the token of a claim means the claim, too. */
enum store_meaning { STORE_COLOR, STORE_LOCK, STORE_CLAIM, STORE_HOLD };

/* One conditional write: service's record becomes next if its epoch is still
 * expect_epoch.  (A lock, a claim or a hold keeps the epoch; a flip adds one.)  While a claim holds,
 * a color or a claim is written only with its token: else E_CONFLICT, as is a token whose claim
 * does not hold.  The token of a hold is the name of the one that is on (record_hold_name()). */
struct store_write {
	const char *service;
	enum store_meaning means;
	const char *token;	/* hashed, of the claim that allows it; NULL: none */
	uint64_t expect_epoch;
	struct record next;
	struct audit_entry entry;	/* goes into the history with it ... */
	bool unnoted;			/* ... unless the history has a line of it already */
	bool same;	/* of several: it is only compared, and stays what it is */
};

/* now: the record as the store has it after the attempt (NULL when it could
 * not say).  OK: written and durable; now's epoch is next's, or a later one when
 * the write went over what was disputed.  E_CONFLICT: the epoch was another.
 * E_NOT_DURABLE, E_STORE: nothing was changed.  E_UNKNOWN: it did not say, or
 * what it has now may not survive a crash; with a now, that is what to obey.
 * Of several a conflict without a sentence is another's: this one was as expected, and is not written
 * either. */
typedef void store_done_fn(void *arg, enum err e, const struct record *now, const struct why *why);

/* entries: oldest first, the receiver's until the callback returns. */
typedef void store_history_fn(void *arg, enum err e, const struct audit_entry *entries, size_t n,
			      const struct why *why);

/* OK: written and durable; E_CONFLICT: another command changed the pool; others as
 * above.  May be called from inside write_nodes(). */
typedef void store_nodes_fn(void *arg, enum err e, const struct why *why);

struct store_status {
	const char *type;	/* "file" or "redis" */
	bool up;
	/* Seconds since what is known was last confirmed.  The embedded store has no
	 * other writer: 0 while it works, else since it last did. */
	double age;
	bool read;	/* what it is the age of is a reading of this teald's; false: of nothing yet */
	const char *where;	/* the server, or the file; NULL: nothing to say */
	const char *problem;	/* what is wrong, in a sentence; NULL: nothing */
	const char *problem_service;	/* the service that the sentence names; NULL: none */
};

/* The truth has just been read (OK), or could not be (E_STORE). */
typedef void store_refreshed_fn(void *arg, enum err e, const struct why *why);

struct store {
	/* Reads everything known; afterwards on_record() has been called for each
	 * configured service that has colors (with its initial color when the store answered that
	 * it has no such service), then on_ready(). */
	enum err (*open)(struct store *s, struct why *why);
	void (*write)(struct store *s, const struct store_write *w, store_done_fn *done, void *arg);
	/* Several that mean a color, of as many services, as one: all are written, or none.  done is called for
	 * each, with its arg, once all records have been told. */
	void (*write_all)(struct store *s, const struct store_write *w, size_t n, store_done_fn *done, void *const *args);
	/* Adds a line to the history without changing a record (a refused
	 * flip); best effort, durable with the next write at the latest. */
	void (*note)(struct store *s, const struct audit_entry *entry);
	/* The last entries of a service, at most `last`.  done may be called from
	 * inside. */
	void (*history)(struct store *s, const char *service, unsigned last, store_history_fn *done, void *arg);
	void (*status)(const struct store *s, struct store_status *out);
	/* What is said of a pool's nodes becomes next, if it is of the version
	 * before next's. */
	void (*write_nodes)(struct store *s, const char *pool, const struct overlay *next, store_nodes_fn *done,
			    void *arg);
	/* The services and pools are those of `to` from now on; the rest of it is what it was.  Of the
	 * configurations before only the first, which the store was made with, has to stay. on_record() follows, perhaps from inside, for each service that is
	 * new to the store's owner, as by open(); of one that is gone, or has no colors any more, nothing more is told, and
	 * what the store has of it stays for the day it comes back. */
	void (*reconfigure)(struct store *s, const struct config *to);
	/* Waits for writes under way and waiting (their callbacks are called);
	 * not from a callback.  *sp is NULL on return. */
	void (*close)(struct store **sp);

	/* Only the store of a fleet has the next nine; else NULL.
	 * refresh: reads the truth now; done is called once, within about a second,
	 * perhaps from inside. */
	void (*refresh)(struct store *s, store_refreshed_fn *done, void *arg);
	/* By which the fleet knows this teald, over restarts and upgrades; NULL before it is read. */
	const char *(*id)(const struct store *s);
	/* What its clock says, in us since 1970: times of claims are its own. */
	int64_t (*now)(const struct store *s);
	/* What this teald has applied or sees has changed: tell the others. */
	void (*announce)(struct store *s);
	/* The others, as last read. */
	const struct fleet *(*fleet)(const struct store *s);
	/* The store holds a color for the service that is not obeyed here; the next
	 * write, whatever color it is for, goes over it. */
	bool (*disputed)(const struct store *s, const char *service);
	/* What the store says of the pool's nodes, where it is not what is obeyed here; NULL: it is.  A
	 * change is made of that, and goes over it. */
	const struct overlay *(*disputed_nodes)(const struct store *s, const char *pool);
	/* Asks who watches the nodes of a pool, and what it has written. */
	void (*watch)(struct store *s, const struct watch_ask *ask, store_watch_fn *done, void *arg);
	/* Says goodbye; true once that is done (call again until then). */
	bool (*leave)(struct store *s);

	/* What this teald is and sees, for its heartbeat: members are filled in by
	 * the owner, services is its to keep.  Set before open(). */
	void (*describe)(void *arg, struct fleet_member *self);
	/* May a color that a stranger wrote be obeyed? */
	bool (*may_obey)(void *arg, const char *service, enum color to);
	/* May nodes that a stranger wrote be obeyed?  Otherwise what they would do is put into *why. */
	bool (*may_obey_nodes)(void *arg, const char *pool, const struct overlay *next, struct why *why);

	/* Upcalls, set before open().  A record is told whenever it changed, by
	 * whomever; before the done callback of the write that changed it. */
	void (*on_record)(void *arg, const char *service, const struct record *r);
	void (*on_ready)(void *arg);
	/* What is said of a configured pool's nodes, when there is anything and
	 * whenever it changed; before the records when both are first read.
	 * Those that are not obeyed come without what they take away.  Borrowed. */
	void (*on_nodes)(void *arg, const char *pool, const struct overlay *now);
	/* Another teald has written the set of a pool that it watches, or gave its lease back. */
	void (*on_watch)(void *arg);
	void *arg;
};

/* The clock of claims, us since 1970. */
int64_t store_now(const struct store *s);

/* Redis, shared by a fleet; state_dir keeps the last known state.
 * assume_initial: a service that neither Redis nor state_dir knows begins with
 * its initial color at once, for emergencies. */
struct store *store_redis_new(const struct config *config, struct jobs *jobs, bool assume_initial);

/* The embedded store: one file in state_dir.  config and jobs outlive it. */
struct store *store_file_new(const struct config *config, struct jobs *jobs);

#endif
