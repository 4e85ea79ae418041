/* snapshot.h - what a worker must know to place a new connection: the active
 * color and the backends that may be used.  Immutable and refcounted; main
 * builds one whenever something changes and hands it over as a letter. */
#ifndef MODEL_SNAPSHOT_H
#define MODEL_SNAPSHOT_H

#include <stdatomic.h>
#include <stdint.h>

#include "model/backend.h"
#include "model/drain_orders.h"
#include "model/maglev.h"
#include "model/share.h"
#include "model/tally.h"

/* A backend on a node that is drained, and whose connections are to end. */
struct snapshot_leaving {
	struct backend *backend;	/* a reference held by the snapshot */
	struct drain_orders orders;
};

struct snapshot_color {
	struct backend **usable;	/* references held by the snapshot */
	unsigned n;	/* 0: nothing may be tried */
	/* Those whose connections are to end (on_down = "reset"): down, and not
	 * usable.  References held by the snapshot. */
	struct backend **down;
	unsigned n_down;
	/* Never usable.  Those that the service has no more, too, as long as they have connections. */
	struct snapshot_leaving *leaving;
	unsigned n_leaving;
	/* Of each usable one, in hundredths: 100 times the configured weight, or
	 * less while it starts slowly; at least 1. */
	uint32_t *weights;
	/* Made of these by balance_prepare(). */
	uint64_t *sums;	/* running sums of weights */
	bool equal;	/* all weights are the same */
	struct maglev *maglev;	/* one reference; NULL unless source_hash */
	uint32_t *places;	/* for each of maglev's backends: its index in usable, or MAGLEV_NONE */
};

struct snapshot {
	_Atomic uint32_t refs;
	uint64_t generation;	/* of the service; one more for each snapshot */
	uint64_t epoch;
	enum color active;
	bool refuse;	/* nothing new: what is known is too old to be trusted */
	/* Both colors have clients: those whose points by `key` are below `threshold` are low's, the rest the other's. */
	bool shared;
	bool diverted;	/* the color `from` has no healthy backend: its clients are on the other one */
	enum color low, from;
	uint64_t threshold;	/* of 2^32 */
	struct hash_secret key;
	struct snapshot_color colors[COLORS];	/* the idle one is for previews, and for its share */
};

/* usable and weights are zeroed, of n[color] places for the builder to fill
 * (usable with references) before balance_prepare().  One reference, the caller's. */
struct snapshot *snapshot_new(uint64_t generation, uint64_t epoch, enum color active, const unsigned n[COLORS]);
struct snapshot *snapshot_ref(struct snapshot *s);
/* The color of a connection or request that comes in there now, where none is shared: the active one, or
 * for previews the other. */
static inline enum color
snapshot_color(const struct snapshot *s, enum entrance entrance)
{
	return entrance == ENTRANCE_MAIN ? s->active : color_other(s->active);
}
/* Of a shared one and its main entrance: the color whose client has that point. */
static inline enum color
snapshot_share_color(const struct snapshot *s, uint32_t point)
{
	return point < s->threshold ? s->low : color_other(s->low);
}
/* Of the same active color: has a client another color by b than by a? */
bool snapshot_shifts(const struct snapshot *a, const struct snapshot *b);
/* May new connections go to that backend?  As slow as there are backends. */
bool snapshot_uses(const struct snapshot *s, const struct backend *b);
/* Are the connections of that backend to end? */
static inline bool
snapshot_resets(const struct snapshot *s, const struct backend *b)
{
	const struct snapshot_color *c = &s->colors[b->color];

	for (unsigned i = 0; i < c->n_down; i++)
		if (c->down[i] == b)
			return true;
	return false;
}
/* How the connections of that backend are to end; NULL: they stay. */
static inline const struct drain_orders *
snapshot_leaves(const struct snapshot *s, const struct backend *b)
{
	const struct snapshot_color *c = &s->colors[b->color];

	for (unsigned i = 0; i < c->n_leaving; i++)
		if (c->leaving[i].backend == b)
			return &c->leaving[i].orders;
	return NULL;
}
/* Has one of the leaving backends a connection still, of whatever thread? */
bool snapshot_has_leaving(const struct snapshot *s);
/* Consumes the caller's reference: *sp is NULL on return. */
void snapshot_unref(struct snapshot **sp);

#endif
