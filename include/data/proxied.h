/* proxied.h - the PROXY protocol of a session: the header that must come
 * first where the service has accept_from, and the one a backend is told.
 * Thread: the owning worker. */
#ifndef DATA_PROXIED_H
#define DATA_PROXIED_H

#include "data/session.h"

/* Stands behind a session of a service with accept_from; others do without. */
struct proxied {
	struct endpoint peer;	/* who connected to us; the session's own is the client */
	struct endpoint destination;	/* where the client had connected to; family 0: here */
	char *part;	/* owned: a header that came in pieces, as far as it is there */
	size_t n_part;
};

static inline bool
proxied_is_on(const struct lane *l)
{
	return !cidr_set_is_empty(&l->service->config->proxy_protocol.accept_from);
}

/* What to allocate for a session of that lane. */
static inline size_t
proxied_session_size(const struct lane *l)
{
	return sizeof(struct session) + (proxied_is_on(l) ? sizeof(struct proxied) : 0);
}

/* NULL: the service takes no headers. */
static inline struct proxied *
proxied_of(struct session *s)
{
	return proxied_is_on(s->lane) ? (struct proxied *)(void *)(s + 1) : NULL;
}

/* Whether the peer has no right to tell who the client is. */
bool proxied_denies(const struct lane *l, const struct addr *peer);

enum proxied_step {
	PROXIED_WAIT,	/* call again when there is more to read */
	PROXIED_KNOWN,	/* the session's peer is the client; the stream begins */
	PROXIED_BROKEN,	/* end it, by *ending */
};

/* Reads from the client, the header and not a byte more. */
enum proxied_step proxied_read(struct session *s, enum ending *ending);

/* Tells the backend, just connected, who the client is; the bytes may wait for
 * others to go with, until sock_push().  False with errno when it could not. */
MUST_USE bool proxied_tell(struct session *s);

/* "\"peer\":\"10.0.0.1:1234\"" for the log, "" when there is nothing to tell.
 * Returns text. */
#define PROXIED_TEXT (ADDR_TEXT + 16)
char *proxied_json(struct session *s, char text[PROXIED_TEXT]);

/* Frees what it holds. */
void proxied_end(struct session *s);

#endif
