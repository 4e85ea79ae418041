/* proxy_reload.c - another configuration for the workers: what is new is opened,
 * then each has it by a letter.  Thread: main, but for the letters' journeys. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/admit.h"
#include "data/lane.h"
#include "data/port.h"
#include "data/proxy.h"
#include "data/proxy_reload.h"
#include "net/sock.h"
#include "net/tls_client.h"

/* Between prepare() and the last worker's answer to commit(). */
struct proxy_reload {
	struct worker_reload order;
	const struct service_config **configs;	/* [slot], of `to`; NULL: none is there */
	bool *changed;	/* [slot] */
	struct proxy_port **ports;	/* all of `to`: those that were there, and new ones */
	bool *fresh;	/* [port]: it is a new one */
	bool *kept;	/* [the proxy's port before the commit]: it is one of these */
	struct binding **bindings;	/* [port], what each is to have; one reference */
	struct admit **admits;	/* likewise, or NULL */
	size_t n_ports;
	struct proxy_port **gone;	/* those that are listened on no more */
	size_t n_gone;
	unsigned waiting;	/* workers that have not answered */
};

/* -- the plan ---------------------------------------------------------------- */

/* Looks for ports that are there.  Most files keep their order: the one behind the last that was found is
 * looked at first. */
struct port_search {
	struct proxy_port **ports;
	size_t n, next;
	struct proxy_port ***sorted;	/* by address, into ports; NULL: they have not been needed */
};

static int
compare_to_port(const void *key, const void *b)
{
	const struct binding *x = key, *y = (**(struct proxy_port **const *)b)->binding;

	return x->datagram != y->datagram ? x->datagram - y->datagram : addr_compare(&x->addr, &y->addr);
}

static int
compare_port_addrs(const void *a, const void *b)
{
	return compare_to_port((**(struct proxy_port **const *)a)->binding, b);
}

static void
sort_ports(struct port_search *s)
{
	s->sorted = must_array(s->n + 1, sizeof(*s->sorted));
	for (size_t i = 0; i < s->n; i++)
		s->sorted[i] = &s->ports[i];
	qsort(s->sorted, s->n, sizeof(*s->sorted), compare_port_addrs);
}

/* Into s->ports; NULL: none has that address. */
static struct proxy_port **
find_port(struct port_search *s, const struct binding *b)
{
	struct proxy_port ***found;

	if (s->next < s->n && s->ports[s->next]->binding->datagram == b->datagram &&
	    addr_equal(&s->ports[s->next]->binding->addr, &b->addr))
		return &s->ports[s->next++];
	if (s->sorted == NULL)
		sort_ports(s);
	found = bsearch(b, s->sorted, s->n, sizeof(*s->sorted), compare_to_port);
	if (found == NULL)
		return NULL;
	s->next = (size_t)(*found - s->ports) + 1;
	return *found;
}

static enum err
check_reloaded_services(const struct proxy *p, const struct reload *r, struct why *why)
{
	if (r->to->workers != p->n_workers)
		return why_set(why, E_USAGE, "%s: workers: %u instead of %u needs an upgrade", r->to->path,
			       r->to->workers, p->n_workers);
	for (size_t i = 0; i < r->n; i++) {
		const struct reload_service *s = &r->services[i];
		const struct service_config *c = s->config, *old;
		bool known = s->service->index < p->n_services && p->services[s->service->index] == s->service;

		if (!known)
			continue;
		old = p->configs[s->service->index];
		if (old->engine != c->engine || old->mode != c->mode)
			return why_set(why, E_USAGE, "%s:%u: service \"%s\": another %s needs an upgrade, or another name",
				       c->at.file, c->at.line, c->name, old->engine != c->engine ? "engine" : "mode");
	}
	return OK;
}

