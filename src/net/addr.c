/* addr.c - socket addresses as text and back.  Any thread. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"
#include "base/check.h"
#include "base/hash.h"
#include "net/addr.h"

static enum err
parse_unix(const char *path, struct addr *out, struct why *why)
{
	size_t n = strlen(path);

	if (path[0] != '/')
		return why_set(why, E_USAGE, "unix:%s: the path must begin with /", path);
	if (n >= sizeof(out->u.un.sun_path))
		return why_set(why, E_USAGE, "unix:%s: path longer than %zu bytes", path,
			       sizeof(out->u.un.sun_path) - 1);
	out->u.un.sun_family = AF_UNIX;
	memcpy(out->u.un.sun_path, path, n + 1);
	out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
	return OK;
}

bool
addr_parse_ip(const char *host, unsigned port, struct addr *out)
{
	char bare[INET6_ADDRSTRLEN];
	size_t n = strlen(host);

	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, host, &out->u.in.sin_addr) == 1) {
		out->u.in.sin_family = AF_INET;
		out->len = sizeof(out->u.in);
		addr_set_port(out, port);
		return true;
	}
	if (n > 2 && host[0] == '[' && host[n - 1] == ']' && n - 2 < sizeof(bare)) {
		memcpy(bare, host + 1, n - 2);
		bare[n - 2] = '\0';
		host = bare;
	}
	if (inet_pton(AF_INET6, host, &out->u.in6.sin6_addr) == 1) {
		out->u.in6.sin6_family = AF_INET6;
		out->len = sizeof(out->u.in6);
		addr_set_port(out, port);
		return true;
	}
	return false;
}

/* The path of a Unix address: none for an unnamed peer, whose bytes the kernel
 * did not write; and not always terminated, for it may fill the field. */
static struct str
unix_path(const struct addr *a)
{
	size_t head = offsetof(struct sockaddr_un, sun_path);
	size_t n = a->len > head ? a->len - head : 0;

	return (struct str){ a->u.un.sun_path, strnlen(a->u.un.sun_path, n) };
}

enum err
addr_parse(const char *text, int flags, struct addr *out, struct why *why)
{
	const char *colon = strrchr(text, ':');
	char host[128];
	uint64_t port;
	size_t n;

	memset(out, 0, sizeof(*out));
	if (strncmp(text, "unix:", 5) == 0)
		return parse_unix(text + 5, out, why);
	if (colon == NULL)
		return why_set(why, E_USAGE, "\"%s\": no port; write ADDRESS:PORT, [IPV6]:PORT or unix:/path",
			       text);
	if (!str_to_u64(str_from(colon + 1), 65535, &port) || (port == 0 && !(flags & ADDR_PORT_0)))
		return why_set(why, E_USAGE, "\"%s\": the port must be a number from 1 to 65535", text);
	n = (size_t)(colon - text);
	if (n == 0 && (flags & ADDR_ANY_HOST))
		return addr_parse_ip("0.0.0.0", (unsigned)port, out) ? OK : E_INTERNAL;
	if (n == 0 || n >= sizeof(host))
		return why_set(why, E_USAGE, "\"%s\": no address before the port", text);
	memcpy(host, text, n);
	host[n] = '\0';
	if (strchr(host, ':') != NULL && host[0] != '[')
		return why_set(why, E_USAGE, "\"%s\": write an IPv6 address in brackets: [%s]:%u", text, host,
			       (unsigned)port);
	if (!addr_parse_ip(host, (unsigned)port, out))
		return why_set(why, E_USAGE, "\"%s\": \"%s\" is not an IP address", text, host);
	return OK;
}

enum err
addr_resolve(const char *host, unsigned port, struct addr *out, struct why *why)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG }, *found;
	int rc;

	if (addr_parse_ip(host, port, out))
		return OK;
	if ((rc = getaddrinfo(host, NULL, &hints, &found)) != 0)
		return why_set(why, E_USAGE, "\"%s\": %s", host, gai_strerror(rc));
	memset(out, 0, sizeof(*out));
	memcpy(&out->u, found->ai_addr, found->ai_addrlen);
	out->len = found->ai_addrlen;
	addr_set_port(out, port);
	freeaddrinfo(found);
	return OK;
}

