/* metrics.c - everything countable, family by family: the format wants all
 * samples of one together.
 * Thread: main; the workers' tallies are summed for each scrape. */
#include <stdlib.h>
#include <string.h>

#include "app/teald/metrics_parts.h"
#include "app/teald/trouble.h"
#include "control/claim.h"
#include "control/certs.h"
#include "control/drain.h"
#include "control/engines.h"
#include "control/nodes.h"

struct labels
metrics_of_service(const struct service *s)
{
	struct labels l = { .n = 0 };

	labels_add(&l, "service", s->config->name);
	return l;
}

/* Preview traffic has series of its own; the main entrance's have no label,
 * so that a sum over a service's colors is its users' traffic. */
struct labels
metrics_of_color(const struct service *s, enum entrance entrance, enum color color)
{
	struct labels l = metrics_of_service(s);

	labels_add(&l, "color", s->colorless ? "" : color_word(color));
	if (entrance == ENTRANCE_PREVIEW)
		labels_add(&l, "entrance", "preview");
	return l;
}

struct labels
labels_with(struct labels l, const char *name, const char *value)
{
	labels_add(&l, name, value);
	return l;
}

/* -- one series, or a few, of one service -------------------------------------------- */

typedef void service_fn(struct prom *p, const struct service_ctl *ctl);

/* Only reasons that there were have a series. */
static void
put_http2_refused(struct prom *p, const struct service_ctl *ctl)
{
	const struct service *s = ctl->service;

	for (unsigned reason = 0; metrics_counts_requests(s) && reason < HTTP2_REASONS; reason++) {
		const struct tally_color *t;
		uint64_t total = 0;

		for (int e = 0; e < ENTRANCES; e++)
			for (int c = 0; c < COLORS; c++)
				for (unsigned i = 0; i < s->n_tallies && (t = &s->tallies[i].colors[e][c])->http != NULL; i++)
					total += tally_read(&t->http->http2_refused[reason]);
		if (total > 0)
			metrics_sample(p, labels_with(metrics_of_service(s), "reason", http2_reason_word((enum http2_reason)reason)), total);
	}
}

static void
put_epoch(struct prom *p, const struct service_ctl *ctl)
{
	metrics_sample(p, metrics_of_service(ctl->service), ctl->service->record.epoch);
}

static void
put_applied_epoch(struct prom *p, const struct service_ctl *ctl)
{
	metrics_sample(p, metrics_of_service(ctl->service), ctl->service->applied_epoch);
}

static void
put_changed_time(struct prom *p, const struct service_ctl *ctl)
{
	struct labels l = metrics_of_service(ctl->service);

	prom_double(p, NULL, l.list, l.n, (double)ctl->service->record.at_us / 1e6);
}

static void
put_claimed(struct prom *p, const struct service_ctl *ctl)
{
	metrics_sample(p, metrics_of_service(ctl->service), claim_holds(ctl));
}

static void
put_locked(struct prom *p, const struct service_ctl *ctl)
{
	metrics_sample(p, metrics_of_service(ctl->service), ctl->service->record.lock.on);
}

static void
put_rollback_possible(struct prom *p, const struct service_ctl *ctl)
{
	if (ctl->service->known)
		metrics_sample(p, metrics_of_service(ctl->service), trouble_may_flip(ctl, NULL));
}

static void
put_rejected(struct prom *p, const struct service_ctl *ctl)
{
	const struct service *s = ctl->service;

	for (enum ending end = 0; (int)end < ENDINGS; end++)
		if (ending_is_refusal(end))
			metrics_sample(p, labels_with(metrics_of_service(s), "reason", ending_word(end)),
				       service_ended(s, ENTRANCE_MAIN, GREEN, end) +
					       service_ended(s, ENTRANCE_MAIN, BLUE, end));
}

static void
put_strays(struct prom *p, const struct service_ctl *ctl)
{
	uint64_t n;

	if (engines_strays(ctl, &n))
		metrics_sample(p, metrics_of_service(ctl->service), n);
}

static void
put_handshakes(struct prom *p, const struct service_ctl *ctl)
{
	static const char *const versions[2] = { "1.2", "1.3" }, *const resumed[2] = { "false", "true" };
	const struct service *s = ctl->service;

	for (int v = 0; s->config->listen_tls && v < 2; v++)
		for (int r = 0; r < 2; r++) {
			uint64_t total = 0;

			for (unsigned i = 0; i < s->n_tallies; i++)
				total += tally_read(&s->tallies[i].handshakes[v][r]);
			metrics_sample(p, labels_with(labels_with(metrics_of_service(s), "version", versions[v]), "resumed", resumed[r]), total);
		}
}

