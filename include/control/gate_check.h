/* gate_check.h - the `check` command: would a flip be let through?  Asks what a flip
 * asks before the store, and changes nothing.
 * Thread: main. */
#ifndef CONTROL_GATE_CHECK_H
#define CONTROL_GATE_CHECK_H

#include "control/flip.h"

struct gate_check_request {
	enum color to;
	double wait_healthy;	/* seconds to wait for the gate to open; 0: no */
	char token[CLAIM_HASH];	/* hashed, of the claim that the flip would have; "": none */
	bool has_at_epoch;	/* of another epoch it is E_CONFLICT */
	uint64_t at_epoch;
};

/* The watcher is told CHECKED once, with the gate's last answer, and then the outcome:
 * OK with that gate, E_UNHEALTHY, or what bars a flip of the service, such as
 * E_LOCKED or E_CLAIMED, which are not waited for. */
void gate_check_start(struct service_ctl *ctl, const struct gate_check_request *request, struct flip_watcher *watcher);

/* The service's record has changed: checks that wait may be over. */
void gate_check_on_record(struct service_ctl *ctl);
/* The process or the service ends: all checks are answered with that error. */
void gate_check_end_all(struct service_ctl *ctl, enum err error, const char *message);

#endif
