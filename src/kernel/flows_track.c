/* flows_track.c - one flow's life: from what conntrack says to the counts.
 * Thread: the flows thread. */
#include <errno.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "kernel/flows_private.h"

/* A handshake that has stood still for so long holds no color any more. */
#define UNANSWERED 5.0
/* So long after its end a connection has had its last packets. */
#define ASK_AFTER 0.25
/* So many news make no more lines than half of a thread's log holds. */
#define NEWS_AT_ONCE 1024
/* Nanoseconds of a nap for the log; and how many there may be in a second. */
#define LOG_NAP 500000
#define LOG_NAPS 400
/* At most one line in so many seconds about lost news. */
#define LOST_EVERY 10.0

/* -- time ---------------------------------------------------------------- */

void
flows_look_at_clock(struct flows *f)
{
	f->now = clock_now();
	f->wall_us = clock_wall_us();
}

double
flows_age(const struct flows *f, const struct flow *flow)
{
	return f->now - flow->born;
}

/* The kernel's stamp is of the wall's clock, which may have been set back. */
static double
began(const struct flows *f, const struct flow_fact *fact)
{
	double ago = (double)(f->wall_us - (int64_t)(fact->began_ns / 1000)) / 1e6;

	return fact->began_ns == 0 || ago < 0 ? f->now : f->now - ago;
}

/* The shortest of those that the kernel may have set the clock to. */
static double
shortest_timeout(const uint32_t *from, size_t n, uint32_t left)
{
	uint32_t best = UINT32_MAX;

	for (size_t i = 0; i < n; i++)
		if (from[i] >= left && from[i] < best)
			best = from[i];
	/* It counts whole seconds, and perhaps one is nearly over. */
	return best == UINT32_MAX || best - left <= 1 ? 0.0 : (double)(best - left - 1);
}

double
flows_idle(const struct flows *f, const struct flow *flow, const struct flow_fact *fact)
{
	const struct flow_patience *p = &f->patience;
	double idle, passed;

	if (!fact->timed)
		return 0.0;
	if (fact->tuple.protocol == IPPROTO_TCP) {
		/* What conntrack says of acknowledgements is old where packets went past it. */
		const uint32_t all[] = { fact->unacknowledged || fact->shortcut_ns != 0 ? p->unacknowledged :
											  p->tcp[flow->state & 15],
					 fact->shortcut_ns != 0 ? p->tcp[flow->state & 15] : p->retransmitting,
					 p->retransmitting };

		idle = shortest_timeout(all, ARRAY_LEN(all), fact->timeout);
	} else {
		const uint32_t all[] = { (fact->status & IPS_ASSURED) != 0 ? p->udp_stream : p->udp };

		idle = shortest_timeout(all, ARRAY_LEN(all), fact->timeout);
	}
	/* A setting that was changed meanwhile misleads, but not that far. */
	if (fact->began_ns != 0 && idle > flows_age(f, flow))
		idle = flows_age(f, flow);
	passed = fact->shortcut_ns != 0 ? f->now - (double)fact->shortcut_ns / 1e9 : idle;
	return passed < idle ? passed : idle;
}

const char *
flow_state_word(const struct flow *flow, unsigned protocol)
{
	static const char *const words[] = {
		[TCP_CONNTRACK_NONE] = "new",
		[TCP_CONNTRACK_SYN_SENT] = "syn_sent",
		[TCP_CONNTRACK_SYN_RECV] = "syn_recv",
		[TCP_CONNTRACK_ESTABLISHED] = "established",
		[TCP_CONNTRACK_FIN_WAIT] = "fin_wait",
		[TCP_CONNTRACK_CLOSE_WAIT] = "close_wait",
		[TCP_CONNTRACK_LAST_ACK] = "last_ack",
		[TCP_CONNTRACK_TIME_WAIT] = "time_wait",
		[TCP_CONNTRACK_CLOSE] = "close",
		[TCP_CONNTRACK_SYN_SENT2] = "syn_sent",
	};

	if (protocol != IPPROTO_TCP)
		return "udp";
	return flow->state < ARRAY_LEN(words) ? words[flow->state] : "tcp";
}

/* -- counts -------------------------------------------------------------- */

static struct tally_color *
tally_of_mark(const struct flows *f, uint32_t mark)
{
	const struct watch *w = f->watched[mark_service(mark)];

	return w != NULL ? &w->service->tallies[0].colors[mark_entrance(mark)][mark_color(mark)] : NULL;
}