/* Of all entrances and colors together. */
static void
put_of_service(struct prom *p, const struct service *s, size_t at)
{
	uint64_t counts[TALLY_BUCKETS + 1] = { 0 }, sum_us = 0;

	for (unsigned i = 0; i < s->n_tallies; i++)
		metrics_add_histogram((const struct tally_histogram *)((uintptr_t)&s->tallies[i] + at), counts, &sum_us);
	metrics_put_histogram(p, metrics_of_service(s), tally_request_bounds, counts, sum_us);
}

static void
put_handshake_seconds(struct prom *p, const struct service_ctl *ctl)
{
	if (ctl->service->config->listen_tls)
		put_of_service(p, ctl->service, offsetof(struct tally, handshake_seconds));
}

static void
put_queue_seconds(struct prom *p, const struct service_ctl *ctl)
{
	if (ctl->service->config->limits.queue_timeout > 0)
		put_of_service(p, ctl->service, offsetof(struct tally, queue_seconds));
}

struct shown {
	const struct tls_certificate_facts **list;
	size_t n;
};

static void
remember_shown(void *arg, const struct certs_shown *one)
{
	struct shown *shown = arg;

	shown->list = must_grow(shown->list, shown->n + 1, sizeof(*shown->list));
	shown->list[shown->n++] = tls_certificate_facts(one->certificate);
}

/* Another of the same first name and type ends earlier, or stands before it. */
static bool
is_beside(const struct shown *shown, size_t i)
{
	const struct tls_certificate_facts *f = shown->list[i], *g;

	for (size_t k = 0; k < shown->n; k++) {
		g = shown->list[k];
		if (k != i && strcmp(g->type, f->type) == 0 && strcmp(g->names[0], f->names[0]) == 0 &&
		    (g->not_after < f->not_after || (g->not_after == f->not_after && k < i)))
			return true;
	}
	return false;
}

/* One series for a name and type: of several certificates, that which ends first. */
static void
put_expiry(struct prom *p, const struct service_ctl *ctl)
{
	struct shown shown = { 0 };

	certs_each(ctl->control->certs, ctl->service, remember_shown, &shown);
	for (size_t i = 0; i < shown.n; i++) {
		const struct tls_certificate_facts *f = shown.list[i];
		struct labels l = labels_with(labels_with(metrics_of_service(ctl->service), "certificate", f->names[0]), "type", f->type);

		if (!is_beside(&shown, i))
			prom_double(p, NULL, l.list, l.n, (double)f->not_after);
	}
	free(shown.list);
}

static void
put_crl_expiry(struct prom *p, const struct service_ctl *ctl)
{
	int64_t until;

	if (certs_crl_until(ctl->control->certs, ctl->service, &until))
		prom_double(p, NULL, metrics_of_service(ctl->service).list, 1, (double)until);
}

/* Of HTTP, clients that wait for nothing just now hold one too. */
static void
put_places(struct prom *p, const struct service_ctl *ctl)
{
	if (engines_proxy(ctl))
		metrics_sample(p, metrics_of_service(ctl->service),
			       atomic_load_explicit(&ctl->service->admission.held, memory_order_relaxed));
}

static void
put_waiting(struct prom *p, const struct service_ctl *ctl)
{
	metrics_sample(p, metrics_of_service(ctl->service), service_waiting(ctl->service));
}

static void
put_flip_seconds(struct prom *p, const struct service_ctl *ctl)
{
	struct labels l = metrics_of_service(ctl->service);

	prom_observed(p, l.list, l.n,
		      &(struct prom_histogram){ tally_bounds, ctl->flip_seconds.count, TALLY_BUCKETS,
						ctl->flip_seconds.sum });
}

/* -- the families -------------------------------------------------------------------- */

struct family {
	const char *name;
	enum prom_type type;
	metrics_color_fn *color;	/* either this, for both colors */
	bool previews;	/* and the preview entrance, where there is one */
	service_fn *service;	/* or this */
	const char *help;
};

