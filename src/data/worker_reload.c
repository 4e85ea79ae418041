/* worker_reload.c - a worker takes another configuration.  Thread: owning worker. */
#include "data/admit.h"
#include "data/lane.h"
#include "data/proxy.h"
#include "data/proxy_reload.h"
#include "net/tls_client.h"

void
worker_fit(struct worker *w, const struct config *config)
{
	for (int i = 0; i < MODES; i++)
		if (w->proxy->modes[i]->fit != NULL)
			w->proxy->modes[i]->fit(w, config);
}

static void
obey_lanes(struct worker *w, const struct worker_reload *r)
{
	if (r->n_slots > w->n_lanes) {
		w->lanes = must_grow(w->lanes, r->n_slots, sizeof(struct lane *));
		for (unsigned i = w->n_lanes; i < r->n_slots; i++)
			w->lanes[i] = NULL;
		w->n_lanes = r->n_slots;
	}
	for (size_t i = 0; i < r->n_lanes; i++) {
		const struct lane_change *c = &r->lanes[i];
		struct lane **at = &w->lanes[c->service->index];

		if (*at == NULL)
			*at = lane_new(w, c->service, c->config);
		else
			lane_obey(*at, c->config, c->changed);
		CHECK((*at)->service == c->service);
		if (c->shows)
			lane_take_tls(*at, c->site != NULL ? tls_site_ref(c->site) : NULL,
				      tls_context_ref(c->backend));
		if (c->snapshot != NULL) {
			struct snapshot *snapshot = snapshot_ref(c->snapshot);

			lane_take_snapshot(*at, &snapshot);
		} else if (c->changed && (*at)->snapshot != NULL) {
			/* There may be more places now. */
			queue_look(*at);
		}
	}
	for (size_t i = 0; i < r->n_removed; i++)
		w->lanes[r->removed[i]]->leaving = true;
}

/* All the worker has of that address: sockets that were adopted may be several. */
static void
change_port(struct worker *w, const struct port_change *c)
{
	unsigned n = w->n_listeners;

	for (unsigned i = 0; i < n; i++) {
		struct listener *l = w->listeners[i];

		if (l == NULL || l->binding != c->old || l->retired)
			continue;
		w->retired++;
		if (c->binding != NULL) {
			listener_take_over(worker_add_listener(w, c->binding, c->admit, -1), l);
			continue;
		}
		l->retired = true;
		listener_close(l);
	}
}

static void
obey_ports(struct worker *w, const struct worker_reload *r)
{
	struct listener *l;

	for (size_t i = 0; i < r->n_ports; i++) {
		const struct port_change *c = &r->ports[i];

		if (c->old != NULL)
			change_port(w, c);
		for (unsigned k = w->index; k < c->n_fds; k += r->n_workers)
			(void)worker_add_listener(w, c->binding, c->admit, c->fds[k]);
	}
	for (unsigned i = 0; (l = worker_next_listener(w, &i)) != NULL;)
		listener_obey(l);
}

void
worker_obey(struct worker *w, const struct worker_reload *r)
{
	ON_WORKER(w);
	access_obey(&w->access, r->config);
	worker_fit(w, r->config);
	obey_lanes(w, r);
	obey_ports(w, r);
	worker_resume(w);
	worker_tidy(w);
}

static void
free_listeners(struct worker *w)
{
	for (unsigned i = 0; i < w->n_listeners && w->retired > 0; i++) {
		struct listener *l = w->listeners[i];

		if (l == NULL || !l->retired || l->users > 0)
			continue;
		listener_free(&w->listeners[i]);
		w->retired--;
		w->free_slots++;
	}
}

void
worker_tidy(struct worker *w)
{
	struct lane *l;

	if (w->retired > 0)
		free_listeners(w);
	LIST_EACH(it, &w->forgetting) {
		struct forget_letter *f = list_entry(it, struct forget_letter, link);

		if (!lane_is_empty(w->lanes[f->lane]))
			continue;
		list_remove(&f->link);
		mailbox_send(&f->proxy->mailbox, &f->mail);
	}
	/* Clients that waited where waiting is no longer allowed have gone. */
	for (unsigned i = 0; (l = worker_next_lane(w, &i)) != NULL;)
		if (l->queues && !queue_is_on(l) &&
		    atomic_load_explicit(&l->service->queue.held, memory_order_relaxed) == 0)
			l->queues = false;
}
