/* control.h - the one place that decides: it owns the services, obeys the
 * store, listens to the health checks and tells the engine.
 * Thread: main. */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include <ev.h>
#include <string.h>

#include "base/err.h"
#include "control/bus.h"
#include "control/health.h"
#include "control/rollout.h"
#include "control/stop.h"
#include "model/config.h"
#include "model/engine.h"
#include "model/judge.h"
#include "net/jobs.h"
#include "store/store.h"

/* The life of the process, forward only. */
enum life {
	LIFE_STARTING,	/* the store or the first checks are still missing */
	LIFE_SERVING,
	LIFE_YIELDED,	/* another process serves now: what could not be given to it ends here */
	LIFE_NOTICE,	/* stopping: not ready any more, still serving */
	LIFE_CLOSING,	/* listeners closing, connections draining */
	LIFE_STOPPED	/* the engine's last letters no longer count: the store may be gone */
};

struct bake;
struct ramp_run;
struct drain;
struct flip;
struct control;
struct nodes;
struct notify;
struct hosts;
struct certs;
struct peer;
struct quality;
struct reloads;

/* What a bake compares with: counts of the active color's clients, and of the one before it (control/bake.c). */
struct bake_past {
	struct judge_counts before, now;	/* the totals when the last two windows began */
	double now_at;	/* clock_now() */
	struct judge_counts control;	/* of the color before, in its last one or two windows */
	struct judge_counts old_at_flip;	/* that color's totals at the flip */
	uint64_t epoch;	/* of the flip that ended them */
	double orphan_since;	/* clock_now(): nobody judges its bake since; 0: not so */
};

#define BAKE_VERDICTS_MAX 12

/* What main adds to a service: its lane in the control plane. */
struct service_ctl {
	struct service *service;	/* whose `ctl` this is */
	struct control *control;
	unsigned refs;	/* control's own, and of what must find it when it is over */
	uint64_t serial;	/* grows from one that came to the next; never the same twice */
	bool removed;	/* control has it no more; the last reference ends it */
	struct link leaving;	/* on control's, while it is removed */
	struct service_engine *engines;	/* that serve it (control/engines.c) */
	size_t n_engines;
	struct rollout rollout;
	uint64_t strays;	/* that the teald before this one counted */
	struct quality *quality;	/* how it does of late */
	struct bake_past past;
	struct ramp_run *ramp;	/* of a share that grows by itself; NULL: there was none */
	struct bake *bake;	/* the last one, under way or over; NULL: none */
	uint64_t bakes_total[COLORS][BAKE_VERDICTS_MAX], bake_rollbacks_failed;	/* by enum bake_verdict */
	bool diverted;	/* of the colors that share the traffic one, `diverted_from`, has no healthy backend */
	enum color diverted_from;
	struct drain *drain;	/* of the idle color; NULL: none */
	uint64_t cut, cut_epoch;	/* connections that the last drain's deadline ended, and the drain's epoch */
	bool dirty;	/* a snapshot is due */
	bool nodes_due;	/* its backends have become others with its pool's nodes, not all of them yet */
	double first_round_by;	/* clock_now(): then serving begins without verdicts that take long */
	bool first_round_over;
	struct link flips;	/* struct flip, the first one is under way */
	struct link healing;	/* struct flip, between two looks at the gate */
	struct link checks;	/* struct check, under way */
	struct link claims;	/* struct claiming, in the order they came */
	ev_timer claim_expiry;
	struct link drainers;	/* struct flip, applied here, waiting for the drain or a late teald of the fleet */
	/* How flips ended, for teal_flips_total{to,result} and teal_flip_seconds. */
	struct flip_tally {
		uint64_t by_result[COLORS][ERR_COUNT];
	} flips_total;
	struct {
		uint64_t count[TALLY_BUCKETS + 1];
		double sum;
	} flip_seconds;
};

