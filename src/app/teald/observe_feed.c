/* observe_feed.c - from what control knows to frames for the status page.
 * Thread: main. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/teald/observe_feed.h"
#include "app/teald/quality_json.h"
#include "app/teald/status.h"
#include "app/teald/trouble.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/version.h"
#include "control/claim.h"
#include "control/drain.h"
#include "control/engines.h"

#define FRAME_MAX ((size_t)64 << 20)
#define ERROR_MAX 96	/* of backend.error */

/* -- frames ----------------------------------------------------------------- */

void
sse_event(struct buf *out, const char *name, struct str data)
{
	const char *end;

	buf_printf(out, "event: %s\n", name);
	/* The end of a line ends a field: each line is one of its own. */
	do {
		end = memchr(data.p, '\n', data.n);
		buf_append(out, "data: ", 6);
		buf_append(out, data.p, end != NULL ? (size_t)(end - data.p) : data.n);
		buf_append(out, "\n", 1);
		if (end != NULL)
			data = (struct str){ end + 1, data.n - (size_t)(end + 1 - data.p) };
	} while (end != NULL);
	buf_append(out, "\n", 1);
}

/* Consumes json; NULL when it or the frame did not fit. */
static struct frame *
frame_new(struct feed *f, const char *name, struct buf *json)
{
	struct frame *frame = malloc(sizeof(*frame));

	if (frame != NULL) {
		frame->refs = 1;
		frame->feed = f;
		buf_init(&frame->bytes, FRAME_MAX + 64);
		sse_event(&frame->bytes, name, buf_str(json));
		if (json->failed || frame->bytes.failed) {
			buf_free(&frame->bytes);
			free(frame);
			frame = NULL;
		} else {
			f->bytes += buf_len(&frame->bytes);
		}
	}
	buf_free(json);
	return frame;
}

void
frame_unref(struct frame **fp)
{
	struct frame *frame = *fp;

	*fp = NULL;
	if (frame == NULL || --frame->refs > 0)
		return;
	frame->feed->bytes -= buf_len(&frame->bytes);
	buf_free(&frame->bytes);
	free(frame);
}

/* -- parts ------------------------------------------------------------------ */

static int64_t
wall_ms(void)
{
	return clock_wall_us() / 1000;
}

/* For graphs: more digits could not be seen. */
static double
tidy(double v)
{
	return v < 100 ? round(v * 10) / 10 : round(v);
}

static void
teald_json(struct json *j, const struct control *c)
{
	char host[RECORD_NAME + 1] = "";
	const char *reason = NULL;
	bool ready = control_ready(c, &reason);

	if (gethostname(host, sizeof(host) - 1) != 0)
		host[0] = '\0';
	json_object(j, "teald");
	json_cstr(j, "host", host);
	json_cstr(j, "version", teal_version());
	json_i64(j, "pid", getpid());
	/* To the second: else the clocks' drift would be news all the time. */
	json_i64(j, "started", (int64_t)round((double)wall_ms() / 1000 - (clock_now() - control_counts_since(c))));
	json_u64(j, "workers", c->config->workers);
	json_bool(j, "ready", ready);
	json_cstr(j, "not_ready", ready ? NULL : reason);
	json_bool(j, "maintenance", c->maintenance);
	json_object_end(j);
}

/* A heartbeat has the services in its own configuration's order, which is
 * nearly always ours. */
static const struct service *
service_at(const struct control *c, size_t i, const char *name)
{
	if (i < c->n && strcmp(c->services[i]->service->config->name, name) == 0)
		return c->services[i]->service;
	for (i = 0; i < c->n; i++)
		if (strcmp(c->services[i]->service->config->name, name) == 0)
			return c->services[i]->service;
	return NULL;
}

