/* flows_shortcut.c - between the shortcut and conntrack: connections that last are made
 * fit for it, and what went by it is added to what conntrack has counted.
 * Thread: the flows thread. */
#include <errno.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <netinet/in.h>
#include <string.h>

#include "base/log.h"
#include "kernel/flows_private.h"

/* Between two looks at what is asked for, seconds. */
#define ASKS_EVERY 0.02
/* Between two looks for connections whose end nobody has told of, and how long those have been silent, seconds. */
#define SWEEP_EVERY 600.0
#define SWEEP_IDLE 60.0

struct asked {
	struct flows *f;
	struct flow_batch batch;
};

static void
give_orders(struct asked *a)
{
	if (a->batch.n > 0 && !flows_wire_order(a->f->ask_fd, &a->batch))
		LOG_WARN("kernel.cut_failed", LS("error", strerror(errno)));
}

static void
on_asked(void *arg, const struct flow_tuple *tuple, enum shortcut_asks what)
{
	struct asked *a = arg;

	switch (what) {
	case SHORTCUT_ASK_TAKE:
		atomic_fetch_add_explicit(&a->f->shortcuts, 1, memory_order_relaxed);
		/* fall through */
	case SHORTCUT_ASK_AGAIN:
		flows_wire_add_tolerance(&a->batch, tuple);
		break;
	case SHORTCUT_ASK_RESET:
		flows_wire_add_reset(&a->batch, tuple, a->f->patience.tcp[TCP_CONNTRACK_CLOSE]);
		break;
	}
	if (a->batch.n == FLOWS_WIRE_BATCH)
		give_orders(a);
}

static void
on_asks(struct ev_loop *loop, ev_io *w, int revents)
{
	struct flows *f = container_of(w, struct flows, asks);
	struct asked a = { .f = f };

	(void)revents;
	shortcut_read_asks(f->shortcut, on_asked, &a);
	give_orders(&a);
	ev_io_stop(loop, w);
	ev_timer_set(&f->ask_pause, ASKS_EVERY, 0.0);
	ev_timer_start(loop, &f->ask_pause);
}

static void
on_ask_pause(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct flows *f = container_of(w, struct flows, ask_pause);

	(void)revents;
	ev_io_start(loop, &f->asks);
}

static void
on_links(struct ev_loop *loop, ev_io *w, int revents)
{
	struct flows *f = container_of(w, struct flows, links);

	(void)loop;
	(void)revents;
	shortcut_look_at_links(f->shortcut);
}

void
flows_shortcut_init(struct flows *f)
{
	if (f->shortcut == NULL)
		return;
	ev_io_init(&f->asks, on_asks, shortcut_asks_fd(f->shortcut), EV_READ);
	ev_io_init(&f->links, on_links, shortcut_links_fd(f->shortcut), EV_READ);
	ev_init(&f->ask_pause, on_ask_pause);
	ev_io_start(f->loop, &f->asks);
	ev_io_start(f->loop, &f->links);
	flows_shortcut_patience(f);
}

void
flows_shortcut_watch(struct flows *f, const struct service_config *s, struct backend *const *backends, size_t n)
{
	unsigned protocol = s->mode == MODE_UDP ? IPPROTO_UDP : IPPROTO_TCP;

	if (f->shortcut == NULL)
		return;
	for (size_t i = 0; i < s->n_listen; i++)
		shortcut_port(f->shortcut, protocol, addr_port(&s->listen[i]), SHORTCUT_PORT_SERVICE);
	for (size_t i = 0; i < s->n_preview; i++)
		shortcut_port(f->shortcut, protocol, addr_port(&s->preview[i]), SHORTCUT_PORT_SERVICE);
	for (size_t i = 0; i < n; i++)
		if (backend_has_address(backends[i]))
			shortcut_port(f->shortcut, protocol, addr_port(&backends[i]->address), SHORTCUT_PORT_BACKEND);
}

void
flows_shortcut_patience(struct flows *f)
{
	if (f->shortcut != NULL)
		shortcut_timeouts(f->shortcut, f->patience.tcp[TCP_CONNTRACK_ESTABLISHED], f->patience.unacknowledged,
				  f->patience.udp_stream);
}

/* -- what was left behind ---------------------------------------------------------- */

struct living {
	const struct flow_tuple *tuples;
	unsigned n;
	bool *alive;
};

static bool
on_living(void *arg, struct flow_fact *fact)
{
	struct living *l = arg;

	for (unsigned i = 0; i < l->n; i++)
		l->alive[i] |= memcmp(&l->tuples[i], &fact->tuple, sizeof(fact->tuple)) == 0;
	return true;
}

static void
ask_who_lives(void *arg, const struct flow_tuple *tuples, unsigned n, bool *alive)
{
	struct flows *f = arg;
	struct living l = { tuples, n, alive };
	struct flow_batch batch = { 0 };

	for (unsigned i = 0; i < n; i++)
		flows_wire_add_get(&batch, &tuples[i]);
	flows_wire_get(f->ask_fd, &batch, on_living, &l);
}

void
flows_shortcut_sweep(struct flows *f)
{
	if (f->shortcut == NULL || f->now < f->next_sweep)
		return;
	shortcut_sweep(f->shortcut, SWEEP_IDLE, ask_who_lives, f);
	f->next_sweep = f->now + SWEEP_EVERY;
}

void
flows_shortcut_add(struct flows *f, struct flow_fact *fact)
{
	struct shortcut_count c;

	if (f->shortcut == NULL || fact->news == FLOW_BORN || fact->tuple.family == 0 ||
	    !shortcut_count(f->shortcut, &fact->tuple, fact->news == FLOW_GONE, &c))
		return;
	fact->packets_in += c.packets[0];
	fact->bytes_in += c.bytes[0];
	fact->packets_out += c.packets[1];
	fact->bytes_out += c.bytes[1];
	fact->shortcut_ns = c.last;
}
