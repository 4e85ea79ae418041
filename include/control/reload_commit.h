/* reload_commit.h - private to reload*.c: the transaction, once the file is good and
 * planned.  Everything that can fail is in reload_prepare(); after it the engines
 * and the rest of control are told in the order that leaves no gap.
 * Thread: main. */
#ifndef CONTROL_RELOAD_COMMIT_H
#define CONTROL_RELOAD_COMMIT_H

#include "control/certs_load.h"
#include "control/control.h"
#include "model/config_plan.h"

struct reload_run {
	struct control *control;
	struct reload reload;	/* what the engines are told */
	struct certs_prepared *certs;	/* the caller's */
	struct service **added;	/* new ones, of `to`; control's from the commit on */
	size_t n_added;
	size_t waiting;	/* engines that have not committed yet */
};

/* Makes the services that are new and lets every engine open what it needs.
 * from and to are held until reload_finish().  E_CONFIG with the reason: nothing was changed, and
 * nothing is left of it. */
MUST_USE enum err reload_prepare(struct reload_run *run, struct control *c, const struct config *to,
				 uint64_t generation, const struct config_plan *plan, struct certs_prepared *certs,
				 struct why *why);
/* Everything obeys `to`, or will when run->waiting engines have said so. */
void reload_commit(struct reload_run *run);
/* Drops what it held. */
void reload_finish(struct reload_run *run);

#endif