/* Each service's configuration in its slot. */
static unsigned *
place_services(struct proxy_reload *n, const struct reload *r, unsigned at_least)
{
	unsigned *slots = must_array(r->n + 1, sizeof(*slots));

	n->order.n_slots = at_least;
	for (size_t i = 0; i < r->n; i++) {
		slots[i] = r->services[i].service->index;
		if (slots[i] >= n->order.n_slots)
			n->order.n_slots = slots[i] + 1;
	}
	n->configs = must_array(n->order.n_slots + 1, sizeof(*n->configs));
	n->changed = must_array(n->order.n_slots + 1, sizeof(*n->changed));
	for (size_t i = 0; i < r->n; i++) {
		n->configs[slots[i]] = r->services[i].config;
		n->changed[slots[i]] = r->services[i].changed;
	}
	return slots;
}

/* The kernel refuses an address beside our own that includes it, or is part of it. */
static void
say_overlap(const struct proxy *p, const struct binding *b, struct why *why)
{
	const struct addr *a = &b->addr;
	char text[ADDR_TEXT];
	struct why first = *why;

	for (size_t i = 0; i < p->n_ports; i++) {
		const struct addr *ours = &p->ports[i]->binding->addr;

		if (p->ports[i]->binding->datagram != b->datagram || addr_family(ours) != addr_family(a) || addr_port(ours) == 0 || addr_port(ours) != addr_port(a) ||
		    !(addr_is_any(ours) || addr_is_any(a)))
			continue;
		(void)why_set(why, E_USAGE,
			      "%s; it may be teald itself, which listens on %s: one reload has to take that away, "
			      "and the next can bring this", first.text, addr_format(ours, text));
		return;
	}
}

/* A service whose color is not known yet is listened for by open(); the embedded
 * store knows it. */
static bool
is_listened_on(const struct proxy *p, const struct config *to, const struct binding *b)
{
	if (to->store.type == STORE_FILE)
		return true;
	for (size_t i = 0; i < b->n_services; i++) {
		const struct service *s = b->services[i] < p->n_services ? p->services[b->services[i]] : NULL;

		if (s != NULL && atomic_load_explicit(&s->open, memory_order_relaxed))
			return true;
	}
	return false;
}

/* Bound sockets do not exclude each other, those that listen do. */
static enum err
claim_address(const struct proxy *p, const struct proxy_reload *n, const struct reload *r, struct proxy_port *port,
	      const struct binding *b, struct why *why)
{
	const struct service_config *owner = n->configs[b->owner];
	struct why reason;

	if (port->listening || !is_listened_on(p, r->to, b) || port_claim(port, &owner->tcp, &reason) == OK)
		return OK;
	return why_set(why, E_USAGE, "%s:%u: service \"%s\": %s", owner->at.file, owner->at.line, owner->name, reason.text);
}

/* A new address is bound; one that was there keeps its sockets. */
static enum err
prepare_ports(struct proxy *p, struct proxy_reload *n, const struct reload *r, const struct bindings *all,
	      struct why *why)
{
	struct port_search search = { .ports = p->ports, .n = p->n_ports };
	enum err e = OK;

	n->kept = must_array(p->n_ports + 1, sizeof(*n->kept));
	n->ports = must_array(all->n + 1, sizeof(*n->ports));
	n->fresh = must_array(all->n + 1, sizeof(*n->fresh));
	n->bindings = must_array(all->n + 1, sizeof(*n->bindings));
	n->admits = must_array(all->n + 1, sizeof(*n->admits));
	for (size_t i = 0; i < all->n && e == OK; i++) {
		struct binding *b = all->list[i];
		struct proxy_port **at = find_port(&search, b);
		struct proxy_port *port = at != NULL ? *at : port_new(b, n->configs);
		struct admit *admit = port->admit;

		bool fits = at == NULL || admit_fits(admit, n->configs, b);

		/* The same binding means that nothing changes here. */
		if (at != NULL && fits && binding_equal(port->binding, b))
			b = port->binding;
		if (!fits)
			admit = admit_new(n->configs, b);
		else if (admit != NULL)
			admit = admit_ref(admit);
		n->ports[n->n_ports] = port;
		n->fresh[n->n_ports] = at == NULL;
		n->bindings[n->n_ports] = binding_ref(b);
		n->admits[n->n_ports++] = admit;
		if (at != NULL)
			n->kept[at - p->ports] = true;
		else
			e = port_open(port, p->n_workers, n->configs[b->owner], why);
		if (e == OK)
			e = claim_address(p, n, r, port, b, why);
		if (e != OK)
			say_overlap(p, b, why);
	}
	free(search.sorted);
	return e;
}

