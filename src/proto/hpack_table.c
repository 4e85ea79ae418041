/* hpack_table.c - the tables of field compression.  Any thread; a dynamic table belongs to one at a time. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "proto/hpack_table.h"

/* -- the static one (RFC 7541, appendix A) ----------------------------------------------- */

#define L(name, value) \
	{ \
		name ": " value "\r\n", sizeof(name) - 1, sizeof(value) - 1, 0 \
	}
struct hpack_static hpack_static[HPACK_STATIC + 1] = {
	{ "", 0, 0, 0 },
	L(":authority", ""), L(":method", "GET"), L(":method", "POST"), L(":path", "/"), L(":path", "/index.html"),
	L(":scheme", "http"), L(":scheme", "https"), L(":status", "200"), L(":status", "204"), L(":status", "206"),
	L(":status", "304"), L(":status", "400"), L(":status", "404"), L(":status", "500"), L("accept-charset", ""),
	L("accept-encoding", "gzip, deflate"), L("accept-language", ""), L("accept-ranges", ""), L("accept", ""),
	L("access-control-allow-origin", ""), L("age", ""), L("allow", ""), L("authorization", ""),
	L("cache-control", ""), L("content-disposition", ""), L("content-encoding", ""), L("content-language", ""),
	L("content-length", ""), L("content-location", ""), L("content-range", ""), L("content-type", ""),
	L("cookie", ""), L("date", ""), L("etag", ""), L("expect", ""), L("expires", ""), L("from", ""), L("host", ""),
	L("if-match", ""), L("if-modified-since", ""), L("if-none-match", ""), L("if-range", ""),
	L("if-unmodified-since", ""), L("last-modified", ""), L("link", ""), L("location", ""), L("max-forwards", ""),
	L("proxy-authenticate", ""), L("proxy-authorization", ""), L("range", ""), L("referer", ""), L("refresh", ""),
	L("retry-after", ""), L("server", ""), L("set-cookie", ""), L("strict-transport-security", ""),
	L("transfer-encoding", ""), L("user-agent", ""), L("vary", ""), L("via", ""), L("www-authenticate", ""),
};
#undef L

/* Names by length and two letters; where two meet, the next place. */
#define SLOTS 128
static uint8_t slots[SLOTS];

static unsigned
static_slot(const char *name, size_t n)
{
	return ((unsigned)n * 3 + (unsigned char)name[0] * 5 + (unsigned char)name[n - 1] * 29) % SLOTS;
}

unsigned
hpack_static_find(struct str name)
{
	unsigned i;

	if (name.n == 0)
		return 0;
	for (unsigned slot = static_slot(name.p, name.n); (i = slots[slot]) != 0; slot = (slot + 1) % SLOTS)
		if (hpack_static[i].name_n == name.n && memcmp(hpack_static[i].text, name.p, name.n) == 0)
			return i;
	return 0;
}

/* Before main(), when there is one thread. */
__attribute__((constructor)) static void
make_static(void)
{
	for (unsigned i = 1; i <= HPACK_STATIC; i++) {
		struct hpack_static *s = &hpack_static[i];
		unsigned slot = static_slot(s->text, s->name_n);

		s->kind = (uint8_t)http2_name_kind((struct str){ s->text, s->name_n });
		if (hpack_static_find((struct str){ s->text, s->name_n }) != 0)
			continue;
		while (slots[slot] != 0)
			slot = (slot + 1) % SLOTS;
		slots[slot] = (uint8_t)i;
	}
}

/* -- a dynamic one ------------------------------------------------------------------------- */

/* Memory that a table begins with, and entries. */
#define FIRST_CAP 512
#define FIRST_PLACES 16

void
hpack_table_init(struct hpack_table *t, uint32_t most)
{
	CHECK(most <= HPACK_TABLE_MOST);
	*t = (struct hpack_table){ .most = most };
}

void
hpack_table_free(struct hpack_table *t)
{
	uint64_t changes = t->changes + 1;

	free(t->data);
	free(t->ring);
	hpack_table_init(t, t->most);
	t->changes = changes;
}

