/* store_redis_write.c - changing the truth in Redis, and never guessing how it
 * went.  Thread: main. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/redis_number.h"
#include "store/store_redis.h"

/* One service of a write. */
struct write_one {
	struct redis_service *service;
	enum store_meaning means;
	struct record next;
	char token[CLAIM_HASH];	/* "": none is presented */
	bool same;	/* it is only compared */
	uint64_t expect_epoch;
	store_done_fn *done;	/* NULL: no caller waits */
	void *arg;
};

struct write_run {
	struct store_redis *store;
	int64_t deadline_us;
	size_t n;
	struct write_one each[];
};

static struct write_run *
write_run_new(struct store_redis *s, size_t n)
{
	struct write_run *run = must_alloc(sizeof(*run) + n * sizeof(run->each[0]));

	run->store = s;
	run->n = n;
	return run;
}

static void
write_run_free(struct write_run *run)
{
	for (size_t i = 0; i < run->n; i++)
		store_redis_unhold(run->each[i].service);
	free(run);
}

/* -- sending ------------------------------------------------------------------------ */

/* What one service takes of the script's arguments, and the texts they point into. */
#define WRITE_ARGS 19

struct write_text {
	struct redis_record_text record;
	char expect[24];
};

static size_t
put_write_args(const struct write_one *w, struct str entry, struct write_text *t, struct str argv[WRITE_ARGS])
{
	const struct redis_record_text *r = &t->record;
	size_t n = 0;

	redis_record_format(&w->next, &t->record);
	snprintf(t->expect, sizeof(t->expect), "%llu", (unsigned long long)w->expect_epoch);
	argv[n++] = str_from(w->service->name);
	argv[n++] = str_from(t->expect);
	/* Another color is for who knows the service as it is, a lock for who has seen the lock. */
	argv[n++] = w->means == STORE_LOCK ? str_from(w->service->locked != NULL ? w->service->locked : "") :
		    w->service->record.lock.on ? STR("1") :
						 STR("");
	argv[n++] = str_from(w->token);
	argv[n++] = entry;
	argv[n++] = w->same ? STR("same") : STR("");
	argv[n++] = str_from(r->color);
	argv[n++] = str_from(r->epoch);
	argv[n++] = str_from(r->previous);
	argv[n++] = str_from(r->change);
	argv[n++] = str_from(r->by);
	argv[n++] = str_from(r->at);
	argv[n++] = str_from(r->reason);
	argv[n++] = str_from(r->locked);
	argv[n++] = str_from(r->forced);
	argv[n++] = str_from(r->claimed);
	argv[n++] = str_from(r->revision);
	argv[n++] = str_from(r->share);
	argv[n++] = str_from(r->held);
	CHECK(n == WRITE_ARGS);
	return n;
}

/* entries: of each, its line for the history, or "". */
static void
send_write(struct write_run *run, const char *mode, const struct str *entries, redis_reply_fn *done)
{
	struct store_redis *s = run->store;
	struct write_text *texts = must_array(run->n, sizeof(*texts));
	struct str *argv = must_array(6 + run->n * (1 + WRITE_ARGS), sizeof(*argv));
	char deadline[24], keys[24];
	size_t n = 0;

	run->deadline_us = store_redis_now(s) + (int64_t)(s->config->store.command_timeout * 1e6);
	snprintf(deadline, sizeof(deadline), "%lld", (long long)run->deadline_us);
	snprintf(keys, sizeof(keys), "%zu", 1 + run->n);
	argv[n++] = str_from(keys);
	argv[n++] = str_from(s->events_key);
	for (size_t i = 0; i < run->n; i++)
		argv[n++] = str_from(run->each[i].service->key);
	argv[n++] = str_from(deadline);
	argv[n++] = str_from(mode);
	argv[n++] = str_from(s->channel);
	argv[n++] = STR(REDIS_EVENTS);
	for (size_t i = 0; i < run->n; i++)
		n += put_write_args(&run->each[i], entries[i], &texts[i], argv + n);
	s->under_way++;
	redis_script_run(s->commands, &redis_script_write, s->config->store.command_timeout, n, argv, done,
			 run);
	free(argv);
	free(texts);
}

/* The script's answer: what it says of all, in its shape. */
static enum err
take_write_answer(const struct write_run *run, const redisReply *reply, struct why *why)
{
	const char *word;

	if (reply->type == REDIS_REPLY_ERROR)
		return why_set(why, E_STORE, "Redis refused to write: %.*s",
			       reply->len < 300 ? (int)reply->len : 300, reply->str);
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 ||
	    reply->element[0]->type != REDIS_REPLY_STRING || reply->element[1]->type != REDIS_REPLY_ARRAY ||
	    reply->element[1]->elements != run->n || reply->element[2]->type != REDIS_REPLY_ARRAY ||
	    reply->element[2]->elements != run->n)
		return why_set(why, E_UNKNOWN, "Redis answered with something that is not ours");
	word = reply->element[0]->str;
	if (strcmp(word, "ok") == 0)
		return OK;
	if (strcmp(word, "conflict") == 0)
		return why_set(why, E_CONFLICT, "the store has another epoch");
	return why_set(why, E_STORE, "Redis came to it too late; nothing was written");
}

