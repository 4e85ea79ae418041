/* tlv.c - fields of a tag, a length and a value. */
#include <math.h>
#include <string.h>

#include "base/tlv.h"

struct head {
	uint16_t tag, unused;
	uint32_t n;
};

void
tlv_bytes(struct buf *b, uint16_t tag, const void *p, size_t n)
{
	size_t opened = tlv_open(b, tag);

	buf_append(b, p, n);
	tlv_close(b, opened);
}

void
tlv_u64(struct buf *b, uint16_t tag, uint64_t value)
{
	tlv_bytes(b, tag, &value, sizeof(value));
}

void
tlv_double(struct buf *b, uint16_t tag, double value)
{
	tlv_bytes(b, tag, &value, sizeof(value));
}

size_t
tlv_open(struct buf *b, uint16_t tag)
{
	const struct head head = { .tag = tag };

	buf_append(b, &head, sizeof(head));
	return buf_len(b);
}

void
tlv_close(struct buf *b, size_t opened)
{
	struct head head;
	char *at;

	if (b->failed)
		return;
	at = b->data + b->start + opened - sizeof(head);
	memcpy(&head, at, sizeof(head));
	head.n = (uint32_t)(buf_len(b) - opened);
	memcpy(at, &head, sizeof(head));
}

bool
tlv_next(struct str *row, struct tlv *out)
{
	struct head head;

	if (row->n < sizeof(head))
		return false;
	memcpy(&head, row->p, sizeof(head));
	if (head.unused != 0 || head.n > row->n - sizeof(head))
		return false;
	*out = (struct tlv){ head.tag, { row->p + sizeof(head), head.n } };
	row->p += sizeof(head) + head.n;
	row->n -= sizeof(head) + head.n;
	return true;
}

bool
tlv_as_u64(const struct tlv *t, uint64_t *out)
{
	if (t->value.n != sizeof(*out))
		return false;
	memcpy(out, t->value.p, sizeof(*out));
	return true;
}

bool
tlv_as_double(const struct tlv *t, double *out)
{
	double value;

	if (t->value.n != sizeof(value))
		return false;
	memcpy(&value, t->value.p, sizeof(value));
	if (isnan(value))
		return false;
	*out = value;
	return true;
}
