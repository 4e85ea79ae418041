/* proxy_tell.c - what workers tell main.  Thread: the worker that tells; a letter's journey ends on main. */
#include <stdlib.h>

#include "data/proxy.h"

struct refused_letter {
	struct mail mail;
	struct service *service;
};

static void
refused_open(struct mail *m, void *receiver)
{
	struct refused_letter *r = container_of(m, struct refused_letter, mail);
	struct proxy *p = receiver;

	if (p->on_refused != NULL)
		p->on_refused(p->engine.arg, r->service);
	free(r);
}

bool
proxy_tell_refused(struct proxy *p, struct service *s)
{
	struct refused_letter *r = malloc(sizeof(*r));

	if (r == NULL)
		return false;
	r->mail.deliver = refused_open;
	r->service = s;
	mailbox_send(&p->mailbox, &r->mail);
	return true;
}

struct stalled_letter {
	struct mail mail;
	unsigned worker;
	double seconds;
};

static void
stalled_open(struct mail *m, void *receiver)
{
	struct stalled_letter *l = container_of(m, struct stalled_letter, mail);
	struct proxy *p = receiver;

	p->engine.on_stalled(p->engine.arg, &p->engine, l->worker, l->seconds);
	free(l);
}

bool
proxy_tell_stalled(struct proxy *p, unsigned worker, double seconds)
{
	struct stalled_letter *l = malloc(sizeof(*l));

	if (l == NULL)
		return false;
	l->mail.deliver = stalled_open;
	l->worker = worker;
	l->seconds = seconds;
	mailbox_send(&p->mailbox, &l->mail);
	return true;
}
