/* drill_report.c - what a drill came to, as one JSON object or for people.
 * Main thread, once the others are joined. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/tealbench/drill.h"

struct summary {
	struct load_total *load;
	struct drill_count count;
	struct histogram flip, drain;
	struct timeline timeline;
	uint64_t by[DRILL_COLORS], cut, died;
	char verdict[256];
	bool passed;
};

static const char *
turns_word(const struct drill *d)
{
	static const char *const words[] = { [DURING_FLIP] = "flips",
					     [DURING_RELOAD] = "reloads",
					     [DURING_UPGRADE] = "upgrades",
					     [DURING_CRASH] = "crashes" };

	return words[d->config->during];
}

static void
sum_flips(const struct drill *d, struct summary *s)
{
	unsigned n = atomic_load(&d->flips.n);

	histogram_init(&s->flip);
	histogram_init(&s->drain);
	for (unsigned i = 0; i < n; i++) {
		struct drill_flip *f = &d->flips.list[i];

		if (!f->made)
			continue;
		s->count.flips_made++;
		s->cut += f->cut;
		histogram_record(&s->flip, f->applied - f->asked);
		if (f->drained != 0)
			histogram_record(&s->drain, f->drained - f->applied);
	}
}

static struct summary *
sum_up(struct drill *d)
{
	struct summary *s = must_alloc(sizeof(*s));
	unsigned n = (unsigned)d->config->load.threads;

	s->load = load_total(d->run.threads, n);
	s->count.reset = s->load->errors[LOAD_RESET];
	s->count.broken = atomic_load(&d->streams_broken);
	s->count.flips_wanted = d->config->flips;
	s->count.turns = turns_word(d);
	s->count.interrupted = d->run.interrupted;
	timeline_init(&s->timeline, d->began, d->threads[0].timeline.width);
	for (unsigned i = 0; i < n; i++) {
		const struct drill_thread *t = &d->threads[i];

		s->count.right += t->right;
		s->count.wrong += t->wrong;
		s->count.unnamed += t->unnamed;
		s->count.late += t->late;
		s->died += t->died;
		for (int c = 0; c < DRILL_COLORS; c++)
			s->by[c] += t->by[c];
		timeline_merge(&s->timeline, &t->timeline);
	}
	s->count.failed = s->load->failed - s->died;
	sum_flips(d, s);
	s->passed = drill_verdict(&s->count, s->verdict);
	return s;
}

static double
seconds_into(const struct drill *d, uint64_t at)
{
	return at > d->began ? (double)(at - d->began) / 1e9 : 0;
}

static void
put_drill_flips(struct json *j, const struct drill *d)
{
	unsigned n = atomic_load(&d->flips.n);

	json_array(j, turns_word(d));
	for (unsigned i = 0; i < n; i++) {
		struct drill_flip *f = &d->flips.list[i];

		json_object(j, NULL);
		json_double(j, "at", seconds_into(d, f->asked));
		if (d->config->during == DURING_FLIP)
			json_cstr(j, "to", d->config->color[f->color]);
		json_bool(j, "made", f->made);
		if (f->made)
			json_double(j, d->config->during == DURING_CRASH ? "serving_us" : "applied_us",
				    (double)(f->applied - f->asked) / 1e3);
		if (f->dead != 0)
			json_double(j, "dead_us", (double)(f->dead - f->asked) / 1e3);
		if (f->drained != 0)
			json_double(j, "drained_us", (double)(f->drained - f->applied) / 1e3);
		if (f->epoch != 0)
			json_u64(j, "epoch", f->epoch);
		if (f->error[0] != '\0')
			json_cstr(j, "error", f->error);
		json_object_end(j);
	}
	json_array_end(j);
}

static void
put_streams(struct json *j, const struct drill *d)
{
	const struct load_config *c = &d->config->streams;
	struct load_sums sums;

	json_object(j, "streams");
	json_u64(j, "connections", c->connections);
	if (c->connections > 0) {
		sums = load_sum(d->streams.threads, (unsigned)c->threads);
		json_cstr(j, "mode", c->mode->word);
		json_u64(j, "messages", sums.done);
		json_u64(j, "broken", d->streams_broken);
		json_u64(j, "died_with_process", d->streams_died);
	}
	json_object_end(j);
}

static void
put_timeline(struct json *j, const struct drill *d, const struct timeline *t)
{
	json_object(j, "timeline");
	json_double(j, "slot_seconds", (double)t->width / 1e9);
	for (unsigned lane = 0; lane < TIMELINE_LANES; lane++) {
		json_array(j, lane < DRILL_COLORS ? d->config->color[lane] : "failed");
		for (unsigned i = 0; i < t->used; i++)
			json_u64(j, NULL, t->count[lane][i]);
		json_array_end(j);
	}
	json_object_end(j);
}

static void
put_samples(struct json *j, const struct drill *d)
{
	json_array(j, "samples");
	for (unsigned i = 0; i < d->config->load.threads; i++) {
		for (unsigned k = 0; k < d->threads[i].samples; k++) {
			const struct drill_sample *s = &d->threads[i].sample[k];

			json_object(j, NULL);
			json_cstr(j, "what", s->what);
			json_double(j, "began", seconds_into(d, s->began));
			json_double(j, "ended", seconds_into(d, s->at));
			json_cstr(j, "answered_by", s->name[0] != '\0' ? s->name : NULL);
			json_u64(j, "flips_before", s->flips);
			json_object_end(j);
		}
	}
	json_array_end(j);
}

static void
drill_report_json(struct drill *d, const struct summary *s)
{
	const struct drill_config *c = d->config;
	struct buf out;
	struct json j;

	buf_init(&out, 64 << 20);
	json_init(&j, &out);
	json_object(&j, NULL);
	json_cstr(&j, "event", "drill");
	json_bool(&j, "passed", s->passed);
	json_cstr(&j, "verdict", s->verdict);
	json_cstr(&j, "target", c->load.target_text);
	json_cstr(&j, "service", c->service);
	json_cstr(&j, "during", drill_during_word(c->during));
	json_cstr(&j, "mode", c->load.mode->word);
	json_u64(&j, "connections", c->load.connections);
	json_u64(&j, "threads", c->load.threads);
	json_u64(&j, "rate", c->load.rate);
	json_double(&j, "seconds", s->load->seconds);
	json_u64(&j, "ok", s->load->done);
	json_double(&j, "per_second", s->load->seconds > 0 ? (double)s->load->done / s->load->seconds : 0);
	json_u64(&j, "lost", s->count.failed);
	json_u64(&j, "reset", s->count.reset);
	json_u64(&j, "died_with_process", s->died);
	json_u64(&j, "late", s->count.late);
	json_u64(&j, "wrong_color", s->count.wrong);
	json_u64(&j, "unnamed", s->count.unnamed);
	load_put_errors(&j, s->load);
	json_object(&j, "served_by");
	for (int k = 0; k < DRILL_COLORS; k++)
		json_u64(&j, c->color[k], s->by[k]);
	json_object_end(&j);
	put_streams(&j, d);
	json_u64(&j, c->during == DURING_FLIP ? "flips_wanted" : "turns_wanted", s->count.flips_wanted);
	json_u64(&j, c->during == DURING_FLIP ? "flips_made" : "turns_made", s->count.flips_made);
	load_put_histogram(&j, c->during == DURING_FLIP ? "flip_us" : "turn_us", &s->flip);
	if (c->during == DURING_FLIP) {
		json_u64(&j, "cut_by_drains", s->cut);
		load_put_histogram(&j, "drain_us", &s->drain);
	}
	json_double(&j, "longest_gap_us", (double)d->silence.longest / 1e3);
	json_double(&j, "longest_gap_at", seconds_into(d, d->silence.since));
	load_put_histogram(&j, "latency_us", &s->load->latency);
	load_put_curve(&j, &s->load->latency);
	put_samples(&j, d);
	put_drill_flips(&j, d);
	put_timeline(&j, d, &s->timeline);
	json_object_end(&j);
	json_line_end(&j);
	CHECK(!out.failed);
	fwrite(buf_str(&out).p, 1, buf_len(&out), stdout);
	buf_free(&out);
}

static void
print_samples(const struct drill *d)
{
	unsigned printed = 0;

	for (unsigned i = 0; i < d->config->load.threads; i++) {
		for (unsigned k = 0; k < d->threads[i].samples && printed < DRILL_SAMPLES; k++, printed++) {
			const struct drill_sample *s = &d->threads[i].sample[k];

			printf("%-9s  %.6f s to %.6f s: %s%s%s, after %u %s\n", "sample",
			       seconds_into(d, s->began), seconds_into(d, s->at), s->what,
			       s->name[0] != '\0' ? ", answered by " : "", s->name, s->flips, turns_word(d));
		}
	}
}

static void
print_bad_flips(const struct drill *d)
{
	unsigned n = atomic_load(&d->flips.n), printed = 0;

	for (unsigned i = 0; i < n && printed < DRILL_SAMPLES; i++) {
		struct drill_flip *f = &d->flips.list[i];

		if (f->error[0] == '\0')
			continue;
		printf("%-9s  %u%s%s at %.3f s: %s%s\n", drill_during_word(d->config->during), i + 1,
		       d->config->during == DURING_FLIP ? " to " : "",
		       d->config->during == DURING_FLIP ? d->config->color[f->color] : "",
		       seconds_into(d, f->asked), f->made ? "made, but " : "", f->error);
		printed++;
	}
}

static void
drill_report_text(struct drill *d, const struct summary *s)
{
	const struct drill_config *c = d->config;

	printf("%s  %s  %" PRIu64 " connections  %" PRIu64 " threads  %s  %.1f s\n", c->load.target_text,
	       c->load.mode->word, c->load.connections, c->load.threads,
	       c->load.rate > 0 ? "open loop" : "closed loop", s->load->seconds);
	printf("%-9s  %" PRIu64 " ok (%.0f/s), %" PRIu64 " lost, %" PRIu64 " of them reset, %" PRIu64
	       " late, %" PRIu64 " on the wrong color, %" PRIu64 " from unknown backends\n",
	       "requests", s->load->done, s->load->seconds > 0 ? (double)s->load->done / s->load->seconds : 0,
	       s->count.failed, s->count.reset, s->count.late, s->count.wrong, s->count.unnamed);
	printf("%-9s  %s %" PRIu64 "  %s %" PRIu64 "\n", "served by", c->color[0], s->by[0], c->color[1],
	       s->by[1]);
	load_print_histogram("latency", &s->load->latency);
	if (c->streams.connections > 0)
		printf("%-9s  %" PRIu64 " %s, %" PRIu64 " messages, %" PRIu64 " broken\n", "streams",
		       c->streams.connections, c->streams.mode->word,
		       load_sum(d->streams.threads, (unsigned)c->streams.threads).done, s->count.broken);
	if (c->during == DURING_CRASH)
		printf("%-9s  %" PRIu64 " requests and %" PRIu64 " streams ended with the process\n", "died",
		       s->died, d->streams_died);
	printf("%-9s  %" PRIu64 " of %" PRIu64 " made\n", s->count.turns, s->count.flips_made,
	       s->count.flips_wanted);
	load_print_histogram(c->during == DURING_CRASH ? "serving" : "applied", &s->flip);
	if (c->during == DURING_FLIP)
		load_print_histogram("drained", &s->drain);
	if (s->cut > 0)
		printf("%-9s  %" PRIu64 " connections at the drain's end\n", "cut", s->cut);
	printf("%-9s  %.2f ms without a success, at %.3f s\n", "gap", (double)d->silence.longest / 1e6,
	       seconds_into(d, d->silence.since));
	for (int e = 0; e < LOAD_ERRORS; e++)
		if (s->load->errors[e] > 0)
			printf("%-9s  %" PRIu64 " %s\n", "error", s->load->errors[e],
			       load_error_word((enum load_error)e));
	print_bad_flips(d);
	print_samples(d);
	printf("%s: %s\n", s->passed ? "PASSED" : "FAILED", s->verdict);
}

bool
drill_report(struct drill *d)
{
	struct summary *s = sum_up(d);
	bool passed = s->passed;

	if (d->config->json)
		drill_report_json(d, s);
	else
		drill_report_text(d, s);
	fflush(stdout);
	free(s->load);
	free(s);
	return passed;
}
