/* quorum.h - "N%" or a count, of so many.  A value. */
#ifndef MODEL_QUORUM_H
#define MODEL_QUORUM_H

#include <stdbool.h>
#include <stddef.h>

/* "N%" or a count. */
struct quorum {
	unsigned value;
	bool percent;
};

/* Of so many: "N%" rounded up. */
static inline size_t
quorum_of(const struct quorum *q, size_t all)
{
	return q->percent ? (all * q->value + 99) / 100 : q->value;
}

#endif