/* By family, the first one's first, then by address. */
static int
by_preference(const struct addr *a, const struct addr *b, int first)
{
	if (addr_family(a) != addr_family(b))
		return addr_family(a) == first ? -1 : 1;
	if (addr_family(a) == AF_INET)
		return memcmp(&a->u.in.sin_addr, &b->u.in.sin_addr, sizeof(a->u.in.sin_addr));
	return memcmp(&a->u.in6.sin6_addr, &b->u.in6.sin6_addr, sizeof(a->u.in6.sin6_addr));
}

enum err
addr_resolve_all(const char *host, struct addr **out, size_t *n, struct why *why)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG }, *found;
	size_t room = 0;
	int rc;

	*n = 0;
	*out = NULL;
	if ((rc = getaddrinfo(host, NULL, &hints, &found)) != 0)
		return why_set(why, E_USAGE, "\"%s\": %s", host,
			       rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
	for (struct addrinfo *f = found; f != NULL; f = f->ai_next)
		room++;
	*out = must_array(room, sizeof(**out));
	for (struct addrinfo *f = found; f != NULL; f = f->ai_next) {
		struct addr a = { .len = f->ai_addrlen };
		size_t at = 0;

		memcpy(&a.u, f->ai_addr, f->ai_addrlen);
		while (at < *n && by_preference(&(*out)[at], &a, found->ai_family) < 0)
			at++;
		if (at < *n && by_preference(&(*out)[at], &a, found->ai_family) == 0)
			continue;
		memmove(&(*out)[at + 1], &(*out)[at], (*n - at) * sizeof(**out));
		(*out)[at] = a;
		(*n)++;
	}
	freeaddrinfo(found);
	return OK;
}

/* "10.0.0.1:80".  Every access line has one, and snprintf() would be a tenth of its cost. */
static void
format_ip4(const struct sockaddr_in *in, char *text)
{
	const unsigned char *ip = (const unsigned char *)&in->sin_addr;

	for (int i = 0; i < 4; i++) {
		text += decimal_u64(text, ip[i]);
		*text++ = i < 3 ? '.' : ':';
	}
	text[decimal_u64(text, ntohs(in->sin_port))] = '\0';
}

char *
addr_format(const struct addr *a, char text[ADDR_TEXT])
{
	char host[INET6_ADDRSTRLEN];
	struct str path;

	switch (addr_family(a)) {
	case AF_INET:
		format_ip4(&a->u.in, text);
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &a->u.in6.sin6_addr, host, sizeof(host));
		snprintf(text, ADDR_TEXT, "[%s]:%u", host, ntohs(a->u.in6.sin6_port));
		break;
	case AF_UNIX:
		path = unix_path(a);
		snprintf(text, ADDR_TEXT, "unix:%.*s", (int)path.n, path.p);
		break;
	default:
		snprintf(text, ADDR_TEXT, "none");
	}
	return text;
}

unsigned
addr_port(const struct addr *a)
{
	switch (addr_family(a)) {
	case AF_INET:
		return ntohs(a->u.in.sin_port);
	case AF_INET6:
		return ntohs(a->u.in6.sin6_port);
	default:
		return 0;
	}
}

void
addr_set_ip(struct addr *a, int family, const void *ip, uint16_t port)
{
	memset(a, 0, sizeof(*a));
	if (family == AF_INET) {
		a->len = sizeof(a->u.in);
		a->u.in.sin_family = AF_INET;
		a->u.in.sin_port = port;
		memcpy(&a->u.in.sin_addr, ip, 4);
	} else if (family == AF_INET6) {
		a->len = sizeof(a->u.in6);
		a->u.in6.sin6_family = AF_INET6;
		a->u.in6.sin6_port = port;
		memcpy(&a->u.in6.sin6_addr, ip, 16);
	}
}

