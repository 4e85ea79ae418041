/* rollout.h - the way of one service's record into the engines: published, then
 * applied (every thread obeys it), then the idle color drains, then it is drained.
 * Each new color begins the way anew.
 * Thread: main. */
#ifndef CONTROL_ROLLOUT_H
#define CONTROL_ROLLOUT_H

#include "model/record.h"

struct drain_legacy;
struct service_ctl;

enum rollout_state {
	ROLLOUT_WAITING,	/* for the store and the first verdicts: no snapshot went out yet */
	ROLLOUT_PUBLISHED,	/* some thread may still obey an older record */
	ROLLOUT_APPLIED,
	ROLLOUT_DRAINING,
	ROLLOUT_DRAINED
};

struct rollout {
	enum rollout_state state;
	uint64_t generation;	/* the first to carry the record's epoch */
	bool flipped;	/* from another color: once applied, that one drains */
	bool shifted;	/* from another share: once applied, the idle color drains if it has none any more */
	bool leftover;	/* it had no colors until now: what is on the idle one drains */
	bool resumed;	/* what the start found on the idle color has its drain, if there was anything */
	struct drain_legacy *legacy;	/* what drains already when serving begins; NULL: nothing is known to */
	/* The drain time that a flip asks for, and the record it is about to write: of
	 * another one it says nothing. */
	struct {
		uint64_t epoch;
		int64_t at_us;
		char by[RECORD_NAME];
		double timeout;	/* seconds; < 0: none was asked for */
	} wish;
};

void rollout_init(struct service_ctl *ctl);
/* A flip writes `next` and wants that drain time, < 0: the service's own. */
void rollout_wish(struct service_ctl *ctl, const struct record *next, double timeout);
/* The change that the record is of was asked for here, not at another teald of the fleet. */
bool rollout_is_ours(const struct service_ctl *ctl);
/* The service's record has been replaced; before, it was `was`.  Publishes when color or share is
 * another one; flips and fleet are told when there was nothing to do. */
void rollout_on_record(struct service_ctl *ctl, const struct record *was);
/* By a reload the service has no colors any more, or has again: flips and the drain that were under
 * way are over, and its record is not known until it is told anew. */
void rollout_change_colors(struct service_ctl *ctl);
/* That record has come: it is published. */
void rollout_begin_again(struct service_ctl *ctl);
/* Before rollout_start(): another teald served until now.  What it drained goes on; NULL: it drained nothing. */
void rollout_inherit(struct service_ctl *ctl, const struct drain_legacy *legacy);
void rollout_free(struct service_ctl *ctl);
/* The first snapshot goes out. */
void rollout_start(struct service_ctl *ctl);
/* The idle color drains once it is applied. */
bool rollout_will_drain(const struct service_ctl *ctl);
/* service->acked has grown. */
void rollout_on_acked(struct service_ctl *ctl);
/* The drain that rollout began is over. */
void rollout_on_drained(struct service_ctl *ctl);

#endif