static void
fleet_members_json(struct json *j, const struct control *c)
{
	const struct fleet *f;
	const char *reason;
	bool ready;

	if (c->store->fleet == NULL) {
		json_null(j, "fleet");
		return;
	}
	f = c->store->fleet(c->store);
	ready = control_ready(c, &reason);
	json_array(j, "fleet");
	for (size_t i = 0; i < f->n; i++) {
		const struct fleet_member *m = &f->members[i];
		double age = m->self ? 0 : ((double)f->now_us - (double)m->at_us) / 1e6 + (clock_now() - f->now);
		unsigned behind = 0;

		for (size_t k = 0; k < m->n; k++) {
			const struct service *s = service_at(c, k, m->services[k].name);

			/* What this one is, it knows better than its heartbeat does. */
			behind += s != NULL &&
				  (m->self ? s->applied_epoch : m->services[k].applied) < s->record.epoch;
		}
		json_object(j, NULL);
		json_cstr(j, "id", m->id);
		json_cstr(j, "host", m->host);
		json_cstr(j, "version", m->version);
		json_bool(j, "self", m->self);
		json_bool(j, "ready", m->self ? ready : m->ready);
		json_bool(j, "missing", m->missing);
		json_double(j, "age", age > 0 ? round(age) : 0);
		json_u64(j, "behind", behind);
		json_object_end(j);
	}
	json_array_end(j);
}

static void
flip_json(struct json *j, const struct history_flip *p)
{
	json_object(j, NULL);
	json_u64(j, "id", p->id);
	json_cstr(j, "service", p->service);
	json_i64(j, "at", p->at_us / 1000);
	json_cstr(j, "kind", change_word(p->kind));
	json_cstr(j, "to", color_word(p->to));
	json_u64(j, "epoch", p->epoch);
	json_cstr(j, "by", p->by);
	json_cstr(j, "reason", p->reason[0] != '\0' ? p->reason : NULL);
	json_cstr(j, "result", p->result);
	json_bool(j, "refused", p->refused);
	json_u64(j, "times", p->times);
	json_cstr(j, "message", p->message[0] != '\0' ? p->message : NULL);
	json_double(j, "drain_seconds", tidy(p->drain_seconds));
	json_u64(j, "cut", p->cut);
	json_object_end(j);
}

/* Those that changed since `than`, oldest first. */
static void
flips_json(struct json *j, const struct history *p, uint64_t than)
{
	json_array(j, "flips");
	for (uint64_t id = history_oldest_flip(p); id <= p->n_flips; id++)
		if (history_flip(p, id)->changed > than)
			flip_json(j, history_flip(p, id));
	json_array_end(j);
}

/* What moves all the time, in an order that the page knows. */
struct numbers {
	uint64_t count[4];	/* connections of both colors, waiting, left to drain */
	double rate[10];	/* begun, in, out of both colors; failed, answered with 5xx; gone wrong of both colors */
	struct history_latency_point latency;
};

static void
read_numbers(const struct feed *f, size_t i, struct numbers *n)
{
	const struct service_ctl *ctl = f->control->services[i];
	const struct history_rates *r = &f->history->services[i]->rates;
	const struct service *s = ctl->service;

	memset(n, 0, sizeof(*n));	/* it is hashed */
	n->count[0] = service_connections(s, ENTRANCE_MAIN, GREEN);
	n->count[1] = service_connections(s, ENTRANCE_MAIN, BLUE);
	n->count[2] = service_waiting(s);
	if (ctl->drain != NULL)
		n->count[3] = engines_count(ctl, ctl->drain->color);
	for (int c = GREEN; c < COLORS; c++) {
		n->rate[c] = tidy(r->begun[c]);
		n->rate[2 + c] = tidy(r->in[c]);
		n->rate[4 + c] = tidy(r->out[c]);
		n->rate[8 + c] = tidy(r->bad[c]);
	}
	n->rate[6] = tidy(r->failed);
	n->rate[7] = tidy(r->errors);
	if (f->history->n_points > 0)
		n->latency = history_latency(f->history, i, 0);
}

/* Milliseconds, of which three digits could be seen; null: nothing was observed. */
static void
latency_json(struct json *j, uint32_t us)
{
	double ms = us / 1000.0, digits = ms < 1 ? 1000 : ms < 10 ? 100 : ms < 100 ? 10 : 1;

	if (us == 0)
		json_null(j, NULL);
	else
		json_double(j, NULL, round(ms * digits) / digits);
}

