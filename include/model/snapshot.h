/* snapshot.h - what a worker must know to place a new connection: the active
 * color and the backends that may be used.  Immutable and refcounted; main
 * builds one whenever something changes and hands it over as a letter. */
#ifndef MODEL_SNAPSHOT_H
#define MODEL_SNAPSHOT_H

#include <stdatomic.h>
#include <stdint.h>

#include "model/backend.h"

struct snapshot_color {
	struct backend **usable;	/* references held by the snapshot */
	unsigned n;	/* 0: nothing may be tried */
};

struct snapshot {
	_Atomic uint32_t refs;
	uint64_t generation;	/* of the service; one more for each snapshot */
	uint64_t epoch;
	enum color active;
	bool refuse;	/* nothing new: what is known is too old to be trusted */
	struct snapshot_color colors[COLORS];	/* the idle one is for previews */
};

/* usable arrays are zeroed, of n[color] places for the builder to fill with
 * references.  One reference, the caller's. */
struct snapshot *snapshot_new(uint64_t generation, uint64_t epoch, enum color active, const unsigned n[COLORS]);
struct snapshot *snapshot_ref(struct snapshot *s);
/* Consumes the caller's reference: *sp is NULL on return. */
void snapshot_unref(struct snapshot **sp);

#endif
