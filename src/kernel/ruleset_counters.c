/* ruleset_counters.c - the table's counters, one for each service and reason, named after
 * them.  Thread: the ruleset's; main's while that does not run. */
#include <stdlib.h>
#include <string.h>

#include "kernel/ruleset_thread.h"

/* "n12/shop/denied": the number, and what is behind it; 0: it is none of ours. */
static unsigned
parse_counter(const char *name, struct str *service, const char **word)
{
	const char *first = strchr(name, '/'), *last = strrchr(name, '/');
	uint64_t number;

	if (name[0] != 'n' || first == NULL || last == first ||
	    !str_to_u64((struct str){ name + 1, (size_t)(first - name) - 1 }, MARK_SERVICES, &number))
		return 0;
	*service = (struct str){ first + 1, (size_t)(last - first) - 1 };
	*word = last + 1;
	return (unsigned)number;
}

struct counting {
	const struct ruleset_plan *plan;
	struct ruleset_counts *counts;
	size_t service_of[MARK_SERVICES + 1];	/* index + 1; 0: no service's */
};

static void
on_counter(void *arg, const char *name, uint64_t packets)
{
	struct counting *c = arg;
	struct str service;
	const char *word;
	unsigned number = parse_counter(name, &service, &word);
	struct ruleset_counts *counts;

	if (number == 0 || c->service_of[number] == 0)
		return;
	counts = &c->counts[c->service_of[number] - 1];
	if (strcmp(word, "stray") == 0)
		counts->strays = packets;
	for (unsigned i = 0; i < RULESET_REFUSALS; i++)
		if (strcmp(word, ending_word(ruleset_refusal_ending((enum ruleset_refusal)i))) == 0)
			counts->refused[i] = packets;
}

struct ruleset_counts *
ruleset_counters_read(struct nft *nft, const struct ruleset_plan *plan)
{
	struct counting *c = must_alloc(sizeof(*c));
	struct ruleset_counts *counts;

	c->plan = plan;
	c->counts = must_array(plan->n + 1, sizeof(*c->counts));
	for (size_t i = 0; i < plan->n; i++)
		c->service_of[plan->numbers[i]] = i + 1;
	if (nft_names(nft, plan->table, NFT_KIND_COUNTER, on_counter, c, NULL) != OK) {
		free(c->counts);
		c->counts = NULL;
	}
	counts = c->counts;
	free(c);
	return counts;
}

/* -- the numbers of a table that is there ------------------------------------------- */

struct numbering {
	struct ruleset_plan *plan;
	bool taken[MARK_SERVICES + 1];
};

static void
on_old_counter(void *arg, const char *name, uint64_t packets)
{
	struct numbering *n = arg;
	struct str service;
	const char *word;
	unsigned number = parse_counter(name, &service, &word);

	(void)packets;
	if (number == 0 || n->taken[number])
		return;
	for (size_t i = 0; i < n->plan->n; i++)
		if (n->plan->numbers[i] == 0 && str_eq(service, n->plan->services[i].name))
			n->plan->numbers[i] = (uint16_t)number;
	/* One that is gone may still have flows: its number rests for the time of a teald. */
	n->taken[number] = true;
}

enum err
ruleset_counters_number(struct nft *nft, struct ruleset_plan *plan, bool exists, struct why *why)
{
	struct numbering n = { .plan = plan };
	enum err e = exists ? nft_names(nft, plan->table, NFT_KIND_COUNTER, on_old_counter, &n, why) : OK;

	if (e == OK)
		ruleset_plan_number(plan, n.taken);
	return e;
}
