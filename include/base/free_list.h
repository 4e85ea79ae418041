/* free_list.h - blocks of one size that were freed are used again: many that come and go in one turn are more than malloc(3) keeps at
 * hand.  A few are kept; what begins as {0} is empty.
 * Thread: the owner's. */
#ifndef BASE_FREE_LIST_H
#define BASE_FREE_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

/* So many are kept. */
#define FREE_LIST_MOST 64

struct free_block {
	struct free_block *next;
};

struct free_list {
	struct free_block *first;
	unsigned n;
};

/* AddressSanitizer is to see each use behind its end. */
#if defined(__SANITIZE_ADDRESS__)
#define FREE_LIST_KEEPS false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FREE_LIST_KEEPS false
#endif
#endif
#ifndef FREE_LIST_KEEPS
#define FREE_LIST_KEEPS true
#endif

/* A block of that size, the same each time, with anything in it; NULL without memory. */
static inline void *
free_list_take(struct free_list *l, size_t size)
{
	struct free_block *b = l->first;

	if (b == NULL)
		return malloc(size);
	l->first = b->next;
	l->n--;
	return b;
}

/* Consumes one that was taken from it. */
static inline void
free_list_give(struct free_list *l, void *p)
{
	struct free_block *b = p;

	if (!FREE_LIST_KEEPS || l->n >= FREE_LIST_MOST) {
		free(p);
		return;
	}
	b->next = l->first;
	l->first = b;
	l->n++;
}

/* Leaves it empty. */
static inline void
free_list_drop(struct free_list *l)
{
	struct free_block *b;

	while ((b = l->first) != NULL) {
		l->first = b->next;
		free(b);
	}
	l->n = 0;
}

#endif
