/* store_redis.h - inside the Redis store: what its files share.
 * Thread: main. */
#ifndef STORE_STORE_REDIS_H
#define STORE_STORE_REDIS_H

#include "store/redis_record.h"
#include "store/redis_script.h"
#include "store/state_cache.h"
#include "store/store.h"

#define STORE_REDIS_MAGIC 0x73746f72u

/* The truth is read again this often without any hint, seconds. */
#define REDIS_POLL 0.5
#define REDIS_BEAT 1.0
/* Lines kept in the stream of events. */
#define REDIS_EVENTS "10000"

struct redis_service {
	struct store_redis *store;
	/* Owned, for what is under way outlives the configuration. */
	char *name, *labels_json;
	char *key;	/* PREFIX:service:NAME */
	char *former_key;	/* PREFIX:service:NAME of the name it had before; NULL: none, or it was asked for */
	enum color initial;
	unsigned held;	/* writes and doubts under way that name it */
	bool gone;	/* of no configuration any more: nothing is told of it; freed when it is not held */
	bool known;	/* told to control */
	bool cached;	/* record is what state_dir knows, not told yet */
	struct record record;	/* as told */
	struct record seen;	/* what the store had at the last reading */
	char *locked;	/* the field of the lock as last seen, byte for byte; NULL: none */
	enum { SEEN_NOTHING, SEEN_NONE, SEEN_RECORD } seen_what;	/* not readable; no such service; seen */
	bool disputed;	/* seen is a color that is not obeyed here */
	double missing_since;	/* clock_now(); 0: it is there, or was never asked for */
	bool writing;	/* forward or initial is under way, or due */
	bool forward_due;	/* the next store_redis_send_forwards() brings what is in forward */
	struct record forward;
	uint64_t complained;	/* epoch that was complained about, so once each */
	char problem[320];	/* "" when none */
};

/* What was said about the nodes of a pool. */
struct redis_pool {
	struct store_redis *store;
	const struct pool_config *config;	/* NULL: gone, as above */
	char *name;
	char *key;	/* PREFIX:nodes:POOL */
	unsigned held;
	struct overlay now;	/* as told, or as state_dir knows it */
	struct overlay seen;	/* by the last reading ... */
	bool disputed;	/* seen is not obeyed here, but for what it adds */
	uint64_t complained;	/* version that was complained about, so once each */
	bool seen_well;	/* ... unless that was rubbish; nothing there is version 0 */
	bool announced;	/* now has been given to the store's owner */
	bool writing;	/* forward is under way */
	char problem[320];	/* "" when none */
};

struct refresh_waiter {
	struct link link;
	store_refreshed_fn *done;
	void *arg;
	bool fresh;	/* waits for a reading that begins after it came */
};

/* A write whose answer never came: the next reading tells. */
struct doubt {
	struct link link;
	struct redis_service *service;
	enum store_meaning means;
	struct record next;
	uint64_t expect_epoch;
	int64_t deadline_us;	/* Redis's clock: executed later it writes nothing */
	char where[288];	/* the server it was sent to */
	double since, give_up;	/* clock_now() */
	uint64_t batch;	/* the same for those of one write: all were written, or none */
	bool same;	/* it was only compared */
	store_done_fn *done;
	void *arg;
};

struct store_redis {
	struct store store;
	uint32_t magic;
	const struct config *config;
	struct jobs *jobs;
	/* Names are looked up on a thread of their own: a name server that hangs
	 * must not hold up what is written to state_dir. */
	struct jobs *lookups;
	struct ev_loop *loop;
	bool assume_initial;
	struct state_cache *cache;
	struct redis *commands, *hints;
	struct fleet fleet;
	struct redis_service **services;	/* in the configuration's order */
	size_t n;
	struct redis_pool **pools;
	size_t n_pools;
	bool ready_told;

	bool reading;	/* a reading is under way ... */
	bool reading_old;	/* ... that asked for another list of services: it is done again */
	struct link waiters;	/* struct refresh_waiter */
	struct link doubts;	/* struct doubt */
	struct link node_doubts;	/* the same of nodes, store_redis_nodes.c */
	double started, read_at;	/* clock_now(); read_at 0: never */
	int64_t time_us;	/* Redis's clock at the last reading ... */
	double time_at;	/* ... and ours */
	char down_why[512];	/* "" while up */
	double reason_told;	/* clock_now() when another one was */
	bool reason_due;	/* it is another than was told */
	char problem[512];	/* for status */

