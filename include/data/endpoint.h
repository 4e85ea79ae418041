/* endpoint.h - an IP address and port, compact: there may be a million.
 * Any thread. */
#ifndef DATA_ENDPOINT_H
#define DATA_ENDPOINT_H

#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"

struct endpoint {
	uint16_t family;	/* AF_INET, AF_INET6 or AF_UNIX; 0: none */
	uint16_t port;	/* network order */
	uint8_t ip[16];
};

void endpoint_set(struct endpoint *e, const struct addr *a);
void endpoint_get(const struct endpoint *e, struct addr *out);
/* The bytes of the address by which a client is known again, and how many; an
 * IPv4 address that came mapped into IPv6 (RFC 4291 section 2.5.5.2), as PROXY
 * headers have it, is the IPv4 address.  NULL without an address. */
const uint8_t *endpoint_source(const struct endpoint *e, size_t *n);

#endif
