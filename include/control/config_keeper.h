/* config_keeper.h - keeps a copy of the configuration that is obeyed in state_dir, for
 * a serving process that is started in place of one that died, should the file be
 * broken by then.  Written by a helper: tmp, fsync, rename; mode 0600.
 * Thread: main, but for read. */
#ifndef CONTROL_CONFIG_KEEPER_H
#define CONTROL_CONFIG_KEEPER_H

#include "model/config_copy.h"
#include "net/jobs.h"

struct config_keeper;

/* Where it is, for free(). */
char *config_keeper_path(const struct config *config);

struct config_keeper *config_keeper_new(void);
/* While one is written, only the newest of those that follow waits.  What fails is
 * logged (config.copy_failed); the copy is the former one then. */
void config_keeper_keep(struct config_keeper *k, struct jobs *jobs, const struct config *config);
/* False: a helper that hangs on the disk is left behind, and what it reads with it;
 * *kp is NULL on return either way. */
bool config_keeper_free(struct config_keeper **kp);

/* Reads one.  *owner is the user it belongs to.  E_USAGE: there is none, or it cannot
 * be believed: it is damaged, no plain file, or others may write it.  Blocks; any thread. */
MUST_USE enum err
config_keeper_read(const char *path, struct config_copy *copy, uid_t *owner, struct why *why);

#endif
