/* ruleset_tag.c - whose the upper byte of marks is: a claim that every teald of the host sees.
 *
 * Each keeps an empty chain, "tag_N", in its table; one that is dead keeps it as well, as it keeps its flows.
 * A claim is written in a transaction that the kernel refuses if anything of nftables changed since the others'
 * were read, so that of two that begin at once one looks again.
 * Start-up thread. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "kernel/flows_wire.h"
#include "kernel/ruleset_private.h"

#define PREFIX "tag_"
#define TAGS 256
/* Others' changes between the look and the claim. */
#define TRIES 100

struct claims {
	struct nft *nft;
	const struct ruleset_plan *plan;
	char (*table)[NFT_NAME];	/* by tag: the table that has it; "": none */
	unsigned own;	/* that of our table; 0: none */
	bool is_written;	/* by a chain of its own */
	char stale[NFT_NAME];	/* a chain of ours that claims another; "": none */
	enum err e;
	struct why *why;
};

void
ruleset_tag_chain(unsigned tag, char chain[RULESET_NAME])
{
	snprintf(chain, RULESET_NAME, PREFIX "%u", tag);
}

/* -- what others have ---------------------------------------------------------------- */

struct reading {
	unsigned tag;	/* 0: not found yet */
	bool is_chain;
};

static void
on_chain(void *arg, const char *name, uint64_t packets)
{
	struct reading *r = arg;
	uint64_t tag;

	(void)packets;
	if (strncmp(name, PREFIX, strlen(PREFIX)) == 0 &&
	    str_to_u64(str_from(name + strlen(PREFIX)), TAGS - 1, &tag) && tag > 0) {
		r->tag = (unsigned)tag;
		r->is_chain = true;
	}
}

/* A table of a teald that does not claim: its marks tell. */
static void
on_mark(void *arg, const struct nft_element *e)
{
	struct reading *r = arg;

	if (r->tag == 0 && e->value == NFT_VALUE_MARK)
		r->tag = mark_tag(e->mark);
}

static enum err
read_tag(struct claims *c, const char *table, struct reading *r)
{
	static const enum ruleset_set sets[] = { SET_MAIN4, SET_MAIN6, SET_WILD4, SET_WILD6 };
	enum err e = nft_names(c->nft, table, NFT_KIND_CHAIN, on_chain, r, c->why);

	for (size_t i = 0; e == OK && r->tag == 0 && i < ARRAY_LEN(sets); i++)
		e = nft_elements(c->nft, table, ruleset_set_names[sets[i]], on_mark, r, c->why);
	/* Its elements have expired, but its connections may go on: what it would take by default. */
	if (e == OK && r->tag == 0 && strncmp(table, "teal_", 5) == 0)
		r->tag = mark_tag_of_name(table + 5);
	return e;
}

static void
on_table(void *arg, const char *name, const char *comment)
{
	struct claims *c = arg;
	struct reading r = { 0 };
	char chain[RULESET_NAME];

	if (c->e != OK || strncmp(comment, "teal ", 5) != 0)
		return;
	if (strcmp(name, c->plan->table) == 0) {
		if ((c->e = read_tag(c, name, &r)) != OK)
			return;
		c->own = r.tag;
		c->is_written = r.is_chain;
		ruleset_tag_chain(r.tag, chain);
		str_copy(c->stale, sizeof(c->stale), str_from(r.is_chain ? chain : ""));
		return;
	}
	/* One of an earlier configuration of ours. */
	if (strcmp(comment, c->plan->comment) == 0)
		return;
	if ((c->e = read_tag(c, name, &r)) == OK && r.tag != 0)
		str_copy(c->table[r.tag], sizeof(c->table[0]), str_from(name));
}

/* -- what other software has ----------------------------------------------------------- */

struct seen {
	size_t services;
	bool any;
};

static bool
on_flow(void *arg, struct flow_fact *fact)
{
	struct seen *s = arg;

	/* A mark that no teald with so many services makes. */
	s->any = mark_service(fact->mark) == 0 || mark_service(fact->mark) > s->services;
	return !s->any;
}

