/* engine_describe.c - the configuration in the words of the ruleset, and the
 * ruleset that it would make.  Thread: main. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "kernel/engine.h"
#include "kernel/engine_describe.h"
#include "kernel/flows.h"
#include "model/balance.h"
#include "model/service.h"

static void
describe_one(struct ruleset_service *out, const struct service_config *s)
{
	*out = (struct ruleset_service){
		.name = s->name,
		.mode = s->mode,
		.listen = s->listen,
		.n_listen = s->n_listen,
		.preview = s->preview,
		.n_preview = s->n_preview,
		.source_hash = s->balance == BALANCE_SOURCE_HASH,
		.transparent = s->flow_source == SOURCE_TRANSPARENT,
		.local_clients = s->local_clients,
		.limits = &s->limits,
	};
}

/* In a fleet what a teald that died told its kernel must not be believed for ever. */
static double
lifetime(const struct config *config)
{
	return config->store.type == STORE_REDIS ? config->store.max_age : 0;
}

static unsigned
tag_of(const struct config *config)
{
	const char *table = config->kernel.table;

	return config->kernel.tag != 0 ? config->kernel.tag : mark_tag_of_name(table);
}

_Static_assert(KERNEL_SERVICES_MAX == MARK_SERVICES, "the check of the configuration is that of marks");

struct ruleset_config
kernel_describe(const struct config *config, const char *owner)
{
	struct ruleset_service *list = must_array(config->n_services, sizeof(*list));
	size_t n = 0;

	for (size_t i = 0; i < config->n_services; i++)
		if (config->services[i].engine == ENGINE_KERNEL)
			describe_one(&list[n++], &config->services[i]);
	return (struct ruleset_config){
		.table = config->kernel.table,
		.owner = owner,
		.tag = tag_of(config),
		.tag_given = config->kernel.tag != 0,
		.claims = true,
		.services = list,
		.n_services = n,
		.sources = config->kernel.source_addresses,
		.n_sources = config->kernel.n_source_addresses,
		.max_age = lifetime(config),
		.established = flows_established_timeout(),
	};
}

/* -- what a test of the configuration prints ------------------------------------------ */

static struct snapshot *
snapshot_of(struct service *s)
{
	unsigned n[COLORS] = { 0, 0 };
	struct snapshot *snap;

	for (int c = 0; c < COLORS; c++)
		for (size_t i = 0; i < s->colors[c].n; i++)
			n[c] += backend_is_wanted(s->colors[c].backends[i]) &&
				backend_has_address(s->colors[c].backends[i]);
	snap = snapshot_new(1, 1, s->config->initial, n);
	for (int c = 0; c < COLORS; c++) {
		unsigned at = 0;

		for (size_t i = 0; i < s->colors[c].n; i++) {
			struct backend *b = s->colors[c].backends[i];

			if (!backend_is_wanted(b) || !backend_has_address(b))
				continue;
			snap->colors[c].usable[at] = backend_ref(b);
			snap->colors[c].weights[at++] = backend_weight(b);
		}
		balance_prepare(&snap->colors[c], s->config->balance == BALANCE_SOURCE_HASH ?
							  service_maglev(s, (enum color)c) :
							  NULL);
	}
	return snap;
}

static void
tell_names(const struct service *s, FILE *out)
{
	for (int c = 0; c < COLORS; c++)
		for (size_t i = 0; i < s->colors[c].n; i++)
			if (!backend_has_address(s->colors[c].backends[i]))
				fprintf(out, "# %s%s%s: %s is looked up when teald runs\n", s->config->name,
					s->colorless ? "" : ", ", s->colorless ? "" : color_word((enum color)c),
					s->colors[c].backends[i]->text);
}

void
kernel_print(const struct config *config, const char *owner, FILE *out)
{
	struct ruleset_config rc = kernel_describe(config, owner);
	struct snapshot **snapshots = must_array(rc.n_services, sizeof(*snapshots));
	size_t n = 0;

	for (size_t i = 0; i < config->n_services; i++) {
		struct service *s;

		if (config->services[i].engine != ENGINE_KERNEL)
			continue;
		s = service_new(&config->services[i], (unsigned)i, 1);
		tell_names(s, out);
		snapshots[n++] = snapshot_of(s);
		service_free(&s);
	}
	if (config->kernel.shortcut != SHORTCUT_OFF)
		fprintf(out, "# kernel.shortcut: where the kernel takes it, packets of established connections pass these rules by\n");
	ruleset_print(&rc, snapshots, out);
	while (n > 0)
		snapshot_unref(&snapshots[--n]);
	free(snapshots);
	free((void *)(uintptr_t)rc.services);
}
