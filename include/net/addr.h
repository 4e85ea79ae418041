/* addr.h - a socket address: IPv4, IPv6 or a Unix path.
 * A value: copied freely, owns nothing. */
#ifndef NET_ADDR_H
#define NET_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/err.h"
#include "base/str.h"

struct addr {
	socklen_t len;	/* 0: no address */
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	} u;
};

/* The longest text addr_format() writes, with its NUL. */
#define ADDR_TEXT 128

/* "1.2.3.4:80", "[::1]:80" or "unix:/path"; no names, no port 0 unless
 * ADDR_PORT_0 is given (a test asking the kernel for a free one), and with
 * ADDR_ANY_HOST also ":80", meaning 0.0.0.0:80.  E_USAGE with the reason
 * otherwise. */
#define ADDR_PORT_0 1
#define ADDR_ANY_HOST 2
MUST_USE enum err addr_parse(const char *text, int flags, struct addr *out, struct why *why);

/* An IP address without port, "10.0.0.1" or "fe80::1" or "[::1]"; the port
 * is set to the given one (host byte order). */
MUST_USE bool addr_parse_ip(const char *host, unsigned port, struct addr *out);

/* The first address of a host name, by getaddrinfo(): blocks, so only at
 * start-up or on a helper thread.  An IP address needs no look-up. */
MUST_USE enum err addr_resolve(const char *host, unsigned port, struct addr *out, struct why *why);

/* All of them, each once, port 0: those of the family that the resolver puts
 * first, then those of the other, each in order, so that every caller takes the
 * same one.  An array of *n for free(); never empty when OK. */
MUST_USE enum err addr_resolve_all(const char *host, struct addr **out, size_t *n, struct why *why);

/* The inverse of addr_parse(): "1.2.3.4:80", "[::1]:80", "unix:/path"; an
 * unnamed Unix peer is "unix:".  Returns text. */
char *addr_format(const struct addr *a, char text[ADDR_TEXT]);

/* An order of addresses, port and all: 0 when addr_equal(). */
int addr_compare(const struct addr *a, const struct addr *b);
bool addr_equal(const struct addr *a, const struct addr *b);
/* The same for addresses that are addr_equal(). */
uint64_t addr_hash(const struct addr *a);
unsigned addr_port(const struct addr *a);	/* host byte order; 0 for Unix */
void addr_set_port(struct addr *a, unsigned port);
/* Of the bytes of an address, AF_INET or AF_INET6, and a port, in network order both; of another family nothing is set but
 * zeros. */
void addr_set_ip(struct addr *a, int family, const void *ip, uint16_t port);
static inline int
addr_family(const struct addr *a)
{
	return a->len == 0 ? AF_UNSPEC : a->u.sa.sa_family;
}
/* ::ffff:10.0.0.1 becomes 10.0.0.1: a connect to the one is a connect to the other. */
void addr_unmap(struct addr *a);
/* 0.0.0.0 or :: */
bool addr_is_any(const struct addr *a);
/* Would a connect to `to` arrive at the listener `at`, for all we can know? */
bool addr_arrives(const struct addr *to, const struct addr *at);

#endif
