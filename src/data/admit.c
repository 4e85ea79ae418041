/* admit.c - who may come in, and what each holds.  Thread: owning worker. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "data/access.h"
#include "data/admit.h"
#include "data/lane.h"
#include "data/proxy.h"
#include "data/queue.h"

static bool
is_welcome(const struct limits_config *c, const struct addr *client)
{
	return !cidr_set_match(&c->deny, client) &&
	       (cidr_set_is_empty(&c->allow) || cidr_set_match(&c->allow, client));
}

static bool
take_source(struct source_counts *counts, const struct source_key *key, enum ending *why)
{
	switch (source_enter(counts, key)) {
	case SOURCE_ENTERED:
		return true;
	case SOURCE_FULL:
		*why = END_SOURCE_LIMIT;
		return false;
	case SOURCE_NO_MEMORY:
		*why = END_MEMORY;
		return false;
	}
	return false;
}

/* -- the listener's limits -------------------------------------------------- */

struct admit {
	const struct config *config;
	const struct binding *binding;
	struct admission places;	/* limit 0: none */
	struct source_counts *sources;	/* NULL: no limit */
	unsigned source_prefix6;
	bool selective;	/* each of the services keeps somebody out */
};

static const struct service_config *
service_of(const struct admit *a, size_t i)
{
	return &a->config->services[a->binding->services[i]];
}

/* Elsewhere a service's own limits are the first that clients meet. */
static bool
is_needed(const struct config *config, const struct binding *b)
{
	bool http = config->services[b->owner].mode == MODE_HTTP;

	return b->entrance == ENTRANCE_MAIN && (http ? b->n_services > 1 || b->tls : b->route != NULL);
}

/* Connections that a service takes at one time, with those in its queue where
 * clients of that listener may wait; 0: no limit. */
static uint32_t
places_of(const struct service_config *s, const struct binding *b)
{
	bool waits = s->limits.queue_timeout > 0 && (s->mode != MODE_HTTP || b->n_services == 1);

	if (s->max_connections == 0 || (waits && s->limits.queue == 0))
		return 0;
	return (uint32_t)s->max_connections + (waits ? (uint32_t)s->limits.queue : 0);
}

struct admit *
admit_new(const struct config *config, const struct binding *b)
{
	uint32_t places = 0, per_source = 0;
	bool all_places = true, all_sources = true;
	struct admit *a;

	if (!is_needed(config, b))
		return NULL;
	a = aligned_alloc(_Alignof(struct admit), sizeof(*a));
	CHECK(a != NULL);
	memset(a, 0, sizeof(*a));
	a->config = config;
	a->binding = b;
	a->selective = true;
	for (size_t i = 0; i < b->n_services; i++) {
		const struct service_config *s = service_of(a, i);
		uint32_t n = places_of(s, b);

		all_places &= n > 0;
		all_sources &= s->limits.per_source > 0;
		if (n > places)
			places = n;
		if (s->limits.per_source > per_source)
			per_source = s->limits.per_source;
		if (s->limits.source_prefix6 > a->source_prefix6)
			a->source_prefix6 = s->limits.source_prefix6;
		a->selective &= !cidr_set_is_empty(&s->limits.allow) || !cidr_set_is_empty(&s->limits.deny);
	}
	admission_init(&a->places, all_places ? places : 0);
	if (all_sources)
		a->sources = source_counts_new(per_source);
	return a;
}

void
admit_free(struct admit **ap)
{
	struct admit *a = *ap;

	*ap = NULL;
	if (a == NULL)
		return;
	if (a->sources != NULL)
		source_counts_free(&a->sources);
	free(a);
}

static struct admit *
admit_of(const struct permit *p)
{
	return p->lane->worker->proxy->admits[p->listener];
}

static bool
some_welcome(const struct admit *a, const struct addr *client)
{
	for (size_t i = 0; i < a->binding->n_services; i++)
		if (is_welcome(&service_of(a, i)->limits, client))
			return true;
	return false;
}

