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
#define HPACK_TABLE_MOST 65535	/* no table of ours is larger */

struct hpack_entry {
	uint16_t at;	/* of the name in data; the value follows it */
	uint16_t name_n, value_n;
	uint8_t kind;	/* enum http2_field_kind */
	uint8_t hash;	/* the encoder's */
};

struct hpack_table {
	char *data;	/* names and values, oldest first; entries in a ring behind them; NULL: no memory yet */
	uint32_t size;	/* by section 4.1 */
	uint32_t most;	/* its limit now */
	uint16_t cap;	/* bytes of data */
	uint16_t used;	/* of them, up to the newest entry's end */
	uint16_t count;	/* entries */
	uint16_t first;	/* the oldest's place in the ring */
	uint16_t ring;	/* places in the ring, a power of two */
};

#endif
