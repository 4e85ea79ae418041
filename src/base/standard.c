/* standard.c - see standard.h.  The main thread, alone. */
#include <fcntl.h>
#include <unistd.h>

#include "base/standard.h"

void
standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}
