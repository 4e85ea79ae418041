/* engine_usage.c - what the kernel engine tells of itself.  Thread: main. */
#include "kernel/engine.h"
#include "kernel/engine_usage.h"

static bool
read_trouble(const struct engine *e, uint64_t *value)
{
	struct kernel_usage u;

	kernel_usage(e, &u);
	*value = u.trouble[0] != '\0';
	return true;
}

static bool
read_entries(const struct engine *e, uint64_t *value)
{
	struct kernel_usage u;

	kernel_usage(e, &u);
	*value = u.flows.entries;
	return true;
}

static bool
read_max(const struct engine *e, uint64_t *value)
{
	struct kernel_usage u;

	kernel_usage(e, &u);
	*value = u.flows.max;
	return u.flows.max > 0;
}

static bool
read_tracked(const struct engine *e, uint64_t *value)
{
	struct kernel_usage u;

	kernel_usage(e, &u);
	*value = u.flows.tracked;
	return true;
}

static bool
read_overruns(const struct engine *e, uint64_t *value)
{
	struct kernel_usage u;

	kernel_usage(e, &u);
	*value = u.flows.overruns;
	return true;
}

static bool
read_corrected(const struct engine *e, uint64_t *value)
{
	struct kernel_usage u;

	kernel_usage(e, &u);
	*value = u.flows.unseen;
	return true;
}

static bool
read_clashed(const struct engine *e, uint64_t *value)
{
	struct kernel_usage u;

	kernel_usage(e, &u);
	*value = u.flows.clashed;
	return true;
}

static bool
read_dropped(const struct engine *e, uint64_t *value)
{
	struct kernel_usage u;

	kernel_usage(e, &u);
	*value = u.flows.dropped;
	return true;
}

static bool
read_shortcut(const struct engine *e, uint64_t *value)
{
	struct kernel_usage u;

	kernel_usage(e, &u);
	*value = u.interfaces[0] != '\0';
	return u.shortcut != SHORTCUT_OFF;
}

static bool
read_shortcuts(const struct engine *e, uint64_t *value)
{
	struct kernel_usage u;

	kernel_usage(e, &u);
	*value = u.flows.shortcuts;
	return u.shortcut != SHORTCUT_OFF;
}

static void
write_status(const struct engine *e, struct json *j)
{
	struct kernel_usage u;

	kernel_usage(e, &u);
	json_cstr(j, "table", u.table);
	json_cstr(j, "problem", u.trouble[0] != '\0' ? u.trouble : NULL);
	json_u64(j, "entries", u.flows.entries);
	json_u64(j, "max", u.flows.max);
	json_u64(j, "tracked", u.flows.tracked);
	json_u64(j, "insert_failed", u.flows.clashed);
	json_u64(j, "dropped", u.flows.dropped);
	if (u.shortcut == SHORTCUT_OFF)
		return;
	json_object(j, "shortcut");
	json_cstr(j, "interfaces", u.interfaces);
	json_cstr(j, "problem", u.no_shortcut[0] != '\0' ? u.no_shortcut : NULL);
	json_u64(j, "connections_total", u.flows.shortcuts);
	json_object_end(j);
}

static const struct engine_gauge gauges[] = {
	{ "teal_kernel_trouble", PROM_GAUGE, "1 while the kernel does not take the rules that it is given.", read_trouble, NULL, NULL },
	{ "teal_conntrack_entries", PROM_GAUGE, "Entries in the host's table of connections.", read_entries, NULL, NULL },
	{ "teal_conntrack_max_entries", PROM_GAUGE,
	  "How many there may be, nf_conntrack_max; beyond that new connections are dropped.", read_max, NULL, NULL },
	{ "teal_conntrack_tracked", PROM_GAUGE, "Of the entries, those of connections to our services.", read_tracked, NULL, NULL },
	{ "teal_conntrack_overruns_total", PROM_COUNTER,
	  "Times that news of connections came faster than they were read; a count made up for it.", read_overruns, NULL, NULL },
	{ "teal_conntrack_corrected_total", PROM_COUNTER, "Ends of connections that only a count told.", read_corrected, NULL, NULL },
	{ "teal_conntrack_insert_failed_total", PROM_COUNTER,
	  "Packets of the host that were dropped because their connection, translated, was like another one: no port was free.",
	  read_clashed, NULL, NULL },
	{ "teal_conntrack_dropped_total", PROM_COUNTER,
	  "Packets of the host that were dropped because the table of connections was full.", read_dropped, NULL, NULL },
	{ "teal_kernel_shortcut", PROM_GAUGE, "1 while an interface has the shortcut, 0 where it could not be had.", read_shortcut, NULL,
	  NULL },
	{ "teal_kernel_shortcut_connections_total", PROM_COUNTER, "TCP connections that lasted and were given to the shortcut.",
	  read_shortcuts, NULL, NULL },
};

const struct engine_class kernel_class = {
	.kind = ENGINE_KERNEL,
	.name = "kernel",
	.gauges = gauges,
	.n_gauges = ARRAY_LEN(gauges),
	.status = write_status,
};
