/* hpack_decoder.h - field blocks into fields (RFC 7541).
 * Pure but for the memory of the dynamic table.  One for each connection; any thread, one at a
 * time. */
#ifndef PROTO_HPACK_DECODER_H
#define PROTO_HPACK_DECODER_H

#include "proto/hpack_table.h"
#include "proto/http2_reason.h"

struct hpack_decoder {
	struct hpack_table table;
	uint32_t limit;	/* what its size may be set to */
	bool lowered;	/* the next block has to begin with a size */
};

/* limit: our SETTINGS_HEADER_TABLE_SIZE, HPACK_TABLE_MOST at most.  Needs no memory. */
void hpack_decoder_init(struct hpack_decoder *d, uint32_t limit);
void hpack_decoder_free(struct hpack_decoder *d);
/* The peer has acknowledged another SETTINGS_HEADER_TABLE_SIZE. */
void hpack_decoder_limit(struct hpack_decoder *d, uint32_t limit);

/* A decoded field, as the line "name: value\r\n" in hpack_fields.text. */
struct hpack_field {
	uint32_t at;	/* where the line begins */
	uint32_t value_n;
	uint16_t name_n;
	uint8_t kind;	/* enum http2_field_kind */
	bool never;	/* never to be indexed (section 7.1.3) */
};

/* The fields of one block, in their order; their lines lie one behind the other.  The memory is the caller's, may be used for block after
 * block and needs no clearing: one for each thread is enough. */
struct hpack_fields {
	/* Set by the caller. */
	struct hpack_field *fields;	/* room for max_fields */
	char *text;	/* HPACK_TEXT_ROOM(max_size) bytes */
	uint32_t max_fields;	/* cookie crumbs count one by one */
	uint32_t max_size;	/* names and values, and HPACK_ENTRY for each field (RFC 9113 section 6.5.2) */

	/* The decoder's. */
	uint32_t count;
	uint64_t size;	/* as max_size counts; goes on beyond it */
	size_t used;	/* of text */
	/* HTTP2_FINE, HTTP2_FIELDS_MANY or HTTP2_FIELDS_LARGE: the fields are void then, and the table is as it must be. */
	enum http2_reason over;
};
/* Beyond the limits, what enters the table is still decoded, into the same text. */
#define HPACK_TEXT_ROOM(max_size) ((size_t)(max_size) + 2 * HPACK_TABLE_MOST + 256)

static inline struct str
hpack_name(const struct hpack_fields *f, const struct hpack_field *field)
{
	return (struct str){ f->text + field->at, field->name_n };
}

static inline struct str
hpack_value(const struct hpack_fields *f, const struct hpack_field *field)
{
	return (struct str){ f->text + field->at + field->name_n + 2, field->value_n };
}

/* Decodes a whole block (HEADERS and its CONTINUATIONs, put together).  HTTP2_FINE, and f->over then says whether it
 * was within the limits; otherwise a fault of the connection: both ends' tables differ from now on. */
enum http2_reason hpack_decode(struct hpack_decoder *d, struct str block, struct hpack_fields *f);

#endif