static void
reload_free(struct proxy_reload **np)
{
	struct proxy_reload *n = *np;
	struct worker_reload *o = &n->order;

	*np = NULL;
	for (size_t i = 0; i < n->n_ports; i++) {
		binding_unref(&n->bindings[i]);
		admit_unref(&n->admits[i]);
	}
	for (size_t i = 0; i < n->n_gone; i++)
		port_free(&n->gone[i]);
	for (size_t i = 0; i < o->n_ports; i++) {
		binding_unref(&o->ports[i].old);
		binding_unref(&o->ports[i].binding);
		admit_unref(&o->ports[i].admit);
		free(o->ports[i].fds);
	}
	for (size_t i = 0; i < o->n_lanes; i++) {
		tls_site_unref(&o->lanes[i].site);
		tls_context_free(&o->lanes[i].backend);
		snapshot_unref(&o->lanes[i].snapshot);
	}
	free(o->lanes);
	free(o->removed);
	free(o->ports);
	free(n->configs);
	free(n->changed);
	free(n->ports);
	free(n->fresh);
	free(n->kept);
	free(n->bindings);
	free(n->admits);
	free(n->gone);
	free(n);
}

enum err
proxy_prepare(struct engine *e, const struct reload *r, struct why *why)
{
	struct proxy *p = proxy_of(e);
	struct bindings all;
	unsigned *slots;
	enum err error;

	CHECK(p->reload == NULL);
	if (p->closing)
		return why_set(why, E_USAGE, "teald is stopping");
	if ((error = check_reloaded_services(p, r, why)) != OK)
		return error;
	p->reload = must_alloc(sizeof(*p->reload));
	slots = place_services(p->reload, r, p->n_services);
	bindings_make(r->to, slots, &all);
	free(slots);
	/* A worker has both, for a while. */
	if (all.n + p->n_ports > PERMIT_LISTENERS / 2)
		error = why_set(why, E_USAGE, "%s: %zu addresses to listen on are too many", r->to->path, all.n);
	else
		error = prepare_ports(p, p->reload, r, &all, why);
	bindings_free(&all);
	if (error != OK)
		proxy_abandon(e);
	return error;
}

void
proxy_abandon(struct engine *e)
{
	struct proxy *p = proxy_of(e);
	struct proxy_reload *n = p->reload;

	for (size_t i = 0; i < n->n_ports; i++) {
		struct proxy_port *port = n->ports[i];

		if (!n->fresh[i])
			continue;
		for (unsigned k = 0; k < port->sockets.n; k++)
			close(port->sockets.fds[k]);
		/* They were never kept by the supervisor: the file of one goes, too. */
		port->sockets.forgotten = true;
		port_free(&port);
	}
	reload_free(&p->reload);
}

/* -- the commit --------------------------------------------------------------- */

static void
order_lanes(struct worker_reload *o, const struct reload *r)
{
	o->lanes = must_array(r->n + 1, sizeof(*o->lanes));
	for (size_t i = 0; i < r->n; i++) {
		const struct reload_service *s = &r->services[i];

		if (s->config->engine != ENGINE_PROXY)
			continue;
		service_set_limits(s->service, s->config);
		o->lanes[o->n_lanes++] = (struct lane_change){
			.service = s->service,
			.config = s->config,
			.changed = s->changed,
			.shows = s->shows,
			.site = s->shows && s->site != NULL ? tls_site_ref(s->site) : NULL,
			.backend = s->shows ? tls_context_ref(s->backend) : NULL,
			.snapshot = s->snapshot != NULL ? snapshot_ref(s->snapshot) : NULL,
		};
	}
	o->removed = must_array(r->n_removed + 1, sizeof(*o->removed));
	for (size_t i = 0; i < r->n_removed; i++)
		if (r->removed[i]->config->engine == ENGINE_PROXY)
			o->removed[o->n_removed++] = r->removed[i]->index;
}

