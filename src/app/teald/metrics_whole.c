/* metrics_whole.c - the families of the whole process, and what all families
 * are written with.
 * Thread: main. */
#include <stdio.h>

#include "app/metrics_parts.h"
#include "base/log.h"
#include "base/version.h"
#include "control/hosts.h"

void
labels_add(struct labels *l, const char *name, const char *value)
{
	CHECK(l->n < ARRAY_LEN(l->list));
	l->list[l->n++] = (struct prom_label){ name, str_from(value) };
}

void
metrics_sample(struct prom *p, struct labels l, uint64_t value)
{
	prom_u64(p, NULL, l.list, l.n, value);
}

void
metrics_add_histogram(const struct tally_histogram *h, uint64_t counts[TALLY_BUCKETS + 1], uint64_t *sum_us)
{
	for (size_t b = 0; b <= TALLY_BUCKETS; b++)
		counts[b] += tally_read(&h->count[b]);
	*sum_us += tally_read(&h->sum_us);
}

void
metrics_put_histogram(struct prom *p, struct labels l, const double *bounds, const uint64_t *counts,
		      uint64_t sum_us)
{
	prom_observed(p, l.list, l.n,
		      &(struct prom_histogram){ bounds, counts, TALLY_BUCKETS, (double)sum_us / 1e6 });
}

static void
put_fleet(struct prom *p, const struct control *c)
{
	static const char *const states[] = { "live", "missing" };

	if (c->store->fleet == NULL)
		return;
	prom_family(p, "teal_fleet_members", PROM_GAUGE,
		    "Tealds of the fleet as last read, this one included.");
	for (size_t i = 0; i < ARRAY_LEN(states); i++) {
		struct labels l = { .n = 0 };

		labels_add(&l, "state", states[i]);
		metrics_sample(p, l, fleet_count(c->store->fleet(c->store), i == 1));
	}
}

static void
put_lag(struct prom *p, const char *thread, const struct tally_histogram *h)
{
	uint64_t counts[TALLY_BUCKETS + 1] = { 0 }, sum_us = 0;
	struct labels l = { .n = 0 };

	labels_add(&l, "thread", thread);
	metrics_add_histogram(h, counts, &sum_us);
	metrics_put_histogram(p, l, tally_request_bounds, counts, sum_us);
}

static void
put_lags(struct prom *p, const struct control *c)
{
	const struct engine *proxy = c->engines[ENGINE_PROXY];
	const struct tally_histogram *h;
	char name[32];

	prom_family(p, "teal_loop_lag_seconds", PROM_HISTOGRAM,
		    "How late a thread came to its ticks, ten a second: how long something held it.");
	put_lag(p, "main", &c->lag);
	for (unsigned i = 0; proxy != NULL && proxy->lag != NULL && (h = proxy->lag(proxy, i)) != NULL; i++) {
		snprintf(name, sizeof(name), "worker-%u", i);
		put_lag(p, name, h);
	}
}

/* Those that only a service in the kernel has are there for whoever asks, but empty. */
static void
put_one(struct prom *p, const struct engine *e, const char *name, enum prom_type type, uint64_t value, const char *help)
{
	prom_family(p, name, type, help);
	if (e != NULL)
		prom_u64(p, NULL, NULL, 0, value);
}

static void
put_kernel(struct prom *p, const struct engine *e)
{
	struct engine_usage u = { .trouble = "" };

	if (e != NULL)
		e->usage(e, &u);
	put_one(p, e, "teal_kernel_trouble", PROM_GAUGE, u.trouble[0] != '\0',
		"1 while the kernel does not take the rules that it is given.");
	put_one(p, e, "teal_conntrack_entries", PROM_GAUGE, u.entries,
		"Entries in the kernel's table of connections, everybody's.");
	put_one(p, u.max > 0 ? e : NULL, "teal_conntrack_max_entries", PROM_GAUGE, u.max,
		"How many there may be, nf_conntrack_max; beyond that new connections are dropped.");
	put_one(p, e, "teal_conntrack_tracked", PROM_GAUGE, u.tracked, "Of the entries, those of connections to our services.");
	put_one(p, e, "teal_conntrack_overruns_total", PROM_COUNTER, u.overruns,
		"Times that news of connections came faster than they were read; a count made up for it.");
	put_one(p, e, "teal_conntrack_corrected_total", PROM_COUNTER, u.corrected, "Ends of connections that only a count told.");
}

void
metrics_whole(struct prom *p, const struct control *c)
{
	struct labels version = { .n = 0 };
	struct store_status store;
	const char *reason;

	labels_add(&version, "version", teal_version());
	c->store->status(c->store, &store);
	prom_family(p, "teal_build_info", PROM_INFO, "Always 1; the version is a label.");
	metrics_sample(p, version, 1);
	prom_family(p, "teal_ready", PROM_GAUGE, "1 while /readyz says ready.");
	prom_u64(p, NULL, NULL, 0, control_ready(c, &reason));
	prom_family(p, "teal_maintenance", PROM_GAUGE, "1 in maintenance: not ready, but serving.");
	prom_u64(p, NULL, NULL, 0, c->maintenance);
	prom_family(p, "teal_store_up", PROM_GAUGE, "1 while the store can be read and written.");
	prom_u64(p, NULL, NULL, 0, store.up);
	prom_family(p, "teal_store_age_seconds", PROM_GAUGE,
		    "Time since the store was last read or written well.");
	prom_double(p, NULL, NULL, 0, store.age);
	prom_family(p, "teal_names_failing", PROM_GAUGE, "Host names of backends whose last look-up failed.");
	prom_u64(p, NULL, NULL, 0, hosts_failing(c->hosts));
	if (c->config->store.type == STORE_REDIS && c->config->store.max_age > 0) {
		prom_family(p, "teal_store_max_age_seconds", PROM_GAUGE,
			    "The age from which what is known counts as stale: store.max_age.");
		prom_double(p, NULL, NULL, 0, c->config->store.max_age);
	}
	put_fleet(p, c);
	put_lags(p, c);
	put_kernel(p, c->engines[ENGINE_KERNEL]);
	prom_family(p, "teal_log_dropped_total", PROM_COUNTER,
		    "Log lines thrown away because their reader was too slow.");
	prom_u64(p, NULL, NULL, 0, log_dropped());
}