/* The only writer, so no more than a load and a store. */
static void
hold(struct flows *f, struct flow *flow, bool holds)
{
	uint32_t m = flow->mark;
	_Atomic uint32_t *count = &f->counts[mark_service(m)][mark_entrance(m)][mark_color(m)];
	uint32_t n = atomic_load_explicit(count, memory_order_relaxed);

	if (flow->holds == holds)
		return;
	flow->holds = holds;
	f->held += holds ? 1 : (uint64_t)-1;
	atomic_store_explicit(count, holds ? n + 1 : n - 1, memory_order_relaxed);
}

static void
place_add(struct flows *f, uint32_t i, uint32_t n)
{
	struct place *p = &f->places.list[i];

	p->n += n;
	if (p->backend == NULL)
		return;
	atomic_store_explicit(&p->backend->connections, p->n, memory_order_relaxed);
	if (p->n == 0 && !p->listed)
		backend_unref(&p->backend);
}

static bool
fact_is_over(const struct flow_fact *fact)
{
	return fact->tuple.protocol == IPPROTO_TCP &&
	       (mark_is_over(fact->mark) || fact->state == TCP_CONNTRACK_TIME_WAIT ||
		fact->state == TCP_CONNTRACK_CLOSE);
}

/* It had ended before we began to listen. */
static bool
is_history(const struct flows *f, const struct flow_fact *fact)
{
	return !f->adopted && fact_is_over(fact) && fact->news != FLOW_CHANGED;
}

static struct flow *
begin_flow(struct flows *f, uint64_t key, const struct flow_fact *fact)
{
	struct flow *flow = flow_add(&f->table, key);
	struct tally_color *t = tally_of_mark(f, fact->mark);
	struct addr backend;

	flow_source(&fact->reply, &backend);
	flow->mark = fact->mark;
	flow->place = place_of(&f->places, mark_service(fact->mark), mark_color(fact->mark), &backend);
	flow->born = fact->news == FLOW_BORN ? f->now : began(f, fact);
	/* An earlier teald has logged those. */
	if (is_history(f, fact)) {
		flow->closed = f->now;
		flow->logged = true;
		return flow;
	}
	if (fact->news == FLOW_LISTED || fact->news == FLOW_CHANGED)
		flow->shadow = must_alloc(sizeof(*flow->shadow));
	hold(f, flow, true);
	place_add(f, flow->place, 1);
	if (t != NULL)
		tally_add(&t->active, 1);
	atomic_store_explicit(&f->tracked, f->table.n, memory_order_relaxed);
	return flow;
}

/* It has ended for its two sides; the kernel may keep it for a while. */
static void
end_flow(struct flows *f, struct flow *flow, enum ending ending)
{
	struct tally_color *t = tally_of_mark(f, flow->mark);

	if (flow->closed != 0)
		return;
	flow->closed = f->now;
	flow->ending = (uint8_t)ending;
	flow->line = (uint8_t)flows_line(f, flow);
	hold(f, flow, false);
	place_add(f, flow->place, (uint32_t)-1);
	if (t != NULL) {
		tally_add(&t->active, (uint64_t)-1);
		tally_add(&t->ended[ending], 1);
	}
}

/* What it came to, once. */
static void
wrap_up(struct flows *f, struct flow *flow, const struct flow_fact *fact)
{
	struct tally_color *t = tally_of_mark(f, flow->mark);

	if (flow->logged)
		return;
	flow->logged = true;
	/* The kernel knows better than who reads its news in batches. */
	if (fact->began_ns != 0 && began(f, fact) < flow->closed)
		flow->born = began(f, fact);
	if (t != NULL) {
		tally_add(&t->bytes_in, fact->bytes_in);
		tally_add(&t->bytes_out, fact->bytes_out);
	}
	flows_tell(f, flow, fact);
}

/* It is out of the kernel's table, and now out of ours. */
static void
forget_flow(struct flows *f, struct flow *flow, const struct flow_fact *fact)
{
	f->cuts += flow->cut && flow->closed == 0;
	end_flow(f, flow, flow->cut ? (enum ending)flow->ending : flow_ending(flow, fact));
	wrap_up(f, flow, fact);
	flow_remove(&f->table, flow);
	atomic_store_explicit(&f->tracked, f->table.n, memory_order_relaxed);
}