/* The sockets of what was there follow their owner's options as well. */
static void
listen_on(const struct proxy_reload *n, struct proxy_port *port)
{
	unsigned owner = port->binding->owner;

	if (port->kept && n->changed[owner])
		port_tune(port, &n->configs[owner]->tcp);
	port_keep(port);
}

static void
order_port(struct worker_reload *o, struct proxy_port *port, struct binding *b, struct admit *admit, bool fresh)
{
	struct port_change *c = &o->ports[o->n_ports++];

	*c = (struct port_change){ .binding = b != NULL ? binding_ref(b) : NULL };
	if (admit != NULL)
		c->admit = admit_ref(admit);
	if (!fresh) {
		c->old = binding_ref(port->binding);
		return;
	}
	c->n_fds = port->sockets.n;
	c->fds = must_array(c->n_fds + 1, sizeof(int));
	memcpy(c->fds, port->sockets.fds, c->n_fds * sizeof(int));
}

static void
order_ports(struct proxy *p, struct proxy_reload *n)
{
	struct worker_reload *o = &n->order;
	struct proxy_port **old = p->ports;
	size_t n_old = p->n_ports;

	o->ports = must_array(n->n_ports + n_old + 1, sizeof(*o->ports));
	n->gone = must_array(n_old + 1, sizeof(*n->gone));
	for (size_t i = 0; i < n->n_ports; i++) {
		struct proxy_port *port = n->ports[i];
		struct binding *b = n->bindings[i];
		struct admit *admit = n->admits[i];

		if (n->fresh[i] || port->binding != b)
			order_port(o, port, b, admit, n->fresh[i]);
		if (admit != NULL)
			admit_set(admit, n->configs, b);
		/* Both are kept by the port, in exchange for its own. */
		n->bindings[i] = port->binding;
		n->admits[i] = port->admit;
		port->binding = b;
		port->admit = admit;
	}
	/* What is left of the old ones is in no list. */
	for (size_t i = 0; i < n_old; i++) {
		if (n->kept[i])
			continue;
		order_port(o, old[i], NULL, NULL, false);
		n->gone[n->n_gone++] = old[i];
	}
	free(old);
	p->ports = n->ports;
	p->n_ports = n->n_ports;
	n->ports = NULL;
}

/* -- letters ------------------------------------------------------------------ */

struct commit_letter {
	struct mail mail;	/* to the worker, and back */
	struct proxy *proxy;
	unsigned worker;
};

static void
commit_back(struct mail *m, void *receiver)
{
	struct commit_letter *c = container_of(m, struct commit_letter, mail);
	struct proxy *p = receiver;
	struct proxy_reload *n = p->reload;
	uint64_t generation = n->order.generation;

	for (size_t i = 0; i < n->order.n_lanes; i++) {
		const struct lane_change *l = &n->order.lanes[i];

		if (l->snapshot != NULL)
			p->engine.on_acked(p->engine.arg, &p->engine, l->service, c->worker,
					   l->snapshot->generation);
	}
	free(c);
	if (--n->waiting > 0)
		return;
	reload_free(&p->reload);
	if (p->engine.on_committed != NULL)
		p->engine.on_committed(p->engine.arg, &p->engine, generation);
}

static void
commit_open(struct mail *m, void *receiver)
{
	struct commit_letter *c = container_of(m, struct commit_letter, mail);
	struct worker *w = receiver;

	worker_obey(w, &c->proxy->reload->order);
	c->mail.deliver = commit_back;
	mailbox_send(&c->proxy->mailbox, &c->mail);
}

/* Who serves which slot, for what main itself has to know. */
static void
take_reloaded_services(struct proxy *p, const struct proxy_reload *n, const struct reload *r)
{
	unsigned slots = n->order.n_slots;

	p->services = must_grow(p->services, slots + 1, sizeof(*p->services));
	p->configs = must_grow(p->configs, slots + 1, sizeof(*p->configs));
	for (unsigned i = p->n_services; i < slots; i++) {
		p->services[i] = NULL;
		p->configs[i] = NULL;
	}
	p->n_services = slots;
	for (size_t i = 0; i < r->n; i++) {
		const struct reload_service *s = &r->services[i];

		if (s->config->engine != ENGINE_PROXY)
			continue;
		p->services[s->service->index] = s->service;
		p->configs[s->service->index] = s->config;
	}
}

