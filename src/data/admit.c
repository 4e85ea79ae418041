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
	_Atomic uint32_t refs;
	bool counts;	/* places are counted */
	struct admission places;
	struct source_counts *sources;	/* NULL: no limit */
	unsigned source_prefix6;
};

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

struct terms {
	bool needed;
	uint32_t places, per_source;	/* 0: no limit */
	unsigned source_prefix6;
};

/* The largest of its services. */
static struct terms
admit_terms_of(const struct service_config *const *configs, const struct binding *b)
{
	bool http = configs[b->owner]->mode == MODE_HTTP, all_places = true, all_sources = true;
	struct terms t = { 0 };

	/* Elsewhere a service's own limits are the first that clients meet. */
	t.needed = b->entrance == ENTRANCE_MAIN && (http ? b->n_services > 1 || b->tls : b->route != NULL);
	for (size_t i = 0; i < b->n_services; i++) {
		const struct service_config *s = configs[b->services[i]];
		uint32_t n = places_of(s, b);

		all_places &= n > 0;
		all_sources &= s->limits.per_source > 0;
		if (n > t.places)
			t.places = n;
		if (s->limits.per_source > t.per_source)
			t.per_source = s->limits.per_source;
		if (s->limits.source_prefix6 > t.source_prefix6)
			t.source_prefix6 = s->limits.source_prefix6;
	}
	if (!all_places)
		t.places = 0;
	if (!all_sources)
		t.per_source = 0;
	return t;
}

struct admit *
admit_new(const struct service_config *const *configs, const struct binding *b)
{
	struct terms t = admit_terms_of(configs, b);
	struct admit *a;

	if (!t.needed)
		return NULL;
	a = aligned_alloc(_Alignof(struct admit), sizeof(*a));
	CHECK(a != NULL);
	memset(a, 0, sizeof(*a));
	atomic_init(&a->refs, 1);
	a->counts = t.places > 0;
	admission_init(&a->places, t.places);
	a->source_prefix6 = t.source_prefix6;
	if (t.per_source > 0)
		a->sources = source_counts_new(t.per_source);
	return a;
}

bool
admit_fits(const struct admit *a, const struct service_config *const *configs, const struct binding *b)
{
	struct terms t = admit_terms_of(configs, b);

	if (a == NULL || !t.needed)
		return a == NULL && !t.needed;
	return a->counts == (t.places > 0) && (a->sources != NULL) == (t.per_source > 0) &&
	       a->source_prefix6 == t.source_prefix6;
}

void
admit_set(struct admit *a, const struct service_config *const *configs, const struct binding *b)
{
	struct terms t = admit_terms_of(configs, b);

	admission_set_limit(&a->places, t.places);
	if (a->sources != NULL)
		source_counts_set_limit(a->sources, t.per_source);
}

struct admit *
admit_ref(struct admit *a)
{
	atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
	return a;
}

