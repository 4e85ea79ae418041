/* flows_round.c - counting by dumps, and taking flows out of the kernel's table.
 * Thread: the flows thread. */
#include <errno.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "kernel/flows_private.h"

/* -- patience ------------------------------------------------------------ */

/* So often also where the table is large, seconds. */
#define CORRECT_AT_LEAST 30.0
/* After news were lost while we counted; and so many times as long as that took. */
#define RECOUNT_SOON 0.05
#define RECOUNT_PAUSE 4
/* News are read after so many flows of a dump. */
#define NEWS_AFTER 512
/* Seconds; the kernel's clock of it ticks in seconds. */
#define REUSED_IDLE 2.0

/* So many addresses are always kept. */
#define PLACES_LEAST 256

#define SYSCTL "/proc/sys/net/netfilter/nf_conntrack_"

static uint32_t
setting(const char *name, uint32_t otherwise)
{
	char path[128];
	unsigned value;
	FILE *file;

	snprintf(path, sizeof(path), SYSCTL "%s", name);
	if ((file = fopen(path, "re")) == NULL)
		return otherwise;
	if (fscanf(file, "%u", &value) != 1)
		value = otherwise;
	fclose(file);
	return value;
}

unsigned
flows_established_timeout(void)
{
	return setting("tcp_timeout_established", 432000);
}

/* Defaults: net/netfilter/nf_conntrack_proto_tcp.c and _udp.c. */
void
flows_patience_read(struct flow_patience *p)
{
	memset(p, 0, sizeof(*p));
	p->tcp[TCP_CONNTRACK_NONE] = p->tcp[TCP_CONNTRACK_SYN_SENT] = p->tcp[TCP_CONNTRACK_SYN_SENT2] =
		setting("tcp_timeout_syn_sent", 120);
	p->tcp[TCP_CONNTRACK_SYN_RECV] = setting("tcp_timeout_syn_recv", 60);
	p->tcp[TCP_CONNTRACK_ESTABLISHED] = flows_established_timeout();
	p->tcp[TCP_CONNTRACK_FIN_WAIT] = setting("tcp_timeout_fin_wait", 120);
	p->tcp[TCP_CONNTRACK_CLOSE_WAIT] = setting("tcp_timeout_close_wait", 60);
	p->tcp[TCP_CONNTRACK_LAST_ACK] = setting("tcp_timeout_last_ack", 30);
	p->tcp[TCP_CONNTRACK_TIME_WAIT] = setting("tcp_timeout_time_wait", 120);
	p->tcp[TCP_CONNTRACK_CLOSE] = setting("tcp_timeout_close", 10);
	p->unacknowledged = setting("tcp_timeout_unacknowledged", 300);
	p->retransmitting = setting("tcp_timeout_max_retrans", 300);
	p->udp = setting("udp_timeout", 30);
	p->udp_stream = setting("udp_timeout_stream", 120);
}

/* Worst first: what is wrong, then what is only not told. */
size_t
flows_lacks(struct flows_lack list[FLOWS_LACKS])
{
	static const struct {
		const char *name;
		struct flows_lack lack;
	} all[FLOWS_LACKS] = {
		{ "events",
		  { "net.netfilter.nf_conntrack_events",
		    "the kernel does not tell when connections begin and end: counts come late, from dumps",
		    "sysctl -w net.netfilter.nf_conntrack_events=1" } },
		{ "acct",
		  { "net.netfilter.nf_conntrack_acct", "bytes of connections are not counted",
		    "sysctl -w net.netfilter.nf_conntrack_acct=1" } },
		{ "timestamp",
		  { "net.netfilter.nf_conntrack_timestamp",
		    "connections that are older than this process are shown as old as it is",
		    "sysctl -w net.netfilter.nf_conntrack_timestamp=1" } },
	};
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (all[i].name != NULL && setting(all[i].name, 1) == 0)
			list[n++] = all[i].lack;
	return n;
}

/* -- victims ------------------------------------------------------------- */

