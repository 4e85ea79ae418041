/* hpack_table.h - the tables of field compression (RFC 7541 section 2.3): the static one, and a dynamic one
 * as decoder and encoder have it.
 * A dynamic table is owned by its decoder or encoder and takes memory when its first entry comes. */
#ifndef PROTO_HPACK_TABLE_H
#define PROTO_HPACK_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "proto/http2_field.h"

#define HPACK_STATIC 61	/* entries of the static table; dynamic ones follow */
#define HPACK_ENTRY 32	/* bytes that each entry counts beyond its name and value (section 4.1) */
#define HPACK_TABLE_DEFAULT 4096
#define HPACK_TABLE_MOST 32768	/* no table of ours is larger */

/* Lines of tables and texts are copied so many bytes at once: behind each lie as many that may be read. */
#define HPACK_STEP 16

/* An entry of either table, which is kept as the line "name: value\r\n". */
struct hpack_line {
	const char *text;
	uint16_t name_n, value_n;
	uint8_t kind;	/* enum http2_field_kind */
};

static inline size_t
hpack_line_n(size_t name_n, size_t value_n)
{
	return name_n + value_n + 4;
}

struct hpack_static {
	char text[32 + HPACK_STEP];
	uint8_t name_n, value_n, kind;
};
/* From 1 to HPACK_STATIC. */
extern struct hpack_static hpack_static[HPACK_STATIC + 1];

/* The first entry with that name, in lower case; 0: none. */
unsigned hpack_static_find(struct str name);

struct hpack_entry {
	uint16_t at;	/* where its line begins; see hpack_table.base */
	uint16_t name_n, value_n;
	uint8_t kind;
	uint8_t before;	/* the encoder's: so many entries older is another whose name hashes alike; 0: none */
};

struct hpack_table {
	char *data;	/* lines, oldest first, each behind the other; NULL: no memory yet */
	struct hpack_entry *ring;
	uint64_t changes;	/* so far, of what a block comes to: the same number, the same meaning */
	uint32_t size;	/* by section 4.1 */
	uint32_t most;	/* its limit now */
	uint32_t cap;	/* bytes of data, but for HPACK_STEP that may be read behind them */
	uint32_t used;	/* of them, up to the newest line's end */
	uint16_t base;	/* entry.at of the line that would lie at data[0], modulo 2^16 */
	uint16_t count;	/* entries */
	uint16_t first;	/* the oldest one's place in the ring */
	uint16_t places;	/* in the ring, a power of two, or 0 */
};

void hpack_table_init(struct hpack_table *t, uint32_t most);
/* Leaves it empty and usable. */
void hpack_table_free(struct hpack_table *t);

/* Evicts what does not fit any more; at 0 the memory goes, too. */
void hpack_table_resize(struct hpack_table *t, uint32_t most);

/* Gives back the memory that it does not need for what it has; without memory it stays as it is. */
void hpack_table_trim(struct hpack_table *t);

/* Adds an entry as the newest; line: hpack_line_n() bytes, not in the table.  One that is larger than the whole
 * table empties it (section 4.4) and is not there.  False: no memory, and the table is as it was
 * or emptier. */
bool hpack_table_add(struct hpack_table *t, const char *line, size_t name_n, size_t value_n,
		     enum http2_field_kind kind);

/* Number i, 0 the newest; i < count. */
static inline struct hpack_entry *
hpack_table_entry(const struct hpack_table *t, unsigned i)
{
	return &t->ring[(t->first + t->count - 1u - i) & (t->places - 1u)];
}

static inline const char *
hpack_table_text(const struct hpack_table *t, const struct hpack_entry *e)
{
	return t->data + (uint16_t)(e->at - t->base);
}

#endif
