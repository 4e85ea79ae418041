/* flows_table.c - flows by key, backends by address.  Thread: the flows thread. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "kernel/flows_table.h"

#define LEAST 1024

/* -- flows --------------------------------------------------------------- */

void
flow_table_init(struct flow_table *t)
{
	memset(t, 0, sizeof(*t));
	t->size = LEAST;
	t->slots = must_array(t->size, sizeof(*t->slots));
	t->secret = hash_secret_new();
}

void
flow_table_free(struct flow_table *t)
{
	for (size_t i = 0; i < t->size; i++)
		free(t->slots[i].shadow);
	free(t->slots);
	memset(t, 0, sizeof(*t));
}

uint64_t
flow_key(const struct flow_table *t, const struct flow_tuple *tuple, uint32_t id)
{
	struct {
		struct flow_tuple tuple;
		uint32_t id;
	} all = { *tuple, id };
	uint64_t key;

	_Static_assert(sizeof(all) == sizeof(struct flow_tuple) + 4, "no padding");
	key = hash_keyed(&all, sizeof(all), &t->secret);
	return key != 0 ? key : 1;
}

static size_t
find_slot(const struct flow_table *t, uint64_t key)
{
	size_t i = key & (t->size - 1);

	while (t->slots[i].key != 0 && t->slots[i].key != key)
		i = (i + 1) & (t->size - 1);
	return i;
}

static void
resize_table(struct flow_table *t, size_t size)
{
	struct flow_table next = { .slots = must_array(size, sizeof(*next.slots)), .size = size };

	for (size_t i = 0; i < t->size; i++)
		if (t->slots[i].key != 0)
			next.slots[find_slot(&next, t->slots[i].key)] = t->slots[i];
	free(t->slots);
	t->slots = next.slots;
	t->size = size;
}

struct flow *
flow_find(const struct flow_table *t, uint64_t key)
{
	struct flow *f = &t->slots[find_slot(t, key)];

	return f->key != 0 ? f : NULL;
}

struct flow *
flow_add(struct flow_table *t, uint64_t key)
{
	struct flow *f;

	if ((t->n + 1) * 4 > t->size * 3)
		resize_table(t, t->size * 2);
	f = &t->slots[find_slot(t, key)];
	CHECK(f->key == 0);
	f->key = key;
	t->n++;
	return f;
}

void
flow_remove(struct flow_table *t, struct flow *f)
{
	size_t hole = (size_t)(f - t->slots), i = hole;

	free(f->shadow);
	/* What was pushed past the hole moves up, so that no search ends early. */
	for (;;) {
		size_t home;

		i = (i + 1) & (t->size - 1);
		if (t->slots[i].key == 0)
			break;
		home = t->slots[i].key & (t->size - 1);
		if (((i - home) & (t->size - 1)) < ((i - hole) & (t->size - 1)))
			continue;
		t->slots[hole] = t->slots[i];
		hole = i;
	}
	memset(&t->slots[hole], 0, sizeof(t->slots[hole]));
	t->n--;
	if (t->size > LEAST && t->n * 8 < t->size)
		resize_table(t, t->size / 2);
}

/* -- places -------------------------------------------------------------- */

void
place_table_init(struct place_table *t)
{
	memset(t, 0, sizeof(*t));
	t->size = LEAST;
	t->index = must_array(t->size, sizeof(*t->index));
	t->secret = hash_secret_new();
}

void
place_table_free(struct place_table *t)
{
	for (size_t i = 0; i < t->n; i++)
		backend_unref(&t->list[i].backend);
	free(t->list);
	free(t->index);
	memset(t, 0, sizeof(*t));
}

/* What makes a place: it is hashed and compared. */
struct place_key {
	uint8_t address[16];
	uint16_t port, service;
	uint8_t family, color;
};
_Static_assert(sizeof(struct place_key) == 22, "no padding");

static size_t
place_slot(const struct place_table *t, const struct place_key *key)
{
	size_t i = hash_keyed(key, sizeof(*key), &t->secret) & (t->size - 1);

	while (t->index[i] != 0 && memcmp(&t->list[t->index[i] - 1], key, sizeof(*key)) != 0)
		i = (i + 1) & (t->size - 1);
	return i;
}

static void
place_index(struct place_table *t, size_t size)
{
	free(t->index);
	t->size = size;
	t->index = must_array(size, sizeof(*t->index));
	for (uint32_t i = 0; i < t->n; i++) {
		struct place_key key;

		memcpy(&key, &t->list[i], sizeof(key));
		t->index[place_slot(t, &key)] = i + 1;
	}
}

uint32_t
place_of(struct place_table *t, unsigned service, enum color color, const struct addr *a)
{
	struct place_key key = { .service = (uint16_t)service, .color = (uint8_t)color };
	size_t slot;

	_Static_assert(offsetof(struct place, color) == offsetof(struct place_key, color),
		       "begins as its key");
	key.family = (uint8_t)addr_family(a);
	if (key.family == AF_INET) {
		memcpy(key.address, &a->u.in.sin_addr, 4);
		key.port = a->u.in.sin_port;
	} else if (key.family == AF_INET6) {
		memcpy(key.address, &a->u.in6.sin6_addr, 16);
		key.port = a->u.in6.sin6_port;
	}
	slot = place_slot(t, &key);
	if (t->index[slot] != 0)
		return t->index[slot] - 1;
	if (t->n == t->room) {
		t->room = t->room > 0 ? t->room * 2 : 64;
		t->list = must_grow(t->list, t->room, sizeof(*t->list));
	}
	memset(&t->list[t->n], 0, sizeof(t->list[0]));
	memcpy(&t->list[t->n], &key, sizeof(key));
	t->list[t->n].next = t->first[service];
	t->index[slot] = t->first[service] = (uint32_t)++t->n;
	if (t->n * 2 > t->size)
		place_index(t, t->size * 2);
	return (uint32_t)t->n - 1;
}

void
place_table_prune(struct place_table *t, uint32_t *keep)
{
	uint32_t n = 0;

	memset(t->first, 0, sizeof(t->first));
	for (uint32_t i = 0; i < t->n; i++) {
		if (keep[i] == 0 && t->list[i].backend == NULL)
			continue;
		t->list[n] = t->list[i];
		t->list[n].next = t->first[t->list[n].service];
		keep[i] = n++;
		t->first[t->list[keep[i]].service] = n;
	}
	t->n = n;
	place_index(t, t->size);
}

void
place_address(const struct place *p, struct addr *out)
{
	struct flow_tuple t = { .family = p->family, .src_port = p->port };

	memcpy(t.src, p->address, sizeof(t.src));
	flow_source(&t, out);
}
