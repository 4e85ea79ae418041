/* ruleset_table.h - what the files around ruleset_table.c share: the state of the
 * kernel's table, as it is known and as it is wanted.  Thread: the ruleset's own. */
#ifndef KERNEL_RULESET_TABLE_H
#define KERNEL_RULESET_TABLE_H

#include "kernel/ruleset_private.h"

struct ruleset_state {
	struct snapshot *want;	/* one reference; NULL: nothing leads anywhere */
	struct snapshot *have;	/* what the table has, while it is known */
	bool is_dirty;	/* want is news */
	/* The chains of its backends that the table leads to, and those that it will. */
	char chains[COLORS][RULESET_NAME], next[COLORS][RULESET_NAME];
};

struct ruleset_waste {
	enum nft_kind kind;
	bool is_empty;	/* a chain whose rules were deleted: no use any more */
	double since;
	char name[NFT_NAME];
};

struct ruleset_table {
	const struct ruleset_plan *plan;
	struct nft *nft;
	/* The table holds what `have` and `chains` say.  False before the first look, and
	 * after a transaction that failed. */
	bool is_known;
	bool was_hurt;	/* rules were gone */
	struct ruleset_state *services;
	size_t *dirty, n_dirty;	/* services with news */
	struct ruleset_waste *waste;	/* what nothing leads to any more */
	size_t n_waste;
};

const struct snapshot_color *ruleset_table_color(const struct snapshot *s, enum color c);
/* The table has what is wanted. */
void ruleset_table_done(struct ruleset_table *t);
void ruleset_table_waste(struct ruleset_table *t, enum nft_kind kind, const char *name, bool is_empty);
/* Looks at the whole table and makes it what is wanted; E_CONFLICT: it changed
 * meanwhile, so look again (or it is not ours; then that is said for ever). */
MUST_USE enum err ruleset_table_mend(struct ruleset_table *t, struct why *why);

#endif
