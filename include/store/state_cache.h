/* state_cache.h - the last known state on disk, for a teald whose truth lives
 * elsewhere: read once at the start, rewritten whenever something changed.
 * No command waits for it.  Also keeps this teald's identity.
 * Thread: main; the disk is the helper's. */
#ifndef STORE_STATE_CACHE_H
#define STORE_STATE_CACHE_H

#include "model/config.h"
#include "net/jobs.h"
#include "store/state_file.h"

#define TEAL_ID 17	/* 16 hex digits and NUL */

struct state_cache;

/* Locks state_dir and reads the state and the identity there (making one).
 * NULL with a sentence when the folder is in use, cannot be used, or holds a
 * file that is not ours.  config and jobs outlive it. */
struct state_cache *state_cache_open(const struct config *config, struct jobs *jobs, struct why *why);
/* Waits for what is to be written; *cp is NULL on return. */
void state_cache_close(struct state_cache **cp);

/* NULL when nothing was ever known of the service. */
const struct record *state_cache_find(const struct state_cache *c, const char *service);
/* Remembers, and writes soon. */
void state_cache_put(struct state_cache *c, const char *service, const struct record *r);
/* NULL when nothing was ever said about the pool's nodes. */
const struct overlay *state_cache_nodes(const struct state_cache *c, const char *pool);
void state_cache_put_nodes(struct state_cache *c, const char *pool, const struct overlay *o);
/* Random, the same for ever in this state_dir. */
const char *state_cache_id(const struct state_cache *c);
/* The same without a cache, at start-up: that of the folder, which gets one if it
 * has none. */
MUST_USE enum err state_cache_read_id(const char *dir, char id[TEAL_ID], struct why *why);
/* 16 random hex digits; false when the kernel has none. */
MUST_USE bool state_cache_random(char id[TEAL_ID]);

#endif
