/* store_redis_beat.c - tells the fleet that this teald lives, what it has
 * applied and what it sees.  Thread: main. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "store/store_redis.h"

#define BEAT_MAX (1024 * 1024)

static void
beat_on_reply(void *arg, enum err e, const redisReply *reply, const struct why *why)
{
	struct store_redis *s = arg;

	(void)why;
	s->under_way--;
	s->beating = false;
	if (e == OK && reply->type == REDIS_REPLY_ERROR && s->problem[0] == '\0') {
		snprintf(s->problem, sizeof(s->problem), "the heartbeat cannot be written: %.*s",
			 reply->len < 300 ? (int)reply->len : 300, reply->str);
		LOG_ERROR("store.no_heartbeat", LS("message", s->problem));
	} else if (e == OK && reply->type != REDIS_REPLY_ERROR) {
		s->problem[0] = '\0';
		s->beaten = true;
	}
	if (s->beat_again)
		store_redis_beat(s);
}

void
store_redis_beat(struct store_redis *s)
{
	struct str whole, split = STR("\"at_us\":0");
	struct buf text;
	char life[24];
	const char *at;

	s->beat_again = s->beating;
	if (s->beating || s->leaving || !store_redis_is_up(s))
		return;
	s->store.describe(s->store.arg, &s->self);
	s->self.at_us = 0;
	buf_init(&text, BEAT_MAX);
	fleet_format(&s->self, &text);
	whole = buf_str(&text);
	at = memmem(whole.p, whole.n, split.p, split.n);
	CHECK(at != NULL);
	/* Redis puts its own clock in place of the 0. */
	at += split.n - 1;
	snprintf(life, sizeof(life), "%.0f", store_redis_life(s) * 1000);
	s->beating = true;
	s->under_way++;
	redis_script_run(s->commands, &redis_script_beat, s->config->store.command_timeout, 7,
			 (const struct str[]){ STR("2"), str_from(s->beat_key), str_from(s->index_key),
					       { whole.p, (size_t)(at - whole.p) },
					       { at + 1, whole.n - (size_t)(at + 1 - whole.p) },
					       str_from(s->self.id), str_from(life) },
			 beat_on_reply, s);
	buf_free(&text);
}

/* A state_dir was copied, perhaps with the whole machine: the two teald would count
 * as one, and a flip would not wait for the other.  The one that notices takes
 * another id until its next start. */
void
store_redis_twin(struct store_redis *s, const struct fleet_member *twin)
{
	char id[TEAL_ID];

	if (!state_cache_random(id))
		return;
	LOG_ERROR("store.twin", LS("where", twin->host), LI("pid", twin->pid),
		  LS("message", "another teald has this identity, was state_dir copied?  Remove teal.id from one"));
	str_copy(s->self.id, sizeof(s->self.id), str_from(id));
	free(s->beat_key);
	s->beat_key = must_printf("%s:lb:%s", s->config->store.prefix, s->self.id);
	s->beaten = false;
	store_redis_beat(s);
}

static void
leave_on_reply(void *arg, enum err e, const redisReply *reply, const struct why *why)
{
	struct store_redis *s = arg;

	(void)e;
	(void)reply;
	(void)why;
	s->under_way--;
	s->left = true;
}

bool
store_redis_leave(struct store *store)
{
	struct store_redis *s = store_redis_of(store);

	char life[24];

	if (s->leaving || s->left)
		return s->left;
	s->leaving = true;
	if (!store_redis_is_up(s)) {
		s->left = true;
		return true;
	}
	snprintf(life, sizeof(life), "%.0f", store_redis_life(s) * 1000);
	s->under_way++;
	redis_script_run(s->commands, &redis_script_leave, s->config->store.command_timeout, 6,
			 (const struct str[]){ STR("3"), str_from(s->beat_key), str_from(s->index_key),
					       str_from(s->left_key), str_from(s->self.id), str_from(life) },
			 leave_on_reply, s);
	return s->left;
}
