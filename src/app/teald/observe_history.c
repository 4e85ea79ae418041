/* observe_history.c - samples and flips, for the status page.  Thread: main. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/teald/observe_history.h"
#include "base/clock.h"

/* -- samples ---------------------------------------------------------------- */

/* The workers add while we read, one counter after the other. */
static double
rate(uint64_t now, uint64_t before, double seconds)
{
	return now > before ? (double)(now - before) / seconds : 0;
}

static uint32_t
clamp(double v)
{
	return v < UINT32_MAX ? (uint32_t)v : UINT32_MAX;
}

static void
read_observed(const struct service *s, struct history_observed *out)
{
	const struct tally_color *t;

	*out = (struct history_observed){ .count = { { 0 } } };
	for (int c = GREEN; c < COLORS; c++)
		for (unsigned k = 0; (t = service_tally(s, ENTRANCE_MAIN, (enum color)c, k)) != NULL; k++) {
			const struct tally_histogram *h = t->http != NULL ? &t->http->first_byte_seconds : &t->connect_seconds;

			for (unsigned i = 0; i <= TALLY_BUCKETS; i++)
				out->count[c][i] += (uint32_t)tally_read(&h->count[i]);
		}
}

static uint32_t
quantile_us(const struct quality_figures *f, bool http, double p)
{
	double seconds;

	if (!quality_quantile(f, http, p, &seconds))
		return 0;
	return seconds > 1e-6 ? clamp(round(seconds * 1e6)) : 1;
}

/* Nothing was observed before what was sampled last. */
static struct history_latency *
history_latency_new(const struct history_service *v)
{
	struct history_latency *l = must_alloc(sizeof(*l));

	for (unsigned i = 0; i < HISTORY_LATENCY_SAMPLES; i++)
		l->samples[i] = v->observed;
	return l;
}

static void
sample_latency(const struct service *s, struct history_service *v)
{
	struct history_latency_point *point = &v->next_latency;
	const struct history_observed *before;
	struct history_latency *l = v->latency;
	struct history_observed now;

	read_observed(s, &now);
	if (l == NULL) {
		if (memcmp(&now, &v->observed, sizeof(now)) == 0)
			return;
		l = v->latency = history_latency_new(v);
	}
	v->observed = now;
	l->newest = (l->newest + 1) % HISTORY_LATENCY_SAMPLES;
	before = &l->samples[l->newest];
	for (int c = GREEN; c < COLORS; c++) {
		struct quality_figures f = { .seconds = 0 };

		for (unsigned i = 0; i <= TALLY_BUCKETS; i++)
			f.sum.buckets[i] = quality_growth(now.count[c][i], before->count[c][i]);
		point->p50[c] = quantile_us(&f, s->config->mode == MODE_HTTP, 0.5);
		point->p99[c] = quantile_us(&f, s->config->mode == MODE_HTTP, 0.99);
	}
	l->samples[l->newest] = now;
}

static void
sample_service(struct history *p, size_t i, double seconds)
{
	const struct service *s = p->control->services[i]->service;
	struct history_service *v = p->services[i];
	struct service_totals now;

	service_totals(s, &now);
	for (int color = GREEN; color < COLORS; color++) {
		v->rates.begun[color] = rate(now.begun[color], v->totals.begun[color], seconds);
		v->rates.in[color] = rate(now.in[color], v->totals.in[color], seconds);
		v->rates.out[color] = rate(now.out[color], v->totals.out[color], seconds);
		v->rates.bad[color] = rate(now.bad[color], v->totals.bad[color], seconds);
		v->next.connections[color] =
			clamp((double)service_connections(s, ENTRANCE_MAIN, (enum color)color));
		v->next.rate[color] = clamp(round(v->rates.begun[color] * 10));
		v->next.bad[color] = clamp(round(v->rates.bad[color] * 10));
	}
	v->rates.failed = rate(now.failed, v->totals.failed, seconds);
	v->rates.errors = rate(now.errors, v->totals.errors, seconds);
	v->totals = now;
	sample_latency(s, v);
}

