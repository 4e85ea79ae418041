/* handover_fields.c - what several kinds of connections say of themselves when they are handed
 * over.  Thread: owning worker. */
#include <string.h>

#include "data/admit.h"
#include "data/handover.h"

enum { TAG_CLIENT = 1, TAG_HOLDS };

enum held { HELD_PREVIEW = 1, HELD_ADMITTED = 2, HELD_LISTED = 4, HELD_PLACE = 8, HELD_SOURCE = 16, HELD_QUEUED = 32 };

void
handover_pack_permit(struct buf *b, uint16_t tag, const struct permit *p)
{
	size_t opened = tlv_open(b, tag);

	tlv_bytes(b, TAG_CLIENT, &p->client, sizeof(p->client));
	tlv_u64(b, TAG_HOLDS,
		(p->preview ? HELD_PREVIEW : 0) | (p->admitted ? HELD_ADMITTED : 0) | (p->listed ? HELD_LISTED : 0) |
			(p->place ? HELD_PLACE : 0) | (p->source ? HELD_SOURCE : 0) | (p->queued ? HELD_QUEUED : 0));
	tlv_close(b, opened);
}

static bool
read_endpoint(const struct tlv *f, struct endpoint *out)
{
	if (f->value.n != sizeof(*out))
		return false;
	memcpy(out, f->value.p, sizeof(*out));
	return out->family == 0 || out->family == AF_INET || out->family == AF_INET6 || out->family == AF_UNIX;
}

static bool
read_permit(const struct tlv *f, struct permit *out)
{
	struct str row = f->value;
	uint64_t holds = 0;
	struct tlv t;

	*out = (struct permit){ 0 };
	while (tlv_next(&row, &t)) {
		if (t.tag == TAG_CLIENT && !read_endpoint(&t, &out->client))
			return false;
		if (t.tag == TAG_HOLDS && !tlv_as_u64(&t, &holds))
			return false;
	}
	out->preview = (holds & HELD_PREVIEW) != 0;
	out->admitted = (holds & HELD_ADMITTED) != 0;
	out->listed = (holds & HELD_LISTED) != 0;
	out->place = (holds & HELD_PLACE) != 0;
	out->source = (holds & HELD_SOURCE) != 0;
	out->queued = (holds & HELD_QUEUED) != 0;
	return row.n == 0 && out->client.family != 0;
}

static bool
read_parcel_field(const struct handover_field *field, const struct tlv *t, void *to)
{
	switch ((enum handover_as)field->as) {
	case HANDOVER_TEXT:
		*(struct str *)to = t->value;
		return true;
	case HANDOVER_NUMBER:
		return tlv_as_u64(t, to);
	case HANDOVER_COLOR:
		return tlv_as_u64(t, to) && *(uint64_t *)to < COLORS;
	case HANDOVER_SECONDS:
		return tlv_as_double(t, to);
	case HANDOVER_ENDPOINT:
		return read_endpoint(t, to);
	case HANDOVER_ADDRESS:
		return str_copy(to, ADDR_TEXT, t->value);
	case HANDOVER_PERMIT:
		return read_permit(t, to);
	case HANDOVER_PRESENT:
		*(bool *)to = true;
		return true;
	}
	return true;
}

bool
handover_read_fields(struct str row, const struct handover_field *fields, size_t n, void *parcel)
{
	struct tlv t;

	while (tlv_next(&row, &t))
		for (size_t i = 0; i < n; i++)
			if (fields[i].tag == t.tag && !read_parcel_field(&fields[i], &t, (char *)parcel + fields[i].at))
				return false;
	return row.n == 0;
}

int
handover_take_fd(struct handover_fds *fds, unsigned i)
{
	int fd = i < fds->n ? fds->fd[i] : -1;

	if (fd >= 0)
		fds->fd[i] = -1;
	return fd;
}
