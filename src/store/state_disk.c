/* state_disk.c - lock, read and replace; see the header.
 * Thread: main at start-up and at the end, the helper in between. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/state_disk.h"
#include "store/state_file.h"

#define SAY strerrordesc_np(errno)

/* Makes a name just given to a file or a folder survive a crash. */
static int
sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), saved;

	if (fd < 0)
		return -1;
	if (fsync(fd) != 0) {
		saved = errno;
		close(fd);
		errno = saved;
		return -1;
	}
	return close(fd);
}

static enum err
make_dir(const char *dir, const struct state_owner *owner, struct why *why)
{
	char *copy;

	if (mkdir(dir, 0750) != 0) {
		if (errno == EEXIST)
			return OK;
		return why_set(why, E_USAGE, "state_dir \"%s\" does not exist and cannot be made: %s", dir,
			       errno == ENOENT ? "the folder above it is missing too" : SAY);
	}
	if (owner->user != NULL && geteuid() == 0 && chown(dir, owner->uid, owner->gid) != 0)
		return why_set(why, E_USAGE, "state_dir \"%s\" cannot be given to user \"%s\": %s", dir,
			       owner->user, SAY);
	copy = must_strdup(dir);
	if (sync_dir(dirname(copy)) != 0 && errno != EACCES) {
		free(copy);
		return why_set(why, E_USAGE, "state_dir \"%s\" cannot be made durable: %s", dir, SAY);
	}
	free(copy);
	return OK;
}

/* Later, as that user, every write makes a file in there. */
static enum err
check_dir(const char *dir, const struct state_owner *owner, struct stat *st, struct why *why)
{
	mode_t needed;

	if (stat(dir, st) != 0)
		return why_set(why, E_USAGE, "state_dir \"%s\" cannot be used: %s", dir, SAY);
	if (!S_ISDIR(st->st_mode))
		return why_set(why, E_USAGE, "state_dir \"%s\" is not a folder", dir);
	if (owner->user == NULL || geteuid() != 0)
		return OK;
	needed = st->st_uid == owner->uid ? S_IWUSR | S_IXUSR :
		 st->st_gid == owner->gid ? S_IWGRP | S_IXGRP :
					    S_IWOTH | S_IXOTH;
	if (owner->uid != 0 && (st->st_mode & needed) != needed)
		return why_set(
			why, E_USAGE,
			"state_dir \"%s\" is not writable for user \"%s\": give it to that user (chown)", dir,
			owner->user);
	return OK;
}

/* Files belong to whom the folder belongs, though root may have made them. */
static void
give_to_owner(int fd, const struct stat *dir)
{
	if (geteuid() == 0 && fchown(fd, dir->st_uid, dir->st_gid) != 0)
		return;	/* root can read and write it all the same */
}

/* OK: by `holder`, or by one that could not write who it is and may be. */
static enum err
in_use(int fd, const char *dir, pid_t holder, struct why *why)
{
	char pid[24] = "";
	ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);

	pid[n > 0 ? strspn(pid, "0123456789") : 0] = '\0';
	if (holder != 0 && (pid[0] == '\0' || strtol(pid, NULL, 10) == holder))
		return OK;
	return why_set(why, E_USAGE,
		       "state_dir \"%s\" is in use by another teald (pid %s): stop it first, or give "
		       "this one a state_dir of its own",
		       dir, pid[0] != '\0' ? pid : "unknown");
}

static enum err
take_lock(struct state_disk *d, const struct stat *st, pid_t holder, struct why *why)
{
	char *path = must_printf("%s/" STATE_LOCK, d->dir), pid[24];
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640), n;
	enum err e = OK;

	if (fd < 0) {
		e = why_set(why, E_USAGE, "state_dir \"%s\" cannot be used: %s: %s", d->dir, path, SAY);
		goto out;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		e = errno == EWOULDBLOCK ? in_use(fd, d->dir, holder, why) :
					   why_set(why, E_USAGE, "%s cannot be locked: %s", path, SAY);
		close(fd);
		goto out;
	}
	d->lock_fd = fd;
	give_to_owner(fd, st);
	/* For people and for in_use(); on a full disk the lock holds without it. */
	n = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
	if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)n, 0) != n)
		(void)!ftruncate(fd, 0);
out:
	free(path);
	return e;
}

/* Without the lock where `holder` has it; 0: no other process may. */
static enum err
open_folder(struct state_disk *d, const char *dir, const struct state_owner *owner, pid_t holder, struct why *why)
{
	struct stat st;
	enum err e;

	*d = (struct state_disk){ .lock_fd = -1 };
	d->dir = must_strdup(dir);
	d->file = must_printf("%s/" STATE_FILE, dir);
	d->tmp = must_printf("%s/" STATE_FILE ".tmp", dir);
	if ((e = make_dir(dir, owner, why)) != OK || (e = check_dir(dir, owner, &st, why)) != OK ||
	    (e = take_lock(d, &st, holder, why)) != OK)
		return e;
	/* Never renamed, so never acknowledged: it may go. */
	if (d->lock_fd >= 0 && unlink(d->tmp) != 0 && errno != ENOENT)
		return why_set(why, E_USAGE, "%s is in the way and cannot be removed: %s", d->tmp, SAY);
	return OK;
}

enum err
state_disk_open(struct state_disk *d, const char *dir, const struct state_owner *owner, struct why *why)
{
	return open_folder(d, dir, owner, 0, why);
}

