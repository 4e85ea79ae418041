/* flip_group.h - several services flipped, rolled back or checked as one.
 *
 * Each has a flip of its own, which takes its turn and is checked like any other; all begin in one turn of the
 * loop, so that of two groups the same one is first in every line that they share.  Once all of them may be
 * written the store writes all, or none.
 * Thread: main.  Owns itself: it is gone when the last of its flips has ended. */
#ifndef CONTROL_FLIP_GROUP_H
#define CONTROL_FLIP_GROUP_H

#include "control/flip.h"

#define FLIP_GROUP_MAX 32

struct flip;

struct flip_group_member {
	struct flip_group *group;
	struct service_ctl *ctl;	/* one reference */
	struct flip_watcher watcher;	/* of its flip, or its check */
	struct flip *flip;	/* NULL: none, or it is over */
	enum {
		MEMBER_CHECKING,
		MEMBER_UNHEALTHY,	/* it could wait for health */
		MEMBER_READY,	/* may be written */
		MEMBER_OVER
	} step;
	bool same;	/* is what it shall be already */
	bool blameless;	/* refused because of others */
	bool checked_told, applied, drained;
	enum err error;
	enum changed changed;
	char message[RECORD_REASON + 512];
	enum color to;
	uint64_t epoch;	/* MEMBER_OVER: its record's */
	enum color active;	/* likewise */
	size_t healthy, total, needed;	/* of a check */
	uint64_t remaining;	/* while it drains */
};

struct flip_group {
	struct flip_watcher *watcher;	/* NULL: left */
	struct control *control;
	enum change kind;
	bool check;	/* only asks */
	bool written;	/* the store has been asked, or need not be */
	bool refusing;
	bool committed_told, applied_told, drained_told;
	char revision[REVISION_WORD];	/* "": nothing is written */
	double started;	/* clock_now() */
	double seconds, drain_seconds;	/* until the last has applied; of the longest drain */
	uint64_t cut;
	ev_timer again;	/* those that wait for health get in line again */
	size_t n, left;	/* left: whose flip or check is not over */
	struct flip_group_member members[];
};

/* What is asked of one member; to is ignored for a rollback. */
struct flip_target {
	struct service_ctl *ctl;
	enum color to;
	bool has_at_epoch;
	uint64_t at_epoch;
};

/* n from 1 to FLIP_GROUP_MAX, no service twice; request is for all of them, without colors and epochs of its own and without
 * a token.  The watcher (NULL: none) is told of the gates of each, then once for all: committed, applied, draining, drained,
 * with the group in the event; and the outcome, with the group in it. */
void flip_group_start(struct control *c, const struct flip_target *targets, size_t n, const struct flip_request *request,
		      struct flip_watcher *watcher);
/* The same questions without a flip. */
void flip_group_check(struct control *c, const struct flip_target *targets, size_t n, double wait_healthy,
		      struct flip_watcher *watcher);

/* -- for flips that are of a group; each may end the flip ---------------------- */

/* It may be written; same: it has the color already. */
void flip_group_ready(struct flip *f, bool same);
/* Its gate is shut, and its time is not over. */
void flip_group_unhealthy(struct flip *f);
/* What ends it now is the doing of another of the group. */
void flip_group_blameless(struct flip *f);

#endif
