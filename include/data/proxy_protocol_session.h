/* proxy_protocol_session.h - the PROXY protocol of a session: what a header said of its
 * client, and the one its backend is told.
 * Thread: the owning worker. */
#ifndef DATA_PROXY_PROTOCOL_SESSION_H
#define DATA_PROXY_PROTOCOL_SESSION_H

#include "data/tcp/session.h"

/* Stands behind a session of a service with accept_from; others do without. */
struct proxy_protocol_facts {
	struct endpoint peer;	/* who connected to us; the session's own is the client */
	struct endpoint destination;	/* where the client had connected to; family 0: here */
};

static inline bool
proxy_protocol_is_on(const struct lane *l)
{
	return !cidr_set_is_empty(&l->config->proxy_protocol.accept_from);
}

/* NULL: there was no header to come. */
static inline struct proxy_protocol_facts *
proxy_protocol_of(struct session *s)
{
	return s->proxy_protocol ? (struct proxy_protocol_facts *)(void *)(s + 1) : NULL;
}

/* Whether the peer has no right to tell who the client is. */
bool proxy_protocol_denies(const struct lane *l, const struct addr *peer);

/* Tells the backend, just connected, who the client is; the bytes may wait for
 * others to go with, until sock_push().  False with errno when it could not. */
MUST_USE bool proxy_protocol_tell(const struct lane *l, const struct endpoint *peer, const struct dial_client *client,
			   struct io *server);

/* "\"peer\":\"10.0.0.1:1234\"" for the log, "" when there is nothing to tell.
 * Returns text. */
#define PROXY_PROTOCOL_TEXT (ADDR_TEXT + 16)
char *proxy_protocol_json(struct session *s, char text[PROXY_PROTOCOL_TEXT]);
/* The same without a session; peer NULL: there is none. */
char *proxy_protocol_peer_json(const struct endpoint *peer, char text[PROXY_PROTOCOL_TEXT]);

#endif
