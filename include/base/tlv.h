/* tlv.h - fields of a tag, a length and a value, in a row: what two processes of
 * perhaps different versions tell each other (on one machine: numbers are in its byte
 * order).  A reader skips tags that it does not know, so that a later version may add some.
 * A value may be a row of fields itself.
 * Any thread, one at a time. */
#ifndef BASE_TLV_H
#define BASE_TLV_H

#include <stdint.h>

#include "base/buf.h"

/* Each appends one field; what does not fit, or finds no memory, shows in b->failed. */
void tlv_u64(struct buf *b, uint16_t tag, uint64_t value);
void tlv_double(struct buf *b, uint16_t tag, double value);
void tlv_bytes(struct buf *b, uint16_t tag, const void *p, size_t n);
static inline void
tlv_str(struct buf *b, uint16_t tag, struct str s)
{
	tlv_bytes(b, tag, s.p, s.n);
}
/* What is appended until tlv_close() is the value of that field; open ones nest.  The
 * buffer is not consumed from meanwhile. */
size_t tlv_open(struct buf *b, uint16_t tag);
void tlv_close(struct buf *b, size_t opened);

/* One field; its value lies in the bytes that were read. */
struct tlv {
	uint16_t tag;
	struct str value;
};

/* Takes the next field off the row.  False: there is none; where *row is not empty then, it is
 * none of ours, or cut. */
bool tlv_next(struct str *row, struct tlv *out);
/* Of another length than such a number, or NaN, which would stop what is in order by it: false, and
 * *out stays as it is. */
bool tlv_as_u64(const struct tlv *t, uint64_t *out);
bool tlv_as_double(const struct tlv *t, double *out);

#endif
