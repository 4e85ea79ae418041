/* proxy.c - the proxy engine: hands letters to the workers and collects their
 * answers.  Thread: main, but for each letter's journey. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "data/admit.h"
#include "data/dial.h"
#include "data/http/http_version.h"
#include "data/lane.h"
#include "data/port.h"
#include "data/proxy.h"
#include "data/proxy_reload.h"
#include "net/handed.h"
#include "net/tls_client.h"

/* Of so many descriptors one pipe may be made, at two descriptors. */
#define PIPES_SHARE 16

/* -- worker to main ------------------------------------------------------ */

struct acked_letter {
	struct mail mail;
	unsigned worker;
	struct service *service;
	uint64_t generation;
};

static void
acked_open(struct mail *m, void *receiver)
{
	struct acked_letter *t = container_of(m, struct acked_letter, mail);
	struct proxy *p = receiver;

	p->engine.on_acked(p->engine.arg, &p->engine, t->service, t->worker, t->generation);
	free(t);
}

/* -- main to workers ----------------------------------------------------- */

struct resume_letter {
	struct mail mail;
};

static void
resume_open(struct mail *m, void *receiver)
{
	free(container_of(m, struct resume_letter, mail));
	worker_release(receiver);
}

/* Behind the snapshots that were sent before, so the worker has them. */
static void
proxy_resume(struct engine *e, unsigned worker)
{
	struct proxy *p = proxy_of(e);
	struct resume_letter *l = must_alloc(sizeof(*l));

	l->mail.deliver = resume_open;
	mailbox_send(&p->workers[worker].mailbox, &l->mail);
}

/* What several share opens with the first of them. */
static enum err
proxy_open(struct engine *e, struct service *s, struct why *why)
{
	struct proxy *p = proxy_of(e);
	enum err error = OK;

	if (p->closing)
		return OK;
	atomic_store_explicit(&s->open, true, memory_order_release);
	for (size_t i = 0; i < p->n_ports && error == OK; i++)
		if (binding_is_for(p->ports[i]->binding, s->index))
			error = port_listen(p->ports[i], &s->config->tcp, why);
	return error;
}

/* It brings the worker's answer back: that must not want for memory. */
struct snapshot_letter {
	struct acked_letter acked;
	unsigned lane;
	struct snapshot *snapshot;	/* one reference */
};
_Static_assert(offsetof(struct snapshot_letter, acked) == 0, "acked_open() frees all of it");

static void
snapshot_open(struct mail *m, void *receiver)
{
	struct snapshot_letter *letter = container_of(m, struct snapshot_letter, acked.mail);
	struct worker *w = receiver;
	struct lane *l = w->lanes[letter->lane];

	letter->acked.generation = letter->snapshot->generation;
	letter->acked.service = l->service;
	letter->acked.worker = w->index;
	lane_take_snapshot(l, &letter->snapshot);
	letter->acked.mail.deliver = acked_open;	/* and frees it: it is the first of it */
	mailbox_send(&w->proxy->mailbox, &letter->acked.mail);
}

static const struct tally_histogram *
proxy_lag(const struct engine *e, unsigned worker, char name[ENGINE_THREAD_NAME])
{
	const struct proxy *p = container_of(e, struct proxy, engine);

	snprintf(name, ENGINE_THREAD_NAME, "worker-%u", worker);
	return &p->workers[worker].lag;
}

static void
proxy_publish(struct engine *e, struct service *s, struct snapshot **snapshot)
{
	struct proxy *p = proxy_of(e);

	for (unsigned i = 0; i < p->n_workers; i++) {
		struct snapshot_letter *letter = must_alloc(sizeof(*letter));

		letter->acked.mail.deliver = snapshot_open;
		letter->lane = s->index;
		letter->snapshot = snapshot_ref(*snapshot);
		mailbox_send(&p->workers[i].mailbox, &letter->acked.mail);
	}
	snapshot_unref(snapshot);
}

struct show_letter {
	struct mail mail;
	unsigned lane;
	struct tls_site *site;	/* one reference, or NULL */
	struct ssl_ctx_st *backend;
};

static void
show_open(struct mail *m, void *receiver)
{
	struct show_letter *s = container_of(m, struct show_letter, mail);
	struct worker *w = receiver;

	lane_take_tls(w->lanes[s->lane], s->site, s->backend);
	free(s);
}

