/* spare.h - descriptors kept open for nothing but to be closed when the process
 * has none left, so that one more connection can be accepted and answered.
 * Thread: the owner's. */
#ifndef NET_SPARE_H
#define NET_SPARE_H

#include <stdbool.h>

#define SPARE_MAX 4

struct spare {
	int fd[SPARE_MAX];	/* -1: given away */
	int n;	/* how many it keeps */
};

/* Opens n of them, SPARE_MAX at most. */
void spare_init(struct spare *s, int n);
/* Opens again what was given, as far as there are descriptors. */
void spare_keep(struct spare *s);
/* Closes one; false when none is left. */
bool spare_give(struct spare *s);
/* Closes all. */
void spare_close(struct spare *s);

#endif
