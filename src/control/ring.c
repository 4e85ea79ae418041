/* ring.c - see the header.  Thread: main. */
#include <stdlib.h>

#include "control/ring.h"
#include "net/local_addrs.h"

static bool
arrives_at_any(const struct addr *to, const struct addr *list, size_t n, struct local_addrs *locals)
{
	for (size_t i = 0; i < n; i++)
		if (local_addrs_arrives(locals, to, &list[i]))
			return true;
	return false;
}

/* The place of the only service that listens there, c->n: there is none, or several share it. */
static size_t
place_at_address(const struct control *c, bool udp, const struct addr *a, struct local_addrs *locals)
{
	size_t found = c->n;

	for (size_t i = 0; i < c->n; i++) {
		const struct service_config *sc = c->services[i]->service->config;

		if ((sc->mode == MODE_UDP) != udp || (!arrives_at_any(a, sc->listen, sc->n_listen, locals) &&
						      !arrives_at_any(a, sc->preview, sc->n_preview, locals) &&
						      !arrives_at_any(a, sc->plain_listen, sc->n_plain_listen, locals)))
			continue;
		if (found < c->n)
			return c->n;
		found = i;
	}
	return found;
}

bool
ring_leads_back(const struct control *c, const struct service *s, const struct addr *a, const struct service **by)
{
	struct local_addrs locals = { .list = NULL };
	bool udp = s->config->mode == MODE_UDP, found = false, *seen;
	size_t first = place_at_address(c, udp, a, &locals), n = 0, *line;

	/* As nearly always. */
	if (first == c->n) {
		local_addrs_free(&locals);
		return false;
	}
	*by = c->services[first]->service;
	seen = must_array(c->n, sizeof(*seen));
	line = must_array(c->n, sizeof(*line));
	seen[first] = true;
	line[n++] = first;
	for (size_t i = 0; i < n && !found; i++) {
		const struct service *at = c->services[line[i]]->service;

		found = at == s;
		for (int color = GREEN; color < COLORS && !found; color++)
			for (size_t k = 0; k < at->colors[color].n; k++) {
				const struct backend *b = at->colors[color].backends[k];
				size_t next = backend_has_address(b) ? place_at_address(c, udp, &b->address, &locals) : c->n;

				if (next == c->n || seen[next])
					continue;
				seen[next] = true;
				line[n++] = next;
			}
	}
	free(seen);
	free(line);
	local_addrs_free(&locals);
	return found;
}
