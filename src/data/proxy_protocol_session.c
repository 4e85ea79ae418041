/* proxy_protocol_session.c - what PROXY headers said, in logs and to backends.
 * Thread: owning worker. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "data/proxy_protocol_session.h"
#include "proto/proxy_protocol.h"

bool
proxy_protocol_denies(const struct lane *l, const struct addr *peer)
{
	return proxy_protocol_is_on(l) && !cidr_set_match(&l->config->proxy_protocol.accept_from, peer);
}

char *
proxy_protocol_peer_json(const struct endpoint *peer, char text[PROXY_PROTOCOL_TEXT])
{
	char address[ADDR_TEXT];
	struct addr a;

	text[0] = '\0';
	if (peer == NULL)
		return text;
	endpoint_get(peer, &a);
	snprintf(text, PROXY_PROTOCOL_TEXT, "\"peer\":\"%s\"", addr_format(&a, address));
	return text;
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
proxy_protocol_tell(const struct lane *l, const struct endpoint *peer, const struct dial_client *client,
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
