/* metrics_whole.c - the families of the whole process, and what all families
 * are written with.
 * Thread: main. */
#include <stdio.h>
#include <string.h>

#include "app/teald/admin_status.h"
#include "app/teald/engine_table.h"
#include "app/teald/metrics_parts.h"
#include "app/teald/supervised.h"
#include "app/teald/upgrade.h"
#include "base/log.h"
#include "base/version.h"
#include "control/hosts.h"
#include "control/notify.h"
#include "control/reload.h"

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

/* h NULL: only the teald before this one had a thread of that name. */
static void
put_lag(struct prom *p, const struct control *c, const char *thread, const struct tally_histogram *h)
{
	uint64_t counts[TALLY_BUCKETS + 1] = { 0 }, sum_us = 0;
	struct labels l = { .n = 0 };

	labels_add(&l, "thread", thread);
	if (h != NULL)
		metrics_add_histogram(h, counts, &sum_us);
	for (size_t i = 0; i < c->inherited.n_lags; i++)
		if (strcmp(c->inherited.lags[i].thread, thread) == 0)
			metrics_add_histogram(&c->inherited.lags[i].lag, counts, &sum_us);
	metrics_put_histogram(p, l, tally_request_bounds, counts, sum_us);
}

static bool
has_thread(const struct control *c, const char *thread)
{
	char name[ENGINE_THREAD_NAME];

	for (size_t k = 0; k < c->n_engines; k++)
		for (unsigned i = 0; c->engines[k]->lag != NULL && i < c->engines[k]->n_threads; i++) {
			(void)c->engines[k]->lag(c->engines[k], i, name);
			if (strcmp(name, thread) == 0)
				return true;
		}
	return strcmp(thread, "main") == 0;
}

static void
put_lags(struct prom *p, const struct control *c)
{
	char name[ENGINE_THREAD_NAME];

	prom_family(p, "teal_loop_lag_seconds", PROM_HISTOGRAM,
		    "How late a thread came to its ticks, ten a second: how long something held it.");
	put_lag(p, c, "main", &c->lag);
	for (size_t k = 0; k < c->n_engines; k++)
		for (unsigned i = 0; c->engines[k]->lag != NULL && i < c->engines[k]->n_threads; i++) {
			const struct tally_histogram *h = c->engines[k]->lag(c->engines[k], i, name);

			put_lag(p, c, name, h);
		}
	for (size_t i = 0; i < c->inherited.n_lags; i++)
		if (!has_thread(c, c->inherited.lags[i].thread))
			put_lag(p, c, c->inherited.lags[i].thread, NULL);
}

static void
put_gauge(struct prom *p, const struct engine_gauge *gauge, uint64_t value)
{
	struct prom_label label;

	if (gauge->label == NULL) {
		prom_u64(p, NULL, NULL, 0, value);
		return;
	}
	label = (struct prom_label){ gauge->label, str_from(gauge->word) };
	prom_u64(p, NULL, &label, 1, value);
}

/* The families of an engine that no service uses are present, but empty. */
static void
put_engines(struct prom *p, const struct control *c)
{
	for (size_t k = 0; k < ARRAY_LEN(engine_classes); k++)
		for (size_t g = 0; g < engine_classes[k]->n_gauges; g++) {
			const struct engine_gauge *gauge = &engine_classes[k]->gauges[g];
			uint64_t value;

			if (g == 0 || strcmp(gauge[-1].metric, gauge->metric) != 0)
				prom_family(p, gauge->metric, gauge->type, gauge->help);
			for (size_t i = 0; i < c->n_engines; i++)
				if (c->engines[i]->class == engine_classes[k] && gauge->read(c->engines[i], &value))
					put_gauge(p, gauge, value + inherited_counter(&c->inherited, gauge->metric));
		}
}

/* What is asked to check backends, once for all who share it. */
static void
put_probes(struct prom *p, const struct control *c)
{
	struct targets_totals totals = { 0 };

	if (c->health != NULL)
		totals = health_totals(c->health);
	prom_family(p, "teal_check_targets", PROM_GAUGE,
		    "Addresses that are checked in one way: backends whose checks are the same share one.");
	prom_u64(p, NULL, NULL, 0, totals.targets);
	prom_family(p, "teal_probes_total", PROM_COUNTER, "Probes of these, by how they ended.");
	for (int passed = 1; passed >= 0; passed--) {
		struct labels l = { .n = 0 };

		labels_add(&l, "result", passed ? "passed" : "failed");
		metrics_sample(p, l, totals.probes[passed] + inherited_counter(&c->inherited, health_counters[passed]));
	}
}

