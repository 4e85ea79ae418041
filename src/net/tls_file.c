/* tls_file.c - reads the files that TLS is made of, and says how to mend what
 * keeps us from it.  Any thread; blocks as file systems do. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <openssl/crypto.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/tls_file.h"

/* More is no certificate. */
#define FILE_MAX ((off_t)4 * 1024 * 1024)

/* Whom we run as, and the group that files are given to for us. */
static void
names_of_us(char user[64], char group[64])
{
	char room[4096];
	struct passwd pw, *p = NULL;
	struct group gr, *g = NULL;

	snprintf(user, 64, "%u", (unsigned)geteuid());
	snprintf(group, 64, "%u", (unsigned)getegid());
	if (getpwuid_r(geteuid(), &pw, room, sizeof(room), &p) == 0 && p != NULL)
		snprintf(user, 64, "%s", pw.pw_name);
	if (getgrgid_r(getegid(), &gr, room, sizeof(room), &g) == 0 && g != NULL)
		snprintf(group, 64, "%s", gr.gr_name);
}

/* The first folder on the way that does not let us pass; false: it is the file. */
static bool
closed_folder(const char *path, char out[256])
{
	for (const char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		snprintf(out, 256, "%.*s", (int)(slash - path), path);
		if (faccessat(AT_FDCWD, out, X_OK, AT_EACCESS) != 0 && errno == EACCES)
			return true;
	}
	return false;
}

static enum err
unreadable(const char *path, int error, struct why *why)
{
	char user[64], group[64], folder[256];

	/* Neither the file's fault nor the configuration's: later it may be read. */
	if (error == EIO || error == EAGAIN || error == ESTALE || error == ETIMEDOUT || error == ENOTCONN ||
	    error == EHOSTDOWN || error == EMFILE || error == ENFILE || error == ENOMEM)
		return why_set(why, E_INTERNAL, "cannot read %.256s now: %s", path, strerror(error));
	if (error != EACCES)
		return why_set(why, E_USAGE, "cannot read %.256s: %s", path, strerror(error));
	names_of_us(user, group);
	if (closed_folder(path, folder))
		return why_set(
			why, E_USAGE,
			"cannot read %.256s: the folder %s is closed to %s; mend it with: chgrp %s %s && chmod g+x %s",
			path, folder, user, group, folder, folder);
	return why_set(why, E_USAGE,
		       "cannot read %.256s as %s; mend it with: chgrp %s %.256s && chmod 0640 %.256s", path,
		       user, group, path, path);
}

void
tls_file_free(struct tls_file *f)
{
	if (f->data != NULL)
		OPENSSL_cleanse(f->data, f->n);
	free(f->data);
	*f = (struct tls_file){ 0 };
}

static bool
read_whole_file(int fd, struct tls_file *f)
{
	size_t got = 0;

	while (got < f->n) {
		ssize_t n = read(fd, f->data + got, f->n - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	f->n = got;
	return true;
}

enum err
tls_file_read(const char *path, bool secret, struct tls_file *out, struct why *why)
{
	struct stat st;
	int fd, error;

	*out = (struct tls_file){ 0 };
	/* A FIFO would keep us here. */
	if ((fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)) < 0)
		return unreadable(path, errno, why);
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
		close(fd);
		return why_set(why, E_USAGE, "cannot read %.256s: %s", path,
			       S_ISREG(st.st_mode) ? "it is too large" : "it is not a plain file");
	}
	if (secret && (st.st_mode & S_IRWXO) != 0) {
		close(fd);
		return why_set(
			why, E_USAGE,
			"%.256s, which holds a secret, is open to everyone on this machine; mend it with: chmod o= %.256s",
			path, path);
	}
	out->n = (size_t)st.st_size;
	out->data = malloc(out->n + 1);
	if (out->data == NULL || !read_whole_file(fd, out)) {
		error = out->data == NULL ? ENOMEM : errno;
		close(fd);
		tls_file_free(out);
		return unreadable(path, error, why);
	}
	out->data[out->n] = '\0';
	close(fd);
	return OK;
}
