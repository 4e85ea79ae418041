/* peer_tally.c - counters on their way to the next teald: by their words, not by their
 * places, for another version may have others.  Thread: main. */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/log.h"
#include "control/peer_private.h"

/* A counter, or the lag of a thread, in a message takes at most so much. */
#define COUNTER_ROOM 1024

static const char *const entrances[ENTRANCES] = { "main", "preview" };
static const char *const tls_versions[2] = { "1.2", "1.3" };

/* A word of a table, whose index it is: one counter of many. */
typedef const char *word_fn(unsigned i);
typedef const _Atomic uint64_t *counter_fn(const struct tally_color *c, unsigned i);

static const char *
end_word(unsigned i)
{
	return ending_word((enum ending)i);
}

static const char *
odd_word(unsigned i)
{
	return http1_odd_word((enum http1_odd)i);
}

static const _Atomic uint64_t *
end_counter(const struct tally_color *c, unsigned i)
{
	return &c->ended[i];
}

static const _Atomic uint64_t *
code_counter(const struct tally_color *c, unsigned i)
{
	return &c->http->requests[i];
}

static const char *
refused_word(unsigned i)
{
	return http2_reason_word((enum http2_reason)i);
}

static const _Atomic uint64_t *
http2_counter(const struct tally_color *c, unsigned i)
{
	return &c->http->http2_requests[i];
}

static const _Atomic uint64_t *
refused_counter(const struct tally_color *c, unsigned i)
{
	return &c->http->http2_refused[i];
}

static const _Atomic uint64_t *
grpc_counter(const struct tally_color *c, unsigned i)
{
	return &c->http->grpc[i];
}

static const _Atomic uint64_t *
odd_counter(const struct tally_color *c, unsigned i)
{
	return &c->http->odd_answers[i];
}

static const char *
trouble_word(unsigned i)
{
	return judge_signal_word((enum judge_signal)i);
}

static const _Atomic uint64_t *
trouble_counter(const struct tally_color *c, unsigned i)
{
	return &c->troubles[i];
}

/* The counters that come in tables. */
static const struct words {
	enum peer_tag tag;
	word_fn *word;
	counter_fn *counter;
	unsigned n;
	bool http;
} tables[] = {
	{ PEER_T_ENDED, end_word, end_counter, ENDINGS, false },
	{ PEER_T_TROUBLES, trouble_word, trouble_counter, JUDGE_SEEN_SIGNALS, false },
	{ PEER_T_REQUESTS, tally_code_word, code_counter, TALLY_CODES, true },
	{ PEER_T_HTTP2_REQUESTS, tally_code_word, http2_counter, TALLY_CODES, true },
	{ PEER_T_HTTP2_REFUSED, refused_word, refused_counter, HTTP2_REASONS, true },
	{ PEER_T_GRPC, grpc_status_word, grpc_counter, GRPC_STATUSES + 1, true },
	{ PEER_T_ODD_ANSWERS, odd_word, odd_counter, HTTP1_ODDS, true },
};

/* And those that do not. */
static const struct single {
	enum peer_tag tag;
	size_t at;	/* in struct tally_color */
} singles[] = {
	{ PEER_T_BYTES_IN, offsetof(struct tally_color, bytes_in) },
	{ PEER_T_BYTES_OUT, offsetof(struct tally_color, bytes_out) },
	{ PEER_T_RETRIES, offsetof(struct tally_color, retries) },
	{ PEER_T_NO_PORT, offsetof(struct tally_color, no_port) },
	{ PEER_T_EXPOSURES, offsetof(struct tally_color, exposures) },
	{ PEER_T_DIVERTED, offsetof(struct tally_color, diverted) },
	{ PEER_T_DATAGRAMS_IN, offsetof(struct tally_color, datagrams_in) },
	{ PEER_T_DATAGRAMS_OUT, offsetof(struct tally_color, datagrams_out) },
	{ PEER_T_DATAGRAMS_DROPPED, offsetof(struct tally_color, datagrams_dropped) },
};

static _Atomic uint64_t *
single_of(const struct tally_color *c, const struct single *one)
{
	return (_Atomic uint64_t *)((uintptr_t)c + one->at);
}

void
peer_put_word(struct buf *b, enum peer_tag tag, const char *word, uint64_t n)
{
	size_t row;

	if (n == 0)
		return;
	row = tlv_open(b, tag);
	peer_put_str(b, PEER_T_WORD, word);
	tlv_u64(b, PEER_T_COUNT, n);
	tlv_close(b, row);
}

