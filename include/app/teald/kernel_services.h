/* kernel_services.h - teald's side of the kernel engine: checks and opens it before
 * teald serves, and sees to the tables of earlier configurations, which go on
 * without teald.
 * Thread: main. */
#ifndef APP_TEALD_KERNEL_SERVICES_H
#define APP_TEALD_KERNEL_SERVICES_H

#include "control/control.h"
#include "kernel/engine.h"

struct kernel_services;

/* What its services need, and the tables that earlier configurations left. */
void kernel_services_needs(const struct config *config, struct engine_needs *out);

/* Opens the engine if a service is of it, finds what earlier configurations
 * left, and gives CAP_NET_ADMIN up for all that comes later.  *out is NULL where there is
 * nothing of all that.  state_dir must be there.  Blocks for some milliseconds. */
MUST_USE enum err kernel_services_open(struct kernel_services **out, struct ev_loop *loop, const struct config *config,
			       struct service **services, size_t n, struct why *why);
/* Of a process that takes over from another, which has the tables yet: what would stand in the
 * way of kernel_services_open(), which comes later; until then only the calling thread has
 * CAP_NET_ADMIN, if it has. */
MUST_USE enum err kernel_services_prepare(const struct config *config, struct why *why);
/* NULL: no service is of it. */
struct engine *kernel_services_engine(struct kernel_services *f);
/* Deletes the tables of earlier configurations once everything is served, so that no
 * client meets a gap; f may be NULL. */
void kernel_services_start(struct kernel_services *f, const struct control *control);
/* What goes to the process that takes over, for shortcut_inherit(): a descriptor, or -1; f may be NULL. */
int kernel_services_bequeath(const struct kernel_services *f);
/* Ends the engine; *fp is NULL on return. */
void kernel_services_close(struct kernel_services **fp);

/* The table for these services on stdout, as nft -f takes it. */
void kernel_services_print(const struct config *config);

#endif