void
flows_vanished(struct flows *f, struct flow *flow)
{
	struct flow_fact last = { .news = FLOW_GONE, .mark = flow->mark, .state = flow->state };
	const struct shadow *s = flow->shadow;
	uint32_t silent = s != NULL ? (uint32_t)(f->now - s->at) : 0;

	if (s != NULL) {
		last.tuple = s->tuple;
		last.reply = s->reply;
		last.counted = s->counted;
		last.bytes_in = s->bytes_in;
		last.bytes_out = s->bytes_out;
		last.status = s->status;
		last.timed = true;
		last.timeout = s->timeout > silent + 1 ? s->timeout - silent - 1 : 0;
	} else if (flow->state != TCP_CONNTRACK_NONE) {
		/* The news of its end were lost: it is taken for the usual one. */
		flow->state = TCP_CONNTRACK_TIME_WAIT;
	}
	atomic_fetch_add_explicit(&f->unseen, 1, memory_order_relaxed);
	forget_flow(f, flow, &last);
}

/* -- what is said -------------------------------------------------------- */

static void
remember_shadow(const struct flows *f, struct shadow *s, const struct flow_fact *fact)
{
	if (fact->timed) {
		s->timeout = fact->timeout;
		s->at = f->now;
	}
	s->tuple = fact->tuple;
	s->reply = fact->reply;
	s->status = fact->status;
	if (!fact->counted)
		return;
	s->counted = true;
	s->bytes_in = fact->bytes_in;
	s->bytes_out = fact->bytes_out;
}

static bool
is_stuck(const struct flows *f, const struct flow *flow, const struct flow_fact *fact)
{
	return fact->tuple.protocol == IPPROTO_TCP &&
	       (flow->state <= TCP_CONNTRACK_SYN_RECV || flow->state == TCP_CONNTRACK_SYN_SENT2) &&
	       flows_idle(f, flow, fact) >= UNANSWERED;
}

static void
take_state(struct flows *f, struct flow *flow, const struct flow_fact *fact)
{
	if (fact->state != TCP_CONNTRACK_NONE)
		flow->state = fact->state;
	else if (mark_is_over(fact->mark))
		flow->state = TCP_CONNTRACK_LAST_ACK;	/* told by the mark, and nothing else */
	if (flow->closed == 0 && fact_is_over(fact)) {
		end_flow(f, flow, flow_ending(flow, fact));
		/* Its removal, which tells its bytes, is minutes away. */
		if (flow->line != LINE_NONE) {
			struct victim v = { flow->key, fact->id, fact->tuple, f->now + ASK_AFTER };

			victims_push(&f->closing, &v);
			if (v.due < f->next_ask) {
				f->next_ask = v.due;
				flows_kick(f);
			}
		}
	} else if (flow->closed != 0 && fact->news == FLOW_LISTED && f->now - flow->closed >= ASK_AFTER) {
		wrap_up(f, flow, fact);
	}
	if (flow->closed == 0 && fact->news == FLOW_LISTED)
		hold(f, flow, !is_stuck(f, flow, fact));
}

/* Is that an old picture of what news have told the end of, while the dump was
 * read?  Who is born again rises. */
static bool
is_dead(struct flows *f, const struct flow *flow, uint64_t key, const struct flow_fact *fact)
{
	struct flow *grave = flow_find(&f->graves, key);

	if (fact->news == FLOW_GONE && grave == NULL)
		flow_add(&f->graves, key);
	else if (fact->news == FLOW_BORN && grave != NULL)
		flow_remove(&f->graves, grave);
	return fact->news == FLOW_LISTED && flow == NULL && grave != NULL;
}

/* The rules translate only what begins: a UDP sender that was there before them, and keeps its
 * port, would have their mark and reach no backend, for as long as it sends. */
static bool
is_early(const struct flow_fact *fact)
{
	return (fact->status & (IPS_CONFIRMED | IPS_DST_NAT_DONE)) == IPS_CONFIRMED &&
	       fact->tuple.dst_port == fact->reply.src_port &&
	       memcmp(fact->tuple.dst, fact->reply.src, sizeof(fact->tuple.dst)) == 0;
}

/* Its next packet begins anew. */
static void
take_out_early(struct flows *f)
{
	struct flow_batch batch = { 0 };

	for (; f->early.n > 0; f->early.first = (f->early.first + 1) % f->early.room) {
		const struct victim *v = &f->early.list[f->early.first];

		flows_wire_add_delete(&batch, &v->tuple, v->id);
		if (--f->early.n > 0 && batch.n < FLOWS_WIRE_BATCH)
			continue;
		if (!flows_wire_order(f->ask_fd, &batch))
			LOG_WARN("kernel.cut_failed", LS("error", strerror(errno)));
	}
}

