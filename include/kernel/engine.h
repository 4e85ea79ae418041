/* engine.h - the engine that terminates nothing: nftables leads each new flow
 * to the active color, connection tracking keeps it there, and both go on when
 * teald does not.  Fills struct engine from ruleset (what is to happen to new
 * flows) and flows (what became of them).
 * Thread: main. */
#ifndef KERNEL_ENGINE_H
#define KERNEL_ENGINE_H

#include <ev.h>
#include <stdio.h>

#include "model/engine.h"

struct kernel;

extern const struct engine_class kernel_class;

/* Reads what is in the kernel already and writes nothing: that begins with the
 * first snapshots.  Of services only those of engine "kernel" are its own;
 * all of them outlive it; what its threads know of the configuration is config
 * to the end, which is referred to: a reload may change others' services only.  owner: who we are over restarts, the
 * proof that a table is ours.  Its threads inherit the capabilities of the
 * caller, who needs CAP_NET_ADMIN no more.  Blocks for some milliseconds. */
MUST_USE enum err kernel_open(struct kernel **out, struct ev_loop *loop, const struct config *config,
			      struct service **services, size_t n, const char *owner, struct why *why);
struct engine *kernel_engine(struct kernel *k);
/* What its shortcut has counted, for the process that takes over: a descriptor, the caller's, for shortcut_inherit()
 * there; -1: nothing. */
int kernel_shortcut_counts(const struct kernel *k);
/* Ends the threads.  The table stays, unless the engine was closed and
 * kernel.on_stop says otherwise: true when it is gone.  *kp is NULL on return. */
bool kernel_free(struct kernel **kp);

/* The table that would be loaded for this configuration: every color with all
 * of its backends, each service on its initial one.  No kernel is asked. */
void kernel_print(const struct config *config, const char *owner, FILE *out);

/* Is there room in the kernel's table of connections: entries that are there, how
 * many there may be, and by how many lists they are found?  A sentence that ends
 * with the command that mends it, or NULL. */
#define KERNEL_SENTENCE 320
const char *
kernel_check_table(uint64_t entries, uint64_t max, uint64_t buckets, char text[KERNEL_SENTENCE]);
/* What the machine lacks for these services, each a sentence that ends with the
 * command that mends it: E_USAGE and why for what nothing would work without;
 * warn is called for what would only be missed. */
MUST_USE enum err kernel_check(const struct config *config, void (*warn)(const char *text), struct why *why);

#endif
