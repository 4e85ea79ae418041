/* proxied.c - what PROXY headers said, in logs and to backends.
 * Thread: owning worker. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "data/proxied.h"
#include "proto/proxy_protocol.h"

bool
proxied_denies(const struct lane *l, const struct addr *peer)
{
	return proxied_is_on(l) && !cidr_set_match(&l->config->proxy_protocol.accept_from, peer);
}

char *
proxied_peer_json(const struct endpoint *peer, char text[PROXIED_TEXT])
{
	char address[ADDR_TEXT];
	struct addr a;

	text[0] = '\0';
	if (peer == NULL)
		return text;
	endpoint_get(peer, &a);
	snprintf(text, PROXIED_TEXT, "\"peer\":\"%s\"", addr_format(&a, address));
	return text;
}

char *
proxied_json(struct session *s, char text[PROXIED_TEXT])
{
	return proxied_peer_json(s->proxied ? &proxied_of(s)->peer : NULL, text);
}

static void
to_wire(struct proxy_end *end, const struct endpoint *e)
{
	end->port = ntohs(e->port);
	memcpy(end->ip, e->ip, e->family == AF_INET ? 4 : 16);
}

/* Where the client had connected to, as a header said or else to us. */
static bool
destination_of(const struct dial_client *c, struct endpoint *out)
{
	struct addr here = { .len = sizeof(here.u) };

	if (c->destination != NULL && c->destination->family != 0) {
		*out = *c->destination;
		return true;
	}
	memset(out, 0, sizeof(*out));
	if (getsockname(io_fd(c->io), &here.u.sa, &here.len) != 0)
		return false;
	endpoint_set(out, &here);
	return true;
}

bool
proxied_tell(const struct lane *l, const struct endpoint *peer, const struct dial_client *client,
	     struct io *server)
{
	struct endpoint destination;
	struct proxy_header h = {
		.version = l->config->proxy_protocol.send == SEND_V1 ? 1 : 2,
		.family = PROXY_UNKNOWN,
	};
	char text[PROXY_WRITE_MAX];
	ssize_t sent;
	size_t n;

	/* Half an answer would be a wrong one. */
	if (destination_of(client, &destination) && destination.family == peer->family && peer->family != AF_UNIX) {
		h.family = peer->family == AF_INET ? PROXY_IP4 : PROXY_IP6;
		to_wire(&h.source, peer);
		to_wire(&h.destination, &destination);
	}
	n = proxy_header_write(&h, text);
	sent = send(io_fd(server), text, n, MSG_NOSIGNAL | MSG_MORE);
	if (sent >= 0 && (size_t)sent < n)
		errno = ENOBUFS;
	/* A new connection takes a hundred bytes, or none ever. */
	return sent == (ssize_t)n;
}
