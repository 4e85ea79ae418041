/* ruleset_want.c - the elements that the sets are to have, and the numbers of
 * services.  Pure, any thread. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "kernel/ruleset_private.h"

/* -- the plan ------------------------------------------------------------------- */

void
ruleset_plan_init(struct ruleset_plan *p, const struct ruleset_config *config)
{
	CHECK(config->tag >= 1 && config->tag <= 255 && config->n_services <= MARK_SERVICES);
	*p = (struct ruleset_plan){
		.tag = config->tag,
		.tag_given = config->tag_given,
		.claims = config->claims,
		.max_age = config->max_age,
		.established = config->established > 0 ? config->established : 432000,
		.services = config->services,
		.n = config->n_services,
		.sources = config->sources,
		.n_sources = config->n_sources,
		.sockets = true,
		.numbers = must_array(config->n_services + 1, sizeof(*p->numbers)),
	};
	CHECK(strlen(config->table) <= RULESET_TABLE_MAX && strlen(config->owner) <= 100);
	snprintf(p->table, sizeof(p->table), "teal_%s", config->table);
	snprintf(p->comment, sizeof(p->comment), "teal %s", config->owner);
}

void
ruleset_plan_free(struct ruleset_plan *p)
{
	free(p->numbers);
	p->numbers = NULL;
}

void
ruleset_plan_number(struct ruleset_plan *p, const bool taken[MARK_SERVICES + 1])
{
	bool used[MARK_SERVICES + 1] = { true };
	unsigned next = 0;

	for (size_t i = 0; i < p->n; i++)
		used[p->numbers[i]] = true;
	for (size_t i = 0; i < p->n; i++) {
		if (p->numbers[i] != 0)
			continue;
		while (next <= MARK_SERVICES && (used[next] || (taken != NULL && taken[next])))
			next++;
		if (next > MARK_SERVICES) {
			taken = NULL;
			next = 0;
			i--;
			continue;
		}
		used[next] = true;
		p->numbers[i] = (uint16_t)next;
	}
}

/* -- lists ---------------------------------------------------------------------- */

void
ruleset_wants_free(struct ruleset_wants *w)
{
	free(w->list);
	*w = (struct ruleset_wants){ .n = 0 };
}

int
ruleset_want_compare(const struct ruleset_want *a, const struct ruleset_want *b)
{
	if (a->set != b->set)
		return a->set < b->set ? -1 : 1;
	if (a->e.key_len != b->e.key_len)
		return a->e.key_len < b->e.key_len ? -1 : 1;
	return memcmp(a->e.key, b->e.key, a->e.key_len);
}

static int
compare_wanted(const void *a, const void *b)
{
	return ruleset_want_compare(a, b);
}

void
ruleset_wants_sort(struct ruleset_wants *w)
{
	size_t n = 0;

	if (w->n == 0)
		return;
	qsort(w->list, w->n, sizeof(*w->list), compare_wanted);
	for (size_t i = 0; i < w->n; i++)
		if (n == 0 || ruleset_want_compare(&w->list[n - 1], &w->list[i]) != 0)
			w->list[n++] = w->list[i];
	w->n = n;
}

static struct nft_element *
add_wanted(struct ruleset_wants *w, enum ruleset_set set)
{
	struct ruleset_want *want;

	if (w->n == w->room) {
		w->room = w->room == 0 ? 16 : w->room * 2;
		w->list = must_grow(w->list, w->room, sizeof(*w->list));
	}
	want = &w->list[w->n++];
	memset(want, 0, sizeof(*want));
	want->set = (uint8_t)set;
	return &want->e;
}

/* -- keys ----------------------------------------------------------------------- */

/* The same places hold the same kind of set, for addresses and wildcards of each family. */
struct places {
	enum ruleset_set at[4];	/* of 4, 6, wild 4, wild 6 */
};

static const struct places marks = { { SET_MAIN4, SET_MAIN6, SET_WILD4, SET_WILD6 } };
static const struct places stale = { { SET_STALE4, SET_STALE6, SET_WILD_STALE4, SET_WILD_STALE6 } };
static const struct places local = { { SET_LOCAL4, SET_LOCAL6, SET_WILD_LOCAL4, SET_WILD_LOCAL6 } };

static const struct places here = { { SET_HERE4, SET_HERE6, SET_PORTS4, SET_PORTS6 } };

static void
put_key_bytes(struct nft_element *e, const void *p, size_t n)
{
	memcpy(e->key + e->key_len, p, n);
	e->key_len = (uint8_t)(e->key_len + (n + 3) / 4 * 4);
}

/* NULL for what is no address of a network. */
static struct nft_element *
want_address(struct ruleset_wants *w, const struct places *places, const struct addr *a,
	     enum service_mode mode)
{
	bool wild = addr_is_any(a), v6 = addr_family(a) == AF_INET6;
	uint8_t protocol = mode == MODE_UDP ? IPPROTO_UDP : IPPROTO_TCP;
	uint16_t port = htons((uint16_t)addr_port(a));
	struct nft_element *e;

