/* cidr.h - networks such as 10.0.0.0/8, and sets of them.
 * An IPv4 client that reached an IPv6 socket (::ffff:10.0.0.1) counts as the
 * IPv4 client it is, and so does a network written that way; so no IPv6
 * network, ::/0 neither, holds an IPv4 client.
 * A cidr is a value; a set belongs to its holder and is read by any thread
 * once it is complete. */
#ifndef NET_CIDR_H
#define NET_CIDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/addr.h"

struct cidr {
	uint8_t family;	/* AF_INET, AF_INET6, or AF_UNIX: any local peer */
	uint8_t ip[16];	/* IPv4 in the first 4; the bits beyond the prefix are 0 */
	uint8_t bits;	/* 0 to 32 or 128 */
};

/* The longest text cidr_format() writes, with its NUL. */
#define CIDR_TEXT 64

/* "10.0.0.0/8", "2001:db8::/32", an address alone, or "unix:" for the peers of
 * Unix sockets.  Bits beyond the prefix are dropped; *inexact says so, and may
 * be NULL.  E_USAGE with the reason otherwise. */
MUST_USE enum err cidr_parse(const char *text, struct cidr *out, bool *inexact, struct why *why);
/* The inverse: always with the prefix length.  Returns text. */
char *cidr_format(const struct cidr *c, char text[CIDR_TEXT]);
/* Whether the address (its port does not matter) is in the network. */
bool cidr_match(const struct cidr *c, const struct addr *a);

/* All zero is an empty set. */
struct cidr_set {
	struct cidr *list;	/* in order, none inside another */
	size_t n;
};

/* Adds a copy.  Aborts when memory is out: for start-up. */
void cidr_set_add(struct cidr_set *set, const struct cidr *c);
/* Whether any of the networks holds the address: O(log n). */
bool cidr_set_match(const struct cidr_set *set, const struct addr *a);
static inline bool
cidr_set_is_empty(const struct cidr_set *set)
{
	return set->n == 0;
}
/* Leaves it empty and usable again. */
void cidr_set_clear(struct cidr_set *set);

#endif
