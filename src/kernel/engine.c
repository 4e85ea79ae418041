/* engine.c - the kernel engine as control sees it: snapshots in, counts out.
 * Thread: main; the work is done on the threads of ruleset and flows. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "kernel/engine.h"
#include "kernel/engine_describe.h"
#include "kernel/engine_usage.h"
#include "kernel/flows.h"
#include "kernel/ruleset.h"

/* How often elements that expire are renewed, and refusals are read. */
#define RENEWALS 3
/* Who comes so late to a renewal has slept, and knows nothing of what others did; seconds. */
#define STALL 1.0
/* Older knowledge is not renewed where it must not be served past max_age: were we killed
 * then, the kernel would go on with it, while the others count us as gone so long after max_age
 * and flip.  What was renewed before lives until it is stale.  Seconds. */
#define KNOWN 5.0
#define COUNTS_EVERY 2.0
/* Between two looks at what has to leave nodes that are drained. */
#define LEAVE_EVERY 1.0
/* Who has no snapshot by then does not keep the others waiting any longer. */
#define BEGIN_EXTRA 0.5
/* How long the end waits for the kernel to take the last rules. */
#define CLOSE_PATIENCE 2.0

/* One service of ours. */
struct ours {
	struct kernel *kernel;
	struct service *service;
	size_t at;	/* in the ruleset */
	unsigned id;	/* in marks */
	struct snapshot *snapshot;	/* the last one published; NULL: none yet */
	bool waits;	/* it is for the ruleset once we know that we are awake */
	uint64_t in_ruleset;	/* generation */
	uint64_t counting;	/* the one whose connections are being counted; 0: none */
	uint64_t acked;	/* of both; control hears of it once the start has counted, too */
	uint64_t reported;	/* as control has heard */
	uint64_t committed;	/* that came with the last reload */
	uint64_t flipped;	/* generation that moved the preview; 0: that is settled */
	bool counted;	/* refused holds a reading */
	uint64_t refused[RULESET_REFUSALS];	/* as last read */
	uint64_t strays, strays_total;
};

struct kernel {
	struct engine engine;	/* first */
	struct ev_loop *loop;
	const struct config *config;
	struct ruleset *ruleset;
	struct flows *flows;
	struct ours *list;
	size_t n;
	const struct ruleset_service *described;	/* as the ruleset knows them */
	struct ours **by_service;	/* by the service's index; NULL: another engine's */
	bool counted;	/* flows that were there before us are */
	bool begun;	/* the ruleset may write */
	bool closing, closed, freeing;
	bool reading;	/* counts are on their way */
	bool held;	/* until the store was read: we slept */
	double renewed;	/* clock_now() when it was last due */
	ev_timer renew, counts, begin, close;
	ev_timer leave;	/* while flows are on nodes that are drained */
	ev_timer reloaded;	/* on_committed() is due */
	bool reloading;	/* what a reload brought is not obeyed yet */
	uint64_t generation;	/* of the configuration that it tells of */
	size_t n_slots;	/* of by_service */
	char table[RULESET_TABLE_MAX + 8];
	char trouble[256];	/* why the kernel does not take what we say; "": it does */
};

static struct kernel *
kernel_of(struct engine *e)
{
	return container_of(e, struct kernel, engine);
}

static struct ours *
ours_of(const struct kernel *k, const struct service *s)
{
	struct ours *o = k->by_service[s->index];

	CHECK(o != NULL);
	return o;
}

static bool
removes(const struct kernel *k)
{
	return k->config->kernel.on_stop == ON_STOP_REMOVE;
}

/* -- what new flows are to do ------------------------------------------------------ */

static void
cut_previews(struct ours *o)
{
	const struct flows_match match = {
		.service = o->id,
		.color = (int)o->snapshot->active,
		.entrance = ENTRANCE_PREVIEW,
	};

	o->flipped = 0;
	flows_cut(o->kernel->flows, &match, END_PREVIEW, NULL, NULL);
}

/* Backends that fail their checks and get nothing new: what they have is cut, so
 * that clients come again. */
static void
cut_down(struct ours *o)
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
cut_share(const struct ours *o, const struct backend *b, double idle, double share, enum ending ending)
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