/* A counter of a process that has ended may have been told in two ways at once: the greater
 * one is true. */
static void
raise_to(_Atomic uint64_t *counter, uint64_t n)
{
	if (n > tally_read(counter))
		atomic_store_explicit(counter, n, memory_order_relaxed);
}

/* -- histograms ------------------------------------------------------------------ */

void
peer_put_histogram(struct buf *b, enum peer_tag tag, const struct tally_histogram *h, const double *bounds)
{
	size_t row = tlv_open(b, tag), bucket;

	for (unsigned i = 0; i <= TALLY_BUCKETS; i++) {
		uint64_t n = tally_read(&h->count[i]);

		if (n == 0)
			continue;
		bucket = tlv_open(b, PEER_T_BUCKET);
		if (i < TALLY_BUCKETS)
			tlv_double(b, PEER_T_BOUND, bounds[i]);
		tlv_u64(b, PEER_T_COUNT, n);
		tlv_close(b, bucket);
	}
	tlv_u64(b, PEER_T_SUM_US, tally_read(&h->sum_us));
	tlv_close(b, row);
}

void
peer_take_histogram(struct str row, struct tally_histogram *h, const double *bounds)
{
	uint64_t counts[TALLY_BUCKETS + 1] = { 0 };
	struct str rest = row, bucket;

	while (peer_each(&rest, PEER_T_BUCKET, &bucket)) {
		double bound = peer_double(bucket, PEER_T_BOUND);
		unsigned i = 0;

		while (i < TALLY_BUCKETS && (!peer_has(bucket, PEER_T_BOUND) || bounds[i] < bound))
			i++;
		counts[i] += peer_u64(bucket, PEER_T_COUNT);
	}
	for (unsigned i = 0; i <= TALLY_BUCKETS; i++)
		raise_to(&h->count[i], counts[i]);
	raise_to(&h->sum_us, peer_u64(row, PEER_T_SUM_US));
}

/* -- a service ---------------------------------------------------------------------- */

static void
add_histogram(struct tally_histogram *sum, const struct tally_histogram *h)
{
	for (unsigned i = 0; i <= TALLY_BUCKETS; i++)
		tally_add(&sum->count[i], tally_read(&h->count[i]));
	tally_add(&sum->sum_us, tally_read(&h->sum_us));
}

static bool
counts_http(const struct service *s)
{
	return s->inherited->colors[0][0].http != NULL;
}

static void
put_side(struct buf *b, const struct service *s, enum entrance entrance, enum color color)
{
	struct tally_histogram connects = { .sum_us = 0 }, requests = connects, first_bytes = connects;

	for (size_t k = 0; k < ARRAY_LEN(tables); k++)
		for (unsigned i = 0; i < tables[k].n && (!tables[k].http || counts_http(s)); i++) {
			uint64_t sum = 0;

			for (unsigned t = 0; t < s->n_tallies; t++)
				sum += tally_read(tables[k].counter(&s->tallies[t].colors[entrance][color], i));
			peer_put_word(b, tables[k].tag, tables[k].word(i), sum);
		}
	for (size_t k = 0; k < ARRAY_LEN(singles); k++) {
		uint64_t sum = 0;

		for (unsigned t = 0; t < s->n_tallies; t++)
			sum += tally_read(single_of(&s->tallies[t].colors[entrance][color], &singles[k]));
		tlv_u64(b, singles[k].tag, sum);
	}
	for (unsigned t = 0; t < s->n_tallies; t++) {
		const struct tally_color *c = &s->tallies[t].colors[entrance][color];

		add_histogram(&connects, &c->connect_seconds);
		if (c->http == NULL)
			continue;
		add_histogram(&requests, &c->http->request_seconds);
		add_histogram(&first_bytes, &c->http->first_byte_seconds);
	}
	peer_put_histogram(b, PEER_T_CONNECT_SECONDS, &connects, tally_bounds);
	if (!counts_http(s))
		return;
	peer_put_histogram(b, PEER_T_REQUEST_SECONDS, &requests, tally_request_bounds);
	peer_put_histogram(b, PEER_T_FIRST_BYTE_SECONDS, &first_bytes, tally_request_bounds);
}

