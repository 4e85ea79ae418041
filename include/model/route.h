/* route.h - which of the services that share a listener gets a connection or
 * a request: by a name, the Host of a request or the SNI of a ClientHello.
 * Built from a configuration, of which nothing is kept; read by any thread. */
#ifndef MODEL_ROUTE_H
#define MODEL_ROUTE_H

#include <stdatomic.h>

#include "base/str.h"
#include "model/config.h"
#include "model/tally.h"

/* Bytes of a pattern, with its NUL. */
#define ROUTE_PATTERN 264

/* Brings a pattern as people write it, "shop.example", "*.shop.example",
 * "10.0.0.1" or "[::1]", into its one form: lower case, no dot at the end,
 * IPv6 at its shortest.  NULL, or in a few words what is wrong with it. */
const char *route_pattern(const char *text, char out[ROUTE_PATTERN]);
/* Whether a pattern is an address rather than a name. */
bool route_is_address(const char *pattern);

struct route;

struct route *route_new(void);
void route_free(struct route **rp);
/* pattern: from route_pattern(), and each only once; service: 0 or more.
 * "*.x" stands for every name that ends with ".x": one label more or several. */
/* prefix: from route_prefix() (model/route_path.h), each only once with a pattern; "": of all paths that no other
 * prefix of that pattern fits. */
void route_add(struct route *r, const char *pattern, const char *prefix, int service);
/* For names that no pattern fits, and for no name at all. */
void route_set_default(struct route *r, const char *prefix, int service);
/* The service for that name: the one that has it as it is, else the one with
 * the longest pattern "*." that fits, else the default; ROUTE_NONE: none.  Of several that share a name by their
 * paths the one for all paths, else the first that was added: whose certificate is shown.
 * Case, a port behind the name and one dot at its end make no difference.
 * One pass over the name, whatever the number of services. */
#define ROUTE_NONE (-1)
int route_find(const struct route *r, struct str name);

/* The same with the path of a request (a query behind it does not count): of those whose names fit the one with the
 * most exact name that has a prefix for the path, the longest. */
#define ROUTE_NO_PATH (-2)	/* the name is known, but not with that path */
#define ROUTE_AMBIGUOUS (-3)	/* the path could be read as one of another service's */
int route_find_path(const struct route *r, struct str name, struct str path);
bool route_is_by_path(const struct route *r);

/* The same names lead to the same services.  NULL is a route as well: none. */
bool route_equal(const struct route *a, const struct route *b);

/* An address to listen on, and the services behind it.  Immutable and
 * refcounted: its clients may outlive the configuration. */
struct binding {
	_Atomic uint32_t refs;
	struct addr addr;
	enum entrance entrance;
	bool datagram;	/* UDP: an address of its own, beside the same one of TCP */
	bool tls;	/* clients speak TLS here */
	unsigned *services;	/* owned; slots (service->index), in the configuration's order */
	size_t n_services;	/* at least 1 */
	unsigned owner;	/* of them the default one, else the first */
	struct route *route;	/* owned; NULL: the owner takes everything */
};

struct binding *binding_ref(struct binding *b);
/* Consumes the caller's reference: *bp is NULL on return. */
void binding_unref(struct binding **bp);
/* Clients of that address are told apart in the same way. */
bool binding_equal(const struct binding *a, const struct binding *b);
bool binding_is_for(const struct binding *b, unsigned service);

struct bindings {
	struct binding **list;	/* one reference each */
	size_t n;
};

/* Everything the proxied services listen on, each address once; the configuration has
 * been checked.  slots: of each of its services; NULL: their places in it.
 * Aborts when memory is out. */
void bindings_make(const struct config *c, const unsigned *slots, struct bindings *out);
void bindings_free(struct bindings *b);

#endif
