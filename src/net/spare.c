/* spare.c - descriptors for the moment when there are none.  Thread: the owner's. */
#include <fcntl.h>
#include <unistd.h>

#include "base/check.h"
#include "net/spare.h"

void
spare_init(struct spare *s, int n)
{
	CHECK(n <= SPARE_MAX);
	s->n = n;
	for (int i = 0; i < n; i++)
		s->fd[i] = -1;
	spare_keep(s);
}

void
spare_keep(struct spare *s)
{
	for (int i = 0; i < s->n; i++)
		if (s->fd[i] < 0)
			s->fd[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

bool
spare_give(struct spare *s)
{
	for (int i = 0; i < s->n; i++)
		if (s->fd[i] >= 0) {
			close(s->fd[i]);
			s->fd[i] = -1;
			return true;
		}
	return false;
}

void
spare_close(struct spare *s)
{
	while (spare_give(s))
		continue;
	s->n = 0;
}
