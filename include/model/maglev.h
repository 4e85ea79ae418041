/* maglev.h - a table from hash values to backends that hardly changes when
 * the backends do (Eisenbud et al., "Maglev", NSDI 2016, section 3.4).
 * It depends on addresses and weights alone, so every Teal of a fleet makes
 * the same one.  Immutable and refcounted: main makes it, snapshots share it. */
#ifndef MODEL_MAGLEV_H
#define MODEL_MAGLEV_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "model/backend.h"

#define MAGLEV_NONE UINT32_MAX

struct maglev {
	_Atomic uint32_t refs;
	uint32_t size;	/* of slots, a prime; 0: no backend has a weight */
	uint32_t *slots;	/* indexes into backends */
	struct backend **backends;	/* references; by address, weight above 0 */
	uint32_t *weights;	/* of the backends when this was made: main changes those, while other threads read these */
	uint32_t n;
};

/* One reference, the caller's.  Aborts when memory is out. */
struct maglev *maglev_new(struct backend *const *backends, size_t n);
/* The same by these weights, with so many slots: a prime, more than there are backends; 0: as many as are good. */
struct maglev *maglev_new_sized(struct backend *const *backends, const uint32_t *weights, size_t n, uint32_t size);
struct maglev *maglev_ref(struct maglev *m);
/* Consumes the caller's reference: *mp is NULL on return. */
void maglev_unref(struct maglev **mp);

/* The index in m->backends of whom this hash belongs to, or MAGLEV_NONE. */
static inline uint32_t
maglev_find(const struct maglev *m, uint64_t hash)
{
	return m->size > 0 ? m->slots[hash % m->size] : MAGLEV_NONE;
}

#endif
