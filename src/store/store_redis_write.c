/* store_redis_write.c - changing the truth in Redis, and never guessing how it
 * went.  Thread: main. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/redis_number.h"
#include "store/store_redis.h"

#define ENTRY_MAX (64 * 1024)
/* Lines of the stream looked through for one service's history. */
#define HISTORY_SCAN "2000"

struct write_run {
	struct redis_service *service;
	enum store_meaning means;
	struct record next;
	char token[CLAIM_HASH];	/* "": none is presented */
	uint64_t expect_epoch;
	int64_t deadline_us;
	store_done_fn *done;	/* NULL: no caller waits */
	void *arg;
};

static void
write_run_free(struct write_run *run)
{
	store_redis_unhold(run->service);
	free(run);
}

/* -- sending ------------------------------------------------------------------------ */

static void
send_write(struct write_run *run, const char *mode, struct str entry, redis_reply_fn *done)
{
	struct store_redis *s = run->service->store;
	struct redis_record_text t;
	char deadline[24], expect[24];
	struct str argv[22];
	size_t n = 0;

	redis_record_format(&run->next, &t);
	run->deadline_us = store_redis_now(s) + (int64_t)(s->config->store.command_timeout * 1e6);
	snprintf(deadline, sizeof(deadline), "%lld", (long long)run->deadline_us);
	snprintf(expect, sizeof(expect), "%llu", (unsigned long long)run->expect_epoch);
	argv[n++] = STR("2");
	argv[n++] = str_from(run->service->key);
	argv[n++] = str_from(s->events_key);
	argv[n++] = str_from(deadline);
	argv[n++] = str_from(mode);
	argv[n++] = str_from(expect);
	argv[n++] = str_from(t.color);
	argv[n++] = str_from(t.epoch);
	argv[n++] = str_from(t.previous);
	argv[n++] = str_from(t.change);
	argv[n++] = str_from(t.by);
	argv[n++] = str_from(t.at);
	argv[n++] = str_from(t.reason);
	argv[n++] = str_from(t.locked);
	argv[n++] = str_from(t.forced);
	argv[n++] = str_from(s->channel);
	argv[n++] = str_from(run->service->name);
	argv[n++] = entry;
	argv[n++] = STR(REDIS_EVENTS);
	/* Another color is for who knows the service as it is, a lock for who has seen the lock. */
	argv[n++] = run->means == STORE_LOCK ?
			    str_from(run->service->locked != NULL ? run->service->locked : "") :
		    run->service->record.lock.on ? STR("1") :
						   STR("");
	argv[n++] = str_from(t.claimed);
	argv[n++] = str_from(run->token);
	CHECK(n == ARRAY_LEN(argv));
	s->under_way++;
	redis_script_run(s->commands, &redis_script_write, s->config->store.command_timeout, n, argv, done,
			 run);
}

/* The script's answer: its word, and the record as it is now. */
static enum err
take_write_answer(struct redis_service *v, const redisReply *reply, struct record *now, bool *exists,
		  struct why *why)
{
	struct why ignored;
	const char *word;

	*exists = false;
	if (reply->type == REDIS_REPLY_ERROR)
		return why_set(why, E_STORE, "Redis refused to write: %.*s",
			       reply->len < 300 ? (int)reply->len : 300, reply->str);
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
	    reply->element[0]->type != REDIS_REPLY_STRING)
		return why_set(why, E_UNKNOWN, "Redis answered with something that is not ours");
	word = reply->element[0]->str;
	if (store_redis_parse(v, reply->element[1], now, exists, &ignored) != OK)
		*exists = false;
	if (strcmp(word, "ok") == 0)
		return OK;
	if (strcmp(word, "conflict") == 0)
		return why_set(why, E_CONFLICT, "the store has another epoch");
	return why_set(why, E_STORE, "Redis came to it too late; nothing was written");
}

/* -- doubts -------------------------------------------------------------------------- */

static void
doubt_on_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
	(void)loop;
	(void)revents;
	store_redis_settle_doubts(container_of(t, struct store_redis, doubt_timer));
}

void
store_redis_watch_doubts(struct store_redis *s)
{
	if (ev_is_active(&s->doubt_timer))
		return;
	ev_timer_init(&s->doubt_timer, doubt_on_timer, DOUBT_SECONDS / 4, DOUBT_SECONDS / 4);
	ev_timer_start(s->loop, &s->doubt_timer);
}

