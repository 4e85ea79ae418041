/* session_dial.c - what is a session's own on its way to a backend.
 * Thread: owning worker. */

#include "data/proxy_protocol_session.h"
#include "data/tcp/session_private.h"
#include "net/sock.h"

static struct session *
session_of(const struct dial *d)
{
	struct session *s = container_of(d, struct session, dial);

	CHECK(s->magic == SESSION_MAGIC);
	return s;
}

static struct dial_client
session_client_of(struct dial *d)
{
	struct session *s = session_of(d);
	struct proxy_protocol_facts *p = proxy_protocol_of(s);

	return (struct dial_client){ &s->client, p != NULL ? &p->destination : NULL };
}

/* One that has closed its half may still want to hear what the server says. */
static bool
session_client_is_gone(struct dial *d)
{
	return sock_error(io_fd(&session_of(d)->client)) != 0;
}

static struct io *
open_server(struct dial *d, struct backend *b, enum dial_how *how)
{
	struct session *s = session_of(d);
	bool pending;
	int fd = lane_connect(d->lane, b, &pending);

	if (fd < 0)
		return NULL;
	io_init(&s->server, fd, session_on_server);
	*how = pending ? DIAL_PENDING : DIAL_CONNECTED;
	return &s->server;
}

static struct io *
server_of(struct dial *d)
{
	struct io *io = &session_of(d)->server;

	return io_is_open(io) ? io : NULL;
}

static void
close_server(struct dial *d)
{
	io_close(d->lane->worker->loop, &session_of(d)->server);
}

static void
go_live(struct dial *d, bool reused)
{
	(void)reused;
	session_go_live(session_of(d));
}

static void
session_dial_end(struct dial *d, enum ending ending)
{
	session_end(session_of(d), ending);
}

static void
session_bytes(const struct dial *d, uint64_t *in, uint64_t *out)
{
	const struct session *s = container_of(d, struct session, dial);

	*in = s->up.bytes;
	*out = s->down.bytes;
}

const struct dial_ops session_dial_ops = {
	.client = session_client_of,
	.gone = session_client_is_gone,
	.open = open_server,
	.io = server_of,
	.close = close_server,
	.reached = go_live,
	.end = session_dial_end,
	.bytes = session_bytes,
};