	bool beaten;	/* a heartbeat of this identity has arrived */
	bool beating, beat_again;	/* a heartbeat is under way; another is due */
	bool leaving, left;
	uint64_t batches;	/* writes in doubt so far */
	unsigned under_way;	/* commands without answer */
	bool last_known_due;	/* state_dir's word counts if Redis does not answer soon */
	ev_timer poll, beat, doubt_timer, last_known;
	char *channel, *events_key, *beat_key, *index_key, *left_key;
	struct fleet_member self;
};

static inline struct store_redis *
store_redis_of(const struct store *s)
{
	struct store_redis *r = container_of(s, struct store_redis, store);

	CHECK(r->magic == STORE_REDIS_MAGIC);
	return r;
}

/* Redis's clock by ours: its last TIME and what has passed since; 0: never heard. */
int64_t store_redis_now(const struct store_redis *s);
/* Commands can be sent. */
bool store_redis_is_up(const struct store_redis *s);
/* For how long a teald that vanished without a goodbye stays a member, seconds. */
double store_redis_life(const struct store_redis *s);
/* One thing less names it: frees one that is gone. */
void store_redis_unhold(struct redis_service *v);
/* Tells control and the cache; the service's record is this from now on. */
void store_redis_tell(struct redis_service *v, const struct record *r);
/* Redis cannot be reached: what state_dir knows counts, once. */
void store_redis_last_known(struct store_redis *s);

/* store_redis_read.c: reading the truth. */
void store_redis_read(struct store_redis *s);
/* Judges one record of the store against what is known. */
void store_redis_judge(struct redis_service *v, const struct record *r);
/* What HMGET gave: redis_record_parse(), of an epoch that can be obeyed, and the lock's text is kept. */
MUST_USE enum err store_redis_parse(struct redis_service *v, const redisReply *fields, struct record *out,
				    bool *exists, struct why *why);
void store_redis_refresh(struct store *s, store_refreshed_fn *done, void *arg);

/* store_redis_write.c: changing it. */
void store_redis_write(struct store *s, const struct store_write *w, store_done_fn *done, void *arg);
void store_redis_write_all(struct store *s, const struct store_write *w, size_t n, store_done_fn *done,
			   void *const *args);
/* Brings the store forward to what this teald knows, with the next sending, or tells it of a service
 * it has never heard of (expect 0). */
void store_redis_forward(struct redis_service *v, const struct record *r, bool initial);
/* After what may have asked for that: all at once, so that what was changed as one comes back as one. */
void store_redis_send_forwards(struct store_redis *s);

/* store_redis_doubt.c: a write whose answer was lost is settled by a reading, or given up. */
#define DOUBT_SECONDS 0.8
/* A write is in doubt: reads again soon. */
void store_redis_watch_doubts(struct store_redis *s);
/* After each reading, and when time is over: answers those that can be. */
void store_redis_settle_doubts(struct store_redis *s);
/* Is that what this write would have made of the record? */
bool store_redis_is_ours(enum store_meaning means, const struct record *is, const struct record *wrote);

/* store_redis_history.c: the lines of what was done. */
void store_redis_note(struct store *s, const struct audit_entry *entry);
void store_redis_history(struct store *s, const char *service, unsigned last, store_history_fn *done, void *arg);

/* store_redis_nodes.c: what was said about nodes. */
void store_redis_nodes_open(struct store_redis *s);
void store_redis_nodes_settle(struct store_redis *s);
/* The pools are those of `to` from now on. */
void store_redis_nodes_reconfigure(struct store_redis *s, const struct config *to);
/* There are no more readings: writes in doubt stay so.  Frees what the pools hold. */
void store_redis_nodes_close(struct store_redis *s);
/* Redis cannot be reached: what state_dir knows counts. */
void store_redis_nodes_last_known(struct store_redis *s);
/* A reading of that pool. */
void store_redis_nodes_read(struct redis_pool *p, const redisReply *reply);
const struct overlay *store_redis_disputed_nodes(const struct store *s, const char *pool);
void store_redis_write_nodes(struct store *s, const char *pool, const struct overlay *next, store_nodes_fn *done,
			     void *arg);

/* store_redis_watch.c: who watches the nodes of a pool. */
void store_redis_watch(struct store *s, const struct watch_ask *ask, store_watch_fn *done, void *arg);

/* store_redis_beat.c: heartbeats. */
/* Another teald speaks in our name. */
void store_redis_twin(struct store_redis *s, const struct fleet_member *twin);
void store_redis_beat(struct store_redis *s);
bool store_redis_leave(struct store *s);

#endif
