/* http_url.c - http:// and https:// addresses.  Pure; any thread. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "proto/http_url.h"

#define PORT_HTTP 80
#define PORT_HTTPS 443

/* What a request target may be made of (RFC 3986 appendix A): visible ASCII without
 * what is in no URL. */
static bool
is_target(const char *s)
{
	for (; *s != '\0'; s++)
		if (*s <= ' ' || *s >= 0x7f || strchr("\"<>\\^`{|}", *s) != NULL)
			return false;
	return true;
}

enum err
http_url_parse(const char *text, struct http_url *out, struct why *why)
{
	char authority[sizeof(out->at.host) + 16];
	const char *rest;
	size_t n;

	memset(out, 0, sizeof(*out));
	out->tls = strncasecmp(text, "https://", 8) == 0;
	if (!out->tls && strncasecmp(text, "http://", 7) != 0)
		return why_set(why, E_USAGE, "expected http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH");
	text += out->tls ? 8 : 7;
	rest = text + strcspn(text, "/?#");
	n = (size_t)(rest - text);
	if (memchr(text, '@', n) != NULL)
		return why_set(why, E_USAGE,
			       "a user or password does not belong here, where others read it; put a token into a "
			       "file and name that as token_file");
	if (!str_copy(authority, sizeof(authority), (struct str){ text, n }))
		return why_set(why, E_USAGE, "the name of the host is too long");
	if (redis_endpoint_parse(authority, out->tls ? PORT_HTTPS : PORT_HTTP, &out->at, why) != OK)
		return E_USAGE;
	if (strchr(rest, '#') != NULL)
		return why_set(why, E_USAGE, "what begins with # is never sent to a server; remove it");
	if (!is_target(rest))
		return why_set(why, E_USAGE,
			       "the path has a blank or another character that must be percent-encoded");
	if ((size_t)snprintf(out->target, sizeof(out->target), "%s%s", *rest == '/' ? "" : "/", rest) >=
	    sizeof(out->target))
		return why_set(why, E_USAGE, "the path has at most %d bytes", HTTP_URL_TARGET - 1);
	return OK;
}

char *
http_url_authority(const struct http_url *u, char text[HTTP_URL_ORIGIN])
{
	bool brackets = strchr(u->at.host, ':') != NULL, usual = u->at.port == (u->tls ? PORT_HTTPS : PORT_HTTP);
	int n = snprintf(text, HTTP_URL_ORIGIN, "%s%s%s", brackets ? "[" : "", u->at.host, brackets ? "]" : "");

	if (!usual)
		snprintf(text + n, (size_t)(HTTP_URL_ORIGIN - n), ":%u", u->at.port);
	return text;
}

char *
http_url_origin(const struct http_url *u, char text[HTTP_URL_ORIGIN])
{
	char authority[HTTP_URL_ORIGIN];

	snprintf(text, HTTP_URL_ORIGIN, "%s://%.264s", u->tls ? "https" : "http", http_url_authority(u, authority));
	return text;
}