static void
proxy_show(struct engine *e, struct service *s, struct tls_site *site, struct ssl_ctx_st *backend)
{
	struct proxy *p = proxy_of(e);

	for (unsigned i = 0; i < p->n_workers; i++) {
		struct show_letter *letter = must_alloc(sizeof(*letter));

		letter->mail.deliver = show_open;
		letter->lane = s->index;
		letter->site = site != NULL ? tls_site_ref(site) : NULL;
		letter->backend = tls_context_ref(backend);
		mailbox_send(&p->workers[i].mailbox, &letter->mail);
	}
	tls_site_unref(&site);
	tls_context_free(&backend);
}

struct rekey_letter {
	struct mail mail;
	struct tls_tickets tickets;
};

static void
rekey_open(struct mail *m, void *receiver)
{
	struct rekey_letter *r = container_of(m, struct rekey_letter, mail);
	struct worker *w = receiver;

	w->tickets = r->tickets;
	tls_tickets_wipe(&r->tickets);
	free(r);
}

static void
proxy_rekey(struct engine *e, const struct tls_tickets *tickets)
{
	struct proxy *p = proxy_of(e);

	for (unsigned i = 0; i < p->n_workers; i++) {
		struct rekey_letter *r = must_alloc(sizeof(*r));

		r->mail.deliver = rekey_open;
		r->tickets = *tickets;
		mailbox_send(&p->workers[i].mailbox, &r->mail);
	}
}

struct drain_letter {
	struct mail mail;
	unsigned lane;
	enum color color;
	struct drain_orders orders;
};

static void
drain_open(struct mail *m, void *receiver)
{
	struct drain_letter *d = container_of(m, struct drain_letter, mail);
	struct worker *w = receiver;

	if (w->lanes[d->lane] != NULL)	/* this worker has forgotten the service already */
		lane_start_drain(w->lanes[d->lane], d->color, &d->orders);
	free(d);
}

static void
proxy_drain(struct engine *e, struct service *s, enum color color, const struct drain_orders *orders)
{
	struct proxy *p = proxy_of(e);

	for (unsigned i = 0; i < p->n_workers; i++) {
		struct drain_letter *d = must_alloc(sizeof(*d));

		d->mail.deliver = drain_open;
		d->lane = s->index;
		d->color = color;
		d->orders = *orders;
		mailbox_send(&p->workers[i].mailbox, &d->mail);
	}
}

static uint64_t
proxy_count(struct engine *e, const struct service *s, enum color color)
{
	(void)e;
	return service_own_connections(s, ENTRANCE_MAIN, color);
}

/* -- who holds a color ---------------------------------------------------- */

struct holders_query {
	holders_fn *done;
	void *arg;
	unsigned waiting;	/* workers that have not answered */
	unsigned max;
	struct holders all;
};

struct holders_letter {
	struct mail mail;	/* to the worker, and back */
	struct holders_query *query;	/* main's */
	struct proxy *proxy;
	unsigned lane, max;
	enum color color;
	struct holders found;
};

static void
holders_back(struct mail *m, void *receiver)
{
	struct holders_letter *h = container_of(m, struct holders_letter, mail);
	struct holders_query *q = h->query;
	size_t room = q->max - q->all.n, n = h->found.n < room ? h->found.n : room;

	(void)receiver;
	memcpy(q->all.list + q->all.n, h->found.list, n * sizeof(struct holder));
	q->all.n += n;
	q->all.truncated |= h->found.truncated || n < h->found.n;
	free(h->found.list);
	free(h);
	if (--q->waiting > 0)
		return;
	q->done(q->arg, &q->all);
	free(q->all.list);
	free(q);
}

static void
holders_open(struct mail *m, void *receiver)
{
	struct holders_letter *h = container_of(m, struct holders_letter, mail);
	struct worker *w = receiver;
	const struct lane *l = w->lanes[h->lane];	/* NULL: this worker has forgotten the service already */
	unsigned kinds = l != NULL ? DIAL_KINDS : 0;
	double now = w->now;
	size_t n = 0;

	for (unsigned k = 0; k < kinds; k++)
		LIST_EACH(it, &l->live[k][h->color])
			n++;
	h->found.truncated = n > h->max;
	if (n > h->max)
		n = h->max;
	h->found.list = calloc(n + 1, sizeof(struct holder));
	if (h->found.list == NULL) {
		h->found.truncated |= n > 0;
		n = 0;
	}
	for (unsigned k = 0; k < kinds; k++)
		LIST_EACH(it, &l->live[k][h->color]) {
			const struct dial *d = list_entry(it, struct dial, link);
			struct holder *o;

			if (h->found.n == n)
				break;
			o = &h->found.list[h->found.n++];
			endpoint_get(&d->peer, &o->client);
			memcpy(o->backend, d->backend->text, sizeof(o->backend));
			o->age = now - d->born;
			o->idle = now - d->deadline.touched;
			dial_ops(d)->bytes(d, &o->bytes_in, &o->bytes_out);
		}
	h->mail.deliver = holders_back;
	mailbox_send(&h->proxy->mailbox, &h->mail);
}