static void
numbers_json(struct json *j, const char *key, const struct numbers *n)
{
	json_array(j, key);
	for (size_t i = 0; i < ARRAY_LEN(n->count); i++)
		json_u64(j, NULL, n->count[i]);
	for (size_t i = 0; i < ARRAY_LEN(n->rate); i++)
		json_double(j, NULL, n->rate[i]);
	for (int c = GREEN; c < COLORS; c++)
		latency_json(j, n->latency.p50[c]);
	for (int c = GREEN; c < COLORS; c++)
		latency_json(j, n->latency.p99[c]);
	json_array_end(j);
}

static void
backend_connections_json(struct json *j, const char *key, const struct service *s)
{
	json_array(j, key);
	for (int c = GREEN; c < COLORS; c++) {
		json_array(j, NULL);
		for (size_t i = 0; i < s->colors[c].n; i++)
			json_u64(j, NULL,
				 atomic_load_explicit(&s->colors[c].backends[i]->connections,
						      memory_order_relaxed));
		json_array_end(j);
	}
	json_array_end(j);
}

static bool
all_zero(const struct history *p, size_t service, enum history_line line, enum color c)
{
	for (size_t ago = 0; ago < p->n_points; ago++)
		if (history_value(p, service, ago, line, c) != 0)
			return false;
	return true;
}

static void
point_json(struct json *j, enum history_line line, uint32_t v)
{
	switch (line) {
	case HISTORY_CONNECTIONS: json_u64(j, NULL, v); return;
	case HISTORY_RATE:
	case HISTORY_BAD: json_double(j, NULL, v / 10.0); return;
	case HISTORY_P50:
	case HISTORY_P99: latency_json(j, v); return;
	}
}

/* Points of one line and color, oldest first; null: nothing ever happened. */
static void
points_json(struct json *j, const struct history *p, size_t service, enum history_line line, enum color c)
{
	if (all_zero(p, service, line, c)) {
		json_null(j, NULL);
		return;
	}
	json_array(j, NULL);
	for (size_t ago = p->n_points; ago-- > 0;)
		point_json(j, line, history_value(p, service, ago, line, c));
	json_array_end(j);
}

/* Of both colors connections, rates, what went wrong, and latency. */
static void
history_json(struct json *j, const struct history *p, size_t service)
{
	json_array(j, "history");
	for (enum history_line line = HISTORY_CONNECTIONS; line <= HISTORY_P99; line++)
		for (enum color c = GREEN; c < COLORS; c++)
			points_json(j, p, service, line, c);
	json_array_end(j);
}

/* -- what has changed ------------------------------------------------------- */

static uint64_t
settled_hash(const struct service_ctl *ctl)
{
	const struct service *s = ctl->service;
	const struct record *r = &s->record;
	bool claimed = claim_holds(ctl);
	const uint64_t own[] = { claimed,           claimed ? (uint64_t)r->claim.until_us : 0,
				 s->known,           s->colorless,       r->epoch,
				 (uint64_t)r->at_us, r->color,
				 r->lock.on,         (uint64_t)r->lock.at_us,
				 s->applied_epoch,   (uint64_t)(uintptr_t)ctl->drain,
				 s->colors[GREEN].n, s->colors[BLUE].n,
				 s->known && trouble_may_flip(ctl, NULL), trouble_count(ctl) };
	uint64_t h =
		hash_bytes(own, sizeof(own), ctl->drain != NULL ? (uint64_t)(ctl->drain->deadline * 1000) : 0);

	for (int c = GREEN; c < COLORS; c++)
		for (size_t i = 0; i < s->colors[c].n; i++) {
			const struct backend *b = s->colors[c].backends[i];
			const uint64_t one[] = {
				(uint64_t)(uintptr_t)b, b->state, (uint64_t)b->since_us, b->drain, backend_weight(b),
				b->ejected_until > 0, b->node_down, b->endpoints, b->agent.drain, b->agent.silent,
				hash_bytes(b->agent.said, strlen(b->agent.said), 0)
			};

			h = hash_bytes(one, sizeof(one), h);
			if (b->error[0] != '\0')
				h = hash_bytes(b->error, strlen(b->error), h);
		}
	return h;
}

