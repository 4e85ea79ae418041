/* observe_past.c - samples and flips, for the status page.  Thread: main. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/teald/observe_past.h"
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
sample_service(struct past *p, size_t i, double seconds, unsigned points)
{
	const struct service *s = p->control->services[i]->service;
	struct past_service *v = p->services[i];
	struct past_point point;
	struct service_totals now;

	service_totals(s, &now);
	for (int color = GREEN; color < COLORS; color++) {
		v->rates.begun[color] = rate(now.begun[color], v->totals.begun[color], seconds);
		v->rates.in[color] = rate(now.in[color], v->totals.in[color], seconds);
		v->rates.out[color] = rate(now.out[color], v->totals.out[color], seconds);
		point.connections[color] =
			clamp((double)service_connections(s, ENTRANCE_MAIN, (enum color)color));
		point.rate[color] = clamp(round(v->rates.begun[color] * 10));
	}
	v->rates.failed = rate(now.failed, v->totals.failed, seconds);
	v->rates.errors = rate(now.errors, v->totals.errors, seconds);
	v->totals = now;
	for (unsigned k = 1; k <= points; k++)
		v->points[(p->newest + k) % PAST_POINTS] = point;
}

static struct past_service *
past_service_new(const struct service_ctl *ctl)
{
	struct past_service *v = must_alloc(sizeof(*v));

	v->serial = ctl->serial;
	service_totals(ctl->service, &v->totals);
	return v;
}

/* Both lists are sorted by serial. */
void
past_follow(struct past *p)
{
	const struct control *c = p->control;
	struct past_service **now;
	size_t old = 0;

	if (p->list_changes == c->list_changes)
		return;
	now = must_array(c->n + 1, sizeof(*now));
	for (size_t i = 0; i < c->n; i++) {
		while (old < p->n && p->services[old]->serial < c->services[i]->serial)
			free(p->services[old++]);
		if (old < p->n && p->services[old]->serial == c->services[i]->serial)
			now[i] = p->services[old++];
		else
			now[i] = past_service_new(c->services[i]);
	}
	while (old < p->n)
		free(p->services[old++]);
	free(p->services);
	p->services = now;
	p->n = c->n;
	p->list_changes = c->list_changes;
}

void
past_sample(struct past *p, double now)
{
	double seconds = now - p->sampled;
	unsigned points;

	if (seconds <= 0)
		return;
	/* One that comes late, because main was busy or the machine slept, stands for
	 * all that were missed: the points keep their distance. */
	points = clamp(round(seconds / PAST_STEP));
	past_follow(p);
	points = points < 1 ? 1 : points < PAST_POINTS ? points : PAST_POINTS;
	for (size_t i = 0; i < p->control->n; i++)
		sample_service(p, i, seconds, points);
	p->newest = (p->newest + points) % PAST_POINTS;
	p->n_points = p->n_points + points < PAST_POINTS ? p->n_points + points : PAST_POINTS;
	p->sampled = now;
	p->sampled_us = clock_wall_us();
	if (p->on_sample != NULL)
		p->on_sample(p->arg, points);
}

static void
past_on_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
	(void)loop;
	(void)revents;
	past_sample(container_of(t, struct past, timer), clock_now());
}

const struct past_point *
past_point(const struct past *p, size_t service, size_t ago)
{
	CHECK(ago < p->n_points);
	return &p->services[service]->points[(p->newest + PAST_POINTS - ago) % PAST_POINTS];
}

/* -- flips ------------------------------------------------------------------ */

/* How a flip that changed something is doing. */
static const char applying[] = "applying", applied[] = "applied", draining[] = "draining",
		  drained[] = "drained", kept[] = "kept", superseded[] = "superseded";

static struct past_flip *
at(struct past *p, uint64_t id)
{
	return &p->flips[id % PAST_FLIPS];
}

const struct past_flip *
past_flip(const struct past *p, uint64_t id)
{
	const struct past_flip *f = &p->flips[id % PAST_FLIPS];

	return id > 0 && f->id == id ? f : NULL;
}

uint64_t
past_oldest_flip(const struct past *p)
{
	return p->n_flips < PAST_FLIPS ? 1 : p->n_flips - PAST_FLIPS + 1;
}

static struct past_flip *
new_flip(struct past *p, const struct service *s)
{
	struct past_flip *f = at(p, ++p->n_flips);

	memset(f, 0, sizeof(*f));
	f->id = p->n_flips;
	f->changed = ++p->changes;
	f->kind = CHANGE_FLIP;
	str_copy(f->service, sizeof(f->service), str_from(s->config->name));
	return f;
}

/* The change that made the service's epoch what it was then. */
static struct past_flip *
flip_of(struct past *p, const struct service *s, uint64_t epoch)
{
	for (uint64_t id = p->n_flips; id >= past_oldest_flip(p); id--)
		if (!at(p, id)->refused && at(p, id)->epoch == epoch &&
		    strcmp(at(p, id)->service, s->config->name) == 0)
			return at(p, id);
	return NULL;
}