static void
evict_until(struct hpack_table *t, uint32_t size)
{
	while (t->size > size) {
		const struct hpack_entry *oldest = &t->ring[t->first];

		t->size -= (uint32_t)oldest->name_n + oldest->value_n + HPACK_ENTRY;
		t->first = (t->first + 1) & (t->places - 1);
		t->count--;
	}
}

void
hpack_table_resize(struct hpack_table *t, uint32_t most)
{
	CHECK(most <= HPACK_TABLE_MOST);
	t->changes++;
	evict_until(t, most);
	t->most = most;
	if (most == 0)
		hpack_table_free(t);
}

/* A power of two, and enough for what it has. */
static bool
fit_ring(struct hpack_table *t, unsigned places)
{
	struct hpack_entry *ring = malloc(places * sizeof(*ring));

	if (ring == NULL)
		return false;
	for (unsigned i = 0; i < t->count; i++)
		ring[i] = t->ring[(t->first + i) & (t->places - 1u)];
	free(t->ring);
	t->ring = ring;
	t->first = 0;
	t->places = (uint16_t)places;
	return true;
}

static bool
grow_ring(struct hpack_table *t)
{
	return fit_ring(t, t->places == 0 ? FIRST_PLACES : t->places * 2u);
}

/* Room for n more bytes behind the newest line: the live ones move to the front, of a larger block when they fill
 * more than half of this one. */
static bool
evict_for(struct hpack_table *t, size_t n)
{
	uint16_t from = t->count > 0 ? t->ring[t->first].at : (uint16_t)(t->base + t->used);
	size_t dead = (uint16_t)(from - t->base), live = t->used - dead, cap = FIRST_CAP;
	char *data = t->data;

	while (cap < t->cap || cap < live + n || (cap < t->most && live + n > cap / 4 * 3))
		cap *= 2;
	if (cap > t->cap) {
		data = malloc(cap + HPACK_STEP);
		if (data == NULL)
			return false;
	}
	if (live > 0)
		memmove(data, t->data + dead, live);
	if (data != t->data)
		free(t->data);
	t->data = data;
	t->cap = (uint32_t)cap;
	t->base = from;
	t->used = (uint32_t)live;
	return true;
}

void
hpack_table_trim(struct hpack_table *t)
{
	unsigned places = FIRST_PLACES;
	uint32_t dead, live;
	char *data;

	if (t->count == 0) {
		hpack_table_free(t);
		return;
	}
	while (places < t->count)
		places *= 2;
	if (places < t->places && !fit_ring(t, places))
		return;
	dead = (uint16_t)(t->ring[t->first].at - t->base);
	live = t->used - dead;
	if (live == t->cap || (data = malloc(live + HPACK_STEP)) == NULL)
		return;
	memcpy(data, t->data + dead, live);
	free(t->data);
	t->data = data;
	t->cap = t->used = live;
	t->base = t->ring[t->first].at;
}

bool
hpack_table_add(struct hpack_table *t, const char *line, size_t name_n, size_t value_n,
		enum http2_field_kind kind)
{
	size_t size = name_n + value_n + HPACK_ENTRY, n = hpack_line_n(name_n, value_n);

	t->changes++;
	if (size > t->most) {
		evict_until(t, 0);
		return true;
	}
	evict_until(t, t->most - (uint32_t)size);
	if ((t->count == t->places && !grow_ring(t)) || (t->cap - t->used < n && !evict_for(t, n)))
		return false;
	memcpy(t->data + t->used, line, n);
	t->ring[(t->first + t->count) & (t->places - 1u)] = (struct hpack_entry){
		.at = (uint16_t)(t->base + t->used),
		.name_n = (uint16_t)name_n,
		.value_n = (uint16_t)value_n,
		.kind = (uint8_t)kind,
	};
	t->used += (uint32_t)n;
	t->size += (uint32_t)size;
	t->count++;
	return true;
}
