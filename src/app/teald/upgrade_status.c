/* upgrade_status.c - what is said of upgrades, and goes on from one process to the next.
 * Thread: main. */
#include <math.h>
#include <unistd.h>

#include "app/teald/admin_tls.h"
#include "app/teald/metrics_parts.h"
#include "app/teald/upgrade.h"
#include "base/log.h"
#include "base/tlv.h"
#include "base/version.h"

static struct upgrade_totals totals;

void
upgrade_count(bool done)
{
	totals.done += done;
	totals.failed += !done;
}

struct upgrade_totals
upgrade_totals(void)
{
	return totals;
}

void
upgrade_bequeath(struct buf *row)
{
	const struct admin_tls_totals admin = admin_tls_totals();

	/* This one is over when it is taken up. */
	tlv_u64(row, SUCCESSION_T_UPGRADES_DONE, totals.done + 1);
	tlv_u64(row, SUCCESSION_T_UPGRADES_FAILED, totals.failed);
	tlv_str(row, SUCCESSION_T_LOG_LEVEL, str_from(log_level_word(log_level())));
	tlv_bytes(row, SUCCESSION_T_ADMIN_TLS, admin.n, sizeof(admin.n));
}

/* Those of a later program may be more: they come behind. */
static void
inherit_admin(struct str bytes)
{
	uint64_t n;

	for (size_t i = 0; i < ADMIN_TLS_RESULTS && bytes.n >= sizeof(n); i++) {
		memcpy(&n, bytes.p, sizeof(n));
		bytes.p += sizeof(n);
		bytes.n -= sizeof(n);
		admin_tls_inherit((enum admin_tls_result)i, n);
	}
}

void
upgrade_inherit(struct str row)
{
	enum log_level lowest;
	struct str level, counted;
	char word[16];

	(void)succession_u64(row, SUCCESSION_T_UPGRADES_DONE, &totals.done);
	(void)succession_u64(row, SUCCESSION_T_UPGRADES_FAILED, &totals.failed);
	if (succession_str(row, SUCCESSION_T_LOG_LEVEL, &level) && str_copy(word, sizeof(word), level) &&
	    log_level_from_word(word, &lowest))
		log_set_level(lowest);
	if (succession_str(row, SUCCESSION_T_ADMIN_TLS, &counted))
		inherit_admin(counted);
}

static void
generation_json(struct json *j, pid_t pid, const char *version, const char *role)
{
	json_object(j, NULL);
	json_i64(j, "pid", pid);
	json_cstr(j, "version", version[0] != '\0' ? version : NULL);
	json_cstr(j, "role", role);
}

void
upgrade_status_json(struct json *j)
{
	const struct upgrade_view v = upgrade_view();

	json_array(j, "generations");
	generation_json(j, getpid(), teal_version(), "serving");
	json_object_end(j);
	if (v.predecessor != NULL) {
		generation_json(j, v.predecessor->pid, v.predecessor->version, "leaving");
		json_u64(j, "connections", v.predecessor->clients);
		json_u64(j, "commands", v.predecessor->commands);
		json_object_end(j);
	} else if (v.successor != NULL) {
		generation_json(j, v.successor->pid, v.successor->version, "preparing");
		json_object_end(j);
	}
	json_array_end(j);
	if (v.state == NULL) {
		json_null(j, "upgrade");
		return;
	}
	json_object(j, "upgrade");
	json_cstr(j, "state", v.state);
	json_cstr(j, "by", v.by);
	json_double(j, "seconds", round(v.seconds * 1000) / 1000);
	json_object_end(j);
}

void
upgrade_metrics(struct prom *p)
{
	static const char *const results[] = { "ok", "failed" };
	const struct upgrade_view v = upgrade_view();

	prom_family(p, "teal_generations", PROM_GAUGE,
		    "Processes that serve, are about to, or are leaving: 1 unless an upgrade is under way.");
	prom_u64(p, NULL, NULL, 0, 1 + (v.predecessor != NULL || v.successor != NULL));
	prom_family(p, "teal_upgrades_total", PROM_COUNTER, "Upgrades that were begun, by how they ended.");
	for (size_t i = 0; i < ARRAY_LEN(results); i++) {
		struct labels l = { .n = 0 };

		labels_add(&l, "result", results[i]);
		metrics_sample(p, l, i == 0 ? totals.done : totals.failed);
	}
	prom_family(p, "teal_upgrade_predecessor_connections", PROM_GAUGE,
		    "Clients that the process before this one holds yet; it leaves when they have ended.");
	prom_u64(p, NULL, NULL, 0, v.predecessor != NULL ? v.predecessor->clients : 0);
}
