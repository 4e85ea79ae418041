/* http1_host.c - Host and the authority of a target.  Pure; any thread. */
#include <arpa/inet.h>
#include <string.h>

#include "base/check.h"
#include "proto/http1_host.h"
#include "proto/http1_machine.h"

/* Of an IPv6 zone, '%' with it. */
#define ZONE_MAX 64

static bool
is_hex(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static bool
read_host_port(struct str text, uint16_t *port)
{
	uint64_t value = 0;

	/* The grammar lets the digits be absent: "host:". */
	if (text.n > 0 && (text.n > 5 || !str_to_u64(text, 65535, &value)))
		return false;
	*port = (uint16_t)value;
	return true;
}

/* "%25eth0", or "%eth0" as many write it (RFC 6874): unreserved characters, or
 * encoded ones. */
static bool
is_zone(struct str text)
{
	if (text.n > 3 && text.p[1] == '2' && text.p[2] == '5')
		text = (struct str){ text.p + 2, text.n - 2 };
	for (size_t i = 1; i < text.n; i++) {
		char c = text.p[i];

		if (c == '%' && text.n - i > 2 && is_hex(text.p[i + 1]) && is_hex(text.p[i + 2]))
			i += 2;
		else if (!(c >= '0' && c <= '9') && !((c | 0x20) >= 'a' && (c | 0x20) <= 'z') &&
			 (c == '\0' || strchr("-._~", c) == NULL))
			return false;
	}
	return text.n > 1 && text.n <= ZONE_MAX;
}

/* "[::1]".  A zone has a meaning on the client's machine only: it is passed on and
 * plays no part in the name.  IPvFuture is refused: no RFC defines one. */
static bool
read_literal(struct str text, struct http1_host *out)
{
	char inner[INET6_ADDRSTRLEN], shortest[INET6_ADDRSTRLEN];
	struct in6_addr address;
	const char *zone = memchr(text.p, '%', text.n);
	size_t n = zone != NULL ? (size_t)(zone - text.p) : text.n - 1;

	if (text.n < 4 || text.p[text.n - 1] != ']' ||
	    (zone != NULL && !is_zone((struct str){ zone, text.n - n - 1 })) ||
	    !str_copy(inner, sizeof(inner), (struct str){ text.p + 1, n - 1 }) || strlen(inner) != n - 1 ||
	    inet_pton(AF_INET6, inner, &address) != 1)
		return false;
	inet_ntop(AF_INET6, &address, shortest, sizeof(shortest));
	out->n = (uint8_t)(strlen(shortest) + 2);
	out->name[0] = '[';
	memcpy(out->name + 1, shortest, out->n - 2u);
	out->name[out->n - 1] = ']';
	out->name[out->n] = '\0';
	return true;
}

static bool
read_reg_name(struct str text, struct http1_host *out)
{
	if (text.n == 0 || text.n > HTTP1_HOST_MAX)
		return false;
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];

		/* An empty label names nothing, and servers differ in how many dots
		 * they strip; one dot at the end is the root's. */
		if (c == '.' && (i == 0 || text.p[i - 1] == '.'))
			return false;
		if (!(http1_class[(unsigned char)c] & C_HOST) &&
		    (c != '%' || text.n - i < 3 || !is_hex(text.p[i + 1]) || !is_hex(text.p[i + 2])))
			return false;
		out->name[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
	}
	out->n = (uint8_t)text.n;
	if (out->n > 1 && out->name[out->n - 1] == '.')
		out->n--;
	out->name[out->n] = '\0';
	return true;
}

enum http1_reason
http1_host_parse(struct str authority, struct http1_host *out)
{
	struct str host = authority, port = { "", 0 };
	size_t colon = authority.n;

	out->n = 0;
	out->name[0] = '\0';
	out->port = 0;
	out->authority = authority;
	/* The last colon, unless it is within brackets. */
	while (colon > 0 && authority.p[colon - 1] != ':' && authority.p[colon - 1] != ']')
		colon--;
	if (colon > 0 && authority.p[colon - 1] == ':') {
		host.n = colon - 1;
		port = (struct str){ authority.p + colon, authority.n - colon };
	}
	if (!read_host_port(port, &out->port) ||
	    !(host.n > 0 && host.p[0] == '[' ? read_literal(host, out) : read_reg_name(host, out)))
		return HTTP1_HOST_BAD;
	return HTTP1_FINE;
}

/* Of "http://host:port/path" what lies between. */
static enum http1_reason
target_authority(struct str target, struct str *authority)
{
	size_t from = 0, end;

	if (target.n > 7 && str_case_eq((struct str){ target.p, 7 }, "http://"))
		from = 7;
	else if (target.n > 8 && str_case_eq((struct str){ target.p, 8 }, "https://"))
		from = 8;
	else
		return HTTP1_SCHEME_BAD;
	for (end = from; end < target.n && target.p[end] != '/' && target.p[end] != '?'; end++)
		if (target.p[end] == '@')
			return HTTP1_USERINFO;
	*authority = (struct str){ target.p + from, end - from };
	return HTTP1_FINE;
}

enum http1_reason
http1_host_of(const struct http1_head *h, struct http1_host *out)
{
	enum http1_reason reason;
	struct str authority;

	CHECK(h->verdict == HTTP1_DONE && !h->response);
	out->name[0] = '\0';
	out->n = 0;
	out->port = 0;
	out->authority = (struct str){ "", 0 };
	if (h->repeated & HTTP1_BIT(HTTP1_HOST))
		return HTTP1_HOST_REPEATED;
	if (http1_head_has(h, HTTP1_HOST)) {
		if ((reason = http1_host_parse(http1_head_get(h, HTTP1_HOST), out)) != HTTP1_FINE)
			return reason;
	} else if (h->minor > 0) {
		return HTTP1_HOST_MISSING;
	}
	if (h->form == HTTP1_AUTHORITY)
		return http1_host_parse(http1_text(h, h->target), out);
	if (h->form != HTTP1_ABSOLUTE)
		return HTTP1_FINE;
	if ((reason = target_authority(http1_text(h, h->target), &authority)) != HTTP1_FINE)
		return reason;
	return http1_host_parse(authority, out);
}

bool
http1_host_matches(const char *pattern, const struct http1_host *host)
{
	size_t n = strlen(pattern);

	if (pattern[0] != '*')
		return n == host->n && memcmp(pattern, host->name, n) == 0;
	return host->n > n - 1 && memcmp(pattern + 1, host->name + host->n - (n - 1), n - 1) == 0;
}