static const struct family families[] = {
	{ "teal_service_active", PROM_GAUGE, metrics_put_active, false, NULL,
	  "1 for the color that new connections go to, 0 for the other." },
	{ "teal_service_share", PROM_GAUGE, metrics_put_share, false, NULL,
	  "The part of the clients that the color has, 0 to 1; both have one at a share." },
	{ "teal_share_diverted_total", PROM_COUNTER, metrics_put_diverted, false, NULL,
	  "Connections and requests of the color's share that the other one got: it had no healthy backend." },
	{ "teal_ramp_held", PROM_GAUGE, NULL, false, metrics_put_ramp_held,
	  "1 while the next step of a ramp is refused, and tried again." },
	{ "teal_service_epoch", PROM_GAUGE, NULL, false, put_epoch, "Raised by one with every change of color." },
	{ "teal_service_applied_epoch", PROM_GAUGE, NULL, false, put_applied_epoch,
	  "The epoch that every worker obeys; behind teal_service_epoch only while a flip is applied." },
	{ "teal_service_changed_timestamp_seconds", PROM_GAUGE, NULL, false, put_changed_time,
	  "When the color last changed, in seconds since 1970." },
	{ "teal_service_claimed", PROM_GAUGE, NULL, false, put_claimed, "1 while a claim reserves the idle color." },
	{ "teal_service_locked", PROM_GAUGE, NULL, false, put_locked, "1 while flips of the service are locked." },
	{ "teal_rollback_possible", PROM_GAUGE, NULL, false, put_rollback_possible,
	  "1 while the health gate would let the idle color have the traffic." },
	{ "teal_connections", PROM_GAUGE, metrics_put_connections, true, NULL,
	  "Open connections; labels_with HTTP, requests under way." },
	{ "teal_connections_total", PROM_COUNTER_BESIDE, metrics_put_endings, true, NULL,
	  "Connections that ended, by how they ended; labels_with HTTP, requests." },
	{ "teal_bytes_total", PROM_COUNTER, metrics_put_bytes, true, NULL,
	  "Bytes moved: in from clients, out to clients." },
	{ "teal_connect_seconds", PROM_HISTOGRAM, metrics_put_connect_seconds, true, NULL,
	  "Time until a backend had accepted a connection." },
	{ "teal_requests_total", PROM_COUNTER, metrics_put_requests, true, NULL,
	  "HTTP requests answered, by status code and protocol; 499 are those whose client left first." },
	{ "teal_request_seconds", PROM_HISTOGRAM, metrics_put_request_seconds, true, NULL,
	  "Time from the first byte of an HTTP request to the last of its reply." },
	{ "teal_first_byte_seconds", PROM_HISTOGRAM, metrics_put_first_byte_seconds, true, NULL,
	  "Time from the first byte of an HTTP request to the head of its backend's answer." },
	{ "teal_grpc_responses_total", PROM_COUNTER, metrics_put_grpc, true, NULL,
	  "Answers of gRPC by the status that the backend has said, to clients of either version of HTTP." },
	{ "teal_http_odd_answers_total", PROM_COUNTER, metrics_put_odd_answers, true, NULL,
	  "Answers that break a rule of HTTP and were taken and mended all the same, by the rule." },
	{ "teal_retries_total", PROM_COUNTER, metrics_put_retries, true, NULL,
	  "Connects tried on a further backend after one that failed." },
	{ "teal_datagrams_total", PROM_COUNTER, metrics_put_datagrams, true, NULL,
	  "Datagrams forwarded from clients (in) and to them (out), of services of UDP and engine proxy." },
	{ "teal_datagrams_dropped_total", PROM_COUNTER, metrics_put_datagrams_dropped, true, NULL,
	  "Datagrams that were not forwarded: their flow was refused, or a socket did not take them." },
	{ "teal_no_port_total", PROM_COUNTER, metrics_put_no_port, true, NULL,
	  "Connects to backends that found no free port of ours to come from." },
	{ "teal_rejected_total", PROM_COUNTER, NULL, false, put_rejected,
	  "Connections refused without a backend, by reason." },
	{ "teal_http2_refused_total", PROM_COUNTER, NULL, false, put_http2_refused,
	  "Streams and connections of HTTP/2 that were refused or ended for what their clients did, by reason." },
	{ "teal_stray_packets_total", PROM_COUNTER, NULL, false, put_strays,
	  "Packets that belonged to no connection, as after a cut, and were answered labels_with a reset." },
	{ "teal_tls_handshakes_total", PROM_COUNTER, NULL, false, put_handshakes,
	  "TLS handshakes labels_with clients that succeeded." },
	{ "teal_tls_handshake_seconds", PROM_HISTOGRAM, NULL, false, put_handshake_seconds,
	  "Time of a TLS handshake labels_with a client, from its ClientHello on." },
	{ "teal_certificate_expiry_seconds", PROM_GAUGE, NULL, false, put_expiry,
	  "When a certificate that clients are shown expires, in seconds since 1970." },
	{ "teal_crl_expiry_seconds", PROM_GAUGE, NULL, false, put_crl_expiry,
	  "When clients of an authority are refused for want of a newer revocation list, in seconds since 1970." },
	{ "teal_places_taken", PROM_GAUGE, NULL, false, put_places,
	  "Client connections that count for max_connections." },
	{ "teal_waiting_connections", PROM_GAUGE, NULL, false, put_waiting,
	  "Clients that wait for a place, in the service or on a backend." },
	{ "teal_queue_seconds", PROM_HISTOGRAM, NULL, false, put_queue_seconds,
	  "Time that clients have waited for a place; those that need not wait are not counted." },
	{ "teal_backends_healthy", PROM_GAUGE, metrics_put_healthy, false, NULL,
	  "Backends of a color that can be given connections." },
	{ "teal_backends_needed", PROM_GAUGE, metrics_put_needed, false, NULL,
	  "How many of them a flip to the color wants, by flip.min_healthy." },
	{ "teal_backends", PROM_GAUGE, metrics_put_backend_places, false, NULL,
	  "Backends of a color, by how they do, or are wanted to." },
	{ "teal_backups_used", PROM_GAUGE, metrics_put_backups_used, false, NULL,
	  "1 while no other backend of the color is up and its backups get what is new." },
	{ "teal_backend_up", PROM_GAUGE, metrics_put_backend_up, false, NULL, "1 for a backend whose health checks pass." },
	{ "teal_backend_admin_state", PROM_GAUGE, metrics_put_backend_admin_state, false, NULL,
	  "1 for a backend that is ready, 0 for one that is drained: by its node, or of weight 0." },
	{ "teal_backend_checks_total", PROM_COUNTER, metrics_put_backend_checks, false, NULL,
	  "Health checks of a backend, by how they ended." },
	{ "teal_backend_connections", PROM_GAUGE, metrics_put_backend_connections, false, NULL,
	  "Open connections to a backend, previews included." },
	{ "teal_backend_connect_failures_total", PROM_COUNTER, metrics_put_backend_failures, false, NULL,
	  "Connects to a backend that failed." },
	{ "teal_backend_bad_answers_total", PROM_COUNTER, metrics_put_bad_answers, false, NULL,
	  "HTTP answers of a backend that say that it has failed (5xx but 501 and 505), or that are none." },
	{ "teal_backend_requests_total", PROM_COUNTER, metrics_put_backend_requests, false, NULL,
	  "HTTP requests given to a backend, previews included, by the class of the status that their client got." },
	{ "teal_backend_first_byte_seconds", PROM_HISTOGRAM, metrics_put_backend_first_bytes, false, NULL,
	  "Time from the moment that a backend was asked until the head of its answer was there." },
	{ "teal_backend_bytes_total", PROM_COUNTER, metrics_put_backend_bytes, false, NULL,
	  "Bytes moved between clients and a backend: in from clients, out to clients." },
	{ "teal_backend_retries_total", PROM_COUNTER, metrics_put_backend_retries, false, NULL,
	  "Connects and requests that were tried again because a backend failed them." },
	{ "teal_backend_ejected", PROM_GAUGE, metrics_put_backend_ejected, false, NULL,
	  "1 for a backend that gets nothing new because connects to it, or its answers, failed." },
	{ "teal_backend_ejections_total", PROM_COUNTER, metrics_put_backend_ejections, false, NULL,
	  "How often a backend was ejected because connects to it, or its answers, failed." },
	{ "teal_draining_connections", PROM_GAUGE, metrics_put_draining, false, NULL,
	  "Connections left on a color that drains." },
	{ "teal_drain_overdue_seconds", PROM_GAUGE, metrics_put_overdue, false, NULL,
	  "How long ago a drain that is still under way should have ended; 0 when none is late." },
	{ "teal_flips_total", PROM_COUNTER, metrics_put_flips, false, NULL,
	  "Flips and rollbacks to a color, by how they ended." },
	{ "teal_flip_seconds", PROM_HISTOGRAM, NULL, false, put_flip_seconds,
	  "Time from the start of a flip until it was applied." },
	{ "teal_bake_active", PROM_GAUGE, metrics_put_bake_active, false, NULL,
	  "1 for a color that is judged after a flip to it." },
	{ "teal_bake_clients_total", PROM_COUNTER, metrics_put_bake_clients, false, NULL,
	  "Clients that a color has served, each once in five seconds, until it meets trouble." },
	{ "teal_bake_troubles_total", PROM_COUNTER, metrics_put_bake_troubles, false, NULL,
	  "Clients that met trouble with a color, by what they met first." },
	{ "teal_bake_verdicts_total", PROM_COUNTER, metrics_put_bake_verdicts, false, NULL,
	  "Bakes of a color that ended, by their verdict." },
	{ "teal_bake_rollbacks_failed_total", PROM_COUNTER, NULL, false, metrics_put_bake_failures,
	  "How often the rollback of a color that is worse could not be made, and was tried again." },
};

