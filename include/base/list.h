/* list.h - an intrusive, circular, doubly linked list.
 * The head is a link of its own.  Nothing is allocated; a link that is not on
 * a list points to itself, so unlinking twice is harmless. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>

#include "base/check.h"

struct link {
	struct link *next, *prev;
};

static inline void
list_init(struct link *l)
{
	l->next = l->prev = l;
}

static inline bool
list_empty(const struct link *head)
{
	return head->next == head;
}

static inline void
list_append(struct link *head, struct link *l)
{
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}

static inline void
list_prepend(struct link *head, struct link *l)
{
	list_append(head->next, l);
}

static inline void
list_remove(struct link *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}

/* First link, or NULL when the list is empty. */
static inline struct link *
list_first(const struct link *head)
{
	return list_empty(head) ? NULL : head->next;
}

/* Moves everything from one list to the end of another; from is empty after. */
static inline void
list_splice(struct link *to, struct link *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#define list_entry(l, type, member) container_of(l, type, member)

/* Safe against removal of the current link, not of the next. */
#define LIST_EACH(l, head) \
	for (struct link *l = (head)->next, *l##_next = l->next; l != (head); \
	     l = l##_next, l##_next = l->next)

#endif