static struct history_service *
history_service_new(const struct service_ctl *ctl)
{
	struct history_service *v = must_alloc(sizeof(*v));

	v->serial = ctl->serial;
	service_totals(ctl->service, &v->totals);
	read_observed(ctl->service, &v->observed);
	return v;
}

static void
history_service_free(struct history_service *v)
{
	free(v->latency);
	free(v);
}

/* Both lists are sorted by serial. */
void
history_follow(struct history *p)
{
	const struct control *c = p->control;
	struct history_service **now;
	size_t old = 0;

	if (p->list_changes == c->list_changes)
		return;
	now = must_array(c->n + 1, sizeof(*now));
	for (size_t i = 0; i < c->n; i++) {
		while (old < p->n && p->services[old]->serial < c->services[i]->serial)
			history_service_free(p->services[old++]);
		if (old < p->n && p->services[old]->serial == c->services[i]->serial)
			now[i] = p->services[old++];
		else
			now[i] = history_service_new(c->services[i]);
	}
	while (old < p->n)
		history_service_free(p->services[old++]);
	free(p->services);
	p->services = now;
	p->n = c->n;
	p->list_changes = c->list_changes;
}

/* A sample of all begins, as of `now`; false: no time has passed.  One that comes late, because main was busy or the
 * machine slept, stands for all that were missed: the points keep their distance. */
static bool
begin_sample(struct history *p, double now)
{
	double points = round((now - p->sampled) / HISTORY_STEP);

	if (now <= p->sampled)
		return false;
	p->next_points = points < 1 ? 1 : points < HISTORY_POINTS ? (unsigned)points : HISTORY_POINTS;
	p->next_serial = 0;
	p->next_sampled = now;
	return true;
}

/* All have been looked at: what they had is a point now. */
static void
finish_sample(struct history *p)
{
	unsigned points = p->next_points;

	for (size_t i = 0; i < p->n; i++) {
		struct history_service *v = p->services[i];

		for (unsigned k = 1; k <= points; k++) {
			v->points[(p->newest + k) % HISTORY_POINTS] = v->next;
			if (v->latency != NULL)
				v->latency->points[(p->newest + k) % HISTORY_POINTS] = v->next_latency;
		}
	}
	p->newest = (p->newest + points) % HISTORY_POINTS;
	p->n_points = p->n_points + points < HISTORY_POINTS ? p->n_points + points : HISTORY_POINTS;
	p->own_points = p->own_points + points < HISTORY_POINTS ? p->own_points + points : HISTORY_POINTS;
	p->sampled = p->next_sampled;
	p->sampled_us = clock_wall_us();
	p->next_points = 0;
	if (p->on_sample != NULL)
		p->on_sample(p->arg, points);
}

/* So many more of them; false: there are more. */
static bool
go_on_sampling(struct history *p, size_t most)
{
	const struct control *c = p->control;
	size_t i;

	history_follow(p);
	for (i = control_from(c, p->next_serial); i < c->n && most > 0; i++, most--) {
		sample_service(p, i, p->next_sampled - p->sampled);
		p->next_serial = c->services[i]->serial + 1;
	}
	if (i < c->n)
		return false;
	finish_sample(p);
	return true;
}

void
history_sample(struct history *p, double now)
{
	/* Main had no time for the rest of the one before. */
	if (p->next_points > 0)
		(void)go_on_sampling(p, SIZE_MAX);
	if (begin_sample(p, now))
		(void)go_on_sampling(p, SIZE_MAX);
}

static void
history_on_step(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct history *p = container_of(t, struct history, step);

	(void)revents;
	if (p->next_points > 0 && !go_on_sampling(p, p->slice)) {
		ev_timer_set(t, 0.0, 0.0);
		ev_timer_start(loop, t);
	}
}

/* Of a thousand services it takes milliseconds: in slices. */
static void
history_on_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct history *p = container_of(t, struct history, timer);

	if (p->next_points > 0)
		(void)go_on_sampling(p, SIZE_MAX);
	if (begin_sample(p, clock_now()))
		history_on_step(loop, &p->step, revents);
}