static void
put_tls_counts(struct buf *b, const struct service *s)
{
	for (int v = 0; v < 2; v++)
		for (int r = 0; r < 2; r++) {
			size_t row = tlv_open(b, PEER_T_HANDSHAKES);
			uint64_t sum = 0;

			for (unsigned t = 0; t < s->n_tallies; t++)
				sum += tally_read(&s->tallies[t].handshakes[v][r]);
			peer_put_str(b, PEER_T_WORD, tls_versions[v]);
			tlv_u64(b, PEER_T_RESUMED, (uint64_t)r);
			tlv_u64(b, PEER_T_COUNT, sum);
			tlv_close(b, row);
		}
}

static void
put_waits(struct buf *b, const struct service *s)
{
	struct tally_histogram handshakes = { .sum_us = 0 }, queue = handshakes;

	for (unsigned t = 0; t < s->n_tallies; t++) {
		add_histogram(&handshakes, &s->tallies[t].handshake_seconds);
		add_histogram(&queue, &s->tallies[t].queue_seconds);
	}
	peer_put_histogram(b, PEER_T_HANDSHAKE_SECONDS, &handshakes, tally_request_bounds);
	peer_put_histogram(b, PEER_T_QUEUE_SECONDS, &queue, tally_request_bounds);
}

void
peer_put_tally(struct buf *b, const struct service *s, bool brief)
{
	/* Who counts flows in the kernel finds them there itself. */
	bool here = s->config->engine == ENGINE_PROXY;

	for (int e = 0; e < ENTRANCES; e++)
		for (int c = 0; c < COLORS; c++) {
			size_t row = tlv_open(b, PEER_T_SIDE);

			peer_put_str(b, PEER_T_ENTRANCE, entrances[e]);
			peer_put_str(b, PEER_T_COLOR, color_word((enum color)c));
			tlv_u64(b, PEER_T_ACTIVE, here ? service_connections(s, (enum entrance)e, (enum color)c) : 0);
			if (!brief)
				put_side(b, s, (enum entrance)e, (enum color)c);
			tlv_close(b, row);
		}
	tlv_u64(b, PEER_T_HELD, here ? atomic_load_explicit(&s->admission.held, memory_order_relaxed) : 0);
	tlv_u64(b, PEER_T_QUEUED, here ? service_waiting(s) : 0);
	if (brief)
		return;
	put_tls_counts(b, s);
	put_waits(b, s);
}

static void
take_words(struct tally_color *c, const struct words *table, struct str row)
{
	struct str one;

	while (peer_each(&row, table->tag, &one))
		for (unsigned i = 0; i < table->n; i++)
			if (str_eq(peer_str(one, PEER_T_WORD), table->word(i)))
				raise_to((_Atomic uint64_t *)(uintptr_t)table->counter(c, i),
					 peer_u64(one, PEER_T_COUNT));
}

static void
take_side(struct tally_color *c, struct str row)
{
	if (peer_has(row, PEER_T_ACTIVE))
		atomic_store_explicit(&c->active, peer_u64(row, PEER_T_ACTIVE), memory_order_relaxed);
	for (size_t k = 0; k < ARRAY_LEN(tables); k++)
		if (!tables[k].http || c->http != NULL)
			take_words(c, &tables[k], row);
	for (size_t k = 0; k < ARRAY_LEN(singles); k++)
		raise_to(single_of(c, &singles[k]), peer_u64(row, singles[k].tag));
	peer_take_histogram(peer_str(row, PEER_T_CONNECT_SECONDS), &c->connect_seconds, tally_bounds);
	if (c->http == NULL)
		return;
	peer_take_histogram(peer_str(row, PEER_T_REQUEST_SECONDS), &c->http->request_seconds, tally_request_bounds);
	peer_take_histogram(peer_str(row, PEER_T_FIRST_BYTE_SECONDS), &c->http->first_byte_seconds, tally_request_bounds);
}

void
peer_take_tally(struct service *s, struct str row)
{
	struct str rest = row, one;
	enum color color;

	while (peer_each(&rest, PEER_T_SIDE, &one))
		for (int e = 0; e < ENTRANCES; e++)
			if (str_eq(peer_str(one, PEER_T_ENTRANCE), entrances[e]) && peer_color(one, &color))
				take_side(&s->inherited->colors[e][color], one);
	rest = row;
	while (peer_each(&rest, PEER_T_HANDSHAKES, &one))
		for (int v = 0; v < 2; v++)
			if (str_eq(peer_str(one, PEER_T_WORD), tls_versions[v]))
				raise_to(&s->inherited->handshakes[v][peer_u64(one, PEER_T_RESUMED) != 0],
					 peer_u64(one, PEER_T_COUNT));
	peer_take_histogram(peer_str(row, PEER_T_HANDSHAKE_SECONDS), &s->inherited->handshake_seconds, tally_request_bounds);
	peer_take_histogram(peer_str(row, PEER_T_QUEUE_SECONDS), &s->inherited->queue_seconds, tally_request_bounds);
}

