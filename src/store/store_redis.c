/* store_redis.c - the truth about colors in Redis, shared by a fleet; on disk
 * the last known state, so that no request ever waits for Redis.
 *
 * Readings come every half second and at every hint; a write is one script
 * that compares the epoch and the clock first.  See store_redis_read.c for
 * what is believed, store_redis_write.c for what is written.
 *
 * Thread: main. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/version.h"
#include "store/redis_number.h"
#include "store/store_redis.h"

/* How long the start waits for Redis before it believes state_dir. */
#define LAST_KNOWN_AFTER 1.5
/* Another reason for being down is told this often, seconds. */
#define REASON_EVERY 5.0
/* How long the end waits for a look-up, seconds. */
#define GOODBYE 0.2
/* A member that vanished stays one for so long past max_age. */
#define LIFE_EXTRA 5.0
#define LIFE_DEFAULT 30.0

bool
store_redis_is_up(const struct store_redis *s)
{
	return s->commands != NULL && !s->left && redis_is_up(s->commands);
}

double
store_redis_life(const struct store_redis *s)
{
	/* 0 switches max_age off; who vanished has to be forgotten all the same. */
	return (s->config->store.max_age > 0 ? s->config->store.max_age : LIFE_DEFAULT) + LIFE_EXTRA;
}

int64_t
store_redis_now(const struct store_redis *s)
{
	if (s->time_us == 0)
		return 0;
	return s->time_us + (int64_t)((clock_now() - s->time_at) * 1e6);
}

void
store_redis_tell(struct redis_service *v, const struct record *r)
{
	struct store_redis *s = v->store;

	if (v->gone)
		return;
	v->known = true;
	v->cached = false;
	v->record = *r;
	state_cache_put(s->cache, v->name, r);
	s->store.on_record(s->store.arg, v->name, r);
}

/* -- the connections speak ------------------------------------------------------------ */

static void
redis_on_up(void *arg)
{
	struct store_redis *s = arg;

	LOG_INFO("store.up", LS("type", "redis"), LS("where", redis_where(s->commands)));
	s->down_why[0] = '\0';
	/* It may be another server with another clock: nothing is written before
	 * it has been read. */
	s->time_us = 0;
	store_redis_read(s);
	store_redis_beat(s);
}

static void
redis_on_down(void *arg, const struct why *why)
{
	struct store_redis *s = arg;

	snprintf(s->down_why, sizeof(s->down_why), "%.500s", why->text);
	s->reason_due = false;
	LOG_ERROR("store.down", LS("type", "redis"), LS("reason", why->text));
	store_redis_last_known(s);
}

static void
hints_on_up(void *arg)
{
	/* Changes may have been published while there was no subscription. */
	store_redis_read(arg);
}

static void
hints_on_down(void *arg, const struct why *why)
{
	(void)arg;
	LOG_DEBUG("store.no_hints", LS("reason", why->text));
}

static void
hint_read(void *arg, enum err e, const struct why *why)
{
	(void)arg;
	(void)e;
	(void)why;
}

static void
hints_on_message(void *arg, struct str channel, struct str payload)
{
	struct store_redis *s = arg;

	(void)channel;
	if (str_eq(payload, ":watch")) {
		if (s->store.on_watch != NULL)
			s->store.on_watch(s->store.arg);
		return;
	}
	store_redis_refresh(&s->store, hint_read, NULL);
}

/* It stays down, but for another reason: "refused" became "wrong password".
 * One that may not be told yet is told later, if it still is the reason then. */
static void
watch_reason(struct store_redis *s)
{
	const char *reason = redis_why(s->commands);

	if (redis_is_up(s->commands) || reason[0] == '\0')
		return;
	if (strncmp(reason, s->down_why, sizeof(s->down_why) - 1) != 0) {
		snprintf(s->down_why, sizeof(s->down_why), "%.500s", reason);
		s->reason_due = true;
	}
	if (!s->reason_due || clock_now() < s->reason_told + REASON_EVERY)
		return;
	s->reason_due = false;
	s->reason_told = clock_now();
	LOG_ERROR("store.down", LS("type", "redis"), LS("reason", reason));
}

static void
store_on_poll(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct store_redis *s = container_of(t, struct store_redis, poll);

	(void)loop;
	(void)revents;
	watch_reason(s);
	store_redis_read(s);
}

static void
store_on_beat(struct ev_loop *loop, ev_timer *t, int revents)
{
	(void)loop;
	(void)revents;
	store_redis_beat(container_of(t, struct store_redis, beat));
}