static void
begin_write_doubt(struct write_run *run)
{
	struct store_redis *s = run->service->store;
	struct doubt *d = must_alloc(sizeof(*d));

	run->service->held++;
	d->service = run->service;
	d->means = run->means;
	d->next = run->next;
	d->expect_epoch = run->expect_epoch;
	d->deadline_us = run->deadline_us;
	str_copy(d->where, sizeof(d->where), str_from(redis_where(s->commands)));
	d->since = clock_now();
	d->give_up = d->since + DOUBT_SECONDS;
	d->done = run->done;
	d->arg = run->arg;
	list_append(&s->doubts, &d->link);
	store_redis_watch_doubts(s);
}

bool
store_redis_is_ours(enum store_meaning means, const struct record *is, const struct record *wrote)
{
	if (is->epoch != wrote->epoch)
		return false;
	/* Each may be followed by the other at the same epoch. */
	if (means == STORE_CLAIM)
		return is->claim.on == wrote->claim.on &&
		       (!is->claim.on || (is->claim.at_us == wrote->claim.at_us &&
					  is->claim.until_us == wrote->claim.until_us &&
					  strcmp(is->claim.token, wrote->claim.token) == 0));
	if (means == STORE_LOCK)
		return is->lock.on == wrote->lock.on &&
		       (!is->lock.on ||
			(is->lock.at_us == wrote->lock.at_us && strcmp(is->lock.by, wrote->lock.by) == 0));
	return is->color == wrote->color && is->at_us == wrote->at_us && strcmp(is->by, wrote->by) == 0;
}

/* What a reading says of a write in doubt; false: nothing yet. */
static bool
settle_doubt(const struct store_redis *s, const struct doubt *d, enum err *e, struct why *why)
{
	const struct record *is = &d->service->seen;
	bool read = s->read_at > d->since && d->service->seen_what == SEEN_RECORD;

	if (read && store_redis_is_ours(d->means, is, &d->next)) {
		*e = OK;
		return true;
	}
	/* Another write took the place ours needed.  Two or more epochs on, ours
	 * may have been the first of them; a lock may have been there and be gone. */
	if (read && d->means == STORE_COLOR && is->epoch == d->expect_epoch + 1) {
		*e = why_set(why, E_CONFLICT, "it was changed by another command");
		return true;
	}
	/* By the clock of the server that was asked it can no longer be executed,
	 * and it was not.  Another server may merely not have heard of it. */
	if (read && is->epoch == d->expect_epoch && s->time_us > d->deadline_us &&
	    strcmp(d->where, redis_where(s->commands)) == 0) {
		*e = why_set(why, E_STORE, "Redis did not answer in time; nothing was written");
		return true;
	}
	if (clock_now() >= d->give_up) {
		*e = why_set(why, E_UNKNOWN,
			     "Redis did not say whether it wrote; see status when it is back, or repeat "
			     "with --expect=COLOR@EPOCH");
		return true;
	}
	return false;
}

void
store_redis_settle_doubts(struct store_redis *s)
{
	LIST_EACH(it, &s->doubts) {
		struct doubt *d = list_entry(it, struct doubt, link);
		struct why why = { "" };
		enum err e;

		if (!settle_doubt(s, d, &e, &why))
			continue;
		list_remove(it);
		d->done(d->arg, e, &d->service->record, &why);
		store_redis_unhold(d->service);
		free(d);
	}
	store_redis_nodes_settle(s);
	if (list_empty(&s->doubts) && list_empty(&s->node_doubts))
		ev_timer_stop(s->loop, &s->doubt_timer);
}

/* -- flips and locks -------------------------------------------------------------------- */

static void
write_on_reply(void *arg, enum err e, const redisReply *reply, const struct why *sent)
{
	struct write_run *run = arg;
	struct redis_service *v = run->service;
	struct record now;
	bool exists = false;
	struct why why = { "" };

	v->store->under_way--;
	if (e == E_UNKNOWN) {
		begin_write_doubt(run);
		write_run_free(run);
		return;
	}
	if (e == OK)
		e = take_write_answer(v, reply, &now, &exists, &why);
	else
		why = *sent;
	if (e == OK) {
		v->disputed = false;
		v->problem[0] = '\0';
		/* What a write did not mean is as the store has it. */
		if (!exists)
			store_redis_tell(v, &run->next);
		else if (run->means != STORE_COLOR)
			store_redis_judge(v, &now);
		else
			store_redis_tell(v, &now);
		v->missing_since = 0;
	} else if (e == E_CONFLICT && exists) {
		store_redis_judge(v, &now);
	}
	run->done(run->arg, e, &v->record, &why);
	write_run_free(run);
}

