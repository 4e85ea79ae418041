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

bool
handover_read_endpoint(const struct tlv *f, struct endpoint *out)
{
	if (f->value.n != sizeof(*out))
		return false;
	memcpy(out, f->value.p, sizeof(*out));
	return out->family == 0 || out->family == AF_INET || out->family == AF_INET6 || out->family == AF_UNIX;
}

bool
handover_read_permit(const struct tlv *f, struct permit *out)
{
	struct str row = f->value;
	uint64_t holds = 0;
	struct tlv t;

	*out = (struct permit){ 0 };
	while (tlv_next(&row, &t)) {
		if (t.tag == TAG_CLIENT && !handover_read_endpoint(&t, &out->client))
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

int
handover_take_fd(struct handover_fds *fds, unsigned i)
{
	int fd = i < fds->n ? fds->fd[i] : -1;

	if (fd >= 0)
		fds->fd[i] = -1;
	return fd;
}
