/* proxied.c - PROXY headers, read from clients and told to backends.
 * Thread: owning worker. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "data/proxied.h"
#include "proto/proxy_protocol.h"

bool
proxied_denies(const struct lane *l, const struct addr *peer)
{
	return proxied_is_on(l) && !cidr_set_match(&l->service->config->proxy_protocol.accept_from, peer);
}

/* -- reading ---------------------------------------------------------------- */

static void
from_wire(struct endpoint *e, const struct proxy_header *h, const struct proxy_end *end)
{
	e->family = h->family == PROXY_IP4 ? AF_INET : h->family == PROXY_IP6 ? AF_INET6 : AF_UNIX;
	e->port = htons(end->port);
	memcpy(e->ip, end->ip, sizeof(e->ip));
}

/* LOCAL and UNKNOWN name nobody: the peer itself is the client. */
static void
believe(struct session *s, struct proxied *p, const struct proxy_header *h)
{
	p->peer = s->peer;
	if (h->family == PROXY_UNKNOWN)
		return;
	from_wire(&s->peer, h, &h->source);
	from_wire(&p->destination, h, &h->destination);
}

static enum proxied_step
broken(enum ending why, enum ending *ending)
{
	*ending = why;
	return PROXIED_BROKEN;
}

/* What a header that is not whole has brought is taken off the socket, or it
 * would be reported as readable for ever. */
static bool
keep_part(struct proxied *p, const char *all, size_t n)
{
	char *part = realloc(p->part, n);

	if (part == NULL)
		return false;
	memcpy(part, all, n);
	p->part = part;
	p->n_part = n;
	return true;
}

static enum proxied_step
refuse(struct session *s, enum proxy_reason reason, enum ending *ending)
{
	char client[ADDR_TEXT];
	struct addr peer;

	session_peer(s, &peer);
	LOG_DEBUG("proxy.header", LS("service", s->lane->service->config->name),
		  LS("client", addr_format(&peer, client)), LS("reason", proxy_reason_words(reason)));
	return broken(END_PROXY_HEADER, ending);
}

/* The bytes are looked at, and then just those of the header are taken: what
 * follows them stays where the relay will read it. */
enum proxied_step
proxied_read(struct session *s, enum ending *ending)
{
	struct relay_room *room = &s->lane->worker->room;
	struct proxied *p = proxied_of(s);
	enum proxy_verdict verdict;
	enum proxy_reason reason;
	struct proxy_header h;
	size_t all, take;
	ssize_t n;

	CHECK(p->n_part < PROXY_V2_MAX && room->size >= PROXY_V2_MAX);
	if (p->n_part > 0)
		memcpy(room->buffer, p->part, p->n_part);
	n = recv(io_fd(&s->client), room->buffer + p->n_part, PROXY_V2_MAX - p->n_part, MSG_PEEK);
	if (n < 0 && io_would_block())
		return PROXIED_WAIT;
	/* Who says nothing at all asks whether we are there. */
	if (n < 0 || (n == 0 && p->n_part == 0))
		return broken(END_CLIENT_GONE, ending);
	if (n == 0)
		return broken(END_PROXY_HEADER, ending);
	all = p->n_part + (size_t)n;
	verdict = proxy_header_parse(room->buffer, all, &h, &reason);
	if (verdict == PROXY_BAD)
		return refuse(s, reason, ending);
	take = (verdict == PROXY_DONE ? h.length : all) - p->n_part;
	if (recv(io_fd(&s->client), room->buffer + p->n_part, take, 0) != (ssize_t)take)
		return broken(END_CLIENT_GONE, ending);
	if (verdict == PROXY_NEED_MORE)
		return keep_part(p, room->buffer, all) ? PROXIED_WAIT : broken(END_MEMORY, ending);
	proxied_end(s);
	believe(s, p, &h);
	return PROXIED_KNOWN;
}

void
proxied_end(struct session *s)
{
	struct proxied *p = proxied_of(s);

	if (p == NULL)
		return;
	free(p->part);
	p->part = NULL;
	p->n_part = 0;
}

char *
proxied_json(struct session *s, char text[PROXIED_TEXT])
{
	const struct proxied *p = proxied_of(s);
	char peer[ADDR_TEXT];
	struct addr a;

	text[0] = '\0';
	if (p == NULL || p->peer.family == 0)
		return text;
	endpoint_get(&p->peer, &a);
	snprintf(text, PROXIED_TEXT, "\"peer\":\"%s\"", addr_format(&a, peer));
	return text;
}

/* -- telling ---------------------------------------------------------------- */

static void
to_wire(struct proxy_end *end, const struct endpoint *e)
{
	end->port = ntohs(e->port);
	memcpy(end->ip, e->ip, e->family == AF_INET ? 4 : 16);
}

/* Where the client had connected to, as a header said or else to us. */
static bool
destination_of(struct session *s, struct endpoint *out)
{
	const struct proxied *p = proxied_of(s);
	struct addr here = { .len = sizeof(here.u) };

	if (p != NULL && p->destination.family != 0) {
		*out = p->destination;
		return true;
	}
	memset(out, 0, sizeof(*out));
	if (getsockname(io_fd(&s->client), &here.u.sa, &here.len) != 0)
		return false;
	endpoint_set(out, &here);
	return true;
}

bool
proxied_tell(struct session *s)
{
	struct proxy_header h = {
		.version = s->lane->service->config->proxy_protocol.send == SEND_V1 ? 1 : 2,
		.family = PROXY_UNKNOWN,
	};
	struct endpoint destination;
	char text[PROXY_WRITE_MAX];
	ssize_t sent;
	size_t n;

	/* Half an answer would be a wrong one. */
	if (destination_of(s, &destination) && destination.family == s->peer.family &&
	    s->peer.family != AF_UNIX) {
		h.family = s->peer.family == AF_INET ? PROXY_IP4 : PROXY_IP6;
		to_wire(&h.source, &s->peer);
		to_wire(&h.destination, &destination);
	}
	n = proxy_header_write(&h, text);
	sent = send(io_fd(&s->server), text, n, MSG_NOSIGNAL | MSG_MORE);
	if (sent >= 0 && (size_t)sent < n)
		errno = ENOBUFS;
	/* A new connection takes a hundred bytes, or none ever. */
	return sent == (ssize_t)n;
}