static struct redis_service *
find_redis_service(struct store_redis *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->services[i]->name, name) == 0)
			return s->services[i];
	return NULL;
}

static const char *
write_mode(enum store_meaning means)
{
	switch (means) {
	case STORE_COLOR:
		return "cas";
	case STORE_LOCK:
		return "lock";
	case STORE_CLAIM:
		return "claim";
	}
	CHECK(!"a write that means nothing");
	return NULL;
}

void
store_redis_write(struct store *store, const struct store_write *w, store_done_fn *done, void *arg)
{
	struct store_redis *s = store_redis_of(store);
	struct redis_service *v = find_redis_service(s, w->service);
	struct audit_entry line;
	struct write_run *run;
	struct buf entry;
	struct why why;

	CHECK(v != NULL);
	if (!store_redis_is_up(s) || s->time_us == 0) {
		why_set(&why, E_STORE, "%s; nothing was written",
			s->down_why[0] != '\0' ? s->down_why : "Redis has not been read yet");
		done(arg, E_STORE, &v->record, &why);
		return;
	}
	/* A lock or a claim keeps the epoch, so it cannot settle what is disputed. */
	if (v->seen_what == SEEN_NOTHING || (v->disputed && w->means != STORE_COLOR)) {
		why_set(&why, E_STORE, "%s; nothing was written", v->problem);
		done(arg, E_STORE, &v->record, &why);
		return;
	}
	run = must_alloc(sizeof(*run));
	v->held++;
	*run = (struct write_run){ .service = v,
				   .means = w->means,
				   .next = w->next,
				   .expect_epoch = w->expect_epoch,
				   .done = done,
				   .arg = arg };
	if (w->token != NULL)
		str_copy(run->token, sizeof(run->token), str_from(w->token));
	line = w->entry;
	if (v->disputed && w->expect_epoch == v->record.epoch && v->seen.epoch >= v->record.epoch) {
		uint64_t step = v->seen.epoch - v->record.epoch;

		run->expect_epoch += step;
		run->next.epoch += step;
		if (w->token != NULL && run->next.claim.on)
			run->next.claim.epoch += step;
		line.epoch += step;
	}
	if (run->next.epoch > REDIS_NUMBER_MAX) {
		why_set(&why, E_STORE,
			"epoch %llu is the last one there is; stop every teald, remove its state and "
			"DEL %s to begin again at 1; nothing was written",
			(unsigned long long)REDIS_NUMBER_MAX, v->key);
		free(run);
		done(arg, E_STORE, &v->record, &why);
		return;
	}
	buf_init(&entry, ENTRY_MAX);
	if (!w->unnoted)
		redis_entry_format(&line, &entry);
	send_write(run, write_mode(w->means), buf_str(&entry), write_on_reply);
	buf_free(&entry);
}

/* -- bringing forward ---------------------------------------------------------------------- */

static void
forward_on_reply(void *arg, enum err e, const redisReply *reply, const struct why *sent)
{
	struct write_run *run = arg;
	struct redis_service *v = run->service;
	struct record now;
	bool exists = false;
	struct why why = { "" };

	v->store->under_way--;
	v->writing = false;
	if (e == OK)
		e = take_write_answer(v, reply, &now, &exists, &why);
	else
		why = *sent;
	if (e == OK) {
		LOG_INFO("store.written_forward", LS("service", v->name), LR(NULL, str_from(v->labels_json)),
			 LU("epoch", run->next.epoch), LS("color", color_word(run->next.color)));
		if (!v->known)
			store_redis_tell(v, &run->next);
	} else if (e == E_CONFLICT && exists) {
		store_redis_judge(v, &now);
	} else if (v->problem[0] == '\0') {
		snprintf(v->problem, sizeof(v->problem), "%s: cannot be written: %.180s", v->name, why.text);
	}
	/* Those that wait for this service to become known look at the next reading,
	 * which comes at once. */
	store_redis_read(v->store);
	write_run_free(run);
}

void
store_redis_forward(struct redis_service *v, const struct record *r, bool initial)
{
	struct write_run *run;

	if (v->gone || v->writing || v->store->time_us == 0 || !store_redis_is_up(v->store))
		return;
	v->writing = true;
	v->held++;
	run = must_alloc(sizeof(*run));
	*run = (struct write_run){ .service = v, .next = *r };
	send_write(run, initial ? "cas" : "forward", STR(""), forward_on_reply);
}

/* -- history -------------------------------------------------------------------------------- */

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
	buf_init(&entry, ENTRY_MAX);
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
