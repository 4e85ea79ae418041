/* hpack_encoder.c - fields into a field block.  Any thread, one at a time. */
#include <string.h>

#include "base/check.h"
#include "proto/hpack_encoder.h"
#include "proto/hpack_huffman.h"
#include "proto/http1_name.h"

/* Longer names are literals that are not looked for. */
#define NAME_MOST 64
/* A larger part of the table is not given to one field. */
#define SHARE(most) ((most) / 2)
/* A literal that is sent once is coded only when it is so long: shorter ones save too few bytes for the time. */
#define LONG 64
/* A shorter cookie could be guessed by what it compresses to (section 7.1.3). */
#define COOKIE_SHORT 20

_Static_assert(HPACK_ENCODER_MOST / HPACK_ENTRY <= 128, "an entry's number is told modulo 256");

void
hpack_encoder_init(struct hpack_encoder *e, uint32_t own)
{
	CHECK(own <= HPACK_ENCODER_MOST);
	*e = (struct hpack_encoder){ .own = (uint16_t)own, .least = (uint16_t)own };
	hpack_table_init(&e->table, own);
	/* What the decoder begins with is larger than what is used here. */
	e->resized = own != HPACK_TABLE_DEFAULT;
}

void
hpack_encoder_free(struct hpack_encoder *e)
{
	hpack_table_free(&e->table);
}

void
hpack_encoder_forget(struct hpack_encoder *e)
{
	hpack_table_free(&e->table);
}

void
hpack_encoder_limit(struct hpack_encoder *e, uint32_t limit)
{
	uint32_t most = limit < e->own ? limit : e->own;

	e->resized |= most != e->table.most;
	if (most < e->least)
		e->least = (uint16_t)most;
	hpack_table_resize(&e->table, most);
}

/* -- pieces ------------------------------------------------------------------------------ */

/* An integer behind a pattern in the bits above its prefix (section 5.1). */
static char *
put_integer(char *out, unsigned pattern, unsigned bits, size_t value)
{
	size_t most = (1u << bits) - 1;

	if (value < most) {
		*out++ = (char)(pattern | value);
		return out;
	}
	*out++ = (char)(pattern | most);
	for (value -= most; value >= 128; value >>= 7)
		*out++ = (char)(value | 128);
	*out++ = (char)value;
	return out;
}

/* A string (section 5.2); coded: by Huffman's code where that is shorter. */
static char *
put_coded_string(char *out, struct str s, bool coded)
{
	size_t n = coded ? hpack_huffman_size(s) : s.n;

	if (n < s.n)
		return hpack_huffman_encode(s, put_integer(out, 0x80, 7, n));
	out = put_integer(out, 0, 7, s.n);
	if (s.n > 0)
		memcpy(out, s.p, s.n);
	return out + s.n;
}

char *
hpack_encode_begin(struct hpack_encoder *e, char *out)
{
	if (!e->resized)
		return out;
	e->resized = false;
	e->table.changes++;
	/* Both, where it was smaller in between (section 4.2). */
	if (e->least < e->table.most)
		out = put_integer(out, 0x20, 5, e->least);
	e->least = e->own;
	return put_integer(out, 0x20, 5, e->table.most);
}

/* Entries of the dynamic table that are looked at for a field. */
#define CHAIN_MOST 8

/* -- finding ------------------------------------------------------------------------------ */