/* Into *state, which is empty. */
static enum err
read_whole(const struct state_disk *d, struct state *state, bool *exists, struct why *why)
{
	struct why what;
	struct buf file;
	enum err e;

	buf_init(&file, STATE_MAX + STATE_HEADER);
	e = state_disk_read(d, &file, exists, &what);
	if (e == OK && *exists)
		e = state_decode(buf_str(&file), state, &what);
	if (e != OK)
		(void)why_set(why, e, "%s %s", d->file, what.text);
	buf_free(&file);
	return e;
}

enum err
state_disk_look(const char *dir, struct state *state, bool *exists, struct why *why)
{
	struct state_disk d = { .file = must_printf("%s/" STATE_FILE, dir), .lock_fd = -1 };
	enum err e;

	*exists = false;
	if (access(d.file, R_OK) != 0 && errno == EACCES)
		e = why_set(why, E_DENIED, "%s cannot be read: %s", d.file, SAY);
	else
		e = read_whole(&d, state, exists, why);
	free(d.file);
	return e;
}

enum err
state_disk_check(const char *dir, const struct state_owner *owner, pid_t holder, struct why *why)
{
	struct state_disk d;
	struct state state;
	bool exists;
	enum err e = open_folder(&d, dir, owner, holder, why);

	/* What the holder has read, it may be about to replace. */
	if (e == OK && d.lock_fd >= 0) {
		state_init(&state);
		e = read_whole(&d, &state, &exists, why);
		state_free(&state);
	}
	state_disk_close(&d);
	return e;
}

void
state_disk_close(struct state_disk *d)
{
	if (d->lock_fd >= 0)
		close(d->lock_fd);
	d->lock_fd = -1;
	free(d->dir);
	free(d->file);
	free(d->tmp);
	d->dir = d->file = d->tmp = NULL;
}

enum err
state_disk_take(int fd, size_t size, struct buf *out, struct why *why)
{
	if (size > buf_room(out))
		return why_set(why, E_STORE, "is larger than any state of teald: %zu bytes", size);
	while (size > 0) {
		char *to = buf_reserve(out, size);
		ssize_t n;

		if (to == NULL)
			return why_set(why, E_STORE, "does not fit into memory: %zu bytes", size);
		n = read(fd, to, size);
		if (n == 0)
			return why_set(why, E_STORE, "became shorter while it was read");
		if (n > 0) {
			buf_commit(out, (size_t)n);
			size -= (size_t)n;
		} else if (errno != EINTR) {
			return why_set(why, E_STORE, "cannot be read: %s", SAY);
		}
	}
	return OK;
}

enum err
state_disk_read(const struct state_disk *d, struct buf *out, bool *exists, struct why *why)
{
	/* O_NONBLOCK: a fifo of that name must not hang the start. */
	int fd = open(d->file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	enum err e;

	*exists = fd >= 0 || errno != ENOENT;
	if (!*exists && lstat(d->file, &st) == 0) {
		/* A file system that is not mounted, perhaps: to begin anew in its
		 * place would forget the colors. */
		*exists = true;
		return why_set(why, E_STORE, "is a symbolic link that leads nowhere");
	}
	if (fd < 0)
		return *exists ? why_set(why, E_STORE, "cannot be opened: %s", SAY) : OK;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		e = why_set(why, E_STORE, "is not a plain file");
	else
		e = state_disk_take(fd, (size_t)st.st_size, out, why);
	close(fd);
	return e;
}

static int
write_all(int fd, struct str s)
{
	while (s.n > 0) {
		ssize_t n = write(fd, s.p, s.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		s.p += n;
		s.n -= (size_t)n;
	}
	return 0;
}

/* The new file, complete and on the disk, under its temporary name. */
static enum err
write_tmp(const struct state_disk *d, struct str header, struct str payload, struct why *why)
{
	int fd = open(d->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, d->mode != 0 ? d->mode : 0640);
	struct stat st;
	enum err e = OK;

	if (fd < 0)
		return why_set(why, E_NOT_DURABLE, "cannot make %s: %s", d->tmp, SAY);
	if (stat(d->dir, &st) == 0)
		give_to_owner(fd, &st);
	if (write_all(fd, header) != 0 || write_all(fd, payload) != 0)
		e = why_set(why, E_NOT_DURABLE, "cannot write %s: %s", d->tmp, SAY);
	else if (fsync(fd) != 0)
		e = why_set(why, E_NOT_DURABLE, "cannot bring %s to the disk (fsync): %s", d->tmp, SAY);
	/* Some file systems tell of a lack of space only here. */
	if (close(fd) != 0 && e == OK)
		e = why_set(why, E_NOT_DURABLE, "cannot close %s: %s", d->tmp, SAY);
	if (e != OK)
		unlink(d->tmp);
	return e;
}

enum err
state_disk_write(const struct state_disk *d, struct str header, struct str payload, struct why *why)
{
	enum err e;

	if ((e = write_tmp(d, header, payload, why)) != OK)
		return e;
	if (rename(d->tmp, d->file) != 0) {
		e = why_set(why, E_NOT_DURABLE, "cannot put %s into its place: %s", d->tmp, SAY);
		unlink(d->tmp);
		return e;
	}
	if (sync_dir(d->dir) != 0)
		return why_set(why, E_UNKNOWN,
			       "%s is written and in its place, but the folder could not be brought to "
			       "the disk (%s): a crash of the machine now may bring back what was before",
			       d->file, SAY);
	return OK;
}