/* The record of the i-th as the answer has it; false: it has none. */
static bool
take_written(const struct write_run *run, const redisReply *reply, size_t i, struct record *now)
{
	struct redis_service *v = run->each[i].service;
	struct why ignored;
	bool exists = false;

	return store_redis_parse(v, reply->element[1]->element[i], now, &exists, &ignored) == OK && exists;
}

/* Of several that met a conflict: was it this one's? */
static bool
is_in_conflict(const redisReply *reply, size_t i)
{
	const redisReply *bad = reply->element[2]->element[i];

	return bad->type == REDIS_REPLY_STRING && bad->len > 0;
}

static void
begin_write_doubts(struct write_run *run)
{
	struct store_redis *s = run->store;
	double since = clock_now();

	s->batches++;
	for (size_t i = 0; i < run->n; i++) {
		struct write_one *w = &run->each[i];
		struct doubt *d = must_alloc(sizeof(*d));

		w->service->held++;
		d->service = w->service;
		d->means = w->means;
		d->next = w->next;
		d->expect_epoch = w->expect_epoch;
		d->deadline_us = run->deadline_us;
		str_copy(d->where, sizeof(d->where), str_from(redis_where(s->commands)));
		d->since = since;
		d->give_up = since + DOUBT_SECONDS;
		d->batch = s->batches;
		d->same = w->same;
		d->done = w->done;
		d->arg = w->arg;
		list_append(&s->doubts, &d->link);
	}
	store_redis_watch_doubts(s);
}

/* -- flips and locks -------------------------------------------------------------------- */

/* It was written. */
static void
tell_written(const struct write_one *w, bool exists, const struct record *now)
{
	struct redis_service *v = w->service;

	if (w->same)
		return;
	v->disputed = false;
	v->problem[0] = '\0';
	/* What a write did not mean is as the store has it. */
	if (!exists)
		store_redis_tell(v, &w->next);
	else if (w->means != STORE_COLOR)
		store_redis_judge(v, now);
	else
		store_redis_tell(v, now);
	v->missing_since = 0;
}

static void
write_on_reply(void *arg, enum err e, const redisReply *reply, const struct why *sent)
{
	static const struct why others = { "" };
	struct write_run *run = arg;
	struct record now;
	struct why why = { "" };

	run->store->under_way--;
	if (e == E_UNKNOWN) {
		begin_write_doubts(run);
		write_run_free(run);
		return;
	}
	if (e == OK)
		e = take_write_answer(run, reply, &why);
	else
		why = *sent;
	for (size_t i = 0; e == OK && i < run->n; i++)
		tell_written(&run->each[i], take_written(run, reply, i, &now), &now);
	/* All that changed as one are seen before the first is judged. */
	for (size_t i = 0; e == E_CONFLICT && i < run->n; i++)
		if (take_written(run, reply, i, &now) && run->n > 1) {
			run->each[i].service->seen = now;
			run->each[i].service->seen_what = SEEN_RECORD;
		}
	for (size_t i = 0; e == E_CONFLICT && i < run->n; i++)
		if (take_written(run, reply, i, &now))
			store_redis_judge(run->each[i].service, &now);
	store_redis_send_forwards(run->store);
	for (size_t i = 0; i < run->n; i++) {
		const struct write_one *w = &run->each[i];

		w->done(w->arg, e, &w->service->record,
			e == E_CONFLICT && !is_in_conflict(reply, i) ? &others : &why);
	}
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
	case STORE_HOLD:
		return "hold";
	}
	CHECK(!"a write that means nothing");
	return NULL;
}

/* Why it cannot be sent; OK: it can. */
static enum err
write_barred(const struct redis_service *v, const struct store_write *w, struct why *why)
{
	const struct store_redis *s = v->store;

	if (!store_redis_is_up(s) || s->time_us == 0)
		return why_set(why, E_STORE, "%s; nothing was written",
			       s->down_why[0] != '\0' ? s->down_why : "Redis has not been read yet");
	/* A lock or a claim keeps the epoch, so it cannot settle what is disputed. */
	if (v->seen_what == SEEN_NOTHING || (v->disputed && w->means != STORE_COLOR))
		return why_set(why, E_STORE, "%s; nothing was written", v->problem);
	return OK;
}

static enum err
take_write(struct write_one *one, struct redis_service *v, const struct store_write *w, struct buf *entry,
	   struct why *why)
{
	struct audit_entry line = w->entry;