void
addr_set_port(struct addr *a, unsigned port)
{
	if (addr_family(a) == AF_INET)
		a->u.in.sin_port = htons((uint16_t)port);
	else if (addr_family(a) == AF_INET6)
		a->u.in6.sin6_port = htons((uint16_t)port);
}

int
addr_compare(const struct addr *a, const struct addr *b)
{
	int fa = addr_family(a), fb = addr_family(b);
	unsigned pa, pb;
	int order;

	if (fa != fb)
		return fa - fb;
	if (addr_equal(a, b))
		return 0;
	if (fa == AF_UNIX) {
		size_t n = a->len < b->len ? a->len : b->len;

		order = memcmp(&a->u.un, &b->u.un, n);
		return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
	}
	pa = addr_port(a);
	pb = addr_port(b);
	if (pa != pb)
		return (pa > pb) - (pa < pb);
	if (fa == AF_INET)
		return memcmp(&a->u.in.sin_addr, &b->u.in.sin_addr, sizeof(a->u.in.sin_addr));
	return memcmp(&a->u.in6.sin6_addr, &b->u.in6.sin6_addr, sizeof(a->u.in6.sin6_addr));
}

bool
addr_equal(const struct addr *a, const struct addr *b)
{
	struct str path, other;

	if (addr_family(a) != addr_family(b))
		return false;
	switch (addr_family(a)) {
	case AF_INET:
		return a->u.in.sin_port == b->u.in.sin_port &&
		       a->u.in.sin_addr.s_addr == b->u.in.sin_addr.s_addr;
	case AF_INET6:
		return a->u.in6.sin6_port == b->u.in6.sin6_port &&
		       memcmp(&a->u.in6.sin6_addr, &b->u.in6.sin6_addr, sizeof(struct in6_addr)) == 0;
	case AF_UNIX:
		path = unix_path(a);
		other = unix_path(b);
		return path.n == other.n && memcmp(path.p, other.p, path.n) == 0;
	default:
		return true;
	}
}

uint64_t
addr_hash(const struct addr *a)
{
	struct str path;

	switch (addr_family(a)) {
	case AF_INET:
		return hash_bytes(&a->u.in.sin_addr, sizeof(a->u.in.sin_addr), a->u.in.sin_port);
	case AF_INET6:
		return hash_bytes(&a->u.in6.sin6_addr, sizeof(a->u.in6.sin6_addr), a->u.in6.sin6_port);
	case AF_UNIX:
		path = unix_path(a);
		return hash_bytes(path.p, path.n, 0);
	default:
		return 0;
	}
}

bool
addr_is_any(const struct addr *a)
{
	if (addr_family(a) == AF_INET)
		return a->u.in.sin_addr.s_addr == htonl(INADDR_ANY);
	return addr_family(a) == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a->u.in6.sin6_addr);
}

static bool
is_loopback(const struct addr *a)
{
	if (addr_family(a) == AF_INET)
		return (ntohl(a->u.in.sin_addr.s_addr) >> 24) == 127;
	return addr_family(a) == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&a->u.in6.sin6_addr);
}

void
addr_unmap(struct addr *a)
{
	const struct in6_addr from = a->u.in6.sin6_addr;

	if (addr_family(a) == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&from))
		addr_set_ip(a, AF_INET, from.s6_addr + 12, a->u.in6.sin6_port);
}

/* 127.0.0.1 or ::1 */
static bool
is_first_loopback(const struct addr *a)
{
	return is_loopback(a) && (addr_family(a) == AF_INET6 || a->u.in.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
}

bool
addr_arrives(const struct addr *to, const struct addr *at)
{
	if (addr_equal(to, at))
		return true;
	/* To connect to 0.0.0.0 is to connect to 127.0.0.1. */
	if (addr_is_any(to) && addr_family(to) == addr_family(at) && addr_port(to) == addr_port(at) && is_first_loopback(at))
		return true;
	return addr_is_any(at) && addr_family(to) == addr_family(at) && addr_port(to) == addr_port(at) &&
	       is_loopback(to);
}
