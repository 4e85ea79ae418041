/* flip.h - one change of the active color, from the question to the drain.
 *
 *	CHECKING -> STORING -> APPLYING -> DRAINING -> gone
 *
 * One that waits for health (HEALING) delays no other: it gets in line again
 * for each look at the gate.
 *
 * A flip lives by itself: its client may leave at any time.
 * Thread: main. */
#ifndef CONTROL_FLIP_H
#define CONTROL_FLIP_H

#include "control/control.h"

enum flip_wait { FLIP_WAIT_APPLIED, FLIP_WAIT_DRAINED, FLIP_WAIT_NONE };

struct flip_request {
	/* CHANGE_FLIP; CHANGE_SHIFT: the idle color `to` has `share` of the clients from now on, and with all of them is
	 * active; or CHANGE_ROLLBACK, which ends a share that was begun, else undoes the last flip. */
	enum change kind;
	enum color to;	/* ignored for a rollback */
	/* Of SHARE_WHOLE.  Of a flip: what the color that was active keeps (a hold-back), 0 as a rule. */
	uint32_t share;
	bool has_expect, expect_has_epoch;
	enum color expect;
	uint64_t expect_epoch;
	bool has_at_epoch;	/* only while the epoch is that, whatever color is active */
	uint64_t at_epoch;
	enum flip_wait wait;
	struct ramp ramp;	/* of a shift: how the share is to grow from there; n is 0: not by itself */
	enum flip_wait ramp_wait;	/* with the first step of a ramp: what its client waits for in the end */
	bool by_ramp;	/* a later step: what refuses it is told by the ramp */
	bool ramped;	/* with only_waits: a ramp has led there, whose client waited */
	bool only_waits;	/* until the last flip to it is applied or drained: never writes */
	char token[CLAIM_HASH];	/* hashed, of the claim that it ends; "": none */
	bool keep_claim;	/* that claim goes on at the new epoch, for a rollback by its token */
	bool no_cut;	/* connections that were cut at the drain's deadline are E_TIMEOUT */
	double wait_healthy;	/* seconds to wait for the gate to open; 0: no */
	bool has_timeout, has_drain;
	double timeout, drain;	/* seconds */
	bool force;
	bool unnoted;	/* a refusal is in the history, and was told, already */
	double bake;	/* seconds that the color is judged afterwards (control/bake.h); 0: not */
	enum on_regression on_regression;
	char reason[RECORD_REASON];
	struct actor by;
};

struct bake;
struct ramp_run;
struct gate;
struct flip_group;

/* What the watcher of a flip is told on the way; of a check: CHECKED alone. */
enum flip_event_kind {
	FLIP_EVENT_CHECKED,
	FLIP_EVENT_COMMITTED,
	FLIP_EVENT_APPLIED,
	FLIP_EVENT_DRAINING,
	FLIP_EVENT_DRAINED,
	FLIP_EVENT_BAKING,
	FLIP_EVENT_RAMPING,
};

struct flip_event {
	enum flip_event_kind kind;
	const struct gate *gate;	/* CHECKED: what the gate found; borrowed */
	uint64_t epoch;	/* COMMITTED, APPLIED, DRAINED: the flip's */
	double seconds;	/* APPLIED: since the flip began; DRAINED: of the drain */
	uint64_t remaining;	/* DRAINING: connections left */
	uint64_t cut;	/* DRAINED: connections ended at the deadline */
	const struct flip_group *group;	/* of several services, all of which it is so of; NULL: of one; borrowed */
	const struct bake *bake;	/* BAKING: how it goes; borrowed */
	const struct ramp_run *ramp;	/* RAMPING: likewise */
};

/* Did a command change something?  UNSAID: it is none that could; UNKNOWN: a
 * write may or may not have reached the store. */
enum changed { CHANGED_UNSAID, CHANGED_NO, CHANGED_YES, CHANGED_UNKNOWN };

/* How a flip, check, lock, unlock, claim or release ended. */
struct flip_outcome {
	enum err error;
	const char *message;	/* why, and what to do next; NULL when OK; borrowed */
	const struct service *service;	/* its record is the state after the command; NULL: of several */
	const struct flip_group *group;	/* those several; NULL: of one; borrowed */
	enum changed changed;
	const struct gate *gate;	/* of a check that found it open; NULL: none; borrowed */
	const char *token;	/* of a claim; NULL: none; borrowed */
	const struct bake *bake;	/* that is over; NULL: none; borrowed */
	bool drained;	/* the old color is empty, and `cut` known */
	uint64_t cut;	/* connections that the drain's deadline ended, in the whole fleet */
};

/* Where the events and the outcome go; both are borrowed.  done is called exactly
 * once, and nothing after it.  It may be called from inside flip_start(). */
struct flip_watcher {
	void (*progress)(struct flip_watcher *w, const struct flip_event *e);
	void (*done)(struct flip_watcher *w, const struct flip_outcome *o);
	/* Where the flip that will answer keeps its pointer to this watcher; NULL when
	 * none does.  The watcher's owner leaves it alone. */
	struct flip_watcher **held;
};

/* For those who answer: remember the watcher in *place, or forget it. */
void flip_watch(struct flip_watcher **place, struct flip_watcher *watcher);
struct flip_watcher *flip_let_go(struct flip_watcher **place);
/* The event to a watcher; NULL: to none. */
void flip_tell(struct flip_watcher *watcher, const struct flip_event *e);
/* The outcome to the watcher in *place, which is forgotten. */
void flip_end(struct flip_watcher **place, const struct flip_outcome *o);

/* Flips of one service that have begun or wait, and those of them that only root
 * and the user teald runs as may have; and of one other user. */
#define FLIPS_MAX 256
#define FLIPS_RESERVE 64
#define FLIPS_EACH 64

/* watcher may be NULL.  One beyond these limits is refused.  Flips of one service take their turns: a second one
 * begins its checks when the first has been applied or refused, or is applied here and has waited some seconds
 * for others of the fleet; should another color come first then, its last word is E_CONFLICT. */
void flip_start(struct service_ctl *ctl, const struct flip_request *request, struct flip_watcher *watcher);
/* The watcher leaves; the flip goes on.  Harmless when it is done. */
void flip_unwatch(struct flip_watcher *watcher);

/* lock and unlock: a conditional write like a flip, without a gate; answers
 * through the watcher.  reason is NULL to unlock. */
void flip_lock(struct service_ctl *ctl, const char *reason, const struct actor *by, struct flip_watcher *watcher);

/* Upcalls: the record's epoch has been acknowledged by every worker; the drain moved,
 * ended, or was ended by a flip back. */
void flip_on_applied(struct service_ctl *ctl);
/* The record has changed: what bars flips ends those that wait for health. */
void flip_on_record(struct service_ctl *ctl);
/* The process or the service ends: all flips are answered with that error.  One whose
 * write is under way is over when the store has answered, of which, if the process
 * ends, nothing may come any more. */
void flip_end_all(struct service_ctl *ctl, enum err error, const char *message);
void flip_on_superseded(struct service_ctl *ctl);
void flip_on_drained(struct service_ctl *ctl, double seconds, uint64_t cut);
void flip_on_drain_progress(struct service_ctl *ctl, uint64_t remaining);

#endif
