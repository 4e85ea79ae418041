/* deadline.c - deadlines that come with an age get their places.  Thread: the owner's. */
#include <stdlib.h>

#include "net/deadline.h"

/* So many on the stack where there is no memory for all. */
#define AT_LEAST 64

static struct deadline *
deadline_at(struct link *it)
{
	return list_entry(it, struct deadline, link);
}

static int
by_touch(const void *a, const void *b)
{
	double x = (*(struct deadline *const *)a)->touched, y = (*(struct deadline *const *)b)->touched;

	return (x > y) - (x < y);
}

void
deadline_sort(struct deadline_list *l)
{
	struct deadline *few[AT_LEAST], **all = few;
	struct link *at = l->nodes.next;
	size_t n = 0, taken = 0;

	LIST_EACH(it, &l->since)
		n++;
	if (n > AT_LEAST && (all = malloc(n * sizeof(struct deadline *))) == NULL) {
		all = few;
		n = AT_LEAST;
	}
	while (taken < n) {
		all[taken++] = deadline_at(l->since.next);
		list_remove(l->since.next);
	}
	qsort(all, n, sizeof(struct deadline *), by_touch);
	for (size_t i = 0; i < n; i++) {
		while (at != &l->nodes && deadline_at(at)->touched <= all[i]->touched)
			at = at->next;
		list_append(at, &all[i]->link);
	}
	if (all != few)
		free(all);
}
