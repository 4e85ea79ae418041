/* arrival.h - a connection between accept(2) and whoever serves it: a session,
 * or in HTTP mode a client.
 * What has to come first is done here, one after the other: the PROXY header,
 * which says who the client is, within header_timeout; the look at the
 * ClientHello, which says whose client it is, and the TLS handshake, within
 * handshake_timeout.  A listener
 * that needs none of it has no arrivals, and pays nothing.
 * It holds one descriptor, of the two that a connection has at last: so half
 * handshakes cost half.
 * Born in arrival_new(); it ends by handing its connection over, or once in
 * arrival_end(), and is freed at once.  Meanwhile it counts as a connection of
 * the color it would be given now.
 * Thread: the owning worker. */
#ifndef DATA_ARRIVAL_H
#define DATA_ARRIVAL_H

#include "data/door.h"
#include "data/endpoint.h"

#define ARRIVAL_MAGIC 0x61727276u

/* What came out, for whoever serves it.  Pointers are borrowed for the call. */
struct arrival_facts {
	struct lane *lane;	/* whose client it is: the listener's, or as the name chose */
	enum entrance entrance;
	struct endpoint client;	/* who it is: the peer, or whom a PROXY header named */
	bool proxied;	/* peer and destination mean something */
	struct endpoint peer;	/* who connected to us */
	struct endpoint destination;	/* where the client had connected to; family 0: here */
	double accepted;	/* worker->now then */
	/* TCP mode: what the door gave, to be taken over with the connection, and
	 * whether it is to wait for a place.  HTTP mode: nothing was asked. */
	struct pass pass;
	enum door door;
	bool in_lobby;	/* of the listener */
	const char *server_name;	/* that the ClientHello asked for; "": none, or none was looked at */
	const struct tls_facts *tls;	/* NULL: plain, or passed through; lives as long as the io's TLS */
};

struct arrival;
struct tls_facts;

/* Something has to be done before a connection of this listener is served. */
bool arrival_is_needed(const struct listener *li);
/* Takes over fd and its place among the worker's descriptors, whatever
 * happens. */
void arrival_new(struct listener *li, int fd, const struct addr *peer);
/* The same of a listener that needs none of it: straight on. */
void arrival_skip(struct listener *li, int fd, const struct addr *peer);
/* Those for which all was done but no second descriptor was to be had: one after
 * the other, as long as there are some. */
void arrival_serve_ready(struct lane *l);
void arrival_end(struct arrival *a, enum ending ending);
/* Its deadline passed. */
void arrival_on_deadline(struct deadline *d);
/* The moment has come to look once more. */
void arrival_on_again(struct deadline *d);
void arrival_end_all(struct lane *l, enum ending ending);
/* The active color has changed: they count for the one they would be given
 * now. */
void arrival_recolor_all(struct lane *l);

#endif
