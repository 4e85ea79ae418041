/* store_redis_nodes.c - what was said about the nodes of the pools, in Redis:
 * a hash for each pool with the fields version, nodes, forced and terms (store/node_text.h).  As with colors nothing that is older, empty or rubbish changes anything
 * here, nor what would leave an active color without a backend, unless it was
 * forced; and a store that has lost it is told again.  Thread: main. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/node_text.h"
#include "store/redis_number.h"
#include "store/store_redis.h"

struct nodes_run {
	struct redis_pool *pool;
	struct overlay next;
	store_nodes_fn *done;	/* NULL: no caller waits */
	void *arg;
	int64_t deadline_us;	/* Redis's clock: executed later it writes nothing */
	/* In doubt, because its answer was lost. */
	struct link link;
	char where[288];	/* the server it was sent to */
	double since, give_up;	/* clock_now() */
};

static void
announce_nodes(struct redis_pool *p)
{
	struct store *store = &p->store->store;

	if (p->config == NULL)
		return;
	p->announced = true;
	p->disputed = false;
	if (store->on_nodes != NULL)
		store->on_nodes(store->arg, p->name, &p->now);
}

static void
take_overlay(struct redis_pool *p, const struct overlay *o)
{
	overlay_copy(&p->now, o);
	state_cache_put_nodes(p->store->cache, p->name, o);
	announce_nodes(p);
}

static void
pool_read_cache(struct redis_pool *p)
{
	const struct overlay *o = state_cache_nodes(p->store->cache, p->name);

	/* An older teald obeyed any number. */
	if (o != NULL && o->version <= REDIS_NUMBER_MAX)
		overlay_copy(&p->now, o);
}

void
store_redis_nodes_open(struct store_redis *s)
{
	for (size_t i = 0; i < s->n_pools; i++)
		pool_read_cache(s->pools[i]);
}

static void
redis_pool_free(struct redis_pool *p)
{
	overlay_free(&p->now);
	overlay_free(&p->seen);
	free(p->name);
	free(p->key);
	free(p);
}

static void
pool_retire(struct redis_pool *p)
{
	p->config = NULL;
	if (p->held == 0)
		redis_pool_free(p);
}

static struct redis_pool *
redis_pool_new(struct store_redis *s, const struct pool_config *config)
{
	struct redis_pool *p = must_alloc(sizeof(*p));

	p->store = s;
	p->name = must_strdup(config->name);
	p->key = must_printf("%s:nodes:%s", s->config->store.prefix, config->name);
	if (s->cache != NULL)
		pool_read_cache(p);
	return p;
}

void
store_redis_nodes_reconfigure(struct store_redis *s, const struct config *to)
{
	struct redis_pool **before = s->pools;
	size_t n = s->n_pools;

	s->n_pools = to->n_pools;
	s->pools = must_array(s->n_pools, sizeof(*s->pools));
	for (size_t i = 0; i < s->n_pools; i++) {
		for (size_t k = 0; k < n && s->pools[i] == NULL; k++)
			if (before[k] != NULL && strcmp(before[k]->name, to->pools[i].name) == 0) {
				s->pools[i] = before[k];
				before[k] = NULL;
			}
		if (s->pools[i] == NULL)
			s->pools[i] = redis_pool_new(s, &to->pools[i]);
		s->pools[i]->config = &to->pools[i];
	}
	for (size_t k = 0; k < n; k++)
		if (before[k] != NULL)
			pool_retire(before[k]);
	free(before);
}

void
store_redis_nodes_last_known(struct store_redis *s)
{
	for (size_t i = 0; i < s->n_pools; i++)
		if (!s->pools[i]->announced && s->pools[i]->now.version > 0)
			announce_nodes(s->pools[i]);
}

/* -- reading ------------------------------------------------------------------ */

enum seen { SEEN_BAD, SEEN_MISSING, SEEN_OVERLAY };

/* What HMGET gave for version, nodes, forced and terms. */
static enum seen
parse_overlay(const struct redis_pool *p, const redisReply *reply, struct overlay *out)
{
	const redisReply *version, *nodes, *forced, *terms;
	uint64_t number;

	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 4)
		return SEEN_BAD;
	version = reply->element[0];
	nodes = reply->element[1];
	forced = reply->element[2];
	terms = reply->element[3];
	if (version->type == REDIS_REPLY_NIL && nodes->type == REDIS_REPLY_NIL)
		return SEEN_MISSING;
	if (version->type != REDIS_REPLY_STRING || nodes->type != REDIS_REPLY_STRING ||
	    !str_to_u64((struct str){ version->str, (size_t)version->len }, UINT64_MAX, &number) ||
	    number == 0 || !redis_number_is_near(p->now.version, number) ||
	    !overlay_from_text((struct str){ nodes->str, (size_t)nodes->len }, out))
		return SEEN_BAD;
	out->version = number;
	out->forced = forced->type == REDIS_REPLY_STRING && strcmp(forced->str, "1") == 0;
	if (terms->type == REDIS_REPLY_STRING)
		overlay_terms_from_text((struct str){ terms->str, (size_t)terms->len }, out);
	return SEEN_OVERLAY;
}

