/* port.c - an address that the proxy listens on.  Thread: main. */
#include <stdlib.h>

#include "data/admit.h"
#include "data/port.h"

struct proxy_port *
port_new(struct binding *b, const struct service_config *const *configs)
{
	struct proxy_port *p = must_alloc(sizeof(*p));

	p->binding = binding_ref(b);
	p->admit = admit_new(configs, b);
	p->sockets.pin = -1;
	return p;
}

void
port_free(struct proxy_port **pp)
{
	struct proxy_port *p = *pp;

	*pp = NULL;
	listening_close(&p->sockets);
	binding_unref(&p->binding);
	admit_unref(&p->admit);
	free(p);
}

enum err
port_open(struct proxy_port *p, unsigned workers, const struct service_config *owner, struct why *why)
{
	const struct listening_terms terms = {
		.datagram = p->binding->datagram,
		.freebind = owner->tcp.freebind,
		.mode = 0666,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
	};
	struct why reason;
	enum err e = listening_open(&p->sockets, &p->binding->addr, &terms, workers, &reason);

	if (e != OK)
		return why_set(why, e, "%s:%u: service \"%s\": %s", owner->at.file, owner->at.line, owner->name,
			       reason.text);
	return OK;
}

static void
set_port_options(struct proxy_port *p, const struct tcp_options *o)
{
	for (unsigned i = 0; i < p->sockets.n && !p->binding->datagram; i++)
		sock_listener_options(p->sockets.fds[i], &o->keepalive, o->user_timeout,
				      o->fastopen ? o->backlog : 0);
}

void
port_tune(struct proxy_port *p, const struct tcp_options *o)
{
	set_port_options(p, o);
	for (unsigned i = 0; i < p->sockets.n && !p->binding->datagram; i++)
		(void)listen(p->sockets.fds[i], o->backlog);
}

enum err
port_claim(struct proxy_port *p, const struct tcp_options *o, struct why *why)
{
	enum err e;

	if (p->listening)
		return OK;
	set_port_options(p, o);
	e = listening_claim(&p->sockets, o->backlog, why);
	p->listening = e == OK;
	return e;
}

void
port_keep(struct proxy_port *p)
{
	if (p->listening && !p->kept)
		listening_keep(&p->sockets);
	p->kept = p->listening;
}

enum err
port_listen(struct proxy_port *p, const struct tcp_options *o, struct why *why)
{
	enum err e = port_claim(p, o, why);

	port_keep(p);
	return e;
}