void
proxy_commit(struct engine *e, const struct reload *r)
{
	struct proxy *p = proxy_of(e);
	struct proxy_reload *n = p->reload;

	n->order.config = p->config = r->to;
	admission_set_limit(&p->clients, r->to->max_connections);
	proxy_share_flows(p);
	n->order.generation = r->generation;
	n->order.n_workers = n->waiting = p->n_workers;
	take_reloaded_services(p, n, r);
	order_lanes(&n->order, r);
	order_ports(p, n);
	for (size_t i = 0; i < p->n_ports; i++)
		listen_on(n, p->ports[i]);
	/* Clients that come now are refused, not queued where none is accepted. */
	for (size_t i = 0; i < n->n_gone; i++)
		listening_forget(&n->gone[i]->sockets);
	for (unsigned i = 0; i < p->n_workers; i++) {
		struct commit_letter *c = must_alloc(sizeof(*c));

		c->mail.deliver = commit_open;
		c->proxy = p;
		c->worker = i;
		mailbox_send(&p->workers[i].mailbox, &c->mail);
	}
}

/* -- services that have gone --------------------------------------------------- */

struct forgetting {
	struct link link;	/* proxy->forgetting */
	struct service *service;
	unsigned waiting;	/* workers that have not answered */
	struct forget_letter letters[];	/* [worker] */
};

static void forget_free_open(struct mail *m, void *receiver);

static void
forget_done(struct mail *m, void *receiver)
{
	struct forgetting *f = container_of(m, struct forget_letter, mail)->forgetting;
	struct proxy *p = receiver;
	struct service *s = f->service;

	if (--f->waiting > 0)
		return;
	list_remove(&f->link);
	free(f);
	p->services[s->index] = NULL;
	p->configs[s->index] = NULL;
	if (p->engine.on_forgotten != NULL)
		p->engine.on_forgotten(p->engine.arg, &p->engine, s);
}

/* No worker has anything of it left, so none sends another one a place of it
 * any more, and what was sent came before this. */
static void
forget_back(struct mail *m, void *receiver)
{
	struct forgetting *f = container_of(m, struct forget_letter, mail)->forgetting;
	struct proxy *p = receiver;

	if (--f->waiting > 0)
		return;
	f->waiting = p->n_workers;
	for (unsigned i = 0; i < p->n_workers; i++) {
		f->letters[i].mail.deliver = forget_free_open;
		mailbox_send(&p->workers[i].mailbox, &f->letters[i].mail);
	}
}

static void
forget_free_open(struct mail *m, void *receiver)
{
	struct forget_letter *f = container_of(m, struct forget_letter, mail);
	struct worker *w = receiver;

	lane_end(w->lanes[f->lane]);
	lane_free(&w->lanes[f->lane]);
	f->mail.deliver = forget_done;
	mailbox_send(&f->proxy->mailbox, &f->mail);
}

static void
forget_open(struct mail *m, void *receiver)
{
	struct forget_letter *f = container_of(m, struct forget_letter, mail);
	struct worker *w = receiver;

	f->mail.deliver = forget_back;
	list_append(&w->forgetting, &f->link);
	worker_tidy(w);
}

void
proxy_forget(struct engine *e, struct service *s)
{
	struct proxy *p = proxy_of(e);
	struct forgetting *f = must_alloc(sizeof(*f) + p->n_workers * sizeof(struct forget_letter));

	f->service = s;
	f->waiting = p->n_workers;
	list_append(&p->forgetting, &f->link);
	for (unsigned i = 0; i < p->n_workers; i++) {
		struct forget_letter *l = &f->letters[i];

		l->mail.deliver = forget_open;
		l->proxy = p;
		l->forgetting = f;
		l->lane = s->index;
		list_init(&l->link);
		mailbox_send(&p->workers[i].mailbox, &l->mail);
	}
}

void
proxy_reload_free(struct proxy *p)
{
	if (p->reload != NULL)
		reload_free(&p->reload);
	LIST_EACH(it, &p->forgetting) {
		list_remove(it);
		free(list_entry(it, struct forgetting, link));
	}
}
