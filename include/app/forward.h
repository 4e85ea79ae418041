/* forward.h - teald's side of the kernel engine: checks and opens it before
 * teald serves, and remembers the table it has in the kernel.
 * Thread: main, before it serves. */
#ifndef APP_FORWARD_H
#define APP_FORWARD_H

#include "kernel/engine.h"

/* CAP_NET_ADMIN is needed: for services of engine "kernel", or to take away the table of
 * those that were there before. */
bool forward_is_wanted(const struct config *config);

/* Opens the engine if a service is of it (else *out stays NULL), takes away the
 * table of an earlier configuration, and gives CAP_NET_ADMIN up for all that
 * comes later.  state_dir must be there. */
MUST_USE enum err forward_open(struct kernel **out, struct ev_loop *loop, const struct config *config,
			       struct service **services, size_t n, struct why *why);
/* The table is gone: the next start need not know of it. */
void forward_forget(const struct config *config);

/* The table for these services on stdout, as nft -f takes it. */
void forward_print(const struct config *config);

#endif