/* What the record says of its last change of color. */
static void
remember_record(struct past *p, const struct service *s, const char *result)
{
	const struct record *r = &s->record;
	struct past_flip *f = new_flip(p, s);

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

static void
remember_refusal(struct past *p, const struct service *s, const struct log_field *fields)
{
	struct str error = text_of(fields, "error");
	struct past_flip *f = new_flip(p, s);
	char word[32];

	f->at_us = clock_wall_us();
	f->to = str_eq(text_of(fields, "to"), color_word(BLUE)) ? BLUE : GREEN;
	str_copy(f->by, sizeof(f->by), text_of(fields, "by"));
	str_copy(f->reason, sizeof(f->reason), text_of(fields, "reason"));
	str_copy(f->message, sizeof(f->message), text_of(fields, "message"));
	str_copy(word, sizeof(word), error);
	f->result = err_word(err_from_word(word));
	f->refused = true;
}

static void
become(struct past *p, struct past_flip *f, const char *result)
{
	if (f == NULL || f->result == result)
		return;
	f->result = result;
	f->changed = ++p->changes;
}

static void
remember_drained(struct past *p, struct past_flip *f, const struct log_field *fields)
{
	if (f == NULL)
		return;
	f->drain_seconds = number_of(fields, "seconds");
	f->cut = (uint64_t)number_of(fields, "cut");
	become(p, f, drained);
}

/* Somewhere in the fleet it was not applied: said, while its life goes on. */
static void
remember_laggards(struct past *p, struct past_flip *f, const struct log_field *fields)
{
	struct str late = text_of(fields, "late");

	if (f == NULL)
		return;
	snprintf(f->message, sizeof(f->message), "not applied by %.*s", (int)late.n, late.p);
	f->changed = ++p->changes;
}

static void
past_on_flip(struct past *p, const char *event, const struct service *s, const struct log_field *fields)
{
	struct past_flip *f = flip_of(p, s, (uint64_t)number_of(fields, "epoch"));

	if (strcmp(event, "flip.applying") == 0) {
		for (uint64_t id = past_oldest_flip(p); id <= p->n_flips; id++)
			if (at(p, id)->result == applying && strcmp(at(p, id)->service, s->config->name) == 0)
				become(p, at(p, id), superseded);
		remember_record(p, s, applying);
	} else if (strcmp(event, "flip.applied") == 0) {
		become(p, f, applied);
	} else if (strcmp(event, "flip.draining") == 0) {
		become(p, f, draining);
	} else if (strcmp(event, "flip.drained") == 0) {
		remember_drained(p, f, fields);
	} else if (strcmp(event, "flip.drain_cancelled") == 0) {
		become(p, f, kept);
	} else if (strcmp(event, "flip.refused") == 0) {
		remember_refusal(p, s, fields);
	} else if (strcmp(event, "flip.partial_fleet") == 0) {
		remember_laggards(p, f, fields);
	}
}

static void remember_before(struct past *p);

static void
past_on_event(struct bus_listener *l, const char *event, const struct service *s,
	      const struct log_field *fields)
{
	struct past *p = container_of(l, struct past, listener);

	if (s != NULL && strncmp(event, "flip.", 5) == 0)
		past_on_flip(p, event, s, fields);
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
remember_before(struct past *p)
{
	const struct control *c = p->control;
	const struct service **all = must_array(c->n + 1, sizeof(*all));
	size_t n = 0;

	for (size_t i = 0; i < c->n; i++)
		if (c->services[i]->service->known && c->services[i]->service->record.change != CHANGE_INITIAL &&
		    flip_of(p, c->services[i]->service, c->services[i]->service->record.epoch) == NULL)
			all[n++] = c->services[i]->service;
	qsort(all, n, sizeof(*all), by_time);
	for (size_t i = n > PAST_FLIPS ? n - PAST_FLIPS : 0; i < n; i++)
		remember_record(p, all[i], applied);
	free(all);
}

void
past_open(struct past *p, struct control *c)
{
	*p = (struct past){ .control = c, .sampled = clock_now(), .sampled_us = clock_wall_us() };
	past_follow(p);
	if (c->life != LIFE_STARTING)
		remember_before(p);
	p->listener.hear = past_on_event;
	bus_listen(&c->bus, &p->listener);
	ev_timer_init(&p->timer, past_on_timer, PAST_STEP, PAST_STEP);
	ev_timer_start(c->loop, &p->timer);
}

void
past_close(struct past *p)
{
	if (p->control == NULL)
		return;
	ev_timer_stop(p->control->loop, &p->timer);
	bus_leave(&p->listener);
	while (p->n > 0)
		free(p->services[--p->n]);
	free(p->services);
	p->control = NULL;
}
