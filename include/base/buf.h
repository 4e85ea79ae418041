/* buf.h - a bounded first-in first-out byte buffer.
 * Grows by doubling up to max and never beyond; what does not fit is refused, so
 * that memory stays bounded.  Owned by its holder; any thread, one at a time. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

#include "base/check.h"
#include "base/str.h"

struct buf {
	char *data;	/* NULL while empty and never used */
	size_t start, end;	/* the bytes are data[start..end) */
	size_t cap;
	size_t max;	/* never more than this many bytes held */
	bool failed;	/* an append was refused: full or out of memory */
};

void buf_init(struct buf *b, size_t max);
/* In p[0..n), which stays the caller's: needs no memory but that (buf_printf() of
 * 256 bytes and more does), and is not to be freed. */
void buf_over(struct buf *b, char *p, size_t n);
void buf_free(struct buf *b);	/* leaves it empty and usable again */

static inline size_t
buf_len(const struct buf *b)
{
	return b->end - b->start;
}

static inline size_t
buf_room(const struct buf *b)
{
	return b->max - buf_len(b);
}

static inline struct str
buf_str(const struct buf *b)
{
	return (struct str){ b->data != NULL ? b->data + b->start : "", buf_len(b) };
}

/* All or nothing; false (and b->failed) when it does not fit. */
bool buf_append(struct buf *b, const void *p, size_t n);
bool buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Room for n more bytes at data+end, for reading straight into; NULL when it
 * would pass max.  buf_commit() says how many were really put there. */
char *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);

/* Forgets the first n bytes. */
void buf_consume(struct buf *b, size_t n);
/* Forgets all but the first n bytes. */
void buf_truncate(struct buf *b, size_t n);
/* Forgets all bytes but keeps the memory. */
void buf_clear(struct buf *b);

#endif