/* -- the process --------------------------------------------------------------------- */

static const struct inherited_lag *
find_lag(const struct control *c, const char *thread)
{
	for (size_t i = 0; i < c->inherited.n_lags; i++)
		if (strcmp(c->inherited.lags[i].thread, thread) == 0)
			return &c->inherited.lags[i];
	return NULL;
}

static void
put_lag_of(struct buf *b, const struct control *c, const char *thread, const struct tally_histogram *h)
{
	const struct inherited_lag *before = find_lag(c, thread);
	struct tally_histogram sum = { .sum_us = 0 };
	size_t row = tlv_open(b, PEER_T_LAG);

	if (h != NULL)
		add_histogram(&sum, h);
	if (before != NULL)
		add_histogram(&sum, &before->lag);
	peer_put_str(b, PEER_T_WORD, thread);
	peer_put_histogram(b, PEER_T_LAG, &sum, tally_request_bounds);
	tlv_close(b, row);
}

/* What is full is sent, and another one begins.  p NULL: it has room for all. */
static void
tell_full(struct peer *p, struct buf *b)
{
	if (p == NULL || buf_len(b) + COUNTER_ROOM < PEER_MESSAGE_MAX)
		return;
	peer_say(p, PEER_TALLY_PROCESS, b);
	peer_row(b);
}

static void
put_lags_of_engine(struct peer *p, struct buf *b, const struct control *c, const struct engine *e)
{
	char name[ENGINE_THREAD_NAME];

	for (unsigned i = 0; e->lag != NULL && i < e->n_threads; i++) {
		const struct tally_histogram *h = e->lag(e, i, name);

		put_lag_of(b, c, name, h);
		tell_full(p, b);
	}
}

static void
put_counters(struct peer *p, struct buf *b, const struct control *c, const struct engine *e)
{
	for (size_t g = 0; g < e->class->n_gauges; g++) {
		const struct engine_gauge *gauge = &e->class->gauges[g];
		uint64_t value;

		if (gauge->type == PROM_COUNTER && gauge->read(e, &value))
			peer_put_word(b, PEER_T_COUNTER, gauge->metric, value + inherited_counter(&c->inherited, gauge->metric));
		tell_full(p, b);
	}
}

