/* handshake_proxy.c - the PROXY header of a new connection.
 * Thread: owning worker. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "data/handshake_private.h"
#include "proto/proxy_protocol.h"

static void
from_wire(struct endpoint *e, const struct proxy_header *h, const struct proxy_end *end)
{
	e->family = h->family == PROXY_IP4 ? AF_INET : h->family == PROXY_IP6 ? AF_INET6 : AF_UNIX;
	e->port = htons(end->port);
	memcpy(e->ip, end->ip, sizeof(e->ip));
}

/* LOCAL and UNKNOWN name no client: the peer itself is the client. */
static void
believe(struct handshake_facts *f, const struct proxy_header *h)
{
	CHECK(!f->permit.listed && !f->permit.source);
	f->peer = f->permit.client;
	f->proxy_header = true;
	if (h->family == PROXY_UNKNOWN)
		return;
	from_wire(&f->permit.client, h, &h->source);
	from_wire(&f->destination, h, &h->destination);
}

static enum handshake_step
broken(enum ending why, enum ending *ending)
{
	*ending = why;
	return HANDSHAKE_BROKEN;
}

/* What a header that is not whole has brought is taken off the socket, or it
 * would be reported as readable for ever. */
static bool
keep_header_part(struct handshake *hs, const char *all, size_t n)
{
	char *part = realloc(hs->part, n);

	if (part == NULL)
		return false;
	memcpy(part, all, n);
	hs->part = part;
	hs->n_part = n;
	return true;
}

void
handshake_drop_part(struct handshake *hs)
{
	free(hs->part);
	hs->part = NULL;
	hs->n_part = 0;
}

static enum handshake_step
refuse_header(struct handshake *hs, enum proxy_reason reason, enum ending *ending)
{
	char client[ADDR_TEXT];
	struct addr peer;

	endpoint_get(&hs->facts.permit.client, &peer);
	LOG_DEBUG("proxy.header", LS("service", hs->facts.permit.lane->config->name),
		  LR(NULL, str_from(hs->facts.permit.lane->config->labels_json)),
		  LS("client", addr_format(&peer, client)), LS("reason", proxy_reason_words(reason)));
	return broken(END_PROXY_HEADER, ending);
}

/* The bytes are looked at, and then just those of the header are taken: what
 * follows them stays where its reader will look. */
enum handshake_step
handshake_read_proxy(struct handshake *hs, enum ending *ending)
{
	struct relay_buffers *buffers = &hs->facts.permit.lane->worker->buffers;
	enum proxy_verdict verdict;
	enum proxy_reason reason;
	struct proxy_header h;
	size_t all, take;
	ssize_t n;

	CHECK(hs->n_part < PROXY_V2_MAX && buffers->size >= PROXY_V2_MAX);
	if (hs->n_part > 0)
		memcpy(buffers->buffer, hs->part, hs->n_part);
	n = recv(io_fd(&hs->io), buffers->buffer + hs->n_part, PROXY_V2_MAX - hs->n_part, MSG_PEEK);
	if (n < 0 && io_would_block())
		return HANDSHAKE_WAIT;
	/* Who says nothing at all asks whether we are there. */
	if (n < 0 || (n == 0 && hs->n_part == 0))
		return broken(END_CLIENT_GONE, ending);
	if (n == 0)
		return broken(END_PROXY_HEADER, ending);
	all = hs->n_part + (size_t)n;
	verdict = proxy_header_parse(buffers->buffer, all, &h, &reason);
	if (verdict == PROXY_BAD)
		return refuse_header(hs, reason, ending);
	take = (verdict == PROXY_DONE ? h.length : all) - hs->n_part;
	if (recv(io_fd(&hs->io), buffers->buffer + hs->n_part, take, 0) != (ssize_t)take)
		return broken(END_CLIENT_GONE, ending);
	if (verdict == PROXY_NEED_MORE)
		return keep_header_part(hs, buffers->buffer, all) ? HANDSHAKE_WAIT : broken(END_MEMORY, ending);
	handshake_drop_part(hs);
	believe(&hs->facts, &h);
	return HANDSHAKE_DONE;
}