/* -- life --------------------------------------------------------------------------------- */

/* The fleet may have flipped while this teald was away, so what state_dir
 * knows is not used before Redis had time to answer: a start must not send a
 * client to the old color, however briefly. */
static void
read_cache(struct redis_service *v, const struct service_config *config)
{
	const struct record *r = state_cache_find(v->store->cache, v->name);

	if (r == NULL && config->rename != NULL && (r = state_cache_find(v->store->cache, config->rename)) != NULL)
		v->complained = UINT64_MAX;	/* that the store has no such service is no surprise */

	/* An older teald obeyed any number. */
	if (r != NULL && r->epoch > REDIS_NUMBER_MAX) {
		LOG_ERROR("store.bad_record", LS("service", v->name), LR(NULL, str_from(v->labels_json)),
			  LS("key", "state_dir"),
			  LS("message", "the epoch in state_dir is too great to be followed: what Redis says counts"));
		r = NULL;
	}
	v->cached = r != NULL;
	if (r != NULL)
		v->record = *r;
}

static void
await_last_known(struct store_redis *s)
{
	s->last_known_due = true;
	ev_timer_stop(s->loop, &s->last_known);
	ev_timer_set(&s->last_known, LAST_KNOWN_AFTER, 0.0);
	ev_timer_start(s->loop, &s->last_known);
}

void
store_redis_last_known(struct store_redis *s)
{
	bool all = true;

	if (!s->last_known_due)
		return;
	s->last_known_due = false;
	ev_timer_stop(s->loop, &s->last_known);
	store_redis_nodes_last_known(s);
	for (size_t i = 0; i < s->n; i++) {
		struct redis_service *v = s->services[i];
		struct record first = { .color = v->initial, .epoch = 1, .change = CHANGE_INITIAL,
					.at_us = clock_wall_us(), .by = "teald", .reason = "--assume-initial" };

		if (v->known)
			continue;
		if (!v->cached && !s->assume_initial) {
			all = false;
			continue;
		}
		if (v->cached)
			LOG_WARN("store.last_known", LS("service", v->name),
				 LR(NULL, str_from(v->labels_json)),
				 LS("color", color_word(v->record.color)), LU("epoch", v->record.epoch),
				 LS("message", "Redis has not answered: serving what state_dir knows"));
		else
			LOG_WARN("store.assumed_initial", LS("service", v->name),
				 LR(NULL, str_from(v->labels_json)),
				 LS("color", color_word(first.color)),
				 LS("message", "neither Redis nor state_dir has said so: --assume-initial"));
		if (!v->cached)
			v->record = first;
		v->known = true;
		v->cached = false;
		s->store.on_record(s->store.arg, v->name, &v->record);
	}
	if (all && !s->ready_told) {
		s->ready_told = true;
		s->store.on_ready(s->store.arg);
	}
}

static void
store_on_last_known(struct ev_loop *loop, ev_timer *t, int revents)
{
	(void)loop;
	(void)revents;
	store_redis_last_known(container_of(t, struct store_redis, last_known));
}

static enum err
store_redis_open(struct store *store, struct why *why)
{
	struct store_redis *s = store_redis_of(store);
	const struct redis_events commands = { .up = redis_on_up, .down = redis_on_down, .arg = s };
	const struct redis_events hints = { .up = hints_on_up, .down = hints_on_down, .message = hints_on_message,
					    .arg = s };

	if ((s->cache = state_cache_open(s->config, s->jobs, why)) == NULL)
		return E_USAGE;
	str_copy(s->self.id, sizeof(s->self.id), str_from(state_cache_id(s->cache)));
	if (gethostname(s->self.host, sizeof(s->self.host) - 1) != 0)
		str_copy(s->self.host, sizeof(s->self.host), STR("unknown"));
	if (!state_cache_random(s->self.run))
		return why_set(why, E_INTERNAL, "the kernel gives no random numbers");
	str_copy(s->self.version, sizeof(s->self.version), str_from(teal_version()));
	s->self.pid = getpid();
	s->beat_key = must_printf("%s:lb:%s", s->config->store.prefix, s->self.id);
	s->started = clock_now();
	for (size_t i = 0, at = 0; i < s->config->n_services; i++)
		if (!s->config->services[i].colorless)
			read_cache(s->services[at++], &s->config->services[i]);
	await_last_known(s);
	store_redis_nodes_open(s);
	s->commands = redis_new(s->loop, s->config, s->lookups, NULL, &commands);
	s->hints = redis_new(s->loop, s->config, s->lookups, s->channel, &hints);
	ev_timer_start(s->loop, &s->poll);
	ev_timer_start(s->loop, &s->beat);
	return OK;
}

