/* engine_reload.c - another configuration, as far as the engine takes one while it runs.
 * Thread: main. */
#include "kernel/engine_private.h"

void
kernel_committed_yet(struct kernel *k)
{
	if (!k->reloading)
		return;
	for (size_t i = 0; i < k->n && !k->closing; i++)
		if (k->list[i].reported < k->list[i].committed)
			return;
	k->reloading = false;
	ev_timer_start(k->loop, &k->reloaded);
}

static struct kernel_ours *
known(const struct kernel *k, const struct service *s)
{
	struct kernel_ours *o = s->index < k->n_slots ? k->by_service[s->index] : NULL;

	return o != NULL && o->service == s ? o : NULL;
}

/* The table, its numbers and the threads' knowledge are made once: ours stay as
 * they are, and what else there is may change. */
enum err
kernel_prepare(struct engine *e, const struct reload *r, struct why *why)
{
	struct kernel *k = kernel_of(e);
	size_t kept = 0;

	for (size_t i = 0; i < r->n; i++) {
		const struct service_config *c = r->services[i].config;
		bool ours = known(k, r->services[i].service) != NULL;

		if (c->engine != ENGINE_KERNEL && !ours)
			continue;
		if (!ours || c->engine != ENGINE_KERNEL || r->services[i].changed)
			return why_set(why, E_USAGE,
				       "%s:%u: service \"%s\": engine \"kernel\" takes it over only at a start: "
				       "restart teald, and established connections go on meanwhile",
				       c->at.file, c->at.line, c->name);
		kept++;
	}
	if (kept < k->n)
		return why_set(why, E_USAGE, "%s: a service of engine \"kernel\" is removed only at a start: restart teald",
			       r->to->path);
	return OK;
}

void
kernel_abandon(struct engine *e)
{
	(void)e;
}

void
kernel_on_reloaded(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct kernel *k = container_of(t, struct kernel, reloaded);

	(void)loop;
	(void)revents;
	k->engine.on_committed(k->engine.arg, &k->engine, k->generation);
}

void
kernel_commit(struct engine *e, const struct reload *r)
{
	struct kernel *k = kernel_of(e);

	k->generation = r->generation;
	for (size_t i = 0; i < r->n; i++) {
		struct snapshot *snapshot = r->services[i].snapshot;

		if (snapshot == NULL || known(k, r->services[i].service) == NULL)
			continue;
		kernel_ours(k, r->services[i].service)->committed = snapshot->generation;
		snapshot_ref(snapshot);
		kernel_publish(e, r->services[i].service, &snapshot);
	}
	k->reloading = true;
	kernel_committed_yet(k);
}
