/* listener.h - one worker's socket on one address, and for whom its clients
 * are: one service, or as names tell.
 * Owned by the worker, in the order of the proxy's bindings.
 * Thread: the owning worker, but that main opens it. */
#ifndef DATA_LISTENER_H
#define DATA_LISTENER_H

#include "model/route.h"
#include "net/acceptor.h"

#define LISTENER_MAGIC 0x6c697374u

struct lane;
struct worker;

struct listener {
	uint32_t magic;
	struct worker *worker;
	struct lane *lane;	/* whose the clients are until a name says otherwise */
	const struct binding *binding;
	unsigned index;	/* of the binding, among the proxy's */
	const struct route *route;	/* NULL: they are all the lane's */
	struct acceptor acceptor;
	enum entrance entrance;
	bool tls;	/* clients speak TLS here */
	bool handshakes;	/* its connections begin as a struct handshake */
};

/* Whose a client or a request is that asks for this name; NULL: nobody's.  One
 * of several lanes may have no snapshot yet: the store has not told its color. */
struct lane *listener_lane(const struct listener *l, struct str name);
/* A request for that lane came where no TLS is spoken, and is to come again
 * where it is. */
bool listener_redirects(const struct listener *l, const struct lane *to);

/* Where clients of that service speak TLS, who came without it to the address
 * `reached`: the port of a listener there, else of one for all addresses of the
 * family, else of any. */
unsigned listener_tls_port(const struct lane *to, const struct addr *reached);

/* Main, before the worker runs: fd is bound, and consumed.  For free() once the
 * worker has ended. */
struct listener *listener_new(struct worker *w, const struct binding *b, unsigned index, int fd);
void listener_pause(struct listener *l);
/* Unless something still stands in its way. */
void listener_resume(struct listener *l);
/* Takes what is queued, then closes. */
void listener_close(struct listener *l);

#endif
