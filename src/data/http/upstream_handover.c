/* upstream_handover.c - a kept connection to a backend on its way to another process: it waits in the
 * pool of the worker that gets it.  One by TLS stays.  Thread: owning worker. */
#include "data/handover.h"
#include "data/http/upstream.h"

/* Of the fields. */
enum { TAG_SERVICE = 1, TAG_COLOR, TAG_BACKEND, TAG_SINCE };

static struct upstream *
upstream_in(struct link *object)
{
	struct upstream *u = list_entry(object, struct upstream, link);

	CHECK(u->magic == UPSTREAM_MAGIC);
	return u;
}

static bool
upstream_may(struct link *object)
{
	return !io_is_tls(&upstream_in(object)->io);
}

static void
freeze_upstream(struct link *object)
{
	upstream_freeze(upstream_in(object));
}

static bool
upstream_pack(struct link *object, struct buf *b, struct handover_fds *fds)
{
	const struct upstream *u = upstream_in(object);

	tlv_str(b, TAG_SERVICE, str_from(u->lane->config->name));
	tlv_u64(b, TAG_COLOR, u->backend->color);
	tlv_str(b, TAG_BACKEND, str_from(u->backend->text));
	tlv_double(b, TAG_SINCE, u->since);
	fds->fd[fds->n++] = io_fd(&u->io);
	return true;
}

static void
upstream_resume(struct link *object, bool kept)
{
	struct upstream *u = upstream_in(object);

	/* Who is served here still can have another one. */
	if (kept)
		upstream_close(u);
	else
		upstream_thaw(u);
}

static void
upstream_gone(struct link *object)
{
	struct upstream *u = upstream_in(object);

	handover_forget(u->lane->worker, &u->io);
	upstream_close(u);
}

static struct lane *
upstream_lane(struct link *object)
{
	return upstream_in(object)->lane;
}

struct upstream_parcel {
	struct str service, backend;
	uint64_t color;
	double since;
};

static const struct handover_field upstream_fields[] = {
	HANDOVER_FIELD(upstream_parcel, TAG_SERVICE, TEXT, service),
	HANDOVER_FIELD(upstream_parcel, TAG_COLOR, COLOR, color),
	HANDOVER_FIELD(upstream_parcel, TAG_BACKEND, TEXT, backend),
	HANDOVER_FIELD(upstream_parcel, TAG_SINCE, SECONDS, since),
};

static struct link *
upstream_unpack(struct worker *w, struct str fields, struct handover_fds *fds, enum handover_no *no)
{
	struct upstream_parcel p = { .service = STR(""), .backend = STR("") };
	struct upstream *u;
	struct lane *l;

	*no = HANDOVER_NOT;
	if (!handover_read_fields(fields, upstream_fields, ARRAY_LEN(upstream_fields), &p) || fds->n < 1 ||
	    (l = handover_lane(w, p.service)) == NULL || l->http == NULL)
		return NULL;
	u = upstream_adopt(l, (enum color)p.color, p.backend, fds->fd[0], p.since);
	if (u == NULL)
		return NULL;
	(void)handover_take_fd(fds, 0);
	return &u->link;
}

const struct handover_kind upstream_handover = {
	.id = HANDOVER_UPSTREAM,
	.list = upstream_idle_list,
	.may = upstream_may,
	.freeze = freeze_upstream,
	.pack = upstream_pack,
	.resume = upstream_resume,
	.gone = upstream_gone,
	.lane = upstream_lane,
	.unpack = upstream_unpack,
};
