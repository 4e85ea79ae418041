/* cidr.c - networks and sets of them.  Any thread. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/cidr.h"

/* The address as the narrowest network that holds it; false for no address. */
static bool
host_of(const struct addr *a, struct cidr *out)
{
	memset(out, 0, sizeof(*out));
	switch (addr_family(a)) {
	case AF_INET:
		out->family = AF_INET;
		out->bits = 32;
		memcpy(out->ip, &a->u.in.sin_addr, 4);
		return true;
	case AF_INET6:
		if (IN6_IS_ADDR_V4MAPPED(&a->u.in6.sin6_addr)) {
			out->family = AF_INET;
			out->bits = 32;
			memcpy(out->ip, a->u.in6.sin6_addr.s6_addr + 12, 4);
			return true;
		}
		out->family = AF_INET6;
		out->bits = 128;
		memcpy(out->ip, &a->u.in6.sin6_addr, 16);
		return true;
	case AF_UNIX:
		out->family = AF_UNIX;
		return true;
	default:
		return false;
	}
}

/* Clears what is beyond the first bits; true when there was something. */
static bool
cut_prefix(uint8_t ip[16], unsigned bits)
{
	bool had = false;

	for (unsigned i = 0; i < 16; i++) {
		unsigned keep = bits >= 8 * (i + 1) ? 8 : bits <= 8 * i ? 0 : bits - 8 * i;
		uint8_t cleared = (uint8_t)(ip[i] & (0xff00 >> keep));

		had |= cleared != ip[i];
		ip[i] = cleared;
	}
	return had;
}

enum err
cidr_parse(const char *text, struct cidr *out, bool *inexact, struct why *why)
{
	const char *slash = strchr(text, '/');
	size_t n = slash != NULL ? (size_t)(slash - text) : strlen(text);
	bool mapped, dropped;
	struct addr addr;
	char host[64];
	uint64_t bits;
	unsigned most;

	memset(out, 0, sizeof(*out));
	if (inexact != NULL)
		*inexact = false;
	if (strcmp(text, "unix:") == 0) {
		out->family = AF_UNIX;
		return OK;
	}
	if (!str_copy(host, sizeof(host), (struct str){ text, n }) || !addr_parse_ip(host, 0, &addr))
		return why_set(why, E_USAGE, "\"%.80s\" is not a network such as \"10.0.0.0/8\"", text);
	(void)host_of(&addr, out);
	if (slash == NULL)
		return OK;
	most = addr_family(&addr) == AF_INET ? 32 : 128;
	if (!str_to_u64(str_from(slash + 1), most, &bits))
		return why_set(why, E_USAGE,
			       "\"%.80s\" is not a network such as \"10.0.0.0/8\": a number from 0 to %u "
			       "belongs after the /",
			       text, most);
	mapped = most == 128 && out->family == AF_INET;
	if (mapped && bits < 96)
		return why_set(why, E_USAGE,
			       "\"%.80s\" is more than all of IPv4, written as IPv6; write it as IPv4", text);
	out->bits = (uint8_t)(mapped ? bits - 96 : bits);
	dropped = cut_prefix(out->ip, out->bits);
	if (inexact != NULL)
		*inexact = dropped;
	return OK;
}

char *
cidr_format(const struct cidr *c, char text[CIDR_TEXT])
{
	char ip[INET6_ADDRSTRLEN];

	if (c->family != AF_INET && c->family != AF_INET6) {
		snprintf(text, CIDR_TEXT, "unix:");
		return text;
	}
	inet_ntop(c->family, c->ip, ip, sizeof(ip));
	snprintf(text, CIDR_TEXT, "%s/%u", ip, c->bits);
	return text;
}

/* Whether the whole of `in` is in c. */
static bool
covers(const struct cidr *c, const struct cidr *in)
{
	unsigned whole = c->bits / 8, rest = c->bits % 8;

	if (c->family != in->family || c->bits > in->bits || memcmp(c->ip, in->ip, whole) != 0)
		return false;
	return rest == 0 || ((c->ip[whole] ^ in->ip[whole]) & (0xff00 >> rest) & 0xff) == 0;
}

bool
cidr_match(const struct cidr *c, const struct addr *a)
{
	struct cidr host;

	return host_of(a, &host) && covers(c, &host);
}

/* By family, then first address. */
static int
compare_ranges(const struct cidr *a, const struct cidr *b)
{
	return a->family != b->family ? (int)a->family - b->family : memcmp(a->ip, b->ip, sizeof(a->ip));
}

/* The last one that begins at or before c: how many begin there or before. */
static size_t
rank(const struct cidr_set *set, const struct cidr *c)
{
	size_t low = 0, high = set->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_ranges(&set->list[middle], c) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Two networks are apart or one is inside the other.  As none in the set is
 * inside another, only the last that begins at or before an address can hold
 * it. */
void
cidr_set_add(struct cidr_set *set, const struct cidr *c)
{
	size_t at = rank(set, c), end;

	if (at > 0 && covers(&set->list[at - 1], c))
		return;
	/* One that begins at the same place and is narrower lies before. */
	if (at > 0 && covers(c, &set->list[at - 1]))
		at--;
	for (end = at; end < set->n && covers(c, &set->list[end]);)
		end++;
	/* c takes the place of list[at..end), which may be none. */
	if (end == at)
		set->list = must_grow(set->list, set->n + 1, sizeof(*set->list));
	memmove(&set->list[at + 1], &set->list[end], (set->n - end) * sizeof(*set->list));
	set->n = set->n + 1 - (end - at);
	set->list[at] = *c;
}

bool
cidr_set_match(const struct cidr_set *set, const struct addr *a)
{
	struct cidr host;
	size_t at;

	if (set->n == 0 || !host_of(a, &host))
		return false;
	at = rank(set, &host);
	return at > 0 && covers(&set->list[at - 1], &host);
}

void
cidr_set_clear(struct cidr_set *set)
{
	free(set->list);
	*set = (struct cidr_set){ 0 };
}
