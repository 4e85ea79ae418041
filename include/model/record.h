/* record.h - what the store knows of one service: the truth about its color.
 * A value; owns nothing. */
#ifndef MODEL_RECORD_H
#define MODEL_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "model/claim_token.h"
#include "model/color.h"
#include "model/share.h"

#define RECORD_NAME 64	/* with NUL: user and service names */
#define RECORD_REASON 1025	/* with NUL */

/* What made the record what it is. */
enum change {
	CHANGE_INITIAL,
	CHANGE_FLIP,
	CHANGE_ROLLBACK,
	CHANGE_LOCK,
	CHANGE_UNLOCK,
	CHANGE_CLAIM,
	CHANGE_RELEASE,
	CHANGE_SHIFT,
	CHANGE_HOLD,
	CHANGE_UNHOLD,
};
#define CHANGE_LAST CHANGE_UNHOLD

/* Of the color or of a share, so that the epoch grows. */
static inline bool
change_is_of_color(enum change c)
{
	return c <= CHANGE_ROLLBACK || c == CHANGE_SHIFT;
}

struct record {
	enum color color;
	uint64_t epoch;	/* one more for each change of color or share; never less */
	enum change change;	/* of the color or share: initial, flip, rollback or shift */
	int64_t at_us;	/* wall clock of that change */
	char by[RECORD_NAME];
	char reason[RECORD_REASON];
	struct share share;	/* what the idle color has of the traffic */
	bool forced;	/* that change skipped the gate: others obey without asking theirs */
	char revision[REVISION_WORD];	/* of the flip of several services that made it, the same in all of them; "": of this one alone */
	struct {
		bool on;
		int64_t at_us;
		char by[RECORD_NAME];
		char reason[RECORD_REASON];
	} lock;
	/* The idle color is one job's.  Ends with the epoch it was made at, whatever raised
	 * that, at its time by the store's clock, or with its release. */
	struct {
		bool on;
		uint64_t epoch;
		int64_t at_us, until_us;	/* the store's clock */
		char token[CLAIM_HASH];	/* hashed */
		char by[RECORD_NAME];
		char reason[RECORD_REASON];
	} claim;
	/* New connections and requests wait.  Ends as a claim does: with the epoch it was made at, at its time, or
	 * with its release. */
	struct {
		bool on;
		uint64_t epoch;
		int64_t at_us, until_us;	/* the store's clock */
		char by[RECORD_NAME];
		char reason[RECORD_REASON];
	} hold;
};

/* Is the service claimed at that time, by the store's clock? */
static inline bool
record_claimed(const struct record *r, int64_t now_us)
{
	return r->claim.on && r->claim.epoch == r->epoch && now_us < r->claim.until_us;
}

/* Does the service hold its clients at that time, by the store's clock? */
static inline bool
record_held(const struct record *r, int64_t now_us)
{
	return r->hold.on && r->hold.epoch == r->epoch && now_us < r->hold.until_us;
}

/* What a write must name that ends that hold, or takes its place; "" where there is none. */
#define RECORD_HOLD_NAME 24
void record_hold_name(const struct record *r, int64_t now_us, char name[RECORD_HOLD_NAME]);

/* Equal in every field. */
bool record_same(const struct record *a, const struct record *b);
/* What the color has of the traffic, of SHARE_WHOLE. */
static inline uint32_t
record_share(const struct record *r, enum color color)
{
	return share_held(&r->share, r->color, color);
}

bool record_same_lock(const struct record *a, const struct record *b);
bool record_same_claim(const struct record *a, const struct record *b);
bool record_same_hold(const struct record *a, const struct record *b);

/* One line of the history: a change that happened, or was refused. */
struct audit_entry {
	char service[RECORD_NAME];
	int64_t at_us;
	enum change change;
	uint64_t epoch;	/* after it */
	enum color from, to;	/* equal for locks, claims and holds; of a shift: the active color, and the one whose share it is */
	uint32_t share;	/* what `to` has after it, of SHARE_WHOLE; 0 also where it is not about that */
	char by[RECORD_NAME];
	uint32_t uid;
	int32_t pid;
	char reason[RECORD_REASON];
	char expect[32];	/* as given, "" when not */
	char result[24];	/* "ok" or an error word */
	char host[RECORD_NAME];	/* the machine of the teald that was asked */
	char revision[REVISION_WORD];	/* as in the record; "" where there is none */
};

/* This machine's name, for audit_entry.host. */
void audit_set_host(struct audit_entry *a);

const char *change_word(enum change c);	/* "initial" "flip" … */
bool change_from_word(const char *word, enum change *out);

#endif