static void forward(struct redis_pool *p);

/* A write of our own whose answer was lost, and here it is. */
static bool
overlay_in_doubt(const struct redis_pool *p, const struct overlay *o)
{
	LIST_EACH(it, &p->store->node_doubts) {
		const struct nodes_run *run = list_entry(it, struct nodes_run, link);

		if (run->pool == p && run->next.version == o->version && overlay_same_terms(&run->next, o))
			return true;
	}
	return false;
}

static void
add_ready(const struct redis_pool *p, const char *host, bool configured, struct overlay *to)
{
	if (overlay_wish(&p->now, configured, host) != NODE_READY ||
	    overlay_wish(to, configured, host) == NODE_READY)
		return;
	if (configured)
		overlay_unset(to, host);
	else
		(void)overlay_set(to, host, NODE_READY);
}

/* It would take the last usable backend of a color.  What it adds is obeyed, so that it can be once those
 * are well; what it takes away is not. */
static void
refuse_overlay(struct redis_pool *p, const struct overlay *o, const struct why *why)
{
	struct store *store = &p->store->store;
	struct overlay most = { 0 };

	snprintf(p->problem, sizeof(p->problem), "%.100s: version %llu is refused: %.150s", p->key,
		 (unsigned long long)o->version, why->text);
	if (p->disputed && p->complained == o->version)
		return;
	p->disputed = true;
	p->complained = o->version;
	LOG_ERROR("store.nodes_refused", LS("key", p->key), LU("epoch", o->version),
		  LS("message", why->text));
	overlay_copy(&most, o);
	for (size_t i = 0; i < p->config->n_hosts; i++)
		add_ready(p, p->config->hosts[i], true, &most);
	/* Of nodes that an API tells, what is new of them. */
	for (size_t i = most.n; p->config->kube != NULL && i-- > 0;)
		if (most.list[i].wish != NODE_READY && overlay_find(&p->now, most.list[i].host) == NULL)
			overlay_unset(&most, most.list[i].host);
	for (size_t i = 0; i < p->now.n; i++)
		if (!pool_has_host(p->config, p->now.list[i].host))
			add_ready(p, p->now.list[i].host, false, &most);
	p->announced = true;
	if (store->on_nodes != NULL)
		store->on_nodes(store->arg, p->name, &most);
	overlay_free(&most);
}

static void
judge_overlay(struct redis_pool *p, const struct overlay *o)
{
	bool differs = !overlay_same(o, &p->now), terms_differ = !overlay_same_terms(o, &p->now);
	struct store *store = &p->store->store;
	struct why why;

	if (p->config == NULL)
		return;
	if (o->version < p->now.version) {
		if (p->disputed)
			announce_nodes(p);
		forward(p);
		return;
	}
	if (differs && !o->forced && store->may_obey_nodes != NULL && !overlay_in_doubt(p, o) &&
	    !store->may_obey_nodes(store->arg, p->name, o, &why)) {
		refuse_overlay(p, o, &why);
		return;
	}
	if (o->version == p->now.version && differs)
		LOG_WARN("store.nodes_disagree", LS("key", p->key), LU("epoch", o->version),
			 LS("message", "other nodes at the same version: the store's word counts"));
	if (o->version > p->now.version || terms_differ || o->forced != p->now.forced || p->disputed)
		take_overlay(p, o);
}

void
store_redis_nodes_read(struct redis_pool *p, const redisReply *reply)
{
	struct overlay o = { 0 };

	enum seen seen = parse_overlay(p, reply, &o);

	p->seen_well = seen != SEEN_BAD;
	overlay_copy(&p->seen, &o);
	switch (seen) {
	case SEEN_BAD:
		if (p->problem[0] == '\0')
			LOG_ERROR(
				"store.bad_nodes", LS("key", p->key),
				LS("message",
				   "no nodes, or a version that no change could follow: not obeyed; DEL the "
				   "key, and what is served is written again"));
		snprintf(
			p->problem, sizeof(p->problem),
			"%.150s holds what cannot be the nodes of a pool, or a version that no change could follow; DEL it, "
			"and what is served is written again",
			p->key);
		break;
	case SEEN_MISSING:
		p->problem[0] = '\0';
		if (p->disputed)
			announce_nodes(p);
		if (p->now.version > 0)
			forward(p);
		break;
	case SEEN_OVERLAY:
		p->problem[0] = '\0';
		judge_overlay(p, &o);
		break;
	}
	overlay_free(&o);
	if (!p->announced && p->now.version > 0)
		announce_nodes(p);
}

