/* teald.h - the process that serves, as a whole; of main.c and signals.c alone.
 * Thread: main. */
#ifndef APP_TEALD_TEALD_H
#define APP_TEALD_TEALD_H

#include <ev.h>

#include "control/control.h"
#include "control/reload.h"

struct teald {
	struct ev_loop *loop;
	const struct config *config;
	struct service **services;
	size_t n;
	struct jobs *jobs;
	struct store *store;
	struct proxy *proxy;
	struct kernel_services *kernel_services;	/* NULL: nothing of it is needed */
	struct admin *admin;
	struct observe *observe;
	struct succession *succession;	/* NULL: no other process gave way to this one */
	struct upgrade *upgrade;	/* NULL before it serves */
	struct control control;
	bool control_opened;
	ev_signal term, interrupt, hangup, usr2;
	unsigned signals;
	double stopped_at;	/* clock_now() of the first of them */
	struct reload_wait reload;	/* for SIGHUP */
	ev_timer needs;	/* descriptors are to be counted by a new configuration */
	bool reloading, again;	/* that is asked for; and once more behind it */
	bool assume_initial;
	bool failed;	/* while serving; why.text says how */
	struct why why;
};

/* Reads the file again, as for a SIGHUP. */
void teald_reload(struct teald *t);

/* -- signals.c ------------------------------------------------------------------- */

void signals_watch(struct teald *t);
/* how: SIG_BLOCK or SIG_UNBLOCK.  A hangup that comes while teald begins waits, for the file may have been read already; so
 * does what asks for an upgrade. */
void signals_hold(int how);

#endif
