/* buf.c - bounded byte buffer.  Any thread, one at a time. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

void
buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){ .max = max };
}

void
buf_over(struct buf *b, char *p, size_t n)
{
	*b = (struct buf){ .data = p, .cap = n, .max = n };
}

void
buf_free(struct buf *b)
{
	free(b->data);
	buf_init(b, b->max);
}

char *
buf_reserve(struct buf *b, size_t n)
{
	size_t len = buf_len(b), cap;
	char *data;

	if (n > b->max || len > b->max - n) {
		b->failed = true;
		return NULL;
	}
	if (b->cap - b->end >= n && b->data != NULL)
		return b->data + b->end;
	if (b->start > 0 && b->cap - len >= n) {
		memmove(b->data, b->data + b->start, len);
		b->start = 0;
		b->end = len;
		return b->data + len;
	}
	cap = b->cap > 0 ? b->cap : 256;
	while (cap < len + n)
		cap *= 2;
	if (cap > b->max)
		cap = b->max;
	if ((data = malloc(cap)) == NULL) {
		b->failed = true;
		return NULL;
	}
	if (len > 0)
		memcpy(data, b->data + b->start, len);
	free(b->data);
	b->data = data;
	b->start = 0;
	b->end = len;
	b->cap = cap;
	return data + len;
}

void
buf_commit(struct buf *b, size_t n)
{
	CHECK(n <= b->cap - b->end);
	b->end += n;
}

bool
buf_append(struct buf *b, const void *p, size_t n)
{
	char *to;

	if (n == 0)
		return true;
	if ((to = buf_reserve(b, n)) == NULL)
		return false;
	memcpy(to, p, n);
	b->end += n;
	return true;
}

bool
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	char small[256], *big;
	int n;
	bool ok;

	va_start(ap, fmt);
	n = vsnprintf(small, sizeof(small), fmt, ap);
	va_end(ap);
	if (n < 0)
		return false;
	if ((size_t)n < sizeof(small))
		return buf_append(b, small, (size_t)n);
	if ((big = malloc((size_t)n + 1)) == NULL) {
		b->failed = true;
		return false;
	}
	va_start(ap, fmt);
	vsnprintf(big, (size_t)n + 1, fmt, ap);
	va_end(ap);
	ok = buf_append(b, big, (size_t)n);
	free(big);
	return ok;
}

void
buf_consume(struct buf *b, size_t n)
{
	CHECK(n <= buf_len(b));
	b->start += n;
	if (b->start == b->end)
		b->start = b->end = 0;
}

void
buf_truncate(struct buf *b, size_t n)
{
	CHECK(n <= buf_len(b));
	b->end = b->start + n;
}

void
buf_clear(struct buf *b)
{
	b->start = b->end = 0;
	b->failed = false;
}