/* -- writing -------------------------------------------------------------------- */

static void
nodes_send(struct nodes_run *run, const char *mode, redis_reply_fn *done)
{
	struct redis_pool *p = run->pool;
	struct store_redis *s = p->store;
	char deadline[24], version[24];
	struct buf text, terms;
	struct json j;

	run->deadline_us = store_redis_now(s) + (int64_t)(s->config->store.command_timeout * 1e6);
	snprintf(deadline, sizeof(deadline), "%lld", (long long)run->deadline_us);
	snprintf(version, sizeof(version), "%llu", (unsigned long long)run->next.version);
	buf_init(&text, NODE_TEXT_MAX);
	json_init(&j, &text);
	overlay_json(&j, NULL, &run->next);
	buf_init(&terms, NODE_TERMS_TEXT_MAX);
	json_init(&j, &terms);
	(void)overlay_terms_json(&j, NULL, &run->next, false);
	CHECK(!text.failed && !terms.failed);
	s->under_way++;
	redis_script_run(s->commands, &redis_script_nodes, s->config->store.command_timeout, 10,
			 (const struct str[]){ STR("1"), str_from(p->key), str_from(deadline), str_from(mode),
					       str_from(version), buf_str(&text), str_from(s->channel),
					       str_from(p->name), run->next.forced ? STR("1") : STR(""), buf_str(&terms) },
			 done, run);
	buf_free(&text);
	buf_free(&terms);
}

/* Looks at the script's answer; *o is what the store has now, if seen. */
static enum err
take_nodes_answer(const struct redis_pool *p, const redisReply *reply, enum seen *seen, struct overlay *o,
		  struct why *why)
{
	const char *word;

	*seen = SEEN_BAD;
	if (reply->type == REDIS_REPLY_ERROR)
		return why_set(why, E_STORE, "Redis refused to write: %.*s",
			       reply->len < 300 ? (int)reply->len : 300, reply->str);
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
	    reply->element[0]->type != REDIS_REPLY_STRING)
		return why_set(why, E_UNKNOWN, "Redis answered with something that is not ours");
	*seen = parse_overlay(p, reply->element[1], o);
	word = reply->element[0]->str;
	if (strcmp(word, "ok") == 0)
		return OK;
	if (strcmp(word, "conflict") == 0)
		return why_set(why, E_CONFLICT, "the nodes were changed at the same time");
	return why_set(why, E_STORE, "Redis came to it too late; nothing was written");
}

static void
nodes_run_free(struct nodes_run *run)
{
	struct redis_pool *p = run->pool;

	overlay_free(&run->next);
	free(run);
	if (--p->held == 0 && p->config == NULL)
		redis_pool_free(p);
}

static void
begin_nodes_doubt(struct nodes_run *run)
{
	struct store_redis *s = run->pool->store;

	str_copy(run->where, sizeof(run->where), str_from(redis_where(s->commands)));
	run->since = clock_now();
	run->give_up = run->since + DOUBT_SECONDS;
	list_append(&s->node_doubts, &run->link);
	store_redis_watch_doubts(s);
}

/* What a reading says of a write in doubt; false: nothing yet.  Of a flip's the
 * same is asked in store_redis_doubt.c. */
static bool
settle_nodes_doubt(const struct store_redis *s, const struct nodes_run *run, enum err *e, struct why *why)
{
	const struct redis_pool *p = run->pool;
	bool read = s->read_at > run->since && p->seen_well;

	if (read && p->seen.version == run->next.version) {
		/* The pool is as asked for, even if another teald wrote it. */
		*e = overlay_same_terms(&p->seen, &run->next) ?
			     OK :
			     why_set(why, E_CONFLICT, "the nodes were changed at the same time");
		return true;
	}
	if (read && p->seen.version + 1 == run->next.version && s->time_us > run->deadline_us &&
	    strcmp(run->where, redis_where(s->commands)) == 0) {
		*e = why_set(why, E_STORE, "Redis did not answer in time; nothing was written");
		return true;
	}
	if (clock_now() >= run->give_up) {
		*e = why_set(why, E_UNKNOWN,
			     "Redis did not say whether it wrote; node list tells, and repeating is safe");
		return true;
	}
	return false;
}

void
store_redis_nodes_settle(struct store_redis *s)
{
	LIST_EACH(it, &s->node_doubts) {
		struct nodes_run *run = list_entry(it, struct nodes_run, link);
		struct why why = { "" };
		enum err e;

		if (!settle_nodes_doubt(s, run, &e, &why))
			continue;
		list_remove(it);
		run->done(run->arg, e, e == OK ? NULL : &why);
		nodes_run_free(run);
	}
}

