/* route.c - names to services: one hash table, read from a name's end.
 * Start-up builds it; any thread reads. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/route.h"
#include "model/route_path.h"

#define LABEL_MAX 63
#define NAME_MAX_BYTES 253

/* FNV-1a (Fowler, Noll, Vo), from the last byte to the first, so that all
 * endings of a name are hashed in one pass.  Strangers choose only what is
 * looked up, never what is in the table. */
#define HASH_BASIS 0xcbf29ce484222325ULL
#define HASH_PRIME 0x100000001b3ULL

/* One of those who share a name: by the prefix of its paths. */
struct sharer {
	char *prefix;	/* route_prefix(); "": all paths */
	int service;
};

struct slot {
	char *name;	/* "shop.example", or ".shop.example" of "*.shop.example"; NULL: free, or of the default */
	uint32_t n;
	uint32_t n_sharers;
	uint64_t hash;
	struct sharer *sharers;	/* the longest prefix first */
	int shown;	/* the one for all paths, else the first that was added */
};

struct route {
	struct slot *slots;
	size_t n_slots;	/* a power of two, at least twice as many as are used */
	size_t n_used;
	struct slot fallback;	/* n_sharers 0: none */
	bool wild;	/* some begin with a dot */
	bool by_path;	/* some share a name */
};

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* The shortest way to write what stands between the brackets; false: no IPv6
 * address does. */
static bool
shortest_form(struct str inner, char out[ROUTE_PATTERN])
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr ip;

	if (!str_copy(text, sizeof(text), inner) || inet_pton(AF_INET6, text, &ip) != 1)
		return false;
	inet_ntop(AF_INET6, &ip, text, sizeof(text));
	snprintf(out, ROUTE_PATTERN, "[%s]", text);
	return true;
}

bool
route_is_address(const char *pattern)
{
	struct in_addr ip;

	return pattern[0] == '[' || inet_pton(AF_INET, pattern, &ip) == 1;
}

static const char *
check_labels(const char *name)
{
	size_t n = strlen(name);
	const char *last = strrchr(name, '.');

	if (n == 0)
		return "it is empty";
	if (n > NAME_MAX_BYTES)
		return "it is longer than 253 bytes";
	for (const char *label = name; label != NULL;) {
		size_t length = strcspn(label, ".");

		if (length == 0)
			return "two dots, or one at its beginning";
		if (length > LABEL_MAX)
			return "a part between dots is longer than 63 bytes";
		if (label[0] == '-' || label[length - 1] == '-')
			return "a part between dots begins or ends with -";
		label = label[length] == '.' ? label + length + 1 : NULL;
	}
	last = last != NULL ? last + 1 : name;
	/* RFC 1123, section 2.1: names end with letters, so that they are told
	 * from addresses. */
	if (last[strspn(last, "0123456789")] == '\0' && !route_is_address(name))
		return "it ends with a number, but is no IPv4 address";
	return NULL;
}

const char *
route_pattern(const char *text, char out[ROUTE_PATTERN])
{
	size_t n = strlen(text), wild = strncmp(text, "*.", 2) == 0 ? 2 : 0, rest;
	const char *wrong;

	if (strcmp(text, "*") == 0)
		return "use default = true for requests that match no other service";
	if (text[0] == '[') {
		if (text[n - 1] == ']' && shortest_form((struct str){ text + 1, n - 2 }, out))
			return NULL;
		return "no IPv6 address in the brackets, or something behind them";
	}
	rest = strspn(text + wild, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_");
	if (strchr(text, ':') != NULL)
		return "a name without port; an IPv6 address stands in brackets";
	if (strchr(text + wild, '*') != NULL)
		return "* stands only at the beginning, as in \"*.shop.example\"";
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)text[i] >= 0x80)
			return "letters beyond ASCII are written as clients send them: xn--...";
	if (wild + rest != n)
		return "it has characters that no host name has";
	if (n >= ROUTE_PATTERN)
		return "it is longer than 253 bytes";
	for (size_t i = 0; i <= n; i++)
		out[i] = lower(text[i]);
	if (n > wild && out[n - 1] == '.')
		out[n - 1] = '\0';
	if ((wrong = check_labels(out + wild)) != NULL)
		return wrong;
	return wild > 0 && route_is_address(out + wild) ? "* does not go with an address" : NULL;
}

