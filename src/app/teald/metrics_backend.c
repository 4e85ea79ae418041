/* metrics_backend.c - the series of the backends of one color.  Thread: main. */
#include "app/teald/metrics_parts.h"

/* What one backend has served: nothing where it has not served anything. */
typedef void served_fn(struct prom *p, struct labels l, const struct backend_account *a);

static bool
has_served(const struct backend_sum *s)
{
	static const struct backend_sum nothing;

	return memcmp(s, &nothing, sizeof(nothing)) != 0;
}

static void
put_served_requests(struct prom *p, struct labels l, const struct backend_account *a)
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

static void
put_served_first_bytes(struct prom *p, struct labels l, const struct backend_account *a)
{
	struct backend_sum s;

	backend_account_sum(a, &s);
	if (has_served(&s))
		prom_observed(p, l.list, l.n,
			      &(struct prom_histogram){ backend_bounds, s.first_bytes, BACKEND_BUCKETS,
							(double)s.first_byte_us / 1e6 });
}

static void
put_served_bytes(struct prom *p, struct labels l, const struct backend_account *a)
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

static void
put_served_retries(struct prom *p, struct labels l, const struct backend_account *a)
{
	struct backend_sum s;

	backend_account_sum(a, &s);
	if (has_served(&s))
		metrics_sample(p, l, s.retries);
}

static struct labels
of_backend(const struct service_ctl *ctl, enum color color, size_t i)
{
	const struct backend *b = ctl->service->colors[color].backends[i];
	struct labels l = labels_with(metrics_of_color(ctl->service, ENTRANCE_MAIN, color), "backend", b->text);

	/* Of one that is on no node of a pool the label is absent. */
	return b->host != NULL ? labels_with(l, "node", b->host) : l;
}

void
metrics_put_backups_used(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	metrics_sample(p, metrics_of_color(ctl->service, entrance, color), ctl->service->colors[color].on_backup);
}

void
metrics_put_backend_up(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	(void)entrance;
	for (size_t i = 0; i < ctl->service->colors[color].n; i++)
		metrics_sample(p, of_backend(ctl, color, i),
			       ctl->service->colors[color].backends[i]->state == BACKEND_UP);
}

void
metrics_put_backend_admin_state(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	(void)entrance;
	for (size_t i = 0; i < ctl->service->colors[color].n; i++)
		metrics_sample(p, of_backend(ctl, color, i),
			       backend_is_wanted(ctl->service->colors[color].backends[i]) &&
				       ctl->service->colors[color].backends[i]->state != BACKEND_DRAINING);
}

/* Each backend in one of these. */
static const char *
backend_place(const struct backend *b)
{
	if (!backend_is_wanted(b))
		return "drained";
	if (b->state == BACKEND_DOWN && b->node_down)
		return "node_down";
	return backend_word(b);
}

void
metrics_put_backend_places(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	static const char *const places[] = { "up", "ejected", "checking", "draining", "down", "node_down", "drained" };
	const struct service *s = ctl->service;

	for (size_t k = 0; k < ARRAY_LEN(places); k++) {
		uint64_t n = 0;

		for (size_t i = 0; i < s->colors[color].n; i++)
			n += strcmp(backend_place(s->colors[color].backends[i]), places[k]) == 0;
		metrics_sample(p, labels_with(metrics_of_color(s, entrance, color), "state", places[k]), n);
	}
}

void
metrics_put_backend_checks(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	(void)entrance;
	for (size_t i = 0; i < ctl->service->colors[color].n; i++) {
		const struct backend *b = ctl->service->colors[color].backends[i];

		metrics_sample(p, labels_with(of_backend(ctl, color, i), "result", "passed"), b->checks[1]);
		metrics_sample(p, labels_with(of_backend(ctl, color, i), "result", "failed"), b->checks[0]);
	}
}

void
metrics_put_backend_connections(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	(void)entrance;
	for (size_t i = 0; i < ctl->service->colors[color].n; i++)
		metrics_sample(p, of_backend(ctl, color, i),
			       atomic_load_explicit(&ctl->service->colors[color].backends[i]->connections,
						    memory_order_relaxed));
}

void
metrics_put_backend_failures(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	(void)entrance;
	for (size_t i = 0; i < ctl->service->colors[color].n; i++)
		metrics_sample(p, of_backend(ctl, color, i),
			       atomic_load_explicit(&ctl->service->colors[color].backends[i]->connect_failures,
						    memory_order_relaxed));
}

void
metrics_put_bad_answers(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	(void)entrance;
	if (ctl->service->config->mode != MODE_HTTP)
		return;
	for (size_t i = 0; i < ctl->service->colors[color].n; i++)
		metrics_sample(p, of_backend(ctl, color, i),
			       atomic_load_explicit(&ctl->service->colors[color].backends[i]->bad_answers,
						    memory_order_relaxed));
}

static bool
has_tallies(const struct backend_account *a)
{
	for (unsigned i = 0; a != NULL && i < a->n; i++)
		if (atomic_load_explicit(&a->tallies[i], memory_order_relaxed) != NULL)
			return true;
	return false;
}

/* Of those that have served something: of many thousands most have not. */
static void
put_what_served(struct prom *p, const struct service_ctl *ctl, enum color color, served_fn *put)
{
	for (size_t i = 0; i < ctl->service->colors[color].n; i++)
		if (has_tallies(ctl->service->colors[color].backends[i]->account))
			put(p, of_backend(ctl, color, i), ctl->service->colors[color].backends[i]->account);
}

void
metrics_put_backend_requests(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	(void)entrance;
	put_what_served(p, ctl, color, put_served_requests);
}

void
metrics_put_backend_first_bytes(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	(void)entrance;
	if (metrics_counts_requests(ctl->service))
		put_what_served(p, ctl, color, put_served_first_bytes);
}

void
metrics_put_backend_bytes(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	(void)entrance;
	put_what_served(p, ctl, color, put_served_bytes);
}

void
metrics_put_backend_retries(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	(void)entrance;
	put_what_served(p, ctl, color, put_served_retries);
}

void
metrics_put_backend_ejections(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	(void)entrance;
	for (size_t i = 0; i < ctl->service->colors[color].n; i++)
		metrics_sample(p, of_backend(ctl, color, i), ctl->service->colors[color].backends[i]->ejections);
}

void
metrics_put_backend_ejected(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	(void)entrance;
	for (size_t i = 0; i < ctl->service->colors[color].n; i++)
		metrics_sample(p, of_backend(ctl, color, i),
			       ctl->service->colors[color].backends[i]->ejected_until > 0);
}

void
metrics_put_healthy(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	/* None is missing where none is needed. */
	if (!ctl->service->config->backendless)
		metrics_sample(p, metrics_of_color(ctl->service, entrance, color), service_healthy(ctl->service, color));
}

void
metrics_put_needed(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	metrics_sample(p, metrics_of_color(ctl->service, entrance, color), service_needed(ctl->service, color));
}
