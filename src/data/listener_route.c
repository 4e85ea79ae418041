/* listener_route.c - whose a listener's clients are, and where they belong that came to the wrong one.
 * Thread: owning worker. */
#include <string.h>

#include "data/lane.h"

#define HTTPS_PORT 443

struct lane *
listener_lane(const struct listener *l, struct str name)
{
	int found;

	if (l->route == NULL)
		return l->lane;
	found = route_find(l->route, name);
	return found >= 0 ? l->worker->lanes[found] : NULL;
}

struct lane *
listener_lane_by_path(const struct listener *l, struct str name, struct str path, int *why)
{
	if (l->route == NULL)
		return l->lane;
	*why = route_find_path(l->route, name, path);
	return *why >= 0 ? l->worker->lanes[*why] : NULL;
}

/* What the one demands of a client's TLS the other one does, too. */
static bool
demand_alike(const struct tls_config *a, const struct tls_config *b)
{
	bool same = a->client_ca == b->client_ca ||
		    (a->client_ca != NULL && b->client_ca != NULL && strcmp(a->client_ca, b->client_ca) == 0);

	return same && a->client_verify == b->client_verify && a->min_version == b->min_version && a->profile == b->profile;
}

bool
listener_lets_ask(const struct listener *l, struct str name, const struct lane *shown, const struct lane *to)
{
	if (shown == to)
		return true;
	/* One name of several services, told apart by their paths. */
	return l->route != NULL && route_is_by_path(l->route) && listener_lane(l, name) == shown &&
	       demand_alike(&shown->config->tls, &to->config->tls);
}

bool
listener_redirects(const struct listener *l, const struct lane *to)
{
	const struct service_config *s = to->config;

	return !l->tls && s->listen_tls && s->plain == PLAIN_REDIRECT;
}

unsigned
listener_tls_port(const struct lane *to, const struct addr *reached)
{
	const struct service_config *s = to->config;
	unsigned best = HTTPS_PORT;
	int rank = 0;

	for (size_t i = 0; i < s->n_listen; i++) {
		const struct addr *at = &s->listen[i];
		unsigned port = addr_port(at);
		struct addr there = *reached;
		int r;

		if (port == 0)	/* a Unix socket */
			continue;
		addr_set_port(&there, port);
		r = addr_equal(at, &there)						? 6 :
		    addr_is_any(at) && addr_family(at) == addr_family(reached) ? 4 :
										  2;
		/* Of several in one place the usual one, else the first. */
		r += port == HTTPS_PORT;
		if (r > rank) {
			rank = r;
			best = port;
		}
	}
	return best;
}

struct listener *
listener_last(struct listener *l)
{
	while (l->next != NULL)
		l = l->next;
	return l;
}
