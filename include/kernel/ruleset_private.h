/* ruleset_private.h - what the files of the ruleset share: who writes texts, who
 * knows what the table holds, who talks to main. */
#ifndef KERNEL_RULESET_PRIVATE_H
#define KERNEL_RULESET_PRIVATE_H

#include <stdio.h>

#include "kernel/nft.h"
#include "kernel/ruleset.h"

/* -- what is configured: immutable ------------------------------------------------- */

struct ruleset_plan {
	char table[5 + RULESET_TABLE_MAX + 1];	/* "teal_NAME" */
	char comment[128];	/* "teal OWNER": the proof that it is ours */
	unsigned tag;
	bool tag_given, claims;
	double max_age;
	unsigned established;
	const struct ruleset_service *services;
	size_t n;
	const struct addr *sources;	/* as in struct ruleset_config */
	size_t n_sources;
	bool sockets;	/* the kernel can tell packets of its own sockets */
	uint16_t *numbers;	/* of each, in marks */
};

/* Takes what config says; numbers are all 0. */
void ruleset_plan_init(struct ruleset_plan *p, const struct ruleset_config *config);
void ruleset_plan_free(struct ruleset_plan *p);
/* Gives a number to each that has none; not one of those that are taken (NULL: none
 * is), while there are others. */
void ruleset_plan_number(struct ruleset_plan *p, const bool taken[MARK_SERVICES + 1]);

#define RULESET_NAME 64	/* of a chain, with NUL */

/* -- whose marks (ruleset_tag.c) ------------------------------------------------------- */

void ruleset_tag_chain(unsigned tag, char chain[RULESET_NAME]);
/* Claims a tag, which p has then; E_CONFLICT when another has the one that was given. */
MUST_USE enum err ruleset_tag_claim(struct nft *nft, struct ruleset_plan *p, struct why *why);

/* -- whose turn it is: pure (ruleset_slots.c) ---------------------------------------- */

/* Which backend of a color gets a flow: that of the slot that nftables' counter, or its
 * hash of the client's address, comes to. */
struct ruleset_slots {
	unsigned n;	/* 0: no backend of that family */
	bool hash;	/* else in turn */
	uint32_t *list;	/* n indexes into the color's usable backends */
};

/* family: AF_INET or AF_INET6, whose backends alone count.  In turn: smooth, by weight, and
 * exact while the weights have a common measure that makes few slots of them, else
 * within a part in 500.  By source: a Maglev table of some dozen slots for each
 * backend, the same at every Teal; the slots of one that is not usable go to others, each
 * by itself, and no other slot moves. */
void ruleset_slots_make(struct ruleset_slots *s, const struct snapshot_color *color, int family, bool hash);
void ruleset_slots_free(struct ruleset_slots *s);
/* The index into usable of that slot, when the round begins at `turn`: a new chain counts from 0, and
 * were the first slot always the same one's, it would get more than others while chains change often. */
static inline uint32_t
ruleset_slots_at(const struct ruleset_slots *s, unsigned slot, uint64_t turn)
{
	return s->list[s->hash ? slot : (slot + turn) % s->n];
}

/* -- texts: pure (ruleset_text.c) ----------------------------------------------------- */

/* Names are made of what they stand for, so that what exists need not be read: chains of
 * backends and doors end in a hash of their rules, dynamic sets in their limits. */

/* The color's chain: its name, and its text into out (NULL: only the name).  turn: where
 * in the round it begins. */
void ruleset_color_chain(const struct ruleset_plan *p, size_t service, enum color color,
			 const struct snapshot_color *sc, uint64_t turn, char name[RULESET_NAME], FILE *out);
/* The same chain as messages of a transaction. */
void ruleset_color_chain_add(const struct ruleset_plan *p, size_t service, const struct snapshot_color *sc,
			     uint64_t turn, const char *name, struct nft *nft);
/* Its rules alone, where it is there and empty. */
void ruleset_color_chain_fill(const struct ruleset_plan *p, size_t service, const struct snapshot_color *sc,
			      uint64_t turn, const char *name, struct nft *nft);
/* How many rules that are. */
size_t ruleset_color_rules(const struct ruleset_plan *p, size_t service, const struct snapshot_color *sc);
/* The service's door; "" where it limits nothing. */
void ruleset_door_chain(const struct ruleset_plan *p, size_t service, char name[RULESET_NAME], FILE *out);
/* Its dynamic sets and counters: those of which is_wanted says so, or all when it is
 * NULL, into out. */
typedef bool ruleset_thing_fn(void *arg, enum nft_kind kind, const char *name);
void ruleset_service_things(const struct ruleset_plan *p, size_t service, ruleset_thing_fn *is_wanted,
			    void *arg, FILE *out);

