/* secret.c - reading a password, and forgetting it.  Any thread. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/secret.h"

#define SECRET_MAX 4096

/* Up to size bytes of a plain file; -1 with the reason. */
static ssize_t
read_plain(const char *path, char *bytes, size_t size, mode_t *mode, struct why *why)
{
	/* Without O_NONBLOCK a FIFO would keep us here. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	size_t n = 0;
	ssize_t got = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0) {
		(void)why_set(why, E_USAGE, "cannot read %.256s: %s", path, strerror(errno));
		got = -1;
	} else if (!S_ISREG(st.st_mode)) {
		(void)why_set(why, E_USAGE, "%.256s is not a plain file", path);
		got = -1;
	} else {
		if (mode != NULL)
			*mode = st.st_mode;
		while (n < size && (got = read(fd, bytes + n, size - n)) > 0)
			n += (size_t)got;
		if (got < 0)
			(void)why_set(why, E_USAGE, "cannot read %.256s: %s", path, strerror(errno));
	}
	if (fd >= 0)
		close(fd);
	return got < 0 ? -1 : (ssize_t)n;
}

enum err
secret_read(const char *path, char **out, mode_t *mode, struct why *why)
{
	char bytes[SECRET_MAX + 3];	/* and the end of the line, and one too many */
	ssize_t got = read_plain(path, bytes, sizeof(bytes), mode, why);
	size_t n = got > 0 ? (size_t)got : 0;
	enum err e = OK;

	*out = NULL;
	if (got < 0)
		return E_USAGE;
	if (n > 0 && bytes[n - 1] == '\n')
		n--;
	if (n > 0 && bytes[n - 1] == '\r')
		n--;
	if (n == 0)
		e = why_set(why, E_USAGE, "%.256s is empty", path);
	else if (n > SECRET_MAX)
		e = why_set(why, E_USAGE, "%.256s is longer than %d bytes", path, SECRET_MAX);
	else if (memchr(bytes, '\n', n) != NULL || memchr(bytes, '\0', n) != NULL)
		e = why_set(why, E_USAGE, "%.256s is not one line of text", path);
	else
		*out = must_alloc(n + 1);
	if (*out != NULL)
		memcpy(*out, bytes, n);
	explicit_bzero(bytes, sizeof(bytes));
	return e;
}

void
secret_free(char **secret)
{
	if (*secret != NULL)
		explicit_bzero(*secret, strlen(*secret));
	free(*secret);
	*secret = NULL;
}
