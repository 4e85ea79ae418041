/* engine.c - the kernel engine as control sees it: snapshots in, counts out.
 * Thread: main; the work is done on the threads of ruleset and flows. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "kernel/engine_private.h"
#include "kernel/engine_describe.h"
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

static bool
removes(const struct kernel *k)
{
	return k->config->kernel.on_stop == ON_STOP_REMOVE;
}

/* -- what new flows are to do ------------------------------------------------------ */

static void
tell_acked(struct kernel_ours *o)
{
	struct kernel *k = o->kernel;

	if (!k->counted || o->acked <= o->reported)
		return;
	o->reported = o->acked;
	if (o->flipped != 0 && o->acked >= o->flipped)
		kernel_cut_previews(o);
	if (o->service->config->on_down == ON_DOWN_RESET && o->acked == o->snapshot->generation &&
	    !k->closing)
		kernel_cut_down(o);
	if (!k->closing && !ev_is_active(&k->leave)) {
		ev_timer_set(&k->leave, 0.0, LEAVE_EVERY);
		ev_timer_start(k->loop, &k->leave);
	}
	k->engine.on_acked(k->engine.arg, &k->engine, o->service, 0, o->acked);
	kernel_committed_yet(k);
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
read_news(struct kernel_ours *o)
{
	o->counting = o->in_ruleset;
	flows_catch_up(o->kernel->flows, kernel_on_news, o);
}

static void
kernel_on_news(void *arg, uint64_t n)
{
	struct kernel_ours *o = arg;
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
	struct kernel_ours *o = &k->list[at];

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
watch_service(struct kernel_ours *o)
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

void
kernel_publish(struct engine *e, struct service *s, struct snapshot **snapshot)
{
	struct kernel *k = kernel_of(e);
	struct kernel_ours *o = kernel_ours(k, s);
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
		struct kernel_ours *o = &k->list[i];

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
	return flows_count(k->flows, kernel_ours(k, s)->id, ENTRANCE_MAIN, color);
}

static void
kernel_drain(struct engine *e, struct service *s, enum color color, const struct drain_orders *orders)
{
	struct kernel *k = kernel_of(e);

	if (k->closing && !removes(k))
		return;
	flows_drain(k->flows, kernel_ours(k, s)->id, color, orders);
}

static void
kernel_holders(struct engine *e, struct service *s, enum color color, unsigned max, holders_fn *done,
	       void *arg)
{
	struct kernel *k = kernel_of(e);

	flows_holders(k->flows, kernel_ours(k, s)->id, color, max, done, arg);
}

/* -- closing -------------------------------------------------------------------------- */

static void
refuse_traffic(struct kernel_ours *o)
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

/* Without it packets take the way through the hooks, as they do otherwise. */
static void
open_shortcut(struct kernel *k, unsigned tag)
{
	struct why why = { "" };
	char names[256];

	if (k->config->kernel.shortcut == SHORTCUT_OFF)
		return;
	if (shortcut_open(&k->shortcut, tag, k->config->kernel.shortcut == SHORTCUT_ON, &why) != OK) {
		str_copy(k->no_shortcut, sizeof(k->no_shortcut), str_from(why.text));
		if (k->config->kernel.shortcut == SHORTCUT_ON)
			LOG_WARN("kernel.no_shortcut", LS("name", k->table), LS("error", why.text));
		else
			LOG_INFO("kernel.no_shortcut", LS("name", k->table), LS("error", why.text));
		return;
	}
	shortcut_names(k->shortcut, names, sizeof(names));
	LOG_INFO("kernel.shortcut", LS("name", k->table), LS("interfaces", names));
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
	open_shortcut(k, fo.tag);
	fo.shortcut = k->shortcut;
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
		kernel_read_counts(k);
	return OK;
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
	k->by_service = must_array(n, sizeof(struct kernel_ours *));
	for (size_t i = 0; i < n; i++) {
		if (services[i]->config->engine != ENGINE_KERNEL)
			continue;
		k->list[k->n] = (struct kernel_ours){ .kernel = k, .service = services[i], .at = k->n };
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

int
kernel_shortcut_counts(const struct kernel *k)
{
	return k->shortcut != NULL ? shortcut_bequeath(k->shortcut) : -1;
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
	shortcut_close(&k->shortcut);
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
