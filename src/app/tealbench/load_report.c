/* load_report.c - what a load comes to, as one JSON object or for people.
 * Main thread, once the others are joined (load_sum() also while they run). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/tealbench/load.h"
#include "base/json.h"

static const struct {
	const char *word;
	double fraction;
} quantiles[] = { { "p50", 0.5 },     { "p90", 0.9 },       { "p99", 0.99 },
		  { "p99.9", 0.999 }, { "p99.99", 0.9999 }, { "max", 1 } };

/* For a plot over percentiles: denser towards the end, where it matters. */
static const double curve[] = { 0,	0.1,	0.2,	0.3,	0.4,	 0.5,	  0.6,	   0.7,	    0.75,
				0.8,	0.85,	0.9,	0.925,	0.95,	 0.975,	  0.98,	   0.9875,  0.99,
				0.9925, 0.995,	0.9975, 0.998,	0.99875, 0.999,	  0.9995,  0.99975, 0.9999,
				0.99995, 0.99999, 1 };

struct load_sums
load_sum(struct load_thread *threads, unsigned n)
{
	struct load_sums s = { 0 };

	for (unsigned i = 0; i < n; i++) {
		struct load_tally *t = &threads[i].tally;

		s.done += atomic_load_explicit(&t->done, memory_order_relaxed);
		s.bytes += atomic_load_explicit(&t->bytes_in, memory_order_relaxed) +
			   atomic_load_explicit(&t->bytes_out, memory_order_relaxed);
		s.open += atomic_load_explicit(&t->open, memory_order_relaxed);
		s.settled += atomic_load_explicit(&t->settled, memory_order_relaxed);
		s.held += atomic_load_explicit(&t->held, memory_order_relaxed);
		for (int e = 0; e < LOAD_ERRORS; e++)
			s.errors += atomic_load_explicit(&t->errors[e], memory_order_relaxed);
	}
	return s;
}

static void
merge_names(struct load_names *to, const struct load_names *from)
{
	unsigned k;

	for (unsigned i = 0; i < from->n; i++) {
		k = load_names_find(to, str_from(from->name[i].text));
		*(k < LOAD_NAMES_MAX ? &to->name[k].count : &to->others) += from->name[i].count;
	}
	to->others += from->others;
}

struct load_total *
load_total(struct load_thread *threads, unsigned n)
{
	struct load_total *sum = must_alloc(sizeof(*sum));
	uint64_t began = UINT64_MAX, ended = 0;

	histogram_init(&sum->latency);
	histogram_init(&sum->connect);
	histogram_init(&sum->handshake);
	for (unsigned i = 0; i < n; i++) {
		struct load_thread *t = &threads[i];

		histogram_merge(&sum->latency, &t->latency);
		histogram_merge(&sum->connect, &t->connect);
		histogram_merge(&sum->handshake, &t->handshake);
		merge_names(&sum->names, &t->names);
		sum->done += t->tally.done;
		sum->bytes_in += t->tally.bytes_in;
		sum->bytes_out += t->tally.bytes_out;
		sum->held += t->tally.held;
		sum->resumed += t->tally.resumed;
		for (int e = 0; e < LOAD_ERRORS; e++) {
			sum->errors[e] += t->tally.errors[e];
			sum->failed += t->tally.errors[e];
		}
		began = t->began < began ? t->began : began;
		ended = t->ended > ended ? t->ended : ended;
	}
	sum->seconds = ended > began ? (double)(ended - began) / 1e9 : 0;
	return sum;
}

static double
per_second(double amount, double seconds)
{
	return seconds > 0 ? amount / seconds : 0;
}

/* Microseconds: short enough for tables, fine enough for loopback. */
void
load_put_histogram(struct json *j, const char *key, const struct histogram *h)
{
	json_object(j, key);
	json_u64(j, "count", h->count);
	json_double(j, "mean", histogram_mean(h) / 1e3);
	json_double(j, "min", (double)h->min / 1e3);
	for (size_t i = 0; i < ARRAY_LEN(quantiles); i++)
		json_double(j, quantiles[i].word,
			    (double)histogram_quantile(h, quantiles[i].fraction) / 1e3);
	json_object_end(j);
}

void
load_put_errors(struct json *j, const struct load_total *sum)
{
	json_object(j, "errors");
	for (int e = 0; e < LOAD_ERRORS; e++)
		json_u64(j, load_error_word((enum load_error)e), sum->errors[e]);
	json_object_end(j);
}

void
load_put_curve(struct json *j, const struct histogram *h)
{
	json_array(j, "curve");
	for (size_t i = 0; i < ARRAY_LEN(curve) && h->count > 0; i++) {
		json_array(j, NULL);
		json_double(j, NULL, 100 * curve[i]);
		json_double(j, NULL, (double)histogram_quantile(h, curve[i]) / 1e3);
		json_array_end(j);
	}
	json_array_end(j);
}

