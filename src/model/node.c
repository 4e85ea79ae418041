/* node.c - overlays of node pools.  Pure. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/str.h"
#include "model/config.h"
#include "model/node.h"
#include "net/addr.h"

static const char *const wish_words[] = { "ready", "drain", "removed" };

const char *
node_wish_word(enum node_wish w)
{
	CHECK((size_t)w < ARRAY_LEN(wish_words));
	return wish_words[w];
}

bool
node_wish_from_word(const char *word, enum node_wish *out)
{
	for (size_t i = 0; i < ARRAY_LEN(wish_words); i++)
		if (strcmp(word, wish_words[i]) == 0) {
			*out = (enum node_wish)i;
			return true;
		}
	return false;
}

bool
node_is_host(const char *host)
{
	size_t n = strlen(host);
	struct addr addr;

	if (n == 0 || n > 253)
		return false;
	if (addr_parse_ip(host, 0, &addr))
		return true;
	return host[0] != '-' && host[0] != '.' &&
	       strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_") == n;
}

bool
node_same_host(const char *a, const char *b)
{
	struct addr one, other;

	/* IPv4 addresses and names have one spelling, but for case; thousands are compared with thousands. */
	if (strchr(a, ':') == NULL || strchr(b, ':') == NULL)
		return strcasecmp(a, b) == 0;
	if (addr_parse_ip(a, 0, &one))
		return addr_parse_ip(b, 0, &other) && addr_equal(&one, &other);
	return strcasecmp(a, b) == 0;
}

bool
pool_has_host(const struct pool_config *p, const char *host)
{
	/* As a rule spelled alike: thousands of services ask for each of their backends. */
	for (size_t i = 0; i < p->n_hosts; i++)
		if (strcmp(p->hosts[i], host) == 0)
			return true;
	for (size_t i = 0; i < p->n_hosts; i++)
		if (node_same_host(p->hosts[i], host))
			return true;
	return false;
}

const struct node *
overlay_find(const struct overlay *o, const char *host)
{
	for (size_t i = 0; i < o->n; i++)
		if (node_same_host(o->list[i].host, host))
			return &o->list[i];
	return NULL;
}

enum node_wish
overlay_wish(const struct overlay *o, bool configured, const char *host)
{
	const struct node *said = overlay_find(o, host);

	if (said != NULL)
		return said->wish;
	return configured ? NODE_READY : NODE_REMOVED;
}

bool
overlay_set(struct overlay *o, const char *host, enum node_wish wish)
{
	const struct node *is = overlay_find(o, host);

	if (is != NULL) {
		o->list[is - o->list].wish = wish;
		o->list[is - o->list].terms = NODE_NO_TERMS;
		return true;
	}
	if (o->n >= NODES_MAX)
		return false;
	o->list = must_grow(o->list, o->n + 1, sizeof(*o->list));
	o->list[o->n] = (struct node){ .wish = wish, .terms = NODE_NO_TERMS };
	CHECK(str_copy(o->list[o->n].host, sizeof(o->list[o->n].host), str_from(host)));
	o->n++;
	return true;
}

void
overlay_set_terms(struct overlay *o, const char *host, const struct node_terms *terms)
{
	const struct node *is = overlay_find(o, host);

	CHECK(is != NULL);
	o->list[is - o->list].terms = *terms;
}

bool
node_terms_same(const struct node_terms *a, const struct node_terms *b)
{
	return a->since_us == b->since_us && a->timeout_us == b->timeout_us && a->spread_us == b->spread_us;
}

void
overlay_unset(struct overlay *o, const char *host)
{
	const struct node *is = overlay_find(o, host);
	size_t i;

	if (is == NULL)
		return;
	i = (size_t)(is - o->list);
	memmove(&o->list[i], &o->list[i + 1], (o->n - i - 1) * sizeof(*o->list));
	o->n--;
}

static bool
same_wishes(const struct overlay *a, const struct overlay *b, bool with_terms)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		const struct node *other = overlay_find(b, a->list[i].host);

		if (other == NULL || other->wish != a->list[i].wish ||
		    (with_terms && !node_terms_same(&a->list[i].terms, &other->terms)))
			return false;
	}
	return true;
}

bool
overlay_same(const struct overlay *a, const struct overlay *b)
{
	return same_wishes(a, b, false);
}

bool
overlay_same_terms(const struct overlay *a, const struct overlay *b)
{
	return same_wishes(a, b, true);
}

void
overlay_copy(struct overlay *to, const struct overlay *from)
{
	struct node *list = NULL;

	if (to == from)
		return;
	if (from->n > 0) {
		list = must_array(from->n, sizeof(*list));
		memcpy(list, from->list, from->n * sizeof(*list));
	}
	overlay_free(to);
	*to = (struct overlay){ .version = from->version, .forced = from->forced, .list = list, .n = from->n };
}

void
overlay_free(struct overlay *o)
{
	free(o->list);
	*o = (struct overlay){ 0 };
}
