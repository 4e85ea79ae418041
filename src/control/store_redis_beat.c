/* store_redis_beat.c - tells the fleet that this teald lives, what it has
 * applied and what it sees.  Thread: main. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "control/store_redis.h"

#define BEAT_MAX (1024 * 1024)
/* A member that vanished stays one for so long past max_age. */
#define LIFE_EXTRA 5.0

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
	if (s->beating || s->leaving || !redis_is_up(s->commands))
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
	snprintf(life, sizeof(life), "%.0f", (s->config->store.max_age + LIFE_EXTRA) * 1000);
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

static void
leave_index_on_reply(void *arg, enum err e, const redisReply *reply, const struct why *why)
{
	(void)e;
	(void)reply;
	(void)why;
	((struct store_redis *)arg)->under_way--;
}

bool
store_redis_leave(struct store *store)
{
	struct store_redis *s = store_redis_of(store);

	if (!s->leaving) {
		s->leaving = true;
		s->under_way += 2;
		redis_command(s->commands, s->config->store.command_timeout, 3,
			      (const struct str[]){ STR("ZREM"), str_from(s->index_key), str_from(s->self.id) },
			      leave_index_on_reply, s);
		redis_command(s->commands, s->config->store.command_timeout, 2,
			      (const struct str[]){ STR("DEL"), str_from(s->beat_key) }, leave_on_reply, s);
	}
	return s->left;
}
