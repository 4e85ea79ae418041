/* metrics_backend.c - what a backend has served, as samples.  Thread: main. */
#include "app/teald/metrics_parts.h"

static bool
has_served(const struct backend_sum *s)
{
	static const struct backend_sum nothing;

	return memcmp(s, &nothing, sizeof(nothing)) != 0;
}

void
metrics_backend_requests(struct prom *p, struct labels l, const struct backend_account *a)
{
	struct backend_sum s;

	backend_account_sum(a, &s);
	for (unsigned i = 0; i < BACKEND_CLASSES; i++) {
		struct labels of_class = l;

		if (s.requests[i] == 0)
			continue;
		labels_add(&of_class, "class", backend_class_word(i));
		metrics_sample(p, of_class, s.requests[i]);
	}
}

void
metrics_backend_first_bytes(struct prom *p, struct labels l, const struct backend_account *a)
{
	struct backend_sum s;

	backend_account_sum(a, &s);
	if (has_served(&s))
		prom_observed(p, l.list, l.n,
			      &(struct prom_histogram){ backend_bounds, s.first_bytes, BACKEND_BUCKETS,
							(double)s.first_byte_us / 1e6 });
}

void
metrics_backend_bytes(struct prom *p, struct labels l, const struct backend_account *a)
{
	struct labels in = l, out = l;
	struct backend_sum s;

	backend_account_sum(a, &s);
	if (!has_served(&s))
		return;
	labels_add(&in, "direction", "in");
	labels_add(&out, "direction", "out");
	metrics_sample(p, in, s.bytes_in);
	metrics_sample(p, out, s.bytes_out);
}

void
metrics_backend_retries(struct prom *p, struct labels l, const struct backend_account *a)
{
	struct backend_sum s;

	backend_account_sum(a, &s);
	if (has_served(&s))
		metrics_sample(p, l, s.retries);
}