/* Redis' own, as long as it was ever heard of. */
static int64_t
store_redis_clock(const struct store *store)
{
	int64_t now = store_redis_now(store_redis_of(store));

	return now > 0 ? now : clock_wall_us();
}

static const char *
store_redis_id(const struct store *store)
{
	return store_redis_of(store)->self.id;
}

static void
store_redis_announce(struct store *store)
{
	store_redis_beat(store_redis_of(store));
}

static const struct fleet *
store_redis_fleet(const struct store *store)
{
	return &store_redis_of(store)->fleet;
}

static bool
store_redis_disputed(const struct store *store, const char *service)
{
	const struct store_redis *s = store_redis_of(store);

	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->services[i]->name, service) == 0)
			return s->services[i]->disputed;
	return false;
}

static void
store_redis_status(const struct store *store, struct store_status *out)
{
	const struct store_redis *s = store_redis_of(store);

	*out = (struct store_status){ .type = "redis",
				      .up = store_redis_is_up(s) && s->down_why[0] == '\0' && s->time_us > 0,
				      .age = clock_now() - (s->read_at > 0 ? s->read_at : s->started),
				      .read = s->read_at > 0,
				      .where = s->commands != NULL ? redis_where(s->commands) : NULL };
	if (s->down_why[0] != '\0')
		out->problem = s->down_why;
	else if (!out->up)
		out->problem = "Redis has not been read yet";
	else if (s->problem[0] != '\0')
		out->problem = s->problem;
	for (size_t i = 0; out->problem == NULL && i < s->n; i++)
		if (s->services[i]->problem[0] != '\0') {
			out->problem = s->services[i]->problem;
			out->problem_service = s->services[i]->name;
		}
	for (size_t i = 0; out->problem == NULL && i < s->n_pools; i++)
		if (s->pools[i]->problem[0] != '\0')
			out->problem = s->pools[i]->problem;
}

static struct redis_service *
service_new_in(struct store_redis *s, const struct service_config *config)
{
	struct redis_service *v = must_alloc(sizeof(*v));

	v->store = s;
	v->name = must_strdup(config->name);
	v->labels_json = must_strdup(config->labels_json != NULL ? config->labels_json : "");
	v->key = must_printf("%s:service:%s", s->config->store.prefix, config->name);
	if (config->rename != NULL)
		v->former_key = must_printf("%s:service:%s", s->config->store.prefix, config->rename);
	v->initial = config->initial;
	return v;
}

static void
service_free_in(struct redis_service *v)
{
	free(v->name);
	free(v->labels_json);
	free(v->key);
	free(v->former_key);
	free(v->locked);
	free(v);
}

static void
service_retire(struct redis_service *v)
{
	v->gone = true;
	if (v->held == 0)
		service_free_in(v);
}

void
store_redis_unhold(struct redis_service *v)
{
	CHECK(v->held > 0);
	if (--v->held == 0 && v->gone)
		service_free_in(v);
}

/* It is looked for at *hint first, and then round: most files keep their order. */
static struct redis_service *
take_out(struct redis_service **list, size_t n, size_t *hint, const char *name)
{
	for (size_t k = 0; k < n; k++) {
		struct redis_service **at = &list[(*hint + k) % n], *v = *at;

		if (v == NULL || strcmp(v->name, name) != 0)
			continue;
		*at = NULL;
		*hint = (size_t)(at - list) + 1;
		return v;
	}
	return NULL;
}

static void
store_redis_reconfigure(struct store *store, const struct config *to)
{
	struct store_redis *s = store_redis_of(store);
	struct redis_service **before = s->services;
	size_t n = s->n, hint = 0;

	s->n = 0;
	s->services = must_array(to->n_services, sizeof(*s->services));
	for (size_t i = 0; i < to->n_services; i++) {
		const struct service_config *sc = &to->services[i];
		struct redis_service *v;

		if (sc->colorless)
			continue;
		v = take_out(before, n, &hint, sc->name);
		if (v == NULL) {
			v = service_new_in(s, sc);
			read_cache(v, sc);
			await_last_known(s);
		}
		v->initial = sc->initial;
		free(v->labels_json);
		v->labels_json = must_strdup(sc->labels_json != NULL ? sc->labels_json : "");
		s->services[s->n++] = v;
	}
	for (size_t i = 0; i < n; i++)
		if (before[i] != NULL)
			service_retire(before[i]);
	free(before);
	store_redis_nodes_reconfigure(s, to);
	s->reading_old = s->reading;
	store_redis_read(s);
	store_redis_beat(s);
}

