/* route_path.c - the ways in which a path can be read.  Pure; any thread. */
#include <string.h>

#include "model/route_path.h"

/* -- prefixes -------------------------------------------------------------------- */

static bool
is_dots(const char *p, size_t n)
{
	return (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.');
}

const char *
route_prefix(const char *text, char out[ROUTE_PREFIX])
{
	size_t n = strlen(text);

	if (text[0] != '/')
		return "it does not begin with a slash";
	if (n >= ROUTE_PREFIX)
		return "it is longer than 255 bytes";
	if (text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,=:@/")] != '\0')
		return "it has characters that can be read in several ways, or that no path has";
	for (const char *at = text + 1; *at != '\0';) {
		size_t segment = strcspn(at, "/");

		if (segment == 0)
			return "two slashes in a row";
		if (is_dots(at, segment))
			return "a part of it is . or ..";
		at += segment + (at[segment] == '/');
	}
	memcpy(out, text, n + 1);
	if (out[n - 1] == '/')
		out[n - 1] = '\0';
	return NULL;
}

bool
route_prefix_fits(struct str prefix, struct str path)
{
	return path.n >= prefix.n && memcmp(path.p, prefix.p, prefix.n) == 0 &&
	       (path.n == prefix.n || path.p[prefix.n] == '/' || prefix.n == 0);
}

/* -- readings ---------------------------------------------------------------------- */

static bool
is_slash(char c, unsigned liberties)
{
	return c == '/' || (c == '\\' && (liberties & ROUTE_READ_BACKSLASH));
}

/* Takes the last segment off. */
static size_t
without_last(const char *p, size_t n)
{
	while (n > 0 && p[--n] != '/')
		;
	return n;
}

struct str
route_path_read(struct str path, unsigned liberties, char *room)
{
	size_t n = 0;

	for (size_t i = 0; i < path.n;) {
		const char *segment;
		size_t length = 0;
		bool cut = false;

		i += is_slash(path.p[i], liberties);
		segment = path.p + i;
		for (; i < path.n && !is_slash(path.p[i], liberties); i++) {
			if ((liberties & ROUTE_READ_CUT) && (path.p[i] == '?' || path.p[i] == '#')) {
				path.n = i;
				break;
			}
			cut |= (liberties & ROUTE_READ_CUT) && path.p[i] == ';';
			length += !cut;
		}
		if ((liberties & ROUTE_READ_MERGED) && length == 0)
			continue;
		if ((liberties & ROUTE_READ_DOTS) && is_dots(segment, length)) {
			n = length == 2 ? without_last(room, n) : n;
			continue;
		}
		room[n++] = '/';
		memcpy(room + n, segment, length);
		n += length;
	}
	return (struct str){ room, n };
}

static int
digit_of(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* Percent-decoded once; overlong forms of UTF-8 (RFC 3629 section 10) stand for what careless decoders make
 * of them. */
static struct str
percent_decode(struct str path, bool overlong, char *room)
{
	size_t n = 0;

	for (size_t i = 0; i < path.n; i++) {
		int high = path.p[i] == '%' && i + 2 < path.n ? digit_of(path.p[i + 1]) : -1,
		    low = high >= 0 ? digit_of(path.p[i + 2]) : -1;
		unsigned char before = n > 0 ? (unsigned char)room[n - 1] : 0;

		room[n++] = low >= 0 ? (char)(high << 4 | low) : path.p[i];
		i += low >= 0 ? 2 : 0;
		if (overlong && (before == 0xc0 || before == 0xc1) && ((unsigned char)room[n - 1] & 0xc0) == 0x80) {
			room[n - 2] = (char)((before & 1) << 6 | (room[n - 1] & 0x3f));
			n--;
		}
	}
	return (struct str){ room, n };
}

/* Which liberties make a difference, and whether decoding may. */
static unsigned
liberties_of(struct str path, bool *encoded)
{
	unsigned found = 0;
	char before = '\0';

	*encoded = false;
	for (size_t i = 0; i < path.n; i++) {
		char c = path.p[i];

		*encoded |= c == '%' || (unsigned char)c == 0xc0 || (unsigned char)c == 0xc1;
		found |= c == '\\' ? ROUTE_READ_BACKSLASH : 0;
		/* What is cut may leave nothing, or dots, between two slashes. */
		found |= c == ';' || c == '?' || c == '#' ? ROUTE_READ_CUT | ROUTE_READ_MERGED : 0;
		if (before == '/' || before == '\\')
			found |= c == '/' || c == '\\' ? ROUTE_READ_MERGED : c == '.' ? ROUTE_READ_DOTS : 0;
		before = c;
	}
	return found;
}

static bool
readings_agree(struct str path, unsigned liberties, route_pick *pick, const void *arg, int service)
{
	char room[ROUTE_PATH_MAX + 1];

	/* Each subset of those that make a difference. */
	for (unsigned some = liberties;; some = (some - 1) & liberties) {
		if (pick(arg, route_path_read(path, some, room)) != service)
			return false;
		if (some == 0)
			return true;
	}
}

bool
route_path_agrees(struct str path, route_pick *pick, const void *arg, int *service)
{
	const char *query = memchr(path.p, '?', path.n);
	char once[ROUTE_PATH_MAX], twice[ROUTE_PATH_MAX];
	struct str decoded;
	unsigned liberties;
	bool encoded;

	if (query != NULL)
		path.n = (size_t)(query - path.p);
	if (path.n == 0)
		path = STR("/");
	*service = pick(arg, path);
	liberties = liberties_of(path, &encoded);
	if (liberties == 0 && !encoded)
		return true;
	if (path.n > ROUTE_PATH_MAX || !readings_agree(path, liberties, pick, arg, *service))
		return false;
	if (!encoded)
		return true;
	decoded = percent_decode(path, false, once);
	/* For some the path ends at a NUL. */
	if (memchr(decoded.p, '\0', decoded.n) != NULL ||
	    !readings_agree(decoded, liberties_of(decoded, &encoded), pick, arg, *service))
		return false;
	if (!encoded)
		return true;
	decoded = percent_decode(decoded, true, twice);
	return memchr(decoded.p, '\0', decoded.n) == NULL &&
	       readings_agree(decoded, liberties_of(decoded, &encoded), pick, arg, *service);
}
