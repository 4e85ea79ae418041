/* metrics_color.c - the series of one color of a service, backends aside.
 * Thread: main; the workers' tallies are summed for each scrape. */
#include "app/teald/metrics_parts.h"
#include "base/clock.h"
#include "control/drain.h"
#include "control/engines.h"
#include "control/ramp.h"

void
metrics_put_active(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	const struct service *s = ctl->service;

	metrics_sample(p, metrics_of_color(s, entrance, color), s->known && s->record.color == color);
}

/* A part of 1, as ratios are in Prometheus. */
void
metrics_put_share(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	const struct service *s = ctl->service;
	struct labels l = metrics_of_color(s, entrance, color);

	if (!s->colorless && s->known)
		prom_double(p, NULL, l.list, l.n, record_share(&s->record, color) / (double)SHARE_WHOLE);
}

void
metrics_put_ramp_held(struct prom *p, const struct service_ctl *ctl)
{
	if (!ctl->service->colorless && ctl->service->known)
		metrics_sample(p, metrics_of_service(ctl->service), ctl->ramp != NULL && ctl->ramp->held);
}

void
metrics_put_diverted(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	const struct service *s = ctl->service;
	const struct tally_color *t;
	uint64_t total = 0;

	for (unsigned i = 0; (t = service_tally(s, entrance, color, i)) != NULL; i++)
		total += tally_read(&t->diverted);
	if (!s->colorless)
		metrics_sample(p, metrics_of_color(s, entrance, color), total);
}

void
metrics_put_connections(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	metrics_sample(p, metrics_of_color(ctl->service, entrance, color),
		       service_connections(ctl->service, entrance, color));
}

/* Also those that never happened: a rate needs a zero to start from. */
void
metrics_put_endings(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	for (int end = 0; end < ENDINGS; end++)
		metrics_sample(
			p, labels_with(metrics_of_color(ctl->service, entrance, color), "end", ending_word((enum ending)end)),
			service_ended(ctl->service, entrance, color, (enum ending)end));
}

void
metrics_put_bytes(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	const struct service *s = ctl->service;
	struct labels l = metrics_of_color(s, entrance, color);
	const struct tally_color *t;
	uint64_t in = 0, out = 0;

	for (unsigned i = 0; (t = service_tally(s, entrance, color, i)) != NULL; i++) {
		in += tally_read(&t->bytes_in);
		out += tally_read(&t->bytes_out);
	}
	metrics_sample(p, labels_with(l, "direction", "in"), in);
	metrics_sample(p, labels_with(l, "direction", "out"), out);
}

void
metrics_put_retries(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	const struct service *s = ctl->service;
	const struct tally_color *t;
	uint64_t total = 0;

	for (unsigned i = 0; (t = service_tally(s, entrance, color, i)) != NULL; i++)
		total += tally_read(&t->retries);
	metrics_sample(p, metrics_of_color(s, entrance, color), total);
}

void
metrics_put_datagrams(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	const struct service *s = ctl->service;
	struct labels l = metrics_of_color(s, entrance, color);
	const struct tally_color *t;
	uint64_t in = 0, out = 0;

	for (unsigned i = 0; (t = service_tally(s, entrance, color, i)) != NULL; i++) {
		in += tally_read(&t->datagrams_in);
		out += tally_read(&t->datagrams_out);
	}
	if (s->config->mode != MODE_UDP || s->config->engine != ENGINE_PROXY)
		return;
	metrics_sample(p, labels_with(l, "direction", "in"), in);
	metrics_sample(p, labels_with(l, "direction", "out"), out);
}

void
metrics_put_datagrams_dropped(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	const struct service *s = ctl->service;
	const struct tally_color *t;
	uint64_t total = 0;

	for (unsigned i = 0; (t = service_tally(s, entrance, color, i)) != NULL; i++)
		total += tally_read(&t->datagrams_dropped);
	if (s->config->mode == MODE_UDP && s->config->engine == ENGINE_PROXY)
		metrics_sample(p, metrics_of_color(s, entrance, color), total);
}

void
metrics_put_no_port(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	const struct service *s = ctl->service;
	const struct tally_color *t;
	uint64_t total = 0;

	for (unsigned i = 0; (t = service_tally(s, entrance, color, i)) != NULL; i++)
		total += tally_read(&t->no_port);
	metrics_sample(p, metrics_of_color(s, entrance, color), total);
}

static void
put_tallied(struct prom *p, struct labels l, const double *bounds, const struct service *s,
	    const struct tally_histogram *(*of)(const struct tally_color *), enum entrance entrance,
	    enum color color)
{
	uint64_t counts[TALLY_BUCKETS + 1] = { 0 };
	const struct tally_color *t;
	uint64_t sum_us = 0;

