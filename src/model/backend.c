/* backend.c - life of a backend object.  Any thread may hold references;
 * created by main. */
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "model/backend.h"

struct backend *
backend_new(enum color color, const struct addr *address, const struct addr *health_address)
{
	struct backend *b = aligned_alloc(64, (sizeof(*b) + 63) / 64 * 64);

	CHECK(b != NULL);
	memset(b, 0, sizeof(*b));
	b->magic = BACKEND_MAGIC;
	atomic_init(&b->refs, 1);
	b->color = color;
	b->address = *address;
	b->health_address = *health_address;
	addr_format(address, b->text);
	b->state = BACKEND_CHECKING;
	b->since_us = clock_wall_us();
	return b;
}

struct backend *
backend_ref(struct backend *b)
{
	CHECK(b->magic == BACKEND_MAGIC);
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	return b;
}

void
backend_unref(struct backend **bp)
{
	struct backend *b = *bp;

	*bp = NULL;
	if (b == NULL)
		return;
	CHECK(b->magic == BACKEND_MAGIC);
	if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1) {
		b->magic = 0;
		free(b);
	}
}

const char *
backend_state_word(enum backend_state s)
{
	switch (s) {
	case BACKEND_CHECKING:
		return "checking";
	case BACKEND_UP:
		return "up";
	case BACKEND_DOWN:
		return "down";
	}
	return "";
}