/* -- the table --------------------------------------------------------------- */

static uint64_t
hash_step(uint64_t h, char c)
{
	return (h ^ (unsigned char)c) * HASH_PRIME;
}

/* The table is indexed by low bits, which FNV alone mixes badly. */
static size_t
slot_at(const struct route *r, uint64_t hash)
{
	return (size_t)((hash ^ hash >> 32) * 0x9e3779b97f4a7c15ULL >> 16) & (r->n_slots - 1);
}

static void
insert(struct route *r, const struct slot *new)
{
	size_t i = slot_at(r, new->hash);

	while (r->slots[i].name != NULL)
		i = (i + 1) & (r->n_slots - 1);
	r->slots[i] = *new;
}

static void
grow_table(struct route *r)
{
	struct slot *old = r->slots;
	size_t n = r->n_slots;

	r->n_slots = n > 0 ? 2 * n : 8;
	r->slots = must_array(r->n_slots, sizeof(*r->slots));
	for (size_t i = 0; i < n; i++)
		if (old[i].name != NULL)
			insert(r, &old[i]);
	free(old);
}

struct route *
route_new(void)
{
	struct route *r = must_alloc(sizeof(*r));

	*r = (struct route){ .fallback.shown = -1 };
	grow_table(r);
	return r;
}

static void
clear_slot(struct slot *s)
{
	for (uint32_t i = 0; i < s->n_sharers; i++)
		free(s->sharers[i].prefix);
	free(s->sharers);
	free(s->name);
}

void
route_free(struct route **rp)
{
	struct route *r = *rp;

	*rp = NULL;
	if (r == NULL)
		return;
	for (size_t i = 0; i < r->n_slots; i++)
		clear_slot(&r->slots[i]);
	clear_slot(&r->fallback);
	free(r->slots);
	free(r);
}

/* name: any case. */
static struct slot *
find_name(const struct route *r, uint64_t hash, struct str name)
{
	for (size_t i = slot_at(r, hash); r->slots[i].name != NULL; i = (i + 1) & (r->n_slots - 1)) {
		struct slot *s = &r->slots[i];
		size_t k = 0;

		if (s->hash != hash || s->n != name.n)
			continue;
		while (k < name.n && lower(name.p[k]) == s->name[k])
			k++;
		if (k == name.n)
			return s;
	}
	return NULL;
}

static void
add_sharer(struct route *r, struct slot *s, const char *prefix, int service)
{
	uint32_t at = s->n_sharers++;

	s->sharers = must_grow(s->sharers, s->n_sharers, sizeof(*s->sharers));
	for (; at > 0 && strlen(s->sharers[at - 1].prefix) < strlen(prefix); at--)
		s->sharers[at] = s->sharers[at - 1];
	s->sharers[at] = (struct sharer){ must_strdup(prefix), service };
	if (prefix[0] == '\0' || s->n_sharers == 1)
		s->shown = service;
	r->by_path |= prefix[0] != '\0';
}

void
route_add(struct route *r, const char *pattern, const char *prefix, int service)
{
	const char *name = pattern[0] == '*' ? pattern + 1 : pattern;
	struct slot new = { .n = (uint32_t)strlen(name), .hash = HASH_BASIS }, *old;

	for (size_t i = new.n; i-- > 0;)
		new.hash = hash_step(new.hash, name[i]);
	if ((old = find_name(r, new.hash, (struct str){ name, new.n })) != NULL) {
		add_sharer(r, old, prefix, service);
		return;
	}
	new.name = must_strdup(name);
	add_sharer(r, &new, prefix, service);
	if (2 * ++r->n_used > r->n_slots)
		grow_table(r);
	insert(r, &new);
	r->wild |= name != pattern;
}

void
route_set_default(struct route *r, const char *prefix, int service)
{
	add_sharer(r, &r->fallback, prefix, service);
}

bool
route_is_by_path(const struct route *r)
{
	return r->by_path;
}