/* What the teald before this one has counted as a process: totals go on. */
struct inherited {
	double since;	/* see control_counts_since(); 0: nothing is inherited */
	uint64_t log_dropped;
	double cpu_seconds;
	struct inherited_lag {
		char thread[ENGINE_THREAD_NAME];
		struct tally_histogram lag;
	} *lags;
	size_t n_lags;
	/* Counters that engines tell of themselves. */
	struct inherited_counter {
		char metric[64];
		uint64_t value;
	} *counters;
	size_t n_counters;
};
/* Threads, or counters, of which that can be told. */
#define INHERITED_MAX 512
/* 0: that metric was not counted. */
static inline uint64_t
inherited_counter(const struct inherited *in, const char *metric)
{
	for (size_t i = 0; i < in->n_counters; i++)
		if (strcmp(in->counters[i].metric, metric) == 0)
			return in->counters[i].value;
	return 0;
}

struct control {
	struct ev_loop *loop;
	const struct config *config;	/* what is obeyed now; one reference */
	struct reloads *reloads;
	struct jobs *jobs;
	struct store *store;
	struct peer *peer;	/* another generation of teald, during an upgrade; NULL: none */
	bool yielded;	/* that one decides: this teald only obeys (control/peer.h) */
	struct inherited inherited;
	struct health *health;
	struct nodes *nodes;
	struct notify *notify;	/* NULL before control_open() or control_prepare() */
	struct hosts *hosts;
	ev_timer review_timer;	/* names that nothing uses may go */
	ev_timer resolve_timer;	/* backends whose name means another address now may go */
	struct certs *certs;
	struct engine **engines;	/* all that serve something */
	size_t n_engines;
	struct bus bus;
	struct service_ctl **services;	/* in the configuration's order; those that came later behind */
	struct service_ctl **by_name;	/* the same, sorted */
	size_t n;
	uint64_t serials;	/* the last that was given */
	uint64_t list_changes;	/* services that came or went, since the start */
	struct link leaving;	/* struct service_ctl, removed, and not yet forgotten */
	double started;	/* clock_now() of the start */
	bool begun;	/* the store has been opened */
	bool prepared;	/* on_prepared() has been called */
	bool store_ready;
	/* clock_now() when the teald before this one has last had word of its store, until
	 * this one has; 0: none has handed over. */
	double confirmed_at;
	bool committing;	/* snapshots that are due go with the reload's commit */
	ev_timer publish_timer;	/* gathers changes of one loop turn */
	ev_timer pulse;	/* measures how late this very loop is */
	double pulsed;	/* clock_now() of its last beat */
	struct tally_histogram lag;
	ev_timer outlier_timer;	/* an ejection ends */
	ev_timer slow_start_timer;	/* weights grow */
	ev_timer quality_timer;	/* the next sample of every service */
	ev_timer first_round;	/* of the next service that has waited for its checks long enough */
	/* Connects of all gates under way, and struct gate that wait for a place. */
	unsigned gate_probes;
	struct link gates;
	bool left_behind;	/* after control_close(): a helper hangs that reads the configuration */
	bool maintenance;
	bool stale;	/* the store has not been read for max_age */
	ev_timer stale_timer;
	bool failed;	/* something without which it cannot serve */
	struct why failure;
	/* Told of that while serving; set by the owner. */
	void (*on_fatal)(void *arg, const struct why *why);
	enum life life;
	struct stop stop;
	/* A service that another configuration brings, which is its owner's to free once
	 * control has it no more; set by the owner. */
	void (*on_added)(void *arg, struct service *s);
	/* A reload that is no dry run begins, or has ended, however; set by the owner. */
	void (*on_reloading)(void *arg, bool begins);
	/* Before another configuration is obeyed: what is needed for it besides engines is opened, or why says why
	 * not; and given up again, because something else failed.  Set by the owner. */
	enum err (*on_reload)(void *arg, const struct config *to, struct why *why);
	void (*on_reload_failed)(void *arg);
	/* Another configuration is obeyed from now on; set by the owner. */
	void (*on_reloaded)(void *arg, const struct config *config);
	/* control_is_prepared() has become true, between the two steps of a start; set by
	 * the owner, NULL: it is not told. */
	void (*on_prepared)(void *arg);
	/* The process has nothing left to do; set by the owner. */
	void (*on_stopped)(void *arg);
	/* Nothing names that service any more: it may be freed.  Set by the owner. */
	void (*on_removed)(void *arg, struct service *s);
	void *arg;
};

/* The uid of one who is no user of this machine: the admin listener's, whose name says who. */
#define ACTOR_NO_UID UINT32_MAX

/* Who asks for something. */
struct actor {
	char user[RECORD_NAME];
	uint32_t uid;
	int32_t pid;
};

