/* lobby.c - who waits before it is known for whom.  Any worker's thread. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "data/door.h"
#include "data/lobby.h"
#include "model/source.h"

struct lobby {
	const struct config *config;
	const struct binding *binding;
	struct admission places;	/* limit 0: none */
	struct source_counts *sources;	/* NULL: no limit */
	unsigned source_prefix6;
	bool selective;	/* each of the services keeps somebody out */
};

static const struct service_config *
service_of(const struct lobby *l, size_t i)
{
	return &l->config->services[l->binding->services[i]];
}

/* Elsewhere a service's door is the first thing that clients meet. */
static bool
is_needed(const struct config *config, const struct binding *b)
{
	bool http = config->services[b->owner].mode == MODE_HTTP;

	return b->entrance == ENTRANCE_MAIN && (http ? b->n_services > 1 || b->tls : b->route != NULL);
}

struct lobby *
lobby_new(const struct config *config, const struct binding *b)
{
	unsigned places = 0, per_source = 0;
	bool all_places = true, all_sources = true;
	struct lobby *l;

	if (!is_needed(config, b))
		return NULL;
	l = aligned_alloc(_Alignof(struct lobby), sizeof(*l));
	CHECK(l != NULL);
	memset(l, 0, sizeof(*l));
	l->config = config;
	l->binding = b;
	l->selective = true;
	for (size_t i = 0; i < b->n_services; i++) {
		const struct service_config *s = service_of(l, i);

		all_places &= s->max_connections > 0;
		all_sources &= s->limits.per_source > 0;
		if (s->max_connections > places)
			places = s->max_connections;
		if (s->limits.per_source > per_source)
			per_source = s->limits.per_source;
		if (s->limits.source_prefix6 > l->source_prefix6)
			l->source_prefix6 = s->limits.source_prefix6;
		l->selective &= !cidr_set_is_empty(&s->limits.allow) || !cidr_set_is_empty(&s->limits.deny);
	}
	admission_init(&l->places, all_places ? places : 0);
	if (all_sources)
		l->sources = source_counts_new(per_source);
	return l;
}

void
lobby_free(struct lobby **lp)
{
	struct lobby *l = *lp;

	*lp = NULL;
	if (l == NULL)
		return;
	if (l->sources != NULL)
		source_counts_free(&l->sources);
	free(l);
}

static bool
is_welcome(const struct lobby *l, const struct addr *client)
{
	for (size_t i = 0; i < l->binding->n_services; i++)
		if (door_is_welcome(&service_of(l, i)->limits, client))
			return true;
	return false;
}

bool
lobby_enter(struct lobby *l, const struct addr *client, enum ending *why)
{
	struct source_key key;

	*why = END_DENIED;
	if (l->selective && !is_welcome(l, client))
		return false;
	*why = END_LIMIT;
	if (l->places.limit > 0 && !admission_enter(&l->places, 1))
		return false;
	if (l->sources == NULL || !source_key_of(client, l->source_prefix6, &key))
		return true;
	switch (source_enter(l->sources, &key)) {
	case SOURCE_ENTERED:
		return true;
	case SOURCE_FULL:
		*why = END_SOURCE_LIMIT;
		break;
	case SOURCE_NO_MEMORY:
		*why = END_MEMORY;
		break;
	}
	if (l->places.limit > 0)
		admission_leave(&l->places, 1);
	return false;
}

void
lobby_leave(struct lobby *l, const struct addr *client)
{
	struct source_key key;

	if (l->places.limit > 0)
		admission_leave(&l->places, 1);
	if (l->sources != NULL && source_key_of(client, l->source_prefix6, &key))
		source_leave(l->sources, &key);
}
