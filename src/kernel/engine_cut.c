/* engine_cut.c - connections that have to end before they are over: of previews, of backends that are down, of nodes that
 * are drained.
 * Thread: main. */
#include "base/clock.h"
#include "kernel/engine_private.h"
#include "kernel/flows.h"

void
kernel_cut_previews(struct kernel_ours *o)
{
	const struct flows_match match = {
		.service = o->id,
		.color = (int)o->snapshot->active,
		.entrance = ENTRANCE_PREVIEW,
	};

	o->flipped = 0;
	flows_cut(o->kernel->flows, &match, END_PREVIEW, NULL, NULL);
}

void
kernel_cut_down(struct kernel_ours *o)
{
	const struct service *s = o->service;

	for (int c = 0; c < COLORS; c++)
		for (size_t i = 0; i < s->colors[c].n; i++) {
			const struct backend *b = s->colors[c].backends[i];
			const struct flows_match match = {
				.service = o->id,
				.color = c,
				.entrance = FLOWS_ANY,
				.backend = b->address,
			};

			if (b->state == BACKEND_DOWN && backend_has_address(b) &&
			    !snapshot_uses(o->snapshot, b) &&
			    atomic_load_explicit(&b->connections, memory_order_relaxed) > 0)
				flows_cut(o->kernel->flows, &match, END_BACKEND_DOWN, NULL, NULL);
		}
}

static void
cut_share(const struct kernel_ours *o, const struct backend *b, double idle, double share, enum ending ending)
{
	const struct flows_match match = {
		.service = o->id,
		.color = (int)b->color,
		.entrance = FLOWS_ANY,
		.backend = b->address,
		.idle = idle,
		.share = share,
	};

	if (share > 0)
		flows_cut(o->kernel->flows, &match, ending, NULL, NULL);
}

void
kernel_on_leave(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct kernel *k = container_of(t, struct kernel, leave);
	bool any = false;

	(void)revents;
	for (size_t i = 0; i < k->n && !k->closing; i++) {
		const struct kernel_ours *o = &k->list[i];

		for (int c = 0; o->snapshot != NULL && c < COLORS; c++)
			for (unsigned n = 0; n < o->snapshot->colors[c].n_leaving; n++) {
				const struct snapshot_leaving *l = &o->snapshot->colors[c].leaving[n];
				double now = clock_now();

				/* As long as it is drained: a handshake under way may become one of its flows yet. */
				any = true;
				if (atomic_load_explicit(&l->backend->connections, memory_order_relaxed) == 0)
					continue;
				cut_share(o, l->backend, 0, drain_orders_cut_share(&l->orders, now), l->orders.ending);
				cut_share(o, l->backend, l->orders.idle, drain_orders_idle_share(&l->orders, now),
					  END_DRAIN_IDLE);
			}
	}
	if (!any)
		ev_timer_stop(loop, t);
}