static uint64_t
backends_hash(const struct service *s)
{
	uint64_t h = 0;

	for (int c = GREEN; c < COLORS; c++)
		for (size_t i = 0; i < s->colors[c].n; i++)
			h = h * 0x9e3779b97f4a7c15u +
			    atomic_load_explicit(&s->colors[c].backends[i]->connections,
						 memory_order_relaxed) +
			    1;
	return h;
}

/* Writes a part; takes it back when it is what was told last. */
static void
if_news(struct json *j, const struct control *c, void (*part)(struct json *j, const struct control *c),
	uint64_t *seen)
{
	struct buf text;
	struct json own;
	uint64_t hash;

	buf_init(&text, FRAME_MAX);
	json_init(&own, &text);
	part(&own, c);
	hash = hash_bytes(buf_str(&text).p, buf_len(&text), 0);
	if (hash != *seen) {
		*seen = hash;
		part(j, c);
	}
	buf_free(&text);
}

/* {"3":…} for each service whose part has changed; the key is its place. */
static void
changed_services(struct feed *f, struct json *j)
{
	const struct control *c = f->control;
	char key[24];

	json_object(j, "services");
	for (size_t i = 0; i < c->n; i++) {
		uint64_t h = settled_hash(c->services[i]);

		if (h == f->seen[i].settled)
			continue;
		f->seen[i].settled = h;
		snprintf(key, sizeof(key), "%zu", i);
		status_service_json(j, key, c->services[i], STATUS_FULL);
	}
	json_object_end(j);
}

static void
changed_numbers(struct feed *f, struct json *j)
{
	struct numbers n;
	char key[24];

	json_object(j, "numbers");
	for (size_t i = 0; i < f->control->n; i++) {
		uint64_t h;

		read_numbers(f, i, &n);
		h = hash_bytes(&n, sizeof(n), 1);
		if (h == f->seen[i].numbers)
			continue;
		f->seen[i].numbers = h;
		snprintf(key, sizeof(key), "%zu", i);
		numbers_json(j, key, &n);
	}
	json_object_end(j);
}

static void
changed_backends(struct feed *f, struct json *j)
{
	char key[24];

	json_object(j, "backends");
	for (size_t i = 0; i < f->control->n; i++) {
		const struct service *s = f->control->services[i]->service;
		uint64_t h = backends_hash(s);

		if (h == f->seen[i].backends)
			continue;
		f->seen[i].backends = h;
		snprintf(key, sizeof(key), "%zu", i);
		backend_connections_json(j, key, s);
	}
	json_object_end(j);
}

/* What is the same as last time is taken back. */
static void
changed_quality(struct feed *f, struct json *j)
{
	struct buf text;
	struct json one;
	char key[24];

	buf_init(&text, FRAME_MAX);
	json_object(j, "quality");
	for (size_t i = 0; i < f->control->n; i++) {
		uint64_t h;

		json_init(&one, &text);
		quality_json_short(&one, NULL, f->control->services[i]);
		h = hash_bytes(buf_str(&text).p, buf_len(&text), 0);
		if (h != f->seen[i].quality) {
			f->seen[i].quality = h;
			snprintf(key, sizeof(key), "%zu", i);
			json_raw(j, key, buf_str(&text));
		}
		buf_clear(&text);
	}
	json_object_end(j);
	buf_free(&text);
}

/* A client that reaches the page may see all of it. */
static void
nodes_json(struct json *j, const struct control *c)
{
	status_nodes_json(j, c, NULL, false);
}

static void
store_json(struct json *j, const struct control *c)
{
	status_store_json(j, c, NULL);
}

/* -- the two kinds of frames ------------------------------------------------ */

