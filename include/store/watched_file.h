/* watched_file.h - the last known nodes of a pool that is watched, in state_dir: for starts while no API answers.
 * Everything here may block.  Any thread, one at a time. */
#ifndef STORE_WATCHED_FILE_H
#define STORE_WATCHED_FILE_H

#include "base/err.h"
#include "model/watched.h"

/* Replaces the file as a whole: tmp, fsync, rename.  seen_us: when the API has last said something.  Errors as of
 * state_disk_write(). */
MUST_USE enum err watched_file_write(const char *state_dir, const char *pool, const struct watched_set *s, int64_t seen_us,
				     struct why *why);
/* OK: *out is the caller's, empty where there is no file, and *seen_us then 0.  E_STORE with the reason: the file makes no
 * sense, and *out is empty. */
MUST_USE enum err watched_file_read(const char *state_dir, const char *pool, struct watched_set *out, int64_t *seen_us,
				    struct why *why);

#endif