	if (!v6 && addr_family(a) != AF_INET)
		return NULL;
	e = add_wanted(w, places->at[(wild ? 2 : 0) + (v6 ? 1 : 0)]);
	if (!wild && v6)
		put_key_bytes(e, &a->u.in6.sin6_addr, 16);
	else if (!wild)
		put_key_bytes(e, &a->u.in.sin_addr, 4);
	put_key_bytes(e, &protocol, sizeof(protocol));
	put_key_bytes(e, &port, sizeof(port));
	return e;
}

static struct nft_element *
add_mark(struct ruleset_wants *w, enum ruleset_set set, uint32_t mark)
{
	struct nft_element *e = add_wanted(w, set);

	put_key_bytes(e, &mark, sizeof(mark));
	return e;
}

static void
name_it(struct nft_element *e, enum nft_value value, const char *name)
{
	e->value = (uint8_t)value;
	CHECK(str_copy(e->name, sizeof(e->name), str_from(name)));
}

/* -- what a service wants -------------------------------------------------------- */

static void
want_entrance(const struct ruleset_plan *p, const struct ruleset_service *s, const struct addr *list,
	      size_t n, uint32_t mark, struct ruleset_wants *out)
{
	for (size_t i = 0; i < n; i++) {
		struct nft_element *e = want_address(out, &marks, &list[i], s->mode);

		if (e == NULL)
			continue;
		e->value = NFT_VALUE_MARK;
		e->mark = mark;
		e->mortal = p->max_age > 0;
	}
	if (n > 0)
		add_mark(out, SET_LIVE, mark & ~MARK_GENERATION);
}

void
ruleset_want_marks(const struct ruleset_plan *p, size_t service, const struct snapshot *snapshot,
		   struct ruleset_wants *out)
{
	const struct ruleset_service *s = &p->services[service];
	unsigned number = p->numbers[service];

	if (snapshot == NULL)
		return;
	if (!snapshot->refuse)
		want_entrance(p, s, s->listen, s->n_listen,
			      mark_make(p->tag, number, snapshot_color(snapshot, ENTRANCE_MAIN),
					ENTRANCE_MAIN, snapshot->epoch),
			      out);
	/* As in the proxy, who previews is not refused because the store is silent. */
	want_entrance(p, s, s->preview, s->n_preview,
		      mark_make(p->tag, number, snapshot_color(snapshot, ENTRANCE_PREVIEW), ENTRANCE_PREVIEW,
				snapshot->epoch),
		      out);
}

void
ruleset_want_color(const struct ruleset_plan *p, size_t service, enum color color, const char *chain,
		   struct ruleset_wants *out)
{
	uint32_t key = (uint32_t)p->numbers[service] << 12 | (color == BLUE ? MARK_COLOR : 0);

	name_it(add_mark(out, SET_COLORS, key), NFT_VALUE_JUMP, chain);
}

static void
want_fixed_entrance(const struct ruleset_service *s, const struct addr *list, size_t n, const char *counter,
		    struct ruleset_wants *out)
{
	for (size_t i = 0; i < n; i++) {
		struct nft_element *e = want_address(out, &stale, &list[i], s->mode);

		if (e == NULL)
			continue;
		name_it(e, NFT_VALUE_COUNTER, counter);
		if (s->local_clients)
			want_address(out, &local, &list[i], s->mode);
		want_address(out, &here, &list[i], s->mode);
	}
}

void
ruleset_want_fixed(const struct ruleset_plan *p, size_t service, const char *door, struct ruleset_wants *out)
{
	const struct ruleset_service *s = &p->services[service];
	uint32_t number = p->numbers[service], key = number << 12;
	char counter[NFT_NAME];

	snprintf(counter, sizeof(counter), "n%u/%s/%s", number, s->name,
		 ending_word(ruleset_refusal_ending(REFUSED_STALE)));
	want_fixed_entrance(s, s->listen, s->n_listen, counter, out);
	want_fixed_entrance(s, s->preview, s->n_preview, counter, out);
	snprintf(counter, sizeof(counter), "n%u/%s/%s", number, s->name,
		 ending_word(ruleset_refusal_ending(REFUSED_NO_BACKEND)));
	name_it(add_mark(out, SET_NO_BACKEND, key), NFT_VALUE_COUNTER, counter);
	snprintf(counter, sizeof(counter), "n%u/%s/stray", number, s->name);
	name_it(add_mark(out, SET_STRAYS, key), NFT_VALUE_COUNTER, counter);
	if (!s->transparent)
		add_mark(out, SET_MASQUERADE, (uint32_t)p->tag << 24 | key);
	if (door[0] == '\0')
		return;
	name_it(add_mark(out, SET_DOORS, key), NFT_VALUE_JUMP, door);
	name_it(add_mark(out, SET_DOORS, key | MARK_ENTRANCE), NFT_VALUE_JUMP, door);
}