const struct history_point *
history_point(const struct history *p, size_t service, size_t ago)
{
	CHECK(ago < p->n_points);
	return &p->services[service]->points[(p->newest + HISTORY_POINTS - ago) % HISTORY_POINTS];
}

struct history_latency_point
history_latency(const struct history *p, size_t service, size_t ago)
{
	const struct history_latency *l = p->services[service]->latency;

	CHECK(ago < p->n_points);
	return l != NULL ? l->points[(p->newest + HISTORY_POINTS - ago) % HISTORY_POINTS] :
			   (struct history_latency_point){ .p50 = { 0 } };
}

uint32_t
history_value(const struct history *p, size_t service, size_t ago, enum history_line line, enum color c)
{
	switch (line) {
	case HISTORY_CONNECTIONS: return history_point(p, service, ago)->connections[c];
	case HISTORY_RATE: return history_point(p, service, ago)->rate[c];
	case HISTORY_BAD: return history_point(p, service, ago)->bad[c];
	case HISTORY_P50: return history_latency(p, service, ago).p50[c];
	case HISTORY_P99: return history_latency(p, service, ago).p99[c];
	}
	return 0;
}

uint32_t *
history_place(struct history *p, size_t service, size_t ago, enum history_line line, enum color c)
{
	size_t at = (p->newest + HISTORY_POINTS - ago) % HISTORY_POINTS;
	struct history_service *v = p->services[service];

	if (line >= HISTORY_P50 && v->latency == NULL)
		v->latency = history_latency_new(v);
	switch (line) {
	case HISTORY_CONNECTIONS: return &v->points[at].connections[c];
	case HISTORY_RATE: return &v->points[at].rate[c];
	case HISTORY_BAD: return &v->points[at].bad[c];
	case HISTORY_P50: return &v->latency->points[at].p50[c];
	case HISTORY_P99: break;
	}
	return &v->latency->points[at].p99[c];
}

/* -- flips ------------------------------------------------------------------ */

/* How a flip that changed something is doing. */
static const char applying[] = "applying", applied[] = "applied", draining[] = "draining",
		  drained[] = "drained", kept[] = "kept", superseded[] = "superseded";

static struct history_flip *
at(struct history *p, uint64_t id)
{
	return &p->flips[id % HISTORY_FLIPS];
}

const struct history_flip *
history_flip(const struct history *p, uint64_t id)
{
	const struct history_flip *f = &p->flips[id % HISTORY_FLIPS];

	return id > 0 && f->id == id ? f : NULL;
}

uint64_t
history_oldest_flip(const struct history *p)
{
	return p->n_flips < HISTORY_FLIPS ? 1 : p->n_flips - HISTORY_FLIPS + 1;
}

static struct history_flip *
new_flip(struct history *p, const struct service *s)
{
	struct history_flip *f = at(p, ++p->n_flips);

	memset(f, 0, sizeof(*f));
	f->id = p->n_flips;
	f->changed = ++p->changes;
	f->times = 1;
	f->kind = CHANGE_FLIP;
	str_copy(f->service, sizeof(f->service), str_from(s->config->name));
	return f;
}

/* The change that made the service's epoch what it was then. */
static struct history_flip *
flip_of(struct history *p, const struct service *s, uint64_t epoch)
{
	for (uint64_t id = p->n_flips; id >= history_oldest_flip(p); id--)
		if (!at(p, id)->refused && at(p, id)->epoch == epoch &&
		    strcmp(at(p, id)->service, s->config->name) == 0)
			return at(p, id);
	return NULL;
}

/* What the record says of its last change of color. */
static void
remember_record(struct history *p, const struct service *s, const char *result)
{
	const struct record *r = &s->record;
	struct history_flip *f = new_flip(p, s);

	f->kind = r->change;
	f->at_us = r->at_us;
	f->to = r->color;
	f->epoch = r->epoch;
	memcpy(f->by, r->by, sizeof(f->by));
	memcpy(f->reason, r->reason, sizeof(f->reason));
	f->result = result;
}

static struct str
text_of(const struct log_field *fields, const char *key)
{
	for (; fields->type != LOG_END; fields++)
		if (fields->type == LOG_STR && strcmp(fields->key, key) == 0)
			return fields->v.s;
	return STR("");
}

