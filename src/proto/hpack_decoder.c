/* hpack_decoder.c - field blocks into lines.  Any thread, one at a time. */
#include <string.h>

#include "base/check.h"
#include "proto/hpack_decoder.h"
#include "proto/hpack_huffman.h"

void
hpack_decoder_init(struct hpack_decoder *d, uint32_t limit)
{
	hpack_table_init(&d->table, limit);
	d->limit = limit;
	d->lowered = false;
}

void
hpack_decoder_free(struct hpack_decoder *d)
{
	hpack_table_free(&d->table);
}

void
hpack_decoder_limit(struct hpack_decoder *d, uint32_t limit)
{
	CHECK(limit <= HPACK_TABLE_MOST);
	d->limit = limit;
	/* RFC 9113 section 4.3.1: the size has to be said before the next field. */
	d->lowered |= limit < d->table.most;
	d->table.changes++;
}

struct block {
	const unsigned char *p, *end;
};

/* Four bytes behind the prefix: below 2^28 and some.  More is no size or index of any block that
 * is taken. */
#define INTEGER_BYTES 4

/* An integer with a prefix of that many bits (section 5.1); its first byte is there. */
static enum http2_reason
read_integer(struct block *b, unsigned bits, uint32_t *value)
{
	uint32_t most = (1u << bits) - 1;
	unsigned char c;

	*value = *b->p++ & most;
	if (*value < most)
		return HTTP2_FINE;
	for (unsigned i = 0; i < INTEGER_BYTES; i++) {
		if (b->p == b->end)
			return HTTP2_HPACK_CUT;
		c = *b->p++;
		*value += (uint32_t)(c & 0x7f) << 7 * i;
		if (!(c & 0x80))
			return HTTP2_FINE;
	}
	return HTTP2_HPACK_INTEGER;
}

/* A string (section 5.2) to out[0..room); *n: its bytes, right also when there were too many: out is void
 * then. */
static enum http2_reason
read_string(struct block *b, char *out, size_t room, size_t *n)
{
	enum http2_reason reason;
	uint32_t length;
	ptrdiff_t decoded;
	bool huffman;

	if (b->p == b->end)
		return HTTP2_HPACK_CUT;
	huffman = (*b->p & 0x80) != 0;
	reason = read_integer(b, 7, &length);
	if (reason != HTTP2_FINE)
		return reason;
	if ((size_t)(b->end - b->p) < length)
		return HTTP2_HPACK_CUT;
	if (huffman) {
		decoded = hpack_huffman_decode((struct str){ (const char *)b->p, length }, out, room);
		if (decoded < 0)
			return HTTP2_HPACK_HUFFMAN;
		*n = (size_t)decoded;
	} else {
		*n = length;
		memcpy(out, b->p, length < room ? length : room);
	}
	b->p += length;
	return HTTP2_FINE;
}

static bool
find_line(const struct hpack_decoder *d, uint32_t index, struct hpack_line *line)
{
	if (index == 0 || index > HPACK_STATIC + (uint32_t)d->table.count)
		return false;
	if (index <= HPACK_STATIC) {
		const struct hpack_static *s = &hpack_static[index];

		*line = (struct hpack_line){ s->text, s->name_n, s->value_n, s->kind };
	} else {
		const struct hpack_entry *e = hpack_table_entry(&d->table, index - HPACK_STATIC - 1);

		*line = (struct hpack_line){ hpack_table_text(&d->table, e), e->name_n, e->value_n, e->kind };
	}
	return true;
}

/* Is there room for one more field of that size?  Counts it. */
static bool
count_field(struct hpack_fields *f, size_t name_n, size_t value_n)
{
	f->size += name_n + value_n + HPACK_ENTRY;
	if (f->over == HTTP2_FINE && f->count == f->max_fields)
		f->over = HTTP2_FIELDS_MANY;
	if (f->over == HTTP2_FINE && f->size > f->max_size)
		f->over = HTTP2_FIELDS_LARGE;
	return f->over == HTTP2_FINE;
}

/* The line that lies at text[used]. */
static void
take_field_line(struct hpack_fields *f, size_t name_n, size_t value_n, enum http2_field_kind kind, bool never)
{
	f->fields[f->count++] = (struct hpack_field){
		.at = (uint32_t)f->used,
		.value_n = (uint32_t)value_n,
		.name_n = (uint16_t)name_n,
		.kind = (uint8_t)kind,
		.never = never,
	};
	f->used += hpack_line_n(name_n, value_n);
}

static void
copy_steps(char *to, const char *from, size_t n)
{
	if (n > 8 * (size_t)HPACK_STEP) {
		memcpy(to, from, n);
		return;
	}
	for (size_t i = 0; i < n; i += HPACK_STEP)
		memcpy(to + i, from + i, HPACK_STEP);
}

