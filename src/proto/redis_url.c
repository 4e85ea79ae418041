/* redis_url.c - the address of a Redis server.  Pure; any thread. */
#include <string.h>

#include "base/str.h"
#include "proto/redis_url.h"

/* More than any server is configured with; the server has the last word. */
#define DATABASE_MAX 65535

#define HOST_BYTES "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_"
#define IPV6_BYTES "0123456789ABCDEFabcdef:."

static struct str
skip_prefix(struct str s, size_t n)
{
	return (struct str){ s.p + n, s.n - n };
}

static struct str
first(struct str s, size_t n)
{
	return (struct str){ s.p, n };
}

/* How far it is to the first c, or to the end. */
static size_t
span_to(struct str s, char c)
{
	const char *at = memchr(s.p, c, s.n);

	return at != NULL ? (size_t)(at - s.p) : s.n;
}

static bool
is_made_of(struct str s, const char *bytes)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '\0' || strchr(bytes, s.p[i]) == NULL)
			return false;
	return s.n > 0;
}

static enum err
parse_endpoint(struct str s, unsigned default_port, struct redis_endpoint *out, struct why *why)
{
	struct str host, rest;
	uint64_t port = default_port;

	if (s.n > 0 && s.p[0] == '[') {
		size_t n = span_to(s, ']');

		host = first(skip_prefix(s, 1), n - 1);
		if (n == s.n || !is_made_of(host, IPV6_BYTES))
			return why_set(why, E_USAGE, "what stands in [ ] is not an IPv6 address");
		rest = skip_prefix(s, n + 1);
	} else {
		host = first(s, span_to(s, ':'));
		rest = skip_prefix(s, host.n);
		if (rest.n > 1 && memchr(rest.p + 1, ':', rest.n - 1) != NULL)
			return why_set(why, E_USAGE, "write an IPv6 address in brackets: [ADDRESS]:PORT");
		if (host.n == 0)
			return why_set(why, E_USAGE, "the host is missing");
		if (!is_made_of(host, HOST_BYTES) || host.p[0] == '-' || host.p[0] == '.')
			return why_set(why, E_USAGE, "the host is neither an address nor a name");
	}
	if (rest.n > 0 && (rest.p[0] != ':' || !str_to_u64(skip_prefix(rest, 1), 65535, &port) || port == 0))
		return why_set(why, E_USAGE, "the port must be a number from 1 to 65535");
	if (!str_copy(out->host, sizeof(out->host), host))
		return why_set(why, E_USAGE, "the name of the host is too long");
	out->port = (unsigned)port;
	return OK;
}

enum err
redis_endpoint_parse(const char *text, unsigned default_port, struct redis_endpoint *out, struct why *why)
{
	memset(out, 0, sizeof(*out));
	return parse_endpoint(str_from(text), default_port, out, why);
}

/* The user, percent-decoded. */
static enum err
parse_user(struct str s, char *out, size_t size, struct why *why)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (c == '%') {
			int high = i + 2 < s.n ? hex_digit(s.p[i + 1]) : -1;
			int low = high >= 0 ? hex_digit(s.p[i + 2]) : -1;

			if (low < 0)
				return why_set(why, E_USAGE,
					       "in the user, %% must be followed by two hex digits");
			c = (char)(high << 4 | low);
			i += 2;
		}
		if ((unsigned char)c <= ' ' || c == 0x7f)
			return why_set(why, E_USAGE, "the user has a blank or a control character");
		if (n + 1 == size)
			return why_set(why, E_USAGE, "the user is too long");
		out[n++] = c;
	}
	out[n] = '\0';
	return n > 0 ? OK : why_set(why, E_USAGE, "the user before @ is empty");
}

static enum err
parse_database(struct str s, unsigned *out, struct why *why)
{
	uint64_t number;

	if (!str_to_u64(s, DATABASE_MAX, &number))
		return why_set(why, E_USAGE, "the database must be a number from 0 to %d", DATABASE_MAX);
	*out = (unsigned)number;
	return OK;
}

/* /PATH[?db=DB] */
static enum err
parse_path(struct str s, struct redis_url *out, struct why *why)
{
	struct str path = first(s, span_to(s, '?')), query = skip_prefix(s, path.n), db = STR("?db=");

	if (path.n < 2 || path.p[0] != '/')
		return why_set(why, E_USAGE, "expected the path of a socket, as in unix:///run/redis.sock");
	if (!str_copy(out->path, sizeof(out->path), path))
		return why_set(why, E_USAGE, "the path of a socket has at most %zu bytes, this one %zu",
			       sizeof(out->path) - 1, path.n);
	if (query.n == 0)
		return OK;
	if (query.n < db.n || memcmp(query.p, db.p, db.n) != 0)
		return why_set(why, E_USAGE, "behind ? only db=NUMBER is known");
	return parse_database(skip_prefix(query, db.n), &out->database, why);
}

/* HOST[:PORT][/[DB]] */
static enum err
parse_host(struct str s, struct redis_url *out, struct why *why)
{
	struct str where = first(s, span_to(s, '/')), path = skip_prefix(s, where.n);
	enum err e = parse_endpoint(where, REDIS_PORT, &out->at, why);

	if (e != OK || path.n <= 1)
		return e;
	return parse_database(skip_prefix(path, 1), &out->database, why);
}

enum err
redis_url_parse(const char *text, struct redis_url *out, struct why *why)
{
	static const struct {
		const char *begin;
		bool tls, local;
	} schemes[] = {
		{ "redis://", false, false },
		{ "rediss://", true, false },
		{ "unix://", false, true },
	};
	struct str rest, user;
	size_t i = 0;
	enum err e;

	memset(out, 0, sizeof(*out));
	while (i < ARRAY_LEN(schemes) && strncmp(text, schemes[i].begin, strlen(schemes[i].begin)) != 0)
		i++;
	if (i == ARRAY_LEN(schemes))
		return why_set(why, E_USAGE,
			       "expected redis://HOST:PORT/DB, rediss://HOST:PORT/DB or "
			       "unix:///PATH");
	out->tls = schemes[i].tls;
	rest = str_from(text + strlen(schemes[i].begin));
	/* A path may have an @ of its own, and so may a password: the last one
	 * before the path counts. */
	user = first(rest, 0);
	for (size_t k = 0; k < rest.n && rest.p[k] != '/'; k++)
		if (rest.p[k] == '@')
			user = first(rest, k);
	if (user.p + user.n < rest.p + rest.n && user.p[user.n] == '@') {
		if (memchr(user.p, ':', user.n) != NULL)
			return why_set(why, E_USAGE,
				       "a password does not belong here, where others read it; "
				       "put it into a file and name that as password_file");
		if ((e = parse_user(user, out->user, sizeof(out->user), why)) != OK)
			return e;
		rest = skip_prefix(rest, user.n + 1);
	}
	return schemes[i].local ? parse_path(rest, out, why) : parse_host(rest, out, why);
}