static double
number_of(const struct log_field *fields, const char *key)
{
	for (; fields->type != LOG_END; fields++)
		if (fields->key != NULL && strcmp(fields->key, key) == 0)
			return fields->type == LOG_DOUBLE ? fields->v.d :
			       fields->type == LOG_U64    ? (double)fields->v.u :
							    0;
	return 0;
}

/* The last one of the service, where that was refused in the same way: a pipeline that tries again and again must
 * not push out what happened. */
static struct history_flip *
same_refusal(struct history *p, const struct service *s, enum color to, const char *result, struct str by)
{
	for (uint64_t id = p->n_flips; id >= history_oldest_flip(p); id--)
		if (strcmp(at(p, id)->service, s->config->name) == 0) {
			struct history_flip *f = at(p, id);

			return f->refused && f->to == to && f->result == result && str_eq(by, f->by) ? f : NULL;
		}
	return NULL;
}

static void
remember_refusal(struct history *p, const struct service *s, const struct log_field *fields)
{
	enum color to = str_eq(text_of(fields, "to"), color_word(BLUE)) ? BLUE : GREEN;
	struct str by = text_of(fields, "by");
	struct history_flip *f;
	const char *result;
	char word[32];

	str_copy(word, sizeof(word), text_of(fields, "error"));
	result = err_word(err_from_word(word));
	if ((f = same_refusal(p, s, to, result, by)) != NULL) {
		f->times++;
		f->changed = ++p->changes;
	} else {
		f = new_flip(p, s);
	}
	f->at_us = clock_wall_us();
	f->to = to;
	str_copy(f->by, sizeof(f->by), by);
	str_copy(f->reason, sizeof(f->reason), text_of(fields, "reason"));
	str_copy(f->message, sizeof(f->message), text_of(fields, "message"));
	f->result = result;
	f->refused = true;
}

static void
history_become(struct history *p, struct history_flip *f, const char *result)
{
	if (f == NULL || f->result == result)
		return;
	f->result = result;
	f->changed = ++p->changes;
}

static void
remember_drained(struct history *p, struct history_flip *f, const struct log_field *fields)
{
	if (f == NULL)
		return;
	f->drain_seconds = number_of(fields, "seconds");
	f->cut = (uint64_t)number_of(fields, "cut");
	history_become(p, f, drained);
}

/* Somewhere in the fleet it was not applied: said, while its life goes on. */
static void
remember_laggards(struct history *p, struct history_flip *f, const struct log_field *fields)
{
	struct str late = text_of(fields, "late");

	if (f == NULL)
		return;
	snprintf(f->message, sizeof(f->message), "not applied by %.*s", (int)late.n, late.p);
	f->changed = ++p->changes;
}

static void
history_on_flip(struct history *p, const char *event, const struct service *s, const struct log_field *fields)
{
	struct history_flip *f = flip_of(p, s, (uint64_t)number_of(fields, "epoch"));

	if (strcmp(event, "flip.applying") == 0) {
		for (uint64_t id = history_oldest_flip(p); id <= p->n_flips; id++)
			if (at(p, id)->result == applying && strcmp(at(p, id)->service, s->config->name) == 0)
				history_become(p, at(p, id), superseded);
		remember_record(p, s, applying);
	} else if (strcmp(event, "flip.applied") == 0) {
		history_become(p, f, applied);
	} else if (strcmp(event, "flip.draining") == 0) {
		history_become(p, f, draining);
	} else if (strcmp(event, "flip.drained") == 0) {
		remember_drained(p, f, fields);
	} else if (strcmp(event, "flip.drain_cancelled") == 0) {
		history_become(p, f, kept);
	} else if (strcmp(event, "flip.refused") == 0) {
		remember_refusal(p, s, fields);
	} else if (strcmp(event, "flip.partial_fleet") == 0) {
		remember_laggards(p, f, fields);
	}
}

const char *
history_result(const char *word)
{
	static const char *const all[] = { applying, applied, draining, drained, kept, superseded };

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (strcmp(word, all[i]) == 0)
			return all[i];
	return NULL;
}