static void
store_redis_close(struct store **sp)
{
	struct redis *hints, *commands;
	struct store_redis *s;
	struct why why;

	if (*sp == NULL)
		return;
	s = store_redis_of(*sp);
	*sp = NULL;
	s->left = true;
	ev_timer_stop(s->loop, &s->poll);
	ev_timer_stop(s->loop, &s->beat);
	ev_timer_stop(s->loop, &s->last_known);
	/* Those who wait for an answer are told from inside, and look at it. */
	hints = s->hints;
	commands = s->commands;
	redis_free(&hints);
	redis_free(&commands);
	s->hints = s->commands = NULL;
	/* Writes in doubt stay in doubt: there are no more readings. */
	LIST_EACH(it, &s->doubts) {
		struct doubt *d = list_entry(it, struct doubt, link);

		list_remove(it);
		why_set(&why, E_UNKNOWN, "teald stopped before Redis said whether it wrote");
		d->done(d->arg, E_UNKNOWN, &d->service->record, &why);
		store_redis_unhold(d->service);
		free(d);
	}
	LIST_EACH(it, &s->waiters) {
		struct refresh_waiter *w = list_entry(it, struct refresh_waiter, link);

		list_remove(it);
		why_set(&why, E_STORE, "teald is stopping");
		w->done(w->arg, E_STORE, &why);
		free(w);
	}
	store_redis_nodes_close(s);
	ev_timer_stop(s->loop, &s->doubt_timer);
	/* A name server or a disk that does not answer holds up no end: each owns itself. */
	jobs_leave(&s->lookups, GOODBYE);
	state_cache_close(&s->cache);
	fleet_free(&s->fleet);
	/* Nothing is under way any more, so nothing holds them. */
	for (size_t i = 0; i < s->n; i++)
		service_retire(s->services[i]);
	free(s->services);
	fleet_member_free(&s->self);
	free(s->channel);
	free(s->events_key);
	free(s->beat_key);
	free(s->index_key);
	free(s->left_key);
	s->magic = 0;
	free(s);
}

struct store *
store_redis_new(const struct config *config, struct jobs *jobs, bool assume_initial)
{
	struct store_redis *s = must_alloc(sizeof(*s));
	const char *prefix = config->store.prefix;

	s->magic = STORE_REDIS_MAGIC;
	s->config = config;
	s->jobs = jobs;
	s->loop = jobs_loop(jobs);
	s->lookups = jobs_new(s->loop, 1);
	s->assume_initial = assume_initial;
	list_init(&s->waiters);
	list_init(&s->doubts);
	list_init(&s->node_doubts);
	s->services = must_array(config->n_services, sizeof(*s->services));
	for (size_t i = 0; i < config->n_services; i++)
		if (!config->services[i].colorless)
			s->services[s->n++] = service_new_in(s, &config->services[i]);
	store_redis_nodes_reconfigure(s, config);
	s->channel = must_printf("%s:changed", prefix);
	s->events_key = must_printf("%s:events", prefix);
	s->index_key = must_printf("%s:lbs", prefix);
	s->left_key = must_printf("%s:left", prefix);
	ev_timer_init(&s->poll, store_on_poll, REDIS_POLL, REDIS_POLL);
	ev_timer_init(&s->beat, store_on_beat, REDIS_BEAT, REDIS_BEAT);
	ev_timer_init(&s->last_known, store_on_last_known, LAST_KNOWN_AFTER, 0.0);
	s->store = (struct store){ .open = store_redis_open,
				   .write = store_redis_write,
				   .write_all = store_redis_write_all,
				   .note = store_redis_note,
				   .history = store_redis_history,
				   .status = store_redis_status,
				   .write_nodes = store_redis_write_nodes,
				   .reconfigure = store_redis_reconfigure,
				   .close = store_redis_close,
				   .refresh = store_redis_refresh,
				   .now = store_redis_clock,
				   .announce = store_redis_announce,
				   .fleet = store_redis_fleet,
				   .id = store_redis_id,
				   .disputed = store_redis_disputed,
				   .disputed_nodes = store_redis_disputed_nodes,
				   .watch = store_redis_watch,
				   .leave = store_redis_leave };
	return &s->store;
}
