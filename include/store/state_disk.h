/* state_disk.h - the embedded store's folder: its lock, and one file that is
 * replaced as a whole or not at all.  Everything here may block. */
#ifndef STORE_STATE_DISK_H
#define STORE_STATE_DISK_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

#define STATE_FILE "teal.state"
#define STATE_LOCK "teal.lock"

struct state_disk {
	char *dir, *file, *tmp;	/* paths */
	int lock_fd;	/* held for life; -1: not */
	mode_t mode;	/* of the file; 0: 0640 */
};

/* Who will write there, once teald has dropped what it was started with. */
struct state_owner {
	const char *user;	/* NULL: the process's own user */
	uid_t uid;
	gid_t gid;
};

/* Takes the folder for this process: makes it when only its last part is
 * missing (mode 0750), locks it, and removes what a crash left half-written.
 * E_USAGE when it is in use, cannot be used or is not the owner's; *d may be
 * closed all the same. */
MUST_USE enum err state_disk_open(struct state_disk *d, const char *dir, const struct state_owner *owner,
				  struct why *why);
void state_disk_close(struct state_disk *d);
/* Could this process take the folder, and understand its file, once process `holder` lets go of it?
 * A lock that is free is taken for the moment.  Errors as of state_disk_open() and state_disk_read(). */
MUST_USE enum err state_disk_check(const char *dir, const struct state_owner *owner, pid_t holder, struct why *why);

struct state;
/* Reads the file into *state, which is empty, without taking the folder; state_free() follows in any case.
 * E_DENIED: this process may not; else errors as of state_disk_read() and state_decode(), *why a sentence. */
MUST_USE enum err state_disk_look(const char *dir, struct state *state, bool *exists, struct why *why);

/* The whole file; *exists is false when there is none.  E_STORE when it cannot
 * be read, is no plain file, or does not fit into out. */
MUST_USE enum err state_disk_read(const struct state_disk *d, struct buf *out, bool *exists, struct why *why);

/* The size bytes of an open file, for *out; E_STORE as above. */
MUST_USE enum err state_disk_take(int fd, size_t size, struct buf *out, struct why *why);

/* Replaces the file: a new one beside it, fsync, rename, fsync of the folder.
 * OK: durable.  E_NOT_DURABLE: the old file is untouched.  E_UNKNOWN: the new
 * file is in place, but may not survive a crash of the machine.  Any thread,
 * one at a time. */
MUST_USE enum err state_disk_write(const struct state_disk *d, struct str header, struct str payload,
				   struct why *why);

#endif
