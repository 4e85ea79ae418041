/* watched_file.h - the last known nodes of a pool that is watched, in state_dir: for starts while no API answers.
 * Everything here may block.  Any thread. */
#ifndef STORE_WATCHED_FILE_H
#define STORE_WATCHED_FILE_H

#include "base/buf.h"
#include "base/err.h"
#include "model/watched.h"

/* Bytes; of WATCHED_MAX nodes with everything as long as may be. */
#define WATCHED_TEXT_MAX ((size_t)8 << 20)

/* The set as JSON, in the file and in the store of a fleet.  False: it does not fit. */
bool watched_text_write(struct buf *out, const char *pool, const struct watched_set *s, int64_t seen_us);
/* OK: *out is the caller's.  E_STORE with the reason: the text makes no sense, and *out is empty. */
MUST_USE enum err watched_text_read(struct str text, struct watched_set *out, int64_t *seen_us, struct why *why);

/* Replaces the file as a whole: tmp, fsync, rename, while no other thread of this process does.  may: asked when it is this
 * one's turn, false: nothing is written; NULL: it may.  seen_us: when the API has last said something.  Errors as of
 * state_disk_write(). */
MUST_USE enum err watched_file_write(const char *state_dir, const char *pool, const struct watched_set *s, int64_t seen_us,
				     bool (*may)(void *arg), void *arg, struct why *why);
/* OK: *out is the caller's, empty where there is no file, and *seen_us then 0.  E_STORE with the reason: the file makes no
 * sense, and *out is empty. */
MUST_USE enum err watched_file_read(const char *state_dir, const char *pool, struct watched_set *out, int64_t *seen_us,
				    struct why *why);

#endif
