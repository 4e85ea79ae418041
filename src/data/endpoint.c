/* endpoint.c - addresses made small, and back.  Any thread. */
#include <stddef.h>
#include <string.h>

#include "data/endpoint.h"

void
endpoint_get(const struct endpoint *e, struct addr *out)
{
	addr_set_ip(out, e->family, e->ip, e->port);
	if (out->len == 0) {
		out->len = offsetof(struct sockaddr_un, sun_path);
		out->u.un.sun_family = AF_UNIX;
	}
}

void
endpoint_set(struct endpoint *e, const struct addr *a)
{
	e->family = (uint16_t)addr_family(a);
	if (e->family == AF_INET) {
		e->port = a->u.in.sin_port;
		memcpy(e->ip, &a->u.in.sin_addr, 4);
	} else if (e->family == AF_INET6) {
		e->port = a->u.in6.sin6_port;
		memcpy(e->ip, &a->u.in6.sin6_addr, 16);
	}
}

const uint8_t *
endpoint_source(const struct endpoint *e, size_t *n)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (e->family == AF_UNIX) {
		*n = 0;
		return NULL;
	}
	*n = e->family == AF_INET ? 4 : 16;
	if (e->family == AF_INET6 && memcmp(e->ip, mapped, sizeof(mapped)) == 0) {
		*n = 4;
		return e->ip + sizeof(mapped);
	}
	return e->ip;
}