static void
proxy_holders(struct engine *e, struct service *s, enum color color, unsigned max, holders_fn *done, void *arg)
{
	struct proxy *p = proxy_of(e);
	struct holders_query *q = must_alloc(sizeof(*q));

	q->done = done;
	q->arg = arg;
	q->waiting = p->n_workers;
	q->max = max;
	q->all.list = must_array(max, sizeof(struct holder));
	for (unsigned i = 0; i < p->n_workers; i++) {
		struct holders_letter *h = must_alloc(sizeof(*h));

		h->mail.deliver = holders_open;
		h->query = q;
		h->proxy = p;
		h->lane = s->index;
		h->max = max;
		h->color = color;
		mailbox_send(&p->workers[i].mailbox, &h->mail);
	}
}

/* -- the notice ------------------------------------------------------------- */

static void
notice_open(struct mail *m, void *receiver)
{
	struct worker *w = receiver;

	w->leaving = true;
	free(m);
}

static void
proxy_notice(struct engine *e)
{
	struct proxy *p = proxy_of(e);

	for (unsigned i = 0; i < p->n_workers; i++) {
		struct mail *m = must_alloc(sizeof(*m));

		m->deliver = notice_open;
		mailbox_send(&p->workers[i].mailbox, m);
	}
}

/* Every client has two descriptors, one in its handshake: that is rounded up; a flow of UDP has one. */
static uint64_t
proxy_left(const struct engine *e)
{
	const struct proxy *p = container_of(e, struct proxy, engine);
	uint32_t idle = atomic_load_explicit(&p->idle_upstreams, memory_order_relaxed);
	uint32_t held = atomic_load_explicit(&p->descriptors.held, memory_order_relaxed) +
			atomic_load_explicit(&p->flows.held, memory_order_relaxed);

	return held > idle ? ((uint64_t)held - idle + 1) / 2 : 0;
}

/* -- closing --------------------------------------------------------------- */

struct close_letter {
	struct mail mail;	/* to the worker, and back */
	struct proxy *proxy;
};

static void
close_back(struct mail *m, void *receiver)
{
	struct proxy *p = receiver;

	free(container_of(m, struct close_letter, mail));
	if (++p->closed == p->n_workers)
		p->engine.on_closed(p->engine.arg);
}

static void
close_open(struct mail *m, void *receiver)
{
	struct close_letter *c = container_of(m, struct close_letter, mail);
	struct worker *w = receiver;

	worker_close_listeners(w);
	c->mail.deliver = close_back;
	mailbox_send(&c->proxy->mailbox, &c->mail);
}

static void
proxy_close(struct engine *e)
{
	struct proxy *p = proxy_of(e);

	p->closing = true;
	/* Clients that come now are refused, not queued where none is accepted. */
	handed_forget(NULL, false);
	for (unsigned i = 0; i < p->n_workers; i++) {
		struct close_letter *c = must_alloc(sizeof(*c));

		c->mail.deliver = close_open;
		c->proxy = p;
		mailbox_send(&p->workers[i].mailbox, &c->mail);
	}
}

/* -- life --------------------------------------------------------------------- */

static void
make_ports(struct proxy *p)
{
	struct bindings bindings;

	bindings_make(p->config, NULL, &bindings);
	p->n_ports = bindings.n;
	p->ports = must_array(bindings.n, sizeof(struct proxy_port *));
	for (size_t i = 0; i < bindings.n; i++)
		p->ports[i] = port_new(bindings.list[i], p->configs);
	bindings_free(&bindings);
}