/* Of nodes that are drained those whose turn it is. */
static void
kernel_on_leave(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct kernel *k = container_of(t, struct kernel, leave);
	bool any = false;

	(void)revents;
	for (size_t i = 0; i < k->n && !k->closing; i++) {
		const struct ours *o = &k->list[i];

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

static void
committed_yet(struct kernel *k)
{
	if (!k->reloading)
		return;
	for (size_t i = 0; i < k->n && !k->closing; i++)
		if (k->list[i].reported < k->list[i].committed)
			return;
	k->reloading = false;
	ev_timer_start(k->loop, &k->reloaded);
}

static void
tell_acked(struct ours *o)
{
	struct kernel *k = o->kernel;

	if (!k->counted || o->acked <= o->reported)
		return;
	o->reported = o->acked;
	if (o->flipped != 0 && o->acked >= o->flipped)
		cut_previews(o);
	if (o->service->config->on_down == ON_DOWN_RESET && o->acked == o->snapshot->generation &&
	    !k->closing)
		cut_down(o);
	if (!k->closing && !ev_is_active(&k->leave)) {
		ev_timer_set(&k->leave, 0.0, LEAVE_EVERY);
		ev_timer_start(k->loop, &k->leave);
	}
	k->engine.on_acked(k->engine.arg, &k->engine, o->service, 0, o->acked);
	committed_yet(k);
}

static void
say_closed(struct kernel *k)
{
	if (k->closed)
		return;
	k->closed = true;
	ev_timer_stop(k->loop, &k->close);
	k->engine.on_closed(k->engine.arg);
}

static void kernel_on_news(void *arg, uint64_t n);

/* Connections that came while the ruleset still led them to the color before are counted
 * before control hears that it does not any more: it asks next how many there are. */
static void
read_news(struct ours *o)
{
	o->counting = o->in_ruleset;
	flows_catch_up(o->kernel->flows, kernel_on_news, o);
}

static void
kernel_on_news(void *arg, uint64_t n)
{
	struct ours *o = arg;
	struct kernel *k = o->kernel;
	bool all = k->closing;

	(void)n;
	o->acked = o->counting;
	o->counting = 0;
	if (o->in_ruleset > o->acked)
		read_news(o);
	tell_acked(o);
	for (size_t i = 0; all && i < k->n; i++)
		all = k->list[i].snapshot == NULL || k->list[i].acked == k->list[i].snapshot->generation;
	if (all)
		say_closed(k);
}

static void
kernel_on_acked(void *arg, size_t at, uint64_t generation)
{
	struct kernel *k = arg;
	struct ours *o = &k->list[at];

	if (k->freeing)
		return;
	o->in_ruleset = generation;
	if (o->counting == 0)
		read_news(o);
}

static void
kernel_on_trouble(void *arg, const char *why)
{
	struct kernel *k = arg;

	if (k->freeing)
		return;
	str_copy(k->trouble, sizeof(k->trouble), str_from(why != NULL ? why : ""));
	if (k->engine.on_trouble != NULL)
		k->engine.on_trouble(k->engine.arg, &k->engine, why);
}

static void
watch_service(struct ours *o)
{
	flows_watch(o->kernel->flows, o->id, o->service, o->service->record.epoch);
}

static void
begin_ruleset(struct kernel *k)
{
	ev_timer_stop(k->loop, &k->begin);
	if (k->begun || k->closing)
		return;
	k->begun = true;
	ruleset_begin(k->ruleset);
}

static bool
all_known(const struct kernel *k)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->list[i].snapshot == NULL)
			return false;
	return true;
}

/* Did we sleep?  The elements have perhaps expired, others have counted us as dead, and flipped: one change would
 * bring all of them back.  Asked before each, for after a sleep many things are due at once, in any order. */
static bool
is_held(struct kernel *k)
{
	double late = clock_now() - k->renewed - k->renew.repeat;

	if (k->held || k->closing || !ev_is_active(&k->renew) || late <= STALL)
		return k->held;
	k->held = true;
	k->engine.on_stalled(k->engine.arg, &k->engine, 0, late);
	/* Perhaps it was answered at once. */
	return k->held;
}

static void
kernel_publish(struct engine *e, struct service *s, struct snapshot **snapshot)
{
	struct kernel *k = kernel_of(e);
	struct ours *o = ours_of(k, s);
	bool flipped = o->snapshot != NULL && o->snapshot->active != (*snapshot)->active;

	/* What closes has its last rules already. */
	if (k->closing) {
		snapshot_unref(snapshot);
		return;
	}
	if (flipped)
		o->flipped = (*snapshot)->generation;
	snapshot_unref(&o->snapshot);
	o->snapshot = snapshot_ref(*snapshot);
	/* Before the first flow comes that carries it. */
	watch_service(o);
	flows_keep(k->flows, o->id, o->snapshot->active);
	o->waits = true;
	if (is_held(k) || !o->waits) {
		snapshot_unref(snapshot);
		return;
	}
	o->waits = false;
	ruleset_publish(k->ruleset, o->at, snapshot);
	if (!k->begun && all_known(k))
		begin_ruleset(k);
}

