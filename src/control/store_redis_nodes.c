/* store_redis_nodes.c - what was said about the nodes of the pools, in Redis:
 * a hash for each pool with the fields version and nodes (control/node_text.h).
 * As with colors nothing that is older, empty or rubbish changes anything
 * here, and a store that has lost it is told again.  Thread: main. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "control/node_text.h"
#include "control/store_redis.h"

struct nodes_run {
	struct redis_pool *pool;
	struct overlay next;
	store_nodes_fn *done;	/* NULL: nobody asked */
	void *arg;
};

static void
tell(struct redis_pool *p)
{
	struct store *store = &p->store->store;

	p->told = true;
	if (store->on_nodes != NULL)
		store->on_nodes(store->arg, p->config->name, &p->now);
}

static void
take(struct redis_pool *p, const struct overlay *o)
{
	overlay_copy(&p->now, o);
	state_cache_put_nodes(p->store->cache, p->config->name, o);
	tell(p);
}

void
store_redis_nodes_open(struct store_redis *s)
{
	for (size_t i = 0; i < s->n_pools; i++) {
		const struct overlay *o = state_cache_nodes(s->cache, s->pools[i].config->name);

		if (o != NULL)
			overlay_copy(&s->pools[i].now, o);
	}
}

void
store_redis_nodes_last_known(struct store_redis *s)
{
	for (size_t i = 0; i < s->n_pools; i++)
		if (!s->pools[i].told && s->pools[i].now.version > 0)
			tell(&s->pools[i]);
}

/* -- reading ------------------------------------------------------------------ */

enum seen { SEEN_BAD, SEEN_MISSING, SEEN_OVERLAY };

/* What HMGET gave for version and nodes. */
static enum seen
parse(const redisReply *reply, struct overlay *out)
{
	const redisReply *version, *nodes;
	uint64_t number;

	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2)
		return SEEN_BAD;
	version = reply->element[0];
	nodes = reply->element[1];
	if (version->type == REDIS_REPLY_NIL && nodes->type == REDIS_REPLY_NIL)
		return SEEN_MISSING;
	if (version->type != REDIS_REPLY_STRING || nodes->type != REDIS_REPLY_STRING ||
	    !str_to_u64((struct str){ version->str, (size_t)version->len }, INT64_MAX / 2, &number) ||
	    number == 0 || !overlay_from_text((struct str){ nodes->str, (size_t)nodes->len }, out))
		return SEEN_BAD;
	out->version = number;
	return SEEN_OVERLAY;
}

static void forward(struct redis_pool *p);

static void
judge(struct redis_pool *p, const struct overlay *o)
{
	bool differs = !overlay_same(o, &p->now);

	if (o->version < p->now.version) {
		forward(p);
		return;
	}
	if (o->version == p->now.version && differs)
		LOG_WARN("store.nodes_disagree", LS("key", p->key), LU("epoch", o->version),
			 LS("message", "other nodes at the same version: the store's word counts"));
	if (o->version > p->now.version || differs)
		take(p, o);
}

void
store_redis_nodes_read(struct redis_pool *p, const redisReply *reply)
{
	struct overlay o = { 0 };

	switch (parse(reply, &o)) {
	case SEEN_BAD:
		if (p->problem[0] == '\0')
			LOG_ERROR("store.bad_nodes", LS("key", p->key));
		snprintf(p->problem, sizeof(p->problem), "%.200s holds what cannot be the nodes of a pool",
			 p->key);
		break;
	case SEEN_MISSING:
		p->problem[0] = '\0';
		if (p->now.version > 0)
			forward(p);
		break;
	case SEEN_OVERLAY:
		p->problem[0] = '\0';
		judge(p, &o);
		break;
	}
	overlay_free(&o);
	if (!p->told && p->now.version > 0)
		tell(p);
}

/* -- writing -------------------------------------------------------------------- */

static void
nodes_send(struct nodes_run *run, const char *mode, redis_reply_fn *done)
{
	struct redis_pool *p = run->pool;
	struct store_redis *s = p->store;
	char deadline[24], version[24];
	struct buf text;
	struct json j;

	snprintf(deadline, sizeof(deadline), "%lld",
		 (long long)(store_redis_now(s) + (int64_t)(s->config->store.command_timeout * 1e6)));
	snprintf(version, sizeof(version), "%llu", (unsigned long long)run->next.version);
	buf_init(&text, NODE_TEXT_MAX);
	json_init(&j, &text);
	overlay_json(&j, NULL, &run->next);
	CHECK(!text.failed);
	s->under_way++;
	redis_script_run(s->commands, &redis_script_nodes, s->config->store.command_timeout, 8,
			 (const struct str[]){ STR("1"), str_from(p->key), str_from(deadline), str_from(mode),
					       str_from(version), buf_str(&text), str_from(s->channel),
					       str_from(p->config->name) },
			 done, run);
	buf_free(&text);
}

/* Looks at the script's answer; *o is what the store has now, if seen. */
static enum err
take_answer(const redisReply *reply, enum seen *seen, struct overlay *o, struct why *why)
{
	const char *word;

	*seen = SEEN_BAD;
	if (reply->type == REDIS_REPLY_ERROR)
		return why_set(why, E_STORE, "Redis refused to write: %.*s",
			       reply->len < 300 ? (int)reply->len : 300, reply->str);
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
	    reply->element[0]->type != REDIS_REPLY_STRING)
		return why_set(why, E_UNKNOWN, "Redis answered with something that is not ours");
	*seen = parse(reply->element[1], o);
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
	overlay_free(&run->next);
	free(run);
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
	if (e == OK)
		e = take_answer(reply, &seen, &o, &why);
	else if (e == E_UNKNOWN)
		why_set(&why, e,
			"Redis did not say whether it wrote; node list tells, and repeating is safe");
	else
		why = *sent;
	if (e == OK && run->next.version > p->now.version)
		take(p, &run->next);
	else if (e == E_CONFLICT && seen == SEEN_OVERLAY)
		judge(p, &o);
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
		e = take_answer(reply, &seen, &o, &why);
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
	overlay_copy(&run->next, next);
	return run;
}

/* The store knows less than we do. */
static void
forward(struct redis_pool *p)
{
	if (p->writing || p->store->time_us == 0 || !store_redis_is_up(p->store))
		return;
	p->writing = true;
	nodes_send(nodes_run_new(p, &p->now), "forward", nodes_on_forward);
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
		if (strcmp(s->pools[i].config->name, pool) == 0)
			p = &s->pools[i];
	CHECK(p != NULL);
	if (!store_redis_is_up(s) || s->time_us == 0) {
		why_set(&why, E_STORE, "%s; nothing was written",
			s->down_why[0] != '\0' ? s->down_why : "Redis has not been read yet");
		done(arg, E_STORE, &why);
		return;
	}
	run = nodes_run_new(p, next);
	run->done = done;
	run->arg = arg;
	nodes_send(run, "cas", nodes_on_written);
}
