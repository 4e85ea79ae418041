/* local_addrs.c - the addresses of this machine.  Any thread, one at a time. */
#include <ifaddrs.h>
#include <stdlib.h>

#include "base/check.h"
#include "net/local_addrs.h"

static int
compare_locals(const void *a, const void *b)
{
	return addr_compare(a, b);
}

/* False: neither IPv4 nor IPv6. */
static bool
take_sockaddr(const struct sockaddr *sa, struct addr *out)
{
	const struct sockaddr_in6 *in6 = (const void *)sa;
	const struct sockaddr_in *in = (const void *)sa;

	if (sa == NULL || (sa->sa_family != AF_INET && sa->sa_family != AF_INET6))
		return false;
	addr_set_ip(out, sa->sa_family, sa->sa_family == AF_INET ? (const void *)&in->sin_addr : &in6->sin6_addr, 0);
	return true;
}

void
local_addrs_read(struct local_addrs *l)
{
	struct ifaddrs *all;
	struct addr a;

	local_addrs_free(l);
	l->read = true;
	if (getifaddrs(&all) != 0)
		return;
	for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
		if (!take_sockaddr(i->ifa_addr, &a))
			continue;
		if ((l->n & (l->n - 1)) == 0)
			l->list = must_grow(l->list, l->n == 0 ? 1 : 2 * l->n, sizeof(*l->list));
		l->list[l->n++] = a;
	}
	freeifaddrs(all);
	if (l->n > 0)
		qsort(l->list, l->n, sizeof(*l->list), compare_locals);
}

bool
local_addrs_has(const struct local_addrs *l, const struct addr *a)
{
	struct addr key = *a;

	addr_set_port(&key, 0);
	return l->n > 0 && bsearch(&key, l->list, l->n, sizeof(*l->list), compare_locals) != NULL;
}

bool
local_addrs_arrives(struct local_addrs *l, const struct addr *to, const struct addr *at)
{
	if (addr_arrives(to, at))
		return true;
	if (!addr_is_any(at) || addr_family(to) != addr_family(at) || addr_port(to) != addr_port(at))
		return false;
	if (!l->read)
		local_addrs_read(l);
	return local_addrs_has(l, to);
}

void
local_addrs_free(struct local_addrs *l)
{
	free(l->list);
	*l = (struct local_addrs){ .list = NULL };
}