struct flow *
flows_track(struct flows *f, struct flow_fact *fact)
{
	uint64_t key = flow_key(&f->table, &fact->tuple, fact->id);
	struct flow *flow;

	/* The filters see to it; a flow with no service is none of ours. */
	if (mark_tag(fact->mark) != f->tag || mark_service(fact->mark) == 0)
		return NULL;
	if (is_early(fact)) {
		const struct victim v = { .id = fact->id, .tuple = fact->tuple };

		if (fact->news != FLOW_GONE)
			victims_push(&f->early, &v);
		return NULL;
	}
	flows_shortcut_add(f, fact);
	flow = flow_find(&f->table, key);
	if (f->listing && is_dead(f, flow, key, fact))
		return NULL;
	if (flow == NULL)
		flow = begin_flow(f, key, fact);
	if (fact->news == FLOW_GONE) {
		if (fact->state != TCP_CONNTRACK_NONE)
			flow->state = fact->state;
		forget_flow(f, flow, fact);
		return NULL;
	}
	flow->seen = f->round;
	take_state(f, flow, fact);
	if (flow->shadow != NULL)
		remember_shadow(f, flow->shadow, fact);
	return flow;
}

static bool
on_fact(void *arg, struct flow_fact *fact)
{
	(void)flows_track(arg, fact);
	return true;
}

/* Thousands of flows may end at once.  News can wait, so their lines need not be
 * thrown away; but not for a reader that does not read. */
static void
wait_for_log(struct flows *f)
{
	const struct timespec nap = { .tv_nsec = LOG_NAP };

	if (f->now - f->napping >= 1.0) {
		f->napping = f->now;
		f->naps = 0;
	}
	while (log_filled() > 0.5 && f->naps < LOG_NAPS) {
		f->naps++;
		nanosleep(&nap, NULL);
	}
}

unsigned
flows_read_news(struct flows *f)
{
	unsigned n, total = 0;
	bool lost = false;

	do {
		flows_look_at_clock(f);
		n = flows_wire_read(f->news_fd, NEWS_AT_ONCE, on_fact, f, &lost);
		total += n;
		wait_for_log(f);
	} while (n >= NEWS_AT_ONCE && !atomic_load_explicit(&f->stop, memory_order_relaxed));
	take_out_early(f);
	if (!lost)
		return total;
	/* What was lost is found by counting. */
	atomic_fetch_add_explicit(&f->overruns, 1, memory_order_relaxed);
	f->lost = true;
	f->next_count = f->now;
	flows_kick(f);
	if (f->lost_told == 0 || f->now - f->lost_told >= LOST_EVERY) {
		f->lost_told = f->now;
		LOG_WARN("kernel.events_lost",
			 LU("total", atomic_load_explicit(&f->overruns, memory_order_relaxed)),
			 LS("hint",
			    "connections began and ended faster than they were read; counts were corrected, "
			    "some access lines are missing"));
	}
	return total;
}

/* -- services ------------------------------------------------------------ */

/* Flows that were there before their service was known. */
static void
catch_up(struct flows *f, unsigned id)
{
	for (size_t i = 0; i < f->table.size; i++) {
		const struct flow *flow = &f->table.slots[i];

		if (flow->key != 0 && flow->closed == 0 && mark_service(flow->mark) == id)
			tally_add(&tally_of_mark(f, flow->mark)->active, 1);
	}
}

/* Consumes the reference. */
static void
bind_place(struct flows *f, unsigned id, struct backend *b)
{
	struct place *p;
	uint32_t at;

	if (!backend_has_address(b)) {
		backend_unref(&b);
		return;
	}
	at = place_of(&f->places, id, b->color, &b->address);	/* may move the list */
	p = &f->places.list[at];
	backend_unref(&p->backend);
	p->backend = b;
	p->listed = true;
	atomic_store_explicit(&b->connections, p->n, memory_order_relaxed);
}

void
flows_take_watch(struct flows *f, unsigned id, struct service *s, uint64_t epoch, struct backend **backends,
		 size_t n)
{
	struct watch *w = f->watched[id];

	if (w == NULL) {
		w = f->watched[id] = must_alloc(sizeof(*w));
		w->service = s;
		catch_up(f, id);
	}
	w->service = s;
	w->epoch = epoch;
	flows_shortcut_watch(f, s->config, backends, n);
	for (struct place *p = place_first(&f->places, id); p != NULL; p = place_next(&f->places, p))
		p->listed = false;
	for (size_t i = 0; i < n; i++)
		bind_place(f, id, backends[i]);
	for (struct place *p = place_first(&f->places, id); p != NULL; p = place_next(&f->places, p))
		if (!p->listed && p->n == 0)
			backend_unref(&p->backend);
}