/* Takes jobs, store and engines (one for each kind that a service names) as they are (they outlive it), hooks itself into their upcalls
 * and opens the store.  Aborts when memory is out. */
MUST_USE enum err control_open(struct control *c, struct ev_loop *loop, const struct config *config,
			       struct jobs *jobs, struct store *store, struct engine *const *engines,
			       size_t n_engines, struct service **services, size_t n, struct why *why);
/* The same in two steps, for a teald that takes over from another: all but the
 * store, which is not asked anything before control_begin().  Between them backends
 * are checked, nothing is published; on_prepared() says that the first verdicts are in. */
MUST_USE enum err control_prepare(struct control *c, struct ev_loop *loop, const struct config *config,
				  struct jobs *jobs, struct store *store, struct engine *const *engines,
				  size_t n_engines, struct service **services, size_t n, struct why *why);
MUST_USE enum err control_begin(struct control *c, struct why *why);
/* The first verdicts of every service are in, or waited for no longer. */
bool control_is_prepared(const struct control *c);
/* One more engine, hooked into control as those given to control_open(): services
 * of its kind may come from now on.  It outlives control. */
void control_add_engine(struct control *c, struct engine *engine);
/* Another store from now on, which needs no opening: the one before is about to be closed.  The new one outlives control as the other did. */
void control_change_store(struct control *c, struct store *store);
/* Of the store, with the age of what is known here. */
void control_store_status(const struct control *c, struct store_status *out);
/* Is that too old to be trusted?  As main asks itself several times a second. */
void control_look_at_age(struct control *c);
/* Calls of the engine come to control, as of those that it was opened with; it is none of
 * c->engines. */
void control_hear_engine(struct control *c, struct engine *engine);
/* The same, and it serves those that are there already, too: between the two steps of a start. */
void control_join_engine(struct control *c, struct engine *engine);
/* It serves nothing from here on, and is its owner's to free. */
void control_drop_engine(struct control *c, struct engine *engine);
/* The end has come: clients that wait for a flip are told so.  The services stay,
 * for those who still have to say what they were asked for. */
void control_forget(struct control *c);
/* Frees what it owns; no pointer to a service_ctl may be kept beyond it. */
void control_close(struct control *c);

/* Tells the fleet, where there is one, what this teald has applied and sees. */
void control_announce(struct control *c);

/* A backend of the service refused a worker: look again soon. */
void control_backend_refused(struct control *c, struct service *s);

/* A first snapshot went out. */
static inline bool
ctl_is_published(const struct service_ctl *ctl)
{
	return ctl->rollout.state != ROLLOUT_WAITING;
}

/* Connections that want to know a color are refused: what is known is too old. */
static inline bool
control_refuses(const struct control *c)
{
	return c->stale && c->config->store.stale == STALE_REFUSE;
}

/* clock_now() from which totals count: of the start, or the first one in a row of upgrades. */
static inline double
control_counts_since(const struct control *c)
{
	return c->inherited.since > 0 ? c->inherited.since : c->started;
}

/* NULL when there is no such service. */
struct service_ctl *control_find(struct control *c, struct str name);
/* The place in c->services of the first one of that serial or a later one, c->n:
 * there is none.  For walks that pause, while services come and go. */
size_t control_from(const struct control *c, uint64_t serial);
/* Its first checks may take so long; then it begins to serve all the same. */
void control_wait_for_checks(struct service_ctl *ctl);
/* Services without colors need no store: those that are not known yet are from now on. */
void control_know_colorless(struct control *c);
/* The service's `acked` has grown. */
void control_on_progress(struct service_ctl *ctl);
/* Perhaps nothing is missing any more to be serving. */
void control_serving_yet(struct control *c);

/* Has the service a backend of its active color that is up? */
bool control_serves(const struct service_ctl *ctl);

/* Able to take traffic: store read, every service published, not stopping,
 * not in maintenance.  Otherwise *reason is a short sentence, good until the
 * next call. */
bool control_may_serve(const struct control *c, const char **reason);
/* The same, and as many services as ready.min_services wants can be served. */
bool control_ready(const struct control *c, const char **reason);

/* Returns whether anything changed. */
bool control_maintenance(struct control *c, bool on, const struct actor *by);

#endif
