/* plain_file.c - reading a file that should be one.  Any thread. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/plain_file.h"

ssize_t
plain_file_read(const char *path, char *bytes, size_t size, mode_t *mode, struct why *why)
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