void
victims_push(struct victims *v, const struct victim *victim)
{
	if (v->n == v->room) {
		size_t room = v->room > 0 ? v->room * 2 : 256;
		struct victim *list = must_array(room, sizeof(*list));

		for (size_t i = 0; i < v->n; i++)
			list[i] = v->list[(v->first + i) % v->room];
		free(v->list);
		v->list = list;
		v->first = 0;
		v->room = room;
	}
	v->list[(v->first + v->n++) % v->room] = *victim;
}

void
victims_free(struct victims *v)
{
	free(v->list);
	memset(v, 0, sizeof(*v));
}

/* -- a round ------------------------------------------------------------- */

struct round {
	struct flows *f;
	flows_judge *judge;
	void *arg;
	struct victims victims;
	unsigned listed;
	bool enough;
	bool relief;	/* closed ones are to go, that is all */
};

static bool
round_goes_on(const struct round *r)
{
	return !r->enough && !atomic_load_explicit(&r->f->stop, memory_order_relaxed);
}

/* A long dump must not keep news waiting until they are too many.  What they say
 * is gone may be listed all the same, from what the kernel had prepared: track
 * knows by f->graves. */
static struct flow *
track_listed(struct round *r, struct flow_fact *fact)
{
	if (++r->listed % NEWS_AFTER == 0)
		flows_read_news(r->f);
	return flows_track(r->f, fact);
}

/* Whether a new connection from its client's port has met its entry, and the rules drop that one's SYN
 * (ruleset_layout.c): the old connection has no answer, or had no packet since. */
static bool
is_reused(const struct flows *f, const struct flow *flow, const struct flow_fact *fact)
{
	return mark_is_reused(fact->mark) &&
	       ((fact->status & IPS_SEEN_REPLY) == 0 || flows_idle(f, flow, fact) >= REUSED_IDLE);
}

static bool
on_listed(void *arg, struct flow_fact *fact)
{
	struct round *r = arg;
	struct flow *flow = track_listed(r, fact);
	enum ending ending;
	bool goes = false;

	if (flow == NULL)
		return round_goes_on(r);
	if (r->relief) {
		goes = flow->closed != 0 && r->f->now - flow->closed >= r->f->linger;
	} else if (is_reused(r->f, flow, fact)) {
		goes = true;
		flow->cut = true;
		flow->ending = (uint8_t)((fact->status & IPS_SEEN_REPLY) == 0 ? END_CLIENT_GONE : END_RESET);
	} else if (flow->closed == 0 && r->judge != NULL) {
		goes = r->judge(r->arg, flow, fact, &ending, &r->enough);
		if (goes) {
			flow->cut = true;
			flow->ending = (uint8_t)ending;
		}
	}
	if (goes) {
		const struct victim v = { .key = flow->key, .id = fact->id, .tuple = fact->tuple };

		victims_push(&r->victims, &v);
	}
	return round_goes_on(r);
}

/* What should have been met and was not is no more.  Removing moves others
 * about, so first they are all found. */
static void
sweep_round(struct flows *f, uint32_t mark, uint32_t mask)
{
	uint64_t *gone = NULL;
	size_t n = 0, room = 0;

	for (size_t i = 0; i < f->table.size; i++) {
		const struct flow *flow = &f->table.slots[i];

		if (flow->key == 0 || flow->seen == f->round || (flow->mark & mask) != mark)
			continue;
		if (n == room) {
			room = room > 0 ? room * 2 : 64;
			gone = must_grow(gone, room, sizeof(*gone));
		}
		gone[n++] = flow->key;
	}
	for (size_t i = 0; i < n; i++)
		flows_vanished(f, flow_find(&f->table, gone[i]));
	free(gone);
}

static bool
list_all(struct flows *f, uint32_t mark, uint32_t mask, struct round *r)
{
	bool whole;

	flows_read_news(f);
	if (mask == MARK_TAG)
		f->lost = false;	/* the dump shows what was */
	flows_patience_read(&f->patience);
	flows_shortcut_patience(f);
	f->round++;
	f->listing = true;
	whole = flows_wire_dump(&f->dump_fd, mark, mask, on_listed, r);
	f->listing = false;
	if (!whole && errno != 0)
		LOG_WARN("kernel.dump_failed", LS("error", strerror(errno)));
	if (f->graves.n > 0) {
		flow_table_free(&f->graves);
		flow_table_init(&f->graves);
	}
	flows_read_news(f);
	if (whole)
		sweep_round(f, mark, mask);
	return whole;
}

