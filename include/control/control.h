/* control.h - the one place that decides: it owns the services, obeys the
 * store, listens to the health checks and tells the engine.
 * Thread: main. */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include <ev.h>

#include "base/err.h"
#include "control/bus.h"
#include "control/health.h"
#include "model/config.h"
#include "model/engine.h"
#include "net/jobs.h"
#include "store/store.h"

/* The life of the process, forward only. */
enum life {
	LIFE_STARTING,	/* the store or the first checks are still missing */
	LIFE_SERVING,
	LIFE_NOTICE,	/* stopping: not ready any more, still serving */
	LIFE_CLOSING,	/* listeners closing, connections draining */
	LIFE_STOPPED	/* the engine's last letters no longer count: the store may be gone */
};

struct drain;
struct flip;
struct control;
struct nodes;
struct hosts;
struct certs;

/* What main adds to a service: its lane in the control plane. */
struct service_ctl {
	struct service *service;
	struct engine *engine;	/* the one that serves it */
	struct link flips;	/* struct flip, the first one is under way */
	struct link healing;	/* struct flip, between two looks at the gate */
	struct link drainers;	/* struct flip, applied here, waiting for the drain or a late teald of the fleet */
	struct drain *drain;	/* of the idle color; NULL: none */
	bool published;	/* a first snapshot went out */
	bool settled;	/* and was acked: what was found on the idle color drains */
	bool dirty;	/* another one is due */
	uint64_t epoch_generation;	/* the first to carry the record's epoch */
	bool draining_due;	/* the old color drains once that is acked */
	double drain_timeout;	/* of that drain; < 0: the service's own */
	struct control *control;
	/* How flips ended, for teal_flips_total{to,result} and teal_flip_seconds. */
	struct flip_tally {
		uint64_t by_result[COLORS][E_UNKNOWN + 1];
	} flips_total;
	struct {
		uint64_t count[TALLY_BUCKETS + 1];
		double sum;
	} flip_seconds;
};

struct control {
	struct ev_loop *loop;
	const struct config *config;
	struct jobs *jobs;
	struct store *store;
	struct health *health;
	struct nodes *nodes;
	struct hosts *hosts;
	ev_timer resolve_timer;	/* backends whose name means another address now may go */
	struct certs *certs;
	struct engine *engines[ENGINES];	/* by enum engine_kind; NULL: no service needs it */
	unsigned engines_open;	/* those whose listeners are not closed */
	struct bus bus;
	struct service_ctl *entries;	/* in the configuration's order */
	struct service_ctl **by_name;	/* the same, sorted */
	size_t n;
	double started;	/* clock_now() of the start */
	bool store_ready;
	ev_timer publish_timer;	/* gathers changes of one loop turn */
	ev_timer pulse;	/* measures how late this very loop is */
	double pulsed;	/* clock_now() of its last beat */
	struct tally_histogram lag;
	ev_timer outlier_timer;	/* an ejection ends */
	ev_timer slow_start_timer;	/* weights grow */
	ev_timer first_round;	/* serving begins without verdicts that take long */
	bool first_round_over;
	/* Connects of all gates under way, and struct gate that wait for a place. */
	unsigned gate_probes;
	struct link gates;
	bool left_behind;	/* after control_close(): a helper hangs that reads the configuration */
	bool maintenance;
	bool stale;	/* the store has not been read for max_age */
	ev_timer stale_timer;
	double closed_at;	/* clock_now() when the listeners closed */
	bool failed;	/* something that nobody can serve without */
	struct why failure;
	/* Told of that while serving; set by the owner. */
	void (*on_fatal)(void *arg, const struct why *why);
	enum life life;
	ev_timer stop_timer, stop_poll;
	double stop_deadline;
	/* The process has nothing left to do; set by the owner. */
	void (*on_stopped)(void *arg);
	void *arg;
};

/* Who asks for something. */
struct actor {
	char user[RECORD_NAME];
	uint32_t uid;
	int32_t pid;
};

/* Takes jobs, store and engines (by enum engine_kind, one for each kind that a
 * service names) as they are (they outlive it), hooks itself into their upcalls
 * and opens the store.  Aborts when memory is out. */
MUST_USE enum err control_open(struct control *c, struct ev_loop *loop, const struct config *config,
			       struct jobs *jobs, struct store *store, struct engine *const engines[ENGINES],
			       struct service **services, size_t n, struct why *why);
/* The end has come: whoever waits for a flip is told so.  The services stay,
 * for those who still have to say what they were asked for. */
void control_forget(struct control *c);
/* Frees what it owns; no pointer to a service_ctl may be kept beyond it. */
void control_close(struct control *c);

/* A backend of the service refused a worker: look again soon. */
void control_backend_refused(struct control *c, struct service *s);

/* Connections now on a color of the service's main entrance. */
static inline uint64_t
ctl_count(const struct service_ctl *ctl, enum color color)
{
	return ctl->engine->count(ctl->engine, ctl->service, color);
}

/* NULL when there is no such service. */
struct service_ctl *control_find(struct control *c, struct str name);

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

/* Begins to stop: notice, close, drain, then on_stopped().  Harmless twice. */
void control_stop(struct control *c);

#endif