static bool
sharers_equal(const struct slot *a, const struct slot *b)
{
	if (b == NULL || a->n_sharers != b->n_sharers || a->shown != b->shown)
		return false;
	for (uint32_t i = 0; i < a->n_sharers; i++) {
		uint32_t k = 0;

		/* Those that are equally long stand in the order in which they were added. */
		while (k < b->n_sharers && strcmp(a->sharers[i].prefix, b->sharers[k].prefix) != 0)
			k++;
		if (k == b->n_sharers || a->sharers[i].service != b->sharers[k].service)
			return false;
	}
	return true;
}

bool
route_equal(const struct route *a, const struct route *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	if (a->n_used != b->n_used || !sharers_equal(&a->fallback, &b->fallback))
		return false;
	for (size_t i = 0; i < a->n_slots; i++) {
		const struct slot *s = &a->slots[i];

		if (s->name != NULL && !sharers_equal(s, find_name(b, s->hash, (struct str){ s->name, s->n })))
			return false;
	}
	return true;
}

/* Without port and last dot. */
static struct str
bare(struct str name, char room[ROUTE_PATTERN])
{
	const char *end = name.n > 0 && name.p[0] == '[' ? memchr(name.p, ']', name.n) : NULL;
	const char *colon;

	if (end != NULL && shortest_form((struct str){ name.p + 1, (size_t)(end - name.p) - 1 }, room))
		return str_from(room);
	if (end != NULL)
		return (struct str){ name.p, (size_t)(end - name.p) + 1 };
	if ((colon = memchr(name.p, ':', name.n)) != NULL)
		name.n = (size_t)(colon - name.p);
	if (name.n > 0 && name.p[name.n - 1] == '.')
		name.n--;
	return name;
}

/* Whose the path is; path.p NULL: the name alone is asked for. */
static int
pick_sharer(const struct slot *s, struct str path)
{
	if (path.p == NULL)
		return s->shown;
	for (uint32_t i = 0; i < s->n_sharers; i++)
		if (route_prefix_fits(str_from(s->sharers[i].prefix), path))
			return s->sharers[i].service;
	return ROUTE_NO_PATH;
}

/* Whatever the path is. */
static bool
takes_all(const struct slot *s)
{
	return s->n_sharers == 1 && s->sharers[0].prefix[0] == '\0';
}

/* *whole: no path of that name is another one's. */
static int
find_by(const struct route *r, struct str name, struct str path, bool *whole)
{
	uint64_t hash = HASH_BASIS;
	char room[ROUTE_PATTERN];
	int found, best = ROUTE_NONE;
	const struct slot *s;

	name = bare(name, room);
	if (name.n > NAME_MAX_BYTES)
		name.n = 0;
	*whole = r->fallback.n_sharers == 0 || takes_all(&r->fallback);
	if (r->fallback.n_sharers > 0)
		best = pick_sharer(&r->fallback, path);
	for (size_t i = name.n; i-- > 0;) {
		hash = hash_step(hash, lower(name.p[i]));
		if (name.p[i] != '.' || i == 0 || !r->wild ||
		    (s = find_name(r, hash, (struct str){ name.p + i, name.n - i })) == NULL)
			continue;
		*whole = takes_all(s);
		if ((found = pick_sharer(s, path)) >= 0 || best == ROUTE_NONE)
			best = found;
	}
	/* One that begins with a dot looks like the end of a pattern, and is none. */
	if (name.n == 0 || name.p[0] == '.' || (s = find_name(r, hash, name)) == NULL)
		return best;
	*whole = takes_all(s);
	return (found = pick_sharer(s, path)) >= 0 || best == ROUTE_NONE ? found : best;
}

int
route_find(const struct route *r, struct str name)
{
	bool whole;

	return find_by(r, name, (struct str){ NULL, 0 }, &whole);
}

struct by_name {
	const struct route *route;
	struct str name;
};

static int
pick_by_name(const void *arg, struct str path)
{
	const struct by_name *b = arg;
	bool whole;

	return find_by(b->route, b->name, path, &whole);
}

int
route_find_path(const struct route *r, struct str name, struct str path)
{
	const struct by_name b = { r, name };
	bool whole;
	int found;

	if (!r->by_path)
		return route_find(r, name);
	found = find_by(r, name, path, &whole);
	if (whole)
		return found;
	return route_path_agrees(path, pick_by_name, &b, &found) ? found : ROUTE_AMBIGUOUS;
}