/* A service without colors has none of it. */
static bool
family_is_about_colors(const struct family *f)
{
	static service_fn *const services[] = { put_epoch, put_applied_epoch, put_changed_time, put_locked, put_flip_seconds,
						 put_rollback_possible };
	static metrics_color_fn *const colors[] = { metrics_put_needed, metrics_put_draining, metrics_put_overdue, metrics_put_flips };
	bool found = false;

	for (size_t i = 0; i < ARRAY_LEN(services); i++)
		found |= f->service == services[i];
	for (size_t i = 0; i < ARRAY_LEN(colors); i++)
		found |= f->color == colors[i];
	return found;
}

static bool
is_of_backends(const struct family *f)
{
	return strncmp(f->name, "teal_backend_", strlen("teal_backend_")) == 0;
}

/* One service's samples of a family. */
static void
put_service(struct prom *p, const struct family *f, const struct service_ctl *ctl)
{
	enum entrance last =
		f->previews && ctl->service->config->n_preview > 0 ? ENTRANCE_PREVIEW : ENTRANCE_MAIN;

	if (ctl->service->colorless && family_is_about_colors(f))
		return;
	if (f->service != NULL) {
		f->service(p, ctl);
		return;
	}
	for (int entrance = ENTRANCE_MAIN; entrance <= (int)last; entrance++)
		for (int color = GREEN; color < (ctl->service->colorless ? 1 : COLORS); color++)
			f->color(p, ctl, (enum entrance)entrance, (enum color)color);
}