static int
by_moment(const void *a, const void *b)
{
	const struct history_flip *x = a, *y = b;

	return (x->at_us > y->at_us) - (x->at_us < y->at_us);
}

/* Both know of that change of color. */
static bool
is_same_flip(const struct history_flip *a, const struct history_flip *b)
{
	return !a->refused && !b->refused && a->epoch == b->epoch && strcmp(a->service, b->service) == 0;
}

void
history_put_before(struct history *p, const struct history_flip *flips, size_t n)
{
	struct history_flip *all = must_array(n + HISTORY_FLIPS, sizeof(*all));
	size_t k = 0;

	for (uint64_t id = history_oldest_flip(p); id <= p->n_flips; id++)
		all[k++] = *at(p, id);
	for (size_t i = 0; i < n; i++) {
		size_t same = 0;

		while (same < k && !is_same_flip(&all[same], &flips[i]))
			same++;
		/* Of the record alone no more is known than that. */
		if (same == k || all[same].result == applied)
			all[same] = flips[i];
		k += same == k;
	}
	qsort(all, k, sizeof(*all), by_moment);
	p->n_flips = 0;
	for (size_t i = k > HISTORY_FLIPS ? k - HISTORY_FLIPS : 0; i < k; i++) {
		struct history_flip *f = at(p, ++p->n_flips);

		*f = all[i];
		f->id = p->n_flips;
		f->changed = ++p->changes;
	}
	free(all);
}

static void remember_before(struct history *p);

static void
history_on_event(struct bus_listener *l, enum log_level level, const char *event, const struct service *s,
	      const struct log_field *fields)
{
	struct history *p = container_of(l, struct history, listener);

	(void)level;
	if (s != NULL && strncmp(event, "flip.", 5) == 0)
		history_on_flip(p, event, s, fields);
	else if (strcmp(event, "teald.serving") == 0)
		remember_before(p);
	if (p->on_news != NULL)
		p->on_news(p->arg);
}

/* -- life ------------------------------------------------------------------- */

static int
by_time(const void *a, const void *b)
{
	const struct service *const *x = a, *const *y = b;

	return ((*x)->record.at_us > (*y)->record.at_us) - ((*x)->record.at_us < (*y)->record.at_us);
}

/* What the store remembers of before this start: the last change of each
 * service, oldest first. */
static void
remember_before(struct history *p)
{
	const struct control *c = p->control;
	const struct service **all = must_array(c->n + 1, sizeof(*all));
	size_t n = 0;

	for (size_t i = 0; i < c->n; i++)
		if (c->services[i]->service->known && c->services[i]->service->record.change != CHANGE_INITIAL &&
		    flip_of(p, c->services[i]->service, c->services[i]->service->record.epoch) == NULL)
			all[n++] = c->services[i]->service;
	qsort(all, n, sizeof(*all), by_time);
	for (size_t i = n > HISTORY_FLIPS ? n - HISTORY_FLIPS : 0; i < n; i++)
		remember_record(p, all[i], applied);
	free(all);
}

void
history_open(struct history *p, struct control *c)
{
	*p = (struct history){ .control = c, .slice = HISTORY_SLICE, .sampled = clock_now(), .sampled_us = clock_wall_us() };
	history_follow(p);
	if (c->life != LIFE_STARTING)
		remember_before(p);
	p->listener.hear = history_on_event;
	bus_listen(&c->bus, &p->listener);
	ev_timer_init(&p->step, history_on_step, 0.0, 0.0);
	ev_timer_init(&p->timer, history_on_timer, HISTORY_STEP, HISTORY_STEP);
	ev_timer_start(c->loop, &p->timer);
}

void
history_close(struct history *p)
{
	if (p->control == NULL)
		return;
	ev_timer_stop(p->control->loop, &p->timer);
	ev_timer_stop(p->control->loop, &p->step);
	bus_leave(&p->listener);
	while (p->n > 0)
		history_service_free(p->services[--p->n]);
	free(p->services);
	p->control = NULL;
}
