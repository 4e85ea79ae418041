/* store_redis_history.c - the stream of events: a line more, and one service's lines of it.  Thread: main. */
#include <stdlib.h>

#include "store/store_redis.h"

/* Lines of the stream looked through for one service's history. */
#define HISTORY_SCAN "2000"

static void
note_on_reply(void *arg, enum err e, const redisReply *reply, const struct why *why)
{
	struct store_redis *s = arg;

	(void)e;
	(void)reply;
	(void)why;
	s->under_way--;
}

void
store_redis_note(struct store *store, const struct audit_entry *a)
{
	struct store_redis *s = store_redis_of(store);
	struct buf entry;

	if (!store_redis_is_up(s))
		return;
	buf_init(&entry, REDIS_ENTRY_MAX);
	redis_entry_format(a, &entry);
	s->under_way++;
	redis_command(s->commands, s->config->store.command_timeout, 10,
		      (const struct str[]){ STR("XADD"), str_from(s->events_key), STR("MAXLEN"), STR("~"),
					    STR(REDIS_EVENTS), STR("*"), STR("service"), str_from(a->service),
					    STR("entry"), buf_str(&entry) },
		      note_on_reply, s);
	buf_free(&entry);
}

struct history_run {
	struct store_redis *store;
	char service[RECORD_NAME];
	unsigned last;
	store_history_fn *done;
	void *arg;
};

/* An entry of the stream is [id, [key, value, key, value, …]]. */
static bool
read_stream_entry(const redisReply *line, const char *service, struct audit_entry *out)
{
	const redisReply *fields =
		line->type == REDIS_REPLY_ARRAY && line->elements == 2 ? line->element[1] : NULL;

	if (fields == NULL || fields->type != REDIS_REPLY_ARRAY)
		return false;
	for (size_t i = 0; i + 1 < fields->elements; i += 2) {
		const redisReply *key = fields->element[i], *value = fields->element[i + 1];

		if (key->type == REDIS_REPLY_STRING && strcmp(key->str, "entry") == 0 &&
		    value->type == REDIS_REPLY_STRING)
			return redis_entry_parse((struct str){ value->str, (size_t)value->len }, out) &&
			       strcmp(out->service, service) == 0;
	}
	return false;
}

static void
history_on_reply(void *arg, enum err e, const redisReply *reply, const struct why *sent)
{
	struct history_run *run = arg;
	struct audit_entry *entries = NULL;
	size_t n = 0, room = 0;
	struct why why = *sent;

	run->store->under_way--;
	if (e == OK && reply->type != REDIS_REPLY_ARRAY)
		e = why_set(&why, E_STORE, "Redis would not give the history: %.*s",
			    reply->type == REDIS_REPLY_ERROR ? (int)reply->len : 0, reply->str);
	if (e == E_UNKNOWN)
		e = E_STORE;
	for (size_t i = 0; e == OK && i < reply->elements && n < run->last; i++) {
		if (n == room) {
			room = room > 0 ? 2 * room : 32;
			entries = must_grow(entries, room, sizeof(*entries));
		}
		n += read_stream_entry(reply->element[i], run->service, &entries[n]);
	}
	/* The stream gave the newest first. */
	for (size_t i = 0; i < n / 2; i++) {
		struct audit_entry swap = entries[i];

		entries[i] = entries[n - 1 - i];
		entries[n - 1 - i] = swap;
	}
	run->done(run->arg, e, entries, n, &why);
	free(entries);
	free(run);
}

void
store_redis_history(struct store *store, const char *service, unsigned last, store_history_fn *done,
		    void *arg)
{
	struct store_redis *s = store_redis_of(store);
	struct history_run *run = must_alloc(sizeof(*run));

	run->store = s;
	str_copy(run->service, sizeof(run->service), str_from(service));
	run->last = last;
	run->done = done;
	run->arg = arg;
	s->under_way++;
	redis_command(s->commands, s->config->store.command_timeout, 6,
		      (const struct str[]){ STR("XREVRANGE"), str_from(s->events_key), STR("+"), STR("-"),
					    STR("COUNT"), STR(HISTORY_SCAN) },
		      history_on_reply, run);
}