struct proxy *
proxy_new(struct ev_loop *loop, const struct config *config, struct service **services, unsigned n,
	  uint32_t descriptors)
{
	struct proxy *p = aligned_alloc(64, sizeof(*p));

	CHECK(p != NULL);
	memset(p, 0, sizeof(*p));
	p->engine = (struct engine){
		.class = &proxy_class,
		.publish = proxy_publish,
		.drain = proxy_drain,
		.holders = proxy_holders,
		.count = proxy_count,
		.open = proxy_open,
		.close = proxy_close,
		.notice = proxy_notice,
		.left = proxy_left,
		.resume = proxy_resume,
		.show = proxy_show,
		.rekey = proxy_rekey,
		.lag = proxy_lag,
		.prepare = proxy_prepare,
		.abandon = proxy_abandon,
		.commit = proxy_commit,
		.forget = proxy_forget,
	};
	p->modes[MODE_TCP] = &tcp_mode;
	p->modes[MODE_HTTP] = &http_mode;
	p->version = &http2_version;
	p->modes[MODE_UDP] = &udp_mode;
	p->config = config;
	p->services = must_array(n + 1, sizeof(*p->services));
	p->configs = must_array(n + 1, sizeof(*p->configs));
	p->n_services = n;
	for (unsigned i = 0; i < n; i++)
		if (services[i]->config->engine == ENGINE_PROXY) {
			p->services[i] = services[i];
			p->configs[i] = services[i]->config;
		}
	list_init(&p->forgetting);
	mailbox_init(&p->mailbox, loop, p);
	p->n_workers = p->engine.n_threads = config->workers;
	/* Pipes come out of the sessions' share: were they extra, many bulk
	 * streams would eat what is kept for the admin socket. */
	p->pipes = descriptors / PIPES_SHARE / p->n_workers;
	if (p->pipes > PROXY_PIPES)
		p->pipes = PROXY_PIPES;
	admission_init(&p->descriptors, descriptors - 2 * p->pipes * p->n_workers);
	admission_init(&p->clients, config->max_connections);
	admission_init(&p->flows, 1);
	proxy_share_flows(p);
	p->engine.clients = &p->clients;
	p->workers = must_array(p->n_workers, sizeof(struct worker));
	make_ports(p);
	for (unsigned i = 0; i < p->n_workers; i++)
		worker_init(&p->workers[i], i, p, services, n);
	return p;
}

void
proxy_set_descriptors(struct proxy *p, uint32_t descriptors)
{
	uint32_t pipes = 2 * p->pipes * p->n_workers;

	/* 0 would be no limit. */
	admission_set_limit(&p->descriptors, descriptors > pipes ? descriptors - pipes : 1);
	proxy_share_flows(p);
}

/* A predecessor that serves yet has flows of datagrams that came by what it has handed to us. */
static void
add_first_listener(struct proxy *p, struct proxy_port *port, unsigned k)
{
	bool awaits = port->binding->datagram && k < port->sockets.adopted && handed_is_borrowed();
	struct listener *l = worker_add_listener(&p->workers[k % p->n_workers], port->binding, port->admit,
						 awaits ? -1 : port->sockets.fds[k]);

	if (awaits)
		listener_open_datagrams(l, port->sockets.fds[k], true);
}

enum err
proxy_bind(struct proxy *p, struct why *why)
{
	if (p->n_ports > PERMIT_LISTENERS)
		return why_set(why, E_USAGE, "%s: %zu addresses to listen on, at most %d are possible",
			       p->config->path, p->n_ports, PERMIT_LISTENERS);
	for (size_t i = 0; i < p->n_ports; i++) {
		struct proxy_port *port = p->ports[i];
		enum err e = port_open(port, p->n_workers, p->configs[port->binding->owner], why);

		if (e != OK)
			return e;
		for (unsigned k = 0; k < port->sockets.n; k++)
			add_first_listener(p, port, k);
	}
	return OK;
}

enum err
proxy_start(struct proxy *p, struct why *why)
{
	for (unsigned i = 0; i < p->n_workers; i++) {
		enum err e = worker_start(&p->workers[i], why);

		if (e != OK)
			return e;
	}
	return OK;
}

void
proxy_free(struct proxy **pp)
{
	struct proxy *p = *pp;

	*pp = NULL;
	if (p == NULL)
		return;
	p->ending = true;
	/* They write to each other: none may go before all have ended. */
	for (unsigned i = 0; i < p->n_workers; i++)
		worker_join(&p->workers[i]);
	for (unsigned i = 0; i < p->n_workers; i++)
		worker_destroy(&p->workers[i]);
	mailbox_close(&p->mailbox);
	proxy_reload_free(p);
	for (size_t i = 0; i < p->n_ports; i++)
		port_free(&p->ports[i]);
	free(p->ports);
	free(p->services);
	free(p->configs);
	free(p->workers);
	free(p);
}