	v->held++;
	*one = (struct write_one){ .service = v,
				   .means = w->means,
				   .next = w->next,
				   .same = w->same,
				   .expect_epoch = w->expect_epoch };
	if (w->token != NULL)
		str_copy(one->token, sizeof(one->token), str_from(w->token));
	if (v->disputed && w->expect_epoch == v->record.epoch && v->seen.epoch >= v->record.epoch) {
		uint64_t step = v->seen.epoch - v->record.epoch;

		one->expect_epoch += step;
		one->next.epoch += step;
		if (w->token != NULL && one->next.claim.on)
			one->next.claim.epoch += step;
		line.epoch += step;
	}
	if (one->next.epoch > REDIS_NUMBER_MAX)
		return why_set(why, E_STORE,
			       "epoch %llu is the last one there is; stop every teald, remove its state and "
			       "DEL %s to begin again at 1; nothing was written",
			       (unsigned long long)REDIS_NUMBER_MAX, v->key);
	if (!w->unnoted && !w->same)
		redis_entry_format(&line, entry);
	return OK;
}

void
store_redis_write_all(struct store *store, const struct store_write *w, size_t n, store_done_fn *done,
		      void *const *args)
{
	struct store_redis *s = store_redis_of(store);
	struct write_run *run = write_run_new(s, n);
	struct buf *lines = must_array(n, sizeof(*lines));
	struct str *entries = must_array(n, sizeof(*entries));
	struct why why;
	enum err e = OK;

	for (size_t i = 0; i < n; i++) {
		struct redis_service *v = find_redis_service(s, w[i].service);
		enum err one;
		struct why what;

		CHECK(v != NULL);
		buf_init(&lines[i], REDIS_ENTRY_MAX);
		if ((one = write_barred(v, &w[i], &what)) == OK)
			one = take_write(&run->each[i], v, &w[i], &lines[i], &what);
		else
			v->held++, run->each[i].service = v;
		run->each[i].done = done;
		run->each[i].arg = args[i];
		entries[i] = buf_str(&lines[i]);
		if (e == OK && one != OK) {
			e = one;
			why = what;
		}
	}
	if (e == OK) {
		send_write(run, write_mode(w[0].means), entries, write_on_reply);
	} else {
		for (size_t i = 0; i < n; i++)
			done(args[i], e, &run->each[i].service->record, &why);
		write_run_free(run);
	}
	for (size_t i = 0; i < n; i++)
		buf_free(&lines[i]);
	free(lines);
	free(entries);
}

void
store_redis_write(struct store *store, const struct store_write *w, store_done_fn *done, void *arg)
{
	store_redis_write_all(store, w, 1, done, &arg);
}

/* -- bringing forward ---------------------------------------------------------------------- */

/* One that was brought forward, or was there already. */
static void
settle_forward(const struct write_run *run, size_t i, enum err e, const redisReply *reply, const struct why *why)
{
	const struct record *next = &run->each[i].next;
	struct redis_service *v = run->each[i].service;
	struct record now;

	v->writing = false;
	if ((e == OK && is_in_conflict(reply, i)) || e == E_CONFLICT) {
		if (take_written(run, reply, i, &now))
			store_redis_judge(v, &now);
	} else if (e == OK) {
		LOG_INFO("store.written_forward", LS("service", v->name), LR(NULL, str_from(v->labels_json)),
			 LU("epoch", next->epoch), LS("color", color_word(next->color)));
		if (!v->known)
			store_redis_tell(v, next);
	} else if (v->problem[0] == '\0') {
		snprintf(v->problem, sizeof(v->problem), "%s: cannot be written: %.180s", v->name, why->text);
	}
}

static void
forward_on_reply(void *arg, enum err e, const redisReply *reply, const struct why *sent)
{
	struct write_run *run = arg;
	struct store_redis *s = run->store;
	struct why why = { "" };

	s->under_way--;
	if (e == OK)
		e = take_write_answer(run, reply, &why);
	else
		why = *sent;
	for (size_t i = 0; i < run->n; i++)
		settle_forward(run, i, e, reply, &why);
	store_redis_send_forwards(s);
	/* Those that wait for this service to become known look at the next reading,
	 * which comes at once. */
	store_redis_read(s);
	write_run_free(run);
}

static void
send_forward(struct write_run *run, const char *mode)
{
	struct str *entries = must_array(run->n, sizeof(*entries));

	for (size_t i = 0; i < run->n; i++)
		entries[i] = STR("");
	send_write(run, mode, entries, forward_on_reply);
	free(entries);
}

void
store_redis_send_forwards(struct store_redis *s)
{
	struct write_run *run;
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		n += s->services[i]->forward_due;
	if (n == 0)
		return;
	run = write_run_new(s, n);
	n = 0;
	for (size_t i = 0; i < s->n; i++) {
		struct redis_service *v = s->services[i];

		if (!v->forward_due)
			continue;
		v->forward_due = false;
		run->each[n++] = (struct write_one){ .service = v, .next = v->forward };
	}
	send_forward(run, "forward");
}

void
store_redis_forward(struct redis_service *v, const struct record *r, bool initial)
{
	struct write_run *run;

	if (v->gone || v->writing || v->store->time_us == 0 || !store_redis_is_up(v->store))
		return;
	v->writing = true;
	v->held++;
	if (!initial) {
		v->forward_due = true;
		v->forward = *r;
		return;
	}
	run = write_run_new(v->store, 1);
	run->each[0] = (struct write_one){ .service = v, .next = *r };
	send_forward(run, "cas");
}