static void
load_report_json(const struct load_config *c, const struct load_total *sum)
{
	struct buf out;
	struct json j;

	buf_init(&out, 1 << 20);
	json_init(&j, &out);
	json_object(&j, NULL);
	json_cstr(&j, "event", "result");
	json_cstr(&j, "target", c->target_text);
	json_cstr(&j, "mode", c->mode->word);
	if (c->mode->http)
		json_cstr(&j, "path", c->path);
	else
		json_u64(&j, "size", c->size);
	json_u64(&j, "connections", c->connections);
	json_u64(&j, "threads", c->threads);
	json_u64(&j, "rate", c->rate);
	json_double(&j, "seconds", sum->seconds);
	json_u64(&j, "ok", sum->done);
	json_u64(&j, "failed", sum->failed);
	load_put_errors(&j, sum);
	json_double(&j, "per_second", per_second((double)sum->done, sum->seconds));
	json_u64(&j, "bytes_in", sum->bytes_in);
	json_u64(&j, "bytes_out", sum->bytes_out);
	if (c->mode->hold)
		json_u64(&j, "held", sum->held);
	load_put_histogram(&j, "latency_us", &sum->latency);
	load_put_curve(&j, &sum->latency);
	load_put_histogram(&j, "connect_us", &sum->connect);
	if (c->tls) {
		json_double(&j, "handshakes_per_second",
			    per_second((double)sum->handshake.count, sum->seconds));
		json_u64(&j, "resumed", sum->resumed);
		load_put_histogram(&j, "handshake_us", &sum->handshake);
	}
	json_object(&j, "served_by");
	for (unsigned i = 0; i < sum->names.n; i++)
		if (sum->names.name[i].count > 0)
			json_u64(&j, sum->names.name[i].text, sum->names.name[i].count);
	if (sum->names.others > 0)
		json_u64(&j, "others", sum->names.others);
	json_object_end(&j);
	json_object_end(&j);
	json_line_end(&j);
	CHECK(!out.failed);
	fwrite(buf_str(&out).p, 1, buf_len(&out), stdout);
	buf_free(&out);
}

static const char *
duration_text(uint64_t ns, char text[32])
{
	double us = (double)ns / 1e3;

	if (us < 1e3)
		snprintf(text, 32, "%.1f us", us);
	else if (us < 1e6)
		snprintf(text, 32, "%.2f ms", us / 1e3);
	else
		snprintf(text, 32, "%.2f s", us / 1e6);
	return text;
}

void
load_print_histogram(const char *title, const struct histogram *h)
{
	char text[32];

	if (h->count == 0)
		return;
	printf("%-9s", title);
	for (size_t i = 0; i < ARRAY_LEN(quantiles); i++)
		printf("  %s %s", quantiles[i].word,
		       duration_text(histogram_quantile(h, quantiles[i].fraction), text));
	printf("\n");
}

static void
load_report_text(const struct load_config *c, const struct load_total *sum)
{
	printf("%s  %s  %" PRIu64 " connections  %" PRIu64 " threads  %s\n", c->target_text, c->mode->word,
	       c->connections, c->threads, c->rate > 0 ? "open loop" : "closed loop");
	printf("%-9s  %" PRIu64 " ok, %" PRIu64 " failed in %.2f s\n", "requests", sum->done, sum->failed,
	       sum->seconds);
	printf("%-9s  %.0f/s  %.1f MB/s in  %.1f MB/s out\n", "rate",
	       per_second((double)sum->done, sum->seconds),
	       per_second((double)sum->bytes_in, sum->seconds) / 1e6,
	       per_second((double)sum->bytes_out, sum->seconds) / 1e6);
	load_print_histogram("latency", &sum->latency);
	load_print_histogram("connect", &sum->connect);
	load_print_histogram("handshake", &sum->handshake);
	if (c->tls)
		printf("%-9s  %" PRIu64 " handshakes, %" PRIu64 " resumed, %.0f/s\n", "tls",
		       sum->handshake.count, sum->resumed,
		       per_second((double)sum->handshake.count, sum->seconds));
	for (int e = 0; e < LOAD_ERRORS; e++)
		if (sum->errors[e] > 0)
			printf("%-9s  %" PRIu64 " %s\n", "error", sum->errors[e],
			       load_error_word((enum load_error)e));
	for (unsigned i = 0; i < sum->names.n; i++)
		if (sum->names.name[i].count > 0)
			printf("%-9s  %s %" PRIu64 "\n", "served by", sum->names.name[i].text,
			       sum->names.name[i].count);
	if (sum->names.others > 0)
		printf("%-9s  others %" PRIu64 "\n", "served by", sum->names.others);
}

void
load_report(const struct load_config *config, struct load_thread *threads, unsigned n)
{
	struct load_total *sum = load_total(threads, n);

	if (config->json)
		load_report_json(config, sum);
	else
		load_report_text(config, sum);
	fflush(stdout);
	free(sum);
}