/* The sets that every table has. */
enum ruleset_set {
	SET_MAIN4,	/* address . protocol . port : mark */
	SET_MAIN6,
	SET_WILD4,	/* protocol . port : mark, of 0.0.0.0 */
	SET_WILD6,
	SET_STALE4,	/* the same keys, always there : who counts clients that find no mark */
	SET_STALE6,
	SET_WILD_STALE4,
	SET_WILD_STALE6,
	SET_PORTS4,	/* keys of WILD4, so that others' packets are not looked at closely */
	SET_PORTS6,
	SET_LOCAL4,	/* keys of services that have local clients */
	SET_LOCAL6,
	SET_WILD_LOCAL4,
	SET_WILD_LOCAL6,
	SET_HERE4,	/* the keys of MAIN4, always there */
	SET_HERE6,
	SET_DOORS,	/* service and entrance of the mark : door */
	SET_COLORS,	/* service and color : chain of backends */
	SET_NO_BACKEND,	/* service : who counts clients without a backend */
	SET_STRAYS,	/* service : who counts packets of no flow */
	SET_MASQUERADE,	/* tag and service */
	SET_LIVE,	/* tag, service, color and entrance that new flows may have */
};
#define RULESET_SETS (SET_LIVE + 1)
extern const char *const ruleset_set_names[RULESET_SETS];
static inline bool
ruleset_set_is_mortal(enum ruleset_set set)
{
	return set <= SET_WILD6;
}
void ruleset_set_text(enum ruleset_set set, FILE *out);
/* And two that the kernel fills: where masqueraded flows went of late, "from4" and "from6". */
void ruleset_from_text(bool v6, FILE *out);

/* The chains that do not depend on single services; tell (or NULL) hears their names.  mark: that
 * of an empty one that says which version they are, the last. */
#define RULESET_LAYOUT_MARK "layout_"
typedef void ruleset_name_fn(void *arg, const char *name);
void ruleset_layout(const struct ruleset_plan *p, ruleset_name_fn *tell, void *arg, char mark[RULESET_NAME],
		    FILE *out);

/* One element of a set, as nft would write it, with its comma. */
void ruleset_element_text(const struct ruleset_plan *p, enum ruleset_set set, const struct nft_element *e,
			  FILE *out);

/* -- elements: pure (ruleset_want.c) --------------------------------------------------- */

struct ruleset_want {
	uint8_t set;	/* enum ruleset_set */
	struct nft_element e;
};

struct ruleset_wants {
	struct ruleset_want *list;
	size_t n, room;
};
void ruleset_wants_free(struct ruleset_wants *w);
void ruleset_wants_sort(struct ruleset_wants *w);	/* by set and key; the first of equal ones stays */
int ruleset_want_compare(const struct ruleset_want *a, const struct ruleset_want *b);

/* Those that lead to a color; snapshot NULL: none. */
void ruleset_want_marks(const struct ruleset_plan *p, size_t service, const struct snapshot *snapshot,
			struct ruleset_wants *out);
void ruleset_want_color(const struct ruleset_plan *p, size_t service, enum color color, const char *chain,
			struct ruleset_wants *out);
/* Those that stay what they are. */
void
ruleset_want_fixed(const struct ruleset_plan *p, size_t service, const char *door, struct ruleset_wants *out);

/* -- the table (ruleset_table.c); its thread ------------------------------------------- */

struct ruleset_table;

struct ruleset_table *ruleset_table_new(const struct ruleset_plan *p, struct nft *nft);
void ruleset_table_free(struct ruleset_table **tp);
/* Is there a table, and is it ours?  E_CONFLICT when it is not. */
MUST_USE enum err
ruleset_table_look(struct nft *nft, const struct ruleset_plan *p, bool *exists, struct why *why);
/* What the service is to do from now on; takes a reference.  Nothing is written. */
void ruleset_table_want(struct ruleset_table *t, size_t service, struct snapshot *snapshot);
/* The table's content is unknown: the next write reads it first. */
void ruleset_table_doubt(struct ruleset_table *t);
/* Makes the table what is wanted. */
MUST_USE enum err ruleset_table_write(struct ruleset_table *t, struct why *why);
MUST_USE enum err ruleset_table_renew(struct ruleset_table *t, struct why *why);
/* Did the last writes find rules gone, and make them again?  Said once. */
bool ruleset_table_was_hurt(struct ruleset_table *t);
/* Something that nothing leads to any more waits to be deleted; ruleset_table_sweep() deletes what
 * has waited long enough by `now`, seconds. */
bool ruleset_table_has_waste(const struct ruleset_table *t);
void ruleset_table_sweep(struct ruleset_table *t, double now);
MUST_USE enum err ruleset_table_remove(struct ruleset_table *t, struct why *why);

#endif