static uint32_t
hash_text(struct str s)
{
	uint64_t first = 0, last = 0;

	if (s.n >= 8) {
		first = http1_load8(s.p);
		last = http1_load8(s.p + s.n - 8);
	} else if (s.n >= 4) {
		first = http1_load4(s.p);
		last = http1_load4(s.p + s.n - 4);
	} else if (s.n > 0) {
		first = (unsigned char)s.p[0] | (uint64_t)(unsigned char)s.p[s.n / 2] << 8;
		last = (unsigned char)s.p[s.n - 1];
	}
	return (uint32_t)(((first * 31 + last + s.n) * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

/* What the tables have of a field: indexes, 0: none. */
struct found {
	unsigned whole, name;
};

/* The line of entry number i, 0 the newest. */
static bool
is_line(const struct hpack_table *t, const struct hpack_entry *entry, struct str name, struct str value,
	bool *same)
{
	const char *line = hpack_table_text(t, entry);

	*same = false;
	if (entry->name_n != name.n || memcmp(line, name.p, name.n) != 0)
		return false;
	*same = entry->value_n == value.n &&
		(value.n == 0 || memcmp(line + name.n + 2, value.p, value.n) == 0);
	return true;
}

/* From the newest, along those that hash alike.  A number whose entry is gone may be another one's by now, which is then looked at in
 * vain. */
static void
find_dynamic(const struct hpack_encoder *e, unsigned bucket, struct str name, struct str value,
	     struct found *f)
{
	const struct hpack_table *t = &e->table;
	unsigned age = (uint8_t)(e->added - e->newest[bucket]);

	/* One whose values differ each time is not worth more. */
	for (unsigned n = 0; age < t->count && n < CHAIN_MOST; n++) {
		const struct hpack_entry *entry = hpack_table_entry(t, age);
		bool same;

		if (is_line(t, entry, name, value, &same)) {
			if (f->name == 0)
				f->name = HPACK_STATIC + 1 + age;
			if (same) {
				f->whole = HPACK_STATIC + 1 + age;
				return;
			}
		}
		if (entry->before == 0)
			return;
		age += entry->before;
	}
}

static void
find_static(struct str name, struct str value, struct found *f)
{
	unsigned i = f->name = hpack_static_find(name);

	for (; i != 0 && i <= HPACK_STATIC && hpack_static[i].value_n > 0; i++) {
		const struct hpack_static *s = &hpack_static[i];

		if (s->name_n != name.n || memcmp(s->text, name.p, name.n) != 0)
			return;
		if (s->value_n == value.n && memcmp(s->text + name.n + 2, value.p, value.n) == 0) {
			f->whole = i;
			return;
		}
	}
}

/* Only HPACK_USUAL; name: its index, 0: not in the static table. */
static enum hpack_how
how_of(unsigned name, struct str value)
{
	switch (name) {
	case 23:	/* authorization */
	case 49:	/* proxy-authorization */
	case 55:	/* set-cookie */
		return HPACK_NEVER;
	case 32:	/* cookie */
		return value.n < COOKIE_SHORT ? HPACK_NEVER : HPACK_USUAL;
	case 4:	/* :path */
	case 21:	/* age */
	case 28:	/* content-length */
	case 30:	/* content-range */
	case 34:	/* etag */
	case 40:	/* if-modified-since */
	case 41:	/* if-none-match */
	case 46:	/* location */
		return HPACK_LITERAL;
	default:
		return HPACK_USUAL;
	}
}

/* Was it met before?  From now on it was.  Four have room that come by turns. */
static bool
met_before(struct hpack_encoder *e, uint32_t hash)
{
	uint64_t *place = &e->seen[hash % HPACK_SEEN], tag = hash >> 16 | 1;

	for (uint64_t tags = *place; tags != 0; tags >>= 16)
		if ((tags & 0xffff) == tag)
			return true;
	*place = *place << 16 | tag;
	return false;
}

/* -- a field --------------------------------------------------------------------------------- */

static char *
put_literal(char *out, unsigned pattern, unsigned bits, unsigned index, struct str name, struct str value,
	    bool coded)
{
	out = put_integer(out, pattern, bits, index);
	if (index == 0)
		out = put_coded_string(out, name, coded || name.n >= LONG);
	return put_coded_string(out, value, coded || value.n >= LONG);
}

/* The line enters the table; false: it did not, for want of memory. */
static bool
add_line(struct hpack_encoder *e, unsigned bucket, struct str name, struct str value)
{
	char line[NAME_MOST + SHARE(HPACK_ENCODER_MOST) + 4];
	unsigned before = (uint8_t)(e->added - e->newest[bucket]);

	memcpy(line, name.p, name.n);
	memcpy(line + name.n, ": ", 2);
	if (value.n > 0)
		memcpy(line + name.n + 2, value.p, value.n);
	memcpy(line + name.n + 2 + value.n, "\r\n", 2);
	if (!hpack_table_add(&e->table, line, name.n, value.n, HTTP2_FIELD))
		return false;
	e->newest[bucket] = ++e->added;
	/* Is the one before still there?  It was so many entries older than the one that was newest. */
	hpack_table_entry(&e->table, 0)->before = (uint8_t)(before + 1 < e->table.count ? before + 1 : 0);
	return true;
}

static char *
encode_lower(struct hpack_encoder *e, char *out, struct str name, struct str value, enum hpack_how how)
{
	struct found f = { 0, 0 };
	uint32_t hash = hash_text(name);
	unsigned bucket = hash % HPACK_BUCKETS;

	find_static(name, value, &f);
	if (how == HPACK_USUAL)
		how = how_of(f.name, value);
	if (f.whole == 0 && how == HPACK_USUAL && e->table.count > 0)
		find_dynamic(e, bucket, name, value, &f);
	if (f.whole != 0 && how != HPACK_NEVER)
		return put_integer(out, 0x80, 7, f.whole);
	switch (how) {
	case HPACK_USUAL:
		e->judged++;
		/* Of one whose values differ each time the name is worth an entry. */
		if (name.n + value.n + HPACK_ENTRY > SHARE(e->table.most) ||
		    !(met_before(e, hash * 31 + hash_text(value)) || (f.name == 0 && met_before(e, hash))) ||
		    !add_line(e, bucket, name, value))
			break;
		/* An index of before it entered. */
		return put_literal(out, 0x40, 6, f.name, name, value, true);
	case HPACK_LITERAL:
		break;
	case HPACK_NEVER:
		return put_literal(out, 0x10, 4, f.name, name, value, false);
	}
	return put_literal(out, 0, 4, f.name, name, value, false);
}

#define EIGHT UINT64_C(0x0101010101010101)

/* Eight characters of a token: none is beyond ASCII. */
static uint64_t
lower_eight(uint64_t v)
{
	uint64_t from_a = v + EIGHT * (0x80 - 'A'), beyond_z = v + EIGHT * (0x7f - 'Z');

	return v | ((from_a & ~beyond_z & EIGHT * 0x80) >> 2);
}

/* Letters of a token. */
static void
to_lower(char *to, struct str name)
{
	uint64_t last;

	if (name.n >= 8) {
		last = lower_eight(http1_load8(name.p + name.n - 8));
		for (size_t i = 0; i + 8 < name.n; i += 8) {
			uint64_t v = lower_eight(http1_load8(name.p + i));

			memcpy(to + i, &v, 8);
		}
		memcpy(to + name.n - 8, &last, 8);
		return;
	}
	for (size_t i = 0; i < name.n; i++)
		to[i] = name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] | 0x20) : name.p[i];
}

char *
hpack_encode(struct hpack_encoder *e, char *out, struct str name, struct str value, enum hpack_how how)
{
	char lower[NAME_MOST];

	if (name.n <= NAME_MOST) {
		to_lower(lower, name);
		return encode_lower(e, out, (struct str){ lower, name.n }, value, how);
	}
	out = put_integer(out, how == HPACK_NEVER ? 0x10 : 0, 4, 0);
	out = put_integer(out, 0, 7, name.n);
	to_lower(out, name);
	return put_coded_string(out + name.n, value, value.n >= LONG);
}

char *
hpack_encode_status(struct hpack_encoder *e, char *out, unsigned status)
{
	char digits[3] = { (char)('0' + status / 100), (char)('0' + status / 10 % 10),
			   (char)('0' + status % 10) };

	CHECK(status >= 100 && status <= 999);
	if (status == 200) {
		*out = (char)(0x80 | 8);
		return out + 1;
	}
	return hpack_encode(e, out, STR(":status"), (struct str){ digits, 3 }, HPACK_USUAL);
}