void
admit_unref(struct admit **ap)
{
	struct admit *a = *ap;

	*ap = NULL;
	if (a == NULL || atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (a->sources != NULL)
		source_counts_free(&a->sources);
	free(a);
}

static const struct limits_config *
limits_of(const struct listener *li, size_t i)
{
	return &li->worker->lanes[li->binding->services[i]]->config->limits;
}

bool
admit_is_selective(const struct listener *li)
{
	for (size_t i = 0; i < li->binding->n_services; i++)
		if (cidr_set_is_empty(&limits_of(li, i)->allow) && cidr_set_is_empty(&limits_of(li, i)->deny))
			return false;
	return true;
}

static const struct listener *
listener_of(const struct permit *p)
{
	return p->lane->worker->listeners[p->listener];
}

static bool
some_welcome(const struct listener *li, const struct addr *client)
{
	for (size_t i = 0; i < li->binding->n_services; i++)
		if (is_welcome(limits_of(li, i), client))
			return true;
	return false;
}

bool
permit_enter(struct permit *p, enum ending *why)
{
	const struct listener *li = listener_of(p);
	struct admit *a = li->admit;
	struct source_key key;
	struct addr client;

	if (a == NULL || p->listed)
		return true;
	endpoint_get(&p->client, &client);
	*why = END_DENIED;
	if (li->selective && !some_welcome(li, &client))
		return false;
	*why = END_LIMIT;
	if (a->counts && !admission_enter(&a->places, 1))
		return false;
	p->listed = a->sources == NULL || !source_key_of(&client, a->source_prefix6, &key) ||
		    take_source(a->sources, &key, why);
	if (!p->listed && a->counts)
		admission_leave(&a->places, 1);
	return p->listed;
}

static void
leave_listener(struct permit *p)
{
	struct source_key key;
	struct addr client;
	struct admit *a;

	if (!p->listed)
		return;
	a = listener_of(p)->admit;
	p->listed = 0;
	endpoint_get(&p->client, &client);
	if (a->counts)
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

/* No newcomer overtakes waiting clients. */
static bool
take_service_place(struct permit *p)
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
ask_admission(struct permit *p, enum ending *why)
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
	if (p->place || take_service_place(p))
		return ADMIT_IN;
	*why = admission_is_full(&s->admission) ? END_LIMIT : END_BACKEND_LIMIT;
	return permit_queue(p) ? ADMIT_WAIT : ADMIT_NO;
}

enum admitted
permit_ask(struct permit *p, enum ending *why)
{
	enum admitted answer = ask_admission(p, why);

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
	return take_service_place(p) || queue_is_on(p->lane);
}

bool
permit_turn(struct permit *p, struct lane *l, enum ending *why)
{
	enum admitted answer;

	leave_service(p);
	p->lane = l;
	answer = ask_admission(p, why);
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

bool
permit_follow(struct permit *p, const struct listener *li)
{
	struct permit there = { .lane = p->lane, .client = p->client, .listener = li->slot & (PERMIT_LISTENERS - 1) };
	enum ending ignored;

	if (p->listed && listener_of(p)->admit != li->admit) {
		if (!permit_enter(&there, &ignored))
			return false;
		leave_listener(p);
		p->listed = there.listed;
	}
	p->listener = there.listener;
	return true;
}

void
permit_part(struct permit *p, struct lane *l)
{
	leave_service(p);
	p->lane = l;
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
	*p = (struct permit){
		.lane = li->lane,
		.listener = li->slot & (PERMIT_LISTENERS - 1),
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
	if (p->descriptors == 0 && descriptors > 0)
		admission_adopt(&w->proxy->clients, 1);
	if (descriptors < p->descriptors) {
		admission_leave(&w->proxy->descriptors, p->descriptors - descriptors);
		if (descriptors == 0)
			admission_leave(&w->proxy->clients, 1);
		if (w->starved)
			worker_kick(w);
	}
	p->descriptors = descriptors & 3;
	return true;
}

static void
adopt_listener(struct permit *p, const struct addr *client)
{
	struct admit *a = p->listed ? listener_of(p)->admit : NULL;
	struct source_key key;

	p->listed = a != NULL;
	if (a == NULL)
		return;
	if (a->sources != NULL && source_key_of(client, a->source_prefix6, &key))
		p->listed = source_adopt(a->sources, &key);
	if (p->listed && a->counts)
		admission_adopt(&a->places, 1);
}

bool
permit_adopt(struct permit *p, unsigned descriptors)
{
	const struct limits_config *c = &p->lane->config->limits;
	struct service *s = p->lane->service;
	struct source_key key;
	struct addr client;

	p->descriptors = 0;
	if (!permit_hold(p, descriptors)) {
		p->admitted = p->listed = p->place = p->source = p->queued = 0;
		return false;
	}
	endpoint_get(&p->client, &client);
	adopt_listener(p, &client);
	p->prefix6 = (c->source_prefix6 - 1) & 127;
	p->source = p->source && c->per_source > 0 && source_key_of(&client, c->source_prefix6, &key) &&
		    source_adopt(s->source_counts, &key);
	if (p->place)
		admission_adopt(&s->admission, 1);
	if (p->queued)
		admission_adopt(&s->queue, 1);
	return true;
}

void
permit_give_up(struct permit *p)
{
	if (p->place)
		permit_drop_place(p);
	permit_release(p);
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
	LOG_INFO(sc->mode == MODE_UDP ? "udp.session" : "tcp.session", LS("service", sc->name), LR(NULL, str_from(sc->labels_json)),
		 LS("entrance", p->preview ? "preview" : "main"), LS("client", addr_format(&client, text)),
		 LR(NULL, more), LS("backend", ""), service_color_field(sc, color),
		 service_epoch_field(sc, snapshot != NULL ? snapshot->epoch : 0), LU("bytes_in", 0), LU("bytes_out", 0),
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
