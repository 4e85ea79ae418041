/* admin_status.c - what is said of the admin listener.  Thread: main. */
#include "app/teald/admin_status.h"
#include "app/teald/admin_tls.h"
#include "app/teald/metrics_parts.h"
#include "control/certs.h"

void
admin_status_json(struct json *j)
{
	const struct admin_tls_totals t = admin_tls_totals();
	uint64_t refused = 0;

	if (t.listeners == 0) {
		json_null(j, "admin");
		return;
	}
	for (int i = 0; i < ADMIN_TLS_RESULTS; i++)
		refused += i != ADMIN_TLS_ACCEPTED ? t.n[i] : 0;
	json_object(j, "admin");
	json_u64(j, "listeners", t.listeners);
	json_u64(j, "connections", t.open);
	json_u64(j, "pending", t.pending);
	json_u64(j, "accepted", t.n[ADMIN_TLS_ACCEPTED]);
	json_u64(j, "refused", refused);
	json_object_end(j);
}

static void
put_admin_expiry(void *arg, const struct certs_shown *shown)
{
	prom_double(arg, NULL, NULL, 0, (double)tls_certificate_facts(shown->certificate)->not_after);
}

void
admin_metrics(struct prom *p, const struct control *c)
{
	const struct admin_tls_totals t = admin_tls_totals();
	int64_t until;

	prom_family(p, "teal_admin_tls_connections", PROM_GAUGE, "Connections of the admin listener that have shown who they are.");
	prom_u64(p, NULL, NULL, 0, t.open);
	prom_family(p, "teal_admin_tls_connections_total", PROM_COUNTER_BESIDE,
		    "Connections of the admin listener, by what became of them: accepted, or why they were refused.");
	for (int i = 0; i < ADMIN_TLS_RESULTS; i++) {
		struct labels l = { .n = 0 };

		labels_add(&l, "result", admin_tls_word((enum admin_tls_result)i));
		metrics_sample(p, l, t.n[i]);
	}
	prom_family(p, "teal_admin_certificate_expiry_seconds", PROM_GAUGE,
		    "When the certificate of the admin listener expires, in seconds since 1970.");
	if (c->config->admin.net.site != NULL)
		certs_each(c->certs, &c->certs->admin, put_admin_expiry, p);
	prom_family(p, "teal_admin_crl_expiry_seconds", PROM_GAUGE,
		    "When clients of the admin listener are refused for want of a newer revocation list, in seconds since 1970.");
	if (c->config->admin.net.site != NULL && certs_crl_until(c->certs, &c->certs->admin, &until))
		prom_double(p, NULL, NULL, 0, (double)until);
}