bool
permit_enter(struct permit *p, enum ending *why)
{
	struct admit *a = admit_of(p);
	struct source_key key;
	struct addr client;

	if (a == NULL || p->listed)
		return true;
	endpoint_get(&p->client, &client);
	*why = END_DENIED;
	if (a->selective && !some_welcome(a, &client))
		return false;
	*why = END_LIMIT;
	if (a->places.limit > 0 && !admission_enter(&a->places, 1))
		return false;
	p->listed = a->sources == NULL || !source_key_of(&client, a->source_prefix6, &key) ||
		    take_source(a->sources, &key, why);
	if (!p->listed && a->places.limit > 0)
		admission_leave(&a->places, 1);
	return p->listed;
}

static void
leave_listener(struct permit *p)
{
	struct admit *a = admit_of(p);
	struct source_key key;
	struct addr client;

	if (!p->listed)
		return;
	p->listed = 0;
	endpoint_get(&p->client, &client);
	if (a->places.limit > 0)
		admission_leave(&a->places, 1);
	if (a->sources != NULL && source_key_of(&client, a->source_prefix6, &key))
		source_leave(a->sources, &key);
}

/* -- the service's ---------------------------------------------------------- */

/* What is limited for each address; false with *why when it may not come in. */
static bool
enter_source(struct permit *p, const struct addr *client, enum ending *why)
{
	const struct limits_config *c = &p->lane->config->limits;
	struct service *s = p->lane->service;
	struct source_key key;

	if ((c->source_rate.burst <= 0 && c->per_source == 0) || 
	    !source_key_of(client, c->source_prefix6, &key))
		return true;
	*why = END_SOURCE_RATE;
	if (c->source_rate.burst > 0 && !source_rates_take(s->source_rates, &key, p->lane->worker->now))
		return false;
	if (c->per_source == 0)
		return true;
	p->source = take_source(s->source_counts, &key, why);
	p->prefix6 = (c->source_prefix6 - 1) & 127;
	return p->source;
}

/* Nobody overtakes those who wait. */
static bool
take_place(struct permit *p)
{
	p->place = !queue_has(p->lane, LINE_PLACES) && admission_enter(&p->lane->service->admission, 1);
	return p->place;
}

static void
leave_service(struct permit *p)
{
	struct source_key key;
	struct addr client;

	p->admitted = 0;
	if (p->source) {
		endpoint_get(&p->client, &client);
		if (source_key_of(&client, p->prefix6 + 1u, &key))
			source_leave(p->lane->service->source_counts, &key);
	}
	p->source = 0;
	permit_leave_queue(p);
	if (p->place)
		queue_give(p->lane);
	p->place = 0;
}

static enum admitted
ask(struct permit *p, enum ending *why)
{
	const struct service *s = p->lane->service;
	struct addr client;

	endpoint_get(&p->client, &client);
	*why = END_DENIED;
	if (!is_welcome(&p->lane->config->limits, &client))
		return ADMIT_NO;
	if (p->preview)
		return ADMIT_IN;
	*why = END_STALE;
	if (p->lane->snapshot->refuse || !enter_source(p, &client, why))
		return ADMIT_NO;
	if (p->place || take_place(p))
		return ADMIT_IN;
	*why = admission_is_full(&s->admission) ? END_LIMIT : END_BACKEND_LIMIT;
	return permit_queue(p) ? ADMIT_WAIT : ADMIT_NO;
}

enum admitted
permit_ask(struct permit *p, enum ending *why)
{
	enum admitted answer = ask(p, why);

	if (answer == ADMIT_NO)
		leave_service(p);
	else
		leave_listener(p);
	p->admitted = answer == ADMIT_IN;
	return answer;
}

bool
permit_reserve(struct permit *p, enum ending *why)
{
	if (p->preview)
		return true;
	*why = END_STALE;
	if (p->lane->snapshot->refuse)
		return false;
	*why = END_LIMIT;
	/* Without one it may still get in line, once it is known. */
	return take_place(p) || queue_is_on(p->lane);
}