static void
kernel_on_begin(struct ev_loop *loop, ev_timer *t, int revents)
{
	(void)loop;
	(void)revents;
	begin_ruleset(container_of(t, struct kernel, begin));
}

static enum err
kernel_service_open(struct engine *e, struct service *s, struct why *why)
{
	struct kernel *k = kernel_of(e);
	double wait = BEGIN_EXTRA;

	(void)s;
	(void)why;
	if (k->begun || ev_is_active(&k->begin))
		return OK;
	/* Its first snapshot comes with the first verdicts of its checks; so do
	 * those of the others that the store knows. */
	for (size_t i = 0; i < k->n; i++) {
		const struct health_config *h = &k->list[i].service->config->health;

		if (h->type != HEALTH_NONE && h->timeout + BEGIN_EXTRA > wait)
			wait = h->timeout + BEGIN_EXTRA;
	}
	ev_timer_set(&k->begin, wait, 0.0);
	ev_timer_start(k->loop, &k->begin);
	return OK;
}

static void
kernel_on_renew(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct kernel *k = container_of(t, struct kernel, renew);
	bool was_held = k->held, held = is_held(k);

	(void)loop;
	(void)revents;
	k->renewed = clock_now();
	if (!was_held && !held) {
		if (k->config->store.stale != STALE_REFUSE || k->engine.age(k->engine.arg) <= KNOWN)
			ruleset_renew(k->ruleset);
	}
}

static void
kernel_resume(struct engine *e, unsigned thread)
{
	struct kernel *k = kernel_of(e);
	struct snapshot **snapshots;

	(void)thread;
	k->held = false;
	/* In one transaction: one of the changes alone would also renew the elements of the other
	 * services, and so lead their clients to a color that the fleet has left. */
	snapshots = must_alloc(k->n * sizeof(*snapshots));
	for (size_t i = 0; i < k->n; i++) {
		struct ours *o = &k->list[i];

		if (o->waits && !k->closing)
			snapshots[o->at] = snapshot_ref(o->snapshot);
		o->waits = false;
	}
	ruleset_publish_all(k->ruleset, snapshots);
	free(snapshots);
}

/* -- what became of them ------------------------------------------------------------ */

static uint64_t
kernel_count(struct engine *e, const struct service *s, enum color color)
{
	struct kernel *k = kernel_of(e);

	/* Connections go on without teald: its stop does not wait for them. */
	if (k->closing && !removes(k))
		return 0;
	return flows_count(k->flows, ours_of(k, s)->id, ENTRANCE_MAIN, color);
}

static void
kernel_drain(struct engine *e, struct service *s, enum color color, const struct drain_orders *orders)
{
	struct kernel *k = kernel_of(e);

	if (k->closing && !removes(k))
		return;
	flows_drain(k->flows, ours_of(k, s)->id, color, orders);
}

static void
kernel_holders(struct engine *e, struct service *s, enum color color, unsigned max, holders_fn *done,
	       void *arg)
{
	struct kernel *k = kernel_of(e);

	flows_holders(k->flows, ours_of(k, s)->id, color, max, done, arg);
}

/* A counter of the kernel's, which begins anew when its rule is replaced. */
static uint64_t
grown(uint64_t *last, uint64_t now, bool first)
{
	uint64_t more = first ? 0 : now >= *last ? now - *last : now;

	*last = now;
	return more;
}

static void
kernel_on_counts(void *arg, const struct ruleset_counts *counts)
{
	struct kernel *k = arg;

	k->reading = false;
	/* At the end there is no ruleset any more that could be asked. */
	if (k->freeing)
		return;
	for (size_t i = 0; counts != NULL && i < k->n; i++) {
		struct ours *o = &k->list[i];
		struct service *s = o->service;
		/* The first tally is the thread's of flows, this one, before the inherited one, is ours. */
		struct tally_color *t = &s->inherited[-1].colors[ENTRANCE_MAIN][s->record.color];
		bool first = !o->counted && ruleset_is_adopted(k->ruleset);

		for (int r = 0; r < RULESET_REFUSALS; r++)
			tally_add(&t->ended[ruleset_refusal_ending((enum ruleset_refusal)r)],
				  grown(&o->refused[r], counts[i].refused[r], first));
		o->strays_total += grown(&o->strays, counts[i].strays, first);
		o->counted = true;
	}
}

