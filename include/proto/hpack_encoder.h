/* hpack_encoder.h - fields into a field block (RFC 7541).
 * Pure but for the memory of the dynamic table; without memory it does without.  One for each
 * connection; any thread, one at a time. */
#ifndef PROTO_HPACK_ENCODER_H
#define PROTO_HPACK_ENCODER_H

#include "proto/hpack_table.h"

/* Its table is no larger, whatever the peer takes: no more than 128 entries. */
#define HPACK_ENCODER_MOST 4096
#define HPACK_BUCKETS 32
#define HPACK_SEEN 16

struct hpack_encoder {
	struct hpack_table table;
	uint16_t own;	/* no larger than this, whatever the peer takes */
	uint16_t least;	/* the smallest limit since the last block */
	bool resized;	/* the next block begins with sizes */
	uint32_t judged;	/* fields whose code depended on what was met before, modulo 2^32 */
	uint8_t added;	/* entries so far, modulo 256: the newest one's number */
	uint8_t newest[HPACK_BUCKETS];	/* number of the newest entry whose name hashes so */
	uint64_t seen
		[HPACK_SEEN];	/* fields met once: the last four hashes of each kind; those met twice are indexed */
};

/* own: bytes of its table at most, as section 4.1 counts; 0: none; HPACK_ENCODER_MOST at most.  Needs no memory.
 * The peer's table is HPACK_TABLE_DEFAULT until it says something else. */
void hpack_encoder_init(struct hpack_encoder *e, uint32_t own);
void hpack_encoder_free(struct hpack_encoder *e);
/* Its table is empty and takes no memory until it is used again.  Nothing is told: the peer's entries are only older ones that are not
 * referred to any more. */
void hpack_encoder_forget(struct hpack_encoder *e);
/* The peer says another SETTINGS_HEADER_TABLE_SIZE: before it is acknowledged.  Of several in one frame
 * first the smallest, then the last (http2_settings.table_least, .table). */
void hpack_encoder_limit(struct hpack_encoder *e, uint32_t limit);

/* The most bytes that hpack_encode_begin(), and one field, may take. */
#define HPACK_BEGIN_MOST 8
#define HPACK_FIELD_MOST(name_n, value_n) ((name_n) + (value_n) + 11)

enum hpack_how {
	HPACK_USUAL, /* by its name: secrets never (authorization, set-cookie, short cookies), what
			 * differs each time as a literal, all else is indexed when it is met again */
	HPACK_LITERAL,	/* not indexed */
	HPACK_NEVER,	/* a literal that no intermediary may index either (section 7.1.3) */
};

/* A block begins.  Writes the table sizes that are due; returns the first byte behind.  Once begun, the block must be sent. */
char *hpack_encode_begin(struct hpack_encoder *e, char *out);
/* One field; its name in any case goes on in lower case.  out has HPACK_FIELD_MOST() bytes. */
char *hpack_encode(struct hpack_encoder *e, char *out, struct str name, struct str value, enum hpack_how how);
/* ":status", from 100 to 999. */
char *hpack_encode_status(struct hpack_encoder *e, char *out, unsigned status);

#endif
