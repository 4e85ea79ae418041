/* forward.h - teald's side of the kernel engine: checks and opens it before
 * teald serves, and sees to the tables of earlier configurations, which go on
 * without teald.
 * Thread: main. */
#ifndef APP_TEALD_FORWARD_H
#define APP_TEALD_FORWARD_H

#include "control/control.h"
#include "kernel/engine.h"

struct forward;

/* What its services need, and the tables that earlier configurations left. */
void forward_needs(const struct config *config, struct engine_needs *out);

/* Opens the engine if a service is of it, finds what earlier configurations
 * left, and gives CAP_NET_ADMIN up for all that comes later.  *out is NULL where there is
 * nothing of all that.  state_dir must be there.  Blocks for some milliseconds. */
MUST_USE enum err forward_open(struct forward **out, struct ev_loop *loop, const struct config *config,
			       struct service **services, size_t n, struct why *why);
/* NULL: no service is of it. */
struct engine *forward_engine(struct forward *f);
/* Deletes the tables of earlier configurations once everything is served, so that no
 * client meets a gap; f may be NULL. */
void forward_start(struct forward *f, const struct control *control);
/* Ends the engine; *fp is NULL on return. */
void forward_close(struct forward **fp);

/* The table for these services on stdout, as nft -f takes it. */
void forward_print(const struct config *config);

#endif