static void
read_flow_counts(struct kernel *k)
{
	if (k->reading)
		return;
	k->reading = true;
	ruleset_read_counts(k->ruleset, kernel_on_counts, k);
}

static void
kernel_on_count_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct kernel *k = container_of(t, struct kernel, counts);

	(void)loop;
	(void)revents;
	if (k->begun)
		read_flow_counts(k);
}

void
kernel_usage(const struct engine *e, struct kernel_usage *out)
{
	const struct kernel *k = container_of(e, const struct kernel, engine);

	*out = (struct kernel_usage){ .table = k->table, .trouble = k->trouble };
	flows_usage(k->flows, &out->flows);
}

static uint64_t
kernel_strays(const struct engine *e, const struct service *s)
{
	return ours_of(container_of(e, const struct kernel, engine), s)->strays_total;
}

/* -- closing -------------------------------------------------------------------------- */

static void
refuse_traffic(struct ours *o)
{
	struct snapshot *last = o->snapshot, *none;

	none = snapshot_new(++o->service->generation, last->epoch, last->active,
			    (const unsigned[COLORS]){ 0, 0 });
	none->refuse = true;
	o->snapshot = snapshot_ref(none);
	snapshot_unref(&last);
	ruleset_publish(o->kernel->ruleset, o->at, &none);
}

static void
kernel_on_close(struct ev_loop *loop, ev_timer *t, int revents)
{
	(void)loop;
	(void)revents;
	say_closed(container_of(t, struct kernel, close));
}

static void
kernel_close(struct engine *e)
{
	struct kernel *k = kernel_of(e);
	bool wait = false;

	if (k->closing)
		return;
	k->closing = true;
	ev_timer_stop(k->loop, &k->begin);
	for (size_t i = 0; k->begun && removes(k) && i < k->n; i++)
		if (k->list[i].snapshot != NULL) {
			refuse_traffic(&k->list[i]);
			wait = true;
		}
	ev_timer_set(&k->close, wait ? CLOSE_PATIENCE : 0.0, 0.0);
	ev_timer_start(k->loop, &k->close);
}

/* -- life ------------------------------------------------------------------------------ */

static void
kernel_on_adopted(void *arg, uint64_t n)
{
	struct kernel *k = arg;

	k->counted = true;
	if (ruleset_is_adopted(k->ruleset))
		LOG_INFO("kernel.adopted", LS("name", k->table), LU("connections", n));
	for (size_t i = 0; i < k->n; i++)
		tell_acked(&k->list[i]);
}

static enum err
open_parts(struct kernel *k, const char *owner, struct why *why)
{
	const struct ruleset_calls calls = { .on_acked = kernel_on_acked,
					     .on_trouble = kernel_on_trouble,
					     .arg = k };
	const struct ruleset_config rc = kernel_describe(k->config, owner);
	struct flows_options fo = { .config = k->config };
	enum err e = ruleset_open(k->loop, &rc, &calls, &k->ruleset, why);

	k->described = rc.services;
	if (e != OK)
		return e;
	fo.tag = ruleset_tag(k->ruleset);
	if ((e = flows_open(&k->flows, k->loop, &fo, why)) != OK)
		return e;
	for (size_t i = 0; i < k->n; i++) {
		k->list[i].id = ruleset_number(k->ruleset, i);
		watch_service(&k->list[i]);
	}
	flows_recount(k->flows, kernel_on_adopted, k);
	ev_timer_init(&k->renew, kernel_on_renew, rc.max_age / RENEWALS, rc.max_age / RENEWALS);
	k->renewed = clock_now();
	if (rc.max_age > 0)
		ev_timer_start(k->loop, &k->renew);
	ev_timer_start(k->loop, &k->counts);
	if (ruleset_is_adopted(k->ruleset))
		read_flow_counts(k);
	return OK;
}

/* -- another configuration ---------------------------------------------------- */

static struct ours *
known(const struct kernel *k, const struct service *s)
{
	struct ours *o = s->index < k->n_slots ? k->by_service[s->index] : NULL;

	return o != NULL && o->service == s ? o : NULL;
}

/* The table, its numbers and the threads' knowledge are made once: ours stay as
 * they are, and what else there is may change. */
static enum err
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

static void
kernel_abandon(struct engine *e)
{
	(void)e;
}

