/* claim.h - claims: the idle color of a service is one job's until that flips, lets go of
 * it or its time is over.  Kept in the store, with the record, for all of a fleet.
 * Thread: main. */
#ifndef CONTROL_CLAIM_H
#define CONTROL_CLAIM_H

#include "control/flip.h"

struct claim_request {
	bool release, force;	/* end the claim; force: whatever its token */
	double ttl;	/* seconds */
	double wait;	/* seconds to wait while it is another's; 0: no */
	char token[CLAIM_TOKEN];	/* of the claim that is renewed or released; "": none */
	char name[CLAIM_TOKEN];	/* the token of the claim that is made; "": a random one */
	char reason[RECORD_REASON];
	struct actor by;
	uint64_t at_epoch;	/* only while the service has that; 0: whatever it has */
};

/* Answers like a flip, without events; the outcome of a claim has its token, also where it is
 * unknown whether the store has it.  E_CLAIMED: another holds it (still, after
 * `wait`); E_LOCKED; E_CONFLICT: the claim that was to be renewed does not hold any more.
 * A release of what does not hold changes nothing, and that is OK. */
void claim_start(struct service_ctl *ctl, const struct claim_request *request, struct flip_watcher *watcher);
/* Gives up one that has not begun to write: its watcher is told nothing.  False: it is being
 * written, or is over. */
bool claim_call_off(struct flip_watcher *watcher);
/* Does it do nothing but wait for another's claim to end? */
bool claim_waits(const struct flip_watcher *watcher);

/* Is the service claimed, by the store's clock? */
bool claim_holds(const struct service_ctl *ctl);
/* The same, by that token (hashed). */
bool claim_is_of(const struct service_ctl *ctl, const char *token);

/* The service's record has changed. */
void claim_on_record(struct service_ctl *ctl);
/* The process or the service ends: all are answered with that error. */
void claim_end_all(struct service_ctl *ctl, enum err error, const char *message);
void claim_init(struct service_ctl *ctl);
void claim_close(struct service_ctl *ctl);

#endif