static void
put_config(struct prom *p, const struct control *c)
{
	const struct reload_status s = reload_status(c->reloads);

	prom_family(p, "teal_config_generation", PROM_GAUGE,
		    "The configuration that is obeyed: 1 is what the start read, and each reload that changes something adds one.");
	prom_u64(p, NULL, NULL, 0, s.generation);
	prom_family(p, "teal_config_loaded_timestamp_seconds", PROM_GAUGE, "When the file was last taken over.");
	prom_double(p, NULL, NULL, 0, (double)s.loaded_at_us / 1e6);
	prom_family(p, "teal_config_last_reload_successful", PROM_GAUGE,
		    "0 when the last reload was refused: the file has errors, or needs an upgrade.");
	prom_u64(p, NULL, NULL, 0, s.last_good);
	prom_family(p, "teal_config_fallback", PROM_GAUGE,
		    "1 while the copy of an earlier configuration is obeyed: the file was broken when a restart read it.");
	prom_u64(p, NULL, NULL, 0, s.from_copy);
}

static void
put_notified(struct prom *p, const struct receiver *r, const char *result, uint64_t n)
{
	struct labels l = { .n = 0 };

	labels_add(&l, "receiver", r->config->name);
	labels_add(&l, "result", result);
	metrics_sample(p, l, n);
}

static void
put_receivers(struct prom *p, const struct notify *n)
{
	prom_family(p, "teal_notify_events_total", PROM_COUNTER,
		    "Events that a receiver has taken, and those that it will never have.");
	for (struct link *l = n->receivers.next; l != &n->receivers; l = l->next) {
		const struct receiver *r = list_entry(l, struct receiver, link);

		put_notified(p, r, "delivered", r->counts.delivered);
		put_notified(p, r, "refused", r->counts.refused);
		put_notified(p, r, "expired", r->counts.expired);
		put_notified(p, r, "dropped", r->counts.dropped);
	}
	prom_family(p, "teal_notify_failures_total", PROM_COUNTER, "Attempts to deliver an event that failed.");
	for (struct link *l = n->receivers.next; l != &n->receivers; l = l->next) {
		struct labels labels = { .n = 0 };

		labels_add(&labels, "receiver", list_entry(l, struct receiver, link)->config->name);
		metrics_sample(p, labels, list_entry(l, struct receiver, link)->counts.failed);
	}
	prom_family(p, "teal_notify_waiting", PROM_GAUGE, "Events that wait for a receiver.");
	for (struct link *l = n->receivers.next; l != &n->receivers; l = l->next) {
		struct labels labels = { .n = 0 };

		labels_add(&labels, "receiver", list_entry(l, struct receiver, link)->config->name);
		metrics_sample(p, labels, list_entry(l, struct receiver, link)->n);
	}
}

void
metrics_whole(struct prom *p, const struct control *c)
{
	struct labels version = { .n = 0 };
	const struct log_output log = log_output();
	struct store_status store;
	const char *reason;

	labels_add(&version, "version", teal_version());
	control_store_status(c, &store);
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
	put_config(p, c);
	put_probes(p, c);
	put_receivers(p, c->notify);
	put_fleet(p, c);
	put_lags(p, c);
	put_engines(p, c);
	upgrade_metrics(p);
	admin_metrics(p, c);
	prom_family(p, "teal_restarts_total", PROM_COUNTER, "Times that the serving process died and another was started.");
	prom_u64(p, NULL, NULL, 0, supervised_restarts());
	prom_family(p, "teal_program_fallbacks_total", PROM_COUNTER,
		    "Times that the program of before an upgrade was started again, for the new one had died.");
	prom_u64(p, NULL, NULL, 0, supervised_fallbacks());
	prom_family(p, "teal_last_restart_timestamp_seconds", PROM_GAUGE, "When that was last, since 1970; 0: never.");
	prom_double(p, NULL, NULL, 0, (double)supervised_restarted_at());
	prom_family(p, "teal_log_dropped_total", PROM_COUNTER,
		    "Log lines thrown away because their reader was too slow.");
	prom_u64(p, NULL, NULL, 0, log_dropped() + c->inherited.log_dropped);
	prom_family(p, "teal_log_up", PROM_GAUGE, "1 while log lines reach their receiver, as far as that is known.");
	prom_u64(p, NULL, NULL, 0, log.up);
	prom_family(p, "teal_log_cut_total", PROM_COUNTER, "Log lines that were longer than log.syslog.max_message.");
	prom_u64(p, NULL, NULL, 0, log.cut + inherited_counter(&c->inherited, "teal_log_cut_total"));
}
