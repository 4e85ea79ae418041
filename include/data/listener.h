/* listener.h - one worker's socket on one address, and for whom its clients
 * are: one service, or as names tell.
 * Its terms do not change: where an address serves others from now on, another
 * listener takes over its socket, and this one stays for those who came by it
 * until they have gone or followed.
 * Owned by the worker.  Thread: the owning worker, but that main opens the first. */
#ifndef DATA_LISTENER_H
#define DATA_LISTENER_H

#include "model/route.h"
#include "net/acceptor.h"

#define LISTENER_MAGIC 0x6c697374u

struct admit;
struct lane;
struct udp_socket;
struct worker;

struct listener {
	uint32_t magic;
	struct worker *worker;
	struct lane *lane;	/* whose the clients are until a name says otherwise */
	struct binding *binding;	/* one reference */
	struct admit *admit;	/* one reference; NULL: it has no limits of its own */
	bool selective;	/* see admit_is_selective() */
	unsigned slot;	/* where the worker has it */
	unsigned users;	/* handshakes and clients that came by it, and listeners whose next it is */
	struct listener *next;	/* what took over its socket */
	bool retired;	/* closed by a reload, or taken over: freed once it has no users */
	const struct route *route;	/* NULL: they are all the lane's */
	struct acceptor acceptor;	/* closed for good where datagrams come */
	struct udp_socket *udp;	/* NULL: connections come, or it has none any more */
	enum entrance entrance;
	bool tls;	/* clients speak TLS here */
	bool handshakes;	/* its connections begin as a struct handshake */
};

/* The lane for a client or a request that asks for this name; NULL: none.  One of
 * several lanes may have no snapshot yet: the store has not told its color. */
struct lane *listener_lane(const struct listener *l, struct str name);
/* The same for a request.  *why, when it is NULL: ROUTE_NONE, ROUTE_NO_PATH or ROUTE_AMBIGUOUS. */
struct lane *listener_lane_by_path(const struct listener *l, struct str name, struct str path, int *why);
/* May a client that was shown the certificate of `shown` for that name ask `to`? */
bool listener_lets_ask(const struct listener *l, struct str name, const struct lane *shown, const struct lane *to);
/* A request for that lane came where no TLS is spoken, and is to come again
 * where it is. */
bool listener_redirects(const struct listener *l, const struct lane *to);

/* Where clients of that service speak TLS, who came without it to the address
 * `reached`: the port of a listener there, else of one for all addresses of the
 * family, else of any. */
unsigned listener_tls_port(const struct lane *to, const struct addr *reached);

/* fd is bound, and consumed, of datagrams by listener_open_datagrams(); -1: listener_take_over() brings one.  The other two are
 * referred to; admit may be NULL.  Aborts when memory is out. */
struct listener *listener_new(struct worker *w, unsigned slot, struct binding *b, struct admit *admit, int fd);
/* Where datagrams come: the socket (data/mode.h). */
void listener_open_datagrams(struct listener *l, int fd, bool awaits);
/* Once it is closed and has no users; *lp is NULL on return. */
void listener_free(struct listener **lp);
/* What depends on the configurations of its lanes; they are others now. */
void listener_obey(struct listener *l);
/* From now on l has old's socket, with those who are queued there. */
void listener_take_over(struct listener *l, struct listener *old);
/* The listener that has the socket now, which may be l itself. */
struct listener *listener_last(struct listener *l);
/* Unless something still stands in its way. */
void listener_resume(struct listener *l);
/* Nothing is accepted until then. */
void listener_pause(struct listener *l);
/* Closes, and who is queued stays for another process that has the socket, too. */
void listener_yield(struct listener *l);
/* Takes what is queued, then closes. */
void listener_close(struct listener *l);

#endif