void
metrics_some(struct buf *out, struct control *c, struct metrics_cursor *at, size_t enough)
{
	struct prom p;

	prom_init(&p, out, at->format);
	if (at->stage == 0) {
		if (at->only == NULL) {
			metrics_whole(&p, c);
			metrics_nodes(&p, c);
		} else {
			nodes_look(c);
		}
		at->stage++;
	}
	for (; at->stage <= ARRAY_LEN(families); at->stage++, at->next = 0) {
		const struct family *f = &families[at->stage - 1];
		size_t i;

		if (buf_len(out) >= enough || out->failed)
			return;
		if (is_of_backends(f) && !c->config->observe.backend_metrics)
			continue;
		if (at->next == 0)
			prom_family(&p, f->name, f->type, f->help);
		else
			prom_go_on(&p, f->name, f->type);
		i = control_from(c, at->next);
		/* At least one, or the family would be announced again. */
		while (i < c->n && (at->next == 0 || (buf_len(out) < enough && !out->failed))) {
			if (at->only == NULL || metrics_wanted(at->only, c->services[i]->service->config->name))
				put_service(&p, f, c->services[i]);
			at->next = c->services[i++]->serial + 1;
		}
		if (i < c->n)
			return;
	}
	if (at->only == NULL)
		metrics_process(&p, c->inherited.cpu_seconds);
	prom_end(&p);
	at->over = true;
}

void
metrics_write(struct buf *out, struct control *c, enum prom_format format)
{
	struct metrics_cursor at = { .format = format };

	metrics_some(out, c, &at, SIZE_MAX);
}
