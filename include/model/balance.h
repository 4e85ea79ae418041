/* balance.h - which of the usable backends the next connection goes to.
 * Pure but for the places it takes; any thread, each with a round of its own.
 *
 *	round_robin	smooth: in turn, the heavier more often, never in bursts
 *	least_conn	the backend with the fewest connections for its weight, over
 *			all workers
 *	p2c		the better of two, one drawn by weight and one in turn:
 *			nearly that, without looking at all of them
 *	source_hash	by the client's address (model/maglev.h); who cannot get
 *			its own goes where rendezvous hashing says, so that no
 *			other client moves
 *
 * In all of them a backend that was tried already or is full is passed over. */
#ifndef MODEL_BALANCE_H
#define MODEL_BALANCE_H

#include "model/config.h"
#include "model/snapshot.h"

/* One worker's place in the turns of one color. */
struct balance_round {
	uint64_t turn;
	/* While weights differ: what each usable backend is owed. */
	int64_t *owed;
	unsigned n;
};

struct balance_ask {
	enum balance policy;
	uint32_t limit;	/* connections a backend may have; 0: any */
	const void *source;	/* the client's address without port; NULL: it has none */
	size_t source_len;
	struct backend *const *tried;
	unsigned n_tried;
	uint64_t *random;
};

/* Completes a snapshot's color, whose usable and weights are filled in.  A
 * reference of maglev is taken, NULL unless it is needed. */
void balance_prepare(struct snapshot_color *sc, struct maglev *maglev);

/* Turns begin at `turn`, so that workers begin at different backends. */
void balance_round_init(struct balance_round *r, unsigned turn);
/* From one snapshot to the next (old NULL: the first); each backend keeps the turns
 * it is owed.  Aborts when memory is out. */
void balance_round_move(struct balance_round *r, const struct snapshot_color *old,
			const struct snapshot_color *next);
void balance_round_free(struct balance_round *r);

/* Chooses a backend and takes a place on it, to be given back by
 * backend_leave().  Borrowed from the snapshot; NULL: all that are usable
 * were tried or are full. */
struct backend *
balance_take(const struct snapshot_color *sc, struct balance_round *r, const struct balance_ask *ask);

#endif
