/* route.c - names to services: one hash table, read from a name's end.
 * Start-up builds it; any thread reads. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/route.h"

#define LABEL_MAX 63
#define NAME_MAX_BYTES 253

/* FNV-1a (Fowler, Noll, Vo), from the last byte to the first, so that all
 * endings of a name are hashed in one pass.  Strangers choose only what is
 * looked up, never what is in the table. */
#define HASH_BASIS 0xcbf29ce484222325ULL
#define HASH_PRIME 0x100000001b3ULL

struct slot {
	char *name;	/* "shop.example", or ".shop.example" of "*.shop.example"; NULL: free */
	uint32_t n;
	int service;
	uint64_t hash;
};

struct route {
	struct slot *slots;
	size_t n_slots;	/* a power of two, at least twice as many as are used */
	size_t n_used;
	int fallback;	/* -1: none */
	bool wild;	/* some begin with a dot */
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

	*r = (struct route){ .fallback = -1 };
	grow_table(r);
	return r;
}

void
route_free(struct route **rp)
{
	struct route *r = *rp;

	*rp = NULL;
	if (r == NULL)
		return;
	for (size_t i = 0; i < r->n_slots; i++)
		free(r->slots[i].name);
	free(r->slots);
	free(r);
}

void
route_add(struct route *r, const char *pattern, int service)
{
	const char *name = pattern[0] == '*' ? pattern + 1 : pattern;
	struct slot new = { must_strdup(name), (uint32_t)strlen(name), service, HASH_BASIS };

	for (size_t i = new.n; i-- > 0;)
		new.hash = hash_step(new.hash, new.name[i]);
	if (2 * ++r->n_used > r->n_slots)
		grow_table(r);
	insert(r, &new);
	r->wild |= name != pattern;
}

void
route_set_default(struct route *r, int service)
{
	r->fallback = service;
}

/* name: any case. */
static int
find_name(const struct route *r, uint64_t hash, struct str name)
{
	for (size_t i = slot_at(r, hash); r->slots[i].name != NULL; i = (i + 1) & (r->n_slots - 1)) {
		const struct slot *s = &r->slots[i];
		size_t k = 0;

		if (s->hash != hash || s->n != name.n)
			continue;
		while (k < name.n && lower(name.p[k]) == s->name[k])
			k++;
		if (k == name.n)
			return s->service;
	}
	return -1;
}

bool
route_equal(const struct route *a, const struct route *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	if (a->n_used != b->n_used || a->fallback != b->fallback)
		return false;
	for (size_t i = 0; i < a->n_slots; i++) {
		const struct slot *s = &a->slots[i];

		if (s->name != NULL && find_name(b, s->hash, (struct str){ s->name, s->n }) != s->service)
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

int
route_find(const struct route *r, struct str name)
{
	uint64_t hash = HASH_BASIS;
	char room[ROUTE_PATTERN];
	int found = -1, longest = -1;

	name = bare(name, room);
	if (name.n == 0 || name.n > NAME_MAX_BYTES)
		return r->fallback;
	for (size_t i = name.n; i-- > 0;) {
		hash = hash_step(hash, lower(name.p[i]));
		if (name.p[i] == '.' && i > 0 && r->wild &&
		    (found = find_name(r, hash, (struct str){ name.p + i, name.n - i })) >= 0)
			longest = found;
	}
	/* One that begins with a dot looks like the end of a pattern, and is none. */
	if (name.p[0] != '.' && (found = find_name(r, hash, name)) >= 0)
		return found;
	return longest >= 0 ? longest : r->fallback;
}
