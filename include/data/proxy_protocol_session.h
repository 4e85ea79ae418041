/* proxy_protocol_session.h - the PROXY protocol of a lane's clients: whose header is
 * believed, and the one that backends are told.
 * Thread: the owning worker. */
#ifndef DATA_PROXY_PROTOCOL_SESSION_H
#define DATA_PROXY_PROTOCOL_SESSION_H

#include "data/dial.h"

static inline bool
proxy_protocol_is_on(const struct lane *l)
{
	return !cidr_set_is_empty(&l->config->proxy_protocol.accept_from);
}

/* Whether the peer has no right to tell who the client is. */
bool proxy_protocol_denies(const struct lane *l, const struct addr *peer);

/* Tells the backend, just connected, who the client is; the bytes may wait for
 * others to go with, until sock_push().  False with errno when it could not. */
MUST_USE bool proxy_protocol_tell(const struct lane *l, const struct endpoint *peer, const struct dial_client *client,
			   struct io *server);

/* "\"peer\":\"10.0.0.1:1234\"" for the log, "" where peer is NULL.
 * Returns text. */
#define PROXY_PROTOCOL_TEXT (ADDR_TEXT + 16)
char *proxy_protocol_peer_json(const struct endpoint *peer, char text[PROXY_PROTOCOL_TEXT]);

#endif