bool
permit_turn(struct permit *p, struct lane *l, enum ending *why)
{
	enum admitted answer;

	leave_service(p);
	p->lane = l;
	answer = ask(p, why);
	if (answer == ADMIT_IN) {
		leave_listener(p);
		p->admitted = 1;
		return true;
	}
	/* The next request may be for another service. */
	if (answer == ADMIT_WAIT)
		*why = END_LIMIT;
	leave_service(p);
	return false;
}

/* -- the queue --------------------------------------------------------------- */

bool
permit_queue(struct permit *p)
{
	CHECK(!p->queued);
	p->queued = queue_is_on(p->lane) && admission_enter(&p->lane->service->queue, 1);
	return p->queued;
}

void
permit_drop_place(struct permit *p)
{
	CHECK(p->place);
	p->place = 0;
	admission_leave(&p->lane->service->admission, 1);
}

void
permit_leave_queue(struct permit *p)
{
	if (p->queued)
		admission_leave(&p->lane->service->queue, 1);
	p->queued = 0;
}

void
permit_take_turn(struct permit *p)
{
	CHECK(p->queued && !p->place);
	permit_leave_queue(p);
	p->place = p->admitted = 1;
}

/* -- from the accept to the end ----------------------------------------------- */

void
permit_init(struct permit *p, const struct listener *li, const struct addr *peer)
{
	CHECK(li->index < PERMIT_LISTENERS);
	*p = (struct permit){
		.lane = li->lane,
		.listener = li->index,
		.preview = li->entrance == ENTRANCE_PREVIEW,
		.descriptors = 2,
	};
	endpoint_set(&p->client, peer);
}

bool
permit_hold(struct permit *p, unsigned descriptors)
{
	struct worker *w = p->lane->worker;

	if (descriptors > p->descriptors && !worker_take_descriptors(w, descriptors - p->descriptors))
		return false;
	if (descriptors < p->descriptors) {
		admission_leave(&w->proxy->descriptors, p->descriptors - descriptors);
		if (w->starved)
			worker_hurry(w);
	}
	p->descriptors = descriptors & 3;
	return true;
}

void
permit_move(struct permit *to, struct permit *from)
{
	*to = *from;
	from->admitted = from->descriptors = from->listed = from->place = from->source = from->queued = 0;
}

void
permit_refuse(struct permit *p, enum ending why, double accepted, struct str more)
{
	enum entrance entrance = p->preview ? ENTRANCE_PREVIEW : ENTRANCE_MAIN;
	enum color color = lane_color(p->lane, entrance);
	const struct service_config *sc = p->lane->config;
	const struct snapshot *snapshot = p->lane->snapshot;
	char text[ADDR_TEXT];
	struct addr client;
	struct str share;

	leave_listener(p);
	leave_service(p);
	tally_add(&p->lane->tally->colors[entrance][color].ended[why], 1);
	if (!access_is_due(p->lane, why, ending_is_error(why), &share))
		return;
	endpoint_get(&p->client, &client);
	LOG_INFO("tcp.session", LS("service", sc->name), LR(NULL, str_from(sc->labels_json)),
		 LS("entrance", p->preview ? "preview" : "main"), LS("client", addr_format(&client, text)),
		 LR(NULL, more), LS("backend", ""), LS("color", color_word(color)),
		 LU("epoch", snapshot != NULL ? snapshot->epoch : 0), LU("bytes_in", 0), LU("bytes_out", 0),
		 LF("seconds", p->lane->worker->now - accepted), LF("connect_seconds", 0.0), LU("retries", 0),
		 LS("end", ending_word(why)), LR(NULL, share));
}

void
permit_release(struct permit *p)
{
	leave_listener(p);
	leave_service(p);
	(void)permit_hold(p, 0);
}