static enum http2_reason
read_indexed_field(struct hpack_decoder *d, struct block *b, struct hpack_fields *f)
{
	struct hpack_line line;
	enum http2_reason reason;
	uint32_t index;

	reason = read_integer(b, 7, &index);
	if (reason != HTTP2_FINE)
		return reason;
	if (!find_line(d, index, &line))
		return HTTP2_HPACK_INDEX;
	if (!count_field(f, line.name_n, line.value_n))
		return HTTP2_FINE;
	copy_steps(f->text + f->used, line.text, hpack_line_n(line.name_n, line.value_n));
	take_field_line(f, line.name_n, line.value_n, (enum http2_field_kind)line.kind, false);
	return HTTP2_FINE;
}

/* The name of a literal, to out; *kind: what it is. */
static enum http2_reason
read_name(struct hpack_decoder *d, struct block *b, unsigned bits, char *out, size_t room, size_t *n,
	  enum http2_field_kind *kind)
{
	struct hpack_line line;
	enum http2_reason reason;
	uint32_t index;

	reason = read_integer(b, bits, &index);
	if (reason != HTTP2_FINE)
		return reason;
	if (index == 0) {
		reason = read_string(b, out, room, n);
		if (reason == HTTP2_FINE)
			*kind = *n + HPACK_HUFFMAN_SPARE <= room ? http2_name_kind((struct str){ out, *n }) :
								   HTTP2_FIELD_NAME_BAD;
		return reason;
	}
	if (!find_line(d, index, &line))
		return HTTP2_HPACK_INDEX;
	*n = line.name_n;
	copy_steps(out, line.text, line.name_n);
	/* An entry whose value is malformed does not say what its name is. */
	*kind = line.kind < HTTP2_FIELD_VALUE_BAD ? (enum http2_field_kind)line.kind :
						    http2_name_kind((struct str){ out, *n });
	return HTTP2_FINE;
}

/* How a literal begins (section 6.2). */
struct literal {
	unsigned bits;	/* of the prefix of its name's index */
	bool enters;	/* the table */
	bool never;
};

/* Section 6.2.  Its line is made behind those that count; beyond the limits none does.  What finds no room there
 * is larger than the limits and than any table. */
static enum http2_reason
read_literal_field(struct hpack_decoder *d, struct block *b, struct hpack_fields *f, struct literal how)
{
	char *end = f->text + HPACK_TEXT_ROOM(f->max_size),
	     *name = f->text + (f->over == HTTP2_FINE ? f->used : 0);
	char *name_end = end - HPACK_TABLE_MOST - 64, *value = name + 2;
	size_t name_n, value_n;
	enum http2_field_kind kind;
	enum http2_reason reason;
	bool fits;

	reason = read_name(d, b, how.bits, name, (size_t)(name_end - name), &name_n, &kind);
	if (reason != HTTP2_FINE)
		return reason;
	fits = name_n + HPACK_HUFFMAN_SPARE <= (size_t)(name_end - name) && name_n <= UINT16_MAX;
	if (fits) {
		name[name_n] = ':';
		name[name_n + 1] = ' ';
		value += name_n;
	} else if (f->over == HTTP2_FINE) {
		f->over = HTTP2_FIELDS_LARGE;
	}
	reason = read_string(b, value, (size_t)(end - value) - 2, &value_n);
	if (reason != HTTP2_FINE)
		return reason;
	fits &= value_n + HPACK_HUFFMAN_SPARE <= (size_t)(end - value) - 2;
	if (fits) {
		kind = http2_value_kind(kind, (struct str){ value, value_n });
		memcpy(value + value_n, "\r\n", 2);
	}
	if (how.enters && !hpack_table_add(&d->table, name, name_n, value_n, kind))
		return HTTP2_HPACK_MEMORY;
	if (count_field(f, name_n, value_n)) {
		CHECK(fits);
		take_field_line(f, name_n, value_n, kind, how.never);
	}
	return HTTP2_FINE;
}

/* The sizes that a block may begin with (section 4.2). */
static enum http2_reason
read_sizes(struct hpack_decoder *d, struct block *b)
{
	enum http2_reason reason;
	uint32_t size;

	while (b->p < b->end && (*b->p & 0xe0) == 0x20) {
		reason = read_integer(b, 5, &size);
		if (reason != HTTP2_FINE)
			return reason;
		if (size > d->limit)
			return HTTP2_HPACK_SIZE;
		hpack_table_resize(&d->table, size);
		d->lowered = false;
	}
	return d->lowered ? HTTP2_HPACK_SIZE_MISSING : HTTP2_FINE;
}

enum http2_reason
hpack_decode(struct hpack_decoder *d, struct str block, struct hpack_fields *f)
{
	struct block b = { (const unsigned char *)block.p, (const unsigned char *)block.p + block.n };
	enum http2_reason reason;

	f->count = 0;
	f->size = 0;
	f->used = 0;
	f->over = HTTP2_FINE;
	reason = read_sizes(d, &b);
	while (b.p < b.end && reason == HTTP2_FINE) {
		unsigned char c = *b.p;

		if (c & 0x80)
			reason = read_indexed_field(d, &b, f);
		else if (c & 0x40)
			reason = read_literal_field(d, &b, f, (struct literal){ 6, true, false });
		else if (c & 0x20)
			reason = HTTP2_HPACK_SIZE_LATE;
		else
			reason = read_literal_field(d, &b, f, (struct literal){ 4, false, (c & 0x10) != 0 });
	}
	return reason;
}
