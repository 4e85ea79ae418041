/* store_redis_watch.c - who watches the nodes of a pool, and what it has written, in Redis: a hash PREFIX:watch:POOL:DIGEST, read
 * and changed by one script.  Thread: main. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "store/store_redis.h"

/* A hash that no teald has written for so long goes: its pool, or what decided about it, is another one now. */
#define FORGET_MS "604800000"
/* What the script answers. */
#define ANSWERS 10

struct watch_run {
	struct store_redis *store;
	store_watch_fn *done;
	void *arg;
};

static const char *
answer_text(const redisReply *reply, size_t i)
{
	return reply->element[i]->type == REDIS_REPLY_STRING ? reply->element[i]->str : "";
}

static uint64_t
answer_number(const redisReply *reply, size_t i)
{
	uint64_t n;

	return str_to_u64(str_from(answer_text(reply, i)), (uint64_t)INT64_MAX, &n) ? n : 0;
}

static enum err
take_watch_answer(const redisReply *reply, struct watch_told *told, struct why *why)
{
	const char *age;

	if (reply->type == REDIS_REPLY_ERROR)
		return why_set(why, E_STORE, "Redis refused: %.*s", reply->len < 300 ? (int)reply->len : 300,
			       reply->str);
	if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 1)
		return why_set(why, E_STORE, "Redis came to it too late; nothing was changed");
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != ANSWERS)
		return why_set(why, E_STORE, "Redis answered with something that is not ours");
	age = answer_text(reply, 7);
	*told = (struct watch_told){
		.ours = answer_text(reply, 0)[0] == '1',
		.held = answer_text(reply, 1)[0] == '1',
		.written = answer_text(reply, 2)[0] == '1',
		.token = answer_number(reply, 3),
		.holder = answer_text(reply, 4),
		.since_us = (int64_t)answer_number(reply, 5),
		.stamp = answer_text(reply, 6),
		.api_age = age[0] != '\0' ? (double)answer_number(reply, 7) / 1e6 : -1,
		.problem = answer_text(reply, 8),
	};
	if (reply->element[9]->type == REDIS_REPLY_STRING)
		told->set = (struct str){ reply->element[9]->str, (size_t)reply->element[9]->len };
	return OK;
}

static void
watch_on_answer(void *arg, enum err e, const redisReply *reply, const struct why *sent)
{
	struct watch_run *run = arg;
	struct watch_told told = { 0 };
	struct why why = { "" };

	run->store->under_way--;
	if (e == OK)
		e = take_watch_answer(reply, &told, &why);
	else
		why = *sent;
	run->done(run->arg, e, &told, &why);
	free(run);
}

void
store_redis_watch(struct store *store, const struct watch_ask *ask, store_watch_fn *done, void *arg)
{
	static const char *const wishes[] = {
		[WATCH_LOOK] = "look", [WATCH_HOLD] = "hold", [WATCH_LEAVE] = "leave"
	};
	struct store_redis *s = store_redis_of(store);
	char deadline[24], token[24], life[24], age[24] = "", *key;
	int64_t now = store_redis_now(s);
	struct watch_run *run;
	struct why why;

	if (!store_redis_is_up(s) || now == 0) {
		why_set(&why, E_STORE, "%s",
			s->down_why[0] != '\0' ? s->down_why : "Redis has not been read yet");
		done(arg, E_STORE, NULL, &why);
		return;
	}
	run = must_alloc(sizeof(*run));
	*run = (struct watch_run){ .store = s, .done = done, .arg = arg };
	key = must_printf("%s:watch:%s", s->config->store.prefix, ask->key);
	snprintf(deadline, sizeof(deadline), "%lld",
		 (long long)now + (long long)(s->config->store.command_timeout * 1e6));
	snprintf(token, sizeof(token), "%llu", (unsigned long long)ask->token);
	snprintf(life, sizeof(life), "%.0f", ask->life * 1e6);
	if (ask->api_age >= 0)
		snprintf(age, sizeof(age), "%.0f", ask->api_age * 1e6);
	s->under_way++;
	redis_script_run(s->commands, &redis_script_watch, s->config->store.command_timeout, 14,
			 (const struct str[]){ STR("1"), str_from(key), str_from(deadline),
					       str_from(wishes[ask->wish]), str_from(s->self.id),
					       str_from(token), str_from(life), str_from(ask->stamp),
					       ask->set.n > 0 ? ask->set : STR(""), str_from(age), str_from(ask->problem),
					       str_from(s->self.host), STR(FORGET_MS), str_from(s->channel) },
			 watch_on_answer, run);
	free(key);
}
