/* backend_index.h - backends of a service by color and address, so that thousands that come with one reload
 * are not compared with each other.  Several may have the same address.
 * Owned by its service.  Thread: main. */
#ifndef MODEL_BACKEND_INDEX_H
#define MODEL_BACKEND_INDEX_H

#include <stdbool.h>
#include <stddef.h>

#include "model/backend.h"

struct backend_index {
	struct backend **slots;	/* NULL: empty; else borrowed, or the mark of one that was removed */
	size_t room;	/* 0, or a power of two */
	size_t used;	/* slots that are not empty */
	size_t n;	/* backends */
};

void backend_index_clear(struct backend_index *x);
/* b stays in until it is removed; its color and text do not change meanwhile. */
void backend_index_add(struct backend_index *x, struct backend *b);
/* Harmless where it is not in. */
void backend_index_remove(struct backend_index *x, const struct backend *b);
/* One of b's color and text that is not b, and has an account; NULL: none has. */
struct backend *backend_index_twin(const struct backend_index *x, const struct backend *b);

#endif
