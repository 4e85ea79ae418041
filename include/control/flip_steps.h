/* flip_steps.h - inside of a flip: what flip.c (its life and its answers),
 * flip_checks.c (before the store) and flip_apply.c (after it) share.
 * Thread: main. */
#ifndef CONTROL_FLIP_STEPS_H
#define CONTROL_FLIP_STEPS_H

#include <stdio.h>

#include "control/flip.h"
#include "control/gate.h"

/* How soon a gate, or a store that did not answer, is asked again, seconds. */
#define FLIP_GATE_AGAIN 0.2

enum flip_state { FLIP_WAITING, FLIP_CHECKING, FLIP_HEALING, FLIP_READY, FLIP_STORING, FLIP_APPLYING, FLIP_DRAINING, FLIP_OVER };

struct flip {
	struct service_ctl *ctl;
	struct flip_group_member *member;	/* of a flip of several, while that is told of it; NULL: none */
	struct link link;	/* on ctl's flips, healing or drainers */
	enum flip_state state;
	struct flip_request request;
	enum color from, to;	/* to: what is active, or has a greater share, afterwards */
	/* What of the record is to become another: color, share and change. */
	struct record next;
	uint32_t gains;	/* what `to` has then, of SHARE_WHOLE */
	struct flip_watcher *watcher;	/* NULL: none (any more) */
	struct gate *gate;
	double started;	/* clock_now() */
	double healthy_until;	/* the gate is asked again until then */
	uint64_t epoch;	/* after the change */
	bool changed;	/* by this flip; false when it was active already */
	bool same;	/* of several: it was active already, and is only compared */
	uint64_t checked_epoch;	/* the record's when the checks began */
	unsigned release_waits;
	unsigned rechecked;	/* how often, since a write met a change of a claim */
	bool asking;	/* the store is being read for us: we cannot go before it answers */
	enum { FRESH_UNKNOWN, FRESH_READ, FRESH_FAILED } fresh;	/* the store, before the checks */
	struct why not_fresh;
	bool local;	/* applied here; now the others */
	double local_since;	/* clock_now() of the first look at them; 0: none yet */
	double unsure_since;	/* clock_now() since when it is unknown whether they have; 0: known */
	char late[512];	/* members that have not applied it, as last read */
	double drain_seconds;
	uint64_t drain_cut;
	double pause;	/* until the others were asked again, seconds */
	ev_timer again;	/* the gate, the others */
	ev_timer timeout;
};

/* For log lines: the member "revision", or nothing. */
#define FLIP_REVISION_JSON 32
static inline struct str
flip_revision_json(const char *revision, char text[FLIP_REVISION_JSON])
{
	text[0] = '\0';
	if (revision[0] != '\0')
		snprintf(text, FLIP_REVISION_JSON, "\"revision\":\"%s\"", revision);
	return str_from(text);
}

static inline enum changed
flip_changed(const struct flip *f)
{
	return f->changed || f->request.ramped ? CHANGED_YES : CHANGED_NO;
}

static inline struct control *
flip_control(const struct flip *f)
{
	return f->ctl->control;
}

/* -- flip.c ---------------------------------------------------------------------- */

void flip_become(struct flip *f, enum flip_state state);
/* The next in the queue gets its turn. */
void flip_next_turn(struct service_ctl *ctl);
/* It waits for health and lets others take their turn; then it gets in line. */
void flip_step_aside(struct flip *f);
/* From HEALING. */
void flip_get_in_line(struct flip *f);
/* One that is in no line yet; then it enters that of its service, or is refused. */
struct flip *flip_new(struct service_ctl *ctl, const struct flip_request *request, struct flip_watcher *watcher);
void flip_enter(struct flip *f);
/* Seconds; 0: none. */
double flip_timeout_of(const struct flip *f);
/* The end of a flip, wherever it is. */
void flip_free(struct flip *f);

/* The outcome to the watcher, who then knows this flip no more. */
void flip_answer_ok(struct flip *f);
void flip_answer_error(struct flip *f, enum err e, const char *message, enum changed changed);
void flip_fill_entry(const struct flip *f, struct audit_entry *a, uint64_t epoch, enum err result);
/* Nothing was changed, or it is unknown: tells all watchers, and the flip is gone. */
void flip_refuse(struct flip *f, enum err e, const char *message);

/* NULL without one. */
const struct fleet *flip_fleet(const struct flip *f);
/* Reads the store, then goes on with the state's next step; perhaps from
 * inside, and then the flip may be gone. */
void flip_ask_store(struct flip *f);
/* The same after a while; in FLIP_CHECKING the checks are run again. */
void flip_ask_again(struct flip *f, double seconds);

/* -- flip_checks.c ------------------------------------------------------------------ */

/* Of shares: flip_share.c.  What the request comes to by the present record, into f->next, to and gains.  False: it
 * was answered, and the flip is gone. */
MUST_USE bool flip_plan(struct flip *f);
/* It changes nothing. */
bool flip_is_done(const struct flip *f);
/* Some of those who serve it cannot hold a share; then it was refused. */
bool flip_refuse_unshared(struct flip *f);

/* Each may end the flip. */
void flip_run_checks(struct flip *f);
void flip_on_fleet(struct flip *f);
/* It has the color: waits for what is asked for, and answers. */
void flip_already_active(struct flip *f);
/* What is to be written of it, once all is checked.  same: it is only compared; revision: "" of it alone. */
void flip_fill_write(struct flip *f, struct store_write *w, bool same, const char *revision);
/* Another command came since it was checked, or bars it: it is refused, and true. */
bool flip_refuse_if_outdated(struct flip *f);
void flip_refuse_without_store(struct flip *f, const struct why *why);
#define FLIP_TEXT (RECORD_REASON + 512)
/* What keeps the flip with that token ("": none) from another color, with a sentence in text:
 * E_LOCKED; E_CLAIMED by another; E_CONFLICT: the token's claim does not hold any more; or OK. */
MUST_USE enum err flip_barred(const struct service_ctl *ctl, const char *token, char text[FLIP_TEXT]);
/* Returns whether it did, and then the flip is gone. */
bool flip_refuse_if_barred(struct flip *f);

/* -- flip_apply.c ------------------------------------------------------------------- */

/* store_done_fn; arg is the flip. */
void flip_on_store(void *arg, enum err e, const struct record *now, const struct why *why);
/* The store has been read, or could not be. */
void flip_look_for_laggards(struct flip *f);
void flip_look_for_holders(struct flip *f);
void flip_wait_for_store(struct flip *f, const struct why *why);
/* Flipped, but some of the fleet (f->late) have not applied it. */
void flip_partial(struct flip *f);
void flip_wait_for_drain(struct flip *f);

#endif