static bool
tag_is_used(const struct claims *c, unsigned tag)
{
	struct seen s = { .services = c->plan->n };
	int fd = -1;

	(void)!flows_wire_dump(&fd, (uint32_t)tag << 24, MARK_TAG, on_flow, &s);
	if (fd >= 0)
		close(fd);
	return s.any;
}

/* -- ours ------------------------------------------------------------------------------ */

static enum err
choose_tag(const struct claims *c, unsigned *tag)
{
	const struct ruleset_plan *p = c->plan;
	unsigned first = c->own != 0 ? c->own : p->tag;

	if (p->tag_given) {
		*tag = p->tag;
		if (c->table[p->tag][0] != '\0')
			return why_set(
				c->why, E_CONFLICT,
				"kernel.tag %u is that of nftables' table inet %s, which is another teald's: each would end "
				"the other's connections; choose another tag, or none",
				p->tag, c->table[p->tag]);
		if (c->own != p->tag && tag_is_used(c, p->tag))
			LOG_WARN(
				"kernel.mark_used", LS("name", p->table), LU("count", p->tag),
				LS("message",
				   "other software has conntrack marks with this kernel.tag in the upper byte: its "
				   "connections may be taken for ours"));
		return OK;
	}
	for (unsigned i = 0; i < TAGS - 1; i++) {
		*tag = 1 + (first - 1 + i) % (TAGS - 1);
		if (c->table[*tag][0] != '\0' || (*tag != c->own && tag_is_used(c, *tag)))
			continue;
		if (i > 0)
			LOG_WARN(
				"kernel.tag_taken", LU("count", first),
				LS("name", c->table[first][0] != '\0' ? c->table[first] : "other software"),
				LS("message",
				   "the upper byte of marks is used by another: this teald takes another one; its "
				   "connections from before go on, but are neither counted nor ended by a drain"));
		return OK;
	}
	return why_set(c->why, E_CONFLICT,
		       "each of the 255 tags of conntrack marks is used by another teald or other software");
}

static enum err
claim_tag(struct claims *c, uint32_t generation, unsigned tag)
{
	char chain[RULESET_NAME];

	ruleset_tag_chain(tag, chain);
	if (c->is_written && strcmp(c->stale, chain) == 0)
		return OK;
	nft_begin_at(c->nft, c->plan->table, generation);
	nft_add_table(c->nft, c->plan->comment);
	nft_add_chain(c->nft, chain);
	if (c->stale[0] != '\0')
		nft_delete(c->nft, NFT_KIND_CHAIN, c->stale);
	return nft_commit(c->nft, c->why);
}

enum err
ruleset_tag_claim(struct nft *nft, struct ruleset_plan *p, struct why *why)
{
	struct claims c = { .nft = nft, .plan = p, .why = why };
	unsigned tag = p->tag;
	bool done = false;
	enum err e = OK;

	c.table = must_array(TAGS, sizeof(c.table[0]));
	for (int i = 0; i < TRIES && e == OK && !done; i++) {
		uint32_t generation;

		memset(c.table, 0, TAGS * sizeof(c.table[0]));
		c.own = 0;
		c.is_written = false;
		c.stale[0] = '\0';
		if ((e = nft_generation(nft, &generation, why)) != OK)
			break;
		c.e = OK;
		if ((e = nft_tables(nft, on_table, &c, why)) != OK || (e = c.e) != OK ||
		    (e = choose_tag(&c, &tag)) != OK)
			break;
		/* Of those that come between, who was later looks again. */
		e = claim_tag(&c, generation, tag);
		done = e == OK;
		if (e == E_CONFLICT)
			e = OK;
	}
	free(c.table);
	if (e == OK && !done)
		e = why_set(why, E_CONFLICT,
			    "nftables is changed all the time: no tag of marks could be claimed");
	if (e == OK)
		p->tag = tag;
	return e;
}
