/* door.c - who may come in, and what is told about the others.
 * Thread: owning worker. */
#include "base/log.h"
#include "data/door.h"
#include "data/proxied.h"
#include "data/queue.h"
#include "model/source.h"

/* Lines about refused clients of one service in one second: whoever knocks a
 * million times must not fill the disk. */
#define LINES_MAX 100

bool
door_is_welcome(const struct limits_config *c, const struct addr *client)
{
	return !cidr_set_match(&c->deny, client) &&
	       (cidr_set_is_empty(&c->allow) || cidr_set_match(&c->allow, client));
}

static bool
key_of(const struct lane *l, const struct addr *client, struct source_key *key)
{
	return source_key_of(client, l->config->limits.source_prefix6, key);
}

/* Takes what is limited for each address; false with *why when it may not. */
static bool
take_source(struct lane *l, const struct addr *client, struct pass *pass, enum ending *why)
{
	struct service *s = l->service;
	struct source_key key;

	if (!key_of(l, client, &key))
		return true;
	if (s->source_rates != NULL && !source_rates_take(s->source_rates, &key, l->worker->now)) {
		*why = END_SOURCE_RATE;
		return false;
	}
	if (s->source_counts == NULL)
		return true;
	switch (source_enter(s->source_counts, &key)) {
	case SOURCE_ENTERED:
		pass->source = true;
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

static void
give_source(struct lane *l, const struct addr *client)
{
	struct source_key key;

	if (key_of(l, client, &key))
		source_leave(l->service->source_counts, &key);
}

/* Nobody overtakes those who wait. */
static bool
take_place(struct lane *l)
{
	struct service *s = l->service;

	return !queue_has(l, LINE_PLACES) && admission_enter(&s->admission, 1);
}

enum door
door_reserve(struct lane *l, enum entrance entrance, const struct addr *peer, struct pass *pass,
	     enum ending *why)
{
	*why = END_PROXY_DENIED;
	if (proxied_denies(l, peer))
		return DOOR_SHUT;
	if (entrance == ENTRANCE_PREVIEW)
		return DOOR_OPEN;
	*why = END_STALE;
	if (l->snapshot->refuse)
		return DOOR_SHUT;
	*why = END_LIMIT;
	pass->place = take_place(l);
	/* Without one it may still get in line, once it is known. */
	return pass->place || queue_is_on(l) ? DOOR_OPEN : DOOR_SHUT;
}

enum door
door_ask(struct lane *l, enum entrance entrance, const struct addr *client, struct pass *pass,
	 enum ending *why)
{
	struct service *s = l->service;

	*why = END_DENIED;
	if (!door_is_welcome(&l->config->limits, client))
		return DOOR_SHUT;
	if (entrance == ENTRANCE_PREVIEW)
		return DOOR_OPEN;
	*why = END_STALE;
	if (l->snapshot->refuse)
		return DOOR_SHUT;
	if ((s->source_rates != NULL || s->source_counts != NULL) && !take_source(l, client, pass, why))
		return DOOR_SHUT;
	if (pass->place || (pass->place = take_place(l)))
		return DOOR_OPEN;
	pass->queued = queue_is_on(l) && admission_enter(&s->queue, 1);
	if (pass->queued)
		return DOOR_QUEUE;
	door_return(l, client, pass);
	*why = admission_is_full(&s->admission) ? END_LIMIT : END_BACKEND_LIMIT;
	return DOOR_SHUT;
}

void
door_return(struct lane *l, const struct addr *client, const struct pass *pass)
{
	if (pass->source)
		give_source(l, client);
	if (pass->queued)
		admission_leave(&l->service->queue, 1);
	if (pass->place)
		queue_give(l);
}

void
door_enter(struct session *s, const struct pass *pass)
{
	s->has_source = pass->source;
	s->has_place = pass->place;
}

void
door_leave(struct session *s)
{
	struct addr client;

	if (s->has_source) {
		session_peer(s, &client);
		give_source(s->lane, &client);
	}
	if (s->has_place)
		queue_give(s->lane);
	/* It may have been an exchange once. */
	queue_wake(s->lane);
	s->has_source = s->has_place = 0;
}

/* -- what is told ----------------------------------------------------------------- */

bool
door_may_tell(struct lane *l)
{
	struct service *s = l->service;
	uint64_t second = (uint64_t)l->worker->now << 32, next;
	uint64_t lines = atomic_load_explicit(&s->refusal_lines, memory_order_relaxed);

	do {
		/* Another worker may be a moment ahead: its second counts. */
		next = lines < second ? second : lines;
		if ((uint32_t)next >= LINES_MAX) {
			atomic_fetch_add_explicit(&s->refusals_untold, 1, memory_order_relaxed);
			return false;
		}
	} while (!atomic_compare_exchange_weak_explicit(&s->refusal_lines, &lines, next + 1,
							memory_order_relaxed, memory_order_relaxed));
	return true;
}

void
door_tell_untold(struct lane *l)
{
	struct service *s = l->service;
	uint64_t n;

	if (atomic_load_explicit(&s->refusals_untold, memory_order_relaxed) == 0 ||
	    atomic_load_explicit(&s->refusal_lines, memory_order_relaxed) >> 32 == (uint64_t)l->worker->now)
		return;
	n = atomic_exchange_explicit(&s->refusals_untold, 0, memory_order_relaxed);
	if (n > 0)
		LOG_WARN("refusals.untold", LS("service", l->config->name),
			 LR(NULL, str_from(l->config->labels_json)), LU("lines", n),
			 LS("hint", "teal_rejected_total counts all of them"));
}