struct frame *
feed_snapshot(struct feed *f)
{
	const struct control *c = f->control;
	struct numbers n;
	struct buf text;
	struct json j;

	nodes_look(f->control);
	history_follow(f->history);
	if (f->snapshot == NULL && f->bytes < FEED_BYTES_MAX) {
		buf_init(&text, FRAME_MAX);
		json_init(&j, &text);
		json_object(&j, NULL);
		json_i64(&j, "now", wall_ms());
		json_u64(&j, "window", HISTORY_POINTS);
		json_double(&j, "step", HISTORY_STEP);
		json_u64(&j, "points", f->history->n_points);
		json_i64(&j, "sampled", f->history->sampled_us / 1000);
		teald_json(&j, c);
		store_json(&j, c);
		status_engines_json(&j, c);
		fleet_members_json(&j, c);
		nodes_json(&j, c);
		flips_json(&j, f->history, 0);
		json_array(&j, "services");
		for (size_t i = 0; i < c->n; i++) {
			json_object(&j, NULL);
			status_service_json(&j, "service", c->services[i], STATUS_FULL);
			read_numbers(f, i, &n);
			numbers_json(&j, "numbers", &n);
			quality_json_short(&j, "quality", c->services[i]);
			history_json(&j, f->history, i);
			json_object_end(&j);
		}
		json_array_end(&j);
		json_object_end(&j);
		f->snapshot = frame_new(f, "snapshot", &text);
	}
	if (f->snapshot != NULL)
		f->snapshot->refs++;
	return f->snapshot;
}

static struct frame *
changes(struct feed *f)
{
	struct buf text;
	struct json j;

	nodes_look(f->control);
	buf_init(&text, FRAME_MAX);
	json_init(&j, &text);
	json_object(&j, NULL);
	json_i64(&j, "now", wall_ms());
	if_news(&j, f->control, teald_json, &f->teald);
	if_news(&j, f->control, store_json, &f->store);
	if_news(&j, f->control, status_engines_json, &f->kernel);
	if_news(&j, f->control, fleet_members_json, &f->fleet);
	if_news(&j, f->control, nodes_json, &f->nodes);
	if (f->history->changes > f->flips) {
		flips_json(&j, f->history, f->flips);
		f->flips = f->history->changes;
	}
	changed_services(f, &j);
	changed_numbers(f, &j);
	if (f->points > 0) {
		/* Who draws takes the numbers of this frame as so many new points. */
		json_u64(&j, "points", f->points);
		json_i64(&j, "sampled", f->history->sampled_us / 1000);
		changed_backends(f, &j);
		changed_quality(f, &j);
		f->points = 0;
	}
	json_object_end(&j);
	return frame_new(f, "delta", &text);
}

/* The places in the list mean other services now. */
static void
follow_list(struct feed *f)
{
	history_follow(f->history);
	f->list_changes = f->control->list_changes;
	free(f->seen);
	f->seen = must_array(f->control->n + 1, sizeof(*f->seen));
	feed_begin(f);
}

void
feed_renew(struct feed *f)
{
	frame_unref(&f->snapshot);
	f->list_changes = UINT64_MAX;
}

struct frame *
feed_delta(struct feed *f)
{
	frame_unref(&f->snapshot);
	if (f->list_changes == f->control->list_changes)
		return changes(f);
	follow_list(f);
	return feed_snapshot(f);
}

void
feed_begin(struct feed *f)
{
	struct frame *frame;

	if (f->list_changes != f->control->list_changes) {
		follow_list(f);
		return;
	}
	frame_unref(&f->snapshot);
	f->points = 1;	/* all that a delta can have */
	frame = changes(f);
	frame_unref(&frame);
}

void
feed_open(struct feed *f, struct control *c, struct history *history)
{
	*f = (struct feed){ .control = c, .history = history, .list_changes = c->list_changes };
	f->seen = must_array(c->n + 1, sizeof(*f->seen));
}

void
feed_close(struct feed *f)
{
	frame_unref(&f->snapshot);
	free(f->seen);
	f->seen = NULL;
}
