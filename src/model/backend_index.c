/* backend_index.c - open addressing, with marks where backends were removed; see the header. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "model/backend_index.h"

#define ROOM_MIN 16

static struct backend removed;	/* the mark */

static size_t
home_of(const struct backend_index *x, const struct backend *b)
{
	return (size_t)hash_bytes(b->text, strlen(b->text), (uint64_t)b->color) & (x->room - 1);
}

static void
put_into_slot(struct backend_index *x, struct backend *b)
{
	size_t i = home_of(x, b);

	while (x->slots[i] != NULL)
		i = (i + 1) & (x->room - 1);
	x->slots[i] = b;
	x->used++;
}

/* Marks are left behind. */
static void
rebuild(struct backend_index *x)
{
	struct backend_index old = *x;

	x->room = ROOM_MIN;
	while (x->room < 4 * (x->n + 1))
		x->room *= 2;
	x->slots = must_array(x->room, sizeof(struct backend *));
	x->used = 0;
	for (size_t i = 0; i < old.room; i++)
		if (old.slots[i] != NULL && old.slots[i] != &removed)
			put_into_slot(x, old.slots[i]);
	free(old.slots);
}

void
backend_index_clear(struct backend_index *x)
{
	free(x->slots);
	*x = (struct backend_index){ 0 };
}

void
backend_index_add(struct backend_index *x, struct backend *b)
{
	if (2 * (x->used + 1) > x->room)
		rebuild(x);
	put_into_slot(x, b);
	x->n++;
}

void
backend_index_remove(struct backend_index *x, const struct backend *b)
{
	size_t i;

	if (x->room == 0)
		return;
	for (i = home_of(x, b); x->slots[i] != NULL; i = (i + 1) & (x->room - 1))
		if (x->slots[i] == b) {
			x->slots[i] = &removed;
			x->n--;
			return;
		}
}

struct backend *
backend_index_twin(const struct backend_index *x, const struct backend *b)
{
	if (x->room == 0)
		return NULL;
	for (size_t i = home_of(x, b); x->slots[i] != NULL; i = (i + 1) & (x->room - 1)) {
		struct backend *other = x->slots[i];

		if (other != &removed && other != b && other->account != NULL && other->color == b->color &&
		    strcmp(other->text, b->text) == 0)
			return other;
	}
	return NULL;
}
