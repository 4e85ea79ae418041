/* handshake.h - a connection between accept(2) and its service: then a session,
 * or in HTTP mode a client.
 * What has to come first is done here, one after the other: the PROXY header,
 * which says who the client is, within header_timeout; the look at the
 * ClientHello, which says whose client it is, and the TLS handshake, within
 * handshake_timeout.  A listener that needs none of it has no handshakes, and
 * pays nothing.
 * It holds one descriptor, of the two that a connection has at last: so half
 * handshakes cost half.
 * Born in handshake_new(); it ends by handing its connection over, or once in
 * handshake_end(), and is freed at once.  Meanwhile it counts as a connection of
 * the color it would be given now.
 * Thread: the owning worker. */
#ifndef DATA_HANDSHAKE_H
#define DATA_HANDSHAKE_H

#include "data/admit.h"
#include "data/endpoint.h"

#define HANDSHAKE_MAGIC 0x68616e64u

/* What the handshake found out.  Pointers are borrowed for the call. */
struct handshake_facts {
	/* Of the listener's service, or as the name chose; to be taken over.  HTTP
	 * mode: the service was not asked yet. */
	struct permit permit;
	bool proxy_header;	/* peer and destination mean something */
	struct endpoint peer;	/* who connected to us */
	struct endpoint destination;	/* where the client had connected to; family 0: here */
	double accepted;	/* worker->now then */
	const char *server_name;	/* that the ClientHello asked for; "": none, or none was looked at */
	float tls_seconds;	/* that the handshake took; 0 without */
	const struct tls_facts *tls;	/* NULL: plain, or passed through; lives as long as the io's TLS */
};

struct deadline;
struct handshake;
struct tls_facts;

/* Something has to be done before a connection of this listener is served. */
bool handshake_is_needed(const struct listener *li);
/* Takes over fd and its place among the worker's descriptors, whatever
 * happens. */
void handshake_new(struct listener *li, int fd, const struct addr *peer);
/* The same of a listener that needs none of it: straight on. */
void handshake_skip(struct listener *li, int fd, const struct addr *peer);
/* Those for which all was done but no second descriptor was to be had: one after
 * the other, as long as there are some. */
void handshake_serve_ready(struct lane *l);
void handshake_end(struct handshake *hs, enum ending ending);
/* Its deadline passed. */
void handshake_on_deadline(struct deadline *d);
/* The moment has come to look once more. */
void handshake_on_again(struct deadline *d);
void handshake_end_all(struct lane *l, enum ending ending);
/* The active color has changed: they count for the one they would be given
 * now. */
void handshake_recolor_all(struct lane *l);

#endif
