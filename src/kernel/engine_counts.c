/* engine_counts.c - what the rules have counted, and how the engine's table does.
 * Thread: main. */
#include "kernel/engine_private.h"
#include "kernel/engine_usage.h"
#include "kernel/flows.h"
#include "kernel/ruleset.h"

/* A counter of the kernel's, which begins anew when its rule is replaced. */
static uint64_t
grown(uint64_t *last, uint64_t now, bool first)
{
	uint64_t more = first ? 0 : now >= *last ? now - *last : now;

	*last = now;
	return more;
}

static void
kernel_on_counts(void *arg, const struct ruleset_counts *counts)
{
	struct kernel *k = arg;

	k->reading = false;
	/* At the end there is no ruleset any more that could be asked. */
	if (k->freeing)
		return;
	for (size_t i = 0; counts != NULL && i < k->n; i++) {
		struct kernel_ours *o = &k->list[i];
		struct service *s = o->service;
		/* The first tally is the thread's of flows, this one, before the inherited one, is ours. */
		struct tally_color *t = &s->inherited[-1].colors[ENTRANCE_MAIN][s->record.color];
		bool first = !o->counted && ruleset_is_adopted(k->ruleset);

		for (int r = 0; r < RULESET_REFUSALS; r++)
			tally_add(&t->ended[ruleset_refusal_ending((enum ruleset_refusal)r)],
				  grown(&o->refused[r], counts[i].refused[r], first));
		o->strays_total += grown(&o->strays, counts[i].strays, first);
		o->counted = true;
	}
}

void
kernel_read_counts(struct kernel *k)
{
	if (k->reading)
		return;
	k->reading = true;
	ruleset_read_counts(k->ruleset, kernel_on_counts, k);
}

void
kernel_on_count_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct kernel *k = container_of(t, struct kernel, counts);

	(void)loop;
	(void)revents;
	if (k->begun)
		kernel_read_counts(k);
}

void
kernel_usage(const struct engine *e, struct kernel_usage *out)
{
	const struct kernel *k = container_of(e, const struct kernel, engine);

	*out = (struct kernel_usage){ .table = k->table, .trouble = k->trouble };
	flows_usage(k->flows, &out->flows);
	out->shortcut = k->config->kernel.shortcut;
	out->no_shortcut = k->no_shortcut;
	if (k->shortcut != NULL)
		shortcut_names(k->shortcut, out->interfaces, sizeof(out->interfaces));
}

uint64_t
kernel_strays(const struct engine *e, const struct service *s)
{
	return kernel_ours(container_of(e, const struct kernel, engine), s)->strays_total;
}
