/* listener_route.c - whose a listener's clients are, and where they belong that came to the wrong one.
 * Thread: owning worker. */
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