	for (unsigned i = 0; (t = service_tally(s, entrance, color, i)) != NULL; i++)
		metrics_add_histogram(of(t), counts, &sum_us);
	metrics_put_histogram(p, l, bounds, counts, sum_us);
}

static const struct tally_histogram *
connect_seconds(const struct tally_color *t)
{
	return &t->connect_seconds;
}

void
metrics_put_connect_seconds(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	/* The kernel makes no connections of its own. */
	if (engines_proxy(ctl))
		put_tallied(p, metrics_of_color(ctl->service, entrance, color), tally_bounds, ctl->service, connect_seconds,
			    entrance, color);
}

static const struct tally_histogram *
request_seconds(const struct tally_color *t)
{
	return &t->http->request_seconds;
}

static const struct tally_histogram *
first_byte_seconds(const struct tally_color *t)
{
	return &t->http->first_byte_seconds;
}

bool
metrics_counts_requests(const struct service *s)
{
	return s->n_tallies > 0 && s->tallies[0].colors[ENTRANCE_MAIN][GREEN].http != NULL;
}

void
metrics_put_request_seconds(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	if (metrics_counts_requests(ctl->service))
		put_tallied(p, metrics_of_color(ctl->service, entrance, color), tally_request_bounds, ctl->service,
			    request_seconds, entrance, color);
}

void
metrics_put_first_byte_seconds(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	if (metrics_counts_requests(ctl->service))
		put_tallied(p, metrics_of_color(ctl->service, entrance, color), tally_request_bounds, ctl->service,
			    first_byte_seconds, entrance, color);
}

/* Of the codes there are, most never come: only those that did have a series. */
void
metrics_put_requests(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	const struct service *s = ctl->service;

	for (unsigned code = 0; metrics_counts_requests(s) && code < TALLY_CODES; code++) {
		struct labels l = labels_with(metrics_of_color(s, entrance, color), "code", tally_code_word(code));
		const struct tally_color *t;
		uint64_t total = 0, http2 = 0;

		for (unsigned i = 0; (t = service_tally(s, entrance, color, i)) != NULL; i++) {
			/* Each is counted as one of all first. */
			http2 += tally_read(&t->http->http2_requests[code]);
			total += tally_read(&t->http->requests[code]);
		}
		if (total > http2)
			metrics_sample(p, labels_with(l, "protocol", "HTTP/1"), total - http2);
		if (http2 > 0)
			metrics_sample(p, labels_with(l, "protocol", "HTTP/2"), http2);
	}
}

/* Where no backend has said one there is no series. */
void
metrics_put_grpc(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	const struct service *s = ctl->service;

	for (unsigned status = 0; metrics_counts_requests(s) && status <= GRPC_STATUSES; status++) {
		const struct tally_color *t;
		uint64_t total = 0;

		for (unsigned i = 0; (t = service_tally(s, entrance, color, i)) != NULL; i++)
			total += tally_read(&t->http->grpc[status]);
		if (total > 0)
			metrics_sample(p, labels_with(metrics_of_color(s, entrance, color), "grpc_status", grpc_status_word(status)), total);
	}
}

void
metrics_put_odd_answers(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	const struct service *s = ctl->service;

	for (unsigned odd = 0; metrics_counts_requests(s) && odd < HTTP1_ODDS; odd++) {
		const struct tally_color *t;
		uint64_t total = 0;

		for (unsigned i = 0; (t = service_tally(s, entrance, color, i)) != NULL; i++)
			total += tally_read(&t->http->odd_answers[odd]);
		metrics_sample(p, labels_with(metrics_of_color(s, entrance, color), "reason", http1_odd_word((enum http1_odd)odd)),
			       total);
	}
}

void
metrics_put_draining(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	bool drains = ctl->drain != NULL && ctl->drain->color == color;

	metrics_sample(p, metrics_of_color(ctl->service, entrance, color),
		       drains ? engines_count(ctl, color) : 0);
}

void
metrics_put_overdue(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color color)
{
	struct labels l = metrics_of_color(ctl->service, entrance, color);
	double late = ctl->drain != NULL && ctl->drain->color == color ? clock_now() - ctl->drain->due : 0;

	prom_double(p, NULL, l.list, l.n, late > 0 ? late : 0);
}

void
metrics_put_flips(struct prom *p, const struct service_ctl *ctl, enum entrance entrance, enum color to)
{
	struct labels l = labels_with(metrics_of_service(ctl->service), "to", color_word(to));

	(void)entrance;
	/* A refusal that never happened is not worth a series; that no flip has
	 * succeeded is. */
	for (int result = OK; result < ERR_COUNT; result++)
		if (result == OK || ctl->flips_total.by_result[to][result] > 0)
			metrics_sample(p, labels_with(l, "result", err_word((enum err)result)),
				       ctl->flips_total.by_result[to][result]);
}
