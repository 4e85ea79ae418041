/* engine_private.h - what the files of the kernel engine share; no other file includes it: engine.c (its life, what new flows are
 * to do), engine_cut.c, engine_counts.c, engine_reload.c.
 * Thread: main. */
#ifndef KERNEL_ENGINE_PRIVATE_H
#define KERNEL_ENGINE_PRIVATE_H

#include "base/check.h"
#include "kernel/engine.h"
#include "kernel/flows.h"
#include "kernel/ruleset.h"
#include "kernel/shortcut.h"

/* One service of ours. */
struct kernel_ours {
	struct kernel *kernel;
	struct service *service;
	size_t at;	/* in the ruleset */
	unsigned id;	/* in marks */
	struct snapshot *snapshot;	/* the last one published; NULL: none yet */
	bool waits;	/* it is for the ruleset once we know that we are awake */
	uint64_t in_ruleset;	/* generation */
	uint64_t counting;	/* the one whose connections are being counted; 0: none */
	uint64_t acked;	/* of both; control hears of it once the start has counted, too */
	uint64_t reported;	/* as control has heard */
	uint64_t committed;	/* that came with the last reload */
	uint64_t flipped;	/* generation that moved the preview; 0: that is settled */
	bool counted;	/* refused holds a reading */
	uint64_t refused[RULESET_REFUSALS];	/* as last read */
	uint64_t strays, strays_total;
};

struct kernel {
	struct engine engine;	/* first */
	struct ev_loop *loop;
	const struct config *config;
	struct ruleset *ruleset;
	struct shortcut *shortcut;	/* NULL: none */
	char no_shortcut[256];	/* why there is none; "": there is, or none is wanted */
	struct flows *flows;
	struct kernel_ours *list;
	size_t n;
	const struct ruleset_service *described;	/* as the ruleset knows them */
	struct kernel_ours **by_service;	/* by the service's index; NULL: another engine's */
	bool counted;	/* flows that were there before us are */
	bool begun;	/* the ruleset may write */
	bool closing, closed, freeing;
	bool reading;	/* counts are on their way */
	bool held;	/* until the store was read: we slept */
	double renewed;	/* clock_now() when it was last due */
	ev_timer renew, counts, begin, close;
	ev_timer leave;	/* while flows are on nodes that are drained */
	ev_timer reloaded;	/* on_committed() is due */
	bool reloading;	/* what a reload brought is not obeyed yet */
	uint64_t generation;	/* of the configuration that it tells of */
	size_t n_slots;	/* of by_service */
	char table[RULESET_TABLE_MAX + 8];
	char trouble[256];	/* why the kernel does not take what we say; "": it does */
};

static inline struct kernel *
kernel_of(struct engine *e)
{
	return container_of(e, struct kernel, engine);
}

static inline struct kernel_ours *
kernel_ours(const struct kernel *k, const struct service *s)
{
	struct kernel_ours *o = k->by_service[s->index];

	CHECK(o != NULL);
	return o;
}

/* What came of a reload is obeyed, perhaps: then it is told. */
void kernel_committed_yet(struct kernel *k);
/* The engine's `publish`. */
void kernel_publish(struct engine *e, struct service *s, struct snapshot **snapshot);

/* -- engine_cut.c ------------------------------------------------------------------ */

void kernel_cut_previews(struct kernel_ours *o);
/* Backends that fail their checks and get nothing new: what they have is cut, so that clients come again. */
void kernel_cut_down(struct kernel_ours *o);
/* The callback of k->leave: of nodes that are drained those connections whose turn it is. */
void kernel_on_leave(struct ev_loop *loop, ev_timer *t, int revents);

/* -- engine_counts.c ---------------------------------------------------------------- */

/* Asks for the rules' counters, unless they are on their way. */
void kernel_read_counts(struct kernel *k);
/* The callback of k->counts. */
void kernel_on_count_timer(struct ev_loop *loop, ev_timer *t, int revents);
uint64_t kernel_strays(const struct engine *e, const struct service *s);

/* -- engine_reload.c: what struct engine wants of a reload -------------------------------- */

enum err kernel_prepare(struct engine *e, const struct reload *r, struct why *why);
void kernel_abandon(struct engine *e);
void kernel_commit(struct engine *e, const struct reload *r);
/* The callback of k->reloaded. */
void kernel_on_reloaded(struct ev_loop *loop, ev_timer *t, int revents);

#endif