static void
kernel_on_reloaded(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct kernel *k = container_of(t, struct kernel, reloaded);

	(void)loop;
	(void)revents;
	k->engine.on_committed(k->engine.arg, &k->engine, k->generation);
}

static void
kernel_commit(struct engine *e, const struct reload *r)
{
	struct kernel *k = kernel_of(e);

	k->generation = r->generation;
	for (size_t i = 0; i < r->n; i++) {
		struct snapshot *snapshot = r->services[i].snapshot;

		if (snapshot == NULL || known(k, r->services[i].service) == NULL)
			continue;
		ours_of(k, r->services[i].service)->committed = snapshot->generation;
		snapshot_ref(snapshot);
		kernel_publish(e, r->services[i].service, &snapshot);
	}
	k->reloading = true;
	committed_yet(k);
}

enum err
kernel_open(struct kernel **out, struct ev_loop *loop, const struct config *config, struct service **services,
	    size_t n, const char *owner, struct why *why)
{
	struct kernel *k = must_alloc(sizeof(*k));

	*out = k;
	*k = (struct kernel){
		.engine = {
			.class = &kernel_class,
			.n_threads = 1,
			.open = kernel_service_open,
			.publish = kernel_publish,
			.drain = kernel_drain,
			.holders = kernel_holders,
			.count = kernel_count,
			.close = kernel_close,
			.resume = kernel_resume,
			.strays = kernel_strays,
			.prepare = kernel_prepare,
			.abandon = kernel_abandon,
			.commit = kernel_commit,
		},
		.loop = loop,
		.config = config_ref(config),
		.n_slots = n,
	};
	snprintf(k->table, sizeof(k->table), "teal_%s", config->kernel.table);
	k->list = must_array(n, sizeof(*k->list));
	k->by_service = must_array(n, sizeof(struct ours *));
	for (size_t i = 0; i < n; i++) {
		if (services[i]->config->engine != ENGINE_KERNEL)
			continue;
		k->list[k->n] = (struct ours){ .kernel = k, .service = services[i], .at = k->n };
		k->by_service[i] = &k->list[k->n++];
	}
	ev_timer_init(&k->renew, kernel_on_renew, 0.0, 0.0);
	ev_timer_init(&k->counts, kernel_on_count_timer, COUNTS_EVERY, COUNTS_EVERY);
	ev_timer_init(&k->leave, kernel_on_leave, 0.0, LEAVE_EVERY);
	ev_timer_init(&k->begin, kernel_on_begin, 0.0, 0.0);
	ev_timer_init(&k->close, kernel_on_close, 0.0, 0.0);
	ev_timer_init(&k->reloaded, kernel_on_reloaded, 0.0, 0.0);
	return open_parts(k, owner, why);
}

struct engine *
kernel_engine(struct kernel *k)
{
	return &k->engine;
}

/* A stop may be expected to end the traffic: the log says that it does not. */
static void
say_kept(const struct kernel *k)
{
	bool expires = k->config->store.type == STORE_REDIS && k->config->store.max_age > 0;
	char hint[160];

	snprintf(hint, sizeof(hint), "traffic goes on without teald%s; nft delete table inet %s ends it",
		 expires ? ", new connections for store.max_age" : "", k->table);
	LOG_INFO("kernel.kept", LS("name", k->table), LS("hint", hint));
}

bool
kernel_free(struct kernel **kp)
{
	struct kernel *k = *kp;
	struct why why = { "" };
	bool removed = false;

	*kp = NULL;
	if (k == NULL)
		return false;
	removed = k->closing && removes(k);
	ev_timer_stop(k->loop, &k->renew);
	ev_timer_stop(k->loop, &k->counts);
	ev_timer_stop(k->loop, &k->leave);
	ev_timer_stop(k->loop, &k->begin);
	ev_timer_stop(k->loop, &k->close);
	ev_timer_stop(k->loop, &k->reloaded);
	k->freeing = true;
	if (k->flows != NULL)
		flows_close(&k->flows);
	if (k->closing && !removed && k->begun)
		say_kept(k);
	if (k->ruleset != NULL && ruleset_close(&k->ruleset, removed, &why) != OK) {
		removed = false;
		LOG_ERROR("kernel.table_left", LS("name", k->table), LS("error", why.text));
	}
	for (size_t i = 0; i < k->n; i++)
		snapshot_unref(&k->list[i].snapshot);
	free(k->list);
	free((void *)(uintptr_t)k->described);
	free(k->by_service);
	config_unref(&k->config);
	free(k);
	return removed;
}