static double
cpu_seconds(void)
{
	struct rusage u;

	if (getrusage(RUSAGE_SELF, &u) != 0)
		return 0;
	return (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void
put_probe_counters(struct buf *b, const struct control *c)
{
	struct targets_totals totals;

	if (c->health == NULL)
		return;
	totals = health_totals(c->health);
	for (size_t i = 0; i < ARRAY_LEN(health_counters); i++)
		peer_put_word(b, PEER_T_COUNTER, health_counters[i],
			 totals.probes[i] + inherited_counter(&c->inherited, health_counters[i]));
}

void
peer_send_process(struct peer *p)
{
	const struct control *c = p->control;
	struct buf b;

	peer_row(&b);
	tlv_double(&b, PEER_T_COUNTING_SINCE, control_counts_since(c));
	tlv_u64(&b, PEER_T_LOG_DROPPED, log_dropped() + c->inherited.log_dropped);
	tlv_double(&b, PEER_T_CPU_SECONDS, cpu_seconds() + c->inherited.cpu_seconds);
	peer_put_word(&b, PEER_T_COUNTER, "teal_log_cut_total",
		 log_output().cut + inherited_counter(&c->inherited, "teal_log_cut_total"));
	/* What was inherited first: where it goes on, the greater one is told behind it. */
	for (size_t i = 0; i < c->inherited.n_counters; i++) {
		peer_put_word(&b, PEER_T_COUNTER, c->inherited.counters[i].metric, c->inherited.counters[i].value);
		tell_full(p, &b);
	}
	for (size_t i = 0; i < c->inherited.n_lags; i++) {
		put_lag_of(&b, c, c->inherited.lags[i].thread, NULL);
		tell_full(p, &b);
	}
	put_probe_counters(&b, c);
	put_lag_of(&b, c, "main", &c->lag);
	for (size_t k = 0; k < c->n_engines; k++) {
		put_counters(p, &b, c, c->engines[k]);
		put_lags_of_engine(p, &b, c, c->engines[k]);
	}
	peer_say(p, PEER_TALLY_PROCESS, &b);
}

static struct admission *
clients_of(const struct control *c)
{
	for (size_t i = 0; i < c->n_engines; i++)
		if (c->engines[i]->clients != NULL)
			return c->engines[i]->clients;
	return NULL;
}

void
peer_send_clients(struct peer *p)
{
	const struct admission *clients = clients_of(p->control);
	uint32_t now = clients != NULL ? atomic_load_explicit(&clients->held, memory_order_relaxed) : 0;
	struct buf b;

	if (now == p->clients)
		return;
	p->clients = now;
	peer_row(&b);
	tlv_u64(&b, PEER_T_HELD, now);
	peer_say(p, PEER_TALLY_PROCESS, &b);
}

void
peer_take_clients(struct peer *p, struct str row)
{
	struct admission *clients = clients_of(p->control);

	if (clients != NULL && peer_has(row, PEER_T_HELD))
		peer_add_difference(&clients->held, &p->clients, peer_u64(row, PEER_T_HELD));
}

void
peer_drop_clients(struct peer *p)
{
	struct admission *clients = clients_of(p->control);

	if (clients != NULL && p->other == PEER_IS_PREDECESSOR)
		peer_add_difference(&clients->held, &p->clients, 0);
}

static void
take_lag(struct inherited *in, struct str row)
{
	char thread[ENGINE_THREAD_NAME];
	size_t i = 0;

	if (!str_copy(thread, sizeof(thread), peer_str(row, PEER_T_WORD)) || thread[0] == '\0')
		return;
	while (i < in->n_lags && strcmp(in->lags[i].thread, thread) != 0)
		i++;
	if (i == in->n_lags) {
		if (i == INHERITED_MAX)
			return;
		in->lags = must_grow(in->lags, i + 1, sizeof(*in->lags));
		memset(&in->lags[i], 0, sizeof(in->lags[i]));
		memcpy(in->lags[i].thread, thread, sizeof(thread));
		in->n_lags++;
	}
	peer_take_histogram(peer_str(row, PEER_T_LAG), &in->lags[i].lag, tally_request_bounds);
}

static void
take_counter(struct inherited *in, struct str row)
{
	char metric[sizeof(in->counters->metric)];
	uint64_t n = peer_u64(row, PEER_T_COUNT);
	size_t i = 0;

	if (!str_copy(metric, sizeof(metric), peer_str(row, PEER_T_WORD)))
		return;
	while (i < in->n_counters && strcmp(in->counters[i].metric, metric) != 0)
		i++;
	if (i == in->n_counters) {
		if (i == INHERITED_MAX)
			return;
		in->counters = must_grow(in->counters, i + 1, sizeof(*in->counters));
		memset(&in->counters[i], 0, sizeof(in->counters[i]));
		memcpy(in->counters[i].metric, metric, sizeof(metric));
		in->n_counters++;
	}
	if (n > in->counters[i].value)
		in->counters[i].value = n;
}

void
peer_take_process(struct control *c, struct str row)
{
	struct inherited *in = &c->inherited;
	uint64_t dropped = peer_u64(row, PEER_T_LOG_DROPPED);
	double cpu = peer_double(row, PEER_T_CPU_SECONDS), since = peer_double(row, PEER_T_COUNTING_SINCE);
	struct str rest = row, one;

	if (since > 0)
		in->since = since;
	if (dropped > in->log_dropped)
		in->log_dropped = dropped;
	if (cpu > in->cpu_seconds)
		in->cpu_seconds = cpu;
	while (peer_each(&rest, PEER_T_LAG, &one))
		take_lag(in, one);
	rest = row;
	while (peer_each(&rest, PEER_T_COUNTER, &one))
		take_counter(in, one);
}

void
peer_keep_engine(struct control *c, const struct engine *e)
{
	struct buf b;

	peer_row(&b);
	put_counters(NULL, &b, c, e);
	put_lags_of_engine(NULL, &b, c, e);
	peer_take_process(c, buf_str(&b));
	buf_free(&b);
}