void
store_redis_nodes_close(struct store_redis *s)
{
	struct why why;

	LIST_EACH(it, &s->node_doubts) {
		struct nodes_run *run = list_entry(it, struct nodes_run, link);

		list_remove(it);
		why_set(&why, E_UNKNOWN, "teald stopped before Redis said whether it wrote");
		run->done(run->arg, E_UNKNOWN, &why);
		nodes_run_free(run);
	}
	for (size_t i = 0; i < s->n_pools; i++)
		pool_retire(s->pools[i]);
	free(s->pools);
	s->pools = NULL;
	s->n_pools = 0;
}

static void
nodes_on_written(void *arg, enum err e, const redisReply *reply, const struct why *sent)
{
	struct nodes_run *run = arg;
	struct redis_pool *p = run->pool;
	struct overlay o = { 0 };
	enum seen seen = SEEN_BAD;
	struct why why = { "" };

	p->store->under_way--;
	/* There are no more readings while teald ends. */
	if (e == E_UNKNOWN && p->store->commands != NULL) {
		begin_nodes_doubt(run);
		return;
	}
	if (e == OK)
		e = take_nodes_answer(p, reply, &seen, &o, &why);
	else
		why = *sent;
	if (e == OK && run->next.version > p->now.version)
		take_overlay(p, &run->next);
	else if (e == E_CONFLICT && seen == SEEN_OVERLAY) {
		overlay_copy(&p->seen, &o);
		judge_overlay(p, &o);
	}
	overlay_free(&o);
	run->done(run->arg, e, e == OK ? NULL : &why);
	nodes_run_free(run);
}

static void
nodes_on_forward(void *arg, enum err e, const redisReply *reply, const struct why *sent)
{
	struct nodes_run *run = arg;
	struct redis_pool *p = run->pool;
	struct overlay o = { 0 };
	enum seen seen;
	struct why why = { "" };

	p->store->under_way--;
	p->writing = false;
	if (e == OK)
		e = take_nodes_answer(p, reply, &seen, &o, &why);
	else
		why = *sent;
	if (e == OK)
		LOG_INFO("store.nodes_written_forward", LS("key", p->key), LU("epoch", run->next.version));
	else if (e != E_CONFLICT && p->problem[0] == '\0')
		snprintf(p->problem, sizeof(p->problem), "%.100s: cannot be written: %.120s", p->key,
			 why.text);
	overlay_free(&o);
	nodes_run_free(run);
}

static struct nodes_run *
nodes_run_new(struct redis_pool *p, const struct overlay *next)
{
	struct nodes_run *run = must_alloc(sizeof(*run));

	run->pool = p;
	p->held++;
	overlay_copy(&run->next, next);
	return run;
}

/* The store knows less than we do. */
static void
forward(struct redis_pool *p)
{
	if (p->config == NULL || p->writing || p->store->time_us == 0 || !store_redis_is_up(p->store))
		return;
	p->writing = true;
	nodes_send(nodes_run_new(p, &p->now), "forward", nodes_on_forward);
}

const struct overlay *
store_redis_disputed_nodes(const struct store *store, const char *pool)
{
	const struct store_redis *s = store_redis_of(store);

	for (size_t i = 0; i < s->n_pools; i++)
		if (strcmp(s->pools[i]->name, pool) == 0)
			return s->pools[i]->disputed ? &s->pools[i]->seen : NULL;
	return NULL;
}

void
store_redis_write_nodes(struct store *store, const char *pool, const struct overlay *next,
			store_nodes_fn *done, void *arg)
{
	struct store_redis *s = store_redis_of(store);
	struct redis_pool *p = NULL;
	struct nodes_run *run;
	struct why why;

	for (size_t i = 0; i < s->n_pools; i++)
		if (strcmp(s->pools[i]->name, pool) == 0)
			p = s->pools[i];
	CHECK(p != NULL);
	if (!store_redis_is_up(s) || s->time_us == 0) {
		why_set(&why, E_STORE, "%s; nothing was written",
			s->down_why[0] != '\0' ? s->down_why : "Redis has not been read yet");
		done(arg, E_STORE, &why);
		return;
	}
	if (!p->seen_well) {
		why_set(&why, E_STORE, "%s; nothing was written", p->problem);
		done(arg, E_STORE, &why);
		return;
	}
	if (next->version > REDIS_NUMBER_MAX) {
		why_set(&why, E_STORE,
			"version %llu is the last one there is; stop every teald, remove its state and "
			"DEL %s to begin again at 1; nothing was written",
			(unsigned long long)REDIS_NUMBER_MAX, p->key);
		done(arg, E_STORE, &why);
		return;
	}
	run = nodes_run_new(p, next);
	run->done = done;
	run->arg = arg;
	nodes_send(run, "cas", nodes_on_written);
}
