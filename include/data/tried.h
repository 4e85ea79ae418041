/* tried.h - the backends that one client's connects have failed at: they are
 * not tried again, and the log says who they were.
 * Thread: the owning worker. */
#ifndef DATA_TRIED_H
#define DATA_TRIED_H

#include "base/str.h"
#include "model/backend.h"

struct tried {
	unsigned n;
	struct backend *list[];	/* references */
};

/* *t is NULL: none yet.  Without memory for the note it may be tried once more, that
 * is all. */
void tried_add(struct tried **t, struct backend *b);
void tried_free(struct tried **t);
/* The one that failed last, whose fault it is that another one is tried; NULL: none. */
static inline struct backend *
tried_last(const struct tried *t)
{
	return t != NULL && t->n > 0 ? t->list[t->n - 1] : NULL;
}

/* Backends that a log line names. */
#define TRIED_TOLD 8
#define TRIED_TEXT (TRIED_TOLD * (ADDR_TEXT + 3) + 16)
/* "\"tried\":[\"10.0.0.1:80\",…]", or "" when the first connect did. */
struct str tried_json(const struct tried *t, char out[TRIED_TEXT]);

#endif
