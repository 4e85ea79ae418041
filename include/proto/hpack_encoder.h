/* hpack_encoder.h - fields into a field block (RFC 7541).
 * Pure but for the memory of the dynamic table; without memory it does without.  One for each
 * connection; any thread, one at a time. */
#ifndef PROTO_HPACK_ENCODER_H
#define PROTO_HPACK_ENCODER_H

#include "proto/hpack_table.h"

struct hpack_encoder {
	struct hpack_table table;
	uint32_t own;	/* no larger than this, whatever the peer takes */
	uint32_t least;	/* the smallest limit since the last block */
	bool resized;	/* the next block begins with sizes */
	uint16_t seen[16];	/* hashes of fields met once: those met twice are indexed */
};

/* own: bytes of its table at most, as section 4.1 counts; 0: none.  Needs no memory. */
void hpack_encoder_init(struct hpack_encoder *e, uint32_t own);
void hpack_encoder_free(struct hpack_encoder *e);
/* The peer says another SETTINGS_HEADER_TABLE_SIZE: before it is acknowledged.  Of several in one frame
 * first the smallest, then the last (http2_settings.table_least, .table). */
void hpack_encoder_limit(struct hpack_encoder *e, uint32_t limit);

/* The most bytes that hpack_encode_begin(), and one field, may take. */
#define HPACK_BEGIN_MOST 12
#define HPACK_FIELD_MOST(name_n, value_n) ((name_n) + (value_n) + 12)

enum hpack_how {
	HPACK_MAY_INDEX,	/* indexed when it is met a second time */
	HPACK_NO_INDEX,	/* as a literal: differs each time */
	HPACK_NEVER,	/* as a literal that no intermediary may index either (section 7.1.3) */
};

/* How a field is best encoded: secrets never (authorization, set-cookie, short cookies …), what differs each time not. */
enum hpack_how hpack_how(struct str name, struct str value);

/* A block begins.  Writes the table sizes that are due; returns the first byte behind.  Once begun, the block must be sent. */
char *hpack_encode_begin(struct hpack_encoder *e, char *out);
/* One field; the name in lower case.  out has HPACK_FIELD_MOST() bytes. */
char *hpack_encode(struct hpack_encoder *e, char *out, struct str name, struct str value, enum hpack_how how);
/* ":status", three digits. */
char *hpack_encode_status(struct hpack_encoder *e, char *out, unsigned status);

#endif
