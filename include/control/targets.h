/* targets.h - what is checked: an address that is asked in one way is one target, which is
 * asked once for all backends whose checks are the same, of whatever service.
 * Thread: main. */
#ifndef CONTROL_TARGETS_H
#define CONTROL_TARGETS_H

#include <ev.h>

#include "base/list.h"
#include "control/probe.h"

/* Probes under way at a time: of targets whose last probe did not hang, of those
 * whose did or that have not been asked, and of those all of whose backends are down
 * and that let probes hang. */
#define TARGETS_PROMPT 128
#define TARGETS_UNSURE 128
#define TARGETS_HANGING 96

enum target_line {
	LINE_PROMPT,	/* the last probe did not hang */
	LINE_UNSURE,	/* it did, or there was none yet; a verdict may change */
	LINE_HANGING,	/* it did, and all backends are known to be down */
	TARGET_LINES
};

struct targets;
struct target;

/* A service: targets wait for a probe in lines of its own, and the services take turns. */
struct target_owner {
	struct target_turn {
		struct link targets;	/* that wait */
		struct link link;	/* among the owners in line, while there are any */
	} lines[TARGET_LINES];
};
void target_owner_init(struct target_owner *o);

/* A backend that is judged by the answers of a target; part of what its owner knows of it. */
struct target_user {
	struct target *target;	/* NULL: of none */
	struct link link;	/* on the target's */
	struct target_owner *owner;	/* outlives it */
};

struct targets_ops {
	/* What it is asked, borrowed until the next call.  Of all users of a target it is the same. */
	void (*question)(struct target_user *u, struct probe_request *out);
	/* An answer; error as in probe.h, prompt: it did not hang.  Users, this one included, may join and
	 * leave from inside. */
	void (*answered)(struct target_user *u, const char *error, bool prompt);
	/* The probe could not begin: teald lacks something. */
	void (*not_asked)(struct target_user *u, const char *error);
	/* Seconds between two probes, as this user wants them now; the least of all counts. */
	double (*every)(const struct target_user *u);
	bool (*is_down)(const struct target_user *u);
};

/* ops outlives it. */
struct targets *targets_new(struct ev_loop *loop, const struct targets_ops *ops);
/* No user is left. */
void targets_free(struct targets **tp);

/* The user of none becomes one of the target that is asked so, and that is asked at once.
 * key: two questions are the same if their keys are. */
void target_join(struct targets *all, struct target_user *u, struct str key);
/* Harmless for one that has no target.  The last one ends a probe that is under way, whose place is free for
 * others: targets_go_on() tells them, once all that leave have left. */
void target_leave(struct target_user *u);
void targets_go_on(struct targets *all);
bool target_is(const struct target *t, struct str key);
/* Asks it as soon as there is a place, unless that is under way. */
void target_ask(struct targets *all, struct target *t);
/* The same, but not more than ten times a second; what comes too soon is put off. */
void target_hurry(struct targets *all, struct target *t);
/* How many backends are judged by it. */
size_t target_users(const struct target *t);

struct targets_totals {
	size_t targets;	/* now */
	uint64_t probes[2];	/* that failed [0] and passed [1], since the start */
};
struct targets_totals targets_totals(const struct targets *all);

#endif