static bool
is_left(const struct flows *f, const struct victim *v)
{
	const struct flow *flow = flow_find(&f->table, v->key);

	return flow != NULL && flow->closed == 0;
}

/* In batches, each followed by its news, so that these do not overrun us.
 * True: some are still there for all we know. */
static bool
cut_all(struct flows *f, const struct victims *v)
{
	struct flow_batch batch = { 0 };
	bool left = false;

	for (size_t i = 0; i < v->n && !atomic_load_explicit(&f->stop, memory_order_relaxed); i++) {
		flows_wire_add_delete(&batch, &v->list[i].tuple, v->list[i].id);
		if (batch.n < FLOWS_WIRE_BATCH && i + 1 < v->n)
			continue;
		if (!flows_wire_order(f->ask_fd, &batch))
			LOG_WARN("kernel.cut_failed", LS("error", strerror(errno)));
		flows_read_news(f);
	}
	for (size_t i = 0; i < v->n; i++)
		left |= is_left(f, &v->list[i]);
	return left;
}

uint64_t
flows_round(struct flows *f, uint32_t mark, uint32_t mask, flows_judge *judge, void *arg)
{
	struct round r = { .f = f, .judge = judge, .arg = arg }, again = { .f = f };
	uint64_t cuts = f->cuts;

	list_all(f, mark, mask, &r);
	/* No event tells of flows that began while the events were not read: they are
	 * looked for once more. */
	if (r.victims.n > 0 && cut_all(f, &r.victims))
		list_all(f, mark, mask, &again);
	for (size_t i = 0; i < r.victims.n; i++)
		if (is_left(f, &r.victims.list[i]))
			flow_find(&f->table, r.victims.list[i].key)->cut = false;
	victims_free(&r.victims);
	return f->cuts - cuts;
}

uint64_t
flows_relieve(struct flows *f)
{
	struct round r = { .f = f, .relief = true };
	uint64_t n;

	list_all(f, f->tag << 24, MARK_TAG, &r);
	(void)cut_all(f, &r.victims);
	n = r.victims.n;
	victims_free(&r.victims);
	return n;
}

/* Addresses that nothing refers to any more, where names mean another one every
 * minute: they go when they are more than the others. */
static void
prune_places(struct flows *f)
{
	uint32_t *moved;

	if (f->places.n < f->places_wanted)
		return;
	moved = must_array(f->places.n, sizeof(*moved));
	for (size_t i = 0; i < f->table.size; i++)
		if (f->table.slots[i].key != 0)
			moved[f->table.slots[i].place] = 1;
	place_table_prune(&f->places, moved);
	for (size_t i = 0; i < f->table.size; i++)
		if (f->table.slots[i].key != 0)
			f->table.slots[i].place = moved[f->table.slots[i].place];
	free(moved);
	f->places_wanted = f->places.n * 2 + PLACES_LEAST;
}

void
flows_count_all(struct flows *f)
{
	double started = clock_now(), took, pause;

	flows_round(f, f->tag << 24, MARK_TAG, flows_drain_judge, f);
	took = clock_now() - started;
	atomic_store_explicit(&f->dump_us, (uint64_t)(took * 1e6), memory_order_relaxed);
	atomic_fetch_add_explicit(&f->dumps, 1, memory_order_relaxed);
	/* What events told is right unless some were lost, and then a round comes at
	 * once: a large table is looked through less often, for a five-hundredth of
	 * the thread's time.  Never for more than a fiftieth; not in step with
	 * other hosts or other rounds. */
	pause = took * 500 < CORRECT_AT_LEAST ? took * 500 : CORRECT_AT_LEAST;
	if (pause < took * 50)
		pause = took * 50;
	if (pause < f->correct_every)
		pause = f->correct_every;
	pause *= 0.9 + 0.2 * random_unit(&f->random);
	f->next_count = clock_now() + (f->lost ? RECOUNT_SOON + RECOUNT_PAUSE * took : pause);
	prune_places(f);
	flows_shortcut_sweep(f);
	f->adopted = true;
}
