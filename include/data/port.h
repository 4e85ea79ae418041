/* port.h - an address that the proxy listens on: what main keeps of it.
 * Thread: main. */
#ifndef DATA_PORT_H
#define DATA_PORT_H

#include "model/route.h"
#include "net/listening.h"

struct admit;

struct proxy_port {
	struct binding *binding;	/* one reference */
	struct admit *admit;	/* one reference; NULL: none is needed */
	struct listening sockets;	/* and the file of a Unix one */
	bool listening;	/* clients are queued there */
	bool kept;	/* for a successor as well */
};

/* configs: [slot], those of the binding's services.  Aborts when memory is out. */
struct proxy_port *port_new(struct binding *b, const struct service_config *const *configs);
/* The sockets are their acceptors' by now; *pp is NULL on return. */
void port_free(struct proxy_port **pp);
/* Binds the address once for each worker, or adopts sockets: these may be more than there
 * are workers, and each has an accept queue of its own, which has to be served. */
MUST_USE enum err port_open(struct proxy_port *p, unsigned workers, const struct service_config *owner,
			    struct why *why);
/* Of one that listens: its options and the length of its queue are these from now on. */
void port_tune(struct proxy_port *p, const struct tcp_options *o);
/* Clients queue from now on; harmless twice. */
MUST_USE enum err port_listen(struct proxy_port *p, const struct tcp_options *o, struct why *why);
/* The same before it is certain that they are served: no successor gets them yet, which
 * port_keep() changes. */
MUST_USE enum err port_claim(struct proxy_port *p, const struct tcp_options *o, struct why *why);
void port_keep(struct proxy_port *p);

#endif
