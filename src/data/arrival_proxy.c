/* arrival_proxy.c - the PROXY header of a connection that arrives.
 * Thread: owning worker. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "data/arrival_private.h"
#include "proto/proxy_protocol.h"

static void
from_wire(struct endpoint *e, const struct proxy_header *h, const struct proxy_end *end)
{
	e->family = h->family == PROXY_IP4 ? AF_INET : h->family == PROXY_IP6 ? AF_INET6 : AF_UNIX;
	e->port = htons(end->port);
	memcpy(e->ip, end->ip, sizeof(e->ip));
}

/* LOCAL and UNKNOWN name nobody: the peer itself is the client. */
static void
believe(struct arrival_facts *f, const struct proxy_header *h)
{
	f->peer = f->client;
	f->proxied = true;
	if (h->family == PROXY_UNKNOWN)
		return;
	from_wire(&f->client, h, &h->source);
	from_wire(&f->destination, h, &h->destination);
}

static enum arrival_step
broken(enum ending why, enum ending *ending)
{
	*ending = why;
	return ARRIVAL_BROKEN;
}

/* What a header that is not whole has brought is taken off the socket, or it
 * would be reported as readable for ever. */
static bool
keep_part(struct arrival *a, const char *all, size_t n)
{
	char *part = realloc(a->part, n);

	if (part == NULL)
		return false;
	memcpy(part, all, n);
	a->part = part;
	a->n_part = n;
	return true;
}

void
arrival_drop_part(struct arrival *a)
{
	free(a->part);
	a->part = NULL;
	a->n_part = 0;
}

static enum arrival_step
refuse(struct arrival *a, enum proxy_reason reason, enum ending *ending)
{
	char client[ADDR_TEXT];
	struct addr peer;

	endpoint_get(&a->facts.client, &peer);
	LOG_DEBUG("proxy.header", LS("service", a->facts.lane->service->config->name),
		  LR(NULL, str_from(a->facts.lane->service->config->labels_json)),
		  LS("client", addr_format(&peer, client)), LS("reason", proxy_reason_words(reason)));
	return broken(END_PROXY_HEADER, ending);
}

/* The bytes are looked at, and then just those of the header are taken: what
 * follows them stays where its reader will look. */
enum arrival_step
arrival_read_proxy(struct arrival *a, enum ending *ending)
{
	struct relay_room *room = &a->facts.lane->worker->room;
	enum proxy_verdict verdict;
	enum proxy_reason reason;
	struct proxy_header h;
	size_t all, take;
	ssize_t n;

	CHECK(a->n_part < PROXY_V2_MAX && room->size >= PROXY_V2_MAX);
	if (a->n_part > 0)
		memcpy(room->buffer, a->part, a->n_part);
	n = recv(io_fd(&a->io), room->buffer + a->n_part, PROXY_V2_MAX - a->n_part, MSG_PEEK);
	if (n < 0 && io_would_block())
		return ARRIVAL_WAIT;
	/* Who says nothing at all asks whether we are there. */
	if (n < 0 || (n == 0 && a->n_part == 0))
		return broken(END_CLIENT_GONE, ending);
	if (n == 0)
		return broken(END_PROXY_HEADER, ending);
	all = a->n_part + (size_t)n;
	verdict = proxy_header_parse(room->buffer, all, &h, &reason);
	if (verdict == PROXY_BAD)
		return refuse(a, reason, ending);
	take = (verdict == PROXY_DONE ? h.length : all) - a->n_part;
	if (recv(io_fd(&a->io), room->buffer + a->n_part, take, 0) != (ssize_t)take)
		return broken(END_CLIENT_GONE, ending);
	if (verdict == PROXY_NEED_MORE)
		return keep_part(a, room->buffer, all) ? ARRIVAL_WAIT : broken(END_MEMORY, ending);
	arrival_drop_part(a);
	believe(&a->facts, &h);
	return ARRIVAL_DONE;
}
